"""At each file size, which model wins and by how much, and whether the claim holds there.

The claim: train big, then compress. The best model of a size is one trained with at least four
times the parameters of the largest that could be stored in that size without pruning.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from boildown.report import words
from boildown.report.compare import Difference, welch
from boildown.report.groups import Cell, Section
from boildown.report.metric import NEAR

QUARTER = 4  # "big" is at least this many times the parameters
EQUAL = 1.02  # training FLOPs within this factor are equal, under a budget that is not in FLOPs

Outcome = Literal["holds", "does not hold", "not shown", "not tested"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the runs say about one file size. Leads are positive if the winner is better.

    Attributes:
        metric: the test metric that leads are measured in.
        bytes: the file size: the one asked for, else the largest of the runs' mean sizes.
        winner: the contender chosen, by mean validation metric if all have it, else by test.
        by_validation: which of the two chose.
        rival: the best (chosen likewise) of the cells with at most a quarter of the winner's
            parameters; else of any other model, and `rival_is_small` is false.
        lead: the winner's lead over the rival on the test metric.
        bits: the fewest bits per weight that any contender used.
        storable: parameters of the largest model whose every weight fits at `bits` each.
        stored: the cell of the largest trained model that is no larger than that, if there is one.
        stored_lead: the winner's lead over it; None if it is the winner itself.
        big: the best of the contenders with at least four times `storable` parameters.
        big_lead: the winner's lead over it; None if it is the winner itself.
        compute: the largest training FLOPs among the contenders over the smallest; 1 under a
            budget of FLOPs.
    """

    metric: str
    bytes: float
    winner: Cell
    by_validation: bool
    rival: Cell
    rival_is_small: bool
    lead: Difference
    bits: float
    storable: float
    stored: Cell | None
    stored_lead: Difference | None
    big: Cell | None
    big_lead: Difference | None
    compute: float

    @property
    def times(self) -> float:
        """The winner's parameters over those that fit without pruning."""
        return self.winner.params / self.storable

    @property
    def outcome(self) -> Outcome:
        """Of the claim at this size.

        It is not tested where the contenders did not get the same training FLOPs, or none of them
        is big. It holds, or does not, where the leads that say so lie outside the seeds' spread.
        """
        if self.compute > EQUAL or self.big is None:
            return "not tested"
        if self.big_lead is not None:
            return "does not hold" if self.big_lead.low > 0 else "not shown"
        if not self.rival_is_small:
            return "not shown"
        return "holds" if self.stands() else "not shown"

    def stands(self, level: float = 0.95) -> bool:
        """Whether the leads over the rival and the stored model are above zero at a level."""
        others = [self.rival, *([self.stored] if self.stored is not None else [])]
        return all(
            lead(self.winner, cell, self.metric, level).low > 0
            for cell in others
            if cell is not self.winner
        )


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
    """The verdict at each file size that at least two models have."""
    return [
        _verdict(section, size, cells)
        for size, cells in same_size(section)
        if len({cell.params for cell in cells}) > 1
    ]


def lead(winner: Cell, other: Cell, metric: str, level: float = 0.95) -> Difference:
    """How much better a cell is than another on the test metric: positive if it is."""
    first, second = winner.values(metric), other.values(metric)
    if words.larger_is_better(metric):
        return welch(first, second, level)
    return welch(second, first, level)


def _verdict(section: Section, size: float, cells: Sequence[Cell]) -> Verdict:
    metric = section.metric
    by, by_validation = score(cells, metric)
    winner = min(cells, key=by)
    small = [c for c in cells if QUARTER * c.params <= winner.params]
    rival = min(small or [c for c in cells if c.params != winner.params], key=by)
    bits = min(cell.bits for cell in cells)
    storable = 8.0 * size / bits
    stored = _stored(section, size, cells, storable, by)
    large = [c for c in cells if c.params >= QUARTER * storable]
    big = min(large, key=by, default=None)

    def over(cell: Cell | None) -> Difference | None:
        return None if cell is None or cell is winner else lead(winner, cell, metric)

    return Verdict(
        metric=metric,
        bytes=size,
        winner=winner,
        by_validation=by_validation,
        rival=rival,
        rival_is_small=bool(small),
        lead=lead(winner, rival, metric),
        bits=bits,
        storable=storable,
        stored=stored,
        stored_lead=over(stored),
        big=big,
        big_lead=over(big),
        compute=_unequal(cells),
    )


def score(cells: Sequence[Cell], metric: str) -> tuple[Callable[[Cell], float], bool]:
    """The score by which a winner is chosen, less is better; whether it is from validation."""
    sign = -1.0 if words.larger_is_better(metric) else 1.0
    found = {id(cell): cell.validation(metric) for cell in cells}
    known = {key: value for key, value in found.items() if value is not None}
    if len(known) == len(found):
        return lambda cell: sign * known[id(cell)], True
    return lambda cell: sign * fmean(cell.values(metric)), False


def _unequal(cells: Sequence[Cell]) -> float:
    """The largest training FLOPs over the smallest; 1 under a budget of FLOPs.

    Such a budget ends within one step, which is a large part only of a very small budget.
    """
    runs = [run for cell in cells for run in cell.runs]
    flops = [run.flops for run in runs]
    if all("flops" in run.budget for run in runs) or max(flops) == 0.0:
        return 1.0
    return max(flops) / min(flops) if min(flops) > 0.0 else math.inf


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
