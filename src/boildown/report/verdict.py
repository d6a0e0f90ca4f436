"""At each file size, which model wins and by how much, in words; and whether the claim holds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from boildown.report import words
from boildown.report.compare import Difference, welch
from boildown.report.groups import Cell, Section

NEAR = 1.1  # files within this factor have the same size
QUARTER = 4  # "big" is at least this many times the parameters
EQUAL = 1.02  # training FLOPs within this factor are equal

Outcome = Literal["holds", "does not hold", "not shown", "not tested"]


@dataclass(frozen=True)
class Verdict:
    """What the runs say about one file size.

    Attributes:
        bytes: the file size: the one asked for, else the largest of the runs' mean sizes.
        contenders: the cells whose files have that size.
        winner: the one chosen, by mean validation metric if all have it, else by test.
        by_validation: which of the two chose.
        rival: the best (chosen likewise) of the cells with at most a quarter of the winner's
            parameters; else of any other model, and `rival_is_small` is false.
        lead: the winner's lead over the rival on the test metric, positive if it is better.
        bits: the fewest bits per weight that any contender used.
        storable: parameters of the largest model whose every weight fits at `bits` each.
        stored: the cell of the largest trained model that is no larger than that.
        stored_lead: the winner's lead over it.
        compute: the largest training FLOPs among the contenders over the smallest.
        outcome: of the claim "train big, then compress" at this size; "not tested" where the
            contenders did not get the same training FLOPs.
        sentence: the verdict in words.
    """

    bytes: float
    contenders: tuple[Cell, ...]
    winner: Cell
    by_validation: bool
    rival: Cell | None
    rival_is_small: bool
    lead: Difference | None
    bits: float
    storable: float
    stored: Cell | None
    stored_lead: Difference | None
    compute: float
    outcome: Outcome
    sentence: str


@dataclass(frozen=True)
class Headline:
    """Whether the claim holds over all sizes of a section."""

    holds: bool
    sentence: str


def same_size(section: Section) -> list[tuple[float, list[Cell]]]:
    """The file sizes at which runs can be compared, with the cells that have them.

    Runs that were asked for the same bytes belong together, as far as their files are at most 10 %
    larger. Of the others, and of those that missed, those belong together whose files are within
    10 %, from the smallest on; they join a size that was asked for if they are within 10 % of it.

    Returns:
        (bytes, cells) by growing size.
    """
    cells = [cell for line in section.lines for cell in line.cells]
    asked: dict[float, list[Cell]] = {}
    rest = []
    for cell in cells:
        if cell.target is not None and cell.bytes <= NEAR * cell.target:
            asked.setdefault(cell.target, []).append(cell)
        else:
            rest.append(cell)
    clusters: list[list[Cell]] = []
    for cell in sorted(rest, key=lambda c: c.bytes):
        near = [s for s in asked if s / NEAR <= cell.bytes <= s * NEAR]
        if near:
            asked[min(near, key=lambda s: abs(math.log(s / cell.bytes)))].append(cell)
        elif clusters and cell.bytes <= NEAR * clusters[-1][0].bytes:
            clusters[-1].append(cell)
        else:
            clusters.append([cell])
    found = [*asked.items(), *((cluster[-1].bytes, cluster) for cluster in clusters)]
    return sorted(found, key=lambda pair: pair[0])


def verdicts(section: Section) -> list[Verdict]:
    """The verdict at each file size that at least two models share."""
    return [
        _verdict(section, size, cells)
        for size, cells in same_size(section)
        if len({cell.params for cell in cells}) > 1
    ]


def missed(section: Section) -> list[str]:
    """The cells whose files came out more than 10 % larger than asked, in words."""
    return [
        f"{cell.label} came to {words.size(cell.bytes)} where {words.size(cell.target)} were asked"
        for line in section.lines
        for cell in line.cells
        if cell.target is not None and cell.bytes > NEAR * cell.target
    ]


def lead(winner: Cell, other: Cell, metric: str, level: float = 0.95) -> Difference:
    """How much better a cell is than another on the test metric: positive if it is."""
    first, second = winner.values(metric), other.values(metric)
    return (
        welch(first, second, level)
        if words.larger_is_better(metric)
        else welch(second, first, level)
    )


def _verdict(section: Section, size: float, cells: Sequence[Cell]) -> Verdict:
    metric = section.metric
    sign = -1.0 if words.larger_is_better(metric) else 1.0
    validations = {id(cell): cell.validation(metric) for cell in cells}
    by_validation = None not in validations.values()

    def score(cell: Cell) -> float:
        chosen = validations.get(id(cell)) if by_validation else None
        if chosen is None:
            values = cell.values(metric)
            chosen = sum(values) / len(values)
        return sign * chosen

    winner = min(cells, key=score)
    small = [c for c in cells if QUARTER * c.params <= winner.params]
    others = [c for c in cells if c.params != winner.params]
    rival = min(small or others, key=score)
    bits = min(cell.bits for cell in cells)
    storable = 8.0 * size / bits
    stored = _stored(section, size, cells, storable, score)
    flops = [run.flops for cell in cells for run in cell.runs]
    compute = max(flops) / min(flops) if min(flops) > 0 else math.inf
    if max(flops) == 0:
        compute = 1.0
    first = lead(winner, rival, metric)
    second = lead(winner, stored, metric) if stored not in (None, winner) else None
    outcome: Outcome = "not tested"
    if compute <= EQUAL:
        outcome = _outcome(winner, storable, bool(small), first, second)
    verdict = Verdict(
        size, tuple(cells), winner, by_validation, rival, bool(small), first, bits, storable,
        stored, second, compute, outcome, "",
    )  # fmt: skip
    return Verdict(**{**verdict.__dict__, "sentence": _sentence(verdict, metric)})


def _stored(
    section: Section,
    size: float,
    cells: Sequence[Cell],
    storable: float,
    score: Callable[[Cell], float],
) -> Cell | None:
    """The largest trained model that needs no pruning, at this size or else in a smaller file."""
    fits = [line for line in section.lines if line.params <= storable]
    if not fits:
        return None
    largest = max(line.params for line in fits)
    here = [cell for cell in cells if cell.params == largest]
    if here:
        return min(here, key=score)
    below = [
        cell
        for line in fits
        if line.params == largest
        for cell in line.cells
        if cell.bytes <= NEAR * size
    ]
    return max(below, key=lambda cell: cell.bytes, default=None)


def _outcome(
    winner: Cell,
    storable: float,
    has_small: bool,
    first: Difference,
    second: Difference | None,
) -> Outcome:
    if winner.params < QUARTER * storable:
        return "does not hold"
    if not has_small:
        return "not shown"
    leads = [first] if second is None else [first, second]
    return "holds" if all(d.low > 0 for d in leads) else "not shown"


def _told(cell: Cell) -> str:
    how = f"compressed {words.ratio(cell.ratio)}" if cell.ratio >= 1.05 else "not compressed"
    return f"{cell.phrase} and {how}" if " at " in cell.phrase else f"{cell.phrase}, {how},"


def amount(difference: Difference, metric: str) -> str:
    """A lead in words: 1.9 ± 0.2 points."""
    scale = words.scale(metric)
    mean = scale * difference.mean
    unit = words.unit(metric)
    if difference.half is None:
        return f"{mean:.2f} {unit}" if words.is_share(metric) else f"{mean:.3g} {unit}"
    return f"{words.plus_minus(mean, scale * difference.half)} {unit}"


def _sentence(verdict: Verdict, metric: str) -> str:
    winner, rival, first = verdict.winner, verdict.rival, verdict.lead
    assert rival is not None
    assert first is not None
    place = f"At {words.size(verdict.bytes)}"
    best, other = _told(winner), _told(rival).removesuffix(",")
    chosen = "on validation" if verdict.by_validation else "on test"
    if first.half is None:
        seeds = min(len(winner.runs), len(rival.runs))
        why = (
            "with a single seed the spread is unknown"
            if seeds < 2
            else "the seeds gave identical figures, so the spread is unknown"
        )
        direction = "better" if first.mean >= 0 else "worse"
        size = amount(Difference(abs(first.mean), None, None), metric)
        text = (
            f"{place} {best} is best {chosen}, {size} {direction} on test than {other}, but {why}: "
            "no verdict."
        )
    elif first.low > 0:
        text = f"{place} {best} is {amount(first, metric)} better than {other}."
    elif first.high < 0:
        less = Difference(-first.mean, first.half, first.p)
        text = (
            f"{place} {best} is best {chosen}, but on test {amount(less, metric)} worse than "
            f"{other}."
        )
    else:
        text = (
            f"{place} {best} is best {chosen}, but its lead of {amount(first, metric)} over "
            f"{other} lies within the seeds' spread: no verdict."
        )
    return f"{text} {_claim(verdict, metric)}"


def _claim(verdict: Verdict, metric: str) -> str:
    """How the claim fares at a size, with the reason."""
    winner, first, second = verdict.winner, verdict.lead, verdict.stored_lead
    times = winner.params / verdict.storable
    held = f"{verdict.storable:,.0f}"
    if verdict.outcome == "does not hold":
        return (
            f"Not a case of training big: it has {times:.2g} times the {held} parameters that "
            f"fit without pruning, and the claim asks for {QUARTER}."
        )
    if verdict.outcome == "not tested":
        return f"Their training FLOPs differ by up to {verdict.compute:.3g} times."
    told = f"It has {times:.2g} times the {held} parameters that fit without pruning"
    if verdict.outcome == "holds":
        return f"{told}: training big pays."
    if not verdict.rival_is_small:
        return (
            f"{told}, but no model of at most a quarter of its parameters has a file of this size."
        )
    if second is not None and first is not None and first.low > 0 and second.low <= 0:
        return (
            f"{told}, but its lead over {verdict.stored.label if verdict.stored else ''} is unsure."
        )
    return f"{told}, but its lead is not outside the seeds' spread."


def headline(section: Section, found: Sequence[Verdict]) -> Headline:
    """Whether "train big, then compress" holds, over which sizes, and where not."""
    claim = "Train big, then compress"
    if len(section.sizes) == 1:
        (line, *rest) = section.lines
        label = line.label if not rest else f"one model of {line.params:,} parameters"
        return Headline(
            False,
            f"Only one size of model was trained ({label}): nothing to say about training big. "
            "Sweep model.width too.",
        )
    if not found:
        return Headline(
            False,
            f"{claim} is not tested: no two models have files of the same size (within 10 %). "
            "Sweep compression.bytes rather than compression.ratio.",
        )
    unequal = max(verdict.compute for verdict in found)
    if unequal > EQUAL:
        return Headline(
            False,
            f"{claim} is not tested at equal compute: at the same file size the training FLOPs "
            f"differ by up to {unequal:.3g} times. Give all runs the same budget.flops.",
        )
    by = {
        outcome: [v for v in found if v.outcome == outcome]
        for outcome in ("holds", "not shown", "does not hold")
    }

    def at(group: list[Verdict]) -> str:
        return words.listing([words.size(v.bytes) for v in group])

    parts = []
    if by["holds"]:
        held = by["holds"]
        every = len(held) == len(found)
        where = "every file size compared" if every else f"{len(held)} of {len(found)} file sizes"
        factor = held[-1].bytes / held[0].bytes
        span = f", a span of {factor:.2g}" if len(held) > 1 else ""
        strict = 1.0 - 0.05 / len(found)
        still = sum(_holds_at(v, section.metric, strict) for v in held)
        correction = (
            f" With Bonferroni's correction for {len(found)} sizes it holds at {still}."
            if len(found) > 1
            else ""
        )
        parts.append(
            f"{claim} holds at {where} ({at(held)}{span}): the best model was trained at "
            f"{QUARTER} or more times the parameters of the largest that could be stored there "
            f"without pruning, outside the seeds' spread.{correction}"
        )
    if by["not shown"]:
        subject = "At" if parts else f"{claim} is not shown at"
        tail = " the data do not support a verdict." if parts else ": the data are not enough."
        parts.append(f"{subject} {at(by['not shown'])}{tail}")
    if by["does not hold"]:
        subject = "It" if parts else claim
        parts.append(
            f"{subject} does not hold at {at(by['does not hold'])}: the best model there is less "
            f"than {QUARTER} times as large as what fits without pruning."
        )
    return Headline(bool(by["holds"]), " ".join(parts))


def _holds_at(verdict: Verdict, metric: str, level: float) -> bool:
    """Whether the leads of a verdict stand at another level of confidence."""
    others = [verdict.rival]
    if verdict.stored_lead is not None:
        others.append(verdict.stored)
    return all(
        cell is not None and lead(verdict.winner, cell, metric, level).low > 0 for cell in others
    )
