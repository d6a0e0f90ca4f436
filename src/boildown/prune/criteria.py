"""How much each weight matters: criteria, pure functions from weights and evidence to scores.

A score is a float of any sign; the weights with the smallest are cut first. What a criterion wants
to know beside the weights it reads from the evidence (`boildown.calibrate.evidence`), which is
collected when first asked for.
"""

import inspect
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from boildown.calibrate.evidence import Evidence
from boildown.seeds import generator

Criterion = (
    Callable[[Mapping[str, Tensor], Evidence], Mapping[str, Tensor]]
    | Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
)


def magnitude(weights: Mapping[str, Tensor], evidence: Evidence) -> dict[str, Tensor]:
    """Score every weight by its absolute value; no evidence is needed.

    Args:
        weights: name -> float tensor of any shape; read only.
        evidence: not asked.

    Returns:
        name -> score, same shape and device.

    Source: Han et al. 2015, https://arxiv.org/abs/1506.02626
    """
    return {name: weight.detach().abs() for name, weight in weights.items()}


def taylor(weights: Mapping[str, Tensor], evidence: Evidence) -> dict[str, Tensor]:
    """Score every weight by |w g|, to first order the change of the loss if it were zero.

    Args:
        weights: name -> float tensor of any shape; read only.
        evidence: asked for the mean gradient g of the loss.

    Returns:
        name -> score, same shape and device.

    Source: Molchanov et al. 2017, https://arxiv.org/abs/1611.06440, eq. 7, for single weights
    """
    mean = evidence.gradients.mean
    return {name: (weight.detach() * mean[name]).abs() for name, weight in weights.items()}


def wanda(weights: Mapping[str, Tensor], evidence: Evidence) -> dict[str, Tensor]:
    """Score every weight by |w| times the root mean square of what it is multiplied with.

    The paper compares the weights of one output with each other; `scope` and `keep` of a `Prune`
    say what is compared here.

    Args:
        weights: name -> float tensor, the weight of a linear, convolution or embedding layer.
        evidence: asked for the mean squares of the inputs.

    Returns:
        name -> score, same shape and device.

    Raises:
        ValueError: for a weight of another kind of layer, naming it.

    Source: Sun et al. 2024, https://arxiv.org/abs/2306.11695, section 3
    """
    squares = evidence.input_squares
    for name in weights:
        if name not in squares:
            raise ValueError(
                f"wanda: {name} is the weight of no linear, convolution or embedding layer whose "
                f"inputs are seen; exclude it"
            )
    return {name: weight.detach().abs() * squares[name].sqrt() for name, weight in weights.items()}


def random(
    weights: Mapping[str, Tensor], evidence: Evidence, *, seed: int = 0
) -> dict[str, Tensor]:
    """Score every weight by chance: the control that any criterion must beat.

    Args:
        weights: name -> float tensor of any shape; read only.
        evidence: not asked.
        seed: of the scores, which are otherwise the same each time.

    Returns:
        name -> score, uniform in [0, 1), same shape and device.
    """
    draws = {name: generator(seed, zlib.crc32(name.encode())) for name in weights}
    return {
        name: torch.rand(weight.shape, generator=draws[name]).to(weight.device)
        for name, weight in weights.items()
    }


def lamp(weights: Mapping[str, Tensor], evidence: Evidence) -> dict[str, Tensor]:
    """Score every weight by w^2 / sum of v^2 over the weights v of its tensor with |v| >= |w|.

    Ranked over all tensors together (`scope="global"`), it cuts each tensor by as much as keeps
    the relative error of its outputs small; within one it is the order of magnitudes.

    Args:
        weights: name -> float tensor of any shape; read only.
        evidence: not asked.

    Returns:
        name -> score in [0, 1], float64, same shape and device.

    Source: Lee et al. 2021, https://arxiv.org/abs/2010.07611, eq. 4
    """
    scores = {}
    for name, weight in weights.items():
        squares, order = weight.detach().double().square().flatten().sort(stable=True)
        rest = squares.flip(0).cumsum(0).flip(0)
        ranked = torch.where(squares > 0.0, squares / rest, 0.0)
        scores[name] = torch.empty_like(ranked).scatter_(0, order, ranked).view(weight.shape)
    return scores


