"""What half precision does to gradients: pure functions on tensors.

fp16 holds magnitudes from 2^-24 (6.0e-8) to 65504. A gradient beyond is infinite, one at or below
2^-25 becomes zero. `boildown.callbacks.loss_scaling.LossScaling` decides when to call these.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

GOLDEN = 0.6180339887498949  # the golden ratio less 1; its multiples are spread evenly modulo 1
PROBE_SEED = 2.0**60  # gradient of the loss in a probe: lifts 2^-84 into fp16's range


@dataclass
class Fraction:
    """How many entries have a property, and how many could: counts of several batches add up.

    Attributes:
        part: entries that have the property.
        whole: all entries that could have it.
    """

    part: int = 0
    whole: int = 0

    def add(self, part: int, whole: int) -> None:
        """Count some more."""
        self.part, self.whole = self.part + part, self.whole + whole

    @property
    def value(self) -> float:
        """The part divided by the whole, in [0, 1]; 0 of nothing."""
        return self.part / self.whole if self.whole else 0.0


def order_one(gradient: Tensor) -> Tensor:
    """The same zeros and signs, with magnitudes in [1, 2).

    A backward pass through layers that hand on such a gradient can neither overflow nor flush to
    zero, so what is zero in it has no path to the loss: a dead ReLU, a masked token, a weight that
    is zero. The magnitudes differ from entry to entry, so that sums of equal weights do not cancel.

    Args:
        gradient: float tensor of any shape; infinite and NaN entries count as not zero.

    Returns:
        same shape, dtype and device; nothing random.
    """
    count = gradient.numel()
    steps = torch.arange(count, dtype=torch.float64, device=gradient.device)
    sizes = 1.0 + (steps * GOLDEN).frac().reshape(gradient.shape)
    signs = torch.where(gradient < 0, -1.0, (gradient != 0).double())  # NaN is not zero
    return (signs * sizes).to(gradient.dtype)


def flushed(gradient: Tensor, alive: Tensor) -> tuple[int, int]:
    """How many entries are zero though they have a path to the loss.

    Args:
        gradient: as it was computed, of any shape.
        alive: bool, same shape: where a probe's gradient is not zero.

    Returns:
        the number of flushed entries, and of those alive.
    """
    return int(((gradient == 0) & alive).sum()), int(alive.sum())


def overflowed(gradient: Tensor) -> int:
    """How many entries are infinite or NaN."""
    return gradient.numel() - int(torch.isfinite(gradient).sum())
