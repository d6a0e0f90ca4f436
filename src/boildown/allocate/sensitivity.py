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
from typing import Any

import torch
from torch import Tensor, nn

from boildown.allocate.levels import Layer, Levels, Measured, found, named
from boildown.files.progress import progress
from boildown.forward import evaluating
from boildown.name_patterns import matches

Evaluate = Callable[[nn.Module], Mapping[str, Any]]
Plan = list[tuple[Layer, Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement.

    Attributes:
        layer: dotted path of the layer that was changed; of a parameter that is not called
            `weight`, its own name.
        technique: how.
        level: the rank (an int), the fraction of zeros, the bits per weight (an int), or what
            another technique calls a level; None: unchanged.
        cost: of that parameter at that level: parameters for ranks, nonzero weights for sparsities,
            bytes at a fixed code length and with the codebook for bits.
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
    technique: str | Levels,
    levels: Sequence[float] | None = None,
    layers: Sequence[str] | None = None,
    cache: str | Path | None = None,
    what: str = "",
    bar: bool = False,
) -> list[Point]:
    """Metrics against rank, sparsity, bits or another technique's levels, one layer at a time.

    A layer is a trained parameter with two or more axes, and only it is changed: to the best
    matrix of a rank, with its smallest magnitudes at zero, with its values shared by k-means, or
    as another technique says. The model is evaluated in evaluation mode. It comes back in the mode
    it was, with the same weights and buffers to the last bit, whatever happens.

    Args:
        model: changed in place while it is measured.
        evaluate: of the model, to numbers, on validation data; must not depend on chance.
        technique: what to do to a layer: the name of one of boildown's
            (`boildown.allocate.levels.found`), or what says as much of itself, such as
            `boildown.allocate.amounts.Previewed`.
        levels: ranks, sparsities in [0, 1], or bits from 1 to 16. A layer is left out of ranks
            that it cannot have. By default those that make the layer cheaper: the powers of two
            and the highest such rank; sparsities from 0.5 to 0.99; bits from 1 to 8.
        layers: patterns of layers (`boildown.name_patterns.matches`); None means all. The first of
            tied layers stands for all.
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
    how = named(technique) if isinstance(technique, str) else technique
    plan = _plan(_chosen(model, layers), how, levels)
    store = _Cache(cache, f"{_digest(model)} {what}")
    missing = sum(
        store.get(layer.title, how.key, level) is None for layer, some in plan for level in some
    )
    shown = bar and missing
    with (
        progress("sensitivity", missing, in_bytes=False) if shown else nullcontext(_ignore) as tick,
        evaluating(model),
    ):
        return list(_points(model, evaluate, how, plan, store, tick))


def _points(
    model: nn.Module,
    evaluate: Evaluate,
    technique: Levels,
    plan: Plan,
    store: "_Cache",
    tick: Callable[[int], None],
) -> Iterator[Point]:
    name, key = technique.name, technique.key
    base = store.get(None, None, None)
    if base is None:
        base = store.add(None, None, None, _measure(model, evaluate))
    for layer, levels in plan:
        yield Point(layer.title, name, None, technique.cost(layer, None), base)
        change: Callable[[float], Tensor] | None = None
        for level in levels:
            metrics = store.get(layer.title, key, level)
            if metrics is None:
                change = change or technique.changes(layer)
                with _changed(layer, change(level)):
                    metrics = _measure(model, evaluate)
                store.add(layer.title, key, level, metrics)
                tick(1)
            yield Point(layer.title, name, level, technique.cost(layer, level), metrics)


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
    losses: dict[str, list[Measured]] = {}
    for point in points:
        if metric not in point.metrics:
            raise ValueError(
                f"there is no metric {metric}; there are {', '.join(point.metrics) or 'none'}"
            )
        loss = point.metrics[metric] * (-1.0 if larger_is_better else 1.0)
        losses.setdefault(point.layer, []).append(Measured(point.level, point.cost, loss))
    return losses


def _ignore(_: int) -> None:
    pass


@contextmanager
def _changed(layer: Layer, weight: Tensor) -> Iterator[None]:
    """Hold another weight while the block runs."""
    before = layer.weight.detach().clone()
    try:
        with torch.no_grad():
            layer.weight.copy_(weight)
        yield
    finally:
        with torch.no_grad():
            layer.weight.copy_(before)


def layers_of(model: nn.Module) -> list[Layer]:
    """The trained floating-point parameters with two or more axes, each tied one once."""
    names: dict[int, str] = {}
    owners: dict[int, list[tuple[nn.Module, str]]] = {}
    for path, module in model.named_modules():
        for attribute, weight in module._parameters.items():
            if weight is None or not (weight.requires_grad and weight.is_floating_point()):
                continue
            if weight.ndim >= 2 and weight.numel():
                names.setdefault(id(weight), f"{path}.{attribute}".removeprefix("."))
                owners.setdefault(id(weight), []).append((module, attribute))
    return [Layer(name, owners[weight]) for weight, name in names.items()]


def _chosen(model: nn.Module, patterns: Sequence[str] | None) -> list[Layer]:
    there = layers_of(model)
    if not there:
        raise ValueError(
            "the model has no linear, convolution or embedding layer to be trained, nor another "
            "parameter with two or more axes"
        )
    for pattern in patterns or ():
        if not any(matches(pattern, layer.name) for layer in there):
            titles = ", ".join(layer.title for layer in there)
            raise ValueError(
                f"layers: the pattern {pattern!r} matches no layer; there are {titles}"
            )
    chosen = [
        layer
        for layer in there
        if patterns is None or any(matches(pattern, layer.name) for pattern in patterns)
    ]
    for layer in chosen:
        if not torch.isfinite(layer.weight).all():
            raise ValueError(f"{layer.name} holds NaN or infinity: there is nothing to compress")
    return chosen


def _plan(chosen: Sequence[Layer], technique: Levels, given: Sequence[float] | None) -> Plan:
    """Each layer with the levels to measure it at, rising, if there are any."""
    if given is None:
        wanted = ""
        plan: Plan = [(layer, technique.default(layer)) for layer in chosen]
    else:
        wanted = f" of {', '.join(f'{level:g}' for level in given)}"
        asked = sorted({technique.check(level) for level in given})
        most = [technique.most(layer) for layer in chosen]
        plan = [
            (layer, [level for level in asked if level <= high])
            for layer, high in zip(chosen, most, strict=True)
        ]
    if not any(levels for _, levels in plan):
        titles = ", ".join(layer.title for layer in chosen)
        if technique.name not in found():
            raise ValueError(f"{technique.name} changes no layer; there are {titles}")
        raise ValueError(f"no layer can have a {technique.name}{wanted}; there are {titles}")
    return [(layer, levels) for layer, levels in plan if levels]


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
