"""Quantize a trained network layer by layer, each fitted to what it then gets."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from boildown.calibrate.batches import Data, calibration_flops, collect
from boildown.calibrate.grams import layers_reached, paired_moments
from boildown.calibrate.tracing import follows
from boildown.lowrank.batchnorm import fold_batchnorm, foldable
from boildown.name_patterns import by_pattern, matches, without
from boildown.prune.criteria import check_finite
from boildown.quantize.activations import InputGrid, attach, layers_of, observed
from boildown.quantize.fitted_layer import FittedLayer
from boildown.quantize.grid import (
    Granularity,
    Grid,
    blocks_of,
    check_bits,
    check_granularity,
    misfit,
)
from boildown.quantize.observers import OBSERVERS, Observer, fit_grid, ternary_grid
from boildown.quantize.outlier_columns import columns_apart
from boildown.quantize.reconstruct import Named, method_named
from boildown.quantize.split_layer import parts_of, split
from boildown.structure.replace import replaced
from boildown.structure.weights import weights_in

Bits = int | Literal["ternary"]
Widths = Bits | Mapping[str, Bits]

EXCLUDED, UNNAMED, UNNAMED_INPUTS = ASKED = (
    "excluded", "no pattern of bits names it", "no pattern of activations names it"
)  # fmt: skip
MOST_INPUTS = 10_000  # whose second moment is held, of 800 megabytes


@dataclass(frozen=True)
class Rounded:
    """A weight that was put on its grid.

    Attributes:
        bits: of its codes.
        input_bits: of what its layer gets; None: that is not rounded.
        error: of the layer's outputs, squared, relative to their variance (their mean square
            without a bias), on the calibration data, with all that was rounded before; None where
            it cannot be had.
        why: why each weight took its nearest value though another method was asked for; "" if none.
    """

    bits: Bits
    input_bits: int | None
    error: float | None
    why: str = ""


@dataclass
class Quantized:
    """What quantizing a network after its training made of it.

    Attributes:
        model: the network.
        weights: name -> what became of it, in the order of computation.
        left: name of a weight, "inputs of" or "outliers of" a layer -> why it was left as it was.
        flops: spent, on passes and solutions.
        outliers: layer -> columns of its weight that were left at 16 bits.
    """

    model: nn.Module
    weights: dict[str, Rounded] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    flops: int = 0
    outliers: dict[str, list[int]] = field(default_factory=dict)

    @property
    def told(self) -> list[str]:
        """Lines on what is not as it was asked for; none if all is."""
        fell = {name: one.why for name, one in self.weights.items() if one.why}
        left = {name: why for name, why in self.left.items() if why not in ASKED}
        return [
            *(line_of(name, why) for name, why in left.items()),
            *(f"{name}: rounded to its nearest values: {why}" for name, why in fell.items()),
        ]


def line_of(name: str, why: str) -> str:
    """A line on what was left, by its name and why."""
    return f"{name}: {'none' if name.startswith('outliers of ') else 'not quantized'}: {why}"


@dataclass(frozen=True)
class Plan:
    """How a network is quantized after its training; see `quantize_oneshot`.

    Raises:
        ValueError: for a value out of its range, naming it.
    """

    bits: Widths = 8
    activations: int | Mapping[str, int] | None = None
    method: Named = "nearest"
    granularity: Granularity = "channel"
    observer: Observer = "mse"
    exclude: Sequence[str] = ()
    outliers: float = 0.0

    def __post_init__(self) -> None:
        for what, given in (("bits", self.bits), ("activations", self.activations)):
            if isinstance(given, Mapping) and not given:
                raise ValueError(f"{what} must name at least one tensor, got {{}}")
            for pattern, width in (given if isinstance(given, Mapping) else {"": given}).items():
                if (what, width) not in (("bits", "ternary"), ("activations", None)):
                    check_bits(width, what + (f"[{pattern!r}]" if pattern else ""))
        method_named(self.method, "method")
        check_granularity(self.granularity, "granularity")
        if self.observer not in OBSERVERS:
            raise ValueError(
                f"observer must be one of {', '.join(OBSERVERS)}, got {self.observer!r}"
            )
        self._check_outliers()

    def _check_outliers(self) -> None:
        number = isinstance(self.outliers, int | float) and not isinstance(self.outliers, bool)
        if not number or not 0.0 <= self.outliers < 0.5:
            raise ValueError(
                "outliers must be a fraction of the weights from 0 to below 0.5, such as 0.01, "
                f"got {self.outliers!r}"
            )
        if self.outliers and (self.activations is not None or isinstance(self.granularity, int)):
            other = "granularity" if self.activations is None else "activations"
            raise ValueError(
                f"outliers={self.outliers} does not go with {other}={getattr(self, other)!r}: "
                "leave out one of them"
            )

    def bits_of(self, names: Iterable[str]) -> dict[str, Bits]:
        """The bits of each weight that has some.

        Raises:
            ValueError: for a pattern that matches nothing.
        """
        return by_pattern(_patterns(self.bits), names, "bits")

    def input_bits_of(self, model: nn.Module, names: Sequence[str]) -> dict[str, int]:
        """The layers, each with the bits of what it gets.

        Raises:
            ValueError: for a pattern that matches nothing.
        """
        if self.activations is None:
            return {}
        layers = {f"{n}.weight" if n else "weight": n for n in layers_of(model, names)}
        found = by_pattern(_patterns(self.activations), layers, "activations")
        return {layers[name]: width for name, width in found.items()}

    def grid(self, bits: Bits, weight: Tensor) -> Grid:
        """The grid that suits a weight's blocks."""
        blocks = blocks_of(weight.detach().float(), self.granularity)
        if bits == "ternary":
            return ternary_grid(blocks)
        return fit_grid(blocks, bits, observer=self.observer)

    def check(self, weights: Mapping[str, Tensor]) -> None:
        """Refuse weights that cannot be so.

        Raises:
            ValueError: naming the first and the remedy.
        """
        for name, weight in weights.items():
            check_finite(name, weight)
            if why := misfit(weight.shape, self.granularity):
                raise ValueError(
                    f"granularity={self.granularity}: {name} has {why}; exclude=[{name!r}], or "
                    "choose another"
                )


