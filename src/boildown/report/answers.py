"""What a section answers, by what varies in it, and what was asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from boildown.report import words
from boildown.report.asked import Asked, choice
from boildown.report.compare import Difference, sampling_error, spread
from boildown.report.contest import Contest, contests
from boildown.report.drop import Drop, drop, knee
from boildown.report.groups import Cell, Line, Section
from boildown.report.sentences import amount, headline
from boildown.report.varies import varying, varying_sentence
from boildown.report.verdict import Verdict

_LINES = 6  # that get a sentence each
_DROPS = 8  # sizes in a sentence


@dataclass(frozen=True)
class Answer:
    """One thing that the runs say.

    Attributes:
        about: the question, in a word or two.
        text: the answer, in sentences.
    """

    about: str
    text: str


def answers(section: Section, found: Sequence[Verdict], asked: Asked) -> list[Answer]:
    """All that a section answers, what was asked first.

    Raises:
        ValueError: if what was asked makes no sense for the metric.
    """
    made = []
    chosen = choice(section, asked)
    if chosen is not None:
        made.append(Answer("asked", chosen))
    made += _ratio_answers(section)
    made += [Answer("recipes", told) for told in [recipe_sentence(section)] if told]
    if len(section.sizes) > 1:
        made.append(Answer("widths", headline(section, found).sentence))
    made.append(Answer("seeds", seed_sentence(section)))
    made.append(Answer("varies", varying_sentence(varying(section.runs))))
    return made


def _ratio_answers(section: Section) -> list[Answer]:
    drops = {id(line): drops_of(line, section) for line in section.lines}
    lines = [line for line in section.lines if drops[id(line)]]
    several = len(section.lines) > 1
    made = []
    for line in lines[:_LINES]:
        name = f"{line.label}: " if several else ""
        made.append(Answer("ratios", name + ratio_sentence(drops[id(line)], section)))
    if len(lines) > _LINES:
        left = len(lines) - _LINES
        made.append(Answer("ratios", f"{left} more lines are in the table of file sizes."))
    return made


def drops_of(line: Line, section: Section) -> list[Drop]:
    """What compression cost at each of a line's sizes, by growing ratio."""
    found = [drop(cell, section.metric, section.samples) for cell in line.cells]
    return sorted((d for d in found if d is not None), key=lambda d: d.cell.ratio)


def ratio_sentence(drops: Sequence[Drop], section: Section) -> str:
    """What each ratio costs, and the knee."""
    metric = section.metric
    shown = list(drops)
    if len(shown) > _DROPS:
        shown = [shown[round(i * (len(shown) - 1) / (_DROPS - 1))] for i in range(_DROPS)]
    parts = []
    for measurable, members in groupby(shown, key=lambda d: d.measurable):
        group = list(members)
        parts += [_cost(d, metric) for d in group] if measurable else [_nothing(group, metric)]
    told = f"{', '.join(parts)}."
    found = knee(drops)
    if found is None:
        return told
    scale, unit = words.scale(metric), words.unit(metric)
    return (
        f"{told} The knee is at {words.ratio(found.cell.ratio)} ({words.size(found.cell.bytes)}): "
        f"beyond it halving the file costs {words.two_digits(scale * found.after)} {unit}, up to "
        f"it {_digits(scale * found.before)}."
    )


def _nothing(group: Sequence[Drop], metric: str) -> str:
    verb = "costs" if len(group) == 1 else "cost"
    ratios = words.listing([words.ratio(d.cell.ratio) for d in group])
    return f"{ratios} {verb} nothing measurable ({_change(group[-1], metric)})"


def _cost(drop: Drop, metric: str) -> str:
    cost, verb = drop.cost, "costs"
    if cost.mean < 0:
        cost, verb = Difference(-cost.mean, cost.half, cost.p), "gains"
    ratio = words.ratio(drop.cell.ratio)
    return f"{ratio} {verb} {amount(cost, metric)} ({_change(drop, metric)})"


def _change(drop: Drop, metric: str) -> str:
    """Before and after, to a digit more than the seeds can tell.

    In per cent the unit stands once.
    """
    before, after = words.value(metric, drop.before), words.value(metric, drop.after)
    return f"{before.removesuffix(' %')} → {after}"


def _digits(figure: float) -> str:
    return words.two_digits(figure) if figure > 0 else "nothing"


def recipe_sentence(section: Section) -> str | None:
    """Which recipe wins at each size of each model; None with one recipe."""
    if len(section.lines) == len(section.sizes):
        return None
    found = contests(section)
    if not found:
        return (
            "No two recipes have files of the same size (within 10 %): nothing says which wins. "
            "Sweep compression.bytes, or the same compression.ratio for all."
        )
    parts = [_contest(contest, section) for contest in found[:_DROPS]]
    told = f"{'; '.join(parts)}."
    if len(found) > _DROPS:
        told += f" {len(found) - _DROPS} more sizes are in the plot."
    return told


def _contest(contest: Contest, section: Section) -> str:
    place = f"At {words.size(contest.bytes)} ({words.ratio(contest.winner.ratio)})"
    told = amount(contest.lead, section.metric)
    winner, rival = contest.winner.label, contest.rival.label
    if contest.lead.low > 0:
        return f"{place} {winner} wins, by {told} over {rival}"
    if contest.lead.half is None:
        return f"{place} {winner} leads {rival} by {told}, with no spread to judge it by"
    return f"{place} nothing tells {winner} from {rival} ({told})"


def seed_sentence(section: Section) -> str:
    """How many seeds there are, what they spread, and what the test set itself cannot tell."""
    metric = section.metric
    cells = [cell for line in section.lines for cell in line.cells]
    return f"{_seeds(cells, metric)} {_test_set(cells, section)}"


def _seeds(cells: Sequence[Cell], metric: str) -> str:
    counts = sorted({len(cell.runs) for cell in cells})
    spreads = [s for cell in cells if (s := spread(cell.values(metric))) is not None]
    if not spreads:
        return "Each setting has a single seed: no spread, and no error bars."
    number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    scale, unit = words.scale(metric), words.unit(metric)
    low, high = (words.two_digits(scale * s) if s else "0" for s in (min(spreads), max(spreads)))
    range_ = low if low == high else f"{low} to {high}"
    told = f"{number} seeds per setting, whose standard deviation is {range_} {unit}"
    if len(cells) == 1:
        told += f" around {words.value(metric, fmean(cells[0].values(metric)))}"
    return f"{told}; ± in costs and leads is a 95 % interval over the seeds."


def _test_set(cells: Sequence[Cell], section: Section) -> str:
    """The finest step and the sampling error of the test set."""
    metric, samples = section.metric, section.samples
    if samples is None or not words.is_fraction(metric):
        return "How much the choice of the test set adds is not known."
    best = min(fmean(cell.values(metric)) for cell in cells)
    error = 100 * sampling_error(best, samples)
    return (
        f"One of the {samples:,} test samples is {words.two_digits(100 / samples)} points; at "
        f"{words.value(metric, best)} another test set of that size would give "
        f"{words.two_digits(error) if error else '0'} points more or less (one standard error), "
        "which the seeds do not show, as all are measured on the same one."
    )
