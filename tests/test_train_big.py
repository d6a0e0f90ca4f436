"""The train-big sweep, small: widths x sizes in parallel, crashed, gone on with, shared."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs import ROOT, result_of

from boildown.cli import main

SMALL = (
    "+experiment=train_big", "data=digits", "data.batch_size=64", "budget.flops=1e8",
    "model.width=8,32", "compression.bytes=700,1200,9000", "seed=0", "validations=10",
)  # fmt: skip
WITHIN_REACH = {"w8-b700-s0", "w8-b1200-s0", "w32-b700-s0", "w32-b1200-s0", "w32-b9000-s0"}


def sweep(directory: Path) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), "-m", *SMALL, f"hydra.sweep.dir={directory}"]


def finished(directory: Path) -> set[str]:
    return {path.parent.name for path in directory.glob("*/result.json")}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep whose processes are killed once a run has finished, started again."""
    directory = tmp_path_factory.mktemp("sweep")
    log = directory / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            sweep(directory), stdout=out, stderr=out, start_new_session=True, cwd=ROOT
        )
    end = time.monotonic() + 200
    while time.monotonic() < end and process.poll() is None and not finished(directory):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = finished(directory)
    assert before, log.read_text()
    assert before < WITHIN_REACH
    times = {name: (directory / name / "result.json").stat().st_mtime_ns for name in before}
    done = subprocess.run(
        sweep(directory), capture_output=True, text=True, timeout=300, check=False, cwd=ROOT
    )
    assert "nothing to do" in done.stdout, done.stderr
    assert "sweep: 6 of 6 runs done" in done.stdout  # with the one that is out of reach
    assert times == {n: (directory / n / "result.json").stat().st_mtime_ns for n in before}
    return directory


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
    assert sum(flops > 0 for flops in reused.values()) >= 2
    assert all(0 <= flops <= 0.36e8 for flops in reused.values())
    assert len(list((swept / "dense").glob("*.ckpt"))) == 2


def test_sharing_changes_nothing(swept: Path, tmp_path: Path) -> None:
    name = next(n for n in WITHIN_REACH if result_of(swept / n)["compute"]["reused"])
    width, size, _ = name.split("-")
    overrides = [o for o in SMALL if not o.startswith(("model.width", "compression.bytes"))]
    overrides += [f"model.width={width[1:]}", f"compression.bytes={size[1:]}"]
    overrides += ["share_dense=null", "hydra.mode=RUN", f"hydra.run.dir={tmp_path}"]
    subprocess.run([sys.executable, str(ROOT / "train.py"), *overrides], check=True, cwd=ROOT)
    alone, shared = tmp_path, swept / name
    assert (alone / "model.boil").read_bytes() == (shared / "model.boil").read_bytes()
    keys = ("compressed", "dense", "layers")
    assert all(result_of(alone)[key] == result_of(shared)[key] for key in keys)
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