T = TypeVar("T")


def _patterns(given: T | Mapping[str, T]) -> Mapping[str, T]:
    return given if isinstance(given, Mapping) else {"*": given}


def quantize_oneshot(
    model: nn.Module,
    calibration: Data,
    bits: Widths = 8,
    *,
    activations: int | Mapping[str, int] | None = None,
    method: Named = "nearest",
    granularity: Granularity = "channel",
    observer: Observer = "mse",
    exclude: Sequence[str] = (),
    outliers: float = 0.0,
    fold: bool = True,
    samples: int = 512,
) -> nn.Module:
    """A trained network whose weights, and inputs of layers, have few bits, without more training.

    Layer by layer in the order of computation, each calibrated on what the layers before it,
    already quantized, put out, and fitted to what it put out before any was. Biases make up for
    what the means lose. Zeros of weights stay zero.

    Args:
        model: takes a batch of inputs alone; it stays as it is.
        calibration: inputs, one tensor or batches (`boildown.calibrate.batches.Data`).
        bits: of weights, 2 to 8 or "ternary" (zero and one size with either sign), or pattern ->
            bits for those that the patterns name. First match wins.
        activations: bits of the inputs of linear and convolution layers whose weights are
            quantized, 2 to 8, or pattern of their weights -> bits; None leaves them alone.
        method: "nearest", or what changes the layers' outputs less: "gptq" or "adaround"
            (`boildown.quantize.reconstruct`).
        granularity: what has a step of its own: "channel", "tensor", or so many inputs, such as 64.
        observer: how the range of a grid is chosen: "mse", "minmax", "percentile", "sigma".
        exclude: patterns of weights to leave alone.
        outliers: fraction of linear layers' weights that keeps 16 bits, in the columns that few
            bits cost most; such a layer becomes two (`boildown.quantize.split_layer`).
        fold: whether a batch-norm that is all that reads a linear or convolution layer becomes a
            part of that layer, as where networks are deployed; the file tells of it.
        samples: how many to calibrate with at most.

    Returns:
        A new network, whose file (`boildown.pack`) `boildown.load` reads. A warning lists what was
        not quantized, or not by the method, with the reason; `quantized` returns it as data.

    Raises:
        ValueError: for a value out of its range, a pattern that matches nothing, a weight that
            holds NaN or has inputs that groups do not divide, naming it; if no weight is left; for
            a network that cannot be copied.
        CalibrationError: for calibration data that hold NaN, are empty or too few.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
        >>> small = quantize_oneshot(net, torch.randn(64, 8), 3, activations=8, method="gptq")
        >>> max(len(row.unique()) for row in small[0].weight) <= 2**3
        True
    """
    plan = Plan(bits, activations, method, granularity, observer, exclude, outliers)
    found = quantized(model, calibration, plan, fold=fold, samples=samples)
    if found.told:
        warnings.warn("\n".join(["quantize_oneshot:", *found.told]), stacklevel=2)
    return found.model


