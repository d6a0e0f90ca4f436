"""The charts of a report: what dense training learned, who leads, what it cost."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from boildown.report import words
from boildown.report.chart import (
    Chart,
    Series,
    legend,
    log_axis,
    on_one_grid,
    shades,
    styles,
    wide,
)
from boildown.report.groups import Line, Section
from boildown.report.ledger import Costs, ledger
from boildown.report.results import Run
from boildown.report.sentences import amount
from boildown.report.size_plot import size_chart
from boildown.report.through import through_charts
from boildown.report.ticks import linear_ticks
from boildown.report.verdict import Verdict

# A line, its number of seeds, FLOPs (points,), and the shown metric (seeds, points) at these.
Curve = tuple[Line, int, np.ndarray, np.ndarray]


def charts(section: Section, found: Sequence[Verdict]) -> list[Chart]:
    """The charts of a section; those with nothing to show are absent."""
    made: list[Chart | None] = [size_chart(section, found), *through_charts(section)]
    if len(section.sizes) > 1:
        made += [learning_chart(section), lead_chart(section, found)]
    made += [ledger_chart(section, "flops"), ledger_chart(section, "seconds")]
    return [chart for chart in made if chart is not None]


def learning_chart(section: Section) -> Chart | None:
    """The validation metric against training FLOPs until compression begins."""
    metric = f"val/{section.metric.rpartition('/')[2]}"
    scale = words.scale(metric)
    shade = shades(section)
    drawn: list[Curve] = []
    seen: set[tuple[object, ...]] = set()
    for line in section.lines:
        curves = _trajectories(line, metric)
        flops, values = on_one_grid(curves)
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
    for curve, label, style in zip(drawn, legend(lines), styles(lines), strict=True):
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
        y_log=wide(everything),
        x_ticks=log_axis(spent, words.flops),
        y_ticks=log_axis(everything, "{:g}".format) if wide(everything) else (),
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
