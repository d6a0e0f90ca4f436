"""The plot of quality against file size, with the dense models in it."""

from collections.abc import Sequence
from statistics import fmean

from boildown.report import words
from boildown.report.chart import Chart, Series, legend, log_axis, shades, styles, wide
from boildown.report.compare import pareto_front, sampling_error, spread
from boildown.report.groups import Cell, Line, Section
from boildown.report.metric import NEAR
from boildown.report.verdict import Verdict

NOISE = "dense ± sampling error of the test"


def size_chart(section: Section, found: Sequence[Verdict]) -> Chart:
    """The test metric against the size of the file."""
    metric = section.metric
    lines = _lines(section)
    cells = [cell for line in section.lines for cell in line.cells]
    points = [(cell.bytes, words.scale(metric) * fmean(cell.values(metric))) for cell in cells]
    dense = _dense(section)
    band = _band(section, [*points, *_points(dense)]) if dense else []
    front = _front(points, metric)
    drawn = [*band, *front, *lines, *dense]
    means = [y for _, y in [*points, *_points(dense)]]
    log = wide(means)
    extent = [v for s in [*lines, *dense] for v in _extent(s)]
    return Chart(
        name="size",
        title=_title(section, found),
        caption=_caption(section, bool(front), bool(dense), bool(band)),
        x_label="file size",
        y_label=words.axis(metric),
        series=tuple(drawn),
        x_log=True,
        y_log=log,
        x_ticks=log_axis([x for x, _ in [*points, *_points(dense)]], words.size),
        y_ticks=log_axis(extent, "{:g}".format) if log else (),
    )


def _lines(section: Section) -> list[Series]:
    """A line for each model and recipe; recipes of one model differ in shade."""
    lines = section.lines
    by_size = shades(section)
    last = max(len(lines) - 1, 1)
    alone = len(section.sizes) == 1
    made = []
    for i, (line, label, style) in enumerate(zip(lines, legend(lines), styles(lines), strict=True)):
        shade = i / last if alone else by_size[line.params]
        made.append(_line(line, section.metric, label, shade, style))
    return made


def _line(line: Line, metric: str, label: str, shade: float, style: int) -> Series:
    y, low, high, hover = [], [], [], []
    scale = words.scale(metric)
    for cell in line.cells:
        values = [scale * v for v in cell.values(metric)]
        mean, deviation = fmean(values), spread(values)
        y.append(mean)
        low.append(None if deviation is None else mean - deviation)
        high.append(None if deviation is None else mean + deviation)
        hover.append(
            f"{line.label}, {words.size(cell.bytes)} ({words.ratio(cell.ratio)}): "
            f"{words.value(metric, mean / scale)}, {_seeds(len(values))}"
        )
    x = [cell.bytes for cell in line.cells]
    return Series(label=label, x=x, y=y, low=low, high=high, hover=hover, shade=shade, style=style)


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def dense_values(section: Section) -> dict[int, list[float]]:
    """Parameters of a model -> the test metric of its dense models, one for each training.

    Runs that share the dense training count once.
    """
    found: dict[int, dict[tuple[int, float], None]] = {}
    for run in section.runs:
        if section.metric in run.dense:
            figure = run.dense[section.metric]
            found.setdefault(run.params, {})[run.seed, figure] = None
    return {params: [value for _, value in seen] for params, seen in sorted(found.items())}


def _dense(section: Section) -> list[Series]:
    """The dense models at their fp32 size, those that were compressed."""
    metric, scale = section.metric, words.scale(section.metric)
    if not any(run.techniques for run in section.runs):
        return []
    x, y, low, high, hover = [], [], [], [], []
    for params, found in dense_values(section).items():
        values = [scale * v for v in found]
        mean, deviation = fmean(values), spread(values) or 0.0
        x.append(4.0 * params)
        y.append(mean)
        low.append(mean - deviation)
        high.append(mean + deviation)
        told = words.value(metric, mean / scale)
        hover.append(f"dense, {params:,} parameters, {words.size(4.0 * params)}: {told}")
    if not x:
        return []
    return [
        Series(
            label="dense, fp32", x=x, y=y, low=low, high=high, hover=hover, kind="points", style=7
        )
    ]


def _points(dense: Sequence[Series]) -> list[tuple[float, float]]:
    return [
        (x, float(y)) for series in dense for x, y in zip([*series.x], [*series.y], strict=True)
    ]


def _band(section: Section, points: Sequence[tuple[float, float]]) -> list[Series]:
    """The dense model's error give or take the test set's sampling error, for one model."""
    dense, samples = dense_values(section), section.samples
    if len(dense) != 1 or samples is None or not words.is_fraction(section.metric):
        return []
    (values,) = dense.values()
    error = sampling_error(fmean(values), samples)
    if error == 0.0 or fmean(values) <= error:
        return []
    ends = [min(x for x, _ in points), max(x for x, _ in points)]
    low, high = (100.0 * (fmean(values) + sign * error) for sign in (-1, 1))
    return [Series(label=NOISE, x=ends, y=[low, low], low=[low] * 2, high=[high] * 2, kind="band")]


def _front(points: Sequence[tuple[float, float]], metric: str) -> list[Series]:
    if len(points) < 2:
        return []
    sign = -1.0 if words.larger_is_better(metric) else 1.0
    front = [points[i] for i in pareto_front([(x, sign * y) for x, y in points])]
    if len(front) < 2:
        return []
    x, y = [p[0] for p in front], [p[1] for p in front]
    return [Series(label="Pareto front", x=x, y=y, kind="front")]


def _caption(section: Section, front: bool, dense: bool, band: bool) -> str:
    told = "Each point is one model at one file size, "
    if any(len(cell.runs) > 1 for line in section.lines for cell in line.cells):
        told += "the mean over its seeds with one standard deviation either way."
    else:
        told += "one seed."
    if front:
        told += " The stepped line is the Pareto front: no file at most as large does better."
    if dense:
        told += " Stars: the dense model before compression, at 4 bytes a parameter."
    if band:
        told += (
            f" The grey band is its error give or take the sampling error of {section.samples:,} "
            "test samples."
        )
    return told


def _extent(series: Series) -> list[float]:
    """The y values that a line and its error bars cover, those above zero."""
    ends = [*series.y, *series.low, *series.high]
    return [float(v) for v in ends if v is not None and float(v) > 0]


def _title(section: Section, found: Sequence[Verdict]) -> str:
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
        best: Cell = min(near, key=lambda c: sign * fmean(c.values(metric)))
        told.append(f"{words.value(metric, fmean(best.values(metric)))} at {words.size(end)}")
    name = words.axis(metric).partition(",")[0].capitalize()
    return f"{name}: {', '.join(dict.fromkeys(told))}"
