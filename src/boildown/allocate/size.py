"""Which layer gets how much, from one knob: the size of the file.

Pure: what measures a file (the codec) is handed in.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from boildown.prune.masks import global_masks
from boildown.share.kmeans import Initialisation, round_to, share_tensor

DENSE_BYTES = 4  # per parameter: what every ratio is measured against


class UnreachableSizeError(ValueError):
    """No sparsity gives a file of the asked size."""


def bits_for_ratio(ratio: float) -> int:
    """Bits per surviving weight that suit a compression ratio.

    Few bits and many weights, or many bits and few weights: what serves best shifts with the size.
    Up to a ratio of 4 there are bits enough that pruning is hardly needed.

    Args:
        ratio: dense fp32 bytes / file bytes, above 1.

    Returns:
        Bits, 3 to 12.

    Raises:
        ValueError: for a ratio that is not above 1.

    >>> [bits_for_ratio(r) for r in (2, 4, 10, 20, 40, 100)]
    [12, 8, 7, 6, 5, 4]
    """
    if not ratio > 1.0:
        raise ValueError(f"compression.ratio must be above 1, got {ratio}")
    for limit, bits in ((3, 12), (8, 8), (16, 7), (30, 6), (60, 5), (150, 4)):
        if ratio < limit:
            return bits
    return 3


@dataclass(frozen=True, kw_only=True)
class SparsityForSize:
    """The fraction of weights to cut so that the whole file, once shared and coded, fits a size.

    The weights as they are now are cut, shared and measured at one sparsity after another, by
    bisection.

    Args:
        measure: name -> tensor, to the bytes of their file (`boildown.codec.estimate`).
        ratio: fp32 bytes of the parameters / file bytes. Give this or `bytes`.
        bytes: of the file.
        bits: bits per surviving weight, 1 to 16.
        dtype: type of the centroids and of the tensors that are not shared.
        init: how k-means starts.
        tolerance: relative error of the size that ends the search.

    Raises:
        ValueError: for values out of range.
    """

    measure: Callable[[Mapping[str, Tensor]], int]
    bits: int
    ratio: float | None = None
    bytes: float | None = None
    dtype: str = "float32"
    init: Initialisation = "optimal"
    tolerance: float = 0.005

    def __post_init__(self) -> None:
        if (self.ratio is None) == (self.bytes is None):
            raise ValueError(f"give a ratio or bytes, got {self.ratio} and {self.bytes}")
        if self.ratio is not None and not self.ratio > 1.0:
            raise ValueError(f"compression.ratio must be above 1, got {self.ratio}")
        if self.bytes is not None and not self.bytes > 0:
            raise ValueError(f"compression.bytes must be above 0, got {self.bytes}")

    def __call__(
        self,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        scores: Mapping[str, Tensor],
    ) -> float:
        """The sparsity over the tensors of `scores`.

        Args:
            parameters: all the model's parameters; the ratio is measured against these in fp32.
            buffers: the other tensors that will be in the file.
            scores: importance of the entries of the parameters that may be cut.

        Raises:
            UnreachableSizeError: if the file is too large with nothing left of these tensors,
                naming the sizes within reach.
        """
        goal = self._goal(parameters)

        def size(sparsity: float) -> int:
            return self._size(parameters, buffers, global_masks(scores, sparsity))

        self.check_reach(parameters, buffers, scores)
        low, high = 0.0, 1.0
        for _ in range(math.ceil(math.log2(sum(s.numel() for s in scores.values()) + 1))):
            middle = (low + high) / 2
            now = size(middle)
            if abs(now - goal) <= self.tolerance * goal:
                return middle
            low, high = (middle, high) if now > goal else (low, middle)
        return high

    def check_reach(
        self,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        scores: Mapping[str, Tensor],
    ) -> None:
        """Refuse a ratio that is out of reach even with nothing left of the tensors of `scores`.

        Raises:
            UnreachableSizeError: naming the sizes within reach.
        """
        goal = self._goal(parameters)
        smallest = self._size(parameters, buffers, global_masks(scores, 1.0))
        if smallest > goal:
            asked, within = "", ""
            if self.ratio is not None:
                asked = f" (compression.ratio={self.ratio:.4g})"
                within = f", a ratio of {self.ratio * goal / smallest:.1f}"
            raise UnreachableSizeError(
                f"a file of {goal:.0f} bytes{asked} is out of reach: what is not pruned takes "
                f"{smallest} bytes{within}"
            )

    def _goal(self, parameters: Mapping[str, Tensor]) -> float:
        if self.bytes is not None:
            return self.bytes
        assert self.ratio is not None
        return DENSE_BYTES * sum(p.numel() for p in parameters.values()) / self.ratio

    def _size(
        self,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
    ) -> int:
        dtype = getattr(torch, self.dtype)
        rest = {n: round_to(p.detach(), dtype) for n, p in parameters.items() if n not in masks}
        cut = {
            name: self._share(torch.where(mask, parameters[name].detach(), 0.0))
            for name, mask in masks.items()
        }
        return self.measure(rest | dict(buffers) | cut)

    def _share(self, weight: Tensor) -> Tensor:
        shared = share_tensor(weight, self.bits, self.init)
        return round_to(shared, getattr(torch, self.dtype))


def sparsity_or_rule(
    *,
    sparsity: float | None,
    keep: Mapping[str, float] | None,
    ratio: float | None,
    bytes: float | None = None,
    bits: int | Mapping[str, int],
    dtype: str,
    init: Initialisation,
    measure: Callable[[Mapping[str, Tensor]], int],
) -> float | SparsityForSize | None:
    """What `Prune` takes for its sparsity, from the knobs of a recipe: the most specific one wins.

    Args:
        sparsity: global sparsity, or None.
        keep: fractions to keep by layer, or None; then there is no global sparsity.
        ratio: of the file's size, for when neither is given.
        bytes: the file's size, which goes before the ratio.
        bits: see `SparsityForSize`.
        dtype: see `SparsityForSize`.
        init: see `SparsityForSize`.
        measure: see `SparsityForSize`.

    Raises:
        ValueError: if a ratio is to be met with bits that differ by layer, or nothing is given.
    """
    if keep is not None:
        return None
    if sparsity is not None:
        return sparsity
    if ratio is None or not isinstance(bits, int):
        raise ValueError(
            f"compression: give keep, sparsity, or a ratio with one number of bits; "
            f"got {ratio=} {bits=}"
        )
    return SparsityForSize(
        measure=measure,
        bits=bits,
        ratio=ratio if bytes is None else None,
        bytes=bytes,
        dtype=dtype,
        init=init,
    )


@dataclass(frozen=True, kw_only=True)
class FactorsForSize:
    """What low-rank factors may cost so that the whole file fits a size.

    The tensors of the factorised network are rounded and measured at one cost after another, by
    bisection.

    Args:
        measure: name -> tensor, to the bytes of their file (`boildown.codec.estimate`).
        bytes: of the file.
        dtype: what all tensors are rounded to.
        tolerance: relative error of the size that ends the search.

    Raises:
        ValueError: for values out of range.
    """

    measure: Callable[[Mapping[str, Tensor]], int]
    bytes: float
    dtype: str = "float32"
    tolerance: float = 0.005

    def __post_init__(self) -> None:
        if not self.bytes > 0:
            raise ValueError(f"compression.bytes must be above 0, got {self.bytes}")

    def __call__(
        self,
        rest: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        trial: Callable[[float], Mapping[str, Tensor]],
    ) -> float:
        """The share of the dense layers' cost that the factors may have.

        Args:
            rest: the parameters of the file that are in no layer with a rank.
            buffers: the other tensors that will be in the file, as they are.
            trial: share in [0, 1] -> the tensors of those layers; 0 stands for rank 1 everywhere.

        Raises:
            UnreachableSizeError: if rank 1 everywhere makes too large a file.
        """
        self.check_reach(rest, buffers, trial)
        low, high = 0.0, 1.0
        for _ in range(20):
            middle = (low + high) / 2
            now = self._size(rest, buffers, trial(middle))
            if abs(now - self.bytes) <= self.tolerance * self.bytes:
                return middle
            low, high = (low, middle) if now > self.bytes else (middle, high)
        return low

    def check_reach(
        self,
        rest: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        trial: Callable[[float], Mapping[str, Tensor]],
    ) -> None:
        """Refuse a size that rank 1 everywhere exceeds.

        Raises:
            UnreachableSizeError: naming the size within reach.
        """
        smallest = self._size(rest, buffers, trial(0.0))
        if smallest > self.bytes:
            raise UnreachableSizeError(
                f"a file of {self.bytes:.0f} bytes is out of reach of low rank alone: with rank 1 "
                f"in every layer it takes {smallest} bytes; ask for a lower compression.ratio, or "
                "use compression=lowrank_deep"
            )

    def _size(
        self,
        rest: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        factors: Mapping[str, Tensor],
    ) -> int:
        dtype = getattr(torch, self.dtype)
        parameters = {**rest, **factors}
        rounded = {name: round_to(t.detach(), dtype) for name, t in parameters.items()}
        return self.measure({**rounded, **buffers})


def factors_or_rule(
    *,
    factors: float | None,
    energy: float | None,
    price: float | None,
    ranks: Mapping[str, int] | None,
    bytes: float | None,
    dtype: str,
    measure: Callable[[Mapping[str, Tensor]], int],
) -> float | FactorsForSize | None:
    """What `LearnRanks` takes for its share, from the knobs of a recipe.

    Args:
        factors: the share itself, or None.
        energy: or a threshold; then there is no share.
        price: or a price; then there is no share.
        ranks: or ranks by layer; then there is no share.
        bytes: of the file, for when none of these is given.
        dtype: see `FactorsForSize`.
        measure: see `FactorsForSize`.

    Raises:
        ValueError: if nothing is given.
    """
    if energy is not None or price is not None or ranks is not None:
        return None
    if factors is not None:
        return factors
    if bytes is None:
        raise ValueError("compression: give a ratio, bytes, factors, energy, price or ranks")
    return FactorsForSize(measure=measure, bytes=bytes, dtype=dtype)
