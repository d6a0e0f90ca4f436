"""`boildown prune`, as a user meets it."""

import json
from pathlib import Path

import pytest
import torch
from runs import leave_a_run
from safetensors.torch import load_file, save_file

import boildown
from boildown import codec
from boildown.cli import main


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A directory as a run leaves it, of a net that was not trained."""
    leave_a_run(tmp_path / "run", [24])
    return tmp_path / "run"


def zeros(file: Path) -> dict[str, float]:
    state = codec.unpack(file)
    return {n: float((w == 0).float().mean()) for n, w in state.items() if w.ndim > 1}


def test_a_run_is_pruned_measured_and_written(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in run.iterdir()}
    assert main(["prune", str(run), "--sparsity", "0.75"]) == 0
    said = capsys.readouterr().out.replace("\n", "")
    for text in ("pruned by alps, 512 samples", "fc1.weight", "output error", "val/error", "bytes"):
        assert text in said, text
    out = run / "pruned.boil"
    assert zeros(out) == {"fc1.weight": 0.75, "fc2.weight": 0.75}
    assert f"{out.stat().st_size:,}" in said
    assert {path: path.read_bytes() for path in before} == before
    assert torch.equal(
        boildown.load(out).get_parameter("fc1.weight"), codec.unpack(out)["fc1.weight"]
    )
    # its file is one that other commands open, and prune too
    assert main(["prune", str(out), "--sparsity", "0.9", "-o", str(run / "more.boil")]) == 0
    assert zeros(run / "more.boil")["fc1.weight"] == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["--method", "magnitude"], 0.5),
        (["--method", "wanda", "--scope", "erk"], None),
        (["--method", "sparsegpt", "--scope", "global"], None),
        (["--method", "obs", "--mix", "1"], 0.5),
        (["--method", "taylor"], 0.5),
        (["--method", "refit", "--pattern", "2:4"], 0.5),
        (["--method", "boildown.prune.criteria.lamp"], 0.5),
    ],
)
def test_methods_scopes_and_patterns(
    given: list[str], kept: float | None, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["prune", str(run), "--sparsity", "0.5", *given, "--batches", "1", "--samples", "64"]
    assert main([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["method"] == given[1]
    found = zeros(run / "pruned.boil")
    if kept is not None:
        assert found == {"fc1.weight": kept, "fc2.weight": kept}
    state = load_file(run / "dense.safetensors")
    count = sum(part * state[name].numel() for name, part in found.items())
    assert count == pytest.approx(0.5 * sum(w.numel() for w in state.values() if w.ndim > 1), abs=2)
    for layer in told["layers"]:
        assert layer["kept"] == int((codec.unpack(run / "pruned.boil")[layer["name"]] != 0).sum())
        assert 0.0 < layer["error"] < 2.0
    assert told["bytes"] == (run / "pruned.boil").stat().st_size
    assert told["before"].keys() == told["after"].keys() == {"val/loss", "val/error"}
    assert told["before"]["val/loss"] != told["after"]["val/loss"]


REFUSED = [
    (["--sparsity", "1"], "sparsity must be in [0, 1), got 1.0"),
    (["--sparsity", "-0.5"], "sparsity must be in [0, 1), got -0.5"),
    (["--sparsity", "nan"], "sparsity must be in [0, 1), got nan"),
    ([], "sparsity must be in [0, 1), got None"),
    (["--sparsity", "0.5", "--method", "gpt"], "no such method, only sparsegpt, alps, obs, refit"),
    (["--sparsity", "0.5", "--method", "my_module.nothing"], "my_module.nothing cannot be found"),
    (
        ["--sparsity", "0.5", "--scope", "all"],
        "scope must be one of global, layer, erk, sensitivity, got 'all'",
    ),
    (
        ["--sparsity", "0.5", "--pattern", "1x7"],
        "fc1.weight has 64 inputs, which 7 does not divide",
    ),
    (["--sparsity", "0.2", "--pattern", "2:4"], "sparsity must be in [0.5, 1), got 0.2"),
    (["--sparsity", "0.5", "--pattern", "4:2"], "pattern must be N:M"),
    (["--sparsity", "0.5", "--mix", "2"], "mix must be a number in [0, 1]"),
    (["--sparsity", "0.5", "--method", "wanda", "--mix", "1"], "a criterion fits none"),
    (["--sparsity", "0.5", "--samples", "0"], "samples must be at least 1, got 0"),
    (["--sparsity", "0.5", "--samples", "4"], "4 rows of calibration data are too few"),
    (["--sparsity", "0.5", "--batches", "0"], "batches must be at least 1, got 0"),
    (["--sparsity", "0.5", "--exclude", "conv"], "the pattern 'conv' matches no tensor"),
    (["--sparsity", "0.5", "-o", "x.pt"], "-o x.pt: the name must end in .boil"),
]


@pytest.mark.parametrize(("given", "says"), REFUSED)
def test_what_cannot_be_is_told_and_nothing_written(
    given: list[str], says: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = sorted(run.iterdir())
    assert main(["prune", str(run), *given]) == 1
    assert says in capsys.readouterr().err
    assert sorted(run.iterdir()) == there


def test_files_are_not_replaced_unasked(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["prune", str(run), "--sparsity", "0.5", "--batches", "1"]
    assert main(asked) == 0
    first = (run / "pruned.boil").read_bytes()
    assert main([*asked, "--method", "magnitude"]) == 1
    assert "pruned.boil exists; name another file with -o" in capsys.readouterr().err
    assert (run / "pruned.boil").read_bytes() == first
    own = ["prune", str(run / "pruned.boil"), "--sparsity", "0.9", "-o", str(run / "pruned.boil")]
    assert main(own) == 1
    assert "is the file to read; give another name" in capsys.readouterr().err
    assert main([*asked, "--method", "magnitude", "-o", str(run / "pruned.boil")]) == 0
    assert (run / "pruned.boil").read_bytes() != first


def test_a_network_of_ones_own_is_pruned_in_python(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.pt"
    torch.save(torch.nn.Linear(4, 2).state_dict(), file)
    assert main(["prune", str(file), "--sparsity", "0.5"]) == 1
    said = capsys.readouterr().err
    assert "no config.yaml beside it" in said
    assert "prune_oneshot(network, samples, sparsity)" in said
    assert main(["prune", str(tmp_path / "nowhere"), "--sparsity", "0.5"]) == 1
    assert "there is no such run or file" in capsys.readouterr().err


def test_weights_that_are_no_numbers_are_named(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = load_file(run / "dense.safetensors")
    state["fc2.weight"][0, 0] = torch.nan
    save_file(state, run / "dense.safetensors")
    assert main(["prune", str(run), "--sparsity", "0.5"]) == 1
    assert "fc2.weight holds NaN or infinity" in capsys.readouterr().err
