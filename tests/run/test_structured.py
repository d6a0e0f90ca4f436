"""compression=structured: narrower networks by a run, and what may follow them."""

from pathlib import Path

import pytest
from hydra.errors import InstantiationException
from runs import Once, result_of, train

import boildown
from boildown.models.resnet import ResNet

SMALL = ("compression=structured", "budget.epochs=6", "validations=6")
RESNET = ("model=resnet20", "model.depth=8", "budget.epochs=1")
WITHOUT_ROUNDING = ("~compression.round", "~compression.dtype")


def parameters(run: Path) -> int:
    return sum(p.numel() for p in boildown.load(run / "model.boil").parameters())


def test_the_default_halves_the_digits_network(once: Once) -> None:
    run = once("structured", lambda directory: train(directory, "+compression=structured"))
    result = result_of(run)
    assert parameters(run) < 0.75 * result["dense"]["params"]
    assert result["compressed"]["nonzero"] <= parameters(run)
    dense, compressed = (result[k]["metrics"]["test/error"] for k in ("dense", "compressed"))
    assert compressed <= dense + 0.04
    phases = result["compute"]["by_phase"]
    assert list(phases) == ["dense", "shrunk"]
    per_step = {name: phase["flops"] / phase["steps"] for name, phase in phases.items()}
    assert per_step["shrunk"] < 0.75 * per_step["dense"]  # the ledger sees the smaller network
    assert {group["name"] for group in result["groups"]} == {"fc1", "fc2"}


@pytest.mark.parametrize("asked", ["compression.ratio=6", "compression.bytes=250000"])
def test_a_residual_network_meets_an_asked_size(asked: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(run, *SMALL, *RESNET, asked)
    result = result_of(run)
    most = 250_000 if "bytes" in asked else result["dense"]["bytes"] / 6
    as_it_is = 0.85 * result["dense"]["bytes"] / 2  # in fp16, coded: it may be small enough
    within = min(most, as_it_is)
    assert 0.96 * within < result["compressed"]["bytes"] <= most
    assert isinstance(boildown.load(run / "model.boil"), ResNet)
    assert (parameters(run) == result["dense"]["params"]) == ("bytes" in asked)


def test_half_of_the_operations_are_left(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(
        run, *SMALL, "model=resnet20", "model.depth=8", "budget.epochs=1", "compression.flops=0.5"
    )
    phases = result_of(run)["compute"]["by_phase"]
    per_step = {name: phase["flops"] / phase["steps"] for name, phase in phases.items()}
    assert 0.4 < per_step["shrunk"] / per_step["dense"] < 0.56


def test_what_is_left_may_be_shared(tmp_path: Path) -> None:
    run = tmp_path / "run"
    share = "{_target_: boildown.callbacks.share.ShareWeights, bits: 4, begin: 0.8, end: 1.0}"
    train(run, *SMALL, *WITHOUT_ROUNDING, f"+compression.share={share}", "compression.ratio=20")
    result = result_of(run)
    assert 20.0 <= result["ratio"] < 21.0
    assert max(layer["distinct"] for layer in result["layers"] if len(layer["shape"]) > 1) <= 16


def test_what_is_left_may_be_factorised(tmp_path: Path) -> None:
    run = tmp_path / "run"
    ranks = (
        "{_target_: boildown.callbacks.learn_ranks.LearnRanks, factors: 0.5, begin: 0.5, end: 0.6}"
    )
    train(
        run, *SMALL, *WITHOUT_ROUNDING, f"+compression.ranks={ranks}", "compression.parameters=0.5"
    )
    result = result_of(run)
    assert list(result["compute"]["by_phase"]) == ["dense", "shrunk", "ranks", "factored"]
    model = boildown.load(run / "model.boil")
    assert model.fc1.v.weight.shape[1] == 64
    assert model.fc1.u.weight.shape[0] < 300
    assert parameters(run) < 0.3 * result["dense"]["params"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("compression.parameters=1.5", r"shrink.parameters must be the fraction"),
        ("compression.shrink.scope=layer", r"shrink.scope must be"),
        ("compression.flops=0.001", r"shrink.flops=0.001: .* out of reach"),
        ("compression.ratio=900", r"out of reach"),
    ],
)
def test_what_cannot_be_is_refused_before_the_training(
    override: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises((InstantiationException, ValueError), match=message):
        train(tmp_path / "run", *SMALL, override)
    assert not (tmp_path / "run" / "model.boil").exists()
