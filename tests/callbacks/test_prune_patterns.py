"""Prune in patterns, in anybody's Trainer."""

from typing import Any

import pytest
import torch
from fits import fit
from torch import nn

from boildown.callbacks.prune import Prune
from boildown.prune.criteria import obd, random
from boildown.schedule import Cubic, OneShot, Rounds

WINDOW: dict[str, Any] = {"begin": 0.25, "end": 0.75, "check": "step"}


@pytest.mark.parametrize("schedule", [Cubic(), OneShot(), Rounds(3)])
def test_two_of_four_by_itself(schedule: Any) -> None:
    prune = Prune(pattern="2:4", schedule=schedule, **WINDOW)
    _, model = fit([prune], max_epochs=4)
    assert prune.sparsity == 0.5
    for index in (0, 2):
        weight = model[index].weight  # type: ignore[index]
        assert ((weight.reshape(-1, 4) != 0).sum(1) == 2).all()


@pytest.mark.parametrize("criterion", [random, obd])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_more_than_two_of_four(scope: Any, criterion: Any) -> None:
    prune = Prune(sparsity=0.75, scope=scope, pattern="2:4", criterion=criterion, **WINDOW)
    data = [(torch.randn(8, 12), torch.randint(0, 3, (8,)))]
    prune.calibration = lambda: data
    _, model = fit([prune], max_epochs=4)
    assert prune.sparsity == 0.75
    for index in (0, 2):
        weight = model[index].weight  # type: ignore[index]
        assert ((weight.reshape(-1, 4) != 0).sum(1) <= 2).all()


def test_blocks_of_some_layers() -> None:
    prune = Prune(keep={"0": 0.25}, pattern="4x4", **WINDOW)
    _, model = fit([prune], max_epochs=4)
    blocks = (model[0].weight != 0).reshape(4, 4, 3, 4).sum((1, 3))  # type: ignore[index]
    assert sorted(blocks.flatten().tolist()) == [0] * 9 + [16] * 3
    assert (model[2].weight != 0).all()  # type: ignore[index]


def test_what_cannot_be_is_refused_before_the_training() -> None:
    for given, says in (
        ({"sparsity": 0.3}, r"prune.sparsity = 0.3 cuts 0.3 .* pattern 2:4 at least 0.5"),
        ({"keep": {"fc": 0.6}}, r"prune.keep\['fc'\] = 0.6 cuts 0.4 .* 2:4 at least 0.5"),
    ):
        with pytest.raises(ValueError, match=says):
            Prune(pattern="2:4", **given)  # type: ignore[arg-type]
    odd = nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3))
    with pytest.raises(
        ValueError, match=r"model\.2\.weight has 10 inputs, which 4 does not divide.*prune\.exclude"
    ):
        fit([Prune(pattern="2:4", **WINDOW)], model=odd, max_epochs=1)
    prune = Prune(pattern="2:4", exclude=["2"], **WINDOW)
    fit([prune], model=odd, max_epochs=4)
    assert list(prune.masks) == ["model.0.weight"]
