"""How active the units of layers are: outputs of linear layers, channels of convolutions."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from boildown.calibrate.tracing import NORMS, Watch
from boildown.forward import evaluating, hooks, run

_Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(frozen=True)
class Activity:
    """What the units of a layer did on calibration data.

    Attributes:
        zeros: (units,) float64, the fraction of a unit's activations that are exactly zero.
        mean: (units,) float64, the mean absolute value of its activations.
    """

    zeros: Tensor
    mean: Tensor


def activities(
    model: nn.Module, batches: Iterable[Tensor], layers: Iterable[str]
) -> dict[str, Activity]:
    """How active the units of layers are.

    An activation is what the ReLU makes of a unit where one is taken of the layer's output, be it
    after batch normalisation; else the output itself.

    Args:
        model: takes a batch of inputs alone; it is left as it was.
        batches: of inputs.
        layers: dotted paths; those of other layers than linear and convolution, and those that
            nothing reaches, are left out.

    Returns:
        Layer -> activity.
    """
    modules = dict(model.named_modules())
    wanted = {n: modules[n] for n in layers if isinstance(modules.get(n), nn.Linear | _Conv)}
    own = {name: _Sums() for name in wanted}
    behind = {name: _Sums() for name in wanted}

    def relued(name: str, output: Tensor) -> None:
        if name in wanted:
            behind[name].add(_by_unit(wanted[name], output))

    def put_out(name: str, module: nn.Module, _: Any, output: Tensor) -> None:
        own[name].add(_by_unit(module, output))

    for inputs in batches:
        watch = Watch(relued)
        with evaluating(model), hooks() as handles:
            for name, module in wanted.items():
                handles.append(module.register_forward_hook(partial(put_out, name)))
                handles.append(module.register_forward_hook(partial(watch.after_layer, name)))
            for name, module in modules.items():
                if isinstance(module, NORMS):
                    handles.append(module.register_forward_pre_hook(watch.before_norm))
                    handles.append(module.register_forward_hook(partial(watch.after_norm, name)))
            with watch:
                run(model, inputs)
    seen = {name: behind[name] if behind[name].count else own[name] for name in wanted}
    return {name: sums.activity() for name, sums in seen.items() if sums.count}


def _by_unit(layer: nn.Module, output: Tensor) -> Tensor:
    """(units, activations)."""
    axis = -1 if isinstance(layer, nn.Linear) else 1 - layer.get_parameter("weight").ndim
    return output.detach().movedim(axis, 0).flatten(1)


class _Sums:
    """Sums over the activations of each unit."""

    def __init__(self) -> None:
        self.count = 0
        self._zeros: Tensor | float = 0.0
        self._sizes: Tensor | float = 0.0

    def add(self, found: Tensor) -> None:
        self.count += found.shape[1]
        self._zeros = self._zeros + (found == 0).double().sum(1)
        self._sizes = self._sizes + found.double().abs().sum(1)

    def activity(self) -> Activity:
        return Activity(
            torch.as_tensor(self._zeros / self.count), torch.as_tensor(self._sizes / self.count)
        )
