"""The two smaller layers of a layer's factors: made, made blank, and recognised."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from boildown.lowrank.scheme import (
    CONVOLUTIONS,
    Layer,
    Scheme,
    bias_of,
    checked,
    full_rank,
    groups_of,
    matrices,
    why_not,
)
from boildown.lowrank.svd import Factors, check_rank, decompose
from boildown.structure.replace import noted


def factor(module: nn.Module, scheme: Scheme, rank: int) -> nn.Sequential:
    """The layers of a layer's best factors; see `layers`.

    Args:
        module: a layer, which stays as it is.
        scheme: how to factorise it.
        rank: of each group's matrix.

    Raises:
        ValueError: if it cannot have that rank, or its weight is not finite.
    """
    layer = checked(module, scheme)
    check_rank(rank, full_rank(module, scheme))
    split = matrices(layer.weight.detach(), scheme, groups_of(layer))
    parts = [decompose(matrix).truncate(rank) for matrix in split]
    return layers(module, scheme, parts, bias_of(layer))


def layers(
    module: nn.Module, scheme: Scheme, parts: Sequence[Factors], bias: Tensor | None
) -> nn.Sequential:
    """The layers `v` and `u` of given factors.

    Args:
        module: the layer they replace: its stride, padding, device, dtype, mode and whether it is
            trained are kept, its values and hooks are not.
        scheme: how it is factorised.
        parts: factors of each group's matrix, all of the same rank.
        bias: (outputs,) of the last layer; None for none.

    Raises:
        ValueError: if the layer cannot have such factors.
    """
    layer = checked(module, scheme)
    if not parts or any(part.rank != parts[0].rank for part in parts):
        raise ValueError("the groups of a layer need factors of one rank")
    built = blank(module, scheme, parts[0].rank, bias=bias is not None, device="meta")
    built = built.to_empty(device=layer.weight.device)
    with torch.no_grad():
        for part, value in zip(built, _weights(layer, scheme, parts), strict=True):
            tensor = cast("Tensor", part.weight)
            if tensor.shape != value.shape:
                raise ValueError(
                    f"factors of {tuple(value.shape)} do not fit the layer's {tuple(tensor.shape)}"
                )
            tensor.copy_(value)
        if isinstance(layer, nn.Embedding) and layer.padding_idx is not None:
            padding = layer.padding_idx
            if not layer.weight[padding].any():  # exactly zero, and untrained, as it was
                cast("nn.Embedding", built.v).weight[padding] = 0.0
        if bias is not None:
            bias_of(built.u).copy_(bias)  # type: ignore[union-attr, arg-type]
    if isinstance(module, nn.Conv2d) and not module.weight.is_contiguous():
        built = built.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return built


def blank(
    module: nn.Module,
    scheme: Scheme,
    rank: int,
    *,
    bias: bool | None = None,
    device: torch.device | str | None = None,
) -> nn.Sequential:
    """The layers of a rank with PyTorch's initial values; nothing is decomposed.

    Args:
        module: the layer they replace, see `layers`.
        scheme: how it is factorised.
        rank: of each group's matrix.
        bias: whether the last layer has one; by default as `module` has.
        device: of the layers; by default that of `module`. On "meta" they take no memory.

    Raises:
        ValueError: if the layer cannot have that rank.
    """
    layer = checked(module, scheme)
    check_rank(rank, full_rank(module, scheme))
    rank = int(rank)  # of numpy, perhaps
    own, weight = bias_of(layer), layer.weight
    has_bias = own is not None if bias is None else bias
    at: dict[str, Any] = {"device": device or weight.device, "dtype": weight.dtype}
    made = _pair(layer, scheme, rank, has_bias, at)
    for part in made.values():
        part.weight.requires_grad_(weight.requires_grad)
    if has_bias:
        trained = weight.requires_grad if own is None else own.requires_grad
        made["u"].bias.requires_grad_(trained)
    built = nn.Sequential(OrderedDict(made)).train(module.training)
    gained = {"bias": True} if has_bias and own is None else {}
    noted(built, module, scheme=scheme, rank=rank, **gained)
    return built


def _pair(
    layer: Layer, scheme: Scheme, rank: int, bias: bool, at: dict[str, Any]
) -> dict[str, nn.Module]:
    """V and u, made with these settings."""
    if isinstance(layer, nn.Linear):
        v: nn.Module = nn.Linear(layer.in_features, rank, bias=False, **at)
        return {"v": v, "u": nn.Linear(rank, layer.out_features, bias=bias, **at)}
    if isinstance(layer, nn.Embedding):
        by_row: dict[str, Any] = {"sparse": layer.sparse}
        by_row["scale_grad_by_freq"] = layer.scale_grad_by_freq
        v = nn.Embedding(layer.num_embeddings, rank, layer.padding_idx, **by_row, **at)
        return {"v": v, "u": nn.Linear(rank, layer.embedding_dim, bias=bias, **at)}
    kind: Any = type(layer)
    all_axes = tuple(range(len(layer.kernel_size)))
    first, second = ((0,), (1,)) if scheme == "spatial" else (all_axes, ())
    middle, at = layer.groups * rank, at | {"groups": layer.groups}
    v = kind(layer.in_channels, middle, bias=False, **_along(layer, first), **at)
    return {"v": v, "u": kind(middle, layer.out_channels, bias=bias, **_along(layer, second), **at)}


def recognise(module: nn.Module, built: nn.Module) -> tuple[Scheme, int]:
    """The scheme and rank of what stands in place of a layer, if `layers` could have made it.

    Raises:
        ValueError: if it could not, saying what is expected.
    """
    names = [name for name, _ in built.named_children()]
    if type(built) is not nn.Sequential or names != ["v", "u"]:
        raise ValueError(f"expected a Sequential of v and u, got {built}")
    parts: Any = built
    scheme: Scheme
    kinds = {type(part) for part in built}
    if kinds == {nn.Embedding, nn.Linear}:
        scheme, rank = "embedding", parts.u.in_features
    elif kinds == {nn.Linear}:
        scheme, rank = "linear", parts.u.in_features
    elif isinstance(module, CONVOLUTIONS) and kinds == {type(module)}:
        rank = parts.v.out_channels // module.groups
        scheme = "channel" if parts.v.kernel_size == module.kernel_size else "spatial"
    else:
        raise ValueError(f"{built} does not stand for a {type(module).__name__}")
    options = [scheme]
    if isinstance(module, nn.Conv2d) and scheme == "channel" and module.kernel_size[1] == 1:
        options += ["spatial"] if why_not(module, "spatial") is None else []  # steps across in u
    bias = parts.u.bias is not None
    wanted = [blank(module, option, rank, bias=bias, device="meta") for option in options]
    for option, one in zip(options, wanted, strict=True):
        if str(one) == str(built):
            return option, rank
    raise ValueError(f"expected {wanted[0]}, got {built}")


def _along(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, axes: tuple[int, ...]) -> dict[str, Any]:
    """The convolution's settings along some axes of the image, those of one pixel elsewhere."""

    def pick(values: tuple[int, ...], other: int) -> tuple[int, ...]:
        return tuple(value if axis in axes else other for axis, value in enumerate(values))

    return {
        "kernel_size": pick(layer.kernel_size, 1),
        "stride": pick(layer.stride, 1),
        "dilation": pick(layer.dilation, 1),
        "padding": layer.padding if isinstance(layer.padding, str) else pick(layer.padding, 0),
        "padding_mode": layer.padding_mode,
    }


def _weights(layer: Layer, scheme: Scheme, parts: Sequence[Factors]) -> list[Tensor]:
    """The weights of v and u."""
    rank = parts[0].rank
    u, v = torch.stack([part.u for part in parts]), torch.stack([part.v for part in parts])
    if scheme == "embedding":
        return [v[0], u[0]]
    if scheme == "linear":
        return [v[0].T, u[0]]
    inputs, *kernel = layer.weight.shape[1:]
    if scheme == "channel":
        return [v.mT.reshape(-1, inputs, *kernel), u.reshape(-1, rank, *[1] * len(kernel))]
    rows, columns = kernel
    return [
        v.mT.reshape(-1, inputs, rows, 1),
        u.unflatten(1, (-1, columns)).transpose(2, 3).reshape(-1, rank, 1, columns),
    ]
