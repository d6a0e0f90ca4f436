"""Steps found in values alone: of whatever grid, bit for bit, and none where there is none."""

import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from boildown.codec.steps import MOST, Codes, Floats, codes_of, find_steps, values_of

TINY, LEAST, HUGE = np.float32(2.0**-126), np.float32(2.0**-149), np.float32(1.3e36)


def steps_of(rows: int) -> st.SearchStrategy[Floats]:
    """Any above 0 whose multiples are finite: huge, and subnormal."""
    ordinary = st.floats(0.0009765625, 4.0, width=32)
    extreme = st.floats(float(LEAST), float(HUGE), width=32)
    near = st.sampled_from([LEAST, TINY, np.nextafter(TINY, np.float32(0)), TINY * 3, HUGE])
    return arrays.arrays(np.float32, rows, elements=st.one_of(ordinary, extreme, near))


@st.composite
def grids(draw: st.DrawFn, sides: int = 1) -> tuple[Codes, Floats]:
    """Codes of few or many bits with any common factor, in rows of any length, and steps."""
    rows, n = draw(st.integers(1, 5)), draw(st.integers(1, 40))
    most = draw(st.sampled_from([1, 2, 3, 7, 8, 127, 128, MOST]))
    factor = draw(st.integers(1, MOST // most))
    codes = draw(arrays.arrays(np.int16, (rows, n), elements=st.integers(-most, most)))
    steps = draw(steps_of(rows * sides))
    return codes * np.int16(factor), steps if sides == 1 else steps.reshape(rows, sides)


def same_bits(left: Floats, right: Floats) -> bool:
    return bool((left.view(np.uint32) == right.view(np.uint32)).all())


@settings(max_examples=500, deadline=None)
@given(grids())
@example((np.array([[6, -4, 0, 10]], np.int16), np.array([LEAST], np.float32)))
@example((np.array([[255, 254]], np.int16), np.array([HUGE], np.float32)))
@example((np.array([[-128, 127]], np.int16), np.array([np.float32(0.0137)])))
def test_any_grid_is_found_and_gives_back_every_bit(grid: tuple[Codes, Floats]) -> None:
    codes, steps = grid
    values = values_of(codes, steps)
    found = find_steps(values)
    assert found is not None
    back = codes_of(values, found)
    assert (found > 0).all()
    assert same_bits(values_of(back, found), values)


@settings(deadline=None)
@given(grids())
@example((np.array([[69, 23]], np.int16), np.array([1.8057524], np.float32)))  # of 9 and 3
def test_codes_are_the_smallest_that_stand_for_the_values(grid: tuple[Codes, Floats]) -> None:
    codes, steps = grid
    values = values_of(codes, steps)
    found = find_steps(values)
    assert found is not None
    back = codes_of(values, found)
    assert (np.abs(back) <= np.abs(codes)).all()
    assert (without_factors(back) == without_factors(codes)).all()


def without_factors(codes: Codes) -> Codes:
    smallest: Codes = codes // np.maximum(np.gcd.reduce(codes, axis=1, keepdims=True), 1)
    return smallest


@settings(deadline=None)
@given(grids(sides=2))
def test_a_step_for_each_sign_is_found(grid: tuple[Codes, Floats]) -> None:
    codes, steps = grid
    values = values_of(codes, steps)
    found = find_steps(values, by_sign=True)
    assert found is not None
    assert found.shape == (len(codes), 2)
    assert same_bits(values_of(codes_of(values, found), found), values)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.booleans())
def test_normal_weights_are_no_grid(seed: int, rows: int, by_sign: bool) -> None:
    weights = np.random.default_rng(seed).standard_normal((rows, 25), np.float32)
    assert find_steps(weights, by_sign=by_sign) is None


@settings(deadline=None)
@given(grids(), st.data())
def test_a_bit_that_is_not_the_grids_is_seen(
    grid: tuple[Codes, Floats], data: st.DataObject
) -> None:
    """Found or not, what is found gives back the bits."""
    values = values_of(*grid)
    at = data.draw(st.integers(0, values.size - 1))
    values.view(np.uint32).reshape(-1)[at] ^= np.uint32(1 << data.draw(st.integers(0, 30)))
    found = find_steps(values)
    if found is not None:
        assert same_bits(values_of(codes_of(values, found), found), values)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_no_grid(bad: float) -> None:
    values = np.array([[0.5, 1.0], [0.5, bad]], np.float32)
    assert find_steps(values) is None


def test_zeros_have_the_step_1_whatever_their_sign() -> None:
    values = np.array([[0.0, -0.0], [-0.0, 3.0]], np.float32)
    found = find_steps(values)
    assert found is not None
    assert found.tolist() == [1.0, 3.0]
    assert codes_of(values, found).tolist() == [[0, 0], [0, 1]]


def test_a_code_beyond_the_largest_is_refused() -> None:
    values = np.array([[255.0, 254.0]], np.float32)
    assert find_steps(values) is not None
    assert find_steps(values, most=254) is None
    assert find_steps(np.array([[256.0, 255.0]], np.float32)) is None


def test_few_values_may_lie_several_steps_apart() -> None:
    """No two of a kernel's values need be neighbours on its grid."""
    codes = np.array([[-97, -31, 0, 0, 5, 43, 101, 101, 127]], np.int16)
    values = values_of(codes, np.array([0.0123], np.float32))
    found = find_steps(values)
    assert found is not None
    assert (codes_of(values, found) == codes).all()


def test_a_view_is_as_good_as_a_copy() -> None:
    values = values_of(np.arange(-6, 6, dtype=np.int16).reshape(3, 4), np.ones(3, np.float32))
    found = find_steps(values.T)
    assert found is not None
    assert same_bits(values_of(codes_of(values.T, found), found), values.T.copy())


def test_many_weights_that_are_no_grid_are_refused_at_once() -> None:
    weights = np.random.default_rng(0).standard_normal((2000, 30_000), np.float32)
    find_steps(weights[:1, :9])  # compiled
    start = time.perf_counter()
    assert find_steps(weights) is None
    assert time.perf_counter() - start < 0.1
