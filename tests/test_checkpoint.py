"""boildown.checkpoint: what people have, and what it says of what it cannot read."""

import argparse
import io
import json
import pickle
import random
import resource
import warnings
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from boildown import codec
from boildown.checkpoint import load_checkpoint, load_state_dict, save_safetensors


def tied() -> dict[str, Tensor]:
    weight = torch.randn(3, 4)
    return {"in.weight": weight, "out.weight": weight, "steps": torch.tensor(3)}


def some(value: float = 1.0) -> dict[str, Tensor]:
    return {"w": torch.full((2,), value)}


def saved(path: Path, held: object) -> Path:
    torch.save(held, path)
    return path


@pytest.mark.parametrize(
    "key", [None, "state_dict", "model_state_dict", "model", "net", "module", "my_weights"]
)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt"])
def test_torch_files(tmp_path: Path, key: str | None, suffix: str) -> None:
    state, path = tied(), tmp_path / f"model{suffix}"
    momentum = {"state": {0: {"momentum": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    beside = {"epoch": 3, "optimizer": momentum, "callbacks": {}}
    torch.save(OrderedDict(state) if key is None else {**beside, key: state}, path)
    found = load_checkpoint(path)
    back = load_state_dict(path)
    assert list(back) == list(found.state) == list(state)
    assert all(back[name].equal(state[name]) for name in state)
    assert back["in.weight"].data_ptr() == back["out.weight"].data_ptr()
    assert (found.key, found.left_out, found.other_keys) == (key, [], [])


def test_dicts_of_state_dicts_are_one(tmp_path: Path) -> None:
    held = {"model": {"encoder": some(1), "decoder": {"a": some(2)}}, "epoch": 3}
    found = load_checkpoint(saved(tmp_path / "model.pt", held))
    values = {name: tensor[0].item() for name, tensor in found.state.items()}
    assert values == {"encoder.w": 1, "decoder.a.w": 2}


def test_a_dict_that_holds_itself(tmp_path: Path) -> None:
    inner: dict[str, object] = {"w": torch.ones(2)}
    inner["self"] = inner
    found = load_checkpoint(saved(tmp_path / "model.pt", {"model": inner}))
    assert list(found.state) == ["w"]
    assert found.left_out == ["self (dict)"]


def test_which_of_several(tmp_path: Path) -> None:
    path = saved(tmp_path / "gan.pt", {"G": some(1), "D": {"net.0": some(2)}, "epoch": 3})
    with pytest.raises(ValueError, match=r"gan.pt holds tensors under G, D; .* --key"):
        load_checkpoint(path)
    assert load_checkpoint(path, "G").state["w"].tolist() == [1, 1]
    assert load_checkpoint(path, "D.net.0").state["w"].tolist() == [2, 2]
    for key in ("E", "epoch", "D.net.1", "G.w.x"):
        with pytest.raises(ValueError, match=f"no named tensors under '{key}', it has G, D"):
            load_checkpoint(path, key)

    held = {"model_ema": some(1), "model": some(2), "loss": torch.ones(1)}
    path = saved(tmp_path / "ema.pt", held)
    found = load_checkpoint(path)
    assert found.state["w"].tolist() == [2, 2]
    assert (found.key, found.other_keys) == ("model", ["model_ema"])

    path = saved(tmp_path / "loss.pt", {"mine": some(), "loss": torch.ones(1)})
    with pytest.raises(ValueError, match="under mine and tensors beside them"):
        load_checkpoint(path)


def test_what_is_no_tensor_is_left_out_and_named(tmp_path: Path) -> None:
    extra = {"scale": torch.ones(2)}
    held = {"w": torch.ones(2), "q._extra_state": extra, "epoch": 3, 7: torch.ones(2)}
    for state in (held, {"state_dict": held}):
        found = load_checkpoint(saved(tmp_path / "model.pt", state))
        assert list(found.state) == ["w"]
        assert found.left_out == [
            "q._extra_state (dict)",
            "epoch (int)",
            "7 (Tensor, its name is no string)",
        ]
        assert found.other_keys == []


def test_two_tensors_of_one_name(tmp_path: Path) -> None:
    held = {"model": {"a.w": torch.ones(2), "a": some(2)}}
    with pytest.raises(ValueError, match=r"two tensors of the name 'a\.w'"):
        load_checkpoint(saved(tmp_path / "model.pt", held))


@pytest.mark.parametrize("name", ["model.safetensors", "model.bin"])
def test_safetensors(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    save_file({"a": torch.ones(2), "b": torch.zeros(3)}, path)
    assert load_state_dict(path)["a"].tolist() == [1, 1]


def sharded(directory: Path, weight_map: object) -> Path:
    save_file({"a": torch.full((2,), 1.0)}, directory / "model-1.safetensors")
    save_file({"b": torch.full((2,), 2.0)}, directory / "model-2.safetensors")
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


def test_several_files_and_directories(tmp_path: Path) -> None:
    index = sharded(tmp_path, {"a": "model-1.safetensors", "b": "model-2.safetensors"})
    for path in (index, tmp_path):
        values = {name: tensor[0].item() for name, tensor in load_state_dict(path).items()}
        assert values == {"a": 1, "b": 2}
    save_file(some(3), tmp_path / "model.safetensors")
    assert list(load_state_dict(tmp_path)) == ["w"]


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "../secret.safetensors"}, "names '../secret.safetensors', which is no file beside"),
        ({"a": "/etc/passwd"}, "names '/etc/passwd'"),
        ({"a": "C:secret"}, "names 'C:secret'"),
        ({"a": r"..\secret"}, "which is no file beside"),
        ({"a": ".."}, "names '..'"),
        ({"a": "x\0"}, "which is no file beside"),
        ({"a": 3}, "names 3"),
        ({"a": {}}, "no index"),
        (["a"], "no index"),
        ({}, "no state dict"),
        ({"c": "model-1.safetensors"}, "c is in none of the files model-1.safetensors"),
        ({"a": "model-1.safetensors", "b": "copy.safetensors"}, "copy.safetensors .* is there"),
        ({"a": "model.safetensors.index.json"}, "is a text, which begins"),
    ],
)
def test_indices_that_are_wrong(tmp_path: Path, weight_map: object, message: str) -> None:
    directory = tmp_path / "inside"
    directory.mkdir()
    save_file(some(), tmp_path / "secret.safetensors")
    save_file({"a": torch.ones(2)}, directory / "copy.safetensors")
    with pytest.raises(ValueError, match=message) as told:
        load_state_dict(sharded(directory, weight_map))
    assert "index.json" in str(told.value)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model-3\.safetensors"):
        load_state_dict(sharded(tmp_path, {"a": "model-3.safetensors"}))


