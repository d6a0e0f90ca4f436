"""What each chart of a report shows: data, axes and words, whoever draws it."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np

from boildown.report import words
from boildown.report.compare import pareto_front, spread
from boildown.report.groups import MANY, Line, Section
from boildown.report.ledger import Costs, ledger
from boildown.report.metric import NEAR
from boildown.report.results import Run
from boildown.report.sentences import amount
from boildown.report.ticks import linear_ticks, log_ticks
from boildown.report.verdict import Verdict

# A line, its number of seeds, FLOPs (points,), and the shown metric (seeds, points) at these.
Curve = tuple[Line, int, np.ndarray, np.ndarray]


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
    kind: Literal["line", "band", "front", "range", "bar"] = "line"
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


def shades(section: Section) -> dict[int, float]:
    """Parameters of a model -> its shade, from the smallest to the largest."""
    sizes = section.sizes
    last = max(len(sizes) - 1, 1)
    return {params: i / last for i, params in enumerate(sizes)}


def charts(section: Section, found: Sequence[Verdict]) -> list[Chart]:
    """The charts of a section; those with nothing to show are absent."""
    made = [size_chart(section, found), learning_chart(section), lead_chart(section, found)]
    made += [ledger_chart(section, "flops"), ledger_chart(section, "seconds")]
    return [chart for chart in made if chart is not None]


def _styles(lines: Sequence[Line]) -> list[int]:
    seen: dict[int, int] = defaultdict(int)
    styles = []
    for line in lines:
        styles.append(seen[line.params])
        seen[line.params] += 1
    return styles


def _legend(lines: Sequence[Line]) -> list[str]:
    """Labels; for very many lines one for each size of model."""
    if len(lines) <= MANY:
        return [line.label for line in lines]
    seen: set[int] = set()
    labels = []
    for line in lines:
        labels.append("" if line.params in seen else f"{line.params:,} parameters")
        seen.add(line.params)
    return labels


def size_chart(section: Section, found: Sequence[Verdict]) -> Chart:
    """The test metric against the size of the file."""
    metric = section.metric
    scale = words.scale(metric)
    shade = shades(section)
    series = []
    points: list[tuple[float, float, str]] = []
    for line, label, style in zip(
        section.lines, _legend(section.lines), _styles(section.lines), strict=True
    ):
        x, y, low, high, hover = [], [], [], [], []
        for cell in line.cells:
            values = [scale * v for v in cell.values(metric)]
            mean, deviation = fmean(values), spread(values)
            x.append(cell.bytes)
            y.append(mean)
            low.append(None if deviation is None else mean - deviation)
            high.append(None if deviation is None else mean + deviation)
            seeds = "1 seed" if len(values) == 1 else f"{len(values)} seeds"
            hover.append(
                f"{line.label}, {words.size(cell.bytes)} ({words.ratio(cell.ratio)}): "
                f"{words.value(metric, mean / scale)}, {seeds}"
            )
            points.append((cell.bytes, mean, hover[-1]))
        series.append(
            Series(
                label=label, x=x, y=y, low=low, high=high, hover=hover,
                shade=shade[line.params], style=style,
            )
        )  # fmt: skip
    sign = -1.0 if words.larger_is_better(metric) else 1.0
    front = [points[i] for i in pareto_front([(p[0], sign * p[1]) for p in points])]
    if len(points) > 1:
        series.insert(
            0,
            Series(
                label="Pareto front",
                x=[p[0] for p in front],
                y=[p[1] for p in front],
                kind="front",
            ),
        )
    wide = _wide([p[1] for p in points])
    extent = [v for s in series if s.kind == "line" for v in _extent(s)]
    several = any(len(cell.runs) > 1 for line in section.lines for cell in line.cells)
    return Chart(
        name="size",
        title=_size_title(section, found),
        caption=_size_caption(several, len(points) > 1),
        x_label="file size",
        y_label=words.axis(metric),
        series=tuple(series),
        x_log=True,
        y_log=wide,
        x_ticks=_log_ticks([p[0] for p in points], words.size),
        y_ticks=_log_ticks(extent, "{:g}".format) if wide else (),
    )


def _size_caption(several: bool, front: bool) -> str:
    told = "Each point is one model at one file size, "
    if several:
        told += "the mean over its seeds with one standard deviation either way."
    else:
        told += "one seed."
    if front:
        told += " The stepped line is the Pareto front: no file at most as large does better."
    return told


def _extent(series: Series) -> list[float]:
    """The y values that a line and its error bars cover, those above zero."""
    ends = [*series.y, *series.low, *series.high]
    return [float(v) for v in ends if v is not None and float(v) > 0]


def _log_ticks(
    values: Sequence[float], text: Callable[[float], str]
) -> tuple[tuple[float, str], ...]:
    ticks = log_ticks(min(values) / 1.05, max(values) * 1.05)
    return tuple((tick, text(tick)) for tick in ticks)


def _wide(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) > 6 * min(values)


def _size_title(section: Section, found: Sequence[Verdict]) -> str:
    metric = section.metric
    if found:
        wins = [f"{v.winner.label} at {words.size(v.bytes)}" for v in found]
        shown = wins if len(wins) <= 4 else [wins[0], wins[-1]]
        return f"Best by file size: {words.listing(shown)}"
    sign = -1.0 if words.larger_is_better(metric) else 1.0
    cells = [cell for line in section.lines for cell in line.cells]
    told = []
    for end in (min(c.bytes for c in cells), max(c.bytes for c in cells)):
        near = [c for c in cells if end / NEAR <= c.bytes <= end * NEAR]
        best = min(near, key=lambda c: sign * fmean(c.values(metric)))
        told.append(f"{words.value(metric, fmean(best.values(metric)))} at {words.size(end)}")
    name = words.axis(metric).partition(",")[0].capitalize()
    return f"{name}: {', '.join(dict.fromkeys(told))}"


def learning_chart(section: Section) -> Chart | None:
    """The validation metric against training FLOPs until compression begins."""
    metric = f"val/{section.metric.rpartition('/')[2]}"
    scale = words.scale(metric)
    shade = shades(section)
    drawn: list[Curve] = []
    seen: set[tuple[object, ...]] = set()
    for line in section.lines:
        curves = _trajectories(line, metric)
        flops, values = _on_one_grid(curves)
        if not flops.size:
            continue
        print_of = (line.params, flops.tobytes(), values.tobytes())
        if print_of in seen:  # of a line that differs from this one in compression alone
            continue
        seen.add(print_of)
        drawn.append((line, len(curves), flops, scale * values))
    if not drawn:
        return None
    lines = [line for line, *_ in drawn]
    series = []
    for curve, label, style in zip(drawn, _legend(lines), _styles(lines), strict=True):
        series += _learning_series(curve, metric, label, style, shade[curve[0].params])
    everything = [float(v) for *_, values in drawn for v in values.mean(axis=0)]
    spent = [float(f) for _, _, flops, _ in drawn for f in flops]
    better = "above" if words.larger_is_better(metric) else "below"
    band = "; the band spans its seeds" if any(n > 1 for _, n, *_ in drawn) else ""
    return Chart(
        name="learning",
        title=_learning_title(drawn, metric, scale),
        caption=f"Validation before compression begins, mean{band}. A curve {better} another has "
        "learned more for the same compute.",
        x_label="training FLOPs spent",
        y_label=words.axis(metric),
        series=tuple(series),
        x_log=True,
        y_log=_wide(everything),
        x_ticks=_log_ticks(spent, words.flops),
        y_ticks=_log_ticks(everything, "{:g}".format) if _wide(everything) else (),
    )


def _learning_series(
    curve: Curve, metric: str, label: str, style: int, shade: float
) -> list[Series]:
    """A line through the mean over the seeds, before it the band that several seeds span."""
    line, seeds, flops, values = curve
    scale = words.scale(metric)
    mean = values.mean(axis=0)
    hover = [
        f"{line.label}, {words.flops(f)} FLOPs: {words.value(metric, m / scale)}"
        for f, m in zip(flops, mean, strict=True)
    ]
    through = Series(
        label=label, x=flops.tolist(), y=mean.tolist(), hover=hover, shade=shade, style=style
    )
    if seeds == 1:
        return [through]
    band = Series(
        label="", x=flops.tolist(), y=mean.tolist(), kind="band",
        low=values.min(axis=0).tolist(), high=values.max(axis=0).tolist(), shade=shade,
    )  # fmt: skip
    return [band, through]


def _trajectories(line: Line, metric: str) -> list[list[tuple[float, float]]]:
    """The dense part of each seed's curve: of the run in which it is longest."""
    by_seed: dict[int, list[tuple[float, float]]] = {}
    for run in line.runs:
        points = dense_part(run, metric)
        if len(points) > len(by_seed.get(run.seed, [])):
            by_seed[run.seed] = points
    return [by_seed[seed] for seed in sorted(by_seed)]


