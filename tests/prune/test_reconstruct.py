"""boildown.prune.reconstruct: against the normal equations of single rows, and each other."""

from itertools import combinations

import pytest
import torch
from torch import Tensor

from boildown.prune import reconstruct
from boildown.prune.forms import Shared
from boildown.prune.layers import chooser
from boildown.prune.patterns import Blocks, NofM
from boildown.prune.reconstruct import Method, alps, method_named, on_support, sparsegpt


def correlated(n: int, rows: int = 200) -> Tensor:
    """The second moment of inputs that go together, some larger than others."""
    x = torch.randn(rows, n, dtype=torch.float64) @ torch.randn(n, n, dtype=torch.float64)
    x *= torch.logspace(-1, 1, n, dtype=torch.float64)
    return x.mT @ x / rows


def error(weight: Tensor, second: Tensor, found: Tensor) -> float:
    return float((((weight - found) @ second) * (weight - found)).sum())


def best(row: Tensor, second: Tensor, kept: list[int]) -> Tensor:
    found = torch.zeros_like(row)
    found[kept] = torch.linalg.solve(second[kept][:, kept], (second @ row)[kept])
    return found


def test_on_a_support_the_weights_are_the_regression() -> None:
    torch.manual_seed(0)
    second, weight = correlated(12), torch.randn(5, 12, dtype=torch.float64)
    mask = torch.rand(5, 12) < 0.5
    mask[0] = False
    found = on_support(weight, second, mask).weight
    for row, w, each in zip(mask, weight, found, strict=True):
        wanted = best(w, second, row.nonzero().flatten().tolist())
        assert torch.allclose(each, wanted, atol=1e-5)


def test_sparsegpt_makes_the_surgeons_step_for_each_column() -> None:
    torch.manual_seed(0)
    second, weight = correlated(9), torch.randn(4, 9, dtype=torch.float64)
    mask = torch.rand(4, 9) < 0.5
    found = sparsegpt(weight, second, lambda _: mask, columns=4).weight
    for row, w, each in zip(mask, weight, found, strict=True):
        now = w.clone()
        for j in range(9):  # the columns passed are settled: only those from j on may move
            if not row[j]:
                inverse = torch.linalg.inv(second[j:, j:])
                now[j:] -= now[j] / inverse[0, 0] * inverse[:, 0]
                now[j] = 0.0
        assert torch.allclose(each, now, atol=1e-8)


def test_sparsegpt_cuts_one_weight_where_it_costs_least() -> None:
    torch.manual_seed(0)
    second, weight = correlated(6), torch.randn(1, 6, dtype=torch.float64)
    inverse = torch.linalg.inv(second)
    first = weight[0].square() / inverse.diagonal()
    assert error(weight, second, best(weight[0], second, [1, 2, 3, 4, 5])[None]) == pytest.approx(
        float(first[0]), rel=1e-8
    )
    for columns in (1, 2, 6, 128):
        found = sparsegpt(weight, second, chooser(1 / 6), columns=columns).weight
        assert int((found == 0).sum()) == 1


def test_alps_is_near_the_best_of_all_supports() -> None:
    torch.manual_seed(0)
    within = []
    for _ in range(10):
        second, weight = correlated(8), torch.randn(1, 8, dtype=torch.float64)
        found = alps(weight, second, chooser(0.5)).weight
        least = min(
            error(weight, second, best(weight[0], second, list(kept))[None])
            for kept in combinations(range(8), 4)
        )
        assert int((found != 0).sum()) == 4
        within.append(error(weight, second, found) / least)
    assert min(within) == pytest.approx(1.0, abs=1e-6)
    assert sorted(within)[5] < 1.5


@pytest.mark.parametrize("sparsity", [0.5, 0.8, 0.9])
def test_alps_before_sparsegpt_before_the_scores_alone(sparsity: float) -> None:
    torch.manual_seed(0)
    second, weight = correlated(48), torch.randn(32, 48, dtype=torch.float64)
    second.diagonal().add_(0.01 * second.diagonal().mean())
    choose = chooser(sparsity)
    by = {
        "magnitude": weight * choose(weight.abs()),
        "wanda": weight * choose(weight.abs() * second.diagonal().sqrt()),
        "sparsegpt": sparsegpt(weight, second, choose, columns=16).weight,
        "alps": alps(weight, second, choose).weight,
    }
    zeros = round(sparsity * weight.numel())
    assert [int((w == 0).sum()) for w in by.values()] == [zeros] * 4
    errors = [error(weight, second, found) for found in by.values()]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("method", [sparsegpt, alps])
@pytest.mark.parametrize("pattern", [NofM(2, 4), NofM(1, 6), Blocks(2, 3), Blocks(1, 8)])
def test_patterns_and_what_was_cut_before_hold(method: Method, pattern: NofM | Blocks) -> None:
    torch.manual_seed(0)
    second, weight = correlated(24), torch.randn(6, 24, dtype=torch.float64)
    alive = chooser(max(0.25, pattern.least / 2), pattern)(torch.rand(6, 24))
    sparsity = pattern.least or 0.5
    found = method(weight * alive, second, chooser(sparsity, pattern, alive)).weight
    mask = found != 0
    assert int((~mask).sum()) == round(sparsity * 144)
    assert not (mask & ~alive).any()
    if isinstance(pattern, NofM):
        assert (mask.view(-1, pattern.of).sum(1) == pattern.kept).all()
    else:
        means = mask.double().view(6 // pattern.rows, pattern.rows, -1, pattern.columns)
        assert set(means.mean((1, 3)).flatten().tolist()) == {0.0, 1.0}


def test_no_method_is_refused_by_name() -> None:
    with pytest.raises(
        ValueError, match=r"prune\.reconstruct must be sparsegpt, alps, obs, refit or"
    ):
        method_named("gpt", "prune.reconstruct")  # type: ignore[arg-type]


def test_rows_one_by_one_and_in_step_end_at_the_same_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    second, weight = correlated(12), torch.randn(6, 12, dtype=torch.float64)
    mask = torch.rand(6, 12) < torch.linspace(0, 1.2, 6)[:, None]  # from none to all of a row
    exact = on_support(weight, second, mask)
    monkeypatch.setattr(reconstruct, "TOGETHER", 150)
    parts = on_support(weight, second, mask)
    assert torch.allclose(exact.weight, parts.weight, atol=1e-12)
    steps = reconstruct._by_gradients(weight, Shared(second), mask, weight)
    assert torch.allclose(exact.weight, steps.weight, atol=1e-5)
    assert torch.equal(exact.mask, steps.mask)