def test_other_json(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for content in ("{}", "[]", "3", "{", "\xff", "[" * 100_000):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"config\.json is no index .* ends in \.safetensors"):
            load_state_dict(path)


def test_directories_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a directory; give a file, it holds no checkpoint"):
        load_state_dict(tmp_path)
    for name in ("b.pt", "a.ckpt", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"give a file, such as a\.ckpt, b\.pt in it"):
        load_state_dict(tmp_path)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear, which.*save model.state_dict"),
        ({"args": argparse.Namespace()}, "holds argparse.Namespace, which"),
        ([torch.ones(2)], "holds a list, no state dict"),
        (torch.ones(2), "holds a Tensor, no state dict"),
        ({}, "holds a dict, no state dict"),
        ({"epoch": 3}, "no named tensors, it has epoch"),
        ({"state_dict": {"epoch": 3}}, "no named tensors, it has state_dict"),
        ({0: torch.ones(2)}, "no named tensors, it has 0"),
        (dict.fromkeys("abcdefghi"), "has a, b, c, d, e, f and 3 more;"),
    ],
)
def test_what_is_no_state_dict(tmp_path: Path, held: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as told:
        load_state_dict(saved(tmp_path / "model.pt", held))
    assert "weights_only" not in str(told.value)
    assert "\n" not in str(told.value)


def test_files_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    codec.pack(some(), path)
    with pytest.raises(ValueError, match="is packed already; see boildown inspect"):
        load_state_dict(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(ValueError, match="run git lfs pull"):
        load_state_dict(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(ValueError, match=r"TorchScript archive.*save model\.state_dict") as told:
        load_state_dict(path)
    assert "weights_only" not in str(told.value)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(
        ValueError, match=r"no intact checkpoint of .*: it is a pickle of something else"
    ):
        load_state_dict(path)


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"nonsense" * 9, b"PK\x03\x04"])
def test_damaged_files(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=name) as told:
        load_state_dict(path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_damage_is_a_value_error(tmp_path: Path, zipped: bool) -> None:
    """torch.load itself raises ten types, struct.error and AssertionError among them."""
    buffer, path, generator = io.BytesIO(), tmp_path / "model.pt", random.Random(0)
    torch.save(some(), buffer, _use_new_zipfile_serialization=zipped)
    errors = 0
    for _ in range(300):
        content = bytearray(buffer.getvalue())
        content[generator.randrange(min(len(content), 600))] = generator.randrange(256)
        path.write_bytes(content)
        try:
            load_state_dict(path)
        except ValueError as error:
            assert str(error).startswith(str(path))  # noqa: PT017
            errors += 1
    assert errors > 30


def test_truncated_torch_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.pt", tied())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="no intact checkpoint"):
        load_state_dict(path)


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "Input/output error")])
def test_other_troubles_are_no_damage(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(type(error)):
        load_state_dict(saved(tmp_path / "model.pt", some()))


def test_missing_files(tmp_path: Path) -> None:
    for name in ("model.pt", "model.safetensors"):
        with pytest.raises(FileNotFoundError, match=name):
            load_state_dict(tmp_path / name)


def test_safetensors_of_ties_views_and_parameters(tmp_path: Path) -> None:
    weight = torch.randn(4, 6)
    state = tied() | {
        "half": weight[2:],
        "other half": weight[:2],
        "across": weight.mT,
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "none": torch.zeros(0, 2),
        "neither": torch.zeros(2, 0),
    }
    path = tmp_path / "model.safetensors"
    save_safetensors(state, path)
    loaded = load_state_dict(path)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_a_full_disk_leaves_the_safetensors_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_safetensors(some(), path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: .*model\.safetensors"):
            save_safetensors({"w": torch.ones(1000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == [path]
    assert torch.equal(load_state_dict(path)["w"], torch.ones(2))


def test_a_file_of_onnx_is_named(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"\x08\x08\x12\x07pytorch" + bytes(100))
    with pytest.raises(ValueError, match=r"net\.onnx is a file of ONNX: give the PyTorch weights"):
        load_checkpoint(tmp_path / "net.onnx")
