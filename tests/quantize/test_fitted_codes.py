"""boildown.quantize.reconstruct: weights on grids whose outputs change least."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from boildown.quantize.grid import Grid, blocks_of, spread
from boildown.quantize.observers import fit_grid, ternary_grid
from boildown.quantize.reconstruct import METHODS, Method, descend, nearest, row_errors

SEEDS = st.integers(0, 2**16)
FITTING = [METHODS["gptq"], METHODS["adaround"]]


def layer(seed: int, m: int, n: int) -> tuple[Tensor, Tensor]:
    """A weight, and the second moment of inputs that go together."""
    g = torch.Generator().manual_seed(seed)
    mix = torch.eye(n, dtype=torch.float64) + torch.randn(n, n, generator=g, dtype=torch.float64)
    inputs = torch.randn(4 * n + 20, n, generator=g, dtype=torch.float64) @ mix
    weight = torch.randn(m, n, generator=g, dtype=torch.float64)
    return weight, inputs.mT @ inputs / len(inputs)


def grid_of(weight: Tensor, bits: int, granularity: int | str = "channel") -> Grid:
    grid = fit_grid(blocks_of(weight, granularity), bits)  # type: ignore[arg-type]
    return spread(grid, weight.shape)


def everything(weight: Tensor) -> Tensor:
    return torch.ones_like(weight, dtype=torch.bool)


@pytest.mark.parametrize("method", FITTING)
@settings(deadline=None, max_examples=20)
@given(SEEDS, st.integers(2, 5), st.sampled_from(["tensor", "channel", 6]))
def test_no_row_is_worse_than_its_nearest_values(
    method: Method, seed: int, bits: int, granularity: int | str
) -> None:
    weight, second = layer(seed, 5, 12)
    grid = grid_of(weight, bits, granularity)
    codes = method(weight, second, grid, everything(weight)).codes
    plain = nearest(weight, second, grid, everything(weight)).codes
    found, most = (row_errors(weight, grid.values(each), second) for each in (codes, plain))
    assert (found <= most * (1 + 1e-9)).all()
    assert torch.equal(codes, codes.round())
    assert codes.min() >= grid.low
    assert codes.max() <= grid.high


@pytest.mark.parametrize("method", FITTING)
@pytest.mark.parametrize("n", [3, 6])
def test_close_to_the_best_of_all_ways_to_round_up_or_down(method: Method, n: int) -> None:
    ways = torch.tensor(list(product([0.0, 1.0], repeat=n)), dtype=torch.float64)
    found, plain, best = 0.0, 0.0, 0.0
    for seed in range(10):
        weight, second = layer(seed, 20, n)
        grid = grid_of(weight, 3)
        nearest_codes = grid.codes(weight)
        down = nearest_codes - (grid.values(nearest_codes) > weight).double()
        errors = [
            row_errors(weight, grid.values((down + way).clamp(grid.low, grid.high)), second)
            for way in ways
        ]
        codes = method(weight, second, grid, everything(weight)).codes
        best += float(torch.stack(errors).amin(0).sum())
        found += float(row_errors(weight, grid.values(codes), second).sum())
        plain += float(row_errors(weight, grid.nearest(weight), second).sum())
    assert found - best < 0.25 * (plain - best)


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_no_single_weight_would_move_after_a_descent(seed: int) -> None:
    weight, second = layer(seed, 3, 6)
    grid = grid_of(weight, 3)
    start = nearest(weight, second, grid, everything(weight)).codes
    codes = descend(weight, second, grid, everything(weight), start).codes
    least = row_errors(weight, grid.values(codes), second)
    for j, step in product(range(6), (-1.0, 1.0)):
        moved = codes.clone()
        moved[:, j] = (moved[:, j] + step).clamp(grid.low, grid.high)
        assert (row_errors(weight, grid.values(moved), second) >= least * (1 - 1e-9)).all()


@pytest.mark.parametrize("method", list(METHODS.values()))
@pytest.mark.parametrize("bits", [2, 4, "ternary"])
def test_what_was_pruned_stays_zero(method: Method, bits: int | str) -> None:
    weight, second = layer(0, 6, 20)
    weight[:, ::3] = 0.0
    weight[4] = 0.0
    grid = ternary_grid(weight) if bits == "ternary" else fit_grid(weight, int(bits))
    assert grid.scale[4] == 1.0
    wide = spread(grid, weight.shape)
    wanted = weight + 0.1  # as drift would have it
    codes = method(wanted, second, wide, weight != 0.0).codes
    values = wide.values(codes)
    assert (values[weight == 0.0] == 0.0).all()
    assert (values[0] != 0.0).any()


@pytest.mark.parametrize("method", FITTING)
def test_inputs_that_do_not_go_together_leave_the_nearest_values(method: Method) -> None:
    weight, _ = layer(1, 4, 10)
    second = torch.diag(torch.rand(10, dtype=torch.float64) + 0.1)
    grid = grid_of(weight, 4)
    codes = method(weight, second, grid, everything(weight)).codes
    assert torch.equal(codes, grid.codes(weight))


@pytest.mark.parametrize("method", FITTING)
def test_a_weight_on_its_grid_stays(method: Method) -> None:
    weight, second = layer(2, 4, 200)
    grid = grid_of(weight, 4)
    weight = grid.nearest(weight)
    assert torch.equal(grid.values(method(weight, second, grid, everything(weight)).codes), weight)


@pytest.mark.parametrize("granularity", ["tensor", "channel", 4])
def test_a_grid_spread_over_a_matrix_is_that_of_its_blocks(granularity: int | str) -> None:
    weight, _ = layer(3, 6, 8)
    blocks = blocks_of(weight, granularity)  # type: ignore[arg-type]
    grid = fit_grid(blocks, 3, symmetric=False)
    wide = spread(grid, weight.shape)
    assert torch.equal(wide.nearest(weight), grid.nearest(blocks).view_as(weight))


def test_more_inputs_than_columns_at_once() -> None:
    weight, second = layer(4, 3, 300)
    grid = grid_of(weight, 3)
    keep = everything(weight)
    errors = []
    for method in METHODS.values():
        values = grid.values(method(weight, second, grid, keep).codes)
        errors.append(float(row_errors(weight, values, second).sum()))
    assert max(errors[1:]) < 0.5 * errors[0]
