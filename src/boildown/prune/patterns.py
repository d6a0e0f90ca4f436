"""Which weights go together: single ones, N of each M inputs, or blocks. Pure functions.

A pattern turns the scores of weights into scores of what it cuts, and masks of these back into
masks of weights; what is ranked with what is `boildown.prune.masks`.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Pattern(Protocol):
    """What is cut as one.

    Attributes:
        least: the sparsity below which a tensor does not have the pattern yet, in [0, 1).
    """

    @property
    def least(self) -> float: ...

    def misfit(self, shape: Sequence[int]) -> str:
        """Why a tensor of this shape cannot have the pattern, or nothing."""
        ...

    def condense(self, scores: Tensor, sparsity: float) -> Tensor:
        """The scores of what is cut as one, when this fraction of it is to go."""
        ...

    def expand(self, mask: Tensor, shape: Sequence[int]) -> Tensor:
        """The mask of the weights from that of what is cut as one."""
        ...


@dataclass(frozen=True)
class Single:
    """Every weight by itself."""

    least = 0.0

    def __str__(self) -> str:
        return "none"

    def misfit(self, shape: Sequence[int]) -> str:
        return ""

    def condense(self, scores: Tensor, sparsity: float) -> Tensor:
        return scores

    def expand(self, mask: Tensor, shape: Sequence[int]) -> Tensor:
        return mask


@dataclass(frozen=True)
class NofM:
    """Of each M consecutive inputs of an output at most N stay: of 2:4, two of four.

    The inputs are the second axis of a weight; those of a convolution are its channels, at each
    place of the kernel. On the way to the pattern the weights that must go do so in the order of
    their scores; beyond it, the others follow.

    Source: Mishra et al. 2021, https://arxiv.org/abs/2104.08378; gradually, as Zhou et al. 2021,
    https://arxiv.org/abs/2102.04010, do by decay

    >>> pattern = NofM(1, 2)
    >>> pattern.condense(torch.tensor([[3.0, 4.0, 2.0, 1.0]]), 0.25).tolist()
    [[3.0, inf, inf, 1.0]]
    >>> pattern.condense(torch.tensor([[3.0, 4.0, 2.0, 1.0]]), 0.75).tolist()
    [[-inf, 4.0, 2.0, -inf]]
    """

    kept: int
    of: int

    def __str__(self) -> str:
        return f"{self.kept}:{self.of}"

    @property
    def least(self) -> float:
        return 1.0 - self.kept / self.of

    def misfit(self, shape: Sequence[int]) -> str:
        return f"{shape[1]} inputs, which {self.of} does not divide" if shape[1] % self.of else ""

    def condense(self, scores: Tensor, sparsity: float) -> Tensor:
        groups = scores.movedim(1, -1).unflatten(-1, (-1, self.of))
        order = groups.argsort(dim=-1, stable=True)
        going = torch.zeros_like(groups, dtype=torch.bool)
        going.scatter_(-1, order[..., : self.of - self.kept], True)
        going = going.flatten(-2).movedim(-1, 1)
        if sparsity < self.least:
            return scores.masked_fill(~going, torch.inf)
        return scores.masked_fill(going, -torch.inf)

    def expand(self, mask: Tensor, shape: Sequence[int]) -> Tensor:
        return mask


@dataclass(frozen=True)
class Blocks:
    """Rectangles of outputs x inputs, such as 1x4; the inputs of a convolution are flattened.

    The score of a block is the mean of its weights'.

    >>> Blocks(1, 2).condense(torch.tensor([[3.0, 4.0, 2.0, 1.0]]), 0.5).tolist()
    [[3.5, 1.5]]
    """

    rows: int
    columns: int
    least = 0.0

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"

    def misfit(self, shape: Sequence[int]) -> str:
        inputs = math.prod(shape[1:])
        if shape[0] % self.rows:
            return f"{shape[0]} outputs, which {self.rows} does not divide"
        if inputs % self.columns:
            return f"{inputs} inputs, which {self.columns} does not divide"
        return ""

    def condense(self, scores: Tensor, sparsity: float) -> Tensor:
        rows = scores.flatten(1).unflatten(1, (-1, self.columns))
        means: Tensor = rows.unflatten(0, (-1, self.rows)).mean((1, 3))
        return means

    def expand(self, mask: Tensor, shape: Sequence[int]) -> Tensor:
        rows: Tensor = mask.repeat_interleave(self.rows, 0).repeat_interleave(self.columns, 1)
        return rows.reshape(*shape)


SINGLE = Single()


def pattern_named(name: str | None, where: str) -> Pattern:
    """The pattern of a name.

    Args:
        name: "2:4", "1x4" and the like; None for single weights.
        where: the setting, for errors.

    Raises:
        ValueError: for another name, or numbers that make no pattern.

    >>> pattern_named("2:4", "pattern"), pattern_named("4x4", "pattern")
    (NofM(kept=2, of=4), Blocks(rows=4, columns=4))
    """
    if name is None:
        return SINGLE
    found = re.fullmatch(r"(\d{1,6})([:x])(\d{1,6})", name) if isinstance(name, str) else None
    if found is not None:
        first, second = int(found[1]), int(found[3])
        if found[2] == ":" and 0 < first < second:
            return NofM(first, second)
        if found[2] == "x" and first > 0 and second > 0:
            return Blocks(first, second)
    raise ValueError(
        f"{where} must be N:M with 0 < N < M, such as 2:4, a block of outputs x inputs, such as "
        f"1x4, or null, got {name!r}"
    )
