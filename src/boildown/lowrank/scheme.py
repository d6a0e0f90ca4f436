"""How a layer is one matrix or several, what a rank of it costs, and the layers of its factors.

A scheme says which matrix: m counts outputs, n inputs, and a grouped convolution has one per group.

| scheme | layer | matrix (m, n) | the layers it becomes |
|---|---|---|---|
| linear | Linear | (outputs, inputs) | v: n -> r, u: r -> m |
| embedding | Embedding | (width, symbols) | v: symbols -> r, u: r -> width |
| channel | Conv | (outputs, inputs x kernel) | v: the kernel to r channels, u: 1x1 |
| spatial | Conv2d | (outputs x columns, inputs x rows) | v: rows x 1, u: 1 x columns |
| tucker2 | Conv | none: three factors | v: 1x1 to r_in, core: the kernel to r_out, u: 1x1 |
"""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from boildown.lowrank import tucker
from boildown.lowrank.svd import Factors, Spectrum, check_rank, decompose, relative_error
from boildown.lowrank.tucker import Tucker, tucker2

Scheme = Literal["linear", "embedding", "channel", "spatial", "tucker2"]
Rank: TypeAlias = int | tuple[int, int]
Cost = Literal["parameters", "flops", "bytes"]
COSTS: tuple[Cost, ...] = ("parameters", "flops", "bytes")
Parts: TypeAlias = Factors | Sequence[Factors] | Tucker

