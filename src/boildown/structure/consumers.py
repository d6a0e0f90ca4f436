"""Who reads what a layer puts out, and through which of its inputs.

Found by trying: some outputs of a layer are changed, every other layer is held to what it put out
before, and what then changes is what reads them. So any forward pass works, whatever lies between
(activations, pooling, batch normalisation, reshaping, shuffling), as long as it keeps the outputs
apart.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from boildown.calibrate.samples import layer_of
from boildown.forward import evaluating, first_input, hooks, inputs_of, run, tensors_of

FEW = 8  # samples that are enough to see what changes


@dataclass(frozen=True)
class Reader:
    """The one layer that reads a layer's outputs.

    Attributes:
        layer: its dotted path.
        inputs: (outputs, k) the k inputs of it that each output reaches, which no other output
            reaches: features of a Linear, channels of a Conv2d.
    """

    layer: str
    inputs: Tensor


def readers(model: nn.Module, batch: Any, layers: Iterable[str]) -> dict[str, Reader]:
    """The sole reader of each layer, for those that have one.

    A layer has none if it is called more than once; if its outputs are the model's, or reach
    several layers (a skip connection), or something else than a Linear or Conv2d that keeps them
    apart; if either has groups.

    Args:
        model: takes a batch of inputs alone; in evaluation mode it must say the same every time.
        batch: as in `boildown.calibrate.batches.Data`; its first few samples are enough.
        layers: dotted paths of Linear or Conv2d modules.

    Raises:
        ValueError: if the batch has no tensor; for a layer that the model does not have or that is
            neither Linear nor Conv2d.
    """
    wanted = {name: layer_of(model, name) for name in layers}
    inputs = inputs_of(batch)[:FEW]
    with evaluating(model):
        trial = _Trial(model, inputs)
        found = {name: trial.reader(name, module) for name, module in wanted.items()}
    return {name: reader for name, reader in found.items() if reader is not None}


class _Trial:
    """What each layer took and gave on some inputs, and what changes if one gives another."""

    def __init__(self, model: nn.Module, inputs: Tensor) -> None:
        self.model, self.inputs = model, inputs
        self.modules = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d)
        }
        self.took: dict[str, list[Tensor]] = {name: [] for name in self.modules}  # call by call
        self.gave: dict[str, list[Tensor]] = {name: [] for name in self.modules}

        def record(name: str, module: nn.Module, took: Tensor, gave: Tensor) -> None:
            self.took[name].append(took.clone())
            self.gave[name].append(gave.clone())

        with _hooked(self.modules, record):
            self.said = [t.clone() for t in tensors_of(run(model, inputs))]

    def reader(self, name: str, module: nn.Module) -> Reader | None:
        outputs = len(module.get_parameter("weight"))
        if outputs < 2 or not self._alone(name):
            return None
        numbers = torch.arange(outputs)  # what an input changes with tells it one, digit by digit
        digits: list[Tensor] = []
        layer, reached = "", torch.empty(0)
        for place in range((outputs - 1).bit_length()):
            ones = (numbers >> place) % 2 == 1
            with_one, with_zero = (self.changed(name, module, chosen) for chosen in (ones, ~ones))
            if with_one is None or with_zero is None:
                return None
            (first, one), (second, zero) = with_one, with_zero
            if not place:
                layer, reached = first, one | zero
            if {first, second} != {layer} or not torch.equal(one ^ zero, reached):
                return None  # several layers, or an input that several outputs reach
            digits.append(one.long() << place)
        inputs = reached.nonzero()[:, 0]
        owners = torch.stack(digits).sum(0)[inputs]
        counts = owners.bincount(minlength=outputs)
        if len(counts) > outputs or counts.min() < counts.max() or not self._alone(layer):
            return None
        return Reader(layer, inputs[owners.argsort(stable=True)].view(outputs, -1))

    def changed(self, name: str, module: nn.Module, chosen: Tensor) -> tuple[str, Tensor] | None:
        """The layer that takes other inputs when a layer's chosen outputs are others, and which.

        None if there is none or several, if the model itself says something else, or if it then
        does something else, as one that decides by what it computes.
        """
        found: dict[str, Tensor] = {}
        calls: Counter[str] = Counter()
        other = self.gave[name][0].clone()
        outputs = other.movedim(_axis(module, other), -1)
        fresh = 0.5 + torch.rand(outputs.shape, generator=torch.Generator().manual_seed(0))
        scale = 1.0 + outputs.abs().mean()
        outputs[..., chosen] = (scale * fresh.to(outputs))[..., chosen]

        def hold(layer: str, module: nn.Module, took: Tensor, gave: Tensor) -> Tensor:
            call = calls[layer]
            calls[layer] += 1
            if layer == name:
                return other.clone()
            before, answer = self.took[layer][call], self.gave[layer][call]
            if took.shape != before.shape:
                raise _DoesSomethingElseError
            moved = (took != before).movedim(_axis(module, took), -1)
            if moved.any():
                inputs = moved.reshape(-1, moved.shape[-1]).any(0).cpu()
                found[layer] = inputs | found.get(layer, inputs)
            return answer.clone()  # may be changed in place

        try:
            with _hooked(self.modules, hold):
                said = tensors_of(run(self.model, self.inputs))
        except Exception:  # whatever the forward pass raises when its layers give something else
            return None
        same = len(said) == len(self.said) and all(map(torch.equal, said, self.said))
        if len(found) != 1 or not same or any(calls[n] != len(self.took[n]) for n in self.took):
            return None
        return next(iter(found.items()))

    def _alone(self, name: str) -> bool:
        """Whether a layer is called once, and all its outputs see all its inputs."""
        return len(self.took[name]) == 1 and getattr(self.modules[name], "groups", 1) == 1


class _DoesSomethingElseError(Exception):
    pass


def _axis(module: nn.Module, tensor: Tensor) -> int:
    """Of the features or channels."""
    return -1 if isinstance(module, nn.Linear) else tensor.ndim - 3


@contextmanager
def _hooked(
    modules: Mapping[str, nn.Module],
    see: Callable[[str, nn.Module, Tensor, Tensor], Tensor | None],
) -> Iterator[None]:
    """Hooks on all modules, called with what each takes and gives, and what they return instead."""

    def hook(name: str, module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor | None:
        return see(name, module, first_input(args, kwargs), output)

    with hooks() as handles:
        for name, module in modules.items():
            handles.append(module.register_forward_hook(partial(hook, name), with_kwargs=True))
        yield
