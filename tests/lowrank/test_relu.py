"""boildown.lowrank.relu: less error behind the ReLU than any linear fit, against brute force."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from boildown.calibrate.moments import Moments
from boildown.lowrank.activation import regressed, whitened
from boildown.lowrank.form import output_form
from boildown.lowrank.relu import LowRankLayer, auxiliary, output_error, through_relu_ranks
from boildown.lowrank.svd import Factors

D = torch.float64


def problem(
    m: int, n: int, count: int, seed: int = 0, dtype: torch.dtype = D
) -> tuple[Tensor, Tensor, Tensor]:
    """Weight, bias and inputs; about half of the outputs are below zero."""
    make = torch.Generator().manual_seed(seed)
    weight = torch.randn(m, n, generator=make, dtype=dtype)
    inputs = torch.randn(count, n, generator=make, dtype=dtype) * (
        torch.arange(1, n + 1, dtype=dtype) ** -0.5
    )
    return weight, torch.randn(m, generator=make, dtype=dtype), inputs + 0.3


def through_relu(
    weight: Tensor, bias: Tensor | None, inputs: Tensor, rank: int, **settings: Any
) -> LowRankLayer:
    return through_relu_ranks(weight, bias, inputs, [rank], **settings)[rank]


def gather(inputs: Tensor) -> Moments:
    moments = Moments()
    moments.update(inputs)
    return moments


def measured(layer: LowRankLayer, inputs: Tensor, targets: Tensor) -> float:
    outputs = inputs.double() @ layer.factors.product().double().T
    if layer.bias is not None:
        outputs = outputs + layer.bias.double()
    return float((outputs.relu() - targets.double().relu()).square().sum(1).mean())


@pytest.mark.parametrize("penalty", [0.01, 1.0, 7.0])
def test_the_auxiliary_is_the_best_of_a_grid(penalty: float) -> None:
    grid = torch.linspace(-4, 4, 16001, dtype=D)
    for t, y in itertools.product((-3.0, -1.0, -0.3, -0.1, 0.0, 0.4, 2.0), (0.0, 0.2, 1.0, 2.5)):
        cost = (y - grid.relu()) ** 2 + penalty * (grid - t) ** 2
        z = auxiliary(torch.tensor([t], dtype=D), torch.tensor([y], dtype=D), penalty)
        reached = (y - z.relu()) ** 2 + penalty * (z - t) ** 2
        assert float(reached) <= float(cost.min()) + 1e-12


@pytest.mark.parametrize("t", [-2.0, -0.5, 0.0, 0.5, 3.0])
@pytest.mark.parametrize("y", [-1.0, 0.0, 0.4, 2.0])
def test_the_last_phase_majorises_the_error(t: float, y: float) -> None:
    grid, here = torch.linspace(-5, 5, 10001, dtype=D), torch.tensor([t], dtype=D)
    goal = torch.tensor([y], dtype=D).relu()
    z = auxiliary(here, goal, math.inf)
    above = (grid - z) ** 2 + (goal - here.relu()) ** 2 - (here - z) ** 2
    assert (above >= (goal - grid.relu()) ** 2 - 1e-12).all()


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 25),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10**6),
    st.sampled_from([None, 0.0, 0.4]),
)
def test_never_worse_than_activation_aware_nor_than_a_lower_rank(
    m: int, n: int, count: int, with_bias: bool, same: bool, seed: int, damping: float | None
) -> None:
    weight, offset, inputs = problem(m, n, count, seed)
    bias = offset if with_bias else None
    targets = inputs @ weight.T + (0 if bias is None else bias)
    if not same:
        inputs = inputs + 0.2 * torch.randn(
            inputs.shape, generator=torch.Generator().manual_seed(seed), dtype=D
        )
    given = None if same else targets
    ranks = range(1, min(m, n) + 1)
    layers = through_relu_ranks(
        weight, bias, inputs, list(ranks), targets=given, damping=damping, iterations=5
    )
    linear = (
        whitened(weight, bias, gather(inputs), damping=damping)
        if same
        else regressed(weight, bias, inputs, targets, damping=damping)
    )
    lower = math.inf
    for rank in ranks:
        layer = layers[rank]
        assert layer.factors.rank == rank
        assert (layer.bias is None) == (bias is None)
        assert measured(layer, inputs, targets) == pytest.approx(layer.error, rel=1e-9, abs=1e-20)
        start = output_error(*linear.truncate(rank), inputs, targets)
        assert layer.start == pytest.approx(start, rel=1e-9, abs=1e-20)
        assert layer.error <= min(layer.start, lower)
        lower = layer.error


def test_close_to_the_best_that_a_general_optimiser_finds() -> None:
    weight, bias, inputs = problem(3, 3, 40, seed=3)
    goal = (inputs @ weight.T + bias).relu()

    def error(flat: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.from_numpy(flat).clone().requires_grad_()
        u, v, b = at[:3, None], at[3:6, None], at[6:]
        value = ((inputs @ v @ u.T + b).relu() - goal).square().sum(1).mean()
        value.backward()
        assert at.grad is not None
        return float(value.detach()), at.grad.numpy()

    rng = np.random.default_rng(0)
    tries = [minimize(error, rng.normal(size=9), jac=True).fun for _ in range(30)]
    layer = through_relu(weight, bias, inputs, 1, damping=0.0, iterations=300)
    assert min(tries) * (1 - 1e-6) <= layer.error <= 1.02 * min(tries)
    assert layer.error < 0.9 * layer.start


def test_clearly_less_error_on_inputs_not_seen() -> None:
    weight, bias, inputs = problem(60, 40, 3400, dtype=torch.float32)
    seen, held = inputs[:400], inputs[400:]
    layers = through_relu_ranks(weight, bias, seen, [3, 8, 16])
    linear = whitened(weight, bias, gather(seen))
    targets = held @ weight.T + bias
    for rank, layer in layers.items():
        assert layer.factors.u.dtype == torch.float32
        error = output_error(layer.factors, layer.bias, held, targets)
        assert error < 0.92 * output_error(*linear.truncate(rank), held, targets)
        assert measured(layer, seen, seen @ weight.T + bias) == pytest.approx(layer.error, rel=1e-5)


def test_fewer_samples_than_inputs_generalise() -> None:
    weight, bias, inputs = problem(30, 60, 2040)
    seen, held = inputs[:40], inputs[40:]
    layer, bare = (through_relu(weight, bias, seen, 10, damping=d) for d in (None, 0.0))
    targets = held @ weight.T + bias
    error = output_error(layer.factors, layer.bias, held, targets)
    assert error < 0.7 * output_error(bare.factors, bare.bias, held, targets)
    start = whitened(weight, bias, gather(seen)).truncate(10)
    assert error < output_error(*start, held, targets)


def test_the_asymmetric_fit_makes_up_for_earlier_error() -> None:
    weight, bias, inputs = problem(12, 20, 600)
    make = torch.Generator().manual_seed(9)
    before = inputs + 0.3 * inputs.roll(1, 1) + 0.1 * torch.randn(600, 20, generator=make, dtype=D)
    targets = inputs @ weight.T + bias
    symmetric = through_relu(weight, bias, before, 6)
    asymmetric = through_relu(weight, bias, before, 6, targets=targets)
    assert asymmetric.error < 0.5 * output_error(symmetric.factors, symmetric.bias, before, targets)


def test_all_outputs_positive_is_the_linear_optimum() -> None:
    weight, _, inputs = problem(5, 7, 80)
    bias = torch.full((5,), 50.0, dtype=D)
    layer = through_relu(weight, bias, inputs, 2, damping=0.0)
    linear = whitened(weight, bias, gather(inputs), damping=0.0)
    assert layer.error == pytest.approx(float(linear.tails()[2]), rel=1e-9)
    torch.testing.assert_close(layer.factors.product(), linear.truncate(2)[0].product())


def test_all_outputs_negative_gives_zero() -> None:
    weight, _, inputs = problem(20, 7, 80)
    bias = -(inputs @ weight.T).amax(0)
    layer = through_relu(weight, bias, inputs, 1)
    linear = whitened(weight, bias, gather(inputs)).truncate(1)
    assert output_error(*linear, inputs, inputs @ weight.T + bias) > 1e-4
    assert layer.error < 1e-6


def test_a_rank_alone_is_as_among_others() -> None:
    weight, bias, inputs = problem(6, 8, 50)
    alone, among = (
        through_relu(weight, bias, inputs, 3),
        through_relu_ranks(weight, bias, inputs, [5, 3, 2, 3]),
    )
    assert list(among) == [2, 3, 5]
    assert torch.equal(alone.factors.u, among[3].factors.u)


def test_a_full_rank_changes_nothing() -> None:
    weight, bias, inputs = problem(4, 6, 50)
    layer = through_relu(weight, bias, inputs, 4)
    torch.testing.assert_close(layer.factors.product(), weight)
    assert layer.error < 1e-20


@pytest.mark.parametrize("same", [True, False])
def test_a_metric_weighs_what_matters(same: bool) -> None:
    weight, bias, inputs = problem(8, 10, 300)
    q = torch.ones(8, dtype=D)
    q[:2] = 100.0
    targets = None if same else inputs @ weight.T + bias
    layer = through_relu(weight, bias, inputs, 3, targets=targets, form=torch.diag(q))
    plain = through_relu(weight, bias, inputs, 3, targets=targets)
    goal = inputs @ weight.T + bias
    assert layer.error < 0.5 * output_error(*plain_layer(plain), inputs, goal, torch.diag(q))
    assert layer.error < layer.start
    missed = ((inputs @ layer.factors.product().T + layer.bias).relu() - goal.relu()) ** 2
    assert layer.error == pytest.approx(float((missed * q).sum(1).mean()), rel=1e-9)
    identity = through_relu(weight, bias, inputs, 3, targets=targets, form=torch.eye(8))
    assert identity.error == pytest.approx(plain.error, rel=0.1)


def plain_layer(layer: LowRankLayer) -> tuple[Factors, Tensor | None]:
    return layer.factors, layer.bias


def test_a_metric_is_never_worse_than_truncating_in_it() -> None:
    worst = 0.0
    for seed in range(60):
        g = torch.Generator().manual_seed(seed)
        weight, bias = torch.randn(20, 12, generator=g), torch.randn(20, generator=g)
        inputs = torch.randn(100, 12, generator=g) @ torch.randn(12, 12, generator=g)
        spread = torch.randn(100, 20, generator=g) @ torch.randn(20, 20, generator=g)
        form, moments = output_form(gather(spread), 0.3), gather(inputs)
        targets = inputs @ weight.T + bias
        for rank, layer in through_relu_ranks(weight, bias, inputs, [3, 11], form=form).items():
            linear = whitened(weight, bias, moments, form=form).truncate(rank)
            worst = max(worst, layer.error / output_error(*linear, inputs, targets, form))
    assert worst <= 1.0


def test_a_metric_of_few_directions_and_dead_outputs() -> None:
    weight, bias, inputs = problem(8, 10, 100)
    bias[:3] = -100.0
    q = output_form(gather(torch.randn(3, 8, generator=torch.Generator().manual_seed(0))))
    layer = through_relu(weight, bias, inputs, 3, form=q)
    assert torch.isfinite(layer.factors.product()).all()
    assert layer.error <= layer.start


def test_bad_input_is_named() -> None:
    weight, bias, inputs = problem(3, 4, 5)
    with pytest.raises(ValueError, match="inputs hold NaN"):
        through_relu(weight, bias, inputs * math.nan, 2)
    with pytest.raises(ValueError, match="targets hold NaN"):
        through_relu(weight, bias, inputs, 2, targets=torch.full((5, 3), math.nan))
    with pytest.raises(ValueError, match="the weight holds NaN"):
        through_relu(weight * math.nan, bias, inputs, 2)
    with pytest.raises(ValueError, match="3 features, but the weight takes 4"):
        through_relu(weight, bias, inputs[:, :3], 2)
    with pytest.raises(ValueError, match="from 1 to 3, got 4"):
        through_relu(weight, bias, inputs, 4)
    with pytest.raises(ValueError, match=r"above 0, got 0\.0"):
        through_relu(weight, bias, inputs, 2, penalties=[0.0])
    with pytest.raises(ValueError, match="at least 0, got -1"):
        through_relu(weight, bias, inputs, 2, iterations=-1)
    with pytest.raises(ValueError, match=r"got 2\.0"):
        through_relu(weight, bias, inputs, 2, damping=2.0)
    with pytest.raises(ValueError, match="not positive definite"):
        through_relu(weight, bias, inputs, 2, form=-torch.eye(3))
