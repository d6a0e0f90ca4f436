"""The examples of docs/extend.md and examples/, run from outside the package."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from runs import ROOT, call_here, result_of, stop_in, train

import boildown

PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# file: (\w+\.py)\n(.*?)```", PAGE, re.S))
YAML = dict(re.findall(r"`(\w+)\.yaml` in the group.*?```yaml\n(.*?)```", PAGE, re.S))
SHORT = ("model=mlp", "model.width=16", "budget.epochs=4", "validations=4")
DEEP = ("+compression=deep", "compression.ratio=10")
GRID = "+compression.grid._target_=grid.Grid"


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of somebody's own, with the files of the page, on the path of modules."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    places = [str(tmp_path), str(ROOT / "examples" / "own_technique")]
    for place in places:
        monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))
    return tmp_path


def test_every_command_of_the_page_is_tried() -> None:
    said = set(re.findall(r"_target_=(my_\w+\.\w+|grid\.\w+)", PAGE)) - {"my_data.Rings"}
    assert said == {"my_criteria.fisher", "my_schedules.Sine", "my_models.Bottleneck",
                    "my_tasks.Focal", "grid.Grid"}  # fmt: skip
    assert set(YAML) == {"rings", "shrunk"}
    assert "my_techniques.Shrink" in YAML["shrunk"]


@pytest.mark.parametrize(
    "override",
    [
        "compression.prune.criterion._target_=my_criteria.fisher",
        "compression.prune.criterion._target_=my_criteria.wanted",
        "compression.prune.schedule._target_=my_schedules.Sine",
        "task._target_=my_tasks.Focal",
    ],
)
def test_what_is_named_acts(override: str, outside: Path) -> None:
    train(outside / "plain", *SHORT, *DEEP)
    train(outside / "run", *SHORT, *DEEP, override)
    result, plain = result_of(outside / "run"), result_of(outside / "plain")
    assert result["target"]["met"]
    assert (outside / "run" / "model.boil").read_bytes() != (
        outside / "plain" / "model.boil"
    ).read_bytes()
    asks = "criterion" in override  # for evidence, which costs
    assert (result["compute"]["flops"] > plain["compute"]["flops"]) == asks


def test_a_model_and_a_data_set(outside: Path) -> None:
    (outside / "conf" / "data").mkdir(parents=True)
    (outside / "conf" / "data" / "rings.yaml").write_text(YAML["rings"])
    own = ["model._target_=my_models.Bottleneck", "+model.width=24"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "--config-dir", str(outside / "conf"),
         "data=rings", "logger=none", *own, *DEEP[:1], "compression.ratio=2.5",
         "budget.epochs=4", f"hydra.run.dir={outside / 'run'}"],
        capture_output=True, text=True, check=False, cwd=outside,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = result_of(outside / "run")
    assert result["dense"]["params"] == 2 * 24 + 24 + 24 * 3 + 3
    file = outside / "run" / "model.boil"
    with pytest.raises(ValueError, match=r"my_models\.Bottleneck"):
        boildown.load(file)
    model = boildown.load(file, trust_config=True)
    assert model(torch.zeros(1, 2)).shape == (1, 3)


def test_a_technique_of_ones_own_is_on_a_par(outside: Path) -> None:
    options = (*SHORT, GRID, "+compression.grid.bits=3")
    train(outside / "run", *options)
    result = result_of(outside / "run")
    assert list(result["compute"]["by_phase"]) == ["dense", "grid"]
    assert result["compute"]["by_phase"]["grid"]["steps"] > 0
    assert result["config"]["compression"]["grid"]["bits"] == 3
    matrices = [layer for layer in result["layers"] if len(layer["shape"]) == 2]
    assert all(layer["distinct"] <= 2**3 for layer in matrices)
    for phase in ("dense", "grid"):
        stopped = outside / f"stopped in {phase}"
        stop_in(phase, stopped, *options)
        train(stopped, *options, "resume=true")
        assert (stopped / "model.boil").read_bytes() == (
            outside / "run" / "model.boil"
        ).read_bytes()


def test_the_asked_size_is_met_by_its_preview(outside: Path) -> None:
    for ratio in (4, 7):
        train(outside / f"{ratio}", *SHORT, GRID, f"+compression.ratio={ratio}")
        result = result_of(outside / f"{ratio}")
        assert ratio <= result["ratio"]
    few, many = ([max(layer["distinct"] for layer in result_of(outside / r)["layers"]
                      if len(layer["shape"]) == 2)] for r in ("7", "4"))  # fmt: skip
    assert few < many


def test_it_stands_in_a_recipe_beside_others(outside: Path) -> None:
    train(outside / "run", *SHORT, *DEEP, "compression.share=null", GRID,
          "+compression.grid.bits=4")  # fmt: skip
    result = result_of(outside / "run")
    assert list(result["compute"]["by_phase"]) == ["dense", "prune", "grid"]
    assert 0.98 <= 10 / result["ratio"] <= 1.0


def test_a_recipe_of_ones_own_says_the_order(outside: Path) -> None:
    (outside / "conf" / "compression").mkdir(parents=True)
    (outside / "conf" / "compression" / "shrunk.yaml").write_text(YAML["shrunk"])
    done = call_here("--config-dir", str(outside / "conf"), "+compression=shrunk", *SHORT,
                     "compression.ratio=10", "logger=none",
                     f"hydra.run.dir={outside / 'run'}")  # fmt: skip
    assert done.returncode == 0, done.stderr
    phases = result_of(outside / "run")["compute"]["by_phase"]
    assert list(phases) == ["dense", "shrink", "prune", "share"]


@pytest.mark.parametrize(
    ("script", "options", "files"),
    [
        ("own_script.py", ["--epochs=2", "--out=digits.boil"], {"digits"}),
        ("one_call.py", ["--epochs=2", "--out=digits.boil"], {"digits"}),
        ("low_rank.py", ["--epochs=2", "--out=."], {"learned", "pruned", "dense"}),
        ("pack_checkpoint.py", ["--out=."], {"pruned"}),
    ],
)
def test_the_scripts_run(script: str, options: list[str], files: set[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / script), *options],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {path.stem for path in tmp_path.glob("*.boil")} == files
    for file in tmp_path.glob("*.boil"):
        assert f"{file.stat().st_size} " in done.stdout
        assert boildown.unpack(file)


def test_the_page_says_how_many_files(outside: Path) -> None:
    assert {json.dumps(name) for name in FILES} == {
        f'"my_{kind}.py"'
        for kind in ("criteria", "schedules", "techniques", "models", "data", "tasks")
    }
