"""What compression costs at each size: the metric before and after, seed by seed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from boildown.report import words
from boildown.report.compare import Difference, paired, sampling_error
from boildown.report.groups import Cell

_SHARP = 2.0  # a knee is where the cost of halving the file grows by this factor
_TWO_SIDED = 1.96  # standard errors of a 95 % interval


Outcome = Literal["sure", "nothing", "open"]


@dataclass(frozen=True)
class Drop:
    """What a cell's compression cost on the test metric.

    Attributes:
        cell: of which.
        before: mean metric of its dense models.
        after: mean metric of its files.
        cost: after minus before, pair by pair; positive is worse, whatever the metric.
        outcome: "sure" where the interval over the seeds leaves out zero and the cost is at least
            one sample of the test set; "nothing" where it does not and the cost is within what
            two test sets of that size would differ by; "open" where it is larger, but the seeds
            do not agree. A single seed, and seeds with one and the same cost, have no interval:
            they are sure beyond that difference, and open where nothing says how large it is.
    """

    cell: Cell
    before: float
    after: float
    cost: Difference
    outcome: Outcome

    @property
    def measurable(self) -> bool:
        """Whether the cost is told from nothing."""
        return self.outcome == "sure"


def drop(cell: Cell, metric: str, samples: int | None) -> Drop | None:
    """What the compression of a cell cost; None where no run says what was before, or none did.

    Args:
        cell: of runs that differ by the seed alone.
        metric: of the test set.
        samples: in the test set, if that is known.
    """
    pairs = [
        (run.compressed[metric], run.dense[metric])
        for run in cell.runs
        if metric in run.dense and run.techniques
    ]
    if not pairs:
        return None
    after, before = [a for a, _ in pairs], [b for _, b in pairs]
    worse = (before, after) if words.larger_is_better(metric) else (after, before)
    cost = paired(*worse)
    means = fmean(before), fmean(after)
    return Drop(cell, *means, cost, _outcome(cost, means, metric, samples))


def _outcome(
    cost: Difference, means: tuple[float, float], metric: str, samples: int | None
) -> Outcome:
    if samples is None or not words.is_fraction(metric):
        noise = step = 0.0
    else:
        noise = _TWO_SIDED * math.hypot(*(sampling_error(mean, samples) for mean in means))
        step = 0.999 / samples
    size = abs(cost.mean)
    bound = (noise or math.inf) if cost.half is None else cost.half
    sure = size > bound
    if sure and size >= step:
        return "sure"
    unknown = not noise and cost.half is not None
    return "nothing" if size <= max(noise, step) or unknown else "open"


@dataclass(frozen=True)
class Knee:
    """Where a line bends.

    Attributes:
        cell: up to which compression is cheap.
        before: cost of halving the file up to there, in the metric.
        after: the same beyond it.
    """

    cell: Cell
    before: float
    after: float


def knee(drops: Sequence[Drop]) -> Knee | None:
    """The point of a line from which halving the file costs at least twice as much as before.

    It is the one farthest below the straight line from the first to the last in the plane of
    log2(ratio) and metric. None with fewer than three sizes, or where the whole cost cannot be
    measured.
    """
    sorted_drops = sorted(drops, key=lambda d: d.cell.ratio)
    if len(sorted_drops) < 3 or not (
        sorted_drops[-1].measurable and sorted_drops[-1].cost.mean > 0
    ):
        return None
    x = [math.log2(d.cell.ratio) for d in sorted_drops]
    y = [d.cost.mean for d in sorted_drops]
    if x[-1] - x[0] < 0.5:
        return None
    slope = (y[-1] - y[0]) / (x[-1] - x[0])
    below = [y[0] + slope * (xi - x[0]) - yi for xi, yi in zip(x, y, strict=True)]
    i = max(range(1, len(x) - 1), key=below.__getitem__)
    if x[i] <= x[0] or x[-1] <= x[i]:
        return None
    before, after = (y[i] - y[0]) / (x[i] - x[0]), (y[-1] - y[i]) / (x[-1] - x[i])
    if after <= 0 or after < _SHARP * max(before, 0.0):
        return None
    return Knee(sorted_drops[i].cell, before, after)
