"""boildown.prune.forms: against matrices that are written out, a row at a time."""

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from boildown.prune import forms
from boildown.prune.forms import Form, PerRow, Shared, form_of, mixed
from boildown.prune.layers import chooser
from boildown.prune.patterns import NofM
from boildown.prune.reconstruct import METHODS, Method, alps, obs, on_support, refit, sparsegpt


def draw(m: int, n: int, k: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """A weight, the second moment of its inputs, and gradients that go with neither."""
    g = torch.Generator().manual_seed(seed)
    rows = torch.randn(4 * n, n, generator=g, dtype=torch.float64)
    rows = rows @ torch.randn(n, n, generator=g, dtype=torch.float64)
    gradients = torch.randn(k, m, n, generator=g, dtype=torch.float64)
    gradients *= torch.logspace(-1, 1, m, dtype=torch.float64)[:, None]
    weight = torch.randn(m, n, generator=g, dtype=torch.float64)
    return weight, rows.mT @ rows / len(rows), gradients


def written_out(form: Form, m: int) -> Tensor:
    """(m, n, n)."""
    whole = form.second.expand(m, -1, -1)
    if isinstance(form, PerRow):
        whole = whole + form.gradients.mT @ form.gradients
    return whole


def cost(form: Form, change: Tensor) -> float:
    return float(torch.einsum("mi,mij,mj->", change, written_out(form, len(change)), change))


def least(matrix: Tensor, row: Tensor, kept: list[int]) -> Tensor:
    """The row with this support that the form of a matrix puts nearest."""
    found = torch.zeros_like(row)
    found[kept] = torch.linalg.solve(matrix[kept][:, kept], (matrix @ row)[kept])
    return found


@settings(max_examples=30, deadline=None)
@given(
    m=st.integers(1, 5), n=st.integers(1, 12), k=st.integers(1, 6), columns=st.integers(1, 13),
    together=st.integers(1, 200), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_a_form_is_its_matrices(
    m: int, n: int, k: int, columns: int, together: int, seed: int
) -> None:
    weight, second, gradients = draw(m, n, k, seed)
    second.diagonal().add_(0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forms, "TOGETHER", together)  # so that rows come in several parts
        form = PerRow(second, gradients.transpose(0, 1).contiguous())
        whole = written_out(form, m)
        near = {"rtol": 1e-7, "atol": 1e-8}
        torch.testing.assert_close(form.times(weight), (weight[:, None] @ whole)[:, 0], **near)
        torch.testing.assert_close(form.diagonal(), whole.diagonal(dim1=1, dim2=2), **near)
        inverse = torch.linalg.inv(whole)
        torch.testing.assert_close(
            form.inverse_diagonal(), inverse.diagonal(dim1=1, dim2=2), **near
        )
        scale = torch.linspace(0.5, 2.0, n, dtype=torch.float64)
        torch.testing.assert_close(
            written_out(form.scaled(scale), m), whole / scale / scale[:, None], **near
        )
        shifted = torch.linalg.inv(whole + 0.3 * torch.eye(n, dtype=torch.float64))
        solved = form.shifted_inverse()(0.3)(weight)
        torch.testing.assert_close(solved, (weight[:, None] @ shifted)[:, 0], **near)
        upper = torch.linalg.cholesky(inverse, upper=True)
        elimination = form.elimination(columns)
        torch.testing.assert_close(
            elimination.sizes, upper.diagonal(dim1=1, dim2=2), rtol=1e-6, atol=1e-8
        )
        for start in range(0, n, columns):
            end = min(start + columns, n)
            corner, spread = elimination.block(start, end)
            near = {"rtol": 1e-5, "atol": 1e-6}
            torch.testing.assert_close(corner, upper[:, start:end, start:end], **near)
            if end < n:
                errors = weight[:, start:end]
                wanted = (errors[:, None] @ upper[:, start:end, end:])[:, 0]
                torch.testing.assert_close(spread(errors), wanted, **near)


@pytest.mark.parametrize("method", METHODS.values())
def test_rows_of_one_form_are_pruned_as_by_that_form(method: Method) -> None:
    weight, second, _ = draw(4, 10, 1)
    g = torch.randn(3, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    alike, shared = PerRow(second, g.expand(4, 3, 10).contiguous()), second + g.mT @ g
    one, other = method(weight, alike, chooser(0.5)), method(weight, shared, chooser(0.5))
    assert torch.equal(one.mask, other.mask)
    torch.testing.assert_close(one.weight, other.weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", METHODS.values())
@pytest.mark.parametrize("mix", [0.3, 1.0])
def test_the_mixed_method_has_the_lower_mixed_objective(method: Method, mix: float) -> None:
    lower = []
    for seed in range(10):
        weight, second, gradients = draw(6, 12, 8, seed)
        form = mixed(second, gradients, mix)
        plain, both = (method(weight, f, chooser(0.5)).weight for f in (second, form))
        assert int((both == 0).sum()) == 36
        lower.append(cost(form, weight - both) < cost(form, weight - plain))
        exact = method(weight, form, chooser(0.0)).weight
        torch.testing.assert_close(exact, weight, rtol=1e-6, atol=1e-8)
    assert sum(lower) >= 8  # the supports are found step by step


@pytest.mark.parametrize(("method", "within"), [(alps, 1.5), (sparsegpt, 4.0), (obs, 4.0)])
def test_mixed_methods_are_near_the_best_of_all_supports(method: Method, within: float) -> None:
    found = []
    for seed in range(10):
        weight, second, gradients = draw(1, 8, 3, seed)
        form = mixed(second, gradients, 0.5)
        matrix = written_out(form, 1)[0]
        best = min(
            cost(form, weight - least(matrix, weight[0], list(kept))[None])
            for kept in combinations(range(8), 4)
        )
        found.append(cost(form, weight - method(weight, form, chooser(0.5)).weight) / best)
    assert min(found) >= 1.0 - 1e-6
    assert sorted(found)[5] < within


def test_the_survivors_move_to_the_least_of_the_quadratic() -> None:
    """WoodFisher's joint step: -w_C [F^-1]_CC^-1 [F^-1]_C, C what is cut of a row."""
    weight, second, gradients = draw(5, 9, 12)
    for form in (form_of(second), mixed(second, gradients, 1.0)):
        found = obs(weight, form, chooser(0.6))
        for row, mask, matrix, made in zip(
            weight, found.mask, written_out(form, 5), found.weight, strict=True
        ):
            inverse, cut = torch.linalg.inv(matrix), ~mask
            step = row[cut] @ torch.linalg.inv(inverse[cut][:, cut]) @ inverse[cut]
            torch.testing.assert_close(made, row - step, rtol=1e-5, atol=1e-6)
            wanted = least(matrix, row, mask.nonzero().flatten().tolist())
            torch.testing.assert_close(made, wanted, rtol=1e-5, atol=1e-6)


def test_one_weight_goes_where_the_surgeon_says() -> None:
    weight, second, gradients = draw(1, 7, 4)
    form = mixed(second, gradients, 1.0)
    matrix = written_out(form, 1)[0]
    inverse = torch.linalg.inv(matrix)
    price = weight[0].square() / (2.0 * inverse.diagonal())
    q = int(price.argmin())
    found = obs(weight, form, chooser(1 / 7)).weight
    step = weight[0, q] / inverse[q, q] * inverse[q]
    torch.testing.assert_close(found[0], weight[0] - step, rtol=1e-5, atol=1e-7)
    assert cost(form, weight - found) == pytest.approx(2.0 * float(price[q]), rel=1e-6)


def test_refit_keeps_what_was_chosen() -> None:
    weight, second, gradients = draw(4, 8, 3)
    mask = chooser(0.5, NofM(2, 4))(torch.rand(4, 8))
    for form in (form_of(second), mixed(second, gradients, 0.5)):
        found = refit(weight, form, lambda scores: mask)
        assert torch.equal(found.weight != 0, mask)
        assert torch.equal(found.weight, on_support(weight, form, mask).weight)


def test_the_mix_is_of_equal_parts_whatever_their_units() -> None:
    _, second, gradients = draw(6, 10, 5)
    for unit in (1e-6, 1.0, 1e6):
        form = mixed(second, unit * gradients, 0.25)
        assert isinstance(form, PerRow)
        traces = written_out(form, 6).diagonal(dim1=1, dim2=2).sum(1)
        whole = float(second.trace())
        damping = 0.25 * forms.DAMPING * whole
        assert float(traces.mean()) == pytest.approx(whole + damping, rel=1e-6)
    assert isinstance(mixed(second, gradients, 0.0), Shared)
    silent = mixed(second, 0 * gradients, 0.5)  # a layer that the loss does not notice
    assert torch.equal(silent.second, second)


def test_what_does_not_fit_is_named() -> None:
    _, second, gradients = draw(3, 4, 2)
    for bad in (-0.1, 1.5, True, "half", float("nan")):
        with pytest.raises(ValueError, match=r"mix must be a number in \[0, 1\].*got"):
            mixed(second, gradients, bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"gradients must be \(samples, outputs, 4\), got \(2, 3"):
        mixed(second, gradients[..., :3], 0.5)
    with pytest.raises(ValueError, match="gradients of the loss hold NaN"):
        mixed(second, gradients / 0.0, 0.5)
