"""What a chart shows: data, axes and words, whoever draws it."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from boildown.report.groups import MANY, Line, Section
from boildown.report.ticks import log_ticks


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line, band of marks, or set of bars.

    Attributes:
        label: its name in the legend; empty: none.
        x: values; for bars their lengths.
        y: values, or the names of the bars.
        low: lower ends of error bars, or of a band, along y (along x for "range").
        high: upper ends.
        hover: a text for each point.
        shade: place in the sequence of colours, 0 to 1; None: neutral ink.
        kind: how to draw it.
        style: 0, 1, 2... tells series of one shade apart.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float] | Sequence[str]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    hover: Sequence[str] = ()
    shade: float | None = None
    kind: Literal["line", "points", "band", "front", "range", "bar"] = "line"
    style: int = 0


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart.

    Attributes:
        name: for files and anchors.
        title: says what one sees.
        caption: says how to read it.
        x_label: with unit.
        y_label: with unit.
        series: what it shows, in order of drawing.
        x_log: whether the x axis is logarithmic.
        y_log: whether the y axis is.
        zero: whether to draw a line at x = 0.
        x_ticks: (value, text) pairs; none: as it comes.
        y_ticks: the same for y.
        marks: (value, text) pairs: x values with a line across and what begins there.
    """

    name: str
    title: str
    caption: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    x_log: bool = False
    y_log: bool = False
    zero: bool = False
    x_ticks: tuple[tuple[float, str], ...] = ()
    y_ticks: tuple[tuple[float, str], ...] = ()
    marks: tuple[tuple[float, str], ...] = ()


def shades(section: Section) -> dict[int, float]:
    """Parameters of a model -> its shade, from the smallest to the largest."""
    sizes = section.sizes
    last = max(len(sizes) - 1, 1)
    return {params: i / last for i, params in enumerate(sizes)}


def styles(lines: Sequence[Line]) -> list[int]:
    """What tells lines of one shade apart: 0, 1, 2... within each size of model."""
    seen: dict[int, int] = defaultdict(int)
    found = []
    for line in lines:
        found.append(seen[line.params])
        seen[line.params] += 1
    return found


def legend(lines: Sequence[Line]) -> list[str]:
    """Labels; for very many lines one for each size of model."""
    if len(lines) <= MANY:
        return [line.label for line in lines]
    seen: set[int] = set()
    labels = []
    for line in lines:
        labels.append("" if line.params in seen else f"{line.params:,} parameters")
        seen.add(line.params)
    return labels


def log_axis(
    values: Sequence[float], text: Callable[[float], str]
) -> tuple[tuple[float, str], ...]:
    """Ticks of a logarithmic axis that holds the values."""
    ticks = log_ticks(min(values) / 1.05, max(values) * 1.05)
    return tuple((tick, text(tick)) for tick in ticks)


def wide(values: Sequence[float]) -> bool:
    """Whether values ask for a logarithmic axis."""
    return bool(values) and min(values) > 0 and max(values) > 6 * min(values)


def on_one_grid(curves: Sequence[Sequence[tuple[float, float]]]) -> tuple[np.ndarray, np.ndarray]:
    """Curves at the same places: (points,) and (curves, points); only where all are known."""
    if not curves or any(not curve for curve in curves):
        return np.empty(0), np.empty((0, 0))
    arrays = [np.array(sorted(curve)) for curve in curves]
    begin = max(a[0, 0] for a in arrays)
    end = min(a[-1, 0] for a in arrays)
    grid = arrays[0][:, 0]
    grid = grid[(grid >= begin) & (grid <= end)]
    return grid, np.array([np.interp(grid, a[:, 0], a[:, 1]) for a in arrays])
