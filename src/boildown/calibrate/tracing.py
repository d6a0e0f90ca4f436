"""What becomes of layers' outputs and weights: seen while one batch passes through the model."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from boildown.forward import evaluating, hooks, inputs_of, run, tensors_of

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Following:
    """What becomes of a layer's output.

    Attributes:
        relu: whether all that is made of it is its ReLU, taken directly, after batch
            normalisation, or after what commutes with a ReLU (max-pooling, reshaping).
        batchnorm: dotted path of the batch normalisation that is its only consumer, which has no
            other input; or None.
    """

    relu: bool
    batchnorm: str | None


def follows(model: nn.Module, batch: Any) -> dict[str, Following]:
    """What follows each Linear and Conv2d that a batch reaches, in the order they are reached.

    Found by the identity of tensors while the batch passes through, so any forward pass works. A
    layer whose output is used in any other way too (a skip connection, the model's own output) is
    not followed by the ReLU alone: `relu` is False.

    Args:
        model: takes a batch of inputs alone.
        batch: as in `boildown.calibrate.batches.Data`.

    Returns:
        Dotted path -> what follows. A module under several names has the first.

    Raises:
        ValueError: if the batch has no tensor.
    """
    watch = Watch()
    with evaluating(model), hooks() as handles:
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                handles.append(module.register_forward_hook(partial(watch.after_layer, name)))
            elif isinstance(module, NORMS):
                handles.append(module.register_forward_pre_hook(watch.before_norm))
                handles.append(module.register_forward_hook(partial(watch.after_norm, name)))
        inputs = inputs_of(batch)
        with watch:
            output = run(model, inputs)
        watch.other_uses(tensors_of(output))
    return watch.found()


RELUS: tuple[Any, ...] = (torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu, F.relu_)
COMMUTING: tuple[Any, ...] = (
    *(F.max_pool1d, F.max_pool2d, F.max_pool3d, F.adaptive_max_pool1d, F.adaptive_max_pool2d),
    *(F.max_pool1d_with_indices, F.max_pool2d_with_indices, F.max_pool3d_with_indices),
    *(torch.max_pool1d, torch.max_pool2d, torch.max_pool3d, torch.flatten, torch.reshape),
    *(Tensor.flatten, Tensor.reshape, Tensor.view, Tensor.contiguous, Tensor.permute),
    *(torch.permute, Tensor.transpose, torch.transpose, Tensor.squeeze, Tensor.unsqueeze),
    *(Tensor.unflatten, torch.unflatten),
)
DROPOUTS: tuple[Any, ...] = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, torch.dropout)
OTHER = "other"


@dataclass
class _Tag:
    """Which layer a tensor is the output of, and how far it has come from it."""

    layer: str
    linear: bool
    normed: bool
    moved: bool
    tensor: Tensor  # held, so that its id is not used again


class Watch(TorchFunctionMode):
    """See every function that is called, and note the uses of layers' outputs."""

    def __init__(self, relued: Callable[[str, Tensor], None] | None = None) -> None:
        """Watch.

        Args:
            relued: called with layer and ReLU where one is taken of a layer's output directly.
        """
        super().__init__()
        self.relued = relued
        self.tags: dict[int, _Tag] = {}
        self.uses: dict[str, set[str]] = {}  # of the layer's output: "relu", OTHER, a batch norm
        self.uses_normed: dict[str, set[str]] = {}
        self.norm: list[Tensor] = []  # the inputs of the batch norms that are computing now
        self.normalised: dict[str, set[str | None]] = {}  # norm -> the layers it was applied to

    def after_layer(self, name: str, module: nn.Module, _: Any, output: Tensor) -> None:
        self.uses.setdefault(name, set())
        self.uses_normed.setdefault(name, set())
        linear = isinstance(module, nn.Linear)
        self._tag(output, _Tag(name, linear, normed=False, moved=False, tensor=output))

    def before_norm(self, _: nn.Module, args: Any) -> None:
        self.norm.append(args[0])

    def after_norm(self, name: str, module: nn.Module, _: Any, output: Tensor) -> None:
        tag = self.tags.get(id(self.norm.pop()))
        layer = None  # that it normalises, channel by channel and as it is
        if tag is not None and not tag.normed and not tag.moved:
            layer = tag.layer if tag.tensor.ndim == (2 if tag.linear else 4) else None
        self.normalised.setdefault(name, set()).add(layer)
        if tag is not None:
            self._use(tag, OTHER if layer is None else f"norm {name}")
            if layer is not None:
                self._tag(output, replace(tag, normed=True))

    def other_uses(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            if id(tensor) in self.tags:
                self._use(self.tags[id(tensor)], OTHER)

    def found(self) -> dict[str, Following]:
        result = {}
        for layer, uses in self.uses.items():
            norm = next(iter(uses)).removeprefix("norm ") if len(uses) == 1 else None
            if norm is not None and self.normalised.get(norm) != {layer}:
                norm = None
            last = uses if norm is None else self.uses_normed[layer]
            result[layer] = Following(last == {"relu"}, norm)
        return result

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tags = [self.tags[id(t)] for t in tensors_of((args, kwargs)) if id(t) in self.tags]
        output = func(*args, **kwargs)
        made = tensors_of(output)
        if self.norm or not (made or func is Tensor.__setitem__):
            return output
        for tag in tags:
            if func in RELUS:
                self._use(tag, "relu")
                if self.relued is not None and not tag.moved:
                    self.relued(tag.layer, made[0])
                if made[0] is tag.tensor:
                    self.tags.pop(id(tag.tensor), None)
            elif func in COMMUTING or (func in DROPOUTS and made[0] is tag.tensor):
                self._tag(made[0], replace(tag, moved=made[0] is not tag.tensor or tag.moved))
            else:
                self._use(tag, OTHER)
        return output

    def _use(self, tag: _Tag, what: str) -> None:
        (self.uses_normed if tag.normed else self.uses)[tag.layer].add(what)

    def _tag(self, tensor: Tensor, tag: _Tag) -> None:
        self.tags[id(tensor)] = replace(tag, tensor=tensor)


def read_elsewhere(model: nn.Module, batch: Any) -> set[str]:
    """The layers whose weight something else than their own forward pass computes with.

    A decoder that takes its encoder's weight, for one: where the layer is replaced, that fails.

    Args:
        model: takes a batch of inputs alone.
        batch: as in `boildown.calibrate.batches.Data`.

    Returns:
        Dotted paths; a module under several names has the first.

    Raises:
        ValueError: if the batch has no tensor.
    """
    owners = {
        id(module._parameters["weight"]): name
        for name, module in model.named_modules()
        if module._parameters.get("weight") is not None
    }
    reads = _Reads(owners)
    with evaluating(model), hooks() as handles:
        for module in model.modules():
            weight = module._parameters.get("weight")
            if weight is not None:
                enter, leave = partial(reads.enter, id(weight)), partial(reads.leave, id(weight))
                handles.append(module.register_forward_pre_hook(enter, prepend=True))
                handles.append(module.register_forward_hook(leave, always_call=True))
        with reads:
            run(model, inputs_of(batch))
    return reads.found


class _Reads(TorchFunctionMode):
    """See which weights functions are given outside of their own layer."""

    def __init__(self, owners: Mapping[int, str]) -> None:
        super().__init__()
        self.owners = owners  # id of a weight -> its layer
        self.inside: Counter[int] = Counter()
        self.found: set[str] = set()

    def enter(self, weight: int, *_: Any) -> None:
        self.inside[weight] += 1

    def leave(self, weight: int, *_: Any) -> None:
        self.inside[weight] -= 1

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if tensors_of(output):  # else a device or a shape, which any parameter may be asked for
            for tensor in tensors_of((args, kwargs)):
                if id(tensor) in self.owners and not self.inside[id(tensor)]:
                    self.found.add(self.owners[id(tensor)])
        return output
