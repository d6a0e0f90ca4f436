"""Uniform grids: values s (q - z) with q a whole number of few bits."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Granularity = Literal["tensor", "channel"] | int
"""What has a step of its own: a tensor, a channel (its first axis), or so many inputs of one."""

LEAST_BITS, MOST_BITS = 2, 8
HALF = 0.5 * (1.0 + 1e-6)  # of a step; what lies further from its grid was clipped


@dataclass(frozen=True)
class Grid:
    """The values s (q - z), low <= q <= high, of each block of a tensor.

    Attributes:
        scale: (blocks, 1), the steps s, above 0.
        zero: (blocks, 1), the whole numbers z in [low, high], float; 0 where symmetric.
        low: the least q.
        high: the largest.
    """

    scale: Tensor
    zero: Tensor
    low: int
    high: int

    def codes(self, blocks: Tensor) -> Tensor:
        """The nearest q, clipped, ties to even.

        Args:
            blocks: (blocks, n).

        Returns:
            The same shape and dtype.
        """
        return (blocks / self.scale).round_().add_(self.zero).clamp_(self.low, self.high)

    def values(self, codes: Tensor) -> Tensor:
        """What codes stand for, (blocks, n)."""
        return (codes - self.zero) * self.scale

    def nearest(self, blocks: Tensor) -> Tensor:
        """The nearest of the grid's values, (blocks, n)."""
        return self.values(self.codes(blocks))

    def to(self, device: torch.device) -> "Grid":
        """The same on another device."""
        return Grid(self.scale.to(device), self.zero.to(device), self.low, self.high)


def limits(bits: int, *, signed: bool = True) -> tuple[int, int]:
    """The least and the largest whole number of so many bits."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def check_bits(bits: object, where: str) -> None:
    """Refuse what is no width.

    Raises:
        ValueError: naming it and where it was given.
    """
    if type(bits) is not int or not LEAST_BITS <= bits <= MOST_BITS:
        raise ValueError(
            f"{where} must be a whole number from {LEAST_BITS} to {MOST_BITS}, got {bits!r}"
        )


def check_granularity(granularity: object, where: str) -> None:
    """Refuse what is no granularity.

    Raises:
        ValueError: naming it and where it was given.
    """
    group = type(granularity) is int and granularity >= 1
    if granularity not in ("tensor", "channel") and not group:
        raise ValueError(
            f"{where} must be tensor, channel, or a number of inputs that share a step, such as "
            f"64, got {granularity!r}"
        )


def misfit(shape: torch.Size | tuple[int, ...], granularity: Granularity) -> str:
    """Why a weight cannot have a granularity, "" if it can."""
    inputs = torch.Size(shape[1:]).numel()
    if isinstance(granularity, str) or inputs % granularity == 0:
        return ""
    return f"{inputs} inputs, which groups of {granularity} do not divide"


def blocks_of(tensor: Tensor, granularity: Granularity) -> Tensor:
    """A tensor with what has a step of its own in one row.

    Args:
        tensor: any shape that the granularity fits (`misfit`), at least one axis.
        granularity: see there.

    Returns:
        (blocks, n), a view where the tensor is contiguous.
    """
    if granularity == "tensor":
        return tensor.reshape(1, -1)
    if granularity == "channel":
        return tensor.reshape(len(tensor), -1)
    return tensor.reshape(-1, granularity)


def spread(grid: Grid, shape: torch.Size | tuple[int, int]) -> Grid:
    """The grid of a matrix's blocks with a step and a zero point for each of its entries.

    Args:
        grid: of the blocks of a matrix, by any granularity.
        shape: (m, n) of the matrix.

    Returns:
        The same with a scale and a zero of (m, n), so that it takes the matrix itself.
    """
    rows = (shape[0], -1) if len(grid.scale) >= shape[0] else (1, 1)
    scale, zero = grid.scale.reshape(rows), grid.zero.reshape(rows)
    if scale.shape[1] > 1:
        size = shape[1] // scale.shape[1]
        scale, zero = scale.repeat_interleave(size, 1), zero.repeat_interleave(size, 1)
    return Grid(scale.expand(shape), zero.expand(shape), grid.low, grid.high)
