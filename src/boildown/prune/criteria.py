"""How much each weight matters: criteria, pure functions from weights and evidence to scores.

A score is a float of any sign; the weights with the smallest are cut first. What a criterion wants
to know beside the weights it reads from the evidence (`boildown.calibrate.evidence`), which is
collected when first asked for.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from boildown.calibrate.evidence import Evidence

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
