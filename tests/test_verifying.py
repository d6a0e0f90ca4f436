"""boildown verify: whether a file holds a checkpoint, bit by bit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

from boildown import codec
from boildown.cli import main

State = dict[str, Tensor]


def state() -> State:
    torch.manual_seed(0)
    weight = torch.randn(6, 4).round()
    return {
        "fc1.weight": weight, "fc1.bias": torch.tensor([1.0, float("nan"), -0.0]),
        "fc2.weight": torch.randn(3, 2).half(), "steps": torch.tensor(7), "none": torch.ones(0, 3),
        "pair": torch.ones(2, dtype=torch.complex128), "tied": weight,
    }  # fmt: skip


@pytest.fixture
def packed(tmp_path: Path) -> tuple[str, Path]:
    codec.pack(state(), tmp_path / "a.boil")
    return str(tmp_path / "a.boil"), tmp_path / "a.pt"


def test_the_same(packed: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    file, checkpoint = packed
    for name in ("", "model.", "net.module."):
        torch.save({"state_dict": {f"{name}{n}": t for n, t in state().items()}}, checkpoint)
        assert main(["verify", file, str(checkpoint)]) == 0
        said = capsys.readouterr()
        assert said.out == f"{file}: 7 tensors, bit for bit those of {checkpoint}\n"
        assert said.err == ""


def test_what_stands_beside_a_network_is_told(
    packed: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, checkpoint = packed
    beside = {f"model.{n}": t for n, t in state().items()} | {"loss.weight": torch.ones(3)}
    torch.save(beside, checkpoint)
    assert main(["verify", file, str(checkpoint)]) == 0
    assert f"beside what is packed, {checkpoint} has loss.weight" in capsys.readouterr().err


def altered(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[State], State]:
    return lambda state: state | {name: change(state[name])}


def flipped(tensor: Tensor) -> Tensor:
    tensor = tensor.clone()
    tensor.view(torch.int32)[2, 1] ^= 1
    return tensor


DIFFERENT: list[tuple[Callable[[State], State], str]] = [
    (altered("tied", flipped), "tied: 1 of 24 entries differ, first [2, 1]: "),
    (altered("fc1.bias", lambda t: t.abs()), "fc1.bias: 1 of 3 entries differ, first [2]: -0.0, in "
     "the checkpoint 0.0"),
    (altered("fc2.weight", lambda t: t.float()), "fc2.weight: float16 3x2, in the checkpoint "
     "float32 3x2"),
    (altered("fc2.weight", lambda t: t.T), "float16 3x2, in the checkpoint float16 2x3"),
    (altered("steps", lambda t: t + 1), "steps: 1 of 1 entries differ, first []: 7, in the "
     "checkpoint 8"),
    (altered("pair", lambda t: t * 2), "pair: 2 of 2 entries differ, first [0]: (1+0j), in"),
    (lambda state: {n: t for n, t in state.items() if n != "fc2.weight"}, "fc2.weight: not in "),
    (lambda state: state | {"more": torch.ones(1)}, "more: not in "),
]  # fmt: skip


@pytest.mark.parametrize(("change", "why"), DIFFERENT)
def test_what_differs_is_named(
    change: Callable[[State], State],
    why: str,
    packed: tuple[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, checkpoint = packed
    torch.save(change(state()), checkpoint)
    assert main(["verify", file, str(checkpoint)]) == 1
    said = capsys.readouterr()
    assert why in said.out
    assert len(said.out.splitlines()) == 1
    assert said.err == f"boildown: {file} is not {checkpoint}: 1 of 7 tensors differ\n"


def test_many_that_differ_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codec.pack({f"w{i}": torch.ones(2) for i in range(9)}, tmp_path / "a.boil")
    save_file({f"w{i}": torch.zeros(2) for i in range(9)}, tmp_path / "a.safetensors")
    assert main(["verify", str(tmp_path / "a.boil"), str(tmp_path / "a.safetensors")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        *(f"w{i}" for i in range(6)),
        "and 3 more",
    ]


def test_as_it_was_packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer = nn.Linear(30, 20)
    prune.l1_unstructured(layer, "weight", 0.5)
    torch.save({"model": layer.state_dict(), "ema": {"w": torch.ones(2)}}, tmp_path / "a.pt")
    file, checkpoint = str(tmp_path / "a.boil"), str(tmp_path / "a.pt")
    for options in ([], ["--fold-masks"], ["--fold-masks", "--drop-zero-signs"], ["--key=ema"]):
        assert main(["pack", checkpoint, "-o", file, *options]) == 0
        assert main(["verify", file, checkpoint, *options]) == 0
    capsys.readouterr()
    assert main(["verify", file, checkpoint]) == 1
    said = capsys.readouterr().err
    assert "holds other tensors than" in said
    assert "--key chooses another" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["a.boil", "none.pt"], "No such file or directory: 'none.pt'"),
        (["none.boil", "a.pt"], "No such file or directory: 'none.boil'"),
        (["a.pt", "a.boil"], "a.pt: this is not a boil file"),
        (["a.boil", "a.boil"], "a.boil is packed already"),
        (["cut.boil", "a.pt"], "cut.boil: the checksum is wrong: it was damaged"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    why: str,
    packed: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(packed[1].parent)
    torch.save(state(), "a.pt")
    Path("cut.boil").write_bytes(Path("a.boil").read_bytes()[:-9])
    assert main(["verify", *arguments]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert why in said.err
