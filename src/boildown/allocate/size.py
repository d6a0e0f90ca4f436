"""A file of the asked size: how much the one technique that is left open compresses.

Pure: what the techniques would do and what measures a file are handed in.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

DENSE_BYTES = 4  # per parameter: what every ratio is measured against
LANDING = 0.005  # of the size, below it: where the search is content
MARGIN = 0.002  # of the size, that tuning may still add: codes depend on values and places
_TINY = 500  # bytes, of which there is none to spare


class UnreachableSizeError(ValueError):
    """No amount gives a file of the asked size."""


class Preview(Protocol):
    """What a technique would make of the parameters (`boildown.callbacks.technique.Technique`)."""

    def __call__(
        self, weights: Mapping[str, Tensor], amount: float | None = None
    ) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class AskedSize:
    """The size that a file is to have, and what decides how large it will be.

    Attributes:
        bytes: of the file, at most.
        dense: bytes of the model's parameters in fp32.
        measure: name -> parameter, to the bytes of their file.
        open: preview of the technique whose amount is to be found.
        then: previews of the techniques that act after it, in order.
        settled_at: progress at which the next technique begins, up to which the amount may be
            corrected.
        asked: the knob and its value, for errors.
    """

    bytes: float
    dense: float
    measure: Callable[[Mapping[str, Tensor]], int]
    open: Preview
    then: Sequence[Preview] = ()
    settled_at: float = 1.0
    asked: str = "compression.bytes"

    def amount(self, weights: Mapping[str, Tensor]) -> float:
        """How much the open technique is to compress, by bisection and interpolation in turns.

        Args:
            weights: all parameters of the file as they are now.

        Returns:
            An amount in [0, 1]. The file it gives is at most as large as asked; and it is less than
            half a percent smaller, as far as the technique has amounts so close to each other.

        Raises:
            UnreachableSizeError: if the largest amount gives too large a file.
        """
        smallest = self.check_reach(weights)
        low, high, largest = 0.0, 1.0, math.inf  # and the sizes that they give
        margin = MARGIN * self.bytes if self.bytes > _TINY else 0.0
        most = min(self.bytes, max(self.bytes - margin, smallest))
        entries = sum(weight.numel() for weight in weights.values())
        for step in range(2 * math.ceil(math.log2(entries + 1)) + 2):
            middle = (low + high) / 2
            if step % 2 and largest < math.inf:
                middle = self._between(low, largest, high, smallest)
            size = self._size(weights, middle)
            if (1.0 - LANDING) * self.bytes <= size <= most:
                return middle
            if middle == 0.5 and size <= most and self._size(weights, 0.0) <= most:
                return 0.0
            if size > most:
                low, largest = middle, size
            else:
                high, smallest = middle, size
        return high

    def _between(self, low: float, largest: float, high: float, smallest: float) -> float:
        """Where a size that falls evenly by percents meets the asked one, not too near an end."""
        wanted = math.log(max(self.bytes * (1.0 - (LANDING + MARGIN) / 2), 1.0))
        fall = max(math.log(largest) - math.log(max(smallest, 1)), 1e-12)
        part = (math.log(largest) - wanted) / fall
        return low + (high - low) * min(max(part, 0.02), 0.98)

    def check_reach(self, weights: Mapping[str, Tensor]) -> int:
        """Refuse a size that the largest amount exceeds.

        Returns:
            The bytes that it gives.

        Raises:
            UnreachableSizeError: naming the size within reach.
        """
        smallest = self._size(weights, 1.0)
        if smallest > self.bytes:
            raise UnreachableSizeError(
                f"a file of {self.bytes:.0f} bytes ({self.asked}) is out of reach: "
                f"with as much compressed as can be it takes {smallest} bytes, a ratio of "
                f"{self.dense / smallest:.4g}; ask for a larger file, or more techniques, as in "
                "compression=lowrank_deep"
            )
        return smallest

    def _size(self, weights: Mapping[str, Tensor], amount: float) -> int:
        content = self.open(weights, amount)
        for preview in self.then:
            content = preview(content)
        return self.measure(content)
