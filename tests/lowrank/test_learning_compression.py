"""boildown.lowrank.learning_compression: the algorithm by itself, on tensors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from boildown.lowrank.costs import Counting, cost_of, dense_cost_of
from boildown.lowrank.factorize import structure
from boildown.lowrank.learning_compression import (
    Algorithm,
    Network,
    State,
    distance,
    factorized,
    factors_in,
    pull,
    spectra_of,
    structure_of,
)
from boildown.lowrank.svd import decompose
from boildown.lowrank.target import Spectra, Target
from boildown.schedule import OneShot


@settings(max_examples=20, deadline=None)
@given(rate=st.floats(1e-4, 1.0), mu=st.floats(1e-3, 1e6), seed=st.integers(0, 100))
def test_the_pull_is_the_proximal_step(rate: float, mu: float, seed: int) -> None:
    """It minimises |W - W0|^2 / (2 rate) + mu / 2 |W - T|^2, whatever rate mu is."""
    torch.manual_seed(seed)
    weight, target = torch.randn(3, 4), torch.randn(3, 4)
    start = weight.double()
    pull(weight, target, rate, mu)
    now = weight.double()
    slope = (now - start) / rate + mu * (now - target.double())
    size = (start - target.double()).abs().max() * mu / (1.0 + rate * mu)
    assert slope.abs().max() <= 1e-4 * size + 1e-6 / rate + 1e-5 * mu * now.abs().max()


def problem(multipliers: bool) -> tuple[Algorithm, Network]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 8))
    target = Target(ranks={"0": 2, "1": 1})
    algorithm = Algorithm(target, 0.0, 1.0, 4, (2.0, 16.0), OneShot(), multipliers)
    counting = Counting()
    layers = counting.layers(model, counting.names(model), {})
    return algorithm, Network(layers, dict(model.named_parameters()))


def same(ranks: dict[str, int | None]) -> dict[str, int | None]:
    return ranks


@torch.no_grad()
def test_minimising_the_augmented_lagrangian_meets_the_constraint() -> None:
    """Loss |W - W0|^2 / 2, each L step exact: W = (W0 + mu T + Y) / (1 + mu)."""
    apart: dict[bool, float] = {}
    for multipliers in (True, False):
        algorithm, network = problem(multipliers)
        start = {name: weight.clone() for name, weight in network.weights.items()}
        state = State()
        for step in range(4):
            state, flops = algorithm.c_step(state, step, network, None, same)
            assert flops > 0
            mu = algorithm.mu_after(step)
            for name, weight in network.weights.items():
                goal = state.targets(mu)[name]
                weight.copy_((start[name] + mu * goal) / (1.0 + mu))
        apart[multipliers] = distance(state, network.weights)
        assert (state.owed != {}) == multipliers
        state, _ = algorithm.c_step(state, 4, network, None, same)
        assert state.owed == {}
        assert [torch.linalg.matrix_rank(t).item() for t in state.nearest.values()] == [2, 1]
    assert apart[True] < 0.5 * apart[False] < 0.05


def test_the_first_step_is_the_nearest_network() -> None:
    algorithm, network = problem(multipliers=True)
    state, _ = algorithm.c_step(State(), 0, network, None, same)
    for name, rank in (("0", 2), ("1", 1)):
        nearest = decompose(network.weights[name]).truncate(rank).product()
        torch.testing.assert_close(state.nearest[name], nearest)
    assert State.of(state.state_dict()).ranks == {"0": 2, "1": 1}


def test_mu_grows_by_a_constant_factor() -> None:
    algorithm, _ = problem(multipliers=True)
    mus = [algorithm.mu_after(step) for step in (-1, 0, 1, 2, 3, 4)]
    assert mus == pytest.approx([2.0, 2.0, 4.0, 8.0, 16.0, 16.0])
    assert [algorithm.step_at(at) for at in (0.0, 0.3, 0.5, 1.0)] == [0, 1, 2, 4]


def test_what_the_target_leaves_open_is_searched_for() -> None:
    asked: list[set[str]] = []

    def search(spectra: Spectra) -> float:
        asked.append(set(spectra))
        return (0.5, 0.7, 0.6)[len(asked) - 1]

    _, network = problem(multipliers=False)
    algorithm = Algorithm(Target(), 0.0, 1.0, 4, (1.0, 1.0), OneShot(), False)
    state, costs = State(), []
    for step in range(5):
        state, _ = algorithm.c_step(state, step, network, None, same, search)
        costs.append(cost_of(network.layers, state.ranks) / dense_cost_of(network.layers))
    assert asked == [{"0", "1"}] * 3  # at first, halfway, and at last
    assert costs[0] == costs[1] <= 0.5 < costs[2] == costs[3] <= 0.7
    assert costs[4] <= 0.6 < costs[3]


def test_factors_stand_for_the_layers_that_have_a_rank() -> None:
    """Named and shaped as in the network that is built, which then says the same."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 12, 3, groups=2), nn.Flatten(), nn.Linear(12, 9, bias=False))
    counting = Counting()
    layers = counting.layers(model, counting.names(model), {})
    parameters = dict(model.named_parameters())
    spectra = spectra_of({name: parameters[f"{name}.weight"] for name in layers}, layers)
    ranks: dict[str, int | None] = {"0": 2, "2": 3}
    found = factors_in(parameters, layers, spectra, ranks)
    state = State(ranks=ranks)
    built, _ = factorized(model, layers, state)
    wanted = dict(built.named_parameters())
    assert found.keys() == wanted.keys()
    assert all(torch.allclose(found[name], wanted[name], atol=1e-6) for name in wanted)
    assert structure_of(layers, found) == structure(model, built)
    assert factors_in(parameters, layers, spectra, dict.fromkeys(ranks)) == parameters
