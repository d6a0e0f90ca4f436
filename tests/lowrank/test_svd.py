"""boildown.lowrank.svd: the best factors, against numpy, and errors that are those measured."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import boildown.lowrank.svd
from boildown.lowrank.svd import (
    Factors,
    balanced,
    check_rank,
    decompose,
    rank_for_energy,
    svd_flops,
    tails,
)

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**6))


def draw(m: int, n: int, seed: int = 0, rank: int | None = None) -> Tensor:
    """A float32 matrix with falling singular values, of a rank."""
    make = torch.Generator().manual_seed(seed)
    k = min(m, n) if rank is None else rank
    left, right = (torch.randn(size, k, generator=make) for size in (m, n))
    return (left * 2.0 ** -torch.arange(k).float()) @ right.T


@pytest.fixture(params=["lapack", "gram"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to a decomposition, at small sizes."""
    if request.param == "gram":
        monkeypatch.setattr(boildown.lowrank.svd, "GRAM_FROM", 0)
    return str(request.param)


def check_every_rank(weight: Tensor) -> None:
    spectrum = decompose(weight)
    expected = np.linalg.svd(weight.double().numpy(), compute_uv=False)
    size = float(weight.double().square().sum())
    assert spectrum.full == min(weight.shape)
    assert np.allclose(spectrum.s.numpy(), expected, rtol=1e-6, atol=3e-8 * expected[0])
    for rank in range(1, spectrum.full + 1):
        factors = spectrum.truncate(rank)
        assert (factors.rank, factors.u.dtype) == (rank, weight.dtype)
        assert torch.isfinite(factors.u).all()
        assert torch.isfinite(factors.v).all()
        error = float((weight.double() - factors.u.double() @ factors.v.double().T).square().sum())
        reported = float(spectrum.tails()[rank])
        assert error == pytest.approx(reported, rel=1e-5, abs=1e-12 * size)
        assert error == pytest.approx(
            float((expected[rank:] ** 2).sum()), rel=1e-5, abs=1e-12 * size
        )


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (12, 12), (9, 20), (20, 9)])
def test_every_rank_is_the_best(way: str, shape: tuple[int, int]) -> None:
    check_every_rank(draw(*shape))


@pytest.mark.parametrize("shape", [(12, 12), (9, 20), (20, 9)])
def test_a_matrix_of_low_rank(way: str, shape: tuple[int, int]) -> None:
    check_every_rank(draw(*shape, rank=3))
    check_every_rank(torch.ones(shape))
    exact = torch.zeros(shape)
    exact[0, 0], exact[1, 1] = 3.0, 1e-6
    check_every_rank(exact)


def test_zero_has_factors_of_zero(way: str) -> None:
    spectrum = decompose(torch.zeros(4, 6))
    assert spectrum.tails().tolist() == [0.0] * 5
    assert torch.equal(spectrum.truncate(4).product(), torch.zeros(4, 6))


@settings(max_examples=25, deadline=None)
@given(SIZES)
def test_the_vectors_are_orthonormal_and_the_factors_balanced(sizes: tuple[int, int, int]) -> None:
    weight = draw(*sizes).double()
    spectrum = decompose(weight)
    eye = torch.eye(spectrum.full, dtype=torch.float64)
    for vectors in (spectrum.u, spectrum.v):
        torch.testing.assert_close(vectors.T @ vectors, eye)
    u, v = spectrum.truncate(spectrum.full)
    torch.testing.assert_close(u.T @ u, torch.diag(spectrum.s))
    torch.testing.assert_close(v.T @ v, torch.diag(spectrum.s))


def test_a_large_matrix_goes_by_its_gram_matrix() -> None:
    weight = draw(520, 530)
    spectrum = decompose(weight)
    assert float(spectrum.s[0]) == pytest.approx(
        float(torch.linalg.matrix_norm(weight, 2)), rel=1e-5
    )
    eye = torch.eye(10, dtype=torch.float64)
    torch.testing.assert_close(spectrum.v[:, :10].T @ spectrum.v[:, :10], eye)
    error = float((weight.double() - spectrum.truncate(5).product().double()).square().sum())
    assert error == pytest.approx(float(spectrum.tails()[5]), rel=1e-5)


def test_balanced_keeps_the_product() -> None:
    make = torch.Generator().manual_seed(0)
    u, v = (torch.randn(size, 4, generator=make, dtype=torch.float64) for size in (7, 9))
    v[:, 3] = v[:, 0]
    u[:, 3] = u[:, 0]
    factors = balanced(u, v)
    torch.testing.assert_close(factors.product(), u @ v.T)
    s = torch.linalg.svdvals(u @ v.T)[:4]
    torch.testing.assert_close(factors.u.T @ factors.u, torch.diag(s))
    torch.testing.assert_close(factors.v.T @ factors.v, torch.diag(s))


def test_half_precision_factors() -> None:
    weight = draw(6, 8).to(torch.bfloat16)
    factors = decompose(weight).truncate(6)
    assert factors.u.dtype == torch.bfloat16
    torch.testing.assert_close(factors.product(), weight, rtol=2e-2, atol=2e-2)


def test_small_functions() -> None:
    assert tails(torch.tensor([3.0, 2.0])).tolist() == [13.0, 4.0, 0.0]
    assert rank_for_energy(torch.tensor([3.0, 2.0, 0.0]), 1.0) == 2
    assert rank_for_energy(torch.zeros(3), 1.0) == 1
    assert svd_flops(10, 20) == svd_flops(20, 10) == 6 * 2000 + 20 * 1000
    assert Factors(torch.ones(3, 2), torch.ones(4, 2)).rank == 2


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"must be a matrix of floats, got \(3,\)"):
        decompose(torch.ones(3))
    with pytest.raises(ValueError, match="int64"):
        decompose(torch.ones(3, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"\(0, 3\)"):
        decompose(torch.ones(0, 3))
    with pytest.raises(ValueError, match="NaN or infinity"):
        decompose(torch.full((2, 2), math.inf))
    for rank in (0, 3, True, 1.0):
        with pytest.raises(ValueError, match=f"from 1 to 2, got {rank}"):
            decompose(torch.ones(2, 2)).truncate(rank)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fc1's rank"):
        check_rank(4, 3, "fc1's rank")
    with pytest.raises(ValueError, match=r"\(0, 1\], got 0"):
        rank_for_energy(torch.ones(2), 0.0)


@given(st.floats(0.01, 1.0), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_the_lowest_rank_that_keeps_an_energy(energy: float, seed: int) -> None:
    spectrum = decompose(draw(7, 5, seed=seed))
    rank = rank_for_energy(spectrum.s, energy)
    kept = 1.0 - spectrum.tails() / spectrum.tails()[0]
    assert float(kept[rank]) >= energy - 1e-9
    assert rank == 1 or float(kept[rank - 1]) < energy + 1e-9
