"""Prune the layers of a network one after the other, each fitted to what it then gets."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from boildown.calibrate.batches import Data, calibration_flops, collect_whole
from boildown.calibrate.evidence import Evidence
from boildown.calibrate.grams import input_moments, layers_reached
from boildown.calibrate.losses import loss_through
from boildown.calibrate.moments import Moments, damped_second
from boildown.name_patterns import without
from boildown.prune.allocation import densities_by_sensitivity
from boildown.prune.criteria import Criterion, check_finite, lamp, magnitude, scored
from boildown.prune.forms import check_mix, mixed
from boildown.prune.masks import layer_masks
from boildown.prune.patterns import SINGLE, Pattern, pattern_named
from boildown.prune.reconstruct import METHODS, Choose, Method, Named
from boildown.prune.scopes import Scope, check_scope, scoped_masks
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


def settled(mask: Tensor) -> Choose:
    """What keeps this mask, whatever the scores are."""
    return lambda scores: mask


def weights_to_fit(model: nn.Module, inputs: Tensor) -> dict[str, list[str]]:
    """Weights that a batch reaches and that can be fitted, each with the layers that have it.

    In the order in which the network computes with them; one that several layers have comes where
    the last of these does.

    Args:
        model: takes a batch of inputs alone.
        inputs: a batch.
    """
    kinds = nn.Linear | nn.Conv2d
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    users: dict[int, list[tuple[str, nn.Module]]] = {}
    for path, module in model.named_modules():
        weight = module._parameters.get("weight")  # a parametrized one is computed at each pass
        if weight is not None:
            users.setdefault(id(weight), []).append((path, module))
    fit = {
        path: weight
        for weight, each in users.items()
        if all(isinstance(module, kinds) for _, module in each)
        for path, _ in each
    }
    found: dict[str, list[str]] = {}
    for path in layers_reached(model, inputs, fit):
        name = names[fit[path]]
        found[name] = [*found.pop(name, []), path]
    return found


def refit_(
    model: nn.Module,
    evidence: Evidence,
    choose: Mapping[str, Callable[[Tensor], Tensor]],
    masks: Mapping[str, Tensor],
    method: Method,
    mix: float = 0.0,
) -> dict[str, Tensor]:
    """Prune weights in place, in the order in which the network computes with them.

    Each layer is fitted to the inputs that the layers before it, already pruned, give it. A bias
    that is trained makes up for what the mean of the inputs loses. Weights of other layers than
    Linear and Conv2d are cut by their mask; of a convolution in groups the survivors are fitted,
    and the support is its mask. A weight of several layers is fitted to all of them.

    Args:
        model: takes a batch of inputs alone; its weights and biases are changed, all else stays.
        evidence: of this model, whose samples the layers are fitted on; it is charged.
        choose: weight's name -> scores to mask, of the weight's shape.
        masks: weight's name -> mask, for what `choose` is not asked of.
        method: how a layer is pruned.
        mix: how much the loss counts beside the layers' outputs (`boildown.prune.forms.mixed`).

    Returns:
        weight's name -> mask of what stayed.

    Raises:
        CalibrationError: for inputs or outputs of a layer that hold NaN or infinity, or too few.
        EvidenceError: for a mix above 0 without a loss.
    """
    batches = evidence.inputs
    layers = {n: paths for n, paths in weights_to_fit(model, batches[0]).items() if n in choose}
    stay = {name: masks[name] for name in choose if name not in layers}
    one_pass = calibration_flops(model, batches)
    with torch.no_grad():
        for name, mask in stay.items():
            model.get_parameter(name).mul_(mask)
        for name, paths in layers.items():
            evidence.flops += one_pass * len(paths)
            fit = _Fit(model, name, [_Seen.by(model, path, batches) for path in paths])
            rows = fit.rows(evidence) if mix else None
            stay[name] = fit.solve(choose[name], masks[name], method, rows, mix)
            evidence.flops += fit.flops
    return stay


class _Seen:
    """What one layer sees of its inputs, and the bias that may make up for their mean.

    Attributes:
        moments: one for each group.
        bias: of the layer, if it is trained; its own name beside it.
    """

    def __init__(self, moments: Sequence[Moments], bias: nn.Parameter | None, name: str) -> None:
        self.moments, self.bias, self.bias_name = moments, bias, name

    @classmethod
    def by(cls, model: nn.Module, path: str, batches: Sequence[Tensor]) -> "_Seen":
        bias = model.get_submodule(path)._parameters.get("bias")
        trained = bias if bias is not None and bias.requires_grad else None
        return cls(input_moments(model, batches, path), trained, f"{path}.bias" if path else "bias")

    def second(self, group: int) -> Tensor:
        """(n, n) that what is left of the weight is fitted to."""
        return damped_second(self.moments[group], DAMPING, centred=self.bias is not None)


class _Fit:
    """One weight, and what its layers see."""

    def __init__(self, model: nn.Module, name: str, seen: Sequence[_Seen]) -> None:
        self.name, self.seen, self.flops = name, seen, 0
        self.weight = model.get_parameter(name)
        self.groups = len(seen[0].moments)

    def rows(self, evidence: Evidence) -> Tensor:
        """(k, m, n): gradients, of the weight and of the biases that follow it."""
        biases = [each.bias_name for each in self.seen if each.bias is not None]
        found = evidence.fisher_rows([self.name, *biases])
        rows = found[self.name].flatten(2)
        for each in self.seen:
            if each.bias is not None:
                mean = torch.stack([moments.mean for moments in each.moments]).to(rows)
                own = found[each.bias_name].unflatten(1, (self.groups, -1))
                rows -= torch.einsum("kgm,gn->kgmn", own, mean).flatten(1, 2)
        return rows

    def solve(
        self,
        choose: Callable[[Tensor], Tensor],
        mask: Tensor,
        method: Method,
        gradients: Tensor | None,
        mix: float,
    ) -> Tensor:
        """Prune the weight in place; the mask of what stayed."""
        weight, groups = self.weight, self.groups
        matrix, kept = weight.detach().flatten(1).chunk(groups), mask.flatten(1).chunk(groups)
        noticed = None if gradients is None else gradients.chunk(groups, 1)
        solved, stay = [], []
        for group, exact in enumerate(matrix):
            allowed = settled(kept[group]) if groups > 1 else _shaped(choose, weight.shape)
            form: Any = self._second(group).to(weight.device)
            if noticed is not None:
                form = mixed(form, noticed[group], mix)
            one = method(exact.double(), form, allowed)
            solved.append(one.weight)
            stay.append(one.mask)
            self.flops += one.flops
        lost = [exact.double() - new for exact, new in zip(matrix, solved, strict=True)]
        weight.copy_(torch.cat(solved).view_as(weight))
        for each in self.seen:
            if each.bias is not None:
                means = [moments.mean.to(weight.device) for moments in each.moments]
                shifts = [change @ mean for change, mean in zip(lost, means, strict=True)]
                each.bias.add_(torch.cat(shifts).to(each.bias.dtype))
        return torch.cat(stay).view_as(weight)

    def _second(self, group: int) -> Tensor:
        """Of all layers that have the weight, each as often as it sees something."""
        if len(self.seen) == 1:
            return self.seen[0].second(group)
        counts = [each.moments[group].count for each in self.seen]
        parts = (
            each.second(group) * (count / sum(counts))
            for each, count in zip(self.seen, counts, strict=True)
        )
        return torch.stack(list(parts)).sum(0)


def _shaped(choose: Callable[[Tensor], Tensor], shape: torch.Size) -> Choose:
    """What `choose` says of a weight, for its matrix."""
    return lambda scores: choose(scores.view(shape)).flatten(1)


def prune_oneshot(
    model: nn.Module,
    calibration: Data,
    sparsity: float | None = None,
    *,
    method: Named | Criterion = "alps",
    scope: Scope = "layer",
    pattern: str | None = None,
    exclude: Sequence[str] = (),
    samples: int = 512,
    mix: float = 0.0,
    loss: Callable[[Any, Any], Tensor] | None = None,
) -> nn.Module:
    """A trained network, pruned without training, layer by layer.

    Args:
        model: takes a batch of inputs alone; it stays as it is.
        calibration: inputs (`boildown.calibrate.batches.Data`); with a loss, (inputs, targets).
        sparsity: fraction of the weights that becomes zero, in [0, 1); by default the pattern's.
        method: "alps", "sparsegpt", "obs" or "refit" (`boildown.prune.reconstruct`), which let what
            is left make up for the cut, or a criterion such as `boildown.prune.criteria.wanda`.
        scope: each layer equally sparse ("layer"), small ones less ("erk"), by what its cut does to
            the outputs ("sensitivity"), or as a ranking of all together takes ("global"): by the
            criterion, for methods that fit by `lamp`.
        pattern: see `boildown.callbacks.prune.Prune`.
        exclude: patterns of weights to leave alone.
        samples: how many to calibrate with at most.
        mix: how much the loss counts beside the outputs (`boildown.prune.forms.mixed`), in [0, 1].
        loss: (outputs, targets) -> scalar, such as `torch.nn.functional.cross_entropy`; for a mix
            above 0 and for criteria that ask for gradients.

    Returns:
        A new network of the same structure, each part in the mode in which it was.

    Raises:
        ValueError: for a value out of range or that the pattern does not allow; weights that it
            does not divide, the method cannot fit, or with NaN; a mix without loss or method.
        CalibrationError: for calibration data that hold NaN, are empty or too few.

    >>> net = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
    >>> smaller = prune_oneshot(net, torch.randn(64, 8), 0.5)
    >>> [int((layer.weight == 0).sum()) for layer in (smaller[0], smaller[2])]
    [24, 6]
    """
    names, made, final = _asked(model, sparsity, pattern, exclude)
    check_scope(scope, "scope")
    fitting = None if callable(method) else _fitting(method)
    _check_mix(mix, loss, fitting)
    pruned, batches = copy.deepcopy(model), collect_whole(calibration, samples)
    evidence = Evidence(pruned, names, lambda: batches, loss_through(pruned, loss))
    if fitting is not None:
        _check_fitted(pruned, evidence.inputs[0], names, str(method))
    judge: Criterion = method if callable(method) else lamp
    choose = _choices(evidence, judge, final, scope, made)
    if fitting is None:
        _cut_(pruned, evidence, choose, judge)
    else:
        refit_(pruned, evidence, choose, _largest(pruned, choose), fitting, mix)
    return pruned


def _fitting(method: str) -> Method:
    if method not in METHODS:
        raise ValueError(
            f"method must be {', '.join(METHODS)} or a function that scores, such as "
            f"boildown.prune.criteria.wanda, got {method!r}"
        )
    return METHODS[method]


def _largest(
    model: nn.Module, choose: Mapping[str, Callable[[Tensor], Tensor]]
) -> dict[str, Tensor]:
    """Masks of the largest weights: what a convolution in groups keeps."""
    return {name: each(model.get_parameter(name).detach().abs()) for name, each in choose.items()}


def _asked(
    model: nn.Module, sparsity: float | None, pattern: str | None, exclude: Sequence[str]
) -> tuple[list[str], Pattern, float]:
    """The weights to prune, in which pattern, and how much of all goes.

    Raises:
        ValueError: as `prune_oneshot`.
    """
    made = pattern_named(pattern, "pattern")
    final = made.least if sparsity is None and made.least else sparsity
    if not isinstance(final, int | float) or not made.least <= final < 1.0:
        raise ValueError(f"sparsity must be in [{made.least:.4g}, 1), got {sparsity!r}")
    weights = weights_in(model)
    names = without(exclude, weights, "exclude")
    if not names:
        raise ValueError(f"there is nothing to prune: exclude={list(exclude)} leaves no weight")
    for name in names:
        check_finite(name, weights[name])
        if misfit := made.misfit(weights[name].shape):
            raise ValueError(f"pattern {pattern}: {name} has {misfit}; exclude=[{name!r}]")
    return names, made, float(final)


def _choices(
    evidence: Evidence,
    judge: Criterion,
    sparsity: float,
    scope: Scope,
    pattern: Pattern,
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Weight's name -> scores to mask; how many stay of each, the network as it is now decides."""
    weights = {name: evidence.model.get_parameter(name) for name in evidence.names}
    scores = scored(judge if scope == "global" else magnitude, weights, evidence)
    if scope == "sensitivity":
        model = copy.deepcopy(evidence.model)
        kept = densities_by_sensitivity(model, evidence.inputs, scores, sparsity, pattern)
        return {name: chooser(1.0 - density, pattern) for name, density in kept.items()}
    masks = scoped_masks(scores, sparsity, scope, pattern)
    return {n: chooser(1.0 - int(mask.sum()) / mask.numel(), pattern) for n, mask in masks.items()}


