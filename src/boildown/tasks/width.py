"""Learning rates that follow the width, so that no size is handicapped.

The rule of Tensor Programs V for Adam: a matrix whose fan-in grows with the width sums ever more
updates of one size into each output, so its learning rate falls as 1/width. Biases, norms, and
matrices with a fixed fan-in (input layers, embeddings) keep theirs. The paper's output layers also
begin smaller in a wider net; these do not, since that was worse (benchmarks/width_rule.py).

Source: Yang et al. 2022, table 3, https://arxiv.org/abs/2203.03466; finding these tensors by
comparing shapes is the way of its package, https://github.com/microsoft/mup
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.optim import SGD, Optimizer

RULE = "lr * base_width / width where the fan-in grows with the width (Yang et al. 2022, Adam)"


def width_factors(
    build: Callable[[int], nn.Module], width: int, base_width: int
) -> dict[str, float]:
    """Factors on the learning rates of a model of one width, tuned at another.

    Args:
        build: width -> model; called twice, on the meta device, so that no memory is taken.
        width: of the model that is trained.
        base_width: the width at which the learning rate was found.

    Returns:
        Parameter -> base_width / width where the fan-in grows with the width, else 1.0. A tensor
        under several names has one entry, under its first name; a tied embedding is an output layer
        too, whose fan-in grows.

    Raises:
        ValueError: for a width below 1, or a model that is the same at two widths.
    """
    for key, value in (("width", width), ("base_width", base_width)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{key} must be a whole number of at least 1, got {value!r}")
    with torch.device("meta"):
        narrow, wide = build(width), build(2 * width)
    parameters = dict(narrow.named_parameters())
    factors = dict.fromkeys(parameters, 1.0)
    grown = False
    for name, module, one, other in _side_by_side(narrow, wide):
        grown = grown or one.shape != other.shape
        if fan_in(module, other) > fan_in(module, one):
            factors[name] = base_width / width
    if not grown:
        raise ValueError(
            f"task.base_width={base_width}: the model is the same at width {width} and "
            f"{2 * width}, so there is no width to follow; task.base_width=null"
        )
    return factors


def _side_by_side(
    narrow: nn.Module, wide: nn.Module
) -> Iterator[tuple[str, nn.Module, Tensor, Tensor]]:
    """Each use of a parameter by a module: the parameter's first name, the module, both sizes."""
    name_of = {id(p): name for name, p in narrow.named_parameters()}
    others = dict(wide.named_modules())
    for path, module in narrow.named_modules():
        for own, parameter in module.named_parameters(recurse=False):
            yield name_of[id(parameter)], module, parameter, others[path].get_parameter(own)


def fan_in(module: nn.Module, parameter: Tensor) -> int:
    """How many inputs one output of a layer sums over.

    Args:
        module: the layer that owns the parameter.
        parameter: any; of a vector, and of an embedding, which sums nothing, it is 1.
    """
    if parameter.ndim < 2 or isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return 1
    if isinstance(module, _ConvTransposeNd):
        return parameter.shape[0] * math.prod(parameter.shape[2:])
    return math.prod(parameter.shape[1:])


def scale_rates(
    optimizer: Callable[[list[dict[str, Any]]], Optimizer],
    parameters: Mapping[str, nn.Parameter],
    factors: Mapping[str, float],
) -> Optimizer:
    """An optimizer whose learning rates are multiplied by each parameter's factor.

    Parameters are grouped by factor, those that keep their rate first. A group's weight decay is
    divided by its factor: AdamW decays by the learning rate times the weight decay, and that
    product must not depend on the width.

    Args:
        optimizer: groups of parameters -> optimizer.
        parameters: name -> what is trained.
        factors: name -> factor, above 0; 1 where absent.

    Raises:
        ValueError: if `factors` names no such parameter, or the optimizer is SGD, for which the
            rule does not hold.
    """
    unknown = [name for name in factors if name not in parameters]
    if unknown:
        raise ValueError(f"factors: there is no trained parameter {unknown[0]}")
    by_factor: dict[float, list[nn.Parameter]] = {1.0: []}
    for name, parameter in parameters.items():
        by_factor.setdefault(factors.get(name, 1.0), []).append(parameter)
    groups = {factor: group for factor, group in by_factor.items() if group}
    built = optimizer([{"params": group} for group in groups.values()])
    if isinstance(built, SGD):
        raise ValueError(
            "task.base_width: the rule is for Adam and its kin, whose updates do not depend on the "
            "gradient's size; task.optimizer is SGD"
        )
    for group, factor in zip(built.param_groups, groups, strict=True):
        group["lr"] *= factor
        if group.get("weight_decay"):
            group["weight_decay"] /= factor
    return built


def rates_of(
    optimizer: Optimizer, parameters: Iterable[tuple[str, nn.Parameter]]
) -> list[dict[str, Any]]:
    """The optimizer's groups, as plain data for a report.

    Args:
        optimizer: any.
        parameters: name and parameter, of all that is trained.

    Returns:
        For each group its "lr" before any schedule, and the names of its "tensors".
    """
    names = {id(parameter): name for name, parameter in parameters}
    return [
        {
            "lr": float(group.get("initial_lr", group["lr"])),
            "tensors": [names[id(p)] for p in group["params"] if id(p) in names],
        }
        for group in optimizer.param_groups
    ]
