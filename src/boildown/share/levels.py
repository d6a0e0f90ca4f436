"""Bits per weight, for the sensitivity of layers: `boildown.allocate.levels.Levels`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from boildown.allocate.levels import Layer, whole

if TYPE_CHECKING:
    from torch import Tensor

BITS = (1, 2, 3, 4, 5, 6, 7, 8)
MOST = 16


class Bits:
    """Its values shared by k-means; the cost is its bytes at a fixed length, with the codebook."""

    name = key = "bits"
    level_unit, cost_unit = "bits per weight", "bytes"
    scale: Literal["each"] = "each"

    def said(self, level: float) -> str:
        return f"{level:g} bit" + "s" * (level != 1)

    def check(self, level: float) -> float:
        return whole(level, "bits", 1, MOST)

    def most(self, layer: Layer) -> float:
        return MOST

    def default(self, layer: Layer) -> Sequence[float]:
        dense = self.cost(layer, None)
        return [level for level in BITS if self.cost(layer, level) < dense]

    def cost(self, layer: Layer, level: float | None) -> float:
        count, width = layer.weight.numel(), layer.weight.element_size()
        if level is None:
            return float(count * width)
        return float(int(level) * count / 8 + min(2 ** int(level), count) * width)

    def changes(self, layer: Layer) -> "Callable[[float], Tensor]":
        from boildown.share.kmeans import share_tensor

        weight = layer.weight.detach()
        return lambda level: share_tensor(weight, int(level))


LEVELS = Bits()
