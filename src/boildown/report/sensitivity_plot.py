"""The sensitivity of each layer in one picture: the metric against the level, and the cost."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

from boildown.allocate.amounts import wording
from boildown.files.atomic import replacing
from boildown.report import words
from boildown.report.colours import colour
from boildown.report.log_scale import log_scale
from boildown.report.png import DASHES, MARKERS
from boildown.report.sensitivity_table import by_layer, harm
from boildown.report.ticks import log_ticks

if TYPE_CHECKING:
    from boildown.allocate.sensitivity import Point

NAMED = 10  # layers that have a colour of their own
CHARACTERS = 170  # that a row of the legend holds
_told = "{:,g}".format


def draw(points: Sequence["Point"], metric: str, path: Path, title: str) -> None:
    """Write the picture.

    Args:
        points: of one technique (`boildown.allocate.sensitivity.sensitivity`), at least one layer.
        metric: to draw.
        path: of the PNG file; appears whole or not at all.
        title: what was measured.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layers = by_layer(points)
    spoken = wording(points[0].technique)
    with mpl.rc_context({"text.parse_math": False}):  # a layer's name is no formula
        figure = Figure(figsize=(11.5, 5.0), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, at in ((left, _level), (right, _cost)):
            _lines(axes, layers, metric, at)
        left.set_ylabel(words.axis(metric))
        left.set_xlabel(spoken.level_unit)
        right.set_xlabel(f"{spoken.cost_unit} of the layer")
        _scale(left, right, points, metric)
        figure.suptitle(words.shorten(title, 110), color=colour("@ink", "light"), fontsize=11)
        handles, labels = left.get_legend_handles_labels()
        columns = max(1, min(6, CHARACTERS // (max(map(len, labels)) + 8)))
        figure.legend(
            handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
        )
        with replacing(path) as part:
            figure.savefig(part, dpi=130, format="png")


def _level(point: "Point") -> float | None:
    return point.level


def _cost(point: "Point") -> float | None:
    return point.cost or None  # none of a logarithmic axis


def _lines(axes: Any, layers: Mapping[str, Sequence["Point"]], metric: str, at: Any) -> None:
    """One line per layer; of many only the most sensitive have colours and names."""
    factor = words.scale(metric)
    harms = {name: harm(some, metric) for name, some in layers.items()}
    named = sorted(layers, key=lambda name: -harms[name])[:NAMED]
    named = [name for name in layers if name in named]
    other = len(layers) - len(named)
    for name, some in layers.items():
        shown = [(at(p), factor * p.metrics[metric]) for p in some if at(p) is not None]
        shown.sort()
        x, y = [a for a, _ in shown], [b for _, b in shown]
        if name not in named:
            first = name == next(n for n in layers if n not in named)
            label = f"{other} less sensitive" if first else "_"
            axes.plot(x, y, color=colour("@grid", "light"), linewidth=1.2, zorder=1, label=label)
            continue
        i = named.index(name)
        axes.plot(
            x,
            y,
            color=colour(f"@shade:{i / max(len(named) - 1, 1)}", "light"),
            marker=MARKERS[i % len(MARKERS)],
            linestyle=DASHES[i % 3],
            markersize=5,
            linewidth=1.6,
            zorder=2,
            label=words.shorten(name, 32),
        )
    base = next(iter(layers.values()))[0].metrics[metric]
    axes.axhline(
        factor * base,
        color=colour("@muted", "light"),
        linewidth=1.0,
        linestyle=":",
        label=f"unchanged: {words.value(metric, base)}",
    )
    axes.grid(color=colour("@grid", "light"), linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=colour("@muted", "light"))
    for side in axes.spines.values():
        side.set_visible(False)


def _scale(left: Any, right: Any, points: Sequence["Point"], metric: str) -> None:
    """Logarithmic where values are positive and span enough."""
    costs = [p.cost for p in points if p.cost > 0.0]
    log_scale(right.xaxis, log_ticks(min(costs), max(costs)), _told)
    scale = wording(points[0].technique).scale
    levels = [p.level for p in points if p.level is not None]
    if scale == "doubling":
        doubled = [2.0**i for i in range(math.floor(math.log2(max(levels))) + 1)]
        log_scale(left.xaxis, [v for v in doubled if 2 * v > min(levels)], _told)
    elif scale == "each":
        left.set_xticks(sorted(set(levels)), [f"{level:g}" for level in sorted(set(levels))])
    values = [words.scale(metric) * p.metrics[metric] for p in points]
    values = [v for v in values if math.isfinite(v)]
    if values and min(values) > 0.0 and max(values) > 4.0 * min(values):
        log_scale(left.yaxis, log_ticks(min(values), max(values)), _told)