def snip(weights: Mapping[str, Tensor], evidence: Evidence) -> dict[str, Tensor]:
    """Score every weight by |w g| over the sum of all: how much the loss feels a gate on it.

    As in the paper with `begin=0.0`, `schedule=OneShot()` and `samples` of one batch: at the
    initialisation, all at once. The order is that of `taylor`; the scores of all weights sum to 1.

    Args:
        weights: name -> float tensor of any shape; read only.
        evidence: asked for the mean gradient g of the loss.

    Returns:
        name -> score in [0, 1], same shape and device.

    Source: Lee et al. 2019, https://arxiv.org/abs/1810.02340, eq. 5
    """
    saliency = taylor(weights, evidence)
    total = float(sum(each.double().sum() for each in saliency.values())) or 1.0
    return {name: each / total for name, each in saliency.items()}


def movement(weights: Mapping[str, Tensor], evidence: Evidence) -> dict[str, Tensor]:
    """Score every weight by the sum of -w g over the steps of the training since pruning began.

    What moves away from zero stays, whatever its size. It needs a gradual schedule: before the
    first step nothing has moved.

    Args:
        weights: name -> float tensor of any shape; read only.
        evidence: asked for the movement.

    Returns:
        name -> score, same shape and device.

    Source: Sanh et al. 2020, https://arxiv.org/abs/2005.07683, eq. 4, with masks that only shrink
    """
    moved = evidence.movement
    return {name: moved[name].clone() for name in weights}


def obd(weights: Mapping[str, Tensor], evidence: Evidence) -> dict[str, Tensor]:
    """Score every weight by h w^2 / 2, to second order the change of the loss if it were zero.

    h is the diagonal of the empirical Fisher matrix, which stands for the Hessian's near a minimum.

    Args:
        weights: name -> float tensor of any shape; read only.
        evidence: asked for the diagonal of the Fisher matrix.

    Returns:
        name -> score, same shape and device.

    Source: LeCun, Denker & Solla 1989 (optimal brain damage), eq. 5,
    https://papers.nips.cc/paper/1989/hash/6c9882bbac1c7093bd25041881277658-Abstract.html
    """
    scores = {name: w.new_empty(w.shape, dtype=torch.float32) for name, w in weights.items()}
    for name, span, diagonal in evidence.fisher(1):
        w = weights[name].detach().flatten()[span].float()
        scores[name].view(-1)[span] = diagonal.flatten() * w.square() / 2
    return scores


def obs(
    weights: Mapping[str, Tensor],
    evidence: Evidence,
    *,
    block: int = 16,
    damping: float = 0.001,
) -> dict[str, Tensor]:
    """Score every weight by w^2 / (2 [F^-1]_ww): the loss's change when the others make up for it.

    F is the empirical Fisher matrix of the weights of its block. To second order, at a minimum,
    the score is the least change of the loss without this weight, were the others of its block
    free to move.

    Args:
        weights: name -> float tensor of any shape; read only.
        evidence: asked for blocks of the Fisher matrix.
        block: how many consecutive weights of a tensor are seen together, at least 1; memory and
            time grow with it.
        damping: added to the diagonal of F, in units of its mean over the tensor; above 0.

    Returns:
        name -> score, same shape and device.

    Raises:
        ValueError: for a block or a damping out of range.

    Source: Hassibi & Stork 1993 (optimal brain surgeon); Singh & Alistarh 2020 (WoodFisher),
    https://arxiv.org/abs/2004.14340, eq. 9
    """
    if type(block) is not int or block < 1:
        raise ValueError(f"obs: block must be a whole number of at least 1, got {block!r}")
    if not damping > 0.0:
        raise ValueError(f"obs: damping must be above 0, got {damping!r}")
    scores = {name: w.new_empty(w.shape, dtype=torch.float32) for name, w in weights.items()}
    for name, span, fisher in evidence.fisher(block):
        w = weights[name].detach().flatten()[span].double()
        mean = float(fisher.diagonal(dim1=1, dim2=2).double().sum()) / len(w)
        least = damping * mean + torch.finfo(torch.float32).tiny
        parts = (_inverse_diagonal(part.double(), least) for part in fisher.split(TOGETHER))
        inverse = torch.cat(list(parts)).flatten()[: len(w)]
        scores[name].view(-1)[span] = (w.square() / (2.0 * inverse)).float()
    return scores


TOGETHER = 4096  # blocks that are inverted at once


def _inverse_diagonal(blocks: Tensor, damping: float) -> Tensor:
    """(k, size): the diagonals of the inverses of (k, size, size), damped."""
    blocks.diagonal(dim1=1, dim2=2).add_(damping)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(blocks))
    return inverse.diagonal(dim1=1, dim2=2)


