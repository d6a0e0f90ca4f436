"""How much of a layer is cut, for the sensitivity of layers: `boildown.allocate.levels.Levels`."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from boildown.allocate.levels import Layer

if TYPE_CHECKING:
    from torch import Tensor

    from boildown.prune.patterns import Pattern

SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)


class Sparsity:
    """Its smallest magnitudes at zero; the cost is the weights that are left."""

    name = key = level_unit = "sparsity"
    cost_unit = "nonzero weights"
    scale: Literal["linear"] = "linear"

    def said(self, level: float) -> str:
        return f"{100 * level:g} % zeros"

    def check(self, level: float) -> float:
        if not 0.0 <= level <= 1.0:
            raise ValueError(f"a sparsity must be in [0, 1], got {level:g}")
        return float(level)

    def most(self, layer: Layer) -> float:
        return 1.0

    def default(self, layer: Layer) -> Sequence[float]:
        dense = self.cost(layer, None)
        return [level for level in SPARSITIES if self.cost(layer, level) < dense]

    def cost(self, layer: Layer, level: float | None) -> float:
        count = layer.weight.numel()
        return float(count - round((level or 0.0) * count))

    def changes(self, layer: Layer) -> "Callable[[float], Tensor]":
        from boildown.prune.masks import layer_masks

        weight = layer.weight.detach()
        scores = {"weight": weight.abs()}
        return lambda level: weight.where(layer_masks(scores, {"weight": level})["weight"], 0)


class SparsityByScore(Sparsity):
    """Its smallest scores at zero, in a pattern; layers without scores are left alone.

    Args:
        scores: name of a layer's weight -> scores, of its shape.
        pattern: what is cut as one.
    """

    def __init__(self, scores: "Mapping[str, Tensor]", pattern: "Pattern") -> None:
        self.scores, self.pattern = scores, pattern

    def most(self, layer: Layer) -> float:
        return 1.0 if layer.name in self.scores else 0.0

    def changes(self, layer: Layer) -> "Callable[[float], Tensor]":
        from boildown.prune.masks import layer_masks

        weight, scores = layer.weight.detach(), {"": self.scores[layer.name]}
        return lambda level: weight.where(layer_masks(scores, {"": level}, self.pattern)[""], 0)


LEVELS = Sparsity()