def _check_mix(mix: float, loss: object, fitting: Method | None) -> None:
    """Refuse a mix that nothing is made of.

    Raises:
        ValueError: naming what is missing.
    """
    check_mix(mix, "mix")
    if mix and loss is None:
        raise ValueError(
            f"mix = {mix} counts the loss, and there is none: give loss, such as "
            "torch.nn.functional.cross_entropy, and calibration batches of (inputs, targets)"
        )
    if mix and fitting is None:
        raise ValueError(
            f"mix = {mix} is what weights are fitted to, and a criterion fits none: take a method "
            "that does, such as alps"
        )


def _cut_(
    model: nn.Module,
    evidence: Evidence,
    choose: Mapping[str, Callable[[Tensor], Tensor]],
    criterion: Criterion,
) -> None:
    """Cut weights in place, one after the other, by the evidence that those before it leave."""
    at = {name: name.rpartition(".")[0] for name in choose}
    reached = layers_reached(model, evidence.inputs[0], dict.fromkeys(at.values()))
    for name in sorted(choose, key=lambda n: reached.index(at[n]) if at[n] in reached else -1):
        weight = model.get_parameter(name)
        scores = scored(criterion, {name: weight}, evidence.anew([name]))[name]
        with torch.no_grad():
            weight.masked_fill_(~choose[name](scores), 0.0)  # times 0 would leave -0.0


def _check_fitted(model: nn.Module, inputs: Tensor, names: Iterable[str], method: str) -> None:
    """Refuse weights that cannot be fitted, before anything is.

    Raises:
        ValueError: naming them all and the remedy.
    """
    fitted = weights_to_fit(model, inputs)
    if left := [name for name in names if name not in fitted]:
        raise ValueError(
            f"{method} fits the weights of linear and two-dimensional convolution layers that the "
            f"calibration data reach, which {', '.join(left)} {'is' if len(left) == 1 else 'are'} "
            f"not; exclude={left}, or take a criterion as the method"
        )
