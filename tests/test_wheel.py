"""The wheel has all that a run needs: from any directory, without the repository."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from runs import ROOT, Once, result_of


@pytest.fixture(scope="module")
def unpacked(once: Once) -> Path:
    def fill(directory: Path) -> None:
        (built,) = WheelBuilder(str(ROOT)).build(directory=str(directory), versions=["standard"])
        with zipfile.ZipFile(built) as wheel:
            wheel.extractall(directory / "installed")

    return once("wheel", fill) / "installed"


def command(unpacked: Path, tmp_path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "boildown", *words],
        env=os.environ | {"PYTHONPATH": str(unpacked)}, cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_every_config_is_inside(unpacked: Path) -> None:
    inside = unpacked / "boildown" / "conf"
    ours = {path.relative_to(ROOT / "conf") for path in (ROOT / "conf").rglob("*.yaml")}
    assert {path.relative_to(inside) for path in inside.rglob("*.yaml")} == ours
    assert (unpacked / "boildown" / "py.typed").exists()


def test_it_trains_from_any_directory(unpacked: Path, tmp_path: Path) -> None:
    done = command(
        unpacked, tmp_path, "train", "+compression=deep", "compression.ratio=8", "model=mlp",
        "model.width=16", "budget.epochs=4", "logger=none", "hydra.run.dir=here",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert result_of(tmp_path / "here")["ratio"] >= 8


def test_its_help_says_how_it_was_called(unpacked: Path, tmp_path: Path) -> None:
    said = command(unpacked, tmp_path, "train", "--help").stdout
    assert "  boildown train " in said
    assert "python train.py" not in said
    assert "deep" in said
