"""How much each layer matters: change one layer at a time and measure the whole network.

What comes out is what `boildown.lowrank.ranks.allocate_ranks` needs. Any model and any measure of
it will do; no Lightning.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from boildown.files.progress import progress
from boildown.forward import evaluating
from boildown.lowrank.ranks import Measured
from boildown.lowrank.svd import decompose
from boildown.name_patterns import matches
from boildown.prune.masks import layer_masks
from boildown.share.kmeans import share_tensor

Technique = Literal["rank", "sparsity", "bits"]
Evaluate = Callable[[nn.Module], Mapping[str, Any]]

SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
BITS = (1, 2, 3, 4, 5, 6, 7, 8)
MOST_BITS = 16
KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement.

    Attributes:
        layer: dotted path of the layer that was changed.
        technique: how.
        level: the rank (an int), the fraction of zeros, or the bits per weight (an int); None:
            unchanged.
        cost: of the layer's weight at that level, without its bias: parameters for ranks, nonzero
            weights for sparsities, bytes at a fixed code length and with the codebook for bits.
        metrics: of the whole network.
    """

    layer: str
    technique: str
    level: float | None
    cost: float
    metrics: dict[str, float]


def sensitivity(
    model: nn.Module,
    evaluate: Evaluate,
    *,
    technique: Technique,
    levels: Sequence[float] | None = None,
    layers: Sequence[str] | None = None,
    cache: str | Path | None = None,
    what: str = "",
    bar: bool = False,
) -> list[Point]:
    """Metrics against rank, sparsity or bits, one layer at a time.

    Of a layer only the weight is changed: to the best matrix of a rank (a convolution's is
    flattened to outputs x the rest, each group's by itself), with its smallest magnitudes at zero,
    or with its values shared by k-means. The model is evaluated in evaluation mode. It comes back
    in the mode it was, with the same weights and buffers to the last bit, whatever happens.

    Args:
        model: changed in place while it is measured.
        evaluate: of the model, to numbers, on validation data; must not depend on chance.
        technique: what to do to a layer.
        levels: ranks, sparsities in [0, 1], or bits from 1 to 16. A layer is left out of ranks
            that it cannot have. By default those that make the layer cheaper: the powers of two
            and the highest such rank; sparsities from 0.5 to 0.99; bits from 1 to 8.
        layers: patterns of layers (`boildown.name_patterns.matches`); None means all linear,
            convolution and embedding layers. The first of tied layers stands for all.
        cache: a file of JSON lines, to which each measurement is added as soon as it is made.
            Started again, only what is missing is measured.
        what: `evaluate` in words: the data, the split. Measurements of something else, or of
            other weights, are left in the cache and not taken.
        bar: whether to show a progress bar with the time left, on stderr.

    Returns:
        For each layer in the model's order a point of the unchanged model, whose level is None,
        then one for each level, rising.

    Raises:
        ValueError: for an unknown technique, a level out of range or that no layer can have, a
            pattern that matches no layer, or a cache that holds something else.
    """
    if technique not in get_args(Technique):
        raise ValueError(
            f"technique must be one of {', '.join(get_args(Technique))}, got {technique!r}"
        )
    chosen = _layers(model, layers)
    plan = {name: _levels(layer, technique, levels) for name, layer in chosen.items()}
    if not any(plan.values()):
        wanted = "" if levels is None else f" of {', '.join(f'{level:g}' for level in levels)}"
        raise ValueError(f"no layer can have a {technique}{wanted}; there are {', '.join(chosen)}")
    store = _Cache(cache, f"{_digest(model)} {what}")
    wanted_keys = [(name, level) for name, some in plan.items() for level in some]
    missing = sum(store.get(name, technique, level) is None for name, level in wanted_keys)
    shown = bar and missing
    points = []
    with (
        progress("sensitivity", missing, in_bytes=False) if shown else nullcontext(_ignore) as tick,
        evaluating(model),
    ):
        base = store.get(None, None, None)
        if base is None:
            base = store.add(None, None, None, _measure(model, evaluate))
        for name, some in plan.items():
            layer = chosen[name]
            if some:
                points.append(Point(name, technique, None, layer.cost(technique, None), base))
            change: Callable[[float], Tensor] | None = None
            for level in some:
                metrics = store.get(name, technique, level)
                if metrics is None:
                    change = change or layer.changes(technique)
                    with layer.changed(change(level)):
                        metrics = _measure(model, evaluate)
                    store.add(name, technique, level, metrics)
                    tick(1)
                points.append(Point(name, technique, level, layer.cost(technique, level), metrics))
    return points


