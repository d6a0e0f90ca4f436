"""`boildown sensitivity`, as a user meets it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from runs import config_of_a_run, leave_a_run
from safetensors.torch import load_file

from boildown import codec
from boildown.cli import main
from boildown.data.digits import Digits
from boildown.models.mlp import MLP

CONFIG = config_of_a_run([12])
MODEL = CONFIG["model"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A directory as a run leaves it, of a net that was not trained."""
    directory = tmp_path / "run"
    state = leave_a_run(directory, [12])
    codec.pack(state, directory / "model.boil", config=MODEL)
    inside = {f"model.{name}": tensor for name, tensor in state.items()}
    torch.save(
        {"state_dict": inside | {"accuracy.val.tp": torch.ones(1)}}, directory / "newest.ckpt"
    )
    return directory


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_measures_draws_and_tells(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sensitivity", str(run)]) == 0
    said = capsys.readouterr().out
    for text in ("most sensitive: ", "least sensitive: ", "validation error, unchanged: "):
        assert text in said
    picture = run / "sensitivity_rank.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    table = rows(picture.with_suffix(".csv"))
    assert [(row["layer"], row["level"]) for row in table] == [
        *(("fc1", level) for level in ("", "1", "2", "4", "8", "10")),
        *(("fc2", level) for level in ("", "1", "2", "4", "5")),
    ]
    assert {"val/loss", "val/error"} <= table[0].keys()
    assert len({row["val/loss"] for row in table}) > 5
    lines = picture.with_suffix(".jsonl").read_text().splitlines()
    assert len(lines) == 1 + 5 + 4

    # again, from another file of the same weights: nothing is measured anew
    for name in ("newest.ckpt", "model.boil", "dense.safetensors"):
        before = picture.with_suffix(".jsonl").read_bytes()
        assert main(["sensitivity", str(run / name)]) == 0
        assert picture.with_suffix(".jsonl").read_bytes() == before
        assert rows(picture.with_suffix(".csv")) == table


def test_the_unchanged_model_has_the_metrics_of_its_validation_set(run: Path) -> None:
    args = ["--technique", "bits", "--levels", "1", "16", "--layer", "fc2", "--metric", "loss"]
    out = run.parent / "other.png"
    assert main(["sensitivity", str(run), *args, "--out", str(out)]) == 0
    data = Digits(batch_size=64, eval_batch_size=1000, val_size=200, seed=0)
    data.prepare()
    ((inputs, targets),) = data.val_dataloader()
    model = MLP((1, 8, 8), 10, [12])
    model.load_state_dict(load_file(run / "dense.safetensors"))
    with torch.no_grad():
        logits = model(inputs)
    error = float((logits.argmax(1) != targets).double().mean())
    loss = float(torch.nn.functional.cross_entropy(logits, targets))
    unchanged, coarse, fine = rows(out.with_suffix(".csv"))
    assert float(unchanged["val/error"]) == pytest.approx(error, abs=1e-6)
    assert float(unchanged["val/loss"]) == pytest.approx(loss, abs=1e-5)
    assert float(fine["val/loss"]) == pytest.approx(loss, abs=1e-5)
    assert float(coarse["val/loss"]) != pytest.approx(loss, abs=1e-5)
    lines = out.with_suffix(".jsonl").read_text().splitlines()
    assert [json.loads(line)["layer"] for line in lines] == [None, "fc2", "fc2"]


SOFTER = """
from boildown.callbacks.technique import Technique


class Softer(Technique):
    def __init__(self, *, floor=0.0):
        self.floor = floor

    def preview(self, weights, amount=None):
        return {
            name: weight.where(weight.abs() > amount / 10 + self.floor, 0.0)
            for name, weight in weights.items()
        }
"""


def test_a_technique_of_ones_own(run: Path) -> None:
    (run.parent / "my_softer.py").write_text(SOFTER)
    command = [sys.executable, "-c", "import sys; from boildown.cli import main; sys.exit(main())"]
    done = subprocess.run(
        [*command, "sensitivity", "run", "--technique", "my_softer.Softer", "--set", "floor=1e-3"],
        cwd=run.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "at each amount" in done.stdout
    table = rows(run / "sensitivity_Softer.csv")
    assert [row["level"] for row in table[:11]] == ["", *(f"{i / 10:g}" for i in range(1, 11))]
    assert {row["technique"] for row in table} == {"my_softer.Softer(floor=0.001)"}
    assert {row["cost_unit"] for row in table} == {"bytes"}
    assert {row["layer"] for row in table} == {"fc1", "fc2"}
    costs = [float(row["cost"]) for row in table[:11]]
    assert costs[10] < costs[5] < costs[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: there is no such run or file"),
        (["."], "is no directory of a run: it holds none of dense.safetensors"),
        (["run", "--technique", "width"], "--technique width: there is no such technique"),
        (["run", "--technique", "os.path"], "--technique os.path cannot be found"),
        (["run", "--technique", "os.getcwd"], "--technique os.getcwd is no technique: it has no p"),
        (["run", "--set", "floor=1"], "--set floor=1: --technique rank has no settings"),
        (["run", "--technique", "a.B", "--set", "floor"], "--set floor: expected key=value"),
        (["run", "--technique", "a.B", "--set", "floor=[1"], "--set floor=[1: the value is no YA"),
        (["run", "--layer", "conv*"], "'conv*' matches no layer; there are fc1, fc2"),
        (["run", "--split", "test"], "split must be val or train, got 'test'"),
        (["run", "--batches", "0"], "batches must be at least 1, got 0"),
        (["run", "--levels", "0"], "a rank must be a whole number of at least 1, got 0"),
        (["run", "--metric", "f1"], "--metric f1: there are val/loss, val/error"),
        (["run", "--out", "a.html"], "--out a.html: give the picture's file, whose name ends in"),
        (["run", "--config", "none.yaml"], "none.yaml: there is no such config"),
        (["run", "--config", "other.yaml"], "other.yaml is no config of a run: it has no data"),
        (["run", "--config", "wider.yaml"], "dense.safetensors does not fit the model of its con"),
        (["run", "--config", "unknown.yaml"], "NoSuchData"),
        (["alone/dense.safetensors"], "alone/config.yaml: there is no such config; --config names"),
        (["run/config.yaml"], "run/config.yaml is a text, which begins 'data:"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    message: str,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(run.parent)
    OmegaConf.save(OmegaConf.create({"a": 1}), "other.yaml")
    OmegaConf.save(OmegaConf.create(CONFIG | {"model": MODEL | {"widths": [13]}}), "wider.yaml")
    data = {"_target_": "boildown.data.digits.NoSuchData"}
    OmegaConf.save(OmegaConf.create(CONFIG | {"data": data}), "unknown.yaml")
    Path("alone").mkdir()
    Path("alone/dense.safetensors").write_bytes((run / "dense.safetensors").read_bytes())
    assert main(["sensitivity", *arguments]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    *_, line = said.err.splitlines()
    assert line.startswith("boildown: ")
    assert message in line
    assert len([li for li in said.err.splitlines() if not li.startswith("sensitivity ")]) == 1
