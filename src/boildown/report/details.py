"""The figures of single runs that the page's script draws: curves, layers, settings."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from boildown.report import words
from boildown.report.compare import pareto_front
from boildown.report.content import Content
from boildown.report.groups import Section
from boildown.report.results import Run
from boildown.report.through import column
from boildown.report.varies import settings_of

_POINTS = 40  # of a curve
_LAYERS = 200  # of a run
_SETTINGS = 60


def details(content: Content, most: int) -> tuple[dict[str, Any], dict[int, int]]:
    """Curves, layers and settings of the runs, as far as they fit.

    Runs on a Pareto front come first, the others in their order.

    Args:
        content: of the page.
        most: letters of JSON for them.

    Returns:
        The data, and id of a run -> its place in the data, for those that are in it.
    """
    grids: dict[tuple[float, ...], int] = {}
    layers: dict[tuple[str, str, int], int] = {}
    told: list[dict[str, Any]] = []
    place: dict[int, int] = {}
    chosen: list[Run] = []
    spent = 0
    for number, label, run in _in_order(content):
        section = content.parts[number].section
        made = {"m": number, **_run(section, label, run, grids, layers)}
        spent += len(json.dumps(made, separators=(",", ":")))
        if spent > most:
            break
        place[id(run)] = len(told)
        told.append(made)
        chosen.append(run)
    metrics = [_metric(part.section.metric) for part in content.parts]
    return {
        "runs": told,
        "grids": [list(grid) for grid in grids],
        "layers": [list(layer) for layer in layers],
        "metrics": metrics,
        "settings": settings_of(chosen, _SETTINGS) if chosen else [],
        "all": len(content.runs),
    }, place


def _in_order(content: Content) -> list[tuple[int, str, Run]]:
    first: list[tuple[int, str, Run]] = []
    rest: list[tuple[int, str, Run]] = []
    for number, part in enumerate(content.parts):
        section = part.section
        cells = [(line.label, cell) for line in section.lines for cell in line.cells]
        sign = -1.0 if words.larger_is_better(section.metric) else 1.0
        metric = section.metric
        points = [(c.bytes, sign * sum(c.values(metric)) / len(c.runs)) for _, c in cells]
        front = set(pareto_front(points))
        for i, (label, cell) in enumerate(cells):
            into = first if i in front else rest
            into += [(number, label, run) for run in cell.runs]
    return first + rest


def _metric(metric: str) -> dict[str, Any]:
    return {
        "name": words.leaf(metric),
        "scale": words.scale(metric),
        "unit": " %" if words.is_fraction(metric) else "",
        "axis": escape(words.axis(f"val/{metric.rpartition('/')[2]}"), quote=False),
    }


def _run(
    section: Section,
    label: str,
    run: Run,
    grids: dict[tuple[float, ...], int],
    layers: dict[tuple[str, str, int], int],
) -> dict[str, Any]:
    leaf = section.metric.rpartition("/")[2]
    curves = {"e": f"val/{leaf}", "s": "sparsity", "b": "bytes"}
    made: dict[str, Any] = {
        "n": run.place,
        "k": list(run.techniques),
        "t": f"{label}, {words.ratio(run.ratio)}, seed {run.seed}",
        "v": [
            run.bytes,
            _short(run.ratio),
            _short(run.compressed[section.metric]),
            _short(run.dense.get(section.metric)),
            _short(run.at_end(f"val/{leaf}")),
            _short(run.flops),
            _short(run.seconds),
        ],
    }
    for key, name in curves.items():
        points = _thin(column(run, name))
        if len(points) > 1:
            grid = tuple(_short(x) or 0.0 for x, _ in points)
            made[key] = [grids.setdefault(grid, len(grids)), [_short(y) for _, y in points]]
    made["l"] = [_layer(layer, layers) for layer in run.layers[:_LAYERS]]
    return made


def _layer(
    layer: Mapping[str, Any], layers: dict[tuple[str, str, int], int]
) -> list[int | float | None]:
    name = layer["name"], layer["shape"], layer["numel"]
    place = layers.setdefault(name, len(layers))
    return [place, *(layer.get(key) for key in ("bytes", "nonzero", "distinct", "rank"))]


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(points) <= _POINTS:
        return list(points)
    last = len(points) - 1
    return [points[round(i * last / (_POINTS - 1))] for i in range(_POINTS)]


def _short(value: float | None) -> float | None:
    """A figure to four digits; whole ones without a point, which is shorter."""
    if value is None:
        return None
    rounded = float(f"{value:.4g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded
