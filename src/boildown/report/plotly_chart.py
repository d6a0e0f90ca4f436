"""A chart as a plotly figure: plain data that plotly.js draws.

Colours are names (`boildown.report.colours`), which the page's script turns into those of the light
or the dark theme.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

from boildown.report import words
from boildown.report.chart import Chart, Series

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "star")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def figure(chart: Chart) -> dict[str, Any]:
    """The figure, with colours by name.

    Texts from runs are escaped: plotly takes its texts for a kind of HTML.
    """
    traces: list[dict[str, Any]] = []
    for series in chart.series:
        traces += _TRACES[series.kind](series)
    bars = any(series.kind in ("bar", "range") for series in chart.series)
    named = sum(bool(t.get("showlegend", True)) for t in traces)
    layout: dict[str, Any] = {
        "xaxis": _axis(chart.x_label, chart.x_log, chart.x_ticks),
        "yaxis": _axis(chart.y_label, chart.y_log, chart.y_ticks),
        "showlegend": named > 0,
        "hovermode": "closest",
        "barmode": "stack",
        "font": {"color": "@ink", "family": "system-ui, sans-serif", "size": 13},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {"bgcolor": "@paper", "bordercolor": "@muted", "font": {"color": "@ink"}},
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "yref": "paper",
            "traceorder": "normal",
        },
        "height": 430,
    }
    if bars:
        count = max(len({name for s in chart.series for name in s.y}), 1)
        layout["height"] = 130 + (46 if chart.zero else 34) * count
        layout["yaxis"] |= {"range": [count - 0.5, -0.5], "showgrid": False, "type": "category"}
    if chart.marks:
        layout |= _marks(chart.marks)
    if chart.zero:
        layout["xaxis"] |= {
            "rangemode": "tozero",
            "zeroline": True,
            "zerolinecolor": "@ink",
            "zerolinewidth": 1.5,
        }
    return {"data": traces, "layout": layout}


def _marks(marks: Sequence[tuple[float, str]]) -> dict[str, Any]:
    """Lines across, each with what begins there on top, in the layout's terms."""
    line = {"color": "@muted", "width": 1, "dash": "dot"}
    across = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "line": line}
    note = {"yref": "paper", "y": 1, "yanchor": "top", "xanchor": "left", "showarrow": False}
    font = {"color": "@muted", "size": 12}
    return {
        "shapes": [{**across, "x0": value, "x1": value} for value, _ in marks],
        "annotations": [
            {**note, "x": value, "font": font, "text": escape(words.shorten(text, 16), quote=False)}
            for value, text in marks
        ],
    }


def _axis(label: str, log: bool, ticks: Sequence[tuple[float, str]]) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "title": {"text": escape(label, quote=False)},
        "automargin": True,
        "gridcolor": "@grid",
        "linecolor": "@muted",
        "zeroline": False,
        "tickcolor": "@muted",
        "ticks": "outside",
        "type": "log" if log else "linear",
    }
    if ticks:
        axis |= {"tickvals": [v for v, _ in ticks], "ticktext": [text for _, text in ticks]}
    return axis


def _paint(series: Series) -> str:
    return "@ink" if series.shade is None else f"@shade:{series.shade:.4f}"


def _line(series: Series) -> list[dict[str, Any]]:
    paint = _paint(series)
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": escape(words.shorten(series.label), quote=False),
        "showlegend": bool(series.label),
        "x": list(series.x),
        "y": list(series.y),
        "line": {"color": paint, "width": 2, "dash": DASHES[series.style % len(DASHES)]},
        "marker": {"color": paint, "size": 7, "symbol": SYMBOLS[series.style % len(SYMBOLS)]},
    }
    trace |= _hover(series)
    if any(low is not None for low in series.low):
        trace["error_y"] = _errors(series, list(series.y), paint)  # type: ignore[arg-type]
    return [trace]


def _hover(series: Series) -> dict[str, Any]:
    if not series.hover:
        return {"hoverinfo": "skip"}
    return {"hovertext": [escape(t, quote=False) for t in series.hover], "hoverinfo": "text"}


def _errors(series: Series, middle: list[float], paint: str) -> dict[str, Any]:
    ends = list(zip(middle, series.low, series.high, strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "array": [0.0 if high is None else high - m for m, _, high in ends],
        "arrayminus": [0.0 if low is None else m - low for m, low, _ in ends],
        "color": paint,
        "thickness": 1.5,
        "width": 4,
    }


def _band(series: Series) -> list[dict[str, Any]]:
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [*series.x, *reversed(series.x)],
            "y": [*series.high, *reversed(series.low)],
            "fill": "toself",
            "fillcolor": "@haze" if series.shade is None else f"@band:{series.shade:.4f}",
            "line": {"width": 0},
            "hoverinfo": "skip",
            "name": escape(words.shorten(series.label), quote=False),
            "showlegend": bool(series.label),
        }
    ]


def _front(series: Series) -> list[dict[str, Any]]:
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": escape(words.shorten(series.label), quote=False),
            "x": list(series.x),
            "y": list(series.y),
            "line": {"color": "@muted", "width": 5, "shape": "hv"},
            "opacity": 0.35,
            "hoverinfo": "skip",
        }
    ]


def _range(series: Series) -> list[dict[str, Any]]:
    paint = _paint(series)
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "x": list(series.x),
        "y": [_name(name) for name in series.y],
        "marker": {"color": paint, "size": 11},
        "showlegend": False,
    }
    trace |= _hover(series)
    if any(low is not None for low in series.low):
        trace["error_x"] = _errors(series, list(series.x), paint)
    return [trace]


def _name(bar: float | str) -> str:
    return "<br>".join(escape(words.shorten(t), quote=False) for t in str(bar).split("\n"))


def _bar(series: Series) -> list[dict[str, Any]]:
    return [
        {
            "type": "bar",
            "orientation": "h",
            "name": escape(words.shorten(series.label), quote=False),
            "x": list(series.x),
            "y": [_name(name) for name in series.y],
            "marker": {"color": f"@phase:{series.style}"},
        }
        | _hover(series)
    ]


def _points(series: Series) -> list[dict[str, Any]]:
    (trace,) = _line(series)
    trace |= {"mode": "markers"}
    trace["marker"] |= {"size": 12}
    return [trace]


_TRACES = {
    "line": _line,
    "points": _points,
    "band": _band,
    "front": _front,
    "range": _range,
    "bar": _bar,
}