SCHEMES: Mapping[type[nn.Module], tuple[Scheme, ...]] = MappingProxyType(
    {
        nn.Linear: ("linear",),
        nn.Embedding: ("embedding",),
        nn.Conv1d: ("channel", "tucker2"),
        nn.Conv2d: ("channel", "spatial", "tucker2"),
        nn.Conv3d: ("channel", "tucker2"),
    }
)
"""Class of layer -> its schemes, the default one first. A subclass may compute something else."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def schemes_for(module: nn.Module) -> tuple[Scheme, ...]:
    """The schemes by which a layer can be factorised, the default one first; () if none."""
    return tuple(s for s in SCHEMES.get(type(module), ()) if why_not(module, s) is None)


def why_not(module: nn.Module, scheme: str | None = None) -> str | None:
    """Why a layer cannot be factorised (by a scheme, if given) and what to do; None if it can."""
    kind = type(module)
    name = kind.__name__
    if kind not in SCHEMES:
        return _why_not_kind(module)
    weight = module.weight
    if not isinstance(weight, nn.Parameter):
        return "its weight is computed from other tensors; remove weight_norm or the like first"
    if not weight.is_floating_point() or 0 in weight.shape:
        return f"its weight has no floats to factorise: {tuple(weight.shape)} {weight.dtype}"
    if isinstance(module, nn.Embedding) and module.max_norm is not None:
        return "max_norm rescales whole rows of its weight; leave it out of the layers"
    if scheme is None:
        return None
    if scheme not in SCHEMES[kind]:
        return f"a {name} has no scheme {scheme!r}, only {', '.join(SCHEMES[kind])}"
    if isinstance(module, _CONVOLUTIONS) and scheme != "channel":
        if math.prod(module.kernel_size) == 1:
            return f"a kernel of one pixel has no {scheme} scheme; use channel"
        if scheme == "tucker2" and module.groups > 1:
            return f"tucker2 would mix its {module.groups} groups; use channel or spatial"
    return None


def matrices(weight: Tensor, scheme: Scheme, groups: int = 1) -> Tensor:
    """The matrices whose ranks are the ranks of the layer.

    Args:
        weight: of the layer: (outputs, inputs), (symbols, width) or (outputs, inputs / groups,
            *kernel).
        scheme: any but tucker2, which has none.
        groups: of the convolution.

    Returns:
        (groups, m, n): the same entries in another order; a view where it can be.

    Raises:
        ValueError: for tucker2.

    Source: spatial: Jaderberg et al. 2014, https://arxiv.org/abs/1405.3866, whose scheme 2 Tai et
    al. 2015, section 3, https://arxiv.org/abs/1511.06067 solve in closed form by this matrix
    """
    if scheme == "linear":
        return weight.unsqueeze(0)
    if scheme == "embedding":
        return weight.T.unsqueeze(0)
    split: Tensor = weight.unflatten(0, (groups, -1))
    if scheme == "channel":
        return split.flatten(2)
    if scheme == "spatial":  # (g, m, c, rows, columns)
        return split.permute(0, 1, 4, 2, 3).flatten(3, 4).flatten(1, 2)
    raise ValueError(f"scheme {scheme!r} has no matrix")


def fold(matrices: Tensor, scheme: Scheme, shape: Sequence[int]) -> Tensor:
    """The weight whose matrices these are: the inverse of `matrices`.

    Args:
        matrices: (groups, m, n).
        scheme: any but tucker2.
        shape: of the weight.

    Raises:
        ValueError: for tucker2.
    """
    if scheme == "linear":
        return matrices.squeeze(0)
    if scheme == "embedding":
        return matrices.squeeze(0).T
    if scheme == "channel":
        return matrices.reshape(tuple(shape))
    if scheme == "spatial":
        inputs, rows, columns = shape[1:]
        split = matrices.reshape(len(matrices), -1, columns, inputs, rows)
        return split.permute(0, 1, 3, 4, 2).reshape(tuple(shape))
    raise ValueError(f"scheme {scheme!r} has no matrix")


def approximate(weight: Tensor, scheme: Scheme, rank: Rank, groups: int = 1) -> Tensor:
    """The nearest weight of a rank, in the Frobenius norm; a near one for tucker2.

    Args:
        weight: see `matrices`.
        scheme: how it is factorised.
        rank: of each group's matrix; for tucker2 (outputs, inputs).
        groups: of the convolution.

    Returns:
        Of the shape and dtype of `weight`.

    Raises:
        ValueError: for a rank out of range, or a weight that is not finite.
    """
    if scheme == "tucker2":
        return tucker2(weight, _pair(rank)).product()
    parts = [decompose(each).truncate(_single(rank)) for each in matrices(weight, scheme, groups)]
    return fold(torch.stack([part.product() for part in parts]), scheme, weight.shape)


def squared_errors(weight: Tensor, scheme: Scheme, groups: int = 1) -> Tensor:
    """What every rank loses.

    Args:
        weight: see `matrices`.
        scheme: how it is factorised.
        groups: of the convolution.

    Returns:
        Float64, squared Frobenius errors: (k + 1,) for ranks 0 to k; for tucker2 (outputs + 1,
        inputs + 1), those of the truncated HOSVD, which `tucker2` never exceeds.

    Raises:
        ValueError: for a weight that is not finite.
    """
    if scheme == "tucker2":
        return tucker.squared_errors(weight)
    each = [decompose(matrix).tails() for matrix in matrices(weight, scheme, groups)]
    return torch.stack(each).sum(0)


def full_rank(module: nn.Module, scheme: Scheme) -> Rank:
    """The highest rank there is; for tucker2 of (outputs, inputs).

    Raises:
        ValueError: if the layer cannot be factorised so.
    """
    layer = _check(module, scheme)
    shape = layer.weight.shape
    if scheme == "tucker2":
        size = math.prod(shape[2:])
        return min(shape[0], shape[1] * size), min(shape[1], shape[0] * size)
    return min(_sides(layer, scheme)[1:])


def check(module: nn.Module, scheme: Scheme, rank: Rank) -> Rank:
    """The rank as an int or a pair of ints, if the layer can have it.

    Raises:
        ValueError: saying why it cannot, or the range.
    """
    full = full_rank(module, scheme)
    if isinstance(full, int):
        check_rank(_single(rank), full)
        return int(_single(rank))
    pair = _pair(rank)
    for one, most, what in zip(pair, full, ("outputs", "inputs"), strict=True):
        check_rank(one, most, f"rank of the {what}")
    return int(pair[0]), int(pair[1])


def parameters(module: nn.Module, scheme: Scheme, rank: Rank) -> int:
    """Entries of the factorised layer's tensors, its bias included.

    Args:
        module: the dense layer.
        scheme: how it is factorised.
        rank: see `full_rank`; 0 is allowed.

    Raises:
        ValueError: if the layer cannot be factorised so.
    """
    layer = _check(module, scheme)
    bias = _bias(layer)
    count = 0 if bias is None else bias.numel()
    if scheme == "tucker2":
        r_out, r_in = _pair(rank)
        outputs, inputs, *kernel = layer.weight.shape
        return count + inputs * r_in + r_in * r_out * math.prod(kernel) + r_out * outputs
    groups, m, n = _sides(layer, scheme)
    return count + groups * _single(rank) * (m + n)


def dense_parameters(module: nn.Module) -> int:
    """Entries of the layer's tensors, its bias included."""
    return sum(parameter.numel() for parameter in module.parameters(recurse=False))