def dense_part(run: Run, metric: str) -> list[tuple[float, float]]:
    """(FLOPs, value) of a run's validations before compression begins."""
    return [
        (row["flops"], row[metric])
        for row in run.curve
        if row["phase"] == "dense"
        and row["progress"] <= run.begin + 1e-9
        and metric in row
        and row.get("flops", 0.0) > 0.0
    ]


def _on_one_grid(curves: Sequence[Sequence[tuple[float, float]]]) -> tuple[np.ndarray, np.ndarray]:
    """Curves at the same FLOPs: (points,) and (curves, points); only where all are known."""
    if not curves or any(not curve for curve in curves):
        return np.empty(0), np.empty((0, 0))
    arrays = [np.array(sorted(curve)) for curve in curves]
    begin = max(a[0, 0] for a in arrays)
    end = min(a[-1, 0] for a in arrays)
    grid = arrays[0][:, 0]
    grid = grid[(grid >= begin) & (grid <= end)]
    return grid, np.array([np.interp(grid, a[:, 0], a[:, 1]) for a in arrays])


def _learning_title(drawn: Sequence[Curve], metric: str, scale: float) -> str:
    begin = max(flops[0] for _, _, flops, _ in drawn)
    end = min(flops[-1] for _, _, flops, _ in drawn)
    sign = -1.0 if words.larger_is_better(metric) else 1.0
    told = f"{words.flops(end)} FLOPs of dense training"
    unit = "" if words.is_fraction(metric) else f" {words.leaf(metric)}"
    if begin > end:
        return f"{words.axis(metric).partition(',')[0].capitalize()} while training dense"
    reached = {
        line.label: float(np.interp(end, flops, values.mean(axis=0)))
        for line, _, flops, values in drawn
    }
    best = min(reached, key=lambda label: sign * reached[label])
    value = f"{words.value(metric, reached[best] / scale)}{unit}"
    return f"{value} after {told}" if len(reached) == 1 else f"After {told} {best} leads: {value}"


