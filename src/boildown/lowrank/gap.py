"""How far a layer's outputs are from what they were.

The root of the squared error over the variance: 0.1 is a tenth of what the outputs vary by.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor, nn

from boildown.forward import evaluating, hooks, run

NONE: Mapping[str, Tensor] = MappingProxyType({})


def relative_gap(before: Tensor, now: Tensor, relu: bool) -> float:
    """Of (groups, rows, m), behind a ReLU or not; infinity for a change of what never varies."""
    gap = _Gap()
    gap.update(_behind(before.transpose(0, 1), relu), _behind(now.transpose(0, 1), relu))
    return gap.relative()


def relative_gaps(
    dense: nn.Module,
    model: nn.Module,
    batches: Sequence[Tensor],
    layers: Mapping[str, bool],
    kept: Mapping[str, Tensor] = NONE,
) -> dict[str, float]:
    """Of some layers of a network, on the batches; of a layer's calls all together.

    Args:
        dense: the network to compare with.
        model: one with layers of these names.
        batches: inputs of either.
        layers: dotted paths -> whether only the ReLU of what they put out is used.
        kept: layer -> those of the outputs in `dense` that it has in `model`; all if absent.
    """
    gaps = {name: _Gap() for name in layers}
    with evaluating(dense), evaluating(model):
        for batch in batches:
            before, now = _responses(dense, batch, layers), _responses(model, batch, layers)
            for name, gap in gaps.items():
                for was, became in zip(before[name], now[name], strict=True):
                    gap.update(_some(dense, name, was, kept), became)
    return {name: gap.relative() for name, gap in gaps.items()}


def _some(model: nn.Module, name: str, outputs: Tensor, kept: Mapping[str, Tensor]) -> Tensor:
    """Those of a layer's outputs that are kept."""
    if name not in kept:
        return outputs
    axis = -1 if isinstance(model.get_submodule(name), nn.Linear) else outputs.ndim - 3
    return outputs.index_select(axis, kept[name].to(outputs.device))


class _Gap:
    """Squared error and variance of a stream of samples, whose shapes may differ."""

    def __init__(self) -> None:
        self.missed = 0.0
        self.origins: dict[torch.Size, Tensor] = {}  # a sample of each: what is constant has none
        self.sums: dict[torch.Size, Tensor] = {}
        self.squares: dict[torch.Size, float] = {}
        self.counts: dict[torch.Size, int] = {}

    def update(self, before: Tensor, now: Tensor) -> None:
        y, z, shape = before.double(), now.double(), before.shape[1:]
        self.missed += float((y - z).square().sum())
        away = y - self.origins.setdefault(shape, y[0])
        total = away.sum(0)
        self.sums[shape] = self.sums[shape] + total if shape in self.sums else total
        self.squares[shape] = self.squares.get(shape, 0.0) + float(away.square().sum())
        self.counts[shape] = self.counts.get(shape, 0) + len(y)

    def relative(self) -> float:
        spread = sum(
            self.squares[shape] - float(total.square().sum()) / self.counts[shape]
            for shape, total in self.sums.items()
        )
        if spread > 0.0:
            return math.sqrt(self.missed / spread)
        return math.inf if self.missed else 0.0


def _behind(outputs: Tensor, relu: bool) -> Tensor:
    return outputs.relu() if relu else outputs


def _responses(
    model: nn.Module, batch: Tensor, layers: Mapping[str, bool]
) -> dict[str, list[Tensor]]:
    """What each call of a layer puts out."""
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}

    def see(name: str, module: nn.Module, args: object, output: Tensor) -> None:
        seen[name].append(_behind(output, layers[name]).clone())

    with hooks() as handles:
        for name in layers:
            handles.append(model.get_submodule(name).register_forward_hook(partial(see, name)))
        run(model, batch)
    return seen
