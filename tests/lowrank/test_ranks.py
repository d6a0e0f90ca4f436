"""boildown.lowrank.ranks: against brute force, and against the single energy threshold."""

import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from boildown.lowrank.ranks import Measured, allocate_ranks, energy_ranks, joint_ranks
from boildown.lowrank.svd import rank_for_energy, tails

SHAPES = {"fc1": (6, 9), "fc2": (4, 6), "fc3": (3, 4)}
Choices = list[tuple[tuple[int | None, ...], float, dict[str, float]]]


def spectra(seed: int, *, whole: bool = False) -> dict[str, Tensor]:
    make = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in SHAPES.items():
        values = torch.rand(min(shape), generator=make, dtype=torch.float64) * 4
        found[name] = (values.round() if whole else values).sort(descending=True).values
    return found


def squared(s: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tails(values) for name, values in s.items()}


def parameters() -> tuple[dict[str, list[int]], dict[str, float]]:
    """Costs of every rank, and of the dense layers."""
    costs = {n: [r * (a + b) for r in range(1, min(a, b) + 1)] for n, (a, b) in SHAPES.items()}
    return costs, {name: float(a * b) for name, (a, b) in SHAPES.items()}


def everything(s: dict[str, Tensor], dense: dict[str, float]) -> Choices:
    """Every choice: ranks, cost and each layer's squared error."""
    costs, _ = parameters()
    options: dict[str, list[tuple[int | None, float, float]]] = {}
    for name, values in s.items():
        options[name] = [
            (r, costs[name][r - 1], float((values[r:] ** 2).sum()))
            for r in range(1, len(values) + 1)
        ]
        if name in dense:
            options[name].append((None, dense[name], 0.0))
    return [
        (
            tuple(rank for rank, _, _ in pick),
            float(sum(cost for _, cost, _ in pick)),
            {name: error for name, (_, _, error) in zip(s, pick, strict=True)},
        )
        for pick in itertools.product(*options.values())
    ]


