"""`boildown quantize`, as a user meets it."""

import json
from pathlib import Path

import pytest
import torch
from runs import leave_a_run
from safetensors.torch import load_file, save_file

import boildown
from boildown import codec
from boildown.cli import main
from boildown.quantize.activations import grid_on


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A directory as a run leaves it, of a net that was not trained."""
    leave_a_run(tmp_path / "run", [24])
    return tmp_path / "run"


def most_values(file: Path) -> dict[str, int]:
    """Of a channel, by weight."""
    state = codec.unpack(file)
    return {n: max(len(row.unique()) for row in w) for n, w in state.items() if w.ndim > 1}


def test_a_run_is_quantized_measured_and_written(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in run.iterdir()}
    asked = ["quantize", str(run), "--bits", "fc1=3", "*=4", "--activations", "8"]
    assert main([*asked, "--method", "gptq"]) == 0
    said = capsys.readouterr().out.replace("\n", "")
    for text in ("quantized by gptq, 512 samples", "fc1.weight", "output error", "val/error"):
        assert text in said, text
    out = run / "quantized.boil"
    found = most_values(out)
    assert found["fc1.weight"] <= 8
    assert found["fc2.weight"] <= 16
    assert f"{out.stat().st_size:,}" in said
    assert {path: path.read_bytes() for path in before} == before
    hook = grid_on(boildown.load(out).get_submodule("fc2"))
    assert hook is not None
    assert hook.bits == 8
    # its file is one that other commands open, and quantize too
    assert main(["quantize", str(out), "--bits", "ternary", "-o", str(run / "more.boil")]) == 0
    assert most_values(run / "more.boil")["fc1.weight"] <= 3


@pytest.mark.parametrize("method", ["nearest", "gptq", "adaround"])
def test_as_data(method: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["quantize", str(run), "--bits", "4", "--method", method, "--exclude", "fc2"]
    assert main([*asked, "--granularity", "16", "--samples", "64", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["method"] == method
    assert told["left"] == {"fc2.weight": "excluded"}
    (layer,) = told["layers"]
    assert (layer["name"], layer["bits"], layer["input_bits"]) == ("fc1.weight", 4, None)
    assert 0.0 < layer["error"] < 0.1
    assert told["bytes"] == (run / "quantized.boil").stat().st_size
    assert told["before"].keys() == told["after"].keys() == {"val/loss", "val/error"}
    assert told["before"]["val/loss"] != told["after"]["val/loss"]


def test_columns_of_outliers_are_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quantize", str(run), "--bits", "3", "--outliers", "0.05"]) == 0
    said = capsys.readouterr().out
    assert "columns at 16 bits" in said
    tensors = {one.name: one for one in codec.inspect_file(run / "quantized.boil").tensors}
    assert "fc2.outliers.weight" in tensors
    assert "fc2.weight" in said
    loaded = boildown.load(run / "quantized.boil").state_dict()
    assert loaded["fc2.rest.weight"].shape[1] + loaded["fc2.outliers.weight"].shape[1] == 24
    assert main(["inspect", str(run / "quantized.boil")]) == 0
    assert "fc2.outliers.weight" in capsys.readouterr().out


def test_pruned_weights_stay_pruned(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", str(run), "--sparsity", "0.8"]) == 0
    pruned = run / "pruned.boil"
    assert main(["quantize", str(pruned), "--bits", "4", "--method", "adaround"]) == 0
    was, now = codec.unpack(pruned), codec.unpack(run / "quantized.boil")
    assert (now["fc1.weight"][was["fc1.weight"] == 0.0] == 0.0).all()


REFUSED = [
    (["--bits", "9"], "--bits must be a whole number from 2 to 8, got 9"),
    (["--bits", "four"], "--bits must be a whole number from 2 to 8, got 'four'"),
    (["--bits", "fc1=1"], "--bits['fc1'] must be a whole number from 2 to 8, got 1"),
    (["--bits", "4", "fc1=8"], "--bits 4 fc1=8: give one number, or PATTERN=BITS several times"),
    (["--bits", "conv=4"], "bits: the pattern 'conv' matches no tensor"),
    (["--activations", "ternary"], "--activations must be a whole number from 2 to 8"),
    (["--method", "best"], "--method must be one of nearest, gptq, adaround, got 'best'"),
    (["--granularity", "row"], "--granularity must be tensor, channel, or a number"),
    (["--granularity", "7"], "fc1.weight has 64 inputs, which groups of 7 do not divide"),
    (["--samples", "0"], "samples must be at least 1, got 0"),
    (["--samples", "4"], "4 rows of calibration data are too few"),
    (["--batches", "0"], "batches must be at least 1, got 0"),
    (["--exclude", "conv"], "the pattern 'conv' matches no tensor"),
    (["--outliers", "0.7"], "--outliers must be a fraction of the weights from 0 to below 0.5"),
    (["--outliers", "0.1", "--activations", "8"], "outliers=0.1 does not go with activations=8"),
    (["-o", "x.pt"], "-o x.pt: the name must end in .boil"),
]


@pytest.mark.parametrize(("given", "says"), REFUSED)
def test_what_cannot_be_is_told_and_nothing_written(
    given: list[str], says: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = sorted(run.iterdir())
    assert main(["quantize", str(run), *given]) == 1
    assert says in capsys.readouterr().err
    assert sorted(run.iterdir()) == there


def test_what_holds_nan_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = load_file(run / "dense.safetensors")
    state["fc2.weight"][0, 0] = torch.nan
    save_file(state, run / "dense.safetensors")
    assert main(["quantize", str(run)]) == 1
    assert "fc2.weight holds NaN or infinity" in capsys.readouterr().err


def test_a_network_of_ones_own_is_quantized_in_python(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(torch.nn.Linear(4, 2).state_dict(), tmp_path / "mine.pt")
    assert main(["quantize", str(tmp_path / "mine.pt")]) == 1
    said = capsys.readouterr().err
    assert "no config.yaml beside it" in said
    assert "quantize_oneshot(network, samples, bits)" in said


def test_groups_get_one_width(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["quantize", str(run), "--bits", "3", "--json"]
    spread = ["--allocation", "trace", "--group", "fc1", "fc2"]
    assert main([*asked, *spread]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len({layer["bits"] for layer in told["layers"]}) == 1
    assert main([*asked, "--group", "fc1"]) == 1
    assert "give --allocation too" in capsys.readouterr().err