def flops(module: nn.Module, scheme: Scheme, rank: Rank, positions: int = 1) -> int:
    """Operations of the factorised layer's products for one sample, a multiply-add counted as two.

    A strided layer is taken to have stride times as many positions at its input as at its output,
    which is exact without padding effects at the edges.

    Args:
        module: the dense layer.
        scheme: how it is factorised.
        rank: see `full_rank`; 0 is allowed.
        positions: of the output: pixels of a map, symbols of a sequence.

    Raises:
        ValueError: if the layer cannot be factorised so.
    """
    layer = _check(module, scheme)
    shape = layer.weight.shape
    if scheme == "tucker2":
        r_out, r_in = _pair(rank)
        each = shape[1] * r_in * math.prod(_stride(layer))
        each += r_in * r_out * math.prod(shape[2:]) + r_out * shape[0]
        return 2 * each * positions
    groups, m, n = _sides(layer, scheme)
    if scheme == "embedding":
        n = 0  # a lookup
    if scheme == "spatial":
        n *= _stride(layer)[1]
    return 2 * groups * _single(rank) * (m + n) * positions


def dense_flops(module: nn.Module, positions: int = 1) -> int:
    """Operations of the layer's product for one sample, a multiply-add counted as two.

    Args:
        module: a layer that can be factorised.
        positions: of the output.
    """
    if isinstance(module, nn.Embedding):
        return 0
    return 2 * cast("Layer", module).weight.numel() * positions


def price(
    module: nn.Module,
    scheme: Scheme | None,
    rank: Rank | None,
    cost: Cost,
    *,
    positions: int = 1,
    itemsize: int | None = None,
) -> int:
    """What a layer costs at a rank.

    Args:
        module: the dense layer.
        scheme: how it is factorised.
        rank: see `full_rank`; None for the layer as it is.
        cost: what to count.
        positions: for "flops", see `flops`.
        itemsize: for "bytes", those of one parameter; by default as the weight is.

    Raises:
        ValueError: if the layer cannot be factorised so.
    """
    if cost == "flops":
        if rank is None or scheme is None:
            return dense_flops(module, positions)
        return flops(module, scheme, rank, positions)
    count = (
        dense_parameters(module)
        if rank is None or scheme is None
        else parameters(module, scheme, rank)
    )
    each = cast("Layer", module).weight.itemsize if itemsize is None else itemsize
    return count * (each if cost == "bytes" else 1)