def apoz(weights: Mapping[str, Tensor], evidence: Evidence) -> dict[str, Tensor]:
    """Score every weight by how often its unit is active: 1 less its average percentage of zeros.

    All weights of a unit (a row of a linear layer, a filter) have one score, so it is meant for
    patterns of whole units; units behind no ReLU are always active.

    Args:
        weights: name -> float tensor, the weight of a linear or convolution layer.
        evidence: asked for the activity of units.

    Returns:
        name -> score in [0, 1], same shape and device.

    Raises:
        ValueError: for a weight of another kind of layer, naming it.

    Source: Hu et al. 2016, https://arxiv.org/abs/1607.03250, eq. 1
    """
    activity = evidence.activity
    return _of_units("apoz", weights, {name: 1.0 - each.zeros for name, each in activity.items()})


def mean_activation(weights: Mapping[str, Tensor], evidence: Evidence) -> dict[str, Tensor]:
    """Score every weight by the mean absolute activation of its unit.

    Args:
        weights: see `apoz`.
        evidence: asked for the activity of units.

    Returns:
        name -> score of at least 0, same shape and device.

    Raises:
        ValueError: see `apoz`.

    Source: Molchanov et al. 2017, https://arxiv.org/abs/1611.06440, section 2.2
    """
    activity = evidence.activity
    return _of_units(
        "mean_activation", weights, {name: each.mean for name, each in activity.items()}
    )


def _of_units(
    who: str, weights: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The scores of units, for each of their weights."""
    for name in weights:
        if name not in found:
            raise ValueError(
                f"{who}: {name} is the weight of no linear or convolution layer whose outputs are "
                "seen; exclude it"
            )
    return {
        name: found[name].to(weight.device).view(-1, *[1] * (weight.ndim - 1)).expand_as(weight)
        for name, weight in weights.items()
    }


def scored(
    criterion: Criterion, weights: Mapping[str, Tensor], evidence: Evidence
) -> dict[str, Tensor]:
    """What a criterion says, checked.

    Args:
        criterion: weights, evidence -> scores, or weights -> scores.
        weights: name -> float tensor.
        evidence: about these weights.

    Returns:
        name -> score for each weight, in their order.

    Raises:
        ValueError: if a weight holds NaN or infinity, or is changed by the criterion, or a score is
            missing, too much, of another shape, no float or not finite, naming it.
    """
    for name, weight in weights.items():
        check_finite(name, weight)
    named = getattr(criterion, "func", criterion)  # what a partial, such as Hydra's, stands for
    who = getattr(named, "__name__", type(named).__name__)
    judge: Callable[..., Mapping[str, Tensor]] = criterion
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    found = judge(weights) if _asks_no_evidence(criterion) else judge(weights, evidence)
    changed = [name for name, weight in weights.items() if not torch.equal(weight, before[name])]
    if changed:
        raise ValueError(f"the criterion {who} changes {changed[0]}, which it may only read")
    if not isinstance(found, Mapping) or found.keys() != weights.keys():
        names = list(found) if isinstance(found, Mapping) else type(found).__name__
        raise ValueError(
            f"the criterion {who} must give a score for each of {', '.join(weights)}; "
            f"it gave {names}"
        )
    for name, weight in weights.items():
        scores = found[name]
        if not isinstance(scores, Tensor) or scores.shape != weight.shape:
            shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(
                f"the criterion {who} must score {name} by a tensor of its shape "
                f"{tuple(weight.shape)}; it gave {shape}"
            )
        if not scores.is_floating_point():
            raise ValueError(f"the criterion {who} must score {name} by floats, not {scores.dtype}")
        if not torch.isfinite(scores).all():
            raise ValueError(f"the criterion {who} gives {name} scores that are NaN or infinite")
    return {name: found[name].detach() for name in weights}


def _asks_no_evidence(criterion: Callable[..., Any]) -> bool:
    """Whether a criterion takes the weights alone."""
    try:
        inspect.signature(criterion).bind({}, None)
    except TypeError:
        return True
    except ValueError:  # of what is compiled nothing is known
        pass
    return False


def check_finite(name: str, weight: Tensor) -> None:
    """Refuse a weight that holds NaN or infinity.

    Raises:
        ValueError: naming it and the remedy.
    """
    if not torch.isfinite(weight).all():
        raise ValueError(
            f"{name} holds NaN or infinity: the training has diverged; lower the learning rate, or "
            "clip the gradients"
        )
