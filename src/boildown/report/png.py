"""A chart as a PNG, drawn by matplotlib."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from boildown.files.atomic import replacing
from boildown.report import words
from boildown.report.chart import Chart, Series
from boildown.report.colours import colour
from boildown.report.groups import MANY
from boildown.report.log_scale import log_scale

MARKERS = ("o", "s", "D", "^", "P", "X", "v", "*")
DASHES = ("-", "--", ":", "-.", (0, (7, 3)), (0, (7, 3, 1, 3)))


def draw(chart: Chart, path: Path) -> None:
    """Write the chart, in the light theme.

    Args:
        chart: to draw.
        path: of the PNG file; appears whole or not at all.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(str(n) for s in chart.series if _has_bars(s) for n in s.y))
    height = 1.5 + (0.5 if chart.zero else 0.34) * len(names) if names else 4.6
    with mpl.rc_context({"text.parse_math": False}):  # a $ in a run's name starts no formula
        figure = Figure(figsize=(8.2, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        left = np.zeros(len(names))
        for series in chart.series:
            if series.kind == "bar":
                left += _bar(axes, series, left)
            else:
                _DRAW[series.kind](axes, series)
        _axes(axes, chart, bool(names))
        with replacing(path) as part:
            figure.savefig(part, dpi=130, format="png")


def _axes(axes: Any, chart: Chart, has_bars: bool) -> None:
    ink, muted, grid = (colour(name, "light") for name in ("@ink", "@muted", "@grid"))
    axes.set_title(
        words.shorten(chart.title, 150),
        loc="left",
        color=ink,
        fontsize=11,
        wrap=True,
        pad=18 if chart.marks else None,
    )
    axes.set_xlabel(chart.x_label, color=ink)
    axes.set_ylabel(chart.y_label, color=ink)
    for log, axis, ticks in (
        (chart.x_log, axes.xaxis, chart.x_ticks),
        (chart.y_log, axes.yaxis, chart.y_ticks),
    ):
        if log:
            log_scale(axis, [value for value, _ in ticks], dict(ticks).__getitem__)
        elif ticks:
            axis.set_ticks([value for value, _ in ticks], [text for _, text in ticks])
    axes.grid(color=grid, linewidth=0.6, axis="x" if has_bars else "both")
    axes.set_axisbelow(True)
    axes.tick_params(colors=muted)
    for side in axes.spines.values():
        side.set_visible(False)
    if chart.zero:
        axes.axvline(0.0, color=ink, linewidth=1.0)
    for value, text in chart.marks:
        axes.axvline(value, color=muted, linewidth=0.8, linestyle=":")
        axes.text(
            value, 1.0, words.shorten(text, 16), color=muted, fontsize=9, va="bottom",
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    if has_bars:
        axes.invert_yaxis()
    handles, labels = axes.get_legend_handles_labels()
    if labels and len(labels) <= MANY + 1:
        axes.figure.legend(
            handles, labels, loc="outside lower left", ncols=4, frameon=False, fontsize=9
        )


def _names(series: Series) -> list[str]:
    return ["\n".join(map(words.shorten, str(name).split("\n"))) for name in series.y]


def _has_bars(series: Series) -> bool:
    return series.kind in ("bar", "range")


def _paint(series: Series) -> str:
    return colour("@ink" if series.shade is None else f"@shade:{series.shade}", "light")


def _errors(series: Series, middle: Any) -> Any:
    """Lengths of the error bars, (2, points): down and up; None where there are none."""
    if all(low is None for low in series.low):
        return None
    ends = zip(middle, series.low, series.high, strict=True)
    bars = [(0.0, 0.0) if a is None or b is None else (m - a, b - m) for m, a, b in ends]
    return np.array(bars).T


def _line(axes: Any, series: Series) -> None:
    _marked(axes, series, DASHES[series.style % len(DASHES)], 5)


def _points(axes: Any, series: Series) -> None:
    _marked(axes, series, "", 10)


def _marked(axes: Any, series: Series, dash: Any, size: int) -> None:
    axes.errorbar(
        series.x,
        series.y,
        yerr=_errors(series, series.y),
        color=_paint(series),
        marker=MARKERS[series.style % len(MARKERS)],
        linestyle=dash,
        markersize=size,
        linewidth=1.6,
        capsize=3,
        label=words.shorten(series.label) or "_",
    )


def _band(axes: Any, series: Series) -> None:
    paint = colour("@muted", "light") if series.shade is None else _paint(series)
    axes.fill_between(
        series.x,
        series.low,
        series.high,
        color=paint,
        alpha=0.2,
        linewidth=0,
        label=words.shorten(series.label) or "_",
    )


def _front(axes: Any, series: Series) -> None:
    axes.step(
        series.x,
        series.y,
        where="post",
        color=colour("@muted", "light"),
        alpha=0.35,
        linewidth=5,
        label=words.shorten(series.label),
    )


def _range(axes: Any, series: Series) -> None:
    axes.errorbar(
        series.x,
        _names(series),
        xerr=_errors(series, series.x),
        color=_paint(series),
        marker="o",
        markersize=7,
        capsize=4,
        linestyle="",
    )


def _bar(axes: Any, series: Series, left: Any) -> Any:
    axes.barh(
        _names(series),
        series.x,
        left=left,
        height=0.65,
        color=colour(f"@phase:{series.style}", "light"),
        label=words.shorten(series.label),
    )
    return np.array(series.x)


_DRAW = {"line": _line, "points": _points, "band": _band, "front": _front, "range": _range}