def break_even(module: nn.Module, scheme: Scheme) -> Rank:
    """The highest rank at which the factors have fewer parameters than the layer; 0 if none.

    For tucker2 that is the highest of the pairs that are proportional to (outputs, inputs), (0, 0)
    if none.

    Raises:
        ValueError: if the layer cannot be factorised so.
    """
    dense, full = dense_parameters(module), full_rank(module, scheme)
    if isinstance(full, int):
        base, one = (parameters(module, scheme, rank) for rank in (0, 1))
        return min(full, (dense - base - 1) // (one - base))
    most = max(full)
    for step in range(most, 0, -1):
        pair = (max(1, full[0] * step // most), max(1, full[1] * step // most))
        if parameters(module, scheme, pair) < dense:
            return pair
    return 0, 0


def error_of(module: nn.Module, scheme: Scheme, rank: Rank) -> float:
    """||W - W_r|| / ||W|| in the Frobenius norm, W_r the weight of the factors in its dtype.

    Raises:
        ValueError: if the layer cannot have that rank.
    """
    layer, rank = _check(module, scheme), check(module, scheme, rank)
    weight = layer.weight.detach()
    if scheme == "tucker2":
        parts = tucker2(weight, _pair(rank))
        return relative_error(weight, Tucker(*(part.double() for part in parts)).product())
    if weight.itemsize < 4:  # what rounding the factors adds may be more than the rest
        found = factors_of(module, scheme, factor(module, scheme, rank))
        products = torch.stack([Factors(f.u.double(), f.v.double()).product() for f in found])
        return relative_error(weight, fold(products, scheme, weight.shape))
    lost = squared_errors(weight, scheme, _groups(layer))
    return math.sqrt(float(lost[rank]) / float(lost[0])) if lost[0] else 0.0


@dataclass(frozen=True)
class Choice:
    """One way to factorise a layer.

    Attributes:
        scheme: how.
        rank: how far.
        error: relative, see `error_of`.
        cost: parameters, their bytes in the weight's dtype, or operations per output position.
    """

    scheme: Scheme
    rank: Rank
    error: float
    cost: int


def cheapest(
    module: nn.Module,
    error: float,
    *,
    cost: Cost,
    schemes: Sequence[Scheme] | None = None,
) -> Choice | None:
    """The cheapest scheme and rank that keep a layer's relative error within a bound.

    Each scheme at its lowest rank; tucker2 at the cheapest pair whose truncated HOSVD is within the
    bound (alternating sweeps then lower its error further).

    Args:
        module: a layer.
        error: largest ||W - W_r|| / ||W||, in (0, 1).
        cost: what to count, see `parameters` and `flops`; "bytes" are those of the parameters in
            the weight's dtype.
        schemes: those to choose from; by default all that it can have.

    Returns:
        None where the dense layer costs no more, or there is no scheme.

    Raises:
        ValueError: for an error out of range, an unknown cost, a scheme that it cannot have, or a
            weight that is not finite.
    """
    if not 0.0 < error < 1.0:
        raise ValueError(f"error must be in (0, 1), got {error}")
    if cost not in COSTS:
        raise ValueError(f"cost must be {', '.join(COSTS[:-1])} or {COSTS[-1]}, got {cost!r}")
    best: Choice | None = None
    for scheme in schemes_for(module) if schemes is None else schemes:
        layer = _check(module, scheme)
        lost = squared_errors(layer.weight, scheme, _groups(layer))
        enough = (lost <= error**2 * lost.flatten()[0]).nonzero().tolist()
        ranks: list[Rank] = [r[0] if len(r) == 1 else (r[0], r[1]) for r in enough if min(r) > 0]
        counts = [price(module, scheme, rank, cost) for rank in ranks]
        count = min(counts)
        rank = ranks[counts.index(count)]
        if count < (price(module, None, None, cost) if best is None else best.cost):
            best = Choice(scheme, rank, error_of(module, scheme, rank), count)
    return best


def spectra(module: nn.Module, scheme: Scheme) -> list[Spectrum]:
    """The singular values of each group's matrix: from them come the factors of every rank.

    Raises:
        ValueError: if the layer cannot be factorised so, or its weight is not finite.
    """
    layer = _check(module, scheme)
    return [decompose(each) for each in matrices(layer.weight.detach(), scheme, _groups(layer))]


def factor(module: nn.Module, scheme: Scheme, rank: Rank) -> nn.Sequential:
    """The layers of a layer's best factors; see `layers`.

    Args:
        module: a layer, which stays as it is.
        scheme: how to factorise it.
        rank: see `full_rank`.

    Raises:
        ValueError: if it cannot have that rank, or its weight is not finite.
    """
    layer, rank = _check(module, scheme), check(module, scheme, rank)
    parts: Parts
    if scheme == "tucker2":
        parts = tucker2(layer.weight.detach(), _pair(rank))
    else:
        parts = [each.truncate(_single(rank)) for each in spectra(module, scheme)]
    return layers(module, scheme, parts, _bias(layer))


def layers(module: nn.Module, scheme: Scheme, parts: Parts, bias: Tensor | None) -> nn.Sequential:
    """The layers `v` and `u` (tucker2: `v`, `core` and `u`) of given factors.

    Args:
        module: the layer they replace: its stride, padding, device, dtype, mode and whether it is
            trained are kept, its values and hooks are not.
        scheme: how it is factorised.
        parts: factors of its matrix, one per group, all of the same rank; or a `Tucker`.
        bias: (outputs,) of the last layer; None for none.

    Raises:
        ValueError: if the layer cannot have such factors.
    """
    layer = _check(module, scheme)
    given = [parts] if isinstance(parts, Factors | Tucker) else list(parts)
    if not given or any(part.rank != given[0].rank for part in given):
        raise ValueError("the groups of a layer need factors of one rank")
    built = blank(module, scheme, given[0].rank, bias=bias is not None, device="meta")
    built = built.to_empty(device=layer.weight.device)
    with torch.no_grad():
        for part, value in zip(built, _weights(layer, scheme, given), strict=True):
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
            _bias(built.u).copy_(bias)  # type: ignore[union-attr, arg-type]
    if isinstance(module, nn.Conv2d) and not module.weight.is_contiguous():
        built = built.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return built


def factors_of(module: nn.Module, scheme: Scheme, built: nn.Module) -> list[Factors]:
    """The factors of each group that `layers` made a layer of: its inverse, but for the bias.

    Args:
        module: the layer that `built` stands for.
        scheme: any but tucker2.
        built: the layers v and u.

    Raises:
        ValueError: for tucker2.
    """
    u, v = built.get_parameter("u.weight").detach(), built.get_parameter("v.weight").detach()
    if scheme == "linear":
        return [Factors(u, v.T)]
    if scheme == "embedding":
        return [Factors(u, v)]
    if scheme == "tucker2":
        raise ValueError(f"scheme {scheme!r} has three factors")
    groups = int(module.groups)  # type: ignore[arg-type]
    inside = v.unflatten(0, (groups, -1)).flatten(2).mT
    outside = u.flatten(2).transpose(1, 2).unflatten(0, (groups, -1)).flatten(1, 2)
    return [Factors(a, b) for a, b in zip(outside, inside, strict=True)]


def blank(
    module: nn.Module,
    scheme: Scheme,
    rank: Rank,
    *,
    bias: bool | None = None,
    device: torch.device | str | None = None,
) -> nn.Sequential:
    """The layers of a rank with PyTorch's initial values; nothing is decomposed.

    Args:
        module: the layer they replace, see `layers`.
        scheme: how it is factorised.
        rank: see `full_rank`.
        bias: whether the last layer has one; by default as `module` has.
        device: of the layers; by default that of `module`. On "meta" they take no memory.

    Raises:
        ValueError: if the layer cannot have that rank.
    """
    layer, rank = _check(module, scheme), check(module, scheme, rank)
    if bias is None:
        bias = _bias(layer) is not None
    weight = layer.weight
    kind: Any = type(module)
    at: dict[str, Any] = {"device": device or weight.device, "dtype": weight.dtype}
    made: dict[str, nn.Module] = {}
    if isinstance(layer, nn.Linear):
        made["v"] = nn.Linear(layer.in_features, _single(rank), bias=False, **at)
        made["u"] = nn.Linear(_single(rank), layer.out_features, bias=bias, **at)
    elif isinstance(layer, nn.Embedding):
        made["v"] = nn.Embedding(
            layer.num_embeddings,
            _single(rank),
            layer.padding_idx,
            scale_grad_by_freq=layer.scale_grad_by_freq,
            sparse=layer.sparse,
            **at,
        )
        made["u"] = nn.Linear(_single(rank), layer.embedding_dim, bias=bias, **at)
    else:
        inputs, outputs, groups = layer.in_channels, layer.out_channels, layer.groups
        all_axes = tuple(range(len(layer.kernel_size)))
        if scheme == "tucker2":
            r_out, r_in = _pair(rank)
            made["v"] = kind(inputs, r_in, 1, bias=False, **at)
            made["core"] = kind(r_in, r_out, bias=False, **_along(layer, all_axes), **at)
            made["u"] = kind(r_out, outputs, 1, bias=bias, **at)
        else:
            first, second = ((0,), (1,)) if scheme == "spatial" else (all_axes, ())
            middle = groups * _single(rank)
            at["groups"] = groups
            made["v"] = kind(inputs, middle, bias=False, **_along(layer, first), **at)
            made["u"] = kind(middle, outputs, bias=bias, **_along(layer, second), **at)
    for part in made.values():
        part.weight.requires_grad_(weight.requires_grad)
    own = _bias(layer)
    if bias:
        trained = weight.requires_grad if own is None else own.requires_grad
        made["u"].bias.requires_grad_(trained)
    return nn.Sequential(OrderedDict(made)).train(module.training)


def recognise(module: nn.Module, built: nn.Module) -> tuple[Scheme, Rank]:
    """The scheme and rank of what stands in place of a layer, if `layers` could have made it.

    Raises:
        ValueError: if it could not, saying what is expected.
    """
    names = [name for name, _ in built.named_children()]
    if type(built) is not nn.Sequential or names not in (["v", "u"], ["v", "core", "u"]):
        raise ValueError(f"expected a Sequential of v and u, or v, core and u, got {built}")
    parts: Any = built
    scheme: Scheme
    rank: Rank
    kinds = {type(part) for part in built}
    if len(names) == 3 and kinds == {type(module)}:
        scheme, rank = "tucker2", (parts.core.out_channels, parts.core.in_channels)
    elif kinds == {nn.Embedding, nn.Linear}:
        scheme, rank = "embedding", parts.u.in_features
    elif kinds == {nn.Linear}:
        scheme, rank = "linear", parts.u.in_features
    elif isinstance(module, _CONVOLUTIONS) and kinds == {type(module)}:
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


Layer: TypeAlias = nn.Linear | nn.Embedding | nn.Conv1d | nn.Conv2d | nn.Conv3d


def _check(module: nn.Module, scheme: str) -> Layer:
    reason = why_not(module, scheme)
    if reason is not None:
        raise ValueError(reason)
    return cast("Layer", module)


def _why_not_kind(module: nn.Module) -> str:
    name = type(module).__name__
    if parametrize.is_parametrized(module):
        return (
            "its weight is computed by a parametrization; bake it in first with "
            "torch.nn.utils.parametrize.remove_parametrizations"
        )
    if isinstance(module, nn.MultiheadAttention):
        return "MultiheadAttention uses its weights directly; write its projections as nn.Linear"
    if isinstance(module, _TRANSPOSED):
        return f"{name}: transposed convolutions have no scheme; leave it out of the layers"
    if isinstance(module, tuple(SCHEMES)):
        return f"{name} is a subclass that may compute something else; use the plain torch.nn class"
    kinds = ", ".join(kind.__name__ for kind in SCHEMES)
    return f"{name} is not one of {kinds}; leave it out of the layers"


def _bias(module: nn.Module) -> Tensor | None:
    return cast("Tensor | None", getattr(module, "bias", None))


def _groups(layer: Layer) -> int:
    return layer.groups if isinstance(layer, _CONVOLUTIONS) else 1


def _stride(layer: Layer) -> tuple[int, ...]:
    return layer.stride if isinstance(layer, _CONVOLUTIONS) else (1,)


def _sides(layer: Layer, scheme: Scheme) -> tuple[int, int, int]:
    """Groups, rows and columns of the layer's matrices."""
    shape, groups = layer.weight.shape, _groups(layer)
    if scheme == "embedding":
        return groups, shape[1], shape[0]
    if scheme == "spatial":
        return groups, shape[0] // groups * shape[3], shape[1] * shape[2]
    return groups, shape[0] // groups, math.prod(shape[1:])


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


def _weights(layer: Layer, scheme: Scheme, parts: Sequence[Factors | Tucker]) -> list[Tensor]:
    """The weights of v and u, or v, core and u, in this order."""
    first = parts[0]
    pixel = (1,) * (layer.weight.ndim - 2)
    if isinstance(first, Tucker):
        return [
            first.v.T.reshape(*first.v.T.shape, *pixel),
            first.core,
            first.u.reshape(*first.u.shape, *pixel),
        ]
    rank = first.rank
    u, v = torch.stack([part.u for part in parts]), torch.stack([part.v for part in parts])
    if scheme == "embedding":
        return [v[0], u[0]]
    if scheme == "linear":
        return [v[0].T, u[0]]
    inputs, *kernel = layer.weight.shape[1:]
    if scheme == "channel":
        return [
            v.mT.reshape(-1, inputs, *kernel),
            u.reshape(-1, rank, *pixel),
        ]
    rows, columns = kernel
    return [
        v.mT.reshape(-1, inputs, rows, 1),
        u.unflatten(1, (-1, columns)).transpose(2, 3).reshape(-1, rank, 1, columns),
    ]


def _single(rank: Rank) -> int:
    if isinstance(rank, tuple | list):
        raise ValueError(f"rank must be a whole number, got {rank!r}")
    return rank


def _pair(rank: Rank | Sequence[int]) -> tuple[int, int]:
    if isinstance(rank, str) or not isinstance(rank, Sequence) or len(rank) != 2:
        raise ValueError(f"tucker2 needs a pair of ranks (outputs, inputs), got {rank!r}")
    return rank[0], rank[1]
