import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from boildown.calibrate.moments import Moments
from boildown.structure.eliminate import eliminate, without

TINY = 0.0  # damping: only what keeps solutions finite


def drawn(
    seed: int, m: int, n: int, rows: int = 200, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor, Moments]:
    g = torch.Generator().manual_seed(seed)
    mixing = torch.randn(n, n, generator=g, dtype=dtype)
    x = torch.randn(rows, n, generator=g, dtype=dtype) @ mixing + 2.0
    weight = torch.randn(m, n, generator=g, dtype=dtype)
    bias = torch.randn(m, generator=g, dtype=dtype)
    moments = Moments()
    moments.update(x)
    return weight, bias, x, moments


def least(x: np.ndarray, y: np.ndarray, kept: list[int], intercept: bool) -> float:
    """The mean squared error of numpy's regression of y on some columns of x."""
    design = x[:, kept]
    if intercept:
        design = np.concatenate([design, np.ones((len(x), 1))], 1)
    solved, *_ = np.linalg.lstsq(design, y, rcond=None)
    return float(((y - design @ solved) ** 2).sum(1).mean())


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 4), st.integers(2, 4), st.integers(1, 3), st.booleans())
def test_each_step_s_error_is_that_of_numpy_s_regression(
    seed: int, m: int, count: int, size: int, biased: bool
) -> None:
    weight, bias, x, moments = drawn(seed, m, count * size)
    groups = torch.randperm(count * size, generator=torch.Generator().manual_seed(seed))
    groups = groups.view(count, size)
    found = eliminate(
        weight, bias if biased else None, moments, groups, most=count - 1, damping=TINY
    )
    y = (x @ weight.mT).numpy()
    for d in range(1, count):
        kept = groups[[g for g in range(count) if g not in found.order[:d]]].flatten().tolist()
        expected = least(x.numpy(), y, kept, biased)
        assert float(found.errors[d - 1]) == pytest.approx(expected, rel=1e-5, abs=1e-7)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_the_first_to_go_is_the_one_that_costs_least_in_the_metric(seed: int) -> None:
    weight, bias, x, moments = drawn(seed, 3, 6)
    groups = torch.arange(6).view(3, 2)
    half = torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    form = half @ half.mT + 0.1 * torch.eye(3, dtype=torch.float64)
    found = eliminate(weight, bias, moments, groups, most=1, damping=TINY, form=form)
    root = torch.linalg.cholesky(form).mT
    y = (x @ weight.mT @ root.mT).numpy()
    errors = [
        least(x.numpy(), y, groups[[g for g in range(3) if g != gone]].flatten().tolist(), True)
        for gone in range(3)
    ]
    assert int(found.order[0]) == int(np.argmin(errors))
    assert float(found.errors[0]) == pytest.approx(min(errors), rel=1e-6)


def test_a_copy_of_another_input_costs_nothing() -> None:
    weight, bias, x, _ = drawn(0, 4, 5)
    x[:, 3] = 2.0 * x[:, 1] - 1.0
    moments = Moments()
    moments.update(x)
    found = eliminate(weight, bias, moments, torch.arange(5).view(5, 1), most=1)
    assert int(found.order[0]) in (1, 3)
    assert float(found.errors[0]) < 1e-2 * float((x @ weight.mT).var(0).sum())


def test_inputs_in_no_group_stay() -> None:
    weight, bias, _, moments = drawn(1, 3, 6)
    found = eliminate(weight, bias, moments, torch.tensor([[0, 1], [4, 5]]))
    assert sorted(found.order.tolist()) == [0, 1]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.booleans())
def test_without_is_numpy_s_regression(seed: int, biased: bool) -> None:
    weight, bias, x, moments = drawn(seed, 3, 5)
    kept = torch.tensor([4, 0, 2])
    found, shift = without(weight, bias if biased else None, moments, kept, damping=TINY)
    y = x @ weight.mT + (bias if biased else 0.0)
    now = x[:, kept] @ found.mT + (shift if biased else 0.0)
    error = float((y - now).square().sum(1).mean())
    assert error == pytest.approx(least(x.numpy(), y.numpy(), kept.tolist(), biased), rel=1e-6)


def test_all_inputs_kept_change_nothing() -> None:
    weight, bias, _, moments = drawn(2, 3, 4)
    found, shift = without(weight, bias, moments, torch.arange(4))
    torch.testing.assert_close(found, weight)
    torch.testing.assert_close(shift, bias)


def test_full_damping_sees_no_correlation() -> None:
    weight, bias, _, moments = drawn(3, 3, 4)
    kept = torch.tensor([1, 3])
    found, _ = without(weight, bias, moments, kept, damping=1.0)
    torch.testing.assert_close(found, weight[:, kept])


def test_results_have_the_weight_s_dtype() -> None:
    weight, bias, _, moments = drawn(4, 3, 4, dtype=torch.float32)
    found, shift = without(weight, bias, moments, torch.tensor([0]))
    assert found.dtype == shift.dtype == torch.float32


def test_the_greedy_order_is_near_the_best_of_all() -> None:
    weight, bias, x, moments = drawn(5, 3, 6)
    found = eliminate(weight, bias, moments, torch.arange(6).view(6, 1), most=3, damping=TINY)
    y = (x @ weight.mT).numpy()
    best = min(
        least(x.numpy(), y, list(kept), True) for kept in itertools.combinations(range(6), 3)
    )
    assert best <= float(found.errors[-1]) * (1 + 1e-9)
    assert float(found.errors[-1]) < 3 * best


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (torch.tensor([[0, 1], [1, 2]]), "in two groups"),
        (torch.tensor([[0, 4]]), "inputs 0 to 4, but there are 0 to 3"),
        (torch.tensor([0, 1]), "must be a matrix"),
        (torch.zeros(2, 0, dtype=torch.long), "must be a matrix"),
        (torch.tensor([[0.0]]), "must be a matrix"),
    ],
)
def test_bad_groups_are_refused(groups: Tensor, message: str) -> None:
    weight, bias, _, moments = drawn(6, 3, 4)
    with pytest.raises(ValueError, match=message):
        eliminate(weight, bias, moments, groups)


@pytest.mark.parametrize("most", [-1, 3])
def test_most_out_of_range_is_refused(most: int) -> None:
    weight, bias, _, moments = drawn(6, 3, 4)
    with pytest.raises(ValueError, match=rf"most must be in \[0, 2\].*{most}"):
        eliminate(weight, bias, moments, torch.arange(4).view(2, 2), most=most)


def test_moments_of_another_length_are_refused() -> None:
    weight, bias, _, _ = drawn(6, 3, 4)
    with pytest.raises(ValueError, match="5 features, but the weight takes 4"):
        eliminate(weight, bias, drawn(6, 3, 5)[3], torch.arange(4).view(2, 2))
