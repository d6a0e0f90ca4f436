"""A network without some of its layers' inputs and outputs: a pure function on networks."""

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from boildown.structure.replace import noted, replaced

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
Narrowable: TypeAlias = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def narrow(
    model: nn.Module,
    *,
    outputs: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
) -> nn.Module:
    """A copy of the network with narrower layers: slices of what they were, without their hooks.

    The layers' readers must be narrowed alike, by `inputs`: only the caller knows them (see
    `boildown.structure.consumers`).

    Args:
        model: any network; it is not touched.
        outputs: layer -> (k,) indices of the outputs to keep, in this order.
        inputs: layer -> (k,) indices of the inputs to keep: features of a Linear, channels of a
            convolution.

    Raises:
        ValueError: naming the layer, if there is none of that name, it is another kind of layer or
            grouped, or there are no such outputs or inputs.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    built: dict[str, nn.Module] = {}
    for name in {**outputs, **inputs}:
        if name not in modules:
            raise ValueError(f"there is no layer {name!r}; see model.named_modules()")
        try:
            built[name] = _sliced(modules[name], outputs.get(name), inputs.get(name))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return replaced(model, built)


def width(module: nn.Module) -> tuple[int, int]:
    """Outputs and inputs of a layer: features or channels.

    Raises:
        ValueError: for a layer that cannot be narrowed.
    """
    layer = _narrowable(module)
    return layer.weight.shape[0], layer.weight.shape[1]


def resized(
    module: nn.Module,
    outputs: int,
    inputs: int,
    device: torch.device | str | None = None,
) -> Narrowable:
    """A layer of the same kind and another width, with PyTorch's initial values.

    Args:
        module: a Linear or a convolution without groups; it is not touched, and its hooks are not
            carried over.
        outputs: features or channels, at least 1.
        inputs: likewise.
        device: of the new layer; by default that of `module`. On "meta" it takes no memory.

    Raises:
        ValueError: for another layer, or a width below 1.
    """
    layer = _narrowable(module)
    for what, count in (("outputs", outputs), ("inputs", inputs)):
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"{what} must be a whole number of at least 1, got {count!r}")
    at: dict[str, Any] = {
        "bias": layer.bias is not None,
        "device": device or layer.weight.device,
        "dtype": layer.weight.dtype,
    }
    new: Narrowable
    if isinstance(layer, nn.Linear):
        new = nn.Linear(inputs, outputs, **at)
    else:
        same = ("kernel_size", "stride", "padding", "dilation", "padding_mode")
        at |= {key: getattr(layer, key) for key in same}
        new = cast("Any", type(layer))(inputs, outputs, **at)
    for parameter, own in zip(new.parameters(), layer.parameters(), strict=True):
        parameter.requires_grad_(own.requires_grad)
    widths = {"outputs": (outputs, width(layer)[0]), "inputs": (inputs, width(layer)[1])}
    noted(new, layer, **{key: int(now) for key, (now, was) in widths.items() if now != was})
    if isinstance(layer, nn.Conv2d) and not layer.weight.is_contiguous():
        new = new.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return new.train(layer.training)


def _narrowable(module: nn.Module) -> Narrowable:
    if type(module) not in KINDS:
        kinds = ", ".join(kind.__name__ for kind in KINDS)
        raise ValueError(f"a {type(module).__name__} cannot be narrowed, only {kinds}")
    layer = cast("Narrowable", module)
    if not isinstance(layer.weight, nn.Parameter):
        raise ValueError(
            "its weight is computed from other tensors; remove weight_norm or the like first"
        )
    if not isinstance(layer, nn.Linear) and layer.groups > 1:
        raise ValueError(f"its {layer.groups} groups cannot be narrowed")
    return layer


def _sliced(module: nn.Module, outputs: Tensor | None, inputs: Tensor | None) -> Narrowable:
    layer = _narrowable(module)
    weight, bias = layer.weight.detach(), layer.bias
    if outputs is not None:
        _check(outputs, len(weight), "outputs")
        weight = weight[outputs.to(weight.device)]
        bias = None if bias is None else bias.detach()[outputs.to(weight.device)]
    if inputs is not None:
        _check(inputs, weight.shape[1], "inputs")
        weight = weight[:, inputs.to(weight.device)]
    m, n = weight.shape[:2]
    new = resized(layer, m, n, device="meta").to_empty(device=weight.device)
    with torch.no_grad():
        new.weight.copy_(weight)
        if new.bias is not None and bias is not None:
            new.bias.copy_(bias)
    return new


def _check(kept: Tensor, count: int, what: str) -> None:
    """Refuse indices that are none, twice or out of range.

    Raises:
        ValueError: naming what is wrong.
    """
    if kept.ndim != 1 or kept.dtype != torch.long or not len(kept):
        raise ValueError(
            f"the {what} to keep must be a vector of indices (long), at least one, "
            f"got {tuple(kept.shape)} {kept.dtype}"
        )
    if int(kept.min()) < 0 or int(kept.max()) >= count or len(kept.unique()) < len(kept):
        raise ValueError(
            f"the {what} to keep must be different ones of 0 to {count - 1}, got {kept.tolist()}"
        )
