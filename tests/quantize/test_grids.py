import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from boildown.quantize.activations import InputGrid
from boildown.quantize.grid import blocks_of, limits, misfit
from boildown.quantize.observers import OBSERVERS, Observer, fit_grid
from boildown.quantize.rounding import Ternary, Uniform

SEEDS = st.integers(0, 2**16)
BITS = st.integers(2, 8)


def normal(seed: int, rows: int = 3, n: int = 40) -> Tensor:
    return torch.randn(rows, n, generator=torch.Generator().manual_seed(seed))


@given(SEEDS, BITS, st.booleans(), st.sampled_from(OBSERVERS))
def test_a_grid_has_no_more_values_than_its_bits_and_keeps_them(
    seed: int, bits: int, symmetric: bool, observer: Observer
) -> None:
    blocks = normal(seed)
    grid = fit_grid(blocks, bits, symmetric=symmetric, observer=observer)
    values = grid.nearest(blocks)
    assert all(len(row.unique()) <= 2**bits for row in values)
    assert torch.equal(grid.nearest(values), values)
    assert grid.codes(blocks).min() >= limits(bits)[0]
    assert grid.codes(blocks).max() <= limits(bits)[1]
    assert (grid.scale > 0).all()


@given(SEEDS, BITS, st.booleans())
def test_minmax_clips_nothing(seed: int, bits: int, symmetric: bool) -> None:
    blocks = normal(seed)
    grid = fit_grid(blocks, bits, symmetric=symmetric, observer="minmax")
    error = (grid.nearest(blocks) - blocks).abs()
    assert (error <= grid.scale * (1.01 if not symmetric else 0.501)).all()


@given(SEEDS, BITS, st.booleans())
def test_mse_has_no_larger_error_than_the_others(seed: int, bits: int, symmetric: bool) -> None:
    blocks = normal(seed)

    def error(observer: Observer) -> float:
        grid = fit_grid(blocks, bits, symmetric=symmetric, observer=observer)
        return float((grid.nearest(blocks) - blocks).square().sum())

    assert error("mse") <= error("minmax") * (1 + 1e-6)


@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_a_channel_of_zeros_has_a_step_of_one_and_stays_zero(
    observer: Observer, symmetric: bool
) -> None:
    blocks = torch.stack([torch.zeros(20), torch.linspace(-1, 1, 20)])
    grid = fit_grid(blocks, 4, symmetric=symmetric, observer=observer)
    assert grid.scale[0] == 1.0
    assert torch.equal(grid.nearest(blocks)[0], torch.zeros(20))
    assert grid.nearest(blocks).isfinite().all()


@given(SEEDS, st.sampled_from(OBSERVERS))
def test_zero_is_a_value_of_every_grid(seed: int, observer: Observer) -> None:
    blocks = normal(seed).abs() + 3.0
    blocks[:, 0] = 0.0
    grid = fit_grid(blocks, 4, symmetric=False, observer=observer)
    assert (grid.nearest(blocks)[:, 0] == 0.0).all()


@settings(deadline=None)
@given(SEEDS, BITS)
def test_gradients_are_those_of_autograd_straight_through(seed: int, bits: int) -> None:
    blocks = normal(seed).requires_grad_()
    grid = fit_grid(blocks.detach(), bits, observer="sigma")
    step = (0.7 * grid.scale).requires_grad_()
    grad = normal(seed + 1)
    low, high = limits(bits)
    at = (blocks / step).clamp(low, high)
    seen = (at + (at.round() - at).detach()) * step
    seen.backward(grad)
    rule = Uniform(bits)
    by_latent, by_step = rule.back(
        grad.clone(), blocks.detach(), rule.seen(blocks.detach(), step.detach()), step.detach()
    )
    size = (blocks.shape[1] * high) ** 0.5
    assert blocks.grad is not None
    assert step.grad is not None
    # at the edge of the outermost cell it is a matter of definition
    edge = ((blocks / step - low + 0.5).abs() < 1e-3) | ((blocks / step - high - 0.5).abs() < 1e-3)
    outside = (blocks.detach() / step.detach()).round()
    within = (outside >= low) & (outside <= high)
    agreed = (by_latent - grad * within).abs().detach()
    assert agreed.masked_fill(edge, 0.0).max() < 1e-6
    inner = ((blocks / step) > low) & ((blocks / step) < high)
    if bool((inner == within).all()) and not bool(edge.any()):
        assert torch.allclose(by_step * size, step.grad, atol=1e-3)


