"""What goes into a model's layers and comes out of them on a few hundred samples, without training.

Every pass runs in evaluation mode without gradients, and leaves the model, its modes, its
batch-norm statistics and the random state as they were, whatever happens in between.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.data import Dataset, IterableDataset
from torch.utils.hooks import RemovableHandle

from boildown.flops import forward_flops

Data = Tensor | Iterable[Any]
"""One tensor of inputs, or batches: tensors, or lists, tuples or mappings with the inputs first."""

Take = Callable[[str, Tensor, Tensor], None]
BATCH = 256  # samples of a single tensor that go through the model at once
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class CalibrationError(ValueError):
    """The calibration data do not show what is asked of a layer."""


@dataclass(frozen=True)
class Samples:
    """Rows of one layer, in float32 or as precise as the layer computes.

    Attributes:
        inputs: (groups, rows, n); groups is 1 but for a grouped convolution.
        outputs: (groups, rows, m), bias included: weight @ input + bias of the group.
        batches: (rows,) the number of the batch that each row comes from.
    """

    inputs: Tensor
    outputs: Tensor
    batches: Tensor

    def rows(self, chosen: Tensor) -> "Samples":
        """Some of the rows, by a mask or by their indices."""
        there = chosen.to(self.inputs.device)
        return Samples(self.inputs[:, there], self.outputs[:, there], self.batches[chosen])


@dataclass(frozen=True)
class Following:
    """What becomes of a layer's output.

    Attributes:
        relu: whether all that is made of it is its ReLU, taken directly, after batch
            normalisation, or after what commutes with a ReLU (max-pooling, reshaping).
        batchnorm: dotted path of the batch normalisation that alone consumes it, and consumes
            nothing else; or None.
    """

    relu: bool
    batchnorm: str | None


def inputs_of(batch: Any) -> Tensor:
    """The inputs of a batch: itself, or the first tensor in its list, tuple or mapping.

    Raises:
        CalibrationError: if there is none.
    """
    if isinstance(batch, Tensor):
        return batch
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if isinstance(batch, Sequence) and not isinstance(batch, str) and batch:
        return inputs_of(batch[0])
    raise CalibrationError(
        f"a calibration batch must be a tensor, or begin with one, got {type(batch).__name__}"
    )


def batches_of(data: Data) -> Iterator[Tensor]:
    """The inputs, batch by batch; a single tensor in batches of at most 256 samples.

    Raises:
        CalibrationError: if there are none, a batch has no tensor, batches differ in their dtype,
            or there are single samples instead of batches.
    """
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        raise CalibrationError(
            f"calibration data come in batches, and a {type(data).__name__} gives one sample at a "
            "time: wrap it in a torch.utils.data.DataLoader"
        )
    count, dtype = 0, None
    for batch in data.split(BATCH) if isinstance(data, Tensor) and data.ndim else data:
        inputs = inputs_of(batch)
        dtype = dtype or inputs.dtype
        if inputs.dtype != dtype:
            raise CalibrationError(
                f"the calibration batches are {dtype}, then {inputs.dtype}: give one tensor of "
                "inputs, or batches that each begin with the inputs, such as [(inputs, targets)]"
            )
        count += len(inputs)
        if len(inputs):
            yield inputs
    if count == 0:
        raise CalibrationError("the calibration set is empty: give at least one sample")


def collect(data: Data, samples: int) -> list[Tensor]:
    """The first inputs of the data, kept, for work that passes over them several times.

    Args:
        data: the calibration data; no more of an iterable is read than needed.
        samples: how many samples to keep at most, at least 1.

    Returns:
        The batches, the last one cut to size.

    Raises:
        CalibrationError: for an empty set.
        ValueError: if `samples` is below 1.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    kept: list[Tensor] = []
    for inputs in batches_of(data):
        kept.append(inputs[:samples].detach())
        samples -= len(kept[-1])
        if samples == 0:
            break
    return kept


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside the block, and everything as it was after it.

    Each module's mode is restored by itself, and so is the random state of the CPU and of the
    devices that hold the model.
    """
    modes = [(module, module.training) for module in model.modules()]
    tensors = [*model.parameters(), *model.buffers()]
    devices = {t.device for t in tensors if t.device.type == "cuda"}
    try:
        with torch.random.fork_rng(devices=list(devices)), torch.no_grad():
            for module, _ in modes:
                module.training = False
            yield
    finally:
        for module, training in modes:
            module.training = training


def run(model: nn.Module, inputs: Tensor) -> Any:
    """The model's output for inputs, moved to the device of its first parameter."""
    first = next(model.parameters(), None)
    return model(inputs if first is None else inputs.to(first.device))