def lead_chart(section: Section, found: Sequence[Verdict]) -> Chart | None:
    """The winner's lead over the best model of at most a quarter of its parameters."""
    if not found:
        return None
    metric = section.metric
    scale = words.scale(metric)
    series = []
    shade = shades(section)
    for verdict in found:
        mean, half = scale * verdict.lead.mean, verdict.lead.half
        first, second = verdict.winner.label, f"over {verdict.rival.label}"
        series.append(
            Series(
                label="",
                x=[mean],
                y=[f"{words.size(verdict.bytes)}: {first}\n{second}"],
                low=[None if half is None else mean - scale * half],
                high=[None if half is None else mean + scale * half],
                hover=[f"{verdict.winner.label} over {verdict.rival.label}: "
                       f"{amount(verdict.lead, metric)}"],
                shade=shade[verdict.winner.params],
                kind="range",
            )
        )  # fmt: skip
    sure = sum(v.lead.low > 0 for v in found)
    return Chart(
        name="lead",
        title=f"The winner's lead is outside the seeds' spread at {sure} of {len(found)} "
        f"file size{'s' if len(found) > 1 else ''}",
        caption="The winner at each file size against the best model of at most a quarter of its "
        "parameters (of any other size where there is none). Bars: Welch's 95 % interval over the "
        "seeds; one that reaches zero decides nothing, a point without one has too few seeds.",
        x_label=f"lead on the test set, {words.unit(metric)}",
        y_label="",
        series=tuple(series),
        zero=True,
    )


def ledger_chart(section: Section, unit: Literal["flops", "seconds"]) -> Chart | None:
    """What each phase cost, a bar for each line."""
    costs = ledger(section)
    phases = list(dict.fromkeys(phase for cost in costs for phase in cost.by_phase))
    if not phases:
        return None
    names = [_bar_name(cost, costs) for cost in costs]
    series = []
    for i, phase in enumerate(phases):
        amounts = [cost.by_phase.get(phase, {}).get(unit, 0.0) for cost in costs]
        told = [words.flops(a) + " FLOPs" if unit == "flops" else words.seconds(a) for a in amounts]
        series.append(
            Series(
                label=phase,
                x=amounts,
                y=names,
                hover=[f"{n}, {phase}: {t}" for n, t in zip(names, told, strict=True)],
                kind="bar",
                style=i,
            )
        )
    totals = [cost.flops if unit == "flops" else cost.seconds for cost in costs]
    if unit == "flops":
        title = _flops_title(totals)
        caption = "Training FLOPs of a run by phase, forward and backward, mean over runs. Dense "
        caption += "training that runs have in common is charged to each in full."
    else:
        title = f"A run took {words.seconds(min(totals))}"
        if max(totals) > min(totals):
            title += f" to {words.seconds(max(totals))} of training"
        caption = "Seconds of training by phase, mean over runs; validation is not counted. Time "
        caption += "saved by reusing dense training is not taken off."
    return Chart(
        name=f"ledger-{unit}",
        title=title,
        caption=caption,
        x_label="training FLOPs per run" if unit == "flops" else "seconds per run",
        y_label="",
        series=tuple(series),
        x_ticks=tuple((t, words.flops(t)) for t in linear_ticks(max(totals)))
        if unit == "flops" and max(totals) > 0
        else (),
    )


def _flops_title(totals: Sequence[float]) -> str:
    low, high = min(totals), max(totals)
    if high <= 1.02 * low:
        return f"Every run spent {words.flops(high)} training FLOPs"
    return f"A run spent {words.flops(low)} to {words.flops(high)} training FLOPs"


def _bar_name(cost: Costs, costs: Sequence[Costs]) -> str:
    alone = sum(c.label == cost.label for c in costs) == 1
    return cost.label if alone else f"{cost.label}, {cost.precision}"
