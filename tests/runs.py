"""Whole runs from the command line, for the tests of `train.py`."""

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def command(directory: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), f"hydra.run.dir={directory}", *arguments]


def train(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(directory, *arguments), capture_output=True, text=True, timeout=300, check=False
    )


def result_of(directory: Path) -> dict[str, Any]:
    return dict(json.loads((directory / "result.json").read_text()))


def rows_of(directory: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv, without the time they took."""
    if not (directory / "metrics.csv").exists():
        return []
    with (directory / "metrics.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def kill_in(
    phase: str,
    directory: Path,
    *arguments: str,
    ready: Callable[[Path], bool] = lambda checkpoint: True,
) -> None:
    """Start a run and kill it as soon as it has a checkpoint from a phase that is ready."""
    log = directory.with_suffix(".log")
    with log.open("w") as out:
        process = subprocess.Popen(command(directory, *arguments), stdout=out, stderr=out)
    end = time.monotonic() + 250
    while time.monotonic() < end and process.poll() is None:
        rows = rows_of(directory)
        newest = directory / "newest.ckpt"
        if rows and rows[-1]["phase"] == phase and newest.exists() and ready(newest):
            break
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert rows_of(directory)[-1]["phase"] == phase, log.read_text()
    assert not (directory / "model.boil").exists()