def feed(
    model: nn.Module,
    data: Data,
    layers: Iterable[str],
    take: Take,
    *,
    positions: int | None,
    seed: int,
) -> None:
    """Pass data through a model and hand over the inputs and outputs of its layers as matrices.

    For a linear layer each row is an input vector. For a convolution it is a patch, so that
    `weight.flatten(1) @ patch + bias` is the output at that place, at `positions` random places of
    each image. Which places depends on the seed, the layer, the batch's number and the size of the
    map alone: two models with the same layers are seen at the same places.

    Args:
        model: takes a batch of inputs alone.
        data: the calibration data.
        layers: dotted paths of Linear or Conv2d modules.
        take: called with layer, inputs (groups, rows, n) and outputs (groups, rows, m) whenever a
            layer has computed. The tensors may be views of the model's: use them or copy them,
            do not keep or change them.
        positions: places per image, at least 1; None for all.
        seed: of the places.

    Raises:
        CalibrationError: for an empty set; a layer that the data never reach; NaN or infinity in a
            layer's inputs or outputs; each naming the layer.
        ValueError: for a layer that the model does not have or that is neither Linear nor Conv2d;
            `positions` below 1.
    """
    if positions is not None and positions < 1:
        raise ValueError(f"positions must be at least 1, got {positions}")
    modules = {name: layer_of(model, name) for name in layers}
    calls: Counter[str] = Counter()
    reached: set[str] = set()
    batch = 0

    def see(name: str, module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
        inputs = args[0] if args else kwargs["input"]
        g = _generator(seed, name, batch, calls[name])
        calls[name] += 1
        assert isinstance(module, nn.Linear | nn.Conv2d)
        rows = rows_of(module, inputs.detach(), output.detach(), positions, g)
        for what, tensor in zip(("inputs", "outputs"), rows, strict=True):
            if not torch.isfinite(tensor).all():
                if not all(torch.isfinite(p).all() for p in module.parameters(recurse=False)):
                    raise CalibrationError(
                        f"layer {name} itself holds NaN or infinity: the training has diverged; "
                        "take weights from before that"
                    )
                raise CalibrationError(
                    f"the {what} of layer {name} hold NaN or infinity on the calibration data: "
                    "look for the cause in the data or in the layers before it"
                )
        take(name, *rows)

    with evaluating(model), _hooks() as handles:
        for name, module in modules.items():
            hook = partial(see, name)
            handles.append(module.register_forward_hook(hook, with_kwargs=True))
        for inputs in batches_of(data):
            calls.clear()
            run(model, inputs)
            reached.update(calls)
            batch += 1
    for name in modules:
        if name not in reached:
            raise CalibrationError(
                f"the calibration data never reach layer {name}: the model's forward pass does "
                "not call it; leave it out"
            )


def feed_gradients(
    model: nn.Module,
    data: Data,
    layers: Iterable[str],
    take: Callable[[str, Tensor], None],
    *,
    seed: int,
) -> None:
    """Hand over how the model's output answers to what its layers put out, as matrices.

    Each row is the gradient of v . output with respect to one output vector of a layer, or to what
    its ReLU makes of it where one follows directly; v is drawn from N(0, I) for each sample, of
    logits (N, classes) less its own mean, as that changes no probability. No targets are needed.

    Args:
        model: takes a batch of inputs alone; its parameters' gradients are left as they are.
        data: the calibration data.
        layers: dotted paths of Linear or Conv2d modules.
        take: called with layer and gradients (groups, rows, m), batch by batch; of a convolution
            every place is a row.
        seed: of v.

    Raises:
        CalibrationError: for an empty set.
        ValueError: for a layer that the model does not have or that is neither Linear nor Conv2d.
    """
    modules = {name: layer_of(model, name) for name in layers}
    with evaluating(model):
        for batch, inputs in enumerate(batches_of(data)):
            g = _generator(seed, "gradients", batch, 0)
            watch = _Watch()
            with _hooks() as handles, torch.enable_grad():
                for name, module in modules.items():
                    handles.append(module.register_forward_hook(partial(watch.after_layer, name)))
                free = inputs.detach()
                if free.is_floating_point():
                    free = free.clone().requires_grad_().clone()  # may be changed in place
                with watch:
                    output = run(model, free)
            said = [t for t in tensors_of(output) if t.requires_grad]
            drawn = [_directions(t, g) for t in said]
            behind = [(n, t) for n, ts in watch.behind.items() for t in ts if t.requires_grad]
            if not said or not behind:
                continue
            found = torch.autograd.grad(said, [t for _, t in behind], drawn, allow_unused=True)
            for (name, _), gradient in zip(behind, found, strict=True):
                if gradient is not None:
                    take(name, _by_group(modules[name], gradient.detach()))


def _directions(output: Tensor, g: torch.Generator) -> Tensor:
    v = torch.randn(output.shape, generator=g, dtype=torch.float64)
    if output.ndim == 2 and output.shape[1] > 1:
        v -= v.mean(1, keepdim=True)
    return v.to(output)


def _by_group(layer: nn.Linear | nn.Conv2d, outputs: Tensor) -> Tensor:
    """(groups, rows, m) of a layer's outputs, every place a row."""
    if isinstance(layer, nn.Linear):
        return outputs.reshape(1, -1, layer.out_features)
    split: Tensor = outputs.flatten(-2).unflatten(-2, (layer.groups, -1))
    return split.movedim(-3, 0).mT.reshape(layer.groups, -1, layer.out_channels // layer.groups)


def samples_of(
    model: nn.Module,
    data: Data,
    layers: Iterable[str],
    *,
    rows: int,
    positions: int | None,
    seed: int,
) -> dict[str, Samples]:
    """A random sample of the rows of each layer, see `feed`.

    Memory is bounded by `rows` and one batch. Which rows are kept depends on the seed, the layer
    and the shapes alone: two models with the same layers give rows that belong together.

    Args:
        model: see `feed`, as all arguments but `rows`.
        data: see there.
        layers: see there.
        rows: how many to keep of each layer at most, at least 1.
        positions: see there.
        seed: of the places and of the rows.

    Returns:
        layer -> samples.

    Raises:
        CalibrationError: as `feed`.
        ValueError: as `feed`; if `rows` is below 1.
    """
    if rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}")
    layers = list(layers)
    kept: dict[str, tuple[Tensor, Samples]] = {}
    generators = {name: _generator(seed, name, -1, 0) for name in layers}
    batch = -1

    def counted() -> Iterator[Tensor]:
        nonlocal batch
        for inputs in batches_of(data):
            batch += 1
            yield inputs

    def take(name: str, inputs: Tensor, outputs: Tensor) -> None:
        # the rows with the smallest random keys are a uniform sample without replacement
        keys = torch.rand(inputs.shape[1], generator=generators[name], dtype=torch.float64)
        new = Samples(inputs.clone(), outputs.clone(), torch.full((len(keys),), batch))
        if name in kept:
            before, old = kept[name]
            keys = torch.cat([before, keys])
            new = Samples(
                torch.cat([old.inputs, new.inputs], 1),
                torch.cat([old.outputs, new.outputs], 1),
                torch.cat([old.batches, new.batches]),
            )
        if len(keys) > rows:
            chosen = keys.topk(rows, largest=False).indices.sort().values
            keys, new = keys[chosen], new.rows(chosen)
        kept[name] = (keys, new)

    feed(model, counted(), layers, take, positions=positions, seed=seed)
    return {name: kept[name][1] for name in layers}


def rows_of(
    layer: nn.Linear | nn.Conv2d,
    inputs: Tensor,
    outputs: Tensor,
    positions: int | None,
    g: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """A layer's inputs and outputs as the rows of matrices.

    Args:
        layer: what computed `outputs` from `inputs`.
        inputs: (..., n), or (N, c, H, W) or (c, H, W) images.
        outputs: (..., m), or images as the inputs are.
        positions: random places per image of a convolution, None for all.
        g: a CPU generator for the places.

    Returns:
        (groups, rows, n) and (groups, rows, m).
    """
    if isinstance(layer, nn.Linear):
        return inputs.reshape(1, -1, layer.in_features), outputs.reshape(1, -1, layer.out_features)
    if inputs.ndim == 3:
        inputs, outputs = inputs[None], outputs[None]
    count, _, height, width = outputs.shape
    places = height * width
    if positions is None or positions >= places:
        chosen = torch.arange(places).expand(count, places)
    else:
        chosen = torch.rand(count, places, generator=g).argsort(1)[:, :positions]
    chosen = chosen.to(inputs.device)
    patches = _patches(layer, inputs, chosen // width, chosen % width)
    groups = layer.groups
    seen = outputs.flatten(2).gather(2, chosen[:, None].expand(-1, outputs.shape[1], -1))
    seen = seen.unflatten(1, (groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)
    patches = patches.unflatten(2, (groups, -1)).permute(2, 0, 1, 3, 4, 5)
    return patches.flatten(3).flatten(1, 2), seen


def _patches(layer: nn.Conv2d, inputs: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """(N, places, c, kh, kw): what the kernel sees at the places (N, places) of the output."""
    padding = layer.padding
    if padding == "same":  # the odd pixel goes to the end
        spans = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        top, left = spans[0] // 2, spans[1] // 2
        sides = (left, spans[1] - left, top, spans[0] - top)
    else:
        top, left = (0, 0) if isinstance(padding, str) else padding
        sides = (left, left, top, top)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = F.pad(inputs, sides, mode) if any(sides) else inputs
    index = []
    for place, axis in ((down, 0), (across, 1)):
        steps = torch.arange(layer.kernel_size[axis], device=inputs.device) * layer.dilation[axis]
        index.append(place[..., None] * layer.stride[axis] + steps)
    rows, columns = index[0][..., :, None], index[1][..., None, :]
    every = torch.arange(len(inputs), device=inputs.device)[:, None, None, None]
    return padded[every, :, rows, columns].permute(0, 1, 4, 2, 3)


def layer_of(model: nn.Module, name: str) -> nn.Linear | nn.Conv2d:
    """The Linear or Conv2d of a name.

    Raises:
        ValueError: if there is none, naming it and those there are.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    if name not in modules:
        there = [n for n, m in modules.items() if isinstance(m, nn.Linear | nn.Conv2d)]
        raise ValueError(f"there is no layer {name!r}; there are {', '.join(there) or 'none'}")
    module = modules[name]
    if not isinstance(module, nn.Linear | nn.Conv2d):
        raise ValueError(
            f"layer {name!r} is a {type(module).__name__}: only Linear and Conv2d can be calibrated"
        )
    return module


def calibration_flops(model: nn.Module, data: Data, passes: int = 1) -> int:
    """Operations of passing data through a model without gradients, a multiply-add as two.

    Args:
        model: takes a batch of inputs alone.
        data: the calibration data; an iterable is read once.
        passes: how often they pass.

    Raises:
        CalibrationError: for an empty set.
        Exception: whatever the forward pass raises.
    """
    shapes: Counter[tuple[torch.Size, torch.dtype]] = Counter()
    shapes.update((inputs.shape, inputs.dtype) for inputs in batches_of(data))
    with evaluating(model):
        return passes * sum(
            count * forward_flops(model, torch.empty(shape, dtype=dtype, device="meta"))
            for (shape, dtype), count in shapes.items()
        )


def follows(model: nn.Module, batch: Any) -> dict[str, Following]:
    """What follows each Linear and Conv2d that a batch reaches, in the order they are reached.

    Found by the identity of tensors while the batch passes through, so any forward pass works. A
    layer whose output is used in any other way too (a skip connection, the model's own output) is
    not followed by the ReLU alone: `relu` is False.

    Args:
        model: takes a batch of inputs alone.
        batch: as in `Data`.

    Returns:
        Dotted path -> what follows. A module under several names has the first.

    Raises:
        CalibrationError: if the batch has no tensor.
    """
    watch = _Watch()
    with evaluating(model), _hooks() as handles:
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


class _Watch(TorchFunctionMode):
    """See every function that is called, and book the uses of layers' outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[int, _Tag] = {}
        self.uses: dict[str, set[str]] = {}  # of the layer's output: "relu", OTHER, a batch norm
        self.uses_normed: dict[str, set[str]] = {}
        self.behind: dict[str, list[Tensor]] = {}  # each call's output, or its ReLU
        self.norm: list[Tensor] = []  # the inputs of the batch norms that are computing now
        self.normalised: dict[str, set[str | None]] = {}  # norm -> the layers it was applied to

    def after_layer(self, name: str, module: nn.Module, _: Any, output: Tensor) -> None:
        self.uses.setdefault(name, set())
        self.uses_normed.setdefault(name, set())
        self.behind.setdefault(name, []).append(output)
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
                if not tag.moved:
                    self.behind[tag.layer][-1] = made[0]
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
        batch: as in `Data`.

    Returns:
        Dotted paths; a module under several names has the first.

    Raises:
        CalibrationError: if the batch has no tensor.
    """
    owners = {
        id(module._parameters["weight"]): name
        for name, module in model.named_modules()
        if module._parameters.get("weight") is not None
    }
    reads = _Reads(owners)
    with evaluating(model), _hooks() as handles:
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


def tensors_of(value: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples, mappings and dataclasses."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = value.values()
    elif is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, field.name) for field in fields(value)]
    elif not isinstance(value, list | tuple):
        return []
    return [tensor for part in value for tensor in tensors_of(part)]


@contextmanager
def _hooks() -> Iterator[list[RemovableHandle]]:
    """A list of hooks, all of which are removed at the end."""
    handles: list[RemovableHandle] = []
    try:
        yield handles
    finally:
        for handle in handles:
            handle.remove()


def _generator(seed: int, name: str, batch: int, call: int) -> torch.Generator:
    key = zlib.crc32(f"{seed}/{name}/{batch}/{call}".encode())
    return torch.Generator().manual_seed(key)
