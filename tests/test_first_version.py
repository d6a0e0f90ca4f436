"""What the first version wrote is read, resumed and reported on ever after.

The runs in `fixtures/first_version` were made by it, with `SMALL` and the recipe of their name;
those called `*.unfinished` were killed, and the others are the same runs resumed to their end.
"""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from runs import train

import boildown
from boildown.cli import main

OLD = Path(__file__).parent / "fixtures" / "first_version"
SMALL = ("model=mlp", "model.width=16", "logger=none", "budget.epochs=30", "validations=30")
RATIO = {"deep": 12, "lowrank": 3, "lowrank_deep": 12}
FILES = json.loads((OLD / "tensors.json").read_text())


@pytest.mark.parametrize("kind", FILES)
def test_files_are_read_to_the_bit(kind: str) -> None:
    found = {
        name: hashlib.sha256(tensor.flatten().view(torch.uint8).numpy().tobytes()).hexdigest()[:16]
        for name, tensor in boildown.unpack(OLD / kind / "model.boil").items()
    }
    assert found == FILES[kind]


@pytest.mark.parametrize("kind", FILES)
def test_files_become_models(kind: str) -> None:
    model = boildown.load(OLD / kind / "model.boil")
    inputs = torch.zeros(2, 16, dtype=torch.long) if kind == "tied" else torch.zeros(2, 1, 8, 8)
    assert torch.isfinite(model(inputs)).all()


@pytest.mark.parametrize("recipe", RATIO)
def test_killed_runs_go_on(recipe: str, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    shutil.copytree(OLD / f"{recipe}.unfinished", directory)
    recipe_of_then = (f"+compression={recipe}", f"compression.ratio={RATIO[recipe]}")
    train(directory, *SMALL, *recipe_of_then, "resume=true")
    now = json.loads((directory / "result.json").read_text())
    then = json.loads((OLD / recipe / "result.json").read_text())
    assert list(now["compute"]["by_phase"]) == list(then["compute"]["by_phase"])
    assert now["compute"]["steps"] == then["compute"]["steps"]
    # the first version ended above the size; here a rank alone is 3 % of it
    assert 0.96 <= RATIO[recipe] / now["ratio"] <= 1.0


def test_runs_are_reported_on(tmp_path: Path) -> None:
    assert main(["report", str(OLD), "--out", str(tmp_path / "report.html")]) == 0
    rows = (tmp_path / "report.csv").read_text().splitlines()
    assert len(rows) == 1 + len(RATIO)
