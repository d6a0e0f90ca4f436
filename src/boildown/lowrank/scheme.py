"""How a layer is one matrix or several, and what a rank of it costs.

A scheme says which matrix: m counts outputs, n inputs, and a grouped convolution has one per group.

| scheme | layer | matrix (m, n) | the layers it becomes |
|---|---|---|---|
| linear | Linear | (outputs, inputs) | v: n -> r, u: r -> m |
| embedding | Embedding | (width, symbols) | v: symbols -> r, u: r -> width |
| channel | Conv | (outputs, inputs x kernel) | v: the kernel to r channels, u: 1x1 |
| spatial | Conv2d | (outputs x columns, inputs x rows) | v: rows x 1, u: 1 x columns |
"""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias, cast

from torch import Tensor, nn
from torch.nn.utils import parametrize

from boildown.lowrank.svd import decompose

Scheme = Literal["linear", "embedding", "channel", "spatial"]
Unit = Literal["parameters", "flops", "bytes"]
UNITS: tuple[Unit, ...] = ("parameters", "flops", "bytes")

Layer: TypeAlias = nn.Linear | nn.Embedding | nn.Conv1d | nn.Conv2d | nn.Conv3d

SCHEMES: Mapping[type[nn.Module], tuple[Scheme, ...]] = MappingProxyType(
    {
        nn.Linear: ("linear",),
        nn.Embedding: ("embedding",),
        nn.Conv1d: ("channel",),
        nn.Conv2d: ("channel", "spatial"),
        nn.Conv3d: ("channel",),
    }
)
"""Class of layer -> its schemes, the default one first. A subclass may compute something else."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
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
        return _what_computes(module)
    if not weight.is_floating_point() or 0 in weight.shape:
        return f"its weight has no floats to factorise: {tuple(weight.shape)} {weight.dtype}"
    if isinstance(module, nn.Embedding) and module.max_norm is not None:
        return "max_norm rescales whole rows of its weight; leave it out of the layers"
    if scheme is None:
        return None
    if scheme not in SCHEMES[kind]:
        return f"a {name} has no scheme {scheme!r}, only {', '.join(SCHEMES[kind])}"
    if scheme == "spatial" and math.prod(cast("nn.Conv2d", module).kernel_size) == 1:
        return "a kernel of one pixel has no spatial scheme; use channel"
    return None


def matrices(weight: Tensor, scheme: Scheme, groups: int = 1) -> Tensor:
    """The matrices whose ranks are the ranks of the layer.

    Args:
        weight: of the layer: (outputs, inputs), (symbols, width) or (outputs, inputs / groups,
            *kernel).
        scheme: how it is factorised.
        groups: of the convolution.

    Returns:
        (groups, m, n): the same entries in another order; a view where it can be.

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
    return split.permute(0, 1, 4, 2, 3).flatten(3, 4).flatten(1, 2)  # of (g, m, c, rows, columns)


def fold(matrices: Tensor, scheme: Scheme, shape: Sequence[int]) -> Tensor:
    """The weight whose matrices these are: the inverse of `matrices`.

    Args:
        matrices: (groups, m, n).
        scheme: how it is factorised.
        shape: of the weight.
    """
    if scheme == "linear":
        return matrices.squeeze(0)
    if scheme == "embedding":
        return matrices.squeeze(0).T
    if scheme == "channel":
        return matrices.reshape(tuple(shape))
    inputs, rows, columns = shape[1:]
    split = matrices.reshape(len(matrices), -1, columns, inputs, rows)
    return split.permute(0, 1, 3, 4, 2).reshape(tuple(shape))


def squared_errors(weight: Tensor, scheme: Scheme, groups: int = 1) -> Tensor:
    """What every rank loses.

    Args:
        weight: see `matrices`.
        scheme: how it is factorised.
        groups: of the convolution.

    Returns:
        (k + 1,) float64, squared Frobenius errors of rank 0 to k.

    Raises:
        ValueError: for a weight that is not finite.
    """
    each = [decompose(matrix).tails() for matrix in matrices(weight, scheme, groups)]
    return sum(each[1:], each[0])


def full_rank(module: nn.Module, scheme: Scheme) -> int:
    """The highest rank there is.

    Raises:
        ValueError: if the layer cannot be factorised so.
    """
    return min(_sides(checked(module, scheme), scheme)[1:])


def parameters(module: nn.Module, scheme: Scheme, rank: int) -> int:
    """Entries of the factorised layer's tensors, its bias included.

    Args:
        module: the dense layer.
        scheme: how it is factorised.
        rank: of each group's matrix; 0 is allowed.

    Raises:
        ValueError: if the layer cannot be factorised so.
    """
    layer = checked(module, scheme)
    bias = bias_of(layer)
    groups, m, n = _sides(layer, scheme)
    return (0 if bias is None else bias.numel()) + groups * rank * (m + n)


def dense_parameters(module: nn.Module) -> int:
    """Entries of the layer's tensors, its bias included."""
    return sum(parameter.numel() for parameter in module.parameters(recurse=False))


