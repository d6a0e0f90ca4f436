"""boildown pack and unpack: masks of others, metadata, and what a name says of a file."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

import boildown
from boildown import codec
from boildown.checkpoints.foreign_masks import find_masked, fold_masks
from boildown.cli import main


class Mask(nn.Module):
    """A parametrization that masks."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def by_prune() -> nn.Module:
    model = nn.Sequential(nn.Linear(200, 100), nn.BatchNorm1d(100), nn.GRU(100, 20))
    prune.l1_unstructured(model[0], "weight", 0.9)
    prune.random_unstructured(model[0], "bias", 0.5)
    prune.ln_structured(model[2], "weight_ih_l0", 0.9, 2, 0)
    return model


def by_parametrization() -> nn.Module:
    model = nn.Sequential(nn.Linear(200, 100))
    for _ in range(2):
        parametrize.register_parametrization(
            model[0], "weight", Mask((torch.rand(100, 200) > 0.7).float())
        )
    return model


def plain(model: nn.Module) -> dict[str, Tensor]:
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight")
        for name in [n.removesuffix("_mask") for n, _ in module.named_buffers(recurse=False)]:
            if hasattr(module, f"{name}_mask"):
                prune.remove(module, name)
    return model.state_dict()


@pytest.mark.parametrize("make", [by_prune, by_parametrization])
def test_masks_are_told_and_folded(
    make: Callable[[], nn.Module], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make()
    path, out = tmp_path / "a.pt", tmp_path / "a.boil"
    torch.save({f"module.{n}": t for n, t in model.state_dict().items()}, path)
    assert main(["pack", str(path)]) == 0
    said, large = capsys.readouterr().err, out.stat().st_size
    assert "--fold-masks makes them zeros in the weight itself" in said
    assert said.count("\n") == 1
    assert main(["pack", str(path), "--fold-masks", "-o", str(out)]) == 0
    assert "folded the masks of" in capsys.readouterr().err
    assert out.stat().st_size < large / 1.5
    state = {name.removeprefix("module."): tensor for name, tensor in codec.unpack(out).items()}
    wanted = plain(model)
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in wanted.items())


def test_what_is_no_mask_is_left_alone() -> None:
    state = {
        "a_orig": torch.ones(3),
        "a_mask": torch.tensor([0.0, 0.5, 1.0]),
        "b_orig": torch.ones(3),
        "b_mask": torch.ones(2),
        "c_orig": torch.ones(3),
        "d": torch.ones(3),
        "d_orig": torch.ones(3),
        "d_mask": torch.ones(3),
        "attention_mask": torch.ones(3),
        "e.parametrizations.weight.original0": torch.ones(3, 1),
        "e.parametrizations.weight.original1": torch.ones(3),
        "f.parametrizations.weight.original": torch.ones(3),
        "f.parametrizations.weight.0.u": torch.full((3,), 2.0),
    }
    assert find_masked(state) == []
    assert fold_masks(state) == state


def test_what_is_masked_is_zero_whatever_it_was() -> None:
    state = {"w_orig": torch.tensor([-1.0, float("nan"), 2.0]), "w_mask": torch.tensor([0, 0, 1])}
    folded = fold_masks(state)["w"]
    assert folded.tolist() == [0, 0, 2]
    assert not folded.signbit().any()


def test_metadata_of_safetensors_come_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = {"format": "pt", "license": "mit", "\u00e4": "\n"}
    save_file({"w": torch.ones(3)}, tmp_path / "a.safetensors", metadata)
    assert main(["pack", str(tmp_path / "a.safetensors")]) == 0
    assert main(["unpack", str(tmp_path / "a.boil"), "-o", str(tmp_path / "b.safetensors")]) == 0
    with safe_open(tmp_path / "b.safetensors", "pt") as file:
        assert file.metadata() == metadata
    capsys.readouterr()
    assert main(["unpack", str(tmp_path / "a.boil"), "-o", str(tmp_path / "b.pt")]) == 0
    assert "left out: the metadata license" in capsys.readouterr().err

    save_file({"w": torch.ones(3)}, tmp_path / "c.safetensors", {"log": "x" * 2_000_000})
    assert main(["pack", str(tmp_path / "c.safetensors")]) == 0
    assert "left out: __metadata__, as its 2,000,0" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [".pt", ".pth", ".bin", ".ckpt", ".safetensors"])
