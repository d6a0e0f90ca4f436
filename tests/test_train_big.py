"""The train-big sweep, small: widths x sizes in parallel, crashed, gone on with, shared."""

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from runs import ROOT, Once, command, result_of, train

from boildown.cli import main

SMALL = (
    "+experiment=train_big", "data=digits", "data.batch_size=64", "budget.flops=1e8",
    "model.width=8,32", "compression.bytes=1200,9000", "seed=0", "validations=10",
)  # fmt: skip
WITHIN_REACH = {"w8-b1200-s0", "w32-b1200-s0", "w32-b9000-s0"}
FIRST, SECOND = "w32-b1200-s0", "w32-b9000-s0"  # of one dense training


def sweep(directory: Path) -> list[str]:
    return command("-m", *SMALL, f"hydra.sweep.dir={directory}")


def finished(directory: Path) -> set[str]:
    return {path.parent.name for path in directory.glob("*/result.json")}


@pytest.fixture(scope="module")
def swept(once: Once) -> Path:
    """A sweep whose processes are killed once the first wide run has finished, started again."""
    return once("sweep", killed_and_gone_on_with)


def killed_and_gone_on_with(directory: Path) -> None:
    directory.mkdir()
    log = directory / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            sweep(directory), stdout=out, stderr=out, start_new_session=True, cwd=ROOT
        )
    end = time.monotonic() + 200
    while time.monotonic() < end and process.poll() is None and FIRST not in finished(directory):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = finished(directory)
    assert FIRST in before, log.read_text()
    assert SECOND not in before
    times = {name: (directory / name / "result.json").stat().st_mtime_ns for name in before}
    done = subprocess.run(
        sweep(directory), capture_output=True, text=True, timeout=300, check=False, cwd=ROOT
    )
    assert "nothing to do" in done.stdout, done.stderr
    assert "sweep: 4 of 4 runs done" in done.stdout  # with the one that is out of reach
    assert times == {n: (directory / n / "result.json").stat().st_mtime_ns for n in before}


def test_every_run_within_reach_finishes(swept: Path) -> None:
    assert finished(swept) == WITHIN_REACH
    for name in WITHIN_REACH:
        result = result_of(swept / name)
        assert abs(result["compute"]["flops"] / 1e8 - 1) < 0.01
        assert result["compressed"]["bytes"] == (swept / name / "model.boil").stat().st_size


def test_a_size_beyond_the_dense_model_says_so(swept: Path) -> None:
    error = json.loads((swept / "w8-b9000-s0" / "error.json").read_text())["error"]
    assert "compression.bytes" in error
    assert "9000" in error


def test_the_dense_training_is_shared_and_charged_in_full(swept: Path) -> None:
    reused = {name: result_of(swept / name)["compute"]["reused"] for name in WITHIN_REACH}
    assert reused[FIRST] == 0
    assert 0 < reused[SECOND] <= 0.36e8
    assert len(list((swept / "dense").glob("*.ckpt"))) == 2


def test_sharing_changes_nothing(swept: Path, tmp_path: Path) -> None:
    overrides = [o for o in SMALL if not o.startswith(("model.width", "compression.bytes"))]
    alone, shared = tmp_path / "alone", swept / SECOND
    train(alone, *overrides, "model.width=32", "compression.bytes=9000", "share_dense=null")
    for file in ("model.boil", "dense.safetensors"):
        assert (alone / file).read_bytes() == (shared / file).read_bytes()
    for key in ("environment", "compressed", "dense", "layers"):  # with as many threads, that is
        assert result_of(alone)[key] == result_of(shared)[key]
    assert len(result_of(alone)["curve"]) == len(result_of(shared)["curve"])


def test_the_sweep_has_a_report(swept: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert main(["report", str(swept), "--out", str(out)]) == 0
    with out.with_suffix(".csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    told = {row["run"]: (int(row["bytes"]), float(row["value"])) for row in rows}
    results = {name: result_of(swept / name)["compressed"] for name in WITHIN_REACH}
    assert told == {n: (c["bytes"], c["metrics"]["test/error"]) for n, c in results.items()}
    assert {row["model"] for row in rows} == {"width 8", "width 32"}
    with (tmp_path / "report-comparison.csv").open(encoding="utf-8") as file:
        compared = list(csv.DictReader(file))
    assert "1200" in {row["bytes"] for row in compared}
    assert {row["chosen_by"] for row in compared} == {"validation"}
    page = out.read_text(encoding="utf-8")
    assert "a single seed" in page
    assert "failed: compression.bytes" in page
    assert (tmp_path / "report-learning.png").stat().st_size > 10_000