def quantized(
    model: nn.Module, calibration: Data, plan: Plan, *, fold: bool = True, samples: int = 512
) -> Quantized:
    """What `quantize_oneshot` makes of a network, with what became of each weight.

    Args:
        model: see there, as all but `plan`.
        calibration: see there.
        plan: how.
        fold: see there.
        samples: see there.

    Raises:
        ValueError: as there.
        CalibrationError: as there.
    """
    check_plan(plan, model)
    batches = collect(calibration, samples)
    exact = replaced(model, {})
    if fold:
        exact = fold_batchnorm(exact, foldable(exact, follows(exact, batches[0])))
    found = quantize_(replaced(exact, {}), exact, batches, plan)
    found.model = split(found.model, found.outliers)
    return found


def check_plan(plan: Plan, model: nn.Module) -> None:
    """Refuse what cannot be done to a network, before anything is.

    Raises:
        ValueError: see `quantize_oneshot`.
    """
    weights = weights_in(model)
    left = without(plan.exclude, weights, "exclude")
    names = plan.bits_of(left) if left else {}
    if not set(names) - set(_computed(model)):
        raise ValueError("no weight is left to quantize; exclude fewer")
    plan.check({name: weights[name] for name in names})
    plan.input_bits_of(model, list(names))


def quantize_(
    model: nn.Module,
    exact: nn.Module,
    batches: Sequence[Tensor],
    plan: Plan,
    names: Iterable[str] | None = None,
) -> Quantized:
    """Quantize a network in place.

    Args:
        model: takes a batch of inputs alone; weights, biases and hooks on layers are changed.
        exact: a copy of it, which stays as it is.
        batches: inputs for calibration.
        plan: checked for this model by `check_plan`.
        names: of the weights that may be quantized; None: all.

    Raises:
        CalibrationError: for inputs or outputs of a layer that hold NaN or infinity, or too few.
    """
    found = Quantized(model)
    computed = _computed(model)
    weights = dict(weights_in(model))
    allowed = weights if names is None else dict.fromkeys(names)
    bits = plan.bits_of(without(plan.exclude, weights, "exclude"))
    for name in weights:
        if any(matches(p, name) for p in _listed(plan.exclude)):
            found.left[name] = EXCLUDED
        elif name not in allowed:
            found.left[name] = "not trained"
        elif name not in bits:
            found.left[name] = UNNAMED
        elif name in computed:
            found.left[name] = computed[name]
    bits = {name: width for name, width in bits.items() if name not in found.left}
    work = _Work(found, exact, batches, plan, bits)
    with torch.no_grad():
        for name in work.in_order():
            work.quantize(name)
    return found


def columns_of(
    model: nn.Module, batches: Sequence[Tensor], plan: Plan, bits: Mapping[str, Bits]
) -> dict[str, list[int]]:
    """The columns that a plan leaves at 16 bits, by weight, if the weights have these bits.

    Raises:
        ValueError: if no weight can have any.
    """
    return _Work(Quantized(model), model, batches, plan, bits).outliers


def _listed(patterns: Sequence[str]) -> Sequence[str]:
    return [patterns] if isinstance(patterns, str) else patterns


