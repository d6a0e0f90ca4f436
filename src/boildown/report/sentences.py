"""Verdicts in plain words."""

from collections.abc import Sequence
from dataclasses import dataclass

from boildown.report import words
from boildown.report.compare import Difference
from boildown.report.groups import Cell, Section
from boildown.report.metric import NEAR
from boildown.report.verdict import EQUAL, QUARTER, Verdict


@dataclass(frozen=True)
class Headline:
    """Whether the claim holds at any size of a section, and the sentences that say where."""

    holds: bool
    sentence: str


def missed(section: Section) -> list[str]:
    """The cells whose files came out more than 10 % larger than asked, in words."""
    return [
        f"{cell.label} came to {words.size(cell.bytes)} where {words.size(cell.target)} were asked"
        for line in section.lines
        for cell in line.cells
        if cell.target is not None and cell.bytes > NEAR * cell.target
    ]


def sentence(verdict: Verdict) -> str:
    """Who wins at a file size and by how much, and how the claim fares."""
    return f"{_winner(verdict)} {_claim(verdict)}"


def _winner(verdict: Verdict) -> str:
    first = verdict.lead
    place = f"At {words.size(verdict.bytes)}"
    best, other = _told(verdict.winner), _told(verdict.rival).removesuffix(",")
    chosen = f"is best on {'validation' if verdict.by_validation else 'test'}"
    told = amount(first, verdict.metric)
    turned = amount(Difference(-first.mean, first.half, first.p), verdict.metric)
    if first.half is None:
        by = f"{told} better" if first.mean >= 0 else f"{turned} worse"
        seeds = min(len(verdict.winner.runs), len(verdict.rival.runs))
        why = "with a single seed" if seeds < 2 else "as the seeds gave identical figures"
        return (
            f"{place} {best} {chosen}, {by} on test than {other}, but {why} the spread is "
            "unknown: no verdict."
        )
    if first.low > 0:
        return f"{place} {best} is {told} better than {other}."
    if first.high < 0:
        return f"{place} {best} {chosen}, but on test {turned} worse than {other}."
    return (
        f"{place} {best} {chosen}, but its lead of {told} over {other} lies within the seeds' "
        "spread: no verdict."
    )


def _told(cell: Cell) -> str:
    how = f"compressed {words.ratio(cell.ratio)}" if cell.ratio >= 1.05 else "not compressed"
    return f"{cell.phrase} and {how}" if " at " in cell.phrase else f"{cell.phrase}, {how},"


def amount(difference: Difference, metric: str) -> str:
    """A lead in words: 1.9 ± 0.2 points."""
    scale = words.scale(metric)
    mean = scale * difference.mean
    unit = words.unit(metric)
    if difference.half is None:
        return f"{mean:.2f} {unit}" if words.is_fraction(metric) else f"{mean:.3g} {unit}"
    return f"{words.plus_minus(mean, scale * difference.half)} {unit}"


def _claim(verdict: Verdict) -> str:
    """How the claim fares at a size, with the reason."""
    held = f"{verdict.storable:,.0f} parameters that fit without pruning"
    if verdict.compute > EQUAL:
        return f"Their training FLOPs differ by up to {words.two_digits(verdict.compute)} times."
    if verdict.big is None:
        return f"No model of this file size has {QUARTER} times the {held}."
    told = f"It has {words.two_digits(verdict.times)} times the {held}"
    if verdict.outcome == "holds":
        return f"{told}: training big pays."
    if verdict.big_lead is not None:
        of = f"{verdict.big.label}, the best with {QUARTER} times as many or more"
        if verdict.outcome == "does not hold":
            by = amount(verdict.big_lead, verdict.metric)
            return f"{told}, and is {by} better than {of}: training big does not pay."
        return f"{told}; its lead over {of}, is not outside the seeds' spread."
    if not verdict.rival_is_small:
        return f"{told}, but no model of a quarter of its size has a file of this size."
    if verdict.lead.low > 0 and verdict.stored is not None:
        return f"{told}, but its lead over {verdict.stored.label} is not outside the seeds' spread."
    return f"{told}."


def headline(section: Section, found: Sequence[Verdict]) -> Headline:
    """Whether "train big, then compress" holds, over which sizes, and where not.

    Args:
        section: of at least two sizes of model.
        found: its verdicts.
    """
    claim = "Train big, then compress"
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
            f"{claim} is not tested at equal compute: at one file size the training FLOPs differ "
            f"by up to {words.two_digits(unequal)} times. Give all runs the same budget.flops.",
        )
    held = [v for v in found if v.outcome == "holds"]
    parts = [_holds(claim, held, found)] if held else []
    for outcome, verb, why in _OTHERS:
        group = [v for v in found if v.outcome == outcome]
        if group:
            subject = "It" if parts else claim
            parts.append(f"{subject} {verb} at {_sizes(group)}: {why}.")
    return Headline(bool(held), " ".join(parts))


_OTHERS = (
    ("not shown", "is not shown", "the leads lie within the seeds' spread"),
    ("does not hold", "does not hold", "a smaller model is better there, outside the spread"),
    (
        "not tested",
        "is not tested",
        f"no model there has {QUARTER} times the parameters that fit without pruning",
    ),
)


def _sizes(group: Sequence[Verdict]) -> str:
    return words.listing([words.size(verdict.bytes) for verdict in group])


def _holds(claim: str, held: Sequence[Verdict], found: Sequence[Verdict]) -> str:
    every = len(held) == len(found)
    where = "every file size compared" if every else f"{len(held)} of {len(found)} file sizes"
    factor = held[-1].bytes / held[0].bytes
    span = f", a factor of {words.two_digits(factor)}" if len(held) > 1 else ""
    told = (
        f"{claim} holds at {where} ({_sizes(held)}{span}): the best model was trained at {QUARTER} "
        "or more times the parameters of the largest that could be stored there without pruning, "
        "and its lead is outside the seeds' spread."
    )
    if len(found) == 1:
        return told
    still = sum(verdict.stands(1.0 - 0.05 / len(found)) for verdict in held)
    return f"{told} With Bonferroni's correction for {len(found)} sizes it holds at {still}."
