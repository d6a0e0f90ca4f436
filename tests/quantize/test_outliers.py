"""boildown.quantize.outliers: which columns keep 16 bits, and the solution with them apart."""

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from boildown.quantize.grid import Grid, spread
from boildown.quantize.observers import fit_grid
from boildown.quantize.outliers import column_costs, dearest, sixteen_bits, solve_apart
from boildown.quantize.reconstruct import nearest, row_errors
from boildown.quantize.split_layer import parts_of

ROWS, INPUTS = 6, 12


def case(seed: int, outlier: float) -> tuple[Tensor, Tensor]:
    """A weight with a large column and the second moment of correlated inputs."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(ROWS, INPUTS, generator=generator, dtype=torch.float64)
    weight[:, 4] *= outlier
    x = torch.randn(40, INPUTS, generator=generator, dtype=torch.float64)
    x = x @ torch.randn(INPUTS, INPUTS, generator=generator, dtype=torch.float64)
    return weight, x.mT @ x / len(x)


def grid_of(blocks: Tensor, bits: int) -> Grid:
    return spread(fit_grid(blocks.contiguous(), bits), blocks.shape)


def codes_of(exact: Tensor, wanted: Tensor, second: Tensor, grid: Grid) -> Tensor:
    return nearest(exact, second, grid, exact != 0.0).codes


def of_rest(grid: Grid, rest: Tensor) -> Grid:
    return Grid(grid.scale[:, rest], grid.zero[:, rest], grid.low, grid.high)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    outlier=st.sampled_from([1.0, 10.0, 100.0]),
    bits=st.sampled_from([2, 3, 4]),
    columns=st.sets(st.integers(0, INPUTS - 1), min_size=1, max_size=INPUTS - 1),
)
def test_no_worse_than_all_on_the_grid(
    seed: int, outlier: float, bits: int, columns: set[int]
) -> None:
    weight, second = case(seed, outlier)
    wanted = weight + 0.1 * case(seed + 1, 1.0)[0]
    whole = grid_of(weight, bits)
    plain = whole.values(codes_of(weight, wanted, second, whole))
    before = row_errors(wanted, plain, second).sum()
    parts = parts_of(sorted(columns), INPUTS)
    grids = [grid_of(weight[:, parts[0]], bits), of_rest(whole, parts[0])]
    found = solve_apart(codes_of, weight, wanted, second, grids, parts)
    rounding = 1e-5 * float((weight @ second * weight).sum())  # of the columns to 16 bits
    assert row_errors(wanted, found, second).sum() <= before + rounding
    assert torch.equal(found[:, parts[1]], sixteen_bits(found[:, parts[1]]))


def test_the_others_make_up_by_least_squares() -> None:
    weight, second = case(3, 10.0)
    parts = parts_of([1, 4, 9], INPUTS)
    grids = [grid_of(weight[:, parts[0]], 2)]
    found = solve_apart(codes_of, weight, weight, second, grids, parts)
    root = torch.linalg.cholesky(second).mT  # ||R (w - q)||^2 is what is lost
    lost = (weight - found)[:, parts[0]] @ root[:, parts[0]].mT
    wanted = torch.linalg.lstsq(root[:, parts[1]], lost.mT).solution.mT + weight[:, parts[1]]
    torch.testing.assert_close(found[:, parts[1]], wanted, rtol=1e-3, atol=1e-3)


def test_pruned_weights_stay_zero() -> None:
    weight, second = case(0, 10.0)
    weight[torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) < 0.5] = 0.0
    parts = parts_of([0, 4], INPUTS)
    grids = [grid_of(weight[:, parts[0]], 3)]
    found = solve_apart(codes_of, weight, weight, second, grids, parts)
    assert (found[weight == 0.0] == 0.0).all()


def on_grid(weight: Tensor) -> Tensor:
    return grid_of(weight, 3).nearest(weight)


def test_the_costs_of_small_columns_are_those_of_their_rounding() -> None:
    weight, second = case(1, 100.0)
    values = on_grid(weight)
    costs = column_costs(weight, on_grid, second)
    power = row_errors(weight, torch.zeros_like(weight), second).sum()
    for j in set(range(INPUTS)) - {4}:
        one = weight.clone()
        one[:, j] = values[:, j]
        torch.testing.assert_close(costs[j], row_errors(weight, one, second).sum() / power)
    assert not column_costs(weight * 0.0, on_grid, second).any()


@pytest.mark.parametrize("seed", range(5))
def test_the_column_that_makes_the_grid_wide_costs_what_it_keeps_from_the_others(seed: int) -> None:
    weight, second = case(seed, 100.0)
    costs = column_costs(weight, on_grid, second)
    without = weight.clone()
    without[:, 4] = 0.0
    inputs = second.diagonal()
    before, after = (((w - on_grid(w)).square() * inputs).sum() for w in (weight, without))
    power = row_errors(weight, torch.zeros_like(weight), second).sum()
    torch.testing.assert_close(costs[4], (before - after) / power)
    assert costs.argmax() == 4


def test_the_dearest_for_their_bytes_within_the_budget() -> None:
    costs = {"a": torch.tensor([0.1, 5.0, 0.0, 3.0]), "b": torch.tensor([8.0, 1.0])}
    found = dearest(costs, {"a": 2, "b": 4}, 6 / 16)
    assert found == {"a": [1], "b": [0]}
    best = max(
        sum(float(costs[n][j]) for n, j in some)
        for size in range(7)
        for some in combinations([(n, j) for n, c in costs.items() for j in range(len(c))], size)
        if sum({"a": 2, "b": 4}[n] for n, _ in some) <= 6
    )
    assert sum(float(costs[n][j]) for n, own in found.items() for j in own) == best
    assert dearest(costs, {"a": 2, "b": 4}, 0.49) == {"a": [1], "b": [0]}
    assert dearest(costs, {"a": 2, "b": 4}, 0.1) == {}


@pytest.mark.parametrize("size", [1.0, 1e-7, 1e6])
def test_sixteen_bits_of_any_size(size: float) -> None:
    values = torch.linspace(-1.0, 1.0, 101) * size
    found = sixteen_bits(values)
    assert (found - values).abs().max() <= size * 2.0**-8
    kind = torch.float16 if size == 1.0 else torch.bfloat16
    assert torch.equal(found, found.to(kind).float())
