"""Weights that are held at zero where a mask says so."""

from collections.abc import Mapping

import torch
from torch import Tensor


class Zeros:
    """The masks as bools, to save, and as bits, to hold with.

    A bitwise and takes one pass and clears all a cut weight may hold: 0 * nan would be nan.

    Attributes:
        masks: name -> bool tensor of the weight's shape; False is zero.
        densities: name -> fraction that stays.
        weights: name -> the parameter that is held.
    """

    def __init__(self) -> None:
        self.masks: dict[str, Tensor] = {}
        self.densities: dict[str, float] = {}
        self.weights: dict[str, Tensor] = {}
        self._bits: list[Tensor] = []

    def take(self, masks: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
        """Hold these weights by these masks from now on; nothing is cleared yet."""
        self.weights = {name: weights[name] for name in masks}
        self.masks = {name: mask.to(weights[name].device) for name, mask in masks.items()}
        self.densities = {n: int(m.sum()) / m.numel() for n, m in self.masks.items()}
        self._bits = [
            mask.to(_integers(self.weights[name])).neg_() for name, mask in self.masks.items()
        ]

    @property
    def sparsity(self) -> float:
        """Fraction of zeros over all."""
        total = sum(mask.numel() for mask in self.masks.values())
        return sum(int((~mask).sum()) for mask in self.masks.values()) / total if total else 0.0

    def clear_gradients(self) -> None:
        """Set the gradients of what is held to zero."""
        for weight, bits in zip(self.weights.values(), self._bits, strict=True):
            if weight.grad is not None:
                weight.grad.view(bits.dtype).bitwise_and_(bits)

    def clear(self) -> None:
        """Set what is held to zero."""
        for weight, bits in zip(self.weights.values(), self._bits, strict=True):
            weight.view(bits.dtype).bitwise_and_(bits)


def _integers(tensor: Tensor) -> torch.dtype:
    """The integers as wide as the tensor's floats."""
    return {2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
