import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from boildown.quantize.grid import limits
from boildown.quantize.rate import code_lengths, rate_gradient
from boildown.quantize.rounding import Uniform


def drawn(seed: int) -> Tensor:
    return torch.randn(3, 200, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None)
@given(st.integers(0, 999), st.integers(2, 8))
def test_lengths_are_those_of_an_entropy_coder(seed: int, bits: int) -> None:
    low, high = limits(bits)
    codes = torch.randint(low, high + 1, (500,), generator=torch.Generator().manual_seed(seed))
    lengths = code_lengths(codes, low, high)
    assert torch.allclose(lengths.neg().exp2().sum(), torch.tensor(1.0))
    counts = torch.bincount(codes - low, minlength=high - low + 1)
    often = counts.argmax()
    assert lengths[often] == lengths.min()


@settings(deadline=None)
@given(st.integers(0, 999), st.integers(2, 6))
def test_the_gradient_is_that_of_lengths_between_codes(seed: int, bits: int) -> None:
    blocks, rule = drawn(seed), Uniform(bits, "mse")
    steps = rule.start(blocks)
    seen = rule.seen(blocks, steps)
    low, high = limits(bits)
    by_latent, by_step = rate_gradient(blocks, seen, steps, low, high)
    codes = (seen / steps).round()
    lengths = code_lengths(codes, low, high)

    def bits_of(at: Tensor) -> Tensor:  # linear between codes
        inside = at.clamp(low, high)
        floor = inside.floor().clamp(max=high - 1)
        below = lengths[(floor - low).long()]
        return below + (inside - floor) * (lengths[(floor - low).long() + 1] - below)

    up = (bits_of(codes + 1e-3) - bits_of(codes)) / 1e-3
    down = (bits_of(codes) - bits_of(codes - 1e-3)) / 1e-3
    expected = torch.where(codes <= low, up, torch.where(codes >= high, down, (up + down) / 2))
    assert torch.allclose(by_latent * steps, expected, atol=2e-2)
    assert torch.allclose(by_step, -(by_latent * blocks).sum(1, keepdim=True) / steps, rtol=1e-4)


def test_following_it_makes_the_codes_shorter() -> None:
    blocks, rule = drawn(0), Uniform(4, "minmax")
    steps = rule.start(blocks)

    def entropy(latent: Tensor) -> float:
        codes = (rule.seen(latent, steps) / steps).round()
        lengths = code_lengths(codes, *limits(4))
        return float(lengths[(codes - limits(4)[0]).long()].mean())

    before = entropy(blocks)
    for _ in range(20):
        by_latent, _ = rate_gradient(blocks, rule.seen(blocks, steps), steps, *limits(4))
        blocks = blocks - 0.1 * steps.square() * by_latent
    assert entropy(blocks) < before - 0.05
