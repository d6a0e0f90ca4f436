"""boildown.allocate.knapsack: the least loss within a budget, against brute force and a table."""

import itertools
import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boildown.allocate.knapsack import choose, lagrangian

Lists = Sequence[Sequence[float]]

# few distinct numbers, so that ties, equal options and free options are common
OPTION = st.tuples(st.integers(0, 9), st.integers(-3, 9))
ITEMS = st.lists(st.lists(OPTION, min_size=1, max_size=6), min_size=1, max_size=4)


def split(items: list[list[tuple[float, float]]]) -> tuple[Lists, Lists]:
    return [[c for c, _ in item] for item in items], [[v for _, v in item] for item in items]


def totals(costs: Lists, losses: Lists) -> list[tuple[float, float]]:
    """(cost, loss) of every choice there is."""
    return [
        (sum(c for c, _ in pick), sum(v for _, v in pick))
        for pick in itertools.product(
            *(zip(c, v, strict=True) for c, v in zip(costs, losses, strict=True))
        )
    ]


def table(costs: Lists, losses: Lists, budget: int) -> float:
    """The least loss, from the table over all whole budgets."""
    best = np.zeros(budget + 1)
    for cost, loss in zip(costs, losses, strict=True):
        after = np.full(budget + 1, np.inf)
        for c, v in zip(cost, loss, strict=True):
            c = int(c)
            if c <= budget:
                after[c:] = np.minimum(after[c:], best[: budget + 1 - c] + v)
        best = after
    return float(best[-1])


@given(ITEMS, st.integers(0, 25))
@settings(max_examples=200, deadline=None)
def test_it_is_the_least_loss_there_is(items: list[list[tuple[float, float]]], more: int) -> None:
    costs, losses = split(items)
    budget = sum(map(min, costs)) + more
    found = choose(costs, losses, budget)
    assert found.loss == min(v for c, v in totals(costs, losses) if c <= budget)
    assert found.exact
    assert found.cost == sum(c[i] for c, i in zip(costs, found.picks, strict=True)) <= budget
    assert found.loss == sum(v[i] for v, i in zip(losses, found.picks, strict=True))


