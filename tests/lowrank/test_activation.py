"""boildown.lowrank.activation: the least error on the inputs, measured, and what few inputs do."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import OAS
from torch import Tensor

from boildown.calibrate.moments import Moments, shrinkage
from boildown.lowrank.activation import Whitened, regressed, whitened
from boildown.lowrank.form import output_form
from boildown.lowrank.svd import decompose

D = torch.float64
PROBLEMS = st.tuples(
    st.integers(1, 7),
    st.integers(1, 7),
    st.integers(1, 20),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10**6),
)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def layer(m: int, n: int, seed: int = 0, dtype: torch.dtype = D) -> tuple[Tensor, Tensor]:
    make = generator(seed)
    return torch.randn(m, n, generator=make, dtype=dtype), torch.randn(
        m, generator=make, dtype=dtype
    )


def draw(count: int, n: int, seed: int = 0, decay: float = 1.0) -> Tensor:
    """(count, n) of a mean that is not 0, with variances that fall along random directions."""
    make = generator(seed + 1)
    mean = torch.randn(n, generator=make, dtype=D)
    turn = torch.linalg.qr(torch.randn(n, n, generator=generator(n), dtype=D)).Q
    scales = torch.arange(1, n + 1, dtype=D) ** -decay
    return torch.randn(count, n, generator=make, dtype=D) * scales @ turn.T + mean


def gather(inputs: Tensor) -> Moments:
    moments = Moments()
    moments.update(inputs)
    return moments


def form(m: int, seed: int = 0) -> Tensor:
    return output_form(gather(torch.randn(m // 2 + 1, m, generator=generator(seed), dtype=D)))


def measured(
    fitted: Whitened, rank: int, inputs: Tensor, targets: Tensor, q: Tensor | None
) -> float:
    factors, bias = fitted.truncate(rank)
    missed = targets.double() - (inputs.double() @ factors.v.double()) @ factors.u.double().T
    if bias is not None:
        missed = missed - bias.double()
    weighed = missed if q is None else missed @ q
    return float((weighed * missed).sum(1).mean())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(0, 10**6))
def test_moments_of_batches_are_those_of_all(sizes: list[int], seed: int) -> None:
    inputs = draw(sum(sizes) + 1, 3, seed) + 1e6
    moments = Moments()
    for batch in inputs.split([1, *sizes]):
        moments.update(batch)
    assert moments.count == len(inputs)
    np.testing.assert_allclose(moments.mean.numpy(), inputs.numpy().mean(0))
    expected = np.cov(inputs.numpy().T, bias=True)
    np.testing.assert_allclose(moments.covariance().numpy(), expected, rtol=1e-6, atol=1e-8)
    second = inputs.T @ inputs / len(inputs)
    torch.testing.assert_close(moments.second(), second)


def test_shrinkage_is_that_of_scikit_learn() -> None:
    for count, n in ((10, 5), (50, 20), (400, 6)):
        inputs = draw(count, n)
        expected = OAS().fit(inputs.numpy()).shrinkage_
        assert shrinkage(gather(inputs).covariance(), count) == pytest.approx(expected, rel=0.2)
    assert shrinkage(torch.eye(4), 10) == 1.0
    assert shrinkage(torch.zeros(4, 4), 10) == 1.0
    assert shrinkage(torch.eye(1), 10) == 1.0


@settings(max_examples=30, deadline=None)
@given(PROBLEMS, st.sampled_from([None, 0.0, 0.3, 1.0]))
def test_reported_errors_are_measured_and_never_above_plain(
    problem: tuple[int, int, int, bool, bool, int], damping: float | None
) -> None:
    m, n, count, with_bias, weighed, seed = problem
    weight, offset = layer(m, n, seed)
    bias, q = (offset if with_bias else None), (form(m, seed) if weighed else None)
    inputs = draw(count, n, seed)
    targets = inputs @ weight.T + (0 if bias is None else bias)
    fitted = whitened(weight, bias, gather(inputs), damping=damping, form=q)
    errors, spectrum = fitted.tails(), decompose(weight)
    size = float(errors[0]) + 1e-9
    assert len(errors) == fitted.full + 1 == min(m, n) + 1
    assert errors[-1] <= 1e-12 * size
    mean = inputs.mean(0) if with_bias else torch.zeros(n, dtype=D)
    for rank in range(1, fitted.full + 1):
        error = measured(fitted, rank, inputs, targets, q)
        assert error == pytest.approx(float(errors[rank]), rel=1e-5, abs=1e-11 * size)
        assert float(fitted.tails()[rank]) == float(errors[rank])
        missed = (inputs - mean) @ (weight - spectrum.truncate(rank).product()).T
        plain = float((missed @ q * missed if q is not None else missed**2).sum(1).mean())
        assert error <= plain * (1 + 1e-9) + 1e-11 * size
    if damping == 0.0:
        assert (errors.diff() <= 1e-11 * size).all()


@pytest.mark.parametrize(("m", "n"), [(6, 9), (9, 6)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_without_damping_it_is_the_optimum(m: int, n: int, with_bias: bool) -> None:
    weight, bias = layer(m, n)
    inputs = draw(50, n)
    fitted = whitened(weight, bias if with_bias else None, gather(inputs), damping=0.0)
    x = inputs - inputs.mean(0) if with_bias else inputs
    # Eckart & Young on the outputs themselves: no map of any kind to r dimensions does better
    expected = np.linalg.svd((x @ weight.T).numpy(), compute_uv=False) ** 2 / len(x)
    for rank in range(1, fitted.full):
        least = float(expected[rank:].sum())
        assert float(fitted.tails()[rank]) == pytest.approx(least, rel=1e-6)


def test_a_metric_is_the_optimum_of_weighed_outputs() -> None:
    weight, bias = layer(6, 9)
    inputs, q = draw(50, 9), form(6)
    fitted = whitened(weight, bias, gather(inputs), damping=0.0, form=q)
    x = inputs - inputs.mean(0)
    root = torch.linalg.cholesky(q).T
    expected = np.linalg.svd((x @ weight.T @ root.T).numpy(), compute_uv=False) ** 2 / len(x)
    for rank in range(1, 6):
        least = float(expected[rank:].sum())
        assert float(fitted.tails()[rank]) == pytest.approx(least, rel=1e-6)


def test_full_damping_and_constant_inputs_leave_the_plain_truncation() -> None:
    weight, bias = layer(5, 8)
    plain = decompose(weight).truncate(2).product()
    for fitted in (
        whitened(weight, bias, gather(draw(30, 8)), damping=1.0),
        whitened(weight, bias, gather(torch.ones(30, 8))),
    ):
        factors, _ = fitted.truncate(2)
        torch.testing.assert_close(factors.product(), plain)


def test_few_inputs_generalise() -> None:
    weight, bias = layer(40, 80)
    inputs, held = draw(30, 80), draw(2000, 80)
    targets = held @ weight.T + bias
    few = whitened(weight, bias, gather(inputs))
    bare = whitened(weight, bias, gather(inputs), damping=0.0)
    known = whitened(weight, bias, gather(held), damping=0.0)
    for rank in (5, 10, 20, 30):
        error = measured(few, rank, held, targets, None)
        plain = (held - held.mean(0)) @ (weight - decompose(weight).truncate(rank).product()).T
        assert error < 0.5 * float(plain.square().sum(1).mean())
        assert error < 8 * float(known.tails()[rank])
    assert measured(few, 35, held, targets, None) < 0.9 * measured(bare, 35, held, targets, None)


def test_results_are_float32_for_a_float32_layer() -> None:
    weight, bias = layer(8, 5, dtype=torch.float32)
    inputs = draw(40, 5).float()
    fitted = whitened(weight, bias, gather(inputs))
    factors, offset = fitted.truncate(3)
    assert offset is not None
    assert {factors.u.dtype, factors.v.dtype, offset.dtype} == {torch.float32}
    torch.testing.assert_close(factors.u.T @ factors.u, factors.v.T @ factors.v)
    error = measured(fitted, 3, inputs, inputs.double() @ weight.double().T + bias, None)
    assert error == pytest.approx(float(fitted.tails()[3]), rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(PROBLEMS, st.sampled_from([None, 0.0, 0.3, 1.0]))
def test_regression_errors_are_measured_and_never_above_reproduction(
    problem: tuple[int, int, int, bool, bool, int], damping: float | None
) -> None:
    m, n, count, with_bias, weighed, seed = problem
    weight, offset = layer(m, n, seed)
    bias, q = (offset if with_bias else None), (form(m, seed) if weighed else None)
    inputs = draw(count, n, seed)
    before = inputs + 0.1 * torch.randn(count, n, generator=generator(seed), dtype=D)
    targets = before @ weight.T + (0 if bias is None else bias)
    fitted = regressed(weight, bias, inputs, targets, damping=damping, form=q)
    size = float(fitted.tails()[0]) + 1e-9
    same = whitened(weight, None, gather(inputs), damping=damping, form=q)
    for rank in range(1, fitted.full + 1):
        error = measured(fitted, rank, inputs, targets, q)
        assert error == pytest.approx(float(fitted.tails()[rank]), rel=1e-5, abs=1e-10 * size)
        if not with_bias:
            assert error <= measured(same, rank, inputs, targets, q) * (1 + 1e-9) + 1e-11 * size


def test_regression_without_damping_is_reduced_rank_regression() -> None:
    weight, bias = layer(5, 7)
    inputs = draw(60, 7)
    make = generator(5)
    targets = inputs @ weight.T + torch.randn(60, 5, generator=make, dtype=D)
    fitted = regressed(weight, bias, inputs, targets, damping=0.0)
    x, y = (inputs - inputs.mean(0)).numpy(), (targets - targets.mean(0)).numpy()
    fit = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    lost = np.linalg.svd(fit, compute_uv=False) ** 2
    for rank in range(1, 6):
        least = (((y - fit) ** 2).sum() + lost[rank:].sum()) / 60
        assert float(fitted.tails()[rank]) == pytest.approx(least, rel=1e-6)


def test_regression_on_the_layers_own_outputs_is_the_symmetric_case() -> None:
    weight, bias = layer(5, 7)
    inputs = draw(20, 7)
    own = regressed(weight, bias, inputs, inputs @ weight.T + bias)
    symmetric = whitened(weight, bias, gather(inputs))
    torch.testing.assert_close(own.tails(), symmetric.tails())
    for one, two in zip(own.truncate(3), symmetric.truncate(3), strict=True):
        if isinstance(one, Tensor):
            torch.testing.assert_close(one, two)
        else:
            assert one is not None
            assert two is not None
            torch.testing.assert_close(one.product(), two.product())


def test_bad_input_is_named() -> None:
    weight, bias = layer(3, 4)
    inputs = draw(5, 4)
    moments, targets = gather(inputs), inputs @ weight.T
    with pytest.raises(ValueError, match="no moments of no inputs"):
        whitened(weight, bias, Moments())
    with pytest.raises(ValueError, match="inputs hold NaN"):
        moments.update(torch.full((2, 4), math.nan))
    with pytest.raises(ValueError, match=r"inputs must be a matrix.*got \(4,\)"):
        moments.update(torch.ones(4))
    with pytest.raises(ValueError, match="3 features, but those before had 4"):
        moments.update(torch.ones(2, 3))
    with pytest.raises(ValueError, match="5 features, but the weight takes 4"):
        whitened(weight, bias, gather(torch.ones(2, 5)))
    with pytest.raises(ValueError, match=r"3 entries.*got \(4,\)"):
        whitened(weight, torch.ones(4), moments)
    with pytest.raises(ValueError, match="the bias holds NaN"):
        whitened(weight, bias * math.nan, moments)
    with pytest.raises(ValueError, match=r"\[0, 1\].*got 1.5"):
        whitened(weight, bias, moments, damping=1.5)
    with pytest.raises(ValueError, match=r"\(3, 3\), got \(4, 4\)"):
        whitened(weight, bias, moments, form=torch.eye(4))
    with pytest.raises(ValueError, match="not positive definite"):
        whitened(weight, bias, moments, form=torch.zeros(3, 3))
    with pytest.raises(ValueError, match="floor must be above 0"):
        output_form(moments, 0.0)
    with pytest.raises(ValueError, match="from 1 to 3, got 4"):
        whitened(weight, bias, moments).truncate(4)
    with pytest.raises(ValueError, match="targets hold NaN"):
        regressed(weight, bias, inputs, targets * math.nan)
    with pytest.raises(ValueError, match=r"targets must be \(5, 3\).*got \(4, 3\)"):
        regressed(weight, bias, inputs, targets[:4])
    assert torch.equal(output_form(gather(torch.zeros(2, 3))), torch.eye(3, dtype=D))
