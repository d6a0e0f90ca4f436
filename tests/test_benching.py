"""boildown bench, as a user meets it."""

import json
import sys
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread
from omegaconf import OmegaConf
from runs import config_of_a_run
from torch import nn

import boildown
from boildown import codec
from boildown.cli import main
from boildown.commands import benching
from boildown.models.mlp import MLP
from boildown.models.resnet import ResNet
from boildown.models.transformer import GPT
from boildown.runtime import Report

WIDTHS = [400]
MODEL = {"_target_": "boildown.models.mlp.MLP", "widths": WIDTHS}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What a run packs, of a net that was not trained."""
    torch.manual_seed(0)
    state = MLP((1, 8, 8), 10, WIDTHS).state_dict()
    weight = state["fc1.weight"]
    weight.mul_(torch.rand_like(weight) < 0.02)
    shapes = {"input_shape": [1, 8, 8], "num_classes": 10}
    codec.pack(state, tmp_path / "model.boil", config={**MODEL, **shapes})
    return tmp_path / "model.boil"


def test_a_file_alone_is_timed_and_drawn(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(file), "--batches", "1,64"]) == 0
    said = capsys.readouterr()
    head, *lines = said.out.splitlines()
    assert head.startswith("model.boil: ")
    assert torch.backends.cpu.get_cpu_capability() in head
    assert f"{torch.get_num_threads()} thread" in head
    for name in ("fc1", "fc2", "all"):
        assert len([line for line in lines if line.startswith(f"│ {name} ")]) == 1
    assert lines[-1] == str(file.with_name("bench.png"))
    assert max(map(len, lines[:-1])) <= 110
    assert imread(file.with_name("bench.png")).shape[1] > 1000


def test_as_data_it_is_the_report(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(file), "--batches", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert not file.with_name("bench.png").exists()
    assert {row["layer"] for row in found["layers"]} == {"fc1", "fc2"}
    assert {row["form"] for row in found["layers"] if row["layer"] == "fc1"} >= {"dense"}
    assert [total["batch"] for total in found["totals"]] == [2]
    assert found["dense_bytes"] == 4 * (65 * 400 + 401 * 10)
    path = file.with_name("report.json")
    path.write_text(json.dumps({"schema": 1, **found}))
    assert Report.load(path).dense_bytes == found["dense_bytes"]


def test_a_run_is_timed_on_its_own_data(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    OmegaConf.save(OmegaConf.create(config_of_a_run(WIDTHS)), file.parent / "config.yaml")
    seen = []
    compile = benching.compile

    def spied(model: torch.nn.Module, example: torch.Tensor, **settings: object) -> object:
        seen.append(example)
        return compile(model, example, **settings)

    monkeypatch.setattr(benching, "compile", spied)
    out = file.parent / "own.png"
    assert main(["bench", str(file.parent), "--batches", "3", "--out", str(out)]) == 0
    assert seen[0].shape == (100, 1, 8, 8)
    assert out.exists()
    assert "fc1" in capsys.readouterr().out


def test_words_are_drawn_for_a_language_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    settings = {"num_classes": 30, "width": 32, "depth": 1, "heads": 2, "tied": True}
    settings |= {"input_shape": [16], "dropout": 0.0}
    config = {"_target_": "boildown.models.transformer.GPT", **settings}
    file = tmp_path / "words.boil"
    codec.pack(GPT(**settings).state_dict(), file, config=config)
    assert main(["bench", str(file), "--batches", "2", "--json"]) == 0
    layers = {row["layer"] for row in json.loads(capsys.readouterr().out)["layers"]}
    assert any(name.endswith("qkv") for name in layers)


def bare(path: Path) -> None:
    codec.pack({"a": torch.ones(3)}, path)


def foreign(path: Path) -> None:
    codec.pack({"a": torch.ones(3)}, path, config={"_target_": "os.system", "command": "false"})


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def huge(path: Path) -> None:
    """A network that takes images of any size, described as one of a size that fills memory."""
    settings = {"input_shape": [3, 4000, 4000], "num_classes": 10, "width": 4, "depth": 8}
    config = {"_target_": "boildown.models.resnet.ResNet", **settings}
    codec.pack(ResNet((3, 8, 8), 10, 4, 8).state_dict(), path, config=config)


@pytest.mark.parametrize(
    ("make", "arguments", "says"),
    [
        (None, ["--batches", "1,x"], "--batches 1,x: give numbers"),
        (None, ["--batches", "0"], "--batches 0: give numbers"),
        (None, ["--out", "a.pdf"], "--out a.pdf: give the picture's file"),
        (None, ["--config", "none.yaml"], "none.yaml: there is no such config"),
        (bare, [], "says what network it is of. For a network of your own: boildown.pack("),
        (foreign, [], "'os.system' is not one of boildown's models"),
        (foreign, [], "on the command line --allow"),
        (damaged, [], "model.boil"),
        (huge, [], "(3, 4000, 4000), which is no sample"),
    ],
)
def test_bad_input_is_named(
    make: object,
    arguments: list[str],
    says: str,
    file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if callable(make):
        make(file)
    assert main(["bench", str(file), *arguments]) == 1
    said = capsys.readouterr().err
    assert says in said.replace("\n", " ")
    assert "Traceback" not in said
    assert not file.with_name("bench.png").exists()


def test_a_network_of_ones_own_is_timed_if_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a module of the working directory; the file cannot say its input_shape."""
    (tmp_path / "sounds_net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self, width):\n"
        "        super().__init__(nn.Linear(12, width), nn.ReLU(), nn.Linear(width, 3))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    network = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    boildown.pack(network, "net.boil", config={"_target_": "sounds_net.Net", "width": 8})
    trusted = ["bench", "net.boil", "--batches", "2", "--json", "--allow", "sounds_net"]
    assert main(trusted) == 1
    assert "say it by --shape" in capsys.readouterr().err
    assert main([*trusted, "--shape", "12"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["layer"] for row in found["layers"]} == {"0", "2"}
    with pytest.raises(SystemExit):
        main([*trusted, "--shape", "3,x"])
    assert "3,x: give numbers of at least 1" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(tmp_path / "no.boil")]) == 1
    assert "no.boil: there is no such run or file" in capsys.readouterr().err
