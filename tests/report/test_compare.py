"""Statistics against scipy, and as properties."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from boildown.report.compare import pareto_front, spread, welch

VALUES = st.floats(-1e6, 1e6, allow_nan=False)
SAMPLES = st.lists(VALUES, min_size=2, max_size=8)
ROUNDED = st.lists(VALUES.map(lambda v: round(v, 6)), min_size=2, max_size=8)  # scipy underflows


@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")
@settings(deadline=None)
@given(ROUNDED, ROUNDED, st.floats(0.5, 0.999))
def test_welch_is_scipys(first: list[float], second: list[float], level: float) -> None:
    found = welch(first, second, level)
    assume(found.half is not None)
    assert found.half is not None
    assume(found.half > 1e-6 * max(map(abs, (*first, *second))))  # rounding decides below
    theirs = stats.ttest_ind(first, second, equal_var=False)
    interval = theirs.confidence_interval(level)
    width = interval.high - interval.low
    assert found.mean == pytest.approx(np.mean(first) - np.mean(second), abs=1e-9 * width + 1e-9)
    assert 2 * found.half == pytest.approx(width, rel=1e-6)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-5, abs=1e-12)


@settings(deadline=None)
@given(SAMPLES, SAMPLES)
def test_welch_turned_round_is_its_negative(first: list[float], second: list[float]) -> None:
    one, other = welch(first, second), welch(second, first)
    assert one.mean == -other.mean
    assert (one.half is None) == (other.half is None)
    if one.half is not None and other.half is not None:
        assert one.half == pytest.approx(other.half)
        assert one.low == pytest.approx(-other.high)


@settings(deadline=None)
@given(SAMPLES, SAMPLES)
def test_the_interval_leaves_out_zero_exactly_where_p_is_small(
    first: list[float], second: list[float]
) -> None:
    found = welch(first, second)
    assume(found.p is not None)
    assert found.p is not None
    assume(abs(found.p - 0.05) > 1e-9)
    assert (found.low > 0 or found.high < 0) == (found.p < 0.05)


@pytest.mark.parametrize(
    ("first", "second"), [([1.0], [2.0, 3.0]), ([1.0, 2.0], [3.0]), ([0.1] * 3, [0.2] * 3)]
)
def test_without_spread_there_is_no_interval(first: list[float], second: list[float]) -> None:
    found = welch(first, second)
    assert found.half is None
    assert found.p is None
    assert found.low == -math.inf
    assert found.high == math.inf


def test_small_variances_do_not_underflow() -> None:
    found = welch([1e-170, 2e-170], [5e-170, 6e-170])
    assert found.half is not None
    assert math.isfinite(found.half)


@pytest.mark.parametrize(("samples", "level"), [(([], [1.0]), 0.95), (([1.0], [1.0]), 1.0)])
def test_bad_input_is_refused(samples: tuple[list[float], list[float]], level: float) -> None:
    with pytest.raises(ValueError, match=r"empty|level"):
        welch(*samples, level)


POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12)


@settings(deadline=None)
@given(POINTS)
def test_the_front_is_what_none_beats(points: list[tuple[float, float]]) -> None:
    def beaten(p: tuple[float, float]) -> bool:
        return any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points)

    front = pareto_front(points)
    assert {points[i] for i in front} == {p for p in points if not beaten(p)}
    assert len({points[i] for i in front}) == len(front)
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)


def test_spread_needs_two() -> None:
    assert spread([1.0]) is None
    assert spread([1.0, 3.0]) == pytest.approx(math.sqrt(2))
