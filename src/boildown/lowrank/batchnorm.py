"""Batch-norm folded into the layer before it: a pure function on networks."""

import copy
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from boildown.calibrate.tracing import Following
from boildown.structure.replace import noted

FOLDABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def fold_batchnorm(model: nn.Module, pairs: Iterable[tuple[str, str]]) -> nn.Module:
    """A copy of the network without some batch-norms, which computes the same in evaluation mode.

    Args:
        model: any network; it is not touched.
        pairs: (layer, batch-norm) names. The batch-norm must be all that reads the layer's output:
            only the caller knows.

    Returns:
        Each layer's weight and bias take over what its batch-norm did with its running statistics,
        and the batch-norm is an `nn.Identity`. A layer without a bias gets one.

    Raises:
        ValueError: naming the modules, if one is not there, is of another kind, is named twice,
            shares its tensors or has no running statistics, or if they do not fit.

    Source: Jacob et al. 2017, section 3.2, https://arxiv.org/abs/1712.05877
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    owners = [id(p) for _, p in model.named_parameters(remove_duplicate=False)]
    memo: dict[int, Any] = {}
    for names in pairs:
        for name in names:
            if name not in modules:
                raise ValueError(f"there is no module {name!r} to fold; see model.named_modules()")
            if id(modules[name]) in memo:
                raise ValueError(f"{name} is to be folded twice; name it in one pair")
            if any(owners.count(id(p)) > 1 for p in modules[name].parameters()):
                raise ValueError(f"{name} shares its tensors with another; it cannot be folded")
        layer, norm = (modules[name] for name in names)
        try:
            memo[id(layer)] = _folded(layer, norm)
        except ValueError as error:
            raise ValueError(f"{names[0]} and {names[1]}: {error}") from None
        memo[id(norm)] = nothing_of(norm)
    return copy.deepcopy(model, memo)


def foldable(model: nn.Module, following: Mapping[str, Following]) -> list[tuple[str, str]]:
    """The layers and batch-norms that `fold_batchnorm` may take.

    Args:
        model: the network.
        following: what follows its layers (`boildown.calibrate.tracing.follows`).
    """
    norms = Counter(one.batchnorm for one in following.values() if one.batchnorm is not None)
    owners = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    pairs = [(n, one.batchnorm) for n, one in following.items() if one.batchnorm is not None]
    return [
        (name, norm)
        for name, norm in pairs
        if norms[norm] == 1
        and model.get_submodule(norm).running_mean is not None
        and type(model.get_submodule(name)) in FOLDABLE
        and not any(
            owners[id(p)] > 1 for one in (name, norm) for p in model.get_submodule(one).parameters()
        )
    ]


def nothing_of(norm: nn.Module) -> nn.Identity:
    """What takes the place of a batch-norm that was folded."""
    built = nn.Identity().train(norm.training)
    noted(built, norm, identity=True)
    return built


def with_bias(layer: nn.Module) -> nn.Module:
    """A copy of a layer with a bias; one that it did not have starts at zero.

    Raises:
        ValueError: for a layer that cannot have one.
    """
    if type(layer) not in FOLDABLE:
        raise ValueError(f"a {type(layer).__name__} cannot take a bias")
    copied = copy.deepcopy(cast("nn.Linear", layer))
    if copied.bias is None:
        weight = copied.weight
        copied.bias = nn.Parameter(weight.new_zeros(weight.shape[0]), weight.requires_grad)
        noted(copied, layer, bias=True)
    return copied


def _folded(layer: nn.Module, norm: nn.Module) -> nn.Module:
    if not isinstance(norm, _BatchNorm):
        raise ValueError(f"a {type(norm).__name__} is no batch-norm")
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("the batch-norm keeps no running statistics; it has nothing to fold")
    copied = cast("nn.Linear", with_bias(layer))
    weight, bias = copied.weight, copied.bias
    if len(mean) != len(weight):
        raise ValueError(f"{len(weight)} outputs do not fit a batch-norm of {len(mean)}")
    with torch.no_grad():
        gain: Tensor = (variance.double() + norm.eps).rsqrt()
        if norm.weight is not None:
            gain = gain * norm.weight
        shift = (bias - mean.double()) * gain
        if norm.bias is not None:
            shift = shift + norm.bias
        weight.copy_(weight.double() * gain.reshape(-1, *[1] * (weight.ndim - 1)))
        bias.copy_(shift)
    return copied
