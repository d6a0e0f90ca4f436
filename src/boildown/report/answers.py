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
    made += [Answer("recipes", told) for told in [recipe_sentence(section)] if told]
    made += _ratio_answers(section)
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
    for outcome, members in groupby(shown, key=lambda d: d.outcome):
        group = list(members)
        nothing = outcome == "nothing"
        parts += [_nothing(group, metric)] if nothing else [_cost(d, metric) for d in group]
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
    low, high = (f(group, key=lambda d: d.after) for f in (min, max))
    change = _change(high, metric)
    if high.after > low.after:
        lowest = words.value(metric, low.after).removesuffix(" %")
        change = change.replace("→ ", f"→ {lowest} to ")
    return f"{ratios} {verb} nothing measurable ({change})"


def _cost(drop: Drop, metric: str) -> str:
    cost, verb = drop.cost, "costs" if drop.measurable else "seems to cost"
    if cost.mean < 0:
        cost = Difference(-cost.mean, cost.half, cost.p)
        verb = "gains" if drop.measurable else "seems to gain"
    ratio = words.ratio(drop.cell.ratio)
    told = f"{ratio} {verb} {amount(cost, metric)} ({_change(drop, metric)})"
    if drop.measurable:
        return told
    if len(drop.cell.runs) == 1:
        return f"{told}, which one seed does not settle"
    no_spread = drop.cost.half is None
    return (
        f"{told}, {'with no spread to judge it by' if no_spread else 'on which the seeds differ'}"
    )


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
    shown = found[:_DROPS]
    parts = []
    for _, members in groupby(shown, key=_standing):
        group = list(members)
        parts.append(_contests(group, section))
    told = " ".join(parts)
    if len(found) > len(shown):
        told += f" {len(found) - len(shown)} more sizes are in the plot."
    return told


def _standing(contest: Contest) -> tuple[object, ...]:
    """What contests have in common that are told in one sentence."""
    first, second = contest.winner.label, contest.rival.label
    if contest.lead.low > 0 or contest.lead.high < 0 or contest.lead.half is None:
        return contest.lead.low > 0, contest.lead.high < 0, first
    return False, False, *sorted((first, second))


def _contests(group: Sequence[Contest], section: Section) -> str:
    """One sentence for contests of the same standing at several sizes."""
    metric, first = section.metric, group[0]
    winner, rival = first.winner.label, first.rival.label
    where = words.listing([words.size(c.bytes) for c in group])
    if first.lead.half is None:
        told = [f"{amount(c.lead, metric)} at {words.size(c.bytes)}" for c in group]
        return f"{winner} leads by {words.listing(told)}, with no spread to judge it by."
    if first.lead.low > 0:
        told = [
            f"at {words.size(c.bytes)} ({words.ratio(c.winner.ratio)}) by {amount(c.lead, metric)} "
            f"over {c.rival.label}"
            for c in group
        ]
        return f"{winner} wins {words.listing(told)}."
    if first.lead.high < 0:
        return f"At {where} {winner} is best on validation, but worse than {rival} on test."
    widest = max(group, key=lambda c: abs(c.lead.mean))
    size = Difference(abs(widest.lead.mean), widest.lead.half, widest.lead.p)
    most = "at most " if len(group) > 1 else ""
    return f"At {where} nothing tells {winner} from {rival} ({most}{amount(size, metric)})."


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