def flops(module: nn.Module, scheme: Scheme, rank: int, positions: int = 1) -> int:
    """Operations of the factorised layer's products for one sample, a multiply-add counted as two.

    A strided layer is taken to have stride times as many positions at its input as at its output,
    which is exact without padding effects at the edges.

    Args:
        module: the dense layer.
        scheme: how it is factorised.
        rank: of each group's matrix; 0 is allowed.
        positions: of the output: pixels of a map, symbols of a sequence.

    Raises:
        ValueError: if the layer cannot be factorised so.
    """
    layer = checked(module, scheme)
    groups, m, n = _sides(layer, scheme)
    if scheme == "embedding":
        n = 0  # a lookup
    if scheme == "spatial":
        n *= cast("nn.Conv2d", layer).stride[1]
    return 2 * groups * rank * (m + n) * positions


def dense_flops(module: nn.Module, positions: int = 1) -> int:
    """Operations of the layer's product for one sample, a multiply-add counted as two.

    Args:
        module: a layer that can be factorised.
        positions: of the output.
    """
    if isinstance(module, nn.Embedding):
        return 0
    return 2 * cast("Layer", module).weight.numel() * positions


def cost_of(
    module: nn.Module,
    scheme: Scheme | None,
    rank: int | None,
    unit: Unit,
    *,
    positions: int = 1,
    itemsize: int | None = None,
) -> int:
    """What a layer costs at a rank.

    Args:
        module: the dense layer.
        scheme: how it is factorised.
        rank: of each group's matrix; None for the layer as it is.
        unit: what to count.
        positions: for "flops", see `flops`.
        itemsize: for "bytes", those of one parameter; by default as the weight is.

    Raises:
        ValueError: if the layer cannot be factorised so.
    """
    if unit == "flops":
        if rank is None or scheme is None:
            return dense_flops(module, positions)
        return flops(module, scheme, rank, positions)
    count = (
        dense_parameters(module)
        if rank is None or scheme is None
        else parameters(module, scheme, rank)
    )
    each = cast("Layer", module).weight.itemsize if itemsize is None else itemsize
    return count * (each if unit == "bytes" else 1)


def break_even(module: nn.Module, scheme: Scheme) -> int:
    """The highest rank at which the factors have fewer parameters than the layer; 0 if none.

    Raises:
        ValueError: if the layer cannot be factorised so.
    """
    dense, full = dense_parameters(module), full_rank(module, scheme)
    base, one = (parameters(module, scheme, rank) for rank in (0, 1))
    return min(full, (dense - base - 1) // (one - base))


def cheapest(module: nn.Module, error: float) -> Scheme:
    """The scheme with the fewest parameters that keeps a layer's relative error within a bound.

    Args:
        module: a layer that can be factorised.
        error: largest ||W - W_r|| / ||W|| in the Frobenius norm, in (0, 1).

    Returns:
        The default scheme where the dense layer has no more.

    Raises:
        ValueError: for an error out of range, or a weight that is not finite.
    """
    if not 0.0 < error < 1.0:
        raise ValueError(f"error must be in (0, 1), got {error}")
    able = schemes_for(module)

    def count(scheme: Scheme) -> int:
        lost = squared_errors(module.get_parameter("weight"), scheme, groups_of(module))
        enough = int((lost <= error**2 * lost[0]).nonzero()[0, 0])
        return parameters(module, scheme, max(1, enough))

    counts = {scheme: count(scheme) for scheme in able}
    best = min(able, key=lambda scheme: counts[scheme])
    return best if counts[best] < dense_parameters(module) else able[0]


def checked(module: nn.Module, scheme: str) -> Layer:
    """The layer, if it can be factorised so.

    Raises:
        ValueError: saying why it cannot.
    """
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
    if isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear):
        return (
            "it is the out_proj of a MultiheadAttention, which uses its weight directly; write "
            "the attention's projections as nn.Linear"
        )
    if isinstance(module, _TRANSPOSED):
        return f"{name}: transposed convolutions have no scheme; leave it out of the layers"
    if isinstance(module, tuple(SCHEMES)):
        return f"{name} is a subclass that may compute something else; use the plain torch.nn class"
    kinds = ", ".join(kind.__name__ for kind in SCHEMES)
    return f"{name} is not one of {kinds}; leave it out of the layers"


def _what_computes(module: nn.Module) -> str:
    """What computes a layer's weight from other tensors before each call, and how to end that."""
    if hasattr(module, "weight_mask"):
        return (
            "it is pruned by torch.nn.utils.prune, whose mask is not part of the weight yet; make "
            "it so first with torch.nn.utils.prune.remove(layer, 'weight')"
        )
    norm = "spectral_norm" if hasattr(module, "weight_u") else "weight_norm"
    if hasattr(module, "weight_u") or hasattr(module, "weight_g"):
        return (
            f"its weight is computed by {norm}; bake it in first with "
            f"torch.nn.utils.remove_{norm}(layer)"
        )
    return "its weight is computed from other tensors; make it a parameter of its own first"


def bias_of(module: nn.Module) -> Tensor | None:
    """A layer's bias, if it has one."""
    return cast("Tensor | None", getattr(module, "bias", None))


def groups_of(module: nn.Module) -> int:
    """Of a convolution; 1 of any other layer."""
    return module.groups if isinstance(module, CONVOLUTIONS) else 1


def _sides(layer: Layer, scheme: Scheme) -> tuple[int, int, int]:
    """Groups, rows and columns of the layer's matrices."""
    shape, groups = layer.weight.shape, groups_of(layer)
    if scheme == "embedding":
        return groups, shape[1], shape[0]
    if scheme == "spatial":
        return groups, shape[0] // groups * shape[3], shape[1] * shape[2]
    return groups, shape[0] // groups, math.prod(shape[1:])
