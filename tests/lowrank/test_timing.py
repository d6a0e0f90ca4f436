"""boildown.lowrank.timing, with modules whose speed is known."""

import itertools
import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from boildown.lowrank import scheme as s
from boildown.lowrank import timing
from boildown.lowrank.factorize import factorize
from boildown.lowrank.svd import Factors
from boildown.lowrank.timing import Timing, compare, keep_faster, timings


def test_medians_of_calls_in_turns() -> None:
    now = [0.0]
    calls: list[str] = []

    def work(name: str, seconds: float) -> Any:
        def way(x: Tensor) -> Tensor:
            assert not torch.is_grad_enabled()
            calls.append(name)
            now[0] += seconds * (100 if len(calls) == 20 else 1)  # one outlier
            return x

        return way

    inputs = torch.zeros(1)
    took = compare(
        work("dense", 0.4), work("factors", 0.1), inputs, repeats=9, clock=lambda: now[0]
    )
    assert took.dense == pytest.approx(0.4)
    assert took.factors == pytest.approx(0.1)
    assert took.ratio == pytest.approx(4.0)
    assert calls.count("dense") == calls.count("factors")
    assert max(len(list(run)) for _, run in itertools.groupby(calls[4:])) == 2
    with pytest.raises(ValueError, match="at least 1, got 0"):
        compare(work("a", 1), work("b", 1), inputs, repeats=0)


def test_a_quick_call_is_repeated_within_a_measurement() -> None:
    counted: list[int] = []
    compare(lambda x: counted.append(1), lambda x: time.sleep(0.002), torch.zeros(1), repeats=1)
    assert len(counted) > 20


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slow, self.fast = nn.Linear(64, 64), nn.Linear(64, 64)
        self.unused, self.drop = nn.Linear(64, 64), nn.Dropout(0.5)
        self.seen: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(self.training)
        return self.fast(input=self.fast(self.slow(self.drop(x))))


def test_only_the_faster_layers_are_factorised(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Net()
    model.drop.eval()
    given: list[tuple[int, ...]] = []

    def fake(dense: Any, factors: Any, inputs: Tensor, **_: Any) -> Timing:
        given.append(tuple(inputs.shape))
        torch.testing.assert_close(dense(inputs).shape, factors(inputs).shape)
        return Timing(3.0, 2.0 if dense.__self__ is model.fast else 4.0)

    monkeypatch.setattr(timing, "compare", fake)
    x, ranks = torch.randn(5, 64), {"slow": 4, "fast": 5}
    measured = timings(model, factorize(model, ranks), x)
    assert measured == {"slow": Timing(3.0, 4.0), "fast": Timing(6.0, 4.0)}
    assert given == [(5, 64)] * 3
    small = keep_faster(model, x, ranks, schemes={"slow": "linear"})
    assert type(small.slow) is nn.Linear
    assert type(small.fast) is nn.Sequential
    assert (
        keep_faster(model, x, ranks, at_least=1.6).state_dict().keys() == model.state_dict().keys()
    )
    own = {"slow": s.factor(model.slow, "linear", 2), "fast": s.factor(model.fast, "linear", 2)}
    assert list(keep_faster(model, x, layers=own).fast.v.weight.shape) == [2, 64]
    assert model.training
    assert not model.drop.training
    assert not any(model.seen)
    assert not any(m._forward_pre_hooks for m in model.modules())
    with pytest.raises(ValueError, match="unused: the network never calls it"):
        keep_faster(model, x, {"unused": 3})


def test_a_network_that_is_one_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "compare", lambda *_, **__: Timing(2.0, 1.0))
    layer = nn.Linear(16, 16)
    factors = Factors(torch.randn(16, 2), torch.randn(16, 2))
    built = s.layers(layer, "linear", factors, layer.bias)
    small = keep_faster(layer, torch.randn(4, 16), layers={"": built})
    assert type(small) is nn.Sequential
