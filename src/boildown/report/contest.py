"""Which recipe wins at each file size, for one model."""

from collections.abc import Sequence
from dataclasses import dataclass

from boildown.report.compare import Difference
from boildown.report.groups import Cell, Section
from boildown.report.verdict import lead, same_size, score


@dataclass(frozen=True)
class Contest:
    """The best and the second best of one model's recipes at a file size.

    Attributes:
        bytes: the file size.
        winner: chosen by mean validation metric if all contenders have it, else by test.
        rival: the best of the other recipes, chosen likewise.
        lead: the winner's over the rival on the test metric; positive if it is better.
        contenders: how many recipes.
    """

    bytes: float
    winner: Cell
    rival: Cell
    lead: Difference
    contenders: int


def contests(section: Section) -> list[Contest]:
    """The contest at each size that at least two recipes of one model have, by model and size."""
    line_of = {id(cell): i for i, line in enumerate(section.lines) for cell in line.cells}
    found = []
    for params in section.sizes:
        for size, cells in same_size(section):
            own = [cell for cell in cells if cell.params == params]
            if len({line_of[id(cell)] for cell in own}) > 1:
                found.append(_contest(size, own, line_of, section.metric))
    return found


def _contest(size: float, cells: Sequence[Cell], line_of: dict[int, int], metric: str) -> Contest:
    by, _ = score(cells, metric)
    winner = min(cells, key=by)
    others = [cell for cell in cells if line_of[id(cell)] != line_of[id(winner)]]
    rival = min(others, key=by)
    contenders = len({line_of[id(cell)] for cell in cells})
    return Contest(size, winner, rival, lead(winner, rival, metric), contenders)
