"""Rewire: as many weights as before, others than before; to the same bits when resumed."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from fits import StopAt, fit
from lightning.pytorch import Callback
from torch import nn

from boildown.callbacks import ComputeBudget, Prune, Rewire, ShareWeights
from boildown.schedule import Cubic


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))


class Watch(Callback):
    """The masks at the end of each batch."""

    def __init__(self, rewire: Prune) -> None:
        self.rewire = rewire
        self.masks: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.masks.append({n: m.clone() for n, m in self.rewire.masks.items()})


@pytest.mark.parametrize("grow", ["gradient", "random"])
def test_it_exchanges_and_keeps_the_number(grow: Any) -> None:
    rewire = Rewire(sparsity=0.7, grow=grow, updates=8, check="step")
    watch = Watch(rewire)
    fit([ComputeBudget(epochs=5), rewire, watch], model=net())
    counts = {tuple(int(m.sum()) for m in masks.values()) for masks in watch.masks}
    assert len(counts) == 1
    first, *_, last = (masks["model.0.weight"] for masks in watch.masks)
    assert not torch.equal(first, last)
    changes = [any(not torch.equal(a[n], b[n]) for n in a) for a, b in pairwise(watch.masks)]
    assert 4 <= sum(changes) <= 7
    assert not any(changes[int(0.8 * len(changes)) :])  # after `end`
    dense = {name: float(m.float().mean()) for name, m in watch.masks[-1].items()}
    assert dense["model.2.weight"] > dense["model.0.weight"]  # Erdos-Renyi


def test_a_gradual_schedule_is_pruning_with_regrowth() -> None:
    rewire = Rewire(sparsity=0.8, schedule=Cubic(), begin=0.1, end=0.8, cuts=5, updates=10)
    watch = Watch(rewire)
    fit([ComputeBudget(epochs=6), rewire, watch], model=net())
    masks = [m["model.0.weight"] for m in watch.masks if m]
    alive = [int(m.sum()) for m in masks]
    assert alive == sorted(alive, reverse=True)
    assert any(bool((b & ~a).any()) for a, b in pairwise(masks))
    assert rewire.sparsity == pytest.approx(0.8, abs=0.01)


@pytest.mark.filterwarnings("ignore:.*before .* reached its target")
def test_it_resumes_to_the_same_bits(tmp_path: Path) -> None:
    def callbacks() -> list[Callback]:
        rewire = Rewire(sparsity=0.7, grow="random", updates=10, check="step")
        return [ComputeBudget(epochs=4), rewire, ShareWeights(bits=3, begin=0.8)]

    _, whole = fit(callbacks(), model=net(), val_check_interval=1.0)
    newest = tmp_path / "newest.ckpt"
    fit([*callbacks(), StopAt(16, newest)], model=net(), val_check_interval=1.0)
    _, resumed = fit(callbacks(), model=net(), resume=newest, val_check_interval=1.0)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"grow": "largest"}, "prune.grow must be gradient or random, got 'largest'"),
        ({"fraction": 1.0}, r"prune.fraction must be a number in \(0, 1\), got 1.0"),
        ({"updates": 2.5}, "prune.updates must be a whole number of at least 1, got 2.5"),
        ({"seed": -1}, "prune.seed must be a whole number, not negative, got -1"),
        ({"scope": "all"}, "prune.scope must be one of global, layer, erk, sensitivity, got 'all'"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Rewire(sparsity=0.5, **settings)
