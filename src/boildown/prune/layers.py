"""Prune the layers of a network one after the other, each fitted to what it then gets."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from boildown.calibrate.batches import Data, calibration_flops, collect
from boildown.calibrate.evidence import Evidence
from boildown.calibrate.grams import input_moments, layers_reached
from boildown.calibrate.moments import Moments, damped_second
from boildown.name_patterns import without
from boildown.prune.allocation import densities_by_sensitivity
from boildown.prune.criteria import Criterion, check_finite, scored
from boildown.prune.masks import layer_masks
from boildown.prune.patterns import SINGLE, Pattern, pattern_named
from boildown.prune.reconstruct import Choose, Method, Named, method_named
from boildown.structure.weights import weights_in

DAMPING = 0.01  # of the inputs' covariance, as SparseGPT


def chooser(
    sparsity: float, pattern: Pattern = SINGLE, alive: Tensor | None = None
) -> Callable[[Tensor], Tensor]:
    """What keeps the largest of a tensor's scores.

    Args:
        sparsity: fraction of the tensor that goes, in [0, 1].
        pattern: what goes as one.
        alive: mask of what may stay; None for all.

    Returns:
        Scores to a mask, both of the tensor's shape.
    """

    def choose(scores: Tensor) -> Tensor:
        ranked = scores if alive is None else scores.masked_fill(~alive, -torch.inf)
        return layer_masks({"": ranked}, {"": sparsity}, pattern)[""]

    return choose


@dataclass
class Refitted:
    """What pruning layers by `refit_` found.

    Attributes:
        masks: weight's name -> mask of what stayed.
        flops: spent, on passes and solutions.
    """

    masks: dict[str, Tensor]
    flops: int = 0


def weights_to_fit(model: nn.Module, inputs: Tensor) -> dict[str, str]:
    """Layers that a batch reaches and that can be fitted, to their weights' names, in order.

    Args:
        model: takes a batch of inputs alone.
        inputs: a batch.
    """
    kinds = nn.Linear | nn.Conv2d
    layers = [path for path, module in model.named_modules() if isinstance(module, kinds)]
    reached = layers_reached(model, inputs, layers)
    names = {path: f"{path}.weight" if path else "weight" for path in reached}
    own = dict(model.named_parameters())  # a parametrized weight is computed anew at each pass
    return {path: name for path, name in names.items() if name in own}


def refit_(
    model: nn.Module,
    batches: Sequence[Tensor],
    choose: Mapping[str, Callable[[Tensor], Tensor]],
    masks: Mapping[str, Tensor],
    method: Method,
) -> Refitted:
    """Prune weights in place, in the order in which the network computes with them.

    Each layer is fitted to the inputs that the layers before it, already pruned, give it. A bias
    that is trained makes up for what the mean of the inputs loses. Weights of other layers than
    Linear and Conv2d are cut by their mask; of a convolution in groups the survivors are fitted,
    and the support is its mask.

    Args:
        model: takes a batch of inputs alone; its weights and biases are changed, all else stays.
        batches: inputs for calibration.
        choose: weight's name -> scores to mask, of the weight's shape.
        masks: weight's name -> mask, for what `choose` is not asked of.
        method: how a layer is pruned.

    Raises:
        CalibrationError: for inputs or outputs of a layer that hold NaN or infinity, or too few.
    """
    layers = {p: n for p, n in weights_to_fit(model, batches[0]).items() if n in choose}
    left = [name for name in choose if name not in set(layers.values())]
    found = Refitted({})
    one_pass = calibration_flops(model, batches)
    with torch.no_grad():
        for name in left:
            found.masks[name] = masks[name]
            model.get_parameter(name).mul_(masks[name])
        for path, name in layers.items():
            layer = model.get_submodule(path)
            moments = input_moments(model, batches, path)
            mask, flops = _refit_layer(layer, moments, choose[name], masks[name], method)
            found.masks[name] = mask
            found.flops += one_pass + flops
    return found


def _refit_layer(
    layer: nn.Module,
    moments: Sequence[Moments],
    choose: Callable[[Tensor], Tensor],
    mask: Tensor,
    method: Method,
) -> tuple[Tensor, int]:
    """Prune one layer in place; the mask of what stayed, and the operations it took."""
    weight = layer.get_parameter("weight")
    own_bias = layer._parameters.get("bias")
    bias = own_bias if own_bias is not None and own_bias.requires_grad else None
    groups, flops = len(moments), 0
    rows, kept = weight.detach().flatten(1).chunk(groups), mask.flatten(1).chunk(groups)
    solved, stay, shifts = [], [], []
    for seen, exact, own in zip(moments, rows, kept, strict=True):
        allowed: Choose = _fixed(own) if groups > 1 else _shaped(choose, weight.shape)
        second = damped_second(seen, DAMPING, centred=bias is not None).to(weight.device)
        one = method(exact.double(), second, allowed)
        solved.append(one.weight)
        stay.append(one.mask)
        shifts.append((exact.double() - one.weight) @ seen.mean.to(weight.device))
        flops += one.flops
    weight.copy_(torch.cat(solved).view_as(weight))
    if bias is not None:
        bias.add_(torch.cat(shifts).to(bias.dtype))
    return torch.cat(stay).view_as(weight), flops


def _fixed(mask: Tensor) -> Choose:
    return lambda scores: mask


def _shaped(choose: Callable[[Tensor], Tensor], shape: torch.Size) -> Choose:
    """What `choose` says of a weight, for its matrix."""
    return lambda scores: choose(scores.view(shape)).flatten(1)


def prune_oneshot(
    model: nn.Module,
    calibration: Data,
    sparsity: float | None = None,
    *,
    method: Named | Criterion = "alps",
    scope: Literal["layer", "sensitivity"] = "layer",
    pattern: str | None = None,
    exclude: Sequence[str] = (),
    samples: int = 512,
) -> nn.Module:
    """A trained network, pruned without training, layer by layer.

    Args:
        model: takes a batch of inputs alone; it stays as it is.
        calibration: inputs, one tensor or batches (`boildown.calibrate.batches.Data`).
        sparsity: fraction of all weights that becomes zero, in [0, 1); by default the pattern's.
        method: "alps" or "sparsegpt", which change the weights that are left so that the layers'
            outputs stay close to what they were, or a criterion such as
            `boildown.prune.criteria.wanda` that only says which go.
        scope: each layer equally sparse, or by what cutting its smallest magnitudes does to the
            outputs ("sensitivity", `boildown.prune.allocation`).
        pattern: see `boildown.callbacks.prune.Prune`.
        exclude: patterns of weights to leave alone.
        samples: how many to calibrate with at most.

    Returns:
        A new network of the same structure.

    Raises:
        ValueError: for a sparsity out of range, or that the pattern does not allow; a weight that
            the pattern does not divide, that the method cannot fit, or that holds NaN, by name; a
            method there is none of.
        CalibrationError: for calibration data that hold NaN, are empty or too few.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
        >>> smaller = prune_oneshot(net, torch.randn(64, 8), 0.5)
        >>> [int((layer.weight == 0).sum()) for layer in (smaller[0], smaller[2])]
        [24, 6]
    """
    names, made, final = _asked(model, sparsity, pattern, exclude)
    weights = dict(model.named_parameters())
    batches = collect(calibration, samples)
    pruned, choose = copy.deepcopy(model), _choices(model, batches, names, final, scope, made)
    if callable(method):
        _cut_(pruned, batches, names, choose, method)
        return pruned
    masks = {name: choose[name](weights[name].detach().abs()) for name in names}
    found = method_named(method, "method")
    _check_fitted(pruned, batches[0], names, method)
    refit_(pruned, batches, choose, masks, found)
    return pruned


def _asked(
    model: nn.Module, sparsity: float | None, pattern: str | None, exclude: Sequence[str]
) -> tuple[list[str], Pattern, float]:
    """The weights to prune, in which pattern, and how much of all goes.

    Raises:
        ValueError: as `prune_oneshot`.
    """
    made = pattern_named(pattern, "pattern")
    final = made.least if sparsity is None and made.least else sparsity
    if final is None or not made.least <= final < 1.0:
        raise ValueError(f"sparsity must be in [{made.least:.4g}, 1), got {sparsity!r}")
    weights = weights_in(model)
    names = without(exclude, weights, "exclude")
    for name in names:
        check_finite(name, weights[name])
        if misfit := made.misfit(weights[name].shape):
            raise ValueError(f"pattern {pattern}: {name} has {misfit}; exclude=[{name!r}]")
    return names, made, final


def _choices(
    model: nn.Module,
    batches: Sequence[Tensor],
    names: Sequence[str],
    sparsity: float,
    scope: str,
    pattern: Pattern,
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Weight's name -> scores to mask.

    Raises:
        ValueError: for another scope.
    """
    if scope not in ("layer", "sensitivity"):
        raise ValueError(f"scope must be layer or sensitivity, got {scope!r}")
    cut = dict.fromkeys(names, sparsity)
    if scope == "sensitivity":
        scores = {name: model.get_parameter(name).detach().abs() for name in names}
        kept = densities_by_sensitivity(copy.deepcopy(model), batches, scores, sparsity, pattern)
        cut = {name: 1.0 - density for name, density in kept.items()}
    return {name: chooser(each, pattern) for name, each in cut.items()}


