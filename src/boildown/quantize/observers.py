"""Which grid suits values: functions of a tensor's blocks, one for each way to choose.

Each gives, of (blocks, n) finite values, the bounds within which the grid's values are to lie, and
that is all in which they differ. A block of zeros has a step of 1, and stays zero.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from boildown.quantize.grid import Grid, limits

Observer = Literal["minmax", "percentile", "mse", "sigma"]
OBSERVERS = get_args(Observer)
PERCENTILE = 0.999  # of the values that a clipped range holds
THRESHOLD = 0.7  # of the mean size, below which a ternary weight is zero
STEPS = 80  # of the search for the least squared error, in hundredths of the range


class Bounds(NamedTuple):
    """Least and largest value of each block, (blocks, 1); least <= 0 <= largest."""

    low: Tensor
    high: Tensor


def minmax(blocks: Tensor, bits: int, symmetric: bool) -> Bounds:
    """All values."""
    return Bounds(
        blocks.amin(1, keepdim=True).clamp(max=0.0), blocks.amax(1, keepdim=True).clamp(min=0.0)
    )


def percentile(blocks: Tensor, bits: int, symmetric: bool) -> Bounds:
    """All but the outermost thousandth, by the nearest rank."""
    n = blocks.shape[1]
    out = int((1.0 - PERCENTILE) * n / (1 if symmetric else 2))
    ordered = blocks.abs().sort(1).values if symmetric else blocks.sort(1).values
    if symmetric:
        largest = ordered[:, n - 1 - out, None]
        whole = minmax(blocks, bits, symmetric)
        return Bounds(whole.low.maximum(-largest), whole.high.minimum(largest))
    low, high = ordered[:, out, None], ordered[:, n - 1 - out, None]
    return Bounds(low.clamp(max=0.0), high.clamp(min=0.0))


def sigma(blocks: Tensor, bits: int, symmetric: bool) -> Bounds:
    """Mean plus and minus three standard deviations, as LSQ+ starts its steps.

    Source: Bhalgat et al. 2020, section 4, https://arxiv.org/abs/2004.09576
    """
    mean, deviation = blocks.mean(1, keepdim=True), blocks.std(1, keepdim=True, correction=0)
    return Bounds((mean - 3 * deviation).clamp(max=0.0), (mean + 3 * deviation).clamp(min=0.0))


def mse(blocks: Tensor, bits: int, symmetric: bool) -> Bounds:
    """The fraction of the range, in hundredths, whose grid has the least squared error."""
    whole = minmax(blocks, bits, symmetric)
    best = torch.full_like(whole.low, torch.inf)
    chosen = torch.ones_like(whole.low)
    for step in range(STEPS):
        part = 1.0 - step / 100
        bounds = Bounds(whole.low * part, whole.high * part)
        error = (grid_within(bounds, bits, symmetric).nearest(blocks) - blocks).square()
        error = error.sum(1, keepdim=True)
        better = error < best
        best, chosen = torch.where(better, error, best), torch.where(better, part, chosen)
    return Bounds(whole.low * chosen, whole.high * chosen)


_FUNCTIONS: dict[str, Callable[[Tensor, int, bool], Bounds]] = {
    "minmax": minmax, "percentile": percentile, "mse": mse, "sigma": sigma
}  # fmt: skip


def grid_within(bounds: Bounds, bits: int, symmetric: bool, *, signed: bool = True) -> Grid:
    """The grid whose values reach from one bound to the other.

    Args:
        bounds: of each block.
        bits: 2 to 8.
        symmetric: whether 0 is the zero point; else the bounds decide.
        signed: whether the codes are; not signed and symmetric is for values of at least 0.
    """
    low, high = limits(bits, signed=signed)
    span = (bounds.high - bounds.low) / (high - low)
    if symmetric:
        span = torch.maximum(bounds.high / high, bounds.low / low if low else bounds.low * 0.0)
    scale = torch.where(span > 0.0, span, 1.0)
    if symmetric:
        return Grid(scale, torch.zeros_like(scale), low, high)
    return Grid(scale, (low - bounds.low / scale).round().clamp(low, high), low, high)


def fit_grid(
    blocks: Tensor,
    bits: int,
    *,
    symmetric: bool = True,
    observer: Observer = "mse",
    signed: bool = True,
) -> Grid:
    """The grid that suits values.

    Args:
        blocks: (blocks, n), finite floats.
        bits: 2 to 8.
        symmetric: whether its zero point is 0; else it is what makes most of the codes.
        observer: how its range is chosen.
        signed: whether the codes are.

    Raises:
        ValueError: for another observer.
    """
    if observer not in OBSERVERS:
        raise ValueError(f"observer must be one of {', '.join(OBSERVERS)}, got {observer!r}")
    bounds = _FUNCTIONS[observer](blocks, bits, symmetric)
    return grid_within(bounds, bits, symmetric, signed=signed)


def ternary_grid(blocks: Tensor) -> Grid:
    """The values -s, 0 and s, with s the mean size of what is above 0.7 of the mean size.

    Args:
        blocks: (blocks, n), finite floats.

    Source: Li et al. 2016, eq. 6 and 7, https://arxiv.org/abs/1605.04711
    """
    size = blocks.abs()
    above = size > THRESHOLD * size.mean(1, keepdim=True)
    total, count = (size * above).sum(1, keepdim=True), above.sum(1, keepdim=True)
    scale = torch.where(count > 0, total / count.clamp(min=1), 1.0)
    return Grid(scale, torch.zeros_like(scale), -1, 1)