def test_unpack_writes_what_the_name_says(ending: str, tmp_path: Path) -> None:
    weight = torch.randn(4)
    codec.pack({"a": weight, "b": weight, "c": torch.ones(1, dtype=torch.complex64)},
               tmp_path / "a.boil")  # fmt: skip
    out = tmp_path / f"u{ending}"
    assert main(["unpack", str(tmp_path / "a.boil"), "-o", str(out)]) == 0
    if ending == ".safetensors":
        with safe_open(out, "pt") as file:
            assert set(file.keys()) == {"a", "b", "c"}
        return
    state = torch.load(out, weights_only=True)
    assert state["a"].equal(weight)
    assert state["a"].data_ptr() == state["b"].data_ptr()


def test_many_ties_are_not_written_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weight = torch.zeros(1 << 20)
    codec.pack({f"w{i}": weight for i in range(500)}, tmp_path / "a.boil")
    assert main(["unpack", str(tmp_path / "a.boil")]) == 1
    assert "-o with a name in .pt keeps them tied" in capsys.readouterr().err
    assert main(["unpack", str(tmp_path / "a.boil"), "-o", str(tmp_path / "a.pt")]) == 0
    assert (tmp_path / "a.pt").stat().st_size < 5_000_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"101 weights\n", "is a text, which begins '101 weights\\n'"),
        (b"", "is empty: nothing was saved"),
        (b"version https://git-lfs.github.com/spec/v1\n", "run git lfs pull"),
        (b"<!DOCTYPE html><html>", "is a text, which begins '<!DOCTYPE html>"),
    ],
)
def test_files_of_other_kinds_are_told_apart(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    assert main(["pack", str(tmp_path / "a.pt")]) == 1
    said = capsys.readouterr().err
    assert message in said.replace("\\\\", "\\")
    assert said.count("\n") == 1


def test_some_tensors_are_unpacked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = {"a": torch.ones(3), "b": torch.arange(4), "c": torch.zeros(2)}
    (tmp_path / "in").mkdir()
    codec.pack(state, tmp_path / "in" / "model.boil")
    file, out = str(tmp_path / "in"), tmp_path / "some.safetensors"
    assert main(["unpack", file, "--keys", "c", "a", "-o", str(out)]) == 0
    assert load_file(out).keys() == {"a", "c"}
    assert main(["unpack", file, "--keys", "z", "-o", str(tmp_path / "none.pt")]) == 1
    assert "'z'" in capsys.readouterr().err
    assert main(["unpack", file, "--keys", "a", "-o", str(tmp_path / "directory")]) == 1
    assert "give the name of a file" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "some.safetensors"]


def test_a_state_dict_is_unpacked_from_a_directory_and_by_the_path_of_a_base(
    tmp_path: Path,
) -> None:
    old = {"a": torch.randn(50), "b": torch.arange(4)}
    new = old | {"a": old["a"] * 1.01}
    for name, state, base in (("old", old, None), ("new", new, old)):
        (tmp_path / name).mkdir()
        codec.pack(state, tmp_path / name / "model.boil", base=base)
    found = boildown.unpack(tmp_path / "new", ["a"], base=tmp_path / "old")
    assert list(found) == ["a"]
    assert torch.equal(found["a"], new["a"])


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from boildown.files.atomic import part_beside\n"
        "part_beside(Path(sys.argv[1])).touch(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.boil")], check=False)
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    save_file({"a": torch.ones(3)}, tmp_path / "a.safetensors")
    assert main(["pack", str(tmp_path / "a.safetensors")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.boil", "a.safetensors"]
