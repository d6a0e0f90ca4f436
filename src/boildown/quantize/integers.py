"""Weights as whole numbers and steps, read out of their values alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from boildown.codec.steps import find_steps

FEWEST = 4  # values that share a step: of fewer, almost any has one
LARGEST = 255  # magnitude of a code, less its zero point


@dataclass(frozen=True)
class Integers:
    """A weight w = fp32(s * (q - z)), q in [-128, 127], s and z by groups of inputs.

    Attributes:
        codes: int8, of the weight's shape.
        steps: (outputs, groups), above 0 as they are found.
        zeros: int8, (outputs, groups); 0 unless a group has codes beyond 8 signed bits.
    """

    codes: Tensor
    steps: Tensor
    zeros: Tensor

    @property
    def group(self) -> int:
        """Inputs that share a step."""
        return self.codes[0].numel() // self.steps.shape[1]

    @property
    def bits(self) -> int:
        """That the codes need, 2 to 8."""
        most = max(int(self.codes.max()), -int(self.codes.min()) - 1, 1)
        return most.bit_length() + 1

    def values(self) -> Tensor:
        """The weight."""
        by_group = self.codes.reshape(*self.steps.shape, -1).float() - self.zeros[..., None]
        return (by_group * self.steps[..., None]).view(self.codes.shape)


def integers_of(weight: Tensor) -> Integers | None:
    """The whole numbers and steps of a weight that lies on a uniform grid.

    Args:
        weight: at least two axes, the first of outputs.

    Returns:
        With one step to each output where that is enough, else with the largest groups that have
        one; None if there are no such groups, or the weight is not fp32.
    """
    if weight.dtype != torch.float32 or weight.ndim < 2 or weight.is_meta:
        return None
    flat = weight.detach().cpu().flatten(1)
    inputs = flat.shape[1]
    for group in range(inputs, FEWEST - 1, -1):
        if inputs % group:
            continue
        blocks = flat.reshape(-1, group)
        steps = find_steps(blocks.numpy(), most=LARGEST)
        if steps is None:
            continue
        found = _integers(blocks, torch.from_numpy(steps)[:, None])
        if found is None:
            return None
        codes, zeros = found
        by_output = (len(flat), inputs // group)
        return Integers(
            codes.view(weight.shape),
            torch.from_numpy(steps).view(by_output),
            zeros.view(by_output),
        )
    return None


def _integers(blocks: Tensor, steps: Tensor) -> tuple[Tensor, Tensor] | None:
    """Codes (blocks, n) and zero points (blocks, 1) of values; None if 8 bits do not hold them."""
    whole = (blocks.double() / steps).round().int()
    low, high = whole.amin(1, keepdim=True), whole.amax(1, keepdim=True)
    if int((high - low).max()) > LARGEST:
        return None
    zeros = (127 - high).clamp(max=0) + (-128 - low).clamp(min=0)
    return (whole + zeros).to(torch.int8), zeros.to(torch.int8)


def may_clip(integers: Integers, largest: int) -> bool:
    """Whether two products of codes may exceed 16 bits.

    CPUs with AVX2 and without VNNI add the products of an unsigned and a signed byte in pairs, in
    signed 16 bits, and clip the sum silently. Weights of 7 bits never reach that.

    Args:
        integers: the weight.
        largest: code of the inputs, which are unsigned.
    """
    flat = integers.codes.flatten(1).int()
    ends = [side.topk(min(2, flat.shape[1]), 1).values.clamp(min=0) for side in (flat, -flat)]
    return largest * max(int(two.sum(1).max()) for two in ends) > 32767
