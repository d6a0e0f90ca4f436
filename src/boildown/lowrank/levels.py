"""The rank of a layer, for the sensitivity of layers: `boildown.allocate.levels.Levels`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from boildown.allocate.levels import Layer, whole

if TYPE_CHECKING:
    from torch import Tensor


class Rank:
    """The best matrix of a rank; the cost is the parameters of its factors, without the bias.

    A convolution's weight is flattened to outputs x the rest, each group's by itself.
    """

    name = key = level_unit = "rank"
    cost_unit = "parameters"
    scale: Literal["doubling"] = "doubling"

    def said(self, level: float) -> str:
        return f"rank {level:g}"

    def check(self, level: float) -> float:
        return whole(level, "a rank", 1)

    def most(self, layer: Layer) -> float:
        _, outputs, inputs = _shape(layer)
        return min(outputs, inputs)

    def default(self, layer: Layer) -> Sequence[float]:
        dense, ranks = self.cost(layer, None), range(1, int(self.most(layer)) + 1)
        saving = [rank for rank in ranks if self.cost(layer, rank) < dense]
        return [rank for rank in saving if rank & (rank - 1) == 0 or rank == saving[-1]]

    def cost(self, layer: Layer, level: float | None) -> float:
        if level is None:
            return float(layer.weight.numel())
        groups, outputs, inputs = _shape(layer)
        return float(groups * level * (outputs + inputs))

    def changes(self, layer: Layer) -> "Callable[[float], Tensor]":
        import torch

        from boildown.lowrank.svd import decompose

        weight = layer.weight.detach()
        spectra = [decompose(matrix) for matrix in weight.reshape(_shape(layer))]
        return lambda level: torch.stack(
            [spectrum.truncate(int(level)).product() for spectrum in spectra]
        ).reshape(weight.shape)


def _shape(layer: Layer) -> tuple[int, int, int]:
    """Groups, outputs of a group and inputs of a group of a layer that factors could replace.

    None of them for what a module computes with otherwise, such as the weights of a GRU.
    """
    from torch import nn

    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)
    for module, attribute in layer.owners:
        if attribute == "weight" and isinstance(module, kinds):
            groups, weight = int(getattr(module, "groups", 1)), layer.weight
            return groups, len(weight) // groups, weight[0].numel()
    return 0, 0, 0


LEVELS = Rank()