@given(st.integers(0, 10**6), st.integers(33, 120), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_budget_gets_the_least_error_there_is(
    seed: int, budget: int, may_stay: bool, whole: bool
) -> None:
    s = spectra(seed, whole=whole)
    costs, dense = parameters()
    dense = dense if may_stay else {}
    found = joint_ranks(squared(s), costs, dense=dense, budget=budget)
    choices = everything(s, dense)
    least = min(sum(errors.values()) for _, cost, errors in choices if cost <= budget)
    assert found.error == pytest.approx(least, rel=1e-9, abs=1e-12)
    assert found.gap == 0.0
    (here,) = [c for c in choices if c[0] == tuple(found.ranks.values())]
    assert found.cost == here[1] <= budget
    assert found.error == pytest.approx(sum(here[2].values()), abs=1e-12)


@given(st.integers(0, 10**6), st.floats(0, 2), st.floats(0.1, 10), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_price_is_the_c_step_of_the_paper(
    seed: int, price: float, mu: float, may_stay: bool
) -> None:
    s = spectra(seed)
    costs, dense = parameters()
    dense = dense if may_stay else {}
    found = joint_ranks(squared(s), costs, dense=dense, price=price, mu=mu)
    least = min(
        mu / 2 * sum(errors.values()) + price * cost for _, cost, errors in everything(s, dense)
    )
    assert mu / 2 * found.error + price * found.cost == pytest.approx(least, rel=1e-9, abs=1e-12)


def test_layers_with_slow_spectra_get_more() -> None:
    s = {"fast": 2.0 ** -torch.arange(20), "slow": torch.ones(20)}
    costs = {name: [10 * r for r in range(1, 21)] for name in s}
    assert joint_ranks(squared(s), costs, budget=200).ranks == {"fast": 1, "slow": 19}
    assert joint_ranks(squared(s), costs, price=1e9).ranks == {"fast": 1, "slow": 1}


def test_a_layer_stays_dense_where_factors_are_no_cheaper() -> None:
    lost = {"fc": tails(torch.tensor([3.0, 2.0, 1.0]))}
    costs, dense = {"fc": [6, 12, 18]}, {"fc": 9.0}  # 3 x 3
    assert joint_ranks(lost, costs, dense=dense, budget=20).ranks == {"fc": None}
    assert joint_ranks(lost, costs, budget=20).ranks == {"fc": 3}
    assert joint_ranks(lost, costs, dense=dense, budget=8).ranks == {"fc": 1}


def test_fewer_ranks_may_be_offered_than_there_are() -> None:
    lost = {"fc": tails(torch.ones(5))}
    found = joint_ranks(lost, {"fc": [1, 2]}, budget=100)
    assert (found.ranks, found.error) == ({"fc": 2}, 3.0)
    assert joint_ranks(lost, {"fc": [1, 2]}, dense={"fc": 50}, budget=100).ranks == {"fc": None}


@given(st.integers(0, 10**6), st.integers(33, 120), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_energy_threshold_is_the_highest_in_the_budget(
    seed: int, budget: int, may_stay: bool
) -> None:
    s = spectra(seed)
    costs, dense = parameters()
    dense = dense if may_stay else {}

    def by_hand(energy: float) -> tuple[dict[str, int | None], float]:
        ranks: dict[str, int | None] = {}
        cost = 0.0
        for name, values in s.items():
            rank = rank_for_energy(values, energy)
            stays = name in dense and costs[name][rank - 1] >= dense[name]
            ranks[name] = None if stays else rank
            cost += dense[name] if stays else costs[name][rank - 1]
        return ranks, cost

    # between any two thresholds where a rank changes
    kept = np.unique(np.concatenate([(1 - tail / tail[0]).numpy() for tail in squared(s).values()]))
    choices = [by_hand(float(e)) for e in (*(kept[1:] + kept[:-1]) / 2, 1.0)]
    best = max(cost for _, cost in choices if cost <= budget)
    found = energy_ranks(s, costs, budget, dense=dense)
    assert found in [ranks for ranks, cost in choices if cost == best]
    assert energy_ranks(s, costs, energy=0.9, dense=dense) == by_hand(0.9)[0]
    joint = joint_ranks(squared(s), costs, dense=dense, budget=budget)
    lost = sum(float(squared(s)[n][r]) for n, r in found.items() if r is not None)
    assert joint.error <= lost + 1e-12


def test_a_threshold_beyond_the_ranks_offered() -> None:
    s = {"fc": torch.ones(5), "zero": torch.zeros(5)}
    costs = {"fc": [1, 2], "zero": [1, 2]}
    assert energy_ranks(s, costs, energy=1.0) == {"fc": 2, "zero": 1}
    assert energy_ranks(s, costs, energy=1.0, dense={"fc": 50}) == {"fc": None, "zero": 1}
    assert energy_ranks(s, costs, 51, dense={"fc": 50}) == {"fc": None, "zero": 1}
    assert energy_ranks(s, costs, 50, dense={"fc": 50}) == {"fc": 2, "zero": 1}


def test_measured_points_are_allocated() -> None:
    points = {
        "fc1": [Measured(None, 100, 0.02), Measured(4, 40, 0.03), Measured(1, 10, 0.5)],
        "fc2": [Measured(None, 50, 0.02), Measured(2, 20, 0.4), Measured(1, 10, 0.41)],
    }
    found = allocate_ranks(points, 90)
    assert found.levels == {"fc1": 4, "fc2": None}
    assert (found.cost, found.gap) == (90, 0.0)
    assert found.loss == pytest.approx(0.05)
    with pytest.raises(ValueError, match=r"19 is below 20, .* fc1 10, fc2 10"):
        allocate_ranks(points, 19)
    points["fc2"][1] = Measured(2, 20, math.nan)
    with pytest.raises(ValueError, match="fc2: its loss at level 2 is nan; leave this point"):
        allocate_ranks(points, 90)
    with pytest.raises(ValueError, match="fc3: nothing was measured of it"):
        allocate_ranks({"fc3": []}, 90)


SPECTRA = {"fc1": torch.ones(3), "fc2": torch.ones(2)}
COSTS: dict[str, Any] = {"fc1": [5, 10, 15], "fc2": [4, 8]}


def joint(**given_: Any) -> Callable[[], object]:
    return lambda: joint_ranks(squared(SPECTRA), **({"costs": COSTS} | given_))


def energies(**given_: Any) -> Callable[[], object]:
    return lambda: energy_ranks(SPECTRA, **({"costs": COSTS} | given_))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (joint(budget=8), "a budget of 8 is below 9, what rank 1 everywhere costs: fc1 5, fc2 4"),
        (joint(budget=5, dense={"fc1": 2}), "below 6, what rank 1 everywhere, or dense where"),
        (energies(budget=8), "a budget of 8 is below 9, what rank 1 everywhere costs: fc1 5"),
        (joint(), "give a budget or a price, one of them; got None and None"),
        (joint(budget=9, price=1.0), "one of them; got 9 and 1.0"),
        (energies(), "give a budget or an energy, one of them"),
        (energies(budget=9, energy=0.5), "one of them; got 9 and 0.5"),
        (energies(energy=1.5), "energy must be in (0, 1], got 1.5"),
        (joint(budget=9, mu=0.0), "mu must be above 0, got 0.0"),
        (joint(price=-1.0), "a price must be a finite number of at least 0, got -1.0"),
        (joint(budget=9, costs={"fc1": [5]}), "fc2: its ranks have no costs"),
        (joint(budget=9, costs=COSTS | {"fc9": [1]}), "costs: there is no layer fc9"),
        (joint(budget=9, dense={"fc9": 1}), "dense: there is no layer fc9"),
        (joint(budget=9, costs=COSTS | {"fc1": [3, 2]}), "fc1: costs must not fall"),
        (joint(budget=9, costs=COSTS | {"fc1": [1] * 4}), "fc1: costs must be a list of 1 to 3"),
        (joint(budget=9, costs=COSTS | {"fc1": []}), "fc1: costs must be a list of 1 to 3"),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        call()


def test_errors_that_are_no_tails_are_named() -> None:
    for wrong in ([1.0, 2.0, 0.0], [1.0, float("nan"), 0.0]):
        with pytest.raises(ValueError, match="fc: squared errors must be finite and fall"):
            joint_ranks({"fc": torch.tensor(wrong)}, {"fc": [1, 2]}, budget=9)
