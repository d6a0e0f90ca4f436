"""Statistics of a comparison over seeds: means and their intervals, the Pareto front. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.special import stdtr, stdtrit

_ROUNDED = 1e-5  # results hold seven decimals


@dataclass(frozen=True)
class Difference:
    """The difference of two means and how sure it is.

    Attributes:
        mean: of the first sample minus that of the second.
        half: half the width of the interval around it; None where the samples give none.
        p: two-sided, of a difference this large where there is none; None with `half`.
    """

    mean: float
    half: float | None
    p: float | None

    @property
    def low(self) -> float:
        """Lower end of the interval; minus infinity without one."""
        return -math.inf if self.half is None else self.mean - self.half

    @property
    def high(self) -> float:
        """Upper end of the interval; infinity without one."""
        return math.inf if self.half is None else self.mean + self.half


def welch(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> Difference:
    """Welch's interval for the difference of two means; the variances need not be equal.

    half = t(level, df) * sqrt(s1^2 / n1 + s2^2 / n2), with the degrees of freedom of Welch (1947)
    and Satterthwaite (1946).

    Args:
        first: a sample of n1 values.
        second: a sample of n2 values.
        level: of confidence, in (0, 1).

    Returns:
        mean(first) - mean(second) with its interval. There is none where a sample has fewer than
        two values, or where neither varies: then the spread is not known.

    Raises:
        ValueError: for an empty sample, or a level out of range.

    >>> difference = welch([10.0, 11.0, 12.0], [8.0, 8.5, 9.0])
    >>> round(difference.mean, 3), round(difference.half, 3)
    (2.5, 2.078)
    """
    if not first or not second:
        raise ValueError("a sample is empty")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be in (0, 1), got {level}")
    mean = fmean(first) - fmean(second)
    if len(first) < 2 or len(second) < 2:
        return Difference(mean, None, None)
    errors = [stdev(x) / math.sqrt(len(x)) for x in (first, second)]
    error = math.hypot(*errors)
    if error <= 1e-12 * max(map(abs, (*first, *second))):  # the differences are rounding errors
        return Difference(mean, None, None)
    a, b = ((e / error) ** 2 for e in errors)
    df = 1.0 / (a * a / (len(first) - 1) + b * b / (len(second) - 1))
    t = mean / error
    return Difference(
        mean,
        float(stdtrit(df, 0.5 + level / 2.0)) * error,
        float(2.0 * stdtr(df, -abs(t))),
    )


def paired(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> Difference:
    """Student's interval for the mean of the differences of pairs, such as two figures of one seed.

    half = t(level, n - 1) * s / sqrt(n), with s the standard deviation of the differences.

    Args:
        first: n values.
        second: their partners.
        level: of confidence, in (0, 1).

    Returns:
        mean(first - second) with its interval. There is none for a single pair, or where all
        differences are the same: then the spread is not known.

    Raises:
        ValueError: for no pairs, or unequal numbers.

    >>> difference = paired([4.0, 5.0, 6.0], [3.5, 4.0, 4.5])
    >>> round(difference.mean, 3), round(difference.half, 3)
    (1.0, 1.242)
    """
    if not first or len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values do not make pairs")
    differences = [a - b for a, b in zip(first, second, strict=True)]
    mean = fmean(differences)
    if len(differences) < 2:
        return Difference(mean, None, None)
    error = stdev(differences) / math.sqrt(len(differences))
    if error <= _ROUNDED * max(map(abs, (*first, *second))):  # differences of rounding alone
        return Difference(mean, None, None)
    df = len(differences) - 1
    half = float(stdtrit(df, 0.5 + level / 2.0)) * error
    return Difference(mean, half, float(2.0 * stdtr(df, -abs(mean / error))))


def sampling_error(fraction: float, samples: int) -> float:
    """The standard error of a fraction that was counted on so many samples (binomial).

    >>> round(sampling_error(0.039, 360), 4)
    0.0102
    """
    return math.sqrt(max(fraction * (1.0 - fraction), 0.0) / samples)


def spread(values: Sequence[float]) -> float | None:
    """Sample standard deviation; None for fewer than two values."""
    return stdev(values) if len(values) > 1 else None


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The points that no other beats: none is at most as large in both and smaller in one.

    Args:
        points: (size, loss) pairs, less is better in both.

    Returns:
        Their indices, by growing size; of equal points the first.

    >>> pareto_front([(1.0, 0.3), (2.0, 0.3), (2.0, 0.1), (3.0, 0.2)])
    [0, 2]
    """
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (points[i], i)):
        if not front or points[i][1] < points[front[-1]][1]:
            front.append(i)
    return front
