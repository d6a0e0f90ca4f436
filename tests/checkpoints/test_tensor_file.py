"""Checkpoints that are packed without being loaded as a whole."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from boildown import codec
from boildown.checkpoints import tensor_file
from boildown.checkpoints.tensor_file import TensorFile
from boildown.cli import main
from boildown.files import progress


def test_tensors_are_loaded_when_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensor_file, "_KEPT_MOST", 100)
    one = {"a": torch.randn(30), "b": torch.arange(9)}
    two = {"c": torch.ones(2, 3), "d": torch.tensor(7.0)}
    save_file(one, tmp_path / "1.safetensors")
    save_file(two, tmp_path / "2.safetensors")
    files = [tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
    state = TensorFile(files, ["d", "a", "b", "c"], 231)
    assert list(state) == ["d", "a", "b", "c"]
    assert (len(state), state.nbytes) == (4, 231)
    for name, tensor in (one | two).items():
        assert state[name].equal(tensor)
    held = state["a"]
    assert all(state["b"].equal(one["b"]) for _ in range(9))
    assert held.equal(one["a"])
    with pytest.raises(KeyError):
        state["e"]


def test_a_checkpoint_that_is_written_anew_meanwhile_is_not_mixed_with_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tensor_file, "_KEPT_MOST", 100)
    source, out = tmp_path / "model.safetensors", tmp_path / "model.boil"
    save_file({name: torch.zeros(300_000) for name in "abcd"}, source)
    new = tmp_path / "new.safetensors"
    save_file({name: torch.ones(300_000) for name in "abcd"}, new)
    entry = TensorFile.__getitem__

    def replaced(state: TensorFile, name: str) -> Tensor:
        if name == "c" and new.exists():
            new.replace(source)
        return entry(state, name)

    monkeypatch.setattr(TensorFile, "__getitem__", replaced)
    assert main(["pack", str(source)]) == 1
    assert "was written anew while it was read: begin again" in capsys.readouterr().err
    assert not out.exists()
    assert main(["pack", str(source)]) == 0


def test_shards_are_packed_as_one_checkpoint_in_the_order_of_the_index(tmp_path: Path) -> None:
    state = {"b": torch.randn(40, 30), "a": torch.arange(12.0), "c": torch.zeros(3)}
    save_file({"b": state["b"], "c": state["c"]}, tmp_path / "1.safetensors")
    save_file({"a": state["a"]}, tmp_path / "2.safetensors")
    files = {"b": "1.safetensors", "a": "2.safetensors", "c": "1.safetensors"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": files}))
    main(["pack", str(index), "-o", str(tmp_path / "model.boil")])
    back = codec.unpack(tmp_path / "model.boil")
    assert {name: tensor.tolist() for name, tensor in back.items()} == {
        name: tensor.tolist() for name, tensor in state.items()
    }
    main(["verify", str(tmp_path / "model.boil"), str(index)])


def test_the_coder_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "model.safetensors", tmp_path / "model.boil"
    state = {"w": torch.randn(100, 100)}
    save_file(state, source)
    main(["pack", str(source), "--coder", "huffman"])
    assert out.stat().st_size == codec.estimate(state, coder="huffman")
    old = out.read_bytes()
    assert main(["pack", str(source), "-o", str(out), "--coder", "zip"]) == 1
    assert "coder 'zip' is none of auto, best, fast, huffman" in capsys.readouterr().err
    assert out.read_bytes() == old


def test_a_bar_is_shown_of_what_takes_long_and_on_a_terminal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "model.safetensors", tmp_path / "model.boil"
    save_file({str(i): torch.randn(1 << 18) for i in range(9)}, source)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    main(["pack", str(source), "-o", str(out)])
    assert "MB" not in capsys.readouterr().err
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    main(["pack", str(source), "-o", str(out)])
    main(["unpack", str(out), "-o", str(tmp_path / "back.pt")])
    said = capsys.readouterr().err
    assert "packing " in said
    assert "unpacking " in said
    assert "9.4/9.4 MB" in said
    monkeypatch.setattr(progress, "_PATIENCE", 100.0)
    main(["pack", str(source), "-o", str(out)])
    assert "MB" not in capsys.readouterr().err
