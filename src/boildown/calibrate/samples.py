"""Rows of what layers take and give on calibration data.

Every pass runs in evaluation mode without gradients, and leaves the model, its modes, its
batch-norm statistics and the random state as they were, whatever happens in between.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.calibrate.batches import CalibrationError, Data, batches_of
from boildown.forward import evaluating, first_input, hooks, run

Take = Callable[[str, Tensor, Tensor], None]


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
            layer has computed. They may be views of the model's: do not keep or change them.
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
    calls, reached, batch = Counter[str](), set[str](), 0

    def see(name: str, module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
        inputs = first_input(args, kwargs)
        g = _generator(seed, name, batch, calls[name])
        calls[name] += 1
        assert isinstance(module, nn.Linear | nn.Conv2d)
        rows = rows_of(module, inputs.detach(), output.detach(), positions, g)
        _check_finite(name, module, rows)
        take(name, *rows)

    with evaluating(model), hooks() as handles:
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


def _check_finite(name: str, module: nn.Module, rows: tuple[Tensor, Tensor]) -> None:
    """Refuse inputs or outputs that are not finite.

    Raises:
        CalibrationError: naming the layer, and whether it is to blame itself.
    """
    for what, tensor in zip(("inputs", "outputs"), rows, strict=True):
        if torch.isfinite(tensor).all():
            continue
        if not all(torch.isfinite(p).all() for p in module.parameters(recurse=False)):
            raise CalibrationError(
                f"layer {name} itself holds NaN or infinity: the training has diverged; "
                "take weights from before that"
            )
        raise CalibrationError(
            f"the {what} of layer {name} hold NaN or infinity on the calibration data: "
            "look for the cause in the data or in the layers before it"
        )


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


def by_group(layer: nn.Linear | nn.Conv2d, outputs: Tensor) -> Tensor:
    """(groups, rows, m) of a layer's outputs, or of their gradients, every place a row."""
    if isinstance(layer, nn.Linear):
        return outputs.reshape(1, -1, layer.out_features)
    split: Tensor = outputs.flatten(-2).unflatten(-2, (layer.groups, -1))
    return split.movedim(-3, 0).mT.reshape(layer.groups, -1, layer.out_channels // layer.groups)


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


def _generator(seed: int, name: str, batch: int, call: int) -> torch.Generator:
    key = zlib.crc32(f"{seed}/{name}/{batch}/{call}".encode())
    return torch.Generator().manual_seed(key)