@given(SEEDS)
def test_what_is_seen_is_the_nearest_of_the_grid(seed: int) -> None:
    blocks = normal(seed)
    rule = Uniform(4, "mse")
    steps = rule.start(blocks)
    seen = rule.seen(blocks, steps)
    grid = rule.grid(steps)
    at = blocks / steps
    tie = ((at - at.floor()) - 0.5).abs() < 1e-4  # where either neighbour is as near
    assert torch.equal(seen[~tie], grid.nearest(blocks)[~tie])
    assert ((seen - grid.nearest(blocks)).abs() <= 1.001 * steps)[tie].all()
    assert torch.equal(grid.nearest(seen), seen)


@given(SEEDS, st.floats(0.01, 1.0))
def test_drawn_weights_lie_between_latent_and_rounded(seed: int, slack: float) -> None:
    blocks = normal(seed)
    for rule in (Uniform(3, "minmax"), Ternary()):
        steps = rule.start(blocks)
        seen = rule.seen(blocks, steps)
        drawn = rule.drawn(blocks, steps, slack)
        low, high = torch.minimum(blocks, seen), torch.maximum(blocks, seen)
        assert (drawn >= low - 1e-5).all()
        assert (drawn <= high + 1e-5).all()
    assert torch.allclose(rule.drawn(blocks, steps, 1.0), blocks)


@given(SEEDS)
def test_ternary_steps_are_the_best_for_their_signs(seed: int) -> None:
    blocks = normal(seed)
    rule = Ternary()
    steps = rule.start(blocks)
    seen = rule.seen(blocks, steps)
    assert all(len(row.unique()) <= 3 for row in seen)
    least = (seen - blocks).square().sum()
    for factor in (0.97, 1.03):
        assert (rule.seen(blocks, steps * factor) - blocks).square().sum() >= least


def test_ternary_zeros_have_no_sign() -> None:
    """Each sign of a zero would take a bit of the file."""
    blocks = normal(0)
    seen = Ternary().seen(blocks, Ternary().start(blocks))
    assert (seen[blocks < 0] == 0).any()
    assert not seen[seen == 0].signbit().any()


def test_blocks_are_those_of_the_granularity() -> None:
    weight = torch.arange(24.0).view(2, 3, 4)
    assert blocks_of(weight, "tensor").shape == (1, 24)
    assert blocks_of(weight, "channel").shape == (2, 12)
    assert torch.equal(blocks_of(weight, 4), torch.arange(24.0).view(6, 4))
    assert misfit(weight.shape, 5) == "12 inputs, which groups of 5 do not divide"
    assert not misfit(weight.shape, 6)


def test_an_unknown_observer_is_named() -> None:
    with pytest.raises(ValueError, match=r"observer must be one of minmax.*'best'"):
        fit_grid(torch.ones(1, 4), 4, observer="best")  # type: ignore[arg-type]


@given(st.integers(0, 1000), st.integers(2, 8))
def test_latent_weights_are_rounded_as_torchs_operator_does(seed: int, bits: int) -> None:
    torch.manual_seed(seed)
    steps = torch.rand(6, 1) * 0.2 + 0.01
    blocks = torch.randn(6, 40)
    blocks[:, :5] = steps * torch.tensor([0.0, 0.5, -0.5, 1.5, -0.4])  # ties, and below zero
    low, high = limits(bits)
    zeros = torch.zeros(6, dtype=torch.int32)
    expected = torch.fake_quantize_per_channel_affine(blocks, steps.flatten(), zeros, 0, low, high)
    seen = Uniform(bits).seen(blocks, steps)
    assert torch.equal(seen, expected)
    assert not torch.signbit(seen[seen == 0.0]).any()


@given(st.integers(0, 1000), st.integers(2, 8), st.integers(0, 3))
def test_inputs_are_rounded_as_torchs_operator_does(seed: int, bits: int, zero: int) -> None:
    torch.manual_seed(seed)
    step = float(torch.rand(()) * 0.2 + 0.01)
    inputs, weights = torch.randn(3, 50), torch.randn(3, 50)
    high = limits(bits, signed=False)[1]
    grid = InputGrid(torch.tensor(step, requires_grad=True), zero, bits)
    ours, torchs = (inputs.clone().requires_grad_() for _ in range(2))
    seen = grid.rounded(ours)
    expected = torch.fake_quantize_per_tensor_affine(torchs, step, zero, 0, high)
    assert torch.equal(seen, expected)
    assert torch.equal(seen, grid.plainly(inputs))
    (seen * weights).sum().backward()
    (expected * weights).sum().backward()
    assert torch.equal(ours.grad, torchs.grad)  # type: ignore[arg-type]