class _Work:
    """A network on its way."""

    def __init__(
        self,
        found: Quantized,
        exact: nn.Module,
        batches: Sequence[Tensor],
        plan: Plan,
        bits: Mapping[str, Bits],
    ) -> None:
        self.found, self.model, self.exact = found, found.model, exact
        self.batches, self.plan, self.bits = batches, plan, bits
        self.users = _users(self.model, bits)
        paths = [path for each in self.users.values() for path, _ in each]
        self.reached = layers_reached(self.model, batches[0], dict.fromkeys(paths))
        self.pass_flops = calibration_flops(self.model, batches)
        self.input_bits = plan.input_bits_of(self.model, list(bits))
        self.grids_fit = set(layers_of(self.model, bits))
        self.outliers = self._outliers() if plan.outliers else {}

    def in_order(self) -> list[str]:
        """The weights as the network computes with them, before these what it does not reach."""
        at = {path: place for place, path in enumerate(self.reached)}
        last = {
            name: max((at.get(path, -1) for path, _ in users), default=-1)
            for name, users in self.users.items()
        }
        return sorted(self.bits, key=lambda name: last.get(name, -1))

    def quantize(self, name: str) -> None:
        """Put a weight on its grid, and before it what its layer gets."""
        users = self.users.get(name, [])
        input_bits = self._observe(name)
        why = self._why_not(name)
        weight = self.model.get_parameter(name)
        if why:
            weight.copy_(torch.where(weight != 0.0, self._on_grid(name, weight), 0.0))
            told = why if self.plan.method != "nearest" else ""
            self.found.weights[name] = Rounded(self.bits[name], input_bits, None, told)
            return
        path, layer = users[0]
        grid = self.plan.grid(self.bits[name], weight)
        moments = paired_moments(self.exact, self.model, self.batches, path)
        self.found.flops += 2 * self.pass_flops
        columns, own = self.outliers.get(name, []), None
        if columns:
            rest = parts_of(columns, weight.shape[1])[0].to(weight.device)
            own = self.plan.grid(self.bits[name], weight[:, rest])
            self.found.outliers[path] = columns
        method = method_named(self.plan.method, "method")
        fit = FittedLayer(layer, moments, grid, method, columns, own)
        error = fit.solve()
        self.found.flops += fit.flops
        self.found.weights[name] = Rounded(self.bits[name], input_bits, error)

    def _outliers(self) -> dict[str, list[int]]:
        """The weights with columns that keep 16 bits, and these.

        Raises:
            ValueError: if no weight can have any.
        """
        able = {name: each[0] for name, each in self.users.items() if not self._why_not(name)}
        found = columns_apart(self.exact, self.batches, able, self._on_grid, self.plan.outliers)
        self.found.flops += self.pass_flops * found.passes
        others = {name: self._why_not(name) for name in self.bits if name not in able}
        left = {f"outliers of {name}": why for name, why in {**others, **found.refused}.items()}
        self.found.left |= left
        if found.passes == 0:
            raise ValueError(
                f"outliers={self.plan.outliers}: {'; '.join(f'{n}: {w}' for n, w in left.items())}"
            )
        return found.columns

    def _on_grid(self, name: str, weight: Tensor) -> Tensor:
        """The nearest values of the grid that suits a weight."""
        blocks = blocks_of(weight.detach().float(), self.plan.granularity)
        return self.plan.grid(self.bits[name], weight).nearest(blocks).view_as(weight)

    def _observe(self, name: str) -> int | None:
        """Put grids on what the layers of a weight get; their bits, None if there are none."""
        paths = [path for path, _ in self.users.get(name, [])]
        widths = {p: self.input_bits[p] for p in paths if p in self.input_bits}
        widths = {path: width for path, width in widths.items() if path in self.reached}
        if self.plan.activations is not None:
            for path in paths or [name]:
                if path not in widths:
                    self.found.left[f"inputs of {path}"] = self._why_no_grid(path)
        if not widths:
            return None
        for path, grid in observed(self.model, self.batches, widths, self.plan.observer).items():
            device = self.model.get_submodule(path).get_parameter("weight").device
            step = grid.scale.reshape(()).to(device)
            hook = InputGrid(step, int(grid.zero), widths[path])
            attach(self.model.get_submodule(path), hook)
        self.found.flops += self.pass_flops
        return next(iter(widths.values()))

    def _why_no_grid(self, path: str) -> str:
        if path in self.input_bits:
            return "the calibration data do not reach the layer by itself"
        if path in self.grids_fit:
            return UNNAMED_INPUTS
        if path in {layer for each in self.users.values() if len(each) > 1 for layer, _ in each}:
            return "other layers have its weight too"
        return "only those of linear and convolution layers have grids"

    def _why_not(self, name: str) -> str:
        """Why a weight cannot be fitted to what its layer puts out, "" if it can."""
        users = self.users.get(name, [])
        if not users:
            return "it is no weight of a linear or convolution layer"
        if len(users) > 1:
            return f"{' and '.join(path for path, _ in users)} have it in common"
        path, layer = users[0]
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            return f"only Linear and Conv2d are fitted, no {type(layer).__name__}"
        if path not in self.reached:
            return "the calibration data do not reach its layer by itself"
        inputs = layer.weight[0].numel()
        if inputs > MOST_INPUTS:
            return f"{inputs:,} inputs are more than the {MOST_INPUTS:,} of a second moment"
        return ""


def _users(model: nn.Module, names: Iterable[str]) -> dict[str, list[tuple[str, nn.Module]]]:
    """Each weight with the layers that have it for their `weight`, be it under other names."""
    wanted = {id(model.get_parameter(name)): name for name in names}
    found: dict[str, list[tuple[str, nn.Module]]] = {}
    for path, module in model.named_modules():
        weight = module._parameters.get("weight")
        if weight is not None and id(weight) in wanted:
            found.setdefault(wanted[id(weight)], []).append((path, module))
    return found


def _computed(model: nn.Module) -> dict[str, str]:
    """Weights that others are computed from -> why that keeps them from a grid."""
    found = {}
    for path, module in model.named_modules():
        for own, _ in module.named_parameters(recurse=False):
            name = f"{path}.{own}" if path else own
            base = own.removesuffix("_v").removesuffix("_orig")
            if isinstance(module, ParametrizationList):
                found[name] = "a parametrization computes the weight from it; remove it first"
            elif base != own and isinstance(getattr(module, base, None), Tensor):
                found[name] = f"{base} is computed from it, as by weight_norm; undo that first"
    return found
