"""boildown export, as a user meets it."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import boildown
from boildown.cli import main
from boildown.models.mlp import MLP
from boildown.quantize.activations import InputGrid, attach, quantizable
from boildown.quantize.grid import blocks_of
from boildown.quantize.rounding import Uniform

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("ignore")  # of torch.export and onnxscript

CONFIG = {
    "_target_": "boildown.models.mlp.MLP",
    "widths": [40],
    "input_shape": [1, 8, 8],
    "num_classes": 10,
}


def made() -> nn.Module:
    torch.manual_seed(0)
    return MLP((1, 8, 8), 10, [40])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A quantized network, packed."""
    model = made()
    with torch.no_grad():
        for name in quantizable(model):
            layer = model.get_submodule(name)
            blocks, rounding = blocks_of(layer.get_parameter("weight"), "channel"), Uniform(8)
            seen = rounding.seen(blocks, rounding.start(blocks))
            layer.get_parameter("weight").copy_(seen)
            attach(layer, InputGrid(torch.tensor(0.02), 100, 8))
    boildown.pack(model, tmp_path / "model.boil", config=CONFIG)
    return tmp_path / "model.boil"


def test_a_file_becomes_onnx_beside_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(file)]) == 0
    said = capsys.readouterr()
    path = file.with_suffix(".onnx")
    assert f"{path}: {path.stat().st_size:,} bytes" in said.out
    assert "2 weights are whole numbers of 8 bits" in said.out
    assert "AVX2" in said.err
    session = onnxruntime.InferenceSession(path)
    inputs = torch.randn(5, 1, 8, 8)
    (found,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    expected = boildown.load(file)(inputs).detach()
    step = float(expected.max() - expected.min()) / 255
    assert float((torch.from_numpy(found) - expected).abs().max()) <= 2 * step


@pytest.mark.parametrize(("to", "ending"), [("torch", ".pt2"), ("safetensors", ".safetensors")])
def test_other_kinds_have_their_endings(to: str, ending: str, file: Path) -> None:
    assert main(["export", str(file), "--to", to]) == 0
    assert file.with_suffix(ending).exists()


def test_what_exists_is_replaced_only_if_named(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file.with_suffix(".onnx")
    path.write_bytes(b"mine")
    assert main(["export", str(file)]) == 1
    assert "exists" in capsys.readouterr().err
    assert path.read_bytes() == b"mine"
    assert main(["export", str(file), "-o", str(path)]) == 0
    assert path.read_bytes() != b"mine"


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "nowhere.boil"]) == 1
    assert "nowhere.boil: there is no such run or file" in capsys.readouterr().err


def test_bench_shows_the_exported_file_beside(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(file), "--batches", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["exported"]
    assert found["bytes"] > 0
    assert [total["batch"] for total in found["totals"]] == [2]
