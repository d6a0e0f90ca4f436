"""Inputs that a linear layer can do without, when the others make up for them: pure functions.

Of W x + b without some of the inputs x, the best W' is the regression of W x on the others; what it
loses is the variance of W x that they do not explain, in a form of the outputs if one is given.
With a bias the inputs are centred: what the mean loses, the bias gives back. Inputs go in groups,
such as the pixels of a kernel that belong to one channel.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from boildown.calibrate.checks import check_features, check_layer
from boildown.calibrate.moments import Moments, damped_second, form_root


@dataclass(frozen=True)
class Elimination:
    """Groups of inputs in the order in which they go.

    Attributes:
        order: (d,) the groups, the first to go first.
        errors: (d,) float64, the mean squared error of the outputs, in the form, when these and
            all before have gone and the others make up for it; as the damped second moment of the
            inputs has it.
    """

    order: Tensor
    errors: Tensor


def eliminate(
    weight: Tensor,
    bias: Tensor | None,
    moments: Moments,
    groups: Tensor,
    *,
    most: int | None = None,
    damping: float | None = None,
    form: Tensor | None = None,
) -> Elimination:
    """Groups of inputs, one by one, always the one whose loss the outputs notice least.

    Each step is exact: its error is that of the regression on the inputs that are left, for the
    damped second moment. The order is greedy. Time: about `most` * n * k * (n + m) for m outputs
    and n inputs in groups of k.

    Args:
        weight: (m, n) floats.
        bias: (m,), or None for a layer without one: then the inputs are not centred.
        moments: of the layer's inputs.
        groups: (G, k) the inputs of each group; none is in two, and those in none stay.
        most: how many groups go, in [0, G]; by default all.
        damping: see `boildown.lowrank.activation.whitened`.
        form: see there.

    Raises:
        ValueError: for a weight that is no finite matrix, a bias, moments or a form that do not
            fit, groups that overlap or are out of range, or `most` out of range.

    Source: Hassibi & Stork 1993 (optimal brain surgeon),
    https://papers.nips.cc/paper/1992/hash/303ed4c69846ab36c2904d3ba8573050-Abstract.html, by groups
    of the inputs of one layer as in Frantar & Alistarh 2022, https://arxiv.org/abs/2208.11580
    """
    check_layer(weight, bias)
    check_features(len(moments.mean), weight)
    _check_groups(groups, weight.shape[1])
    steps = len(groups) if most is None else most
    if not 0 <= steps <= len(groups):
        raise ValueError(f"most must be in [0, {len(groups)}], the groups there are, got {most!r}")
    root, seen = form_root(form, weight), damped_second(moments, damping, centred=bias is not None)
    now = weight.detach().double().clone() if root is None else root @ weight.detach().double()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(seen))
    alive = list(range(len(groups)))
    order, errors, total = [], [], 0.0
    for _ in range(steps):
        at = groups[alive]
        blocks = inverse[at[:, :, None], at[:, None, :]]
        rows = now[:, at].permute(1, 2, 0)  # (alive, k, m)
        costs = (rows * torch.linalg.solve(blocks, rows)).sum((1, 2))
        first = int(costs.argmin())
        total += float(costs[first].clamp(min=0.0))
        gone, block = at[first], blocks[first]
        reach = torch.linalg.solve(block, inverse[gone])  # (k, n)
        now -= now[:, gone] @ reach
        inverse -= inverse[:, gone] @ reach  # rows and columns that are gone are 0 from here on
        order.append(alive.pop(first))
        errors.append(total)
    return Elimination(
        torch.tensor(order, dtype=torch.long), torch.tensor(errors, dtype=torch.float64)
    )


def without(
    weight: Tensor,
    bias: Tensor | None,
    moments: Moments,
    kept: Tensor,
    *,
    damping: float | None = None,
) -> tuple[Tensor, Tensor | None]:
    """The layer on some of its inputs that comes closest to what it is on all.

    Args:
        weight: (m, n) floats.
        bias: see `eliminate`.
        moments: of the layer's inputs.
        kept: (k,) inputs, at least one.
        damping: see `boildown.lowrank.activation.whitened`.

    Returns:
        Weight (m, k) and bias, in the dtype of the weight.

    Raises:
        ValueError: for sizes that do not fit, a weight that is not finite, or no inputs kept.
    """
    check_layer(weight, bias)
    check_features(len(moments.mean), weight)
    _check_groups(kept[None], weight.shape[1])
    exact = weight.detach().double()
    seen = damped_second(moments, damping, centred=bias is not None)
    cross = exact @ seen[:, kept]
    solved = torch.cholesky_solve(cross.mT, torch.linalg.cholesky(seen[kept][:, kept])).mT
    if bias is None:
        return solved.to(weight.dtype), None
    shift = exact @ moments.mean - solved @ moments.mean[kept]
    return solved.to(weight.dtype), (bias.detach().double() + shift).to(weight.dtype)


def _check_groups(groups: Tensor, inputs: int) -> None:
    """Refuse groups that are empty, overlap or are out of range.

    Raises:
        ValueError: naming what is wrong.
    """
    if groups.ndim != 2 or groups.dtype != torch.long or 0 in groups.shape:
        raise ValueError(
            "the groups must be a matrix of inputs (long), a row for each group, "
            f"got {tuple(groups.shape)} {groups.dtype}"
        )
    if int(groups.min()) < 0 or int(groups.max()) >= inputs:
        raise ValueError(
            f"the groups name inputs {int(groups.min())} to {int(groups.max())}, "
            f"but there are 0 to {inputs - 1}"
        )
    if len(groups.unique()) < groups.numel():
        raise ValueError("an input is in two groups, or twice in one")
