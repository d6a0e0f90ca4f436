"""Curves through compression: error, sparsity and bytes over the budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from boildown.report import words
from boildown.report.chart import Chart, Series, log_axis, on_one_grid, wide
from boildown.report.groups import Cell, Line, Section
from boildown.report.results import Run

_END = 0.999  # of the budget
_CURVES = 10  # in one plot
_PERCENT = 100.0


@dataclass(frozen=True)
class _Drawn:
    """A cell that is drawn: its line's place, and its own among those of the line."""

    line: int
    label: str
    shade: float
    cell: Cell


def through_charts(section: Section) -> list[Chart]:
    """Validation metric, sparsity and bytes against the budget; without what no run recorded."""
    drawn, all_of = _chosen(section)
    leaf = section.metric.rpartition("/")[2]
    scale = words.scale(section.metric)
    made = [
        _chart(section, drawn, all_of, "error", f"val/{leaf}", scale),
        _chart(section, drawn, all_of, "sparsity", "sparsity", _PERCENT),
        _chart(section, drawn, all_of, "bytes", "bytes", 1.0),
    ]
    return [chart for chart in made if chart is not None]


def _chosen(section: Section) -> tuple[list[_Drawn], int]:
    """The cells to draw, spread over the ratios where there are many; and of how many."""
    several = len(section.lines) > 1
    drawn = []
    for i, line in enumerate(section.lines):
        cells = sorted(line.cells, key=lambda c: c.ratio)
        for j, cell in enumerate(cells):
            shade = 1.0 - j / max(len(cells) - 1, 1) if len(cells) > 1 else 0.4
            drawn.append(_Drawn(i, _label(line, cell, several), shade, cell))
    if len(drawn) <= _CURVES:
        return drawn, len(drawn)
    drawn.sort(key=lambda d: d.cell.ratio)
    places = [round(i * (len(drawn) - 1) / (_CURVES - 1)) for i in range(_CURVES)]
    return [drawn[place] for place in places], len(drawn)


def _label(line: Line, cell: Cell, several: bool) -> str:
    ratio = words.ratio(cell.ratio)
    return f"{line.label}, {ratio}" if several else ratio


def column(run: Run, name: str) -> list[tuple[float, float]]:
    """(progress, value) of a run's validations.

    Args:
        run: whose curve it is.
        name: of the figure; "sparsity" is that of whatever technique logged one.
    """
    found = []
    for row in run.curve:
        value = _sparsity(row) if name == "sparsity" else row.get(name)
        if value is not None:
            found.append((row["progress"], value))
    if name == "bytes" and found:  # biases are rounded to the file's precision at the very end
        found = [*(point for point in found if point[0] < _END), (1.0, float(run.bytes))]
    return found


def _sparsity(row: Mapping[str, Any]) -> float | None:
    return next((v for k, v in row.items() if k.rpartition("/")[2] == "sparsity"), None)


def _chart(
    section: Section, drawn: Sequence[_Drawn], count: int, what: str, name: str, scale: float
) -> Chart | None:
    series, ends = [], []
    for item in drawn:
        curves = [c for run in item.cell.runs if len(c := column(run, name)) > 1]
        x, values = on_one_grid(curves)
        if x.size < 2:
            continue
        mean = scale * values.mean(axis=0)
        series.append(
            Series(
                label=item.label, x=x.tolist(), y=mean.tolist(), shade=item.shade, style=item.line,
                hover=[f"{item.label}, {p:.0%} of the budget: {_told(what, section.metric, m)}"
                       for p, m in zip(x, mean, strict=True)],
            )
        )  # fmt: skip
        ends.append((item.label, float(mean[-1])))
    if not series or (what == "sparsity" and all(max(s.y) == 0 for s in series)):
        return None
    values_shown = [float(v) for s in series for v in s.y]
    log = wide(values_shown) and what != "sparsity"
    told = words.size if what == "bytes" else "{:g}".format
    return Chart(
        name=f"through-{what}",
        title=_title(what, section.metric, ends),
        caption=_caption(what, len(series), count, any(len(d.cell.runs) > 1 for d in drawn)),
        x_label="fraction of the budget",
        y_label=_y_label(what, section.metric),
        series=tuple(series),
        y_log=log,
        y_ticks=log_axis(values_shown, told) if log else (),
        marks=_phases(drawn),
    )


def _told(what: str, metric: str, value: float) -> str:
    if what == "bytes":
        return words.size(value)
    return (
        f"{value:.1f} %" if what == "sparsity" else words.value(metric, value / words.scale(metric))
    )


def _y_label(what: str, metric: str) -> str:
    if what == "error":
        return words.axis(f"val/{metric.rpartition('/')[2]}")
    return "weights that are zero, %" if what == "sparsity" else "bytes of the file"


def _title(what: str, metric: str, ends: Sequence[tuple[str, float]]) -> str:
    name = {
        "error": f"Validation {words.leaf(metric)}",
        "sparsity": "Sparsity",
        "bytes": "File size",
    }[what]
    told = [_told(what, metric, value) for _, value in ends]
    if len(ends) == 1:
        return f"{name} through compression: {told[0]} at the end"
    return (
        f"{name} through compression: {told[0]} at {ends[0][0]} to {told[-1]} at {ends[-1][0]} "
        "in the end"
    )


def _caption(what: str, shown: int, count: int, several: bool) -> str:
    start = {
        "error": "At each validation, from dense training to the finished file",
        "sparsity": "Fraction of the weights that are held at zero",
        "bytes": "What the file would take if it were packed then; last, what it takes",
    }[what]
    mean = "; mean over the seeds" if several else ""
    some = f"; {shown} of {count} settings, spread over the ratios" if shown < count else ""
    return f"{start}{mean}{some}."


def _phases(drawn: Sequence[_Drawn]) -> tuple[tuple[float, str], ...]:
    """Where the techniques begin, if they do alike in all that is drawn."""
    found = {tuple(run.begins.items()) for item in drawn for run in item.cell.runs}
    if len(found) != 1:
        return ()
    return tuple((begin, name) for name, begin in found.pop())
