"""boildown.lowrank.timing, by a clock that layers of known speed move."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from boildown.lowrank.factored_layer import factor, layers
from boildown.lowrank.svd import Factors
from boildown.lowrank.timing import keep_faster


class Clock:
    """The time that layers say they take."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Linear layers take a second for 1024 weights, unless they say otherwise."""
    made, own = Clock(), nn.Linear.forward

    def forward(self: nn.Linear, input: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        made.now += getattr(self, "seconds", self.weight.numel() / 1024)
        return own(self, input)

    monkeypatch.setattr(nn.Linear, "forward", forward)
    return made


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slow, self.fast = nn.Linear(64, 64), nn.Linear(64, 64)
        self.unused, self.drop = nn.Linear(64, 64), nn.Dropout(0.5)
        self.seen: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(self.training)
        return self.fast(input=self.fast(self.slow(self.drop(x))))


def test_only_the_faster_layers_are_factorised(clock: Clock) -> None:
    model: Any = Net()
    model.slow.seconds = 0.1  # its factors take longer
    model.drop.eval()
    x, ranks = torch.randn(5, 64), {"slow": 4, "fast": 4}
    small: Any = keep_faster(model, x, ranks, schemes={"slow": "linear"}, clock=clock)
    assert type(small.slow) is nn.Linear
    assert type(small.fast) is nn.Sequential
    for least, kept in ((7.9, True), (8.1, False)):  # 4096 weights against 512
        small = keep_faster(model, x, ranks, at_least=least, clock=clock)
        assert isinstance(small.fast, nn.Sequential) == kept
    own = {"fast": factor(model.fast, "linear", 2)}
    small = keep_faster(model, x, layers=own, clock=clock)
    assert list(small.fast.v.weight.shape) == [2, 64]
    assert model.training
    assert not model.drop.training
    assert not any(model.seen)
    assert not any(m._forward_pre_hooks for m in model.modules())
    with pytest.raises(ValueError, match="unused: the network never calls it"):
        keep_faster(model, x, {"unused": 3}, clock=clock)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        keep_faster(model, x, ranks, repeats=0)


def test_one_outlier_decides_nothing(clock: Clock) -> None:
    layer = nn.Linear(16, 16)
    built: Any = layers(layer, "linear", [Factors(draw(16, 2), draw(16, 2))], layer.bias)
    calls: list[float] = []

    def outlier(*_: Any) -> None:
        calls.append(clock.now)
        clock.now += 100.0 if len(calls) == 6 else 0.0

    built.u.register_forward_hook(outlier)
    small: Any = keep_faster(nn.Sequential(layer), draw(4, 16), layers={"0": built}, clock=clock)
    assert type(small[0]) is nn.Sequential
    assert len(calls) > 6


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_a_network_that_is_one_layer() -> None:
    layer = nn.Linear(16, 16)
    built = layers(layer, "linear", [Factors(draw(16, 2), draw(16, 2))], layer.bias)
    small = keep_faster(layer, draw(4, 16), layers={"": built}, at_least=0.0, repeats=1)
    assert type(small) is nn.Sequential