def _cut_(
    model: nn.Module,
    batches: Sequence[Tensor],
    names: Iterable[str],
    choose: Mapping[str, Callable[[Tensor], Tensor]],
    criterion: Criterion,
) -> None:
    """Cut weights in place, one after the other, by the evidence that those before it leave."""
    names = list(names)
    at = {name: name.rpartition(".")[0] for name in names}
    reached = layers_reached(model, batches[0], dict.fromkeys(at.values()))
    for name in sorted(names, key=lambda n: reached.index(at[n]) if at[n] in reached else -1):
        weight = model.get_parameter(name)
        evidence = Evidence(model, [name], lambda: batches)
        scores = scored(criterion, {name: weight}, evidence)[name]
        with torch.no_grad():
            weight.mul_(choose[name](scores))


def _check_fitted(model: nn.Module, inputs: Tensor, names: Iterable[str], method: str) -> None:
    """Refuse weights that cannot be fitted, before anything is.

    Raises:
        ValueError: naming the first and the remedy.
    """
    fitted = set(weights_to_fit(model, inputs).values())
    for name in names:
        if name not in fitted:
            raise ValueError(
                f"{method} fits the weights of linear and two-dimensional convolution layers that "
                f"the calibration data reach, which {name} is not; exclude=[{name!r}], or take a "
                "criterion as the method"
            )
