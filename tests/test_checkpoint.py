"""boildown.checkpoint: what people have, and what it says of what it cannot read."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from boildown.checkpoint import load_state_dict


def tied() -> dict[str, Tensor]:
    weight = torch.randn(3, 4)
    return {"in.weight": weight, "out.weight": weight, "steps": torch.tensor(3)}


@pytest.mark.parametrize("key", [None, "state_dict", "model"])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt"])
def test_torch_files(tmp_path: Path, key: str | None, suffix: str) -> None:
    state, path = tied(), tmp_path / f"model{suffix}"
    torch.save(OrderedDict(state) if key is None else {key: state, "epoch": 3}, path)
    back = load_state_dict(path)
    assert list(back) == list(state)
    assert all(back[name].equal(state[name]) for name in state)
    assert back["in.weight"].data_ptr() == back["out.weight"].data_ptr()


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(2), "b": torch.zeros(3)}, path)
    assert load_state_dict(path)["a"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (torch.nn.Linear(2, 2), "a whole module perhaps.*save model.state_dict"),
        ([torch.ones(2)], "holds a list, no state dict"),
        ({}, "holds a dict, no state dict"),
        ({"epoch": 3}, "'epoch' is a int, no tensor"),
        ({"state_dict": {"epoch": 3}}, "'epoch' is a int, no tensor"),
    ],
)
def test_what_is_no_state_dict(tmp_path: Path, held: object, message: str) -> None:
    path = tmp_path / "model.pt"
    torch.save(held, path)
    with pytest.raises(ValueError, match=message):
        load_state_dict(path)


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"nonsense" * 9, b"PK\x03\x04"])
def test_damaged_files(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=name) as told:
        load_state_dict(path)
    assert "\n" not in str(told.value)


def test_truncated_torch_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(tied(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="no intact checkpoint"):
        load_state_dict(path)


def test_missing_files(tmp_path: Path) -> None:
    for name in ("model.pt", "model.safetensors"):
        with pytest.raises(FileNotFoundError, match=name):
            load_state_dict(tmp_path / name)
