"""How far outputs may be from those of a network: by rounding, and by steps of grids."""

import math

import torch
from torch import Tensor, nn

from boildown.quantize.activations import grid_on


def differ(expected: Tensor, found: Tensor) -> float:
    """The largest difference, of the largest value; infinite if shapes or types differ."""
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return float("inf")
    if not expected.numel():
        return 0.0
    most = float(expected.abs().max())
    off = float((expected - found).abs().max())
    return off / most if most > 0.0 else off


def tolerance(least: float, dtype: torch.dtype) -> float:
    """What outputs may differ by, at least some steps of the numbers' own precision."""
    return max(least, 8.0 * torch.finfo(dtype).eps)


def steps_apart(model: nn.Module, expected: Tensor, *, each: bool = False) -> float:
    """What outputs of a network whose layers round their inputs may differ by, of the largest.

    An input that lies between two codes goes either way with the last digits of the sum that it is.
    For n such layers that is taken as sqrt(n) steps of a grid over the range of the outputs, of as
    many bits as the coarsest has. 0 for a network without them.

    Args:
        model: the network.
        expected: its outputs.
        each: n steps instead, where every layer's sums are moved a little, and all the same way.
    """
    bits = [grid.bits for layer in model.modules() if (grid := grid_on(layer)) is not None]
    if not bits or not expected.numel():
        return 0.0
    most, span = float(expected.abs().max()), float(expected.max() - expected.min())
    step = span / max(most, 1e-30) / float(2 ** min(bits) - 1)
    return step * (len(bits) if each else math.sqrt(len(bits)))