@given(ITEMS, st.integers(0, 25), st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_the_gap_holds_when_partial_sums_are_given_up(
    items: list[list[tuple[float, float]]], more: int, candidates: int
) -> None:
    costs, losses = split(items)
    budget = sum(map(min, costs)) + more
    least = min(v for c, v in totals(costs, losses) if c <= budget)
    found = choose(costs, losses, budget, candidates=candidates)
    assert found.cost <= budget
    assert found.loss - found.gap <= least + 1e-9
    assert found.loss >= least
    if found.exact:
        assert found.loss == least


@pytest.mark.parametrize("seed", range(40))
def test_the_gap_holds_where_the_linear_bound_is_loose(seed: int) -> None:
    # two options each that differ much: whole steps cannot follow the relaxation
    make = np.random.default_rng(seed)
    costs = [[0, int(c)] for c in make.integers(30, 60, 9)]
    losses = [[float(c[1] + make.integers(-9, 9)), 0.0] for c in costs]
    budget = sum(c[1] for c in costs) // 2
    least = min(v for c, v in totals(costs, losses) if c <= budget)
    assert choose(costs, losses, budget).loss == least
    found = choose(costs, losses, budget, candidates=6)
    assert found.loss - found.gap <= least * (1 + 1e-12) <= found.loss * (1 + 1e-12)


def layers(kind: str, count: int, full: int) -> tuple[Lists, Lists]:
    """Parameters and squared errors of each rank of layers with random spectra."""
    make = np.random.default_rng(0)
    costs, losses = [], []
    for _ in range(count):
        spectrum = np.exp(-np.arange(full) / full * make.uniform(1, 8))
        loss = np.append(np.cumsum((spectrum**2)[::-1])[::-1][1:], 0.0) * make.uniform(0.2, 5)
        if kind == "noisy":
            loss *= 1 + 0.2 * make.normal(size=full)
        if kind == "unordered":
            loss = make.uniform(size=full)
        costs.append((np.arange(1, full + 1) * make.integers(5, 30)).tolist())
        losses.append(loss.tolist())
    return costs, losses


@pytest.mark.parametrize("kind", ["convex", "noisy", "unordered"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.7])
def test_real_sizes_agree_with_the_table_over_budgets(kind: str, share: float) -> None:
    costs, losses = layers(kind, count=12, full=60)
    low, high = sum(map(min, costs)), sum(map(max, costs))
    budget = int(low + share * (high - low))
    found = choose(costs, losses, budget)
    assert found.exact
    assert found.loss == pytest.approx(table(costs, losses, budget), rel=1e-12)


def test_when_work_is_capped_the_gap_is_small_and_told() -> None:
    # profits nearly equal to weights, two options each: the classic hard knapsack
    make = np.random.default_rng(1)
    weights = make.integers(1000, 2000, 40)
    costs = [[0, int(w)] for w in weights]
    losses = [[float(w + make.integers(-100, 100)), 0.0] for w in weights]
    exact, capped = (choose(costs, losses, 30_001, candidates=n) for n in (1 << 21, 8))
    assert exact.exact
    assert not capped.exact
    assert 0 < capped.gap < 0.01 * exact.loss
    assert capped.loss - capped.gap <= exact.loss <= capped.loss


def test_small_losses_count_beside_large_ones() -> None:
    # the first item's huge loss must not swallow the digits of the others
    costs, losses = [[1, 2], [1, 2], [1, 2]], [[1e12, 0.0], [1e-6, 0.0], [3e-6, 0.0]]
    assert choose(costs, losses, 5).picks == (1, 0, 1)


def test_fractions_that_fill_the_budget_up_to_rounding_fit() -> None:
    assert 0.1 + 0.2 > 0.3
    assert choose([[0.05, 0.1], [0.1, 0.2]], [[1, 0], [1, 0]], 0.3).picks == (1, 1)
    assert choose([[0.1], [0.2]], [[1], [1]], 0.3).picks == (0, 0)


@given(ITEMS, st.integers(0, 12))
@settings(max_examples=100, deadline=None)
def test_a_price_buys_the_best_choice_for_what_it_spends(
    items: list[list[tuple[float, float]]], eighths: int
) -> None:
    costs, losses = split(items)
    price = eighths / 8
    picks = lagrangian(costs, losses, price)
    cost = sum(c[i] for c, i in zip(costs, picks, strict=True))
    loss = sum(v[i] for v, i in zip(losses, picks, strict=True))
    assert loss + price * cost == min(v + price * c for c, v in totals(costs, losses))
    assert loss == min(v for c, v in totals(costs, losses) if c <= cost)


def test_a_price_prefers_the_cheaper_of_equals() -> None:
    assert lagrangian([[3, 1, 1]], [[0.0, 2.0, 2.0]], price=1.0) == (1,)


def test_no_items_cost_nothing() -> None:
    assert choose([], [], 0.0).picks == ()


@pytest.mark.parametrize(
    ("costs", "losses", "budget", "says"),
    [
        ([[12, 20], [33]], [[1, 0], [1]], 44, "44 is below 45, what the cheapest options cost: "),
        ([[12, 20], [33]], [[1, 0], [1]], 44, ": fc2 33, fc1 12"),
        ([[1], [1]], [[1], [1]], float("nan"), "finite number, got nan"),
        ([[1], []], [[1], []], 5, "fc2: costs and losses must be two equally long lists"),
        ([[1], [1, 2]], [[1], [1]], 5, "fc2: .* got shapes (2,) and (1,)"),
        ([[1], [-1]], [[1], [1]], 5, "fc2: costs must be finite and at least 0"),
        ([[1], [1]], [[float("inf")], [1]], 5, "fc1: .* losses finite"),
        ([[1]], [[1]], 5, "costs of 1 items, losses of 1 and 2 names"),
    ],
)
def test_bad_input_is_named(costs: Lists, losses: Lists, budget: float, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says).replace(r"\.\*", ".*")):
        choose(costs, losses, budget, names=["fc1", "fc2"])


def test_an_error_about_many_items_stays_short() -> None:
    with pytest.raises(ValueError, match="and 92 more") as told:
        choose([[10]] * 100, [[0]] * 100, 999)
    assert len(str(told.value)) < 250


def test_a_bad_price_or_cap_is_named() -> None:
    with pytest.raises(ValueError, match=r"price must be .* got -1.0"):
        lagrangian([[1]], [[1]], -1.0)
    with pytest.raises(ValueError, match="candidates must be at least 1, got 0"):
        choose([[1]], [[1]], 1, candidates=0)
