"""boildown.amp.flushing: what a probe keeps, and the count of flushed entries against float64."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from boildown.amp.flushing import PROBE_SEED, Fraction, flushed, order_one, overflowed

HALVES = st.lists(st.floats(width=16), min_size=1, max_size=50)


@given(HALVES)
def test_a_probe_keeps_zeros_and_signs_and_nothing_else(values: list[float]) -> None:
    gradient = torch.tensor(values, dtype=torch.float16)
    probe = order_one(gradient)
    assert probe.dtype == torch.float16
    assert torch.equal(probe == 0, gradient == 0)
    alive = gradient != 0
    assert ((probe[alive].abs() >= 1) & (probe[alive].abs() <= 2)).all()
    known = alive & ~gradient.isnan()
    assert torch.equal(probe[known].sign(), gradient[known].sign())


def test_equal_weights_do_not_cancel() -> None:
    probe = order_one(torch.tensor([1.0, -1.0, 1.0, -1.0]).repeat(100, 1))
    assert (probe @ torch.ones(4, 5) != 0).all()


@given(HALVES)
def test_overflowed_counts_what_is_not_finite(values: list[float]) -> None:
    gradient = torch.tensor(values, dtype=torch.float16)
    wanted = sum(v != v or v in (float("inf"), float("-inf")) for v in values)
    assert overflowed(gradient) == wanted


def test_fractions_add_up() -> None:
    fraction = Fraction()
    assert fraction.value == 0.0
    fraction.add(1, 4)
    fraction.add(2, 4)
    assert fraction.value == 0.375


class Gate(nn.Module):
    """A hand-made backward pass, so that the reference can be had in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.lower, self.upper = nn.Linear(20, 40), nn.Linear(40, 5)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.lower(inputs)
        return hidden, self.upper(hidden.relu())


@pytest.mark.parametrize("scale", [2.0**-7, 2.0**-8, 2.0**-10])
def test_flushed_is_what_float64_says_fp16_cannot_hold(scale: float) -> None:
    torch.manual_seed(0)
    net = Gate()
    inputs, targets = torch.randn(256, 20), torch.randint(0, 5, (256,))
    with torch.no_grad():
        net.upper.weight.mul_(0.1)
    with torch.autocast("cpu", torch.float16):
        hidden, logits = net(inputs)
        loss = nn.functional.cross_entropy(logits, targets)
    probing = True

    def listen(gradient: Tensor) -> Tensor | None:
        return order_one(gradient) if probing else None

    handle = logits.register_hook(listen)
    (probe,) = torch.autograd.grad(
        loss, hidden, grad_outputs=torch.tensor(PROBE_SEED), retain_graph=True
    )
    probing = False
    handle.remove()
    (actual,) = torch.autograd.grad(loss, hidden, grad_outputs=torch.tensor(scale))
    part, whole = flushed(actual, probe != 0)

    weight = net.upper.weight.detach().half().double()
    exact_logits = logits.detach().double().requires_grad_()
    nn.functional.cross_entropy(exact_logits, targets).backward()
    assert exact_logits.grad is not None
    exact = (exact_logits.grad * scale) @ weight * (hidden.detach() > 0)
    assert whole == int((exact != 0).sum())
    lost = int(((exact.abs() <= 2.0**-25) & (exact != 0)).sum())
    assert 0.05 < lost / whole < 0.95  # the scales chosen do flush, and not all
    assert part / whole == pytest.approx(lost / whole, abs=0.05)