def measured(
    points: Iterable[Point], metric: str, *, larger_is_better: bool = False
) -> dict[str, list[Measured]]:
    """Each layer's costs and losses, as `boildown.lowrank.ranks.allocate_ranks` takes them.

    Args:
        points: of `sensitivity`.
        metric: its name; the losses are its values.
        larger_is_better: whether the metric is a score: the losses are then its negative values.

    Raises:
        ValueError: if a point has no such metric.
    """
    found: dict[str, list[Measured]] = {}
    for point in points:
        if metric not in point.metrics:
            raise ValueError(
                f"there is no metric {metric}; there are {', '.join(point.metrics) or 'none'}"
            )
        loss = point.metrics[metric] * (-1.0 if larger_is_better else 1.0)
        found.setdefault(point.layer, []).append(Measured(point.level, point.cost, loss))
    return found


def _ignore(_: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer, as matrices (outputs, inputs), one for each group."""

    module: nn.Module

    @property
    def weight(self) -> Tensor:
        weight = self.module.weight  # looked up each time: a move to a device may replace it
        assert isinstance(weight, Tensor)
        return weight

    @property
    def shape(self) -> tuple[int, int, int]:
        """Groups, outputs of a group, inputs of a group."""
        groups = int(getattr(self.module, "groups", 1))
        return groups, len(self.weight) // groups, self.weight[0].numel()

    def cost(self, technique: Technique, level: float | None) -> float:
        count = self.weight.numel()
        if technique == "bits":
            width = self.weight.element_size()
            if level is None:
                return float(count * width)
            return float(int(level) * count / 8 + min(2 ** int(level), count) * width)
        if level is None:
            return float(count)
        if technique == "sparsity":
            return float(count - round(level * count))
        groups, outputs, inputs = self.shape
        return float(groups * level * (outputs + inputs))

    def changes(self, technique: Technique) -> Callable[[float], Tensor]:
        """What makes the changed weight of a level."""
        weight = self.weight.detach()
        if technique == "rank":
            spectra = [decompose(matrix) for matrix in weight.reshape(self.shape)]
            return lambda level: torch.stack(
                [spectrum.truncate(int(level)).product() for spectrum in spectra]
            ).reshape(weight.shape)
        if technique == "sparsity":
            scores = {"weight": weight.abs()}
            return lambda level: weight.where(layer_masks(scores, {"weight": level})["weight"], 0)
        return lambda level: share_tensor(weight, int(level))

    @contextmanager
    def changed(self, weight: Tensor) -> Iterator[None]:
        """Hold another weight while the block runs."""
        before = self.weight.detach().clone()
        try:
            with torch.no_grad():
                self.weight.copy_(weight)
            yield
        finally:
            with torch.no_grad():
                self.weight.copy_(before)


def _layers(model: nn.Module, patterns: Sequence[str] | None) -> dict[str, _Layer]:
    found: dict[str, _Layer] = {}
    seen: set[int] = set()
    for name, module in model.named_modules():
        weight = module._parameters.get("weight")
        if isinstance(module, KINDS) and weight is not None and id(weight) not in seen:
            if weight.is_floating_point() and weight.numel():
                found[name] = _Layer(module)
            seen.add(id(weight))
    if not found:
        raise ValueError("the model has no linear, convolution or embedding layer")
    for pattern in patterns or ():
        if not any(matches(pattern, f"{name}.weight") for name in found):
            raise ValueError(
                f"layers: the pattern {pattern!r} matches no layer; there are {', '.join(found)}"
            )
    chosen = {
        name: layer
        for name, layer in found.items()
        if patterns is None or any(matches(pattern, f"{name}.weight") for pattern in patterns)
    }
    for name, layer in chosen.items():
        if not torch.isfinite(layer.weight).all():
            raise ValueError(f"{name}.weight holds NaN or infinity: there is nothing to compress")
    return chosen


def _levels(layer: _Layer, technique: Technique, given: Sequence[float] | None) -> list[float]:
    """The levels to measure a layer at, rising."""
    dense = layer.cost(technique, None)
    full = min(layer.shape[1:])
    if given is None:
        if technique == "rank":
            saving = [r for r in range(1, full + 1) if layer.cost(technique, r) < dense]
            return [r for r in saving if r & (r - 1) == 0 or r == saving[-1]]
        standard: Sequence[float] = SPARSITIES if technique == "sparsity" else BITS
        return [level for level in standard if layer.cost(technique, level) < dense]
    for level in given:
        _check_level(technique, level)
    kind = float if technique == "sparsity" else int
    return [kind(v) for v in sorted(set(given)) if technique != "rank" or v <= full]


def _check_level(technique: Technique, level: float) -> None:
    if technique == "sparsity":
        if not 0.0 <= level <= 1.0:
            raise ValueError(f"a sparsity must be in [0, 1], got {level:g}")
    elif technique == "bits":
        if level != level // 1 or not 1 <= level <= MOST_BITS:
            raise ValueError(f"bits must be a whole number from 1 to {MOST_BITS}, got {level:g}")
    elif level != level // 1 or level < 1:
        raise ValueError(f"a rank must be a whole number of at least 1, got {level:g}")


def _measure(model: nn.Module, evaluate: Evaluate) -> dict[str, float]:
    """The metrics; buffers that `evaluate` changes, such as running statistics, are restored."""
    before = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    try:
        found = {str(name): float(value) for name, value in evaluate(model).items()}
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if name in before:
                    buffer.copy_(before[name])
    if not found:
        raise ValueError("evaluate gave no metrics: there is nothing to measure a layer by")
    return found


def _digest(model: nn.Module) -> str:
    """Of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


class _Cache:
    """Measurements by a digest of all that they depend on, in a file if there is one.

    Args:
        path: of a file of JSON lines; None: nothing is kept.
        basis: what all of them depend on, in words.
    """

    def __init__(self, path: str | Path | None, basis: str) -> None:
        self.path = None if path is None else Path(path)
        self.basis = basis
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._found = {} if self.path is None else _read(self.path)

    def _key(self, layer: str | None, technique: str | None, level: float | None) -> str:
        text = json.dumps([self.basis, layer, technique, level])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def get(
        self, layer: str | None, technique: str | None, level: float | None
    ) -> dict[str, float] | None:
        return self._found.get(self._key(layer, technique, level))

    def add(
        self,
        layer: str | None,
        technique: str | None,
        level: float | None,
        metrics: dict[str, float],
    ) -> dict[str, float]:
        key = self._key(layer, technique, level)
        self._found[key] = metrics
        if self.path is not None:
            record = {
                "key": key,
                "layer": layer,
                "technique": technique,
                "level": level,
                "metrics": metrics,
            }
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        return metrics


def _read(path: Path) -> dict[str, dict[str, float]]:
    """The measurements in a file, without a last line that was cut off when a process died."""
    if not path.exists():
        return {}
    *lines, last = path.read_bytes().split(b"\n")
    found = {}
    for i, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            found[str(record["key"])] = {str(k): float(v) for k, v in record["metrics"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(
                f"{path}, line {i}, is no measurement of a sensitivity; give another file"
            ) from None
    if last:
        if not (last.startswith(b'{"key') or b'{"key'.startswith(last)):
            raise ValueError(f"{path} holds something else; give another file for the cache")
        with path.open("r+b") as file:
            file.truncate(sum(len(line) + 1 for line in lines))
    return found
