"""boildown inspect: what fits the terminal, sums by kind, and two files side by side."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import boildown
from boildown import codec
from boildown.cli import main
from boildown.lowrank.factorize import factorize

DEEP = "encoder.layers.11.attention.self.query"


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(50, 40), nn.Linear(40, 6)
    )
    with torch.no_grad():
        for layer in (model[0], model[3], model[4]):
            weight = layer.weight
            weight.mul_(weight.abs() > weight.abs().quantile(0.9))
            weight.copy_((weight * 8).round() / 8)
    return model


@pytest.fixture
def file(tmp_path: Path) -> Path:
    state = {f"{DEEP}.{name}": tensor for name, tensor in network().state_dict().items()}
    codec.pack(
        state | {"tied": state[f"{DEEP}.3.weight"]}, tmp_path / "model.boil", coder="huffman"
    )
    return tmp_path / "model.boil"


ALL = ("tensor", "shape", "coder", "kept %", "distinct", "fillers", "bytes", "file %", "ratio")


@pytest.mark.parametrize("width", [None, 80, 120, 200])
def test_no_line_is_folded_and_no_name_is_cut(
    width: int | None,
    file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if width is not None:
        monkeypatch.setenv("COLUMNS", str(width))
    assert main(["inspect", str(file)]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert max(map(len, lines)) <= (width or 80)
    for name in (*codec.unpack(file), "(header)", "total"):
        assert len([line for line in lines if line.startswith(f"{name} ")]) == 1
    head = " ".join(lines[:2])
    left_out = [title for title in ALL if title not in head]
    assert all(title in said.err for title in left_out)
    assert bool(left_out) == (width != 200)
    assert {"kept %", "bytes"} <= set(ALL) - set(left_out)
    tied = next(line for line in lines if line.startswith("tied "))
    assert tied.split().count("tied") >= 2


def test_wide_has_all(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["inspect", str(file), "--wide"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert all(title in said.out for title in ALL)


def test_a_terminal_narrower_than_a_name_shows_how_it_ends(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["inspect", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines[:-1]) <= 40
    assert any(line.startswith("\u2026") and ".query.3.weight " in line for line in lines)


def test_sums_by_kind(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    kinds = told["kinds"]
    assert {kind: one["tensors"] for kind, one in kinds.items()} == {
        "kernels": 1, "matrices": 2, "biases": 4, "scales": 1, "statistics": 2, "counters": 1,
    }  # fmt: skip
    assert sum(one["bytes"] for one in kinds.values()) + told["header"] == told["bytes"]
    assert kinds["matrices"]["numel"] == 50 * 40 + 40 * 6
    assert kinds["matrices"]["nonzero"] < 0.15 * kinds["matrices"]["numel"]
    assert main(["inspect", str(file), "--wide"]) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("matrices (2) ")]
    assert f"{kinds['matrices']['bytes']:,}" in line


def test_two_files_layer_by_layer(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.boil"
    small = factorize(network(), {"3": 4})
    small.append(nn.Linear(6, 2))
    boildown.pack(small, other, coder="huffman")
    assert main(["inspect", str(file.with_name("plain.boil")), str(other)]) == 1
    boildown.pack(network(), tmp_path / "plain.boil", coder="huffman")
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "plain.boil"), str(other)]) == 0
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines()]
    assert [line[0] for line in lines if line and line[0].isdecimal()] == ["0", "1", "3", "4", "5"]
    (same,) = [line for line in lines if line[:1] == ["4"]]
    assert same[-1] == "1.00"
    (new,) = [line for line in lines if line[:1] == ["5"]]
    assert "-" in new
    assert f"A: {tmp_path / 'plain.boil'}" in said

    assert main(["inspect", str(tmp_path / "plain.boil"), str(other), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    layers = {layer["name"]: layer for layer in told["layers"]}
    assert layers["3"]["a"]["numel"] == 50 * 40 + 40
    assert layers["3"]["b"]["numel"] == 4 * (50 + 40) + 40
    assert layers["5"]["a"] is None
    for side in "ab":
        parts = sum(layer[side]["bytes"] for layer in layers.values() if layer[side])
        assert parts + told[side]["header"] == told[side]["bytes"]


def test_the_modules_that_all_names_begin_with_do_not_part_two_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codec.pack(network().state_dict(), tmp_path / "a.boil", coder="huffman")
    state = {f"model.{name}": tensor for name, tensor in network().state_dict().items()}
    codec.pack(state, tmp_path / "b.boil", coder="huffman")
    assert main(["inspect", str(tmp_path / "a.boil"), str(tmp_path / "b.boil")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[-1] for row in rows if row and row[0].isdecimal()] == ["1.00"] * 4


def test_a_grid_shows_its_nominal_and_its_coded_bits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    torch.manual_seed(0)
    codes = (torch.randn(40, 200) * 3).round().clamp(-8, 7)
    codec.pack(
        {"fc.weight": codes * torch.rand(40, 1) + 0.0}, tmp_path / "model.boil", coder="huffman"
    )
    assert main(["inspect", str(tmp_path / "model.boil")]) == 0
    assert "grid dense huffman" in (shown := capsys.readouterr().out)
    assert main(["inspect", str(tmp_path / "model.boil"), "--json"]) == 0
    (tensor,) = json.loads(capsys.readouterr().out)["tensors"]
    assert tensor["weight_bits"] == 4
    assert 3.4 < tensor["weight_bits_coded"] < 4
    assert f"4 > {tensor['weight_bits_coded']:.2f}" in shown


def test_values_without_codes_show_what_they_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    codec.pack({"weight": torch.randn(200, 50)}, tmp_path / "plain.boil")
    assert main(["inspect", str(tmp_path / "plain.boil")]) == 0
    (line,) = [li for li in capsys.readouterr().out.splitlines() if li.startswith("weight ")]
    assert "None" not in line
    assert " > " not in line
