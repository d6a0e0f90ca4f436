"""Whole fp16 runs: recovery, resume to the same bytes, bf16, and one that can never step."""

from pathlib import Path
from typing import Any

import pytest
import torch
from runs import Once, refused, result_of, rows_of, stop_in, train

AMP = (
    "+compression=deep", "compression.ratio=10", "trainer=amp", "logger=none", "budget.steps=120",
    "loss_scaling.initial_scale=1099511627776", "loss_scaling.growth_interval=30",
    "loss_scaling.every=5", "compression.prune.check=step", "compression.share.check=step",
)  # fmt: skip


def scaler_in(directory: Path) -> dict[str, Any]:
    checkpoint = torch.load(directory / "newest.ckpt", weights_only=True)
    return dict(checkpoint["MixedPrecision"])


@pytest.fixture(scope="module")
def recovered(once: Once) -> Path:
    """A run whose loss scale begins far too high."""

    def run(directory: Path) -> None:
        with pytest.warns(UserWarning, match="steps in a row were skipped"):
            said = train(directory, *AMP)
        assert "steps besides" in said

    return once("amp", run)


def test_a_run_made_to_overflow_recovers(recovered: Path) -> None:
    result = result_of(recovered)
    compute, last = result["compute"], result["curve"][-1]
    assert compute["steps"] == 120
    assert compute["skipped_steps"] == last["amp/skipped_steps"] > 10
    tried = compute["steps"] + compute["skipped_steps"]
    assert compute["wasted_flops"] * tried == compute["flops"] * compute["skipped_steps"]
    assert 0 < compute["flops_credited"] < compute["flops"]
    assert compute["precision"] == "16-mixed"
    assert compute["seconds_per_tflop"] > 0
    assert last["amp/scale"] > 1.0
    assert {float(row["amp/scale"]) for row in rows_of(recovered)} > {last["amp/scale"]}
    for kind in ("overflow", "underflow"):
        assert {f"amp/{kind}/model.fc{i}" for i in (1, 2, 3)} <= set(last)
    assert float(rows_of(recovered)[0]["amp/overflow/model.fc1"]) > 0.5
    assert result["compressed"]["metrics"]["test/error"] < 0.15
    assert result["ratio"] == pytest.approx(10, rel=0.1)


@pytest.mark.filterwarnings("ignore:.*steps in a row were skipped")
@pytest.mark.parametrize("phase", ["dense", "prune"])
def test_a_stopped_fp16_run_resumes_to_the_same_bytes(
    recovered: Path, tmp_path: Path, phase: str
) -> None:
    directory = tmp_path / "stopped"
    stop_in(phase, directory, *AMP)
    train(directory, *AMP, "resume=true")
    assert (directory / "model.boil").read_bytes() == (recovered / "model.boil").read_bytes()
    assert rows_of(directory) == rows_of(recovered)
    assert scaler_in(directory) == scaler_in(recovered)
    for name in ("flops", "steps", "skipped_steps", "wasted_flops", "flops_credited"):
        assert result_of(directory)["compute"][name] == result_of(recovered)["compute"][name]


def test_bf16_needs_no_scale(tmp_path: Path) -> None:
    train(tmp_path / "run", "trainer=bf16", "budget.steps=20")
    result = result_of(tmp_path / "run")
    assert result["compute"]["precision"] == "bf16-mixed"
    assert not [name for name in result["curve"][-1] if name.startswith("amp/")]


@pytest.mark.filterwarnings("ignore:.*steps in a row were skipped")
@pytest.mark.filterwarnings("ignore:the loss scale has fallen")
@pytest.mark.filterwarnings("ignore:the loss has exploded")
def test_a_run_that_never_steps_ends_with_one_line(tmp_path: Path) -> None:
    arguments = ("trainer=amp", "budget.steps=20", "task.optimizer.lr=1e30")
    with pytest.raises(RuntimeError) as caught:
        train(tmp_path / "run", *arguments, "loss_scaling.patience=10")
    refused(caught.value, ["steps were all skipped"])
