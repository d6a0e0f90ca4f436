"""How latent weights become what a network sees, and what of its gradients goes back to them.

A rounding has steps that are learned, by blocks: one for a uniform grid, two for a ternary one.
Everything is a function of the latent weights and the steps; nothing is kept.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from boildown.quantize.grid import HALF, Grid, limits
from boildown.quantize.observers import THRESHOLD, Observer, fit_grid


class Rounding(Protocol):
    """Of blocks (blocks, n) with steps (blocks, k) above 0."""

    @property
    def most(self) -> int:
        """Distinct values that a block may have."""

    def start(self, blocks: Tensor) -> Tensor:
        """Steps that suit latent weights."""

    def seen(self, blocks: Tensor, steps: Tensor) -> Tensor:
        """What the network sees, (blocks, n)."""

    def back(
        self, grad: Tensor, blocks: Tensor, seen: Tensor, steps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """From the gradient by what is seen, overwritten: by latent weights, and by steps."""

    def drawn(self, blocks: Tensor, steps: Tensor, slack: float) -> Tensor:
        """What the network sees of weights that are only drawn to their grid.

        Args:
            blocks: the latent weights.
            steps: of the grid.
            slack: 1 leaves them where they are, 0 rounds them.

        Source: Jin et al. 2025 (PARQ), https://arxiv.org/abs/2503.15748
        """


@dataclass(frozen=True)
class Uniform:
    """Whole multiples of a step.

    Args:
        bits: 2 to 8.
        observer: how steps start.

    Source: Esser et al. 2020 (LSQ), https://arxiv.org/abs/1902.08153
    """

    bits: int
    observer: Observer = "sigma"

    @property
    def most(self) -> int:
        return int(2**self.bits)

    def grid(self, steps: Tensor) -> Grid:
        """The grid of such steps."""
        return Grid(steps, torch.zeros_like(steps), *limits(self.bits))

    def start(self, blocks: Tensor) -> Tensor:
        return fit_grid(blocks, self.bits, observer=self.observer).scale

    def seen(self, blocks: Tensor, steps: Tensor) -> Tensor:
        low, high = limits(self.bits)
        if blocks.dtype != torch.float32:
            return self.grid(steps).nearest(blocks)
        if blocks.device.type == "cpu":  # torch's own operator takes ten times as long there
            found = torch.mul(blocks, 1.0 / steps).round_().clamp_(low, high)
            return found.add_(0.0).mul_(steps)  # never -0.0
        zero = torch.zeros(len(steps), dtype=torch.int32, device=blocks.device)
        return torch.fake_quantize_per_channel_affine(blocks, steps.flatten(), zero, 0, low, high)

    def back(
        self, grad: Tensor, blocks: Tensor, seen: Tensor, steps: Tensor
    ) -> tuple[Tensor, Tensor]:
        off = (seen - blocks).abs_()
        inside = torch.le(off, steps * HALF, out=off)  # 0 and 1: booleans are slow
        slope = torch.linalg.vecdot(grad, seen)
        passed = grad.mul_(inside)  # what is clipped keeps its gradient for the step alone
        slope -= torch.linalg.vecdot(passed, blocks)
        size = blocks.shape[1] * limits(self.bits)[1]
        return passed, slope[:, None].div_(steps * size**0.5)

    def drawn(self, blocks: Tensor, steps: Tensor, slack: float) -> Tensor:
        if slack <= 0.0:
            return self.seen(blocks, steps)
        low, high = limits(self.bits)
        at = (blocks / steps).clamp_(low, high)
        whole = at.floor()
        return (at.sub_(whole + 0.5).div_(slack).add_(0.5).clamp_(0.0, 1.0) + whole).mul_(steps)


@dataclass(frozen=True)
class Ternary:
    """A negative value, zero and a positive one; the two values are learned.

    Zero is what lies below 0.7 of the block's mean magnitude (Li et al. 2016), whose grid has the
    least squared error for normal weights.

    Source: Zhu et al. 2017 (TTQ), eq. 6 to 8, https://arxiv.org/abs/1612.01064; Li et al. 2016,
    https://arxiv.org/abs/1605.04711
    """

    @property
    def most(self) -> int:
        return 3

    def signs(self, blocks: Tensor) -> Tensor:
        """-1, 0 or 1 of each weight."""
        size = blocks.abs()
        alive = size > THRESHOLD * size.mean(1, keepdim=True)
        return torch.where(alive, blocks.sign(), 0.0)  # never -0.0

    def start(self, blocks: Tensor) -> Tensor:
        signs = self.signs(blocks)
        both = [_mean(blocks.abs(), signs == sign) for sign in (-1.0, 1.0)]
        return torch.cat(both, 1)

    def seen(self, blocks: Tensor, steps: Tensor) -> Tensor:
        signs = self.signs(blocks)
        return signs * torch.where(signs < 0, steps[:, :1], steps[:, 1:])

    def back(
        self, grad: Tensor, blocks: Tensor, seen: Tensor, steps: Tensor
    ) -> tuple[Tensor, Tensor]:
        down, up = seen < 0, seen > 0
        by_steps = [-(grad * down).sum(1, keepdim=True), (grad * up).sum(1, keepdim=True)]
        return grad, torch.cat(by_steps, 1) / blocks.shape[1] ** 0.5

    def drawn(self, blocks: Tensor, steps: Tensor, slack: float) -> Tensor:
        seen = self.seen(blocks, steps)
        return seen.lerp_(blocks, slack)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Of the values of each row where `mask` is, (rows, 1); 1 where it is nowhere."""
    count = mask.sum(1, keepdim=True)
    found = (values * mask).sum(1, keepdim=True) / count.clamp(min=1)
    return torch.where((count > 0) & (found > 0.0), found, 1.0)
