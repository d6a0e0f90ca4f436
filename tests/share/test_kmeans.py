"""boildown.share.kmeans: one-dimensional k-means and the gradient of its centroids."""

import kmeans1d
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import boildown.share.kmeans
from boildown.share.kmeans import (
    centroid_gradient,
    kmeans_1d,
    round_to,
    share_tensor,
    tied_gradient,
)


def exact_inertia(values: Tensor, k: int) -> float:
    wide = values.double().numpy()
    codes, centres = kmeans1d.cluster(wide, k)
    return float(((wide - np.array(centres)[np.array(codes)]) ** 2).sum())


def draw(kind: str, n: int) -> Tensor:
    make = torch.Generator().manual_seed(n)
    values = torch.randn(n, generator=make)
    if kind == "heavy":
        return values * torch.exp(2 * torch.randn(n, generator=make))
    if kind == "repeated":
        return (values * 20).round() / 20
    return values + 100.0 if kind == "far" else values


@pytest.mark.parametrize("kind", ["normal", "heavy", "repeated", "far"])
@pytest.mark.parametrize(("n", "k"), [(50, 3), (700, 16), (2000, 32)])
def test_optimal_is_the_exact_optimum(kind: str, n: int, k: int) -> None:
    values = draw(kind, n)
    assert kmeans_1d(values, k).inertia == pytest.approx(exact_inertia(values, k), rel=1e-4)


@pytest.mark.parametrize("kind", ["normal", "heavy"])
def test_the_histogram_is_within_a_thousandth(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = draw(kind, 20_000)
    monkeypatch.setattr(boildown.share.kmeans, "EXACT_VALUES", 100)
    assert kmeans_1d(values, 32).inertia <= 1.001 * exact_inertia(values, 32)


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=60),
    st.integers(1, 8),
    st.sampled_from(["linear", "density", "random"]),
)
@settings(max_examples=100, deadline=None)
def test_properties(numbers: list[float], k: int, init: str) -> None:
    values = torch.tensor(numbers)
    best, other = kmeans_1d(values, k), kmeans_1d(values, k, init)  # type: ignore[arg-type]
    assert best.inertia <= other.inertia * (1 + 1e-4) + 1e-3
    for book in (best, other):
        assert 1 <= len(book.centroids) <= k
        assert (book.centroids.diff() > 0).all()
        gaps = (values[:, None] - book.centroids[None]).abs()
        chosen = gaps.gather(1, book.codes[:, None])[:, 0]
        assert (chosen <= gaps.min(1).values + 1e-4).all()
    backwards = kmeans_1d(values.flip(0), k)
    assert torch.equal(backwards.centroids, best.centroids)
    assert torch.equal(backwards.codes.flip(0), best.codes)


def test_few_values_are_kept_as_they_are() -> None:
    book = kmeans_1d(torch.tensor([0.3, -1.0, 0.3]), 4)
    assert book.centroids.tolist() == torch.tensor([-1.0, 0.3]).tolist()
    assert (book.codes.tolist(), book.inertia) == ([1, 0, 1], 0.0)


def test_the_gradient_is_that_of_autograd() -> None:
    centroids = torch.randn(5, dtype=torch.float64, requires_grad=True)
    codes = torch.randint(0, 5, (200,))
    weights = centroids[codes]
    weights.retain_grad()
    (weights.sin() * torch.randn(200, dtype=torch.float64)).sum().backward()
    assert weights.grad is not None
    torch.testing.assert_close(centroid_gradient(weights.grad, codes, 5), centroids.grad)


def test_zeros_stay_zero() -> None:
    weight = torch.randn(30, 40) * (torch.rand(30, 40) < 0.2)
    shared = share_tensor(weight, 3)
    assert torch.equal(shared == 0, weight == 0)
    assert len(shared[shared != 0].unique()) <= 8


def test_rounding_leaves_what_does_not_fit() -> None:
    assert round_to(torch.tensor([1 / 3]), torch.float16).item() == float(np.float16(1 / 3))
    assert round_to(torch.tensor([1e6]), torch.float16).item() == 1e6
    assert round_to(torch.tensor([3]), torch.float16).dtype == torch.int64


@pytest.mark.parametrize(
    ("values", "k", "init", "says"),
    [
        (torch.zeros(2, 2), 2, "optimal", "vector of floats"),
        (torch.zeros(0), 2, "optimal", "non-empty"),
        (torch.tensor([1, 2]), 2, "optimal", "floats"),
        (torch.tensor([float("nan")]), 2, "optimal", "NaN"),
        (torch.ones(3), 0, "optimal", "at least 1, got 0"),
        (torch.ones(3), 2, "best", "'best'"),
    ],
)
def test_bad_input_is_named(values: Tensor, k: int, init: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        kmeans_1d(values, k, init)  # type: ignore[arg-type]


@given(st.integers(1, 5), st.integers(0, 1000), st.sampled_from(["float32", "bfloat16"]))
@settings(max_examples=50, deadline=None)
def test_the_tied_gradient_is_the_projection(k: int, seed: int, dtype: str) -> None:
    torch.manual_seed(seed)
    codes = torch.cat([torch.arange(k), torch.randint(0, k, (20,))])
    gradient = torch.randn(20 + k).to(getattr(torch, dtype))
    sizes = torch.bincount(codes, minlength=k)
    tied = tied_gradient(gradient, codes, sizes)
    basis = torch.nn.functional.one_hot(codes, k).double()
    wanted = basis @ torch.linalg.lstsq(basis, gradient.double()[:, None]).solution
    atol = 1e-5 if dtype == "float32" else 2e-2
    assert torch.allclose(tied.double(), wanted[:, 0], atol=atol)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_large_clusters_are_added_up_in_float32(dtype: torch.dtype) -> None:
    gradient = torch.full((1_000_000,), 1e-3, dtype=dtype)
    codes = torch.arange(len(gradient)) % 4
    wanted = torch.zeros(4, dtype=torch.double).index_add_(0, codes, gradient.double())
    assert torch.allclose(centroid_gradient(gradient, codes, 4).double(), wanted, rtol=0.01)
