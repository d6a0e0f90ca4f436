"""boildown.checkpoints.unpickling: hostile pickles run nothing, and everyday ones are read."""

import argparse
import collections
import datetime
import enum
import fractions
import functools
import io
import os
import pathlib
import pickle
import struct
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from boildown.checkpoints.checkpoint import load_checkpoint
from boildown.checkpoints.unpickling import StandIn, unpickle

RAN: list[Any] = []


def run(*args: Any, **settings: Any) -> list[Any]:
    RAN.append((args, settings))
    return []


class Runs:
    """Runs code when it is unpickled as pickle would."""

    def __init__(self, *made: Any) -> None:
        self.made = made

    def __reduce__(self) -> Any:
        return self.made


class Restored:
    """Runs code when its state is set."""

    def __getstate__(self) -> dict[str, int]:
        return {"a": 1}

    def __setstate__(self, state: Any) -> None:
        run(state)


class New:
    """Runs code when it is made."""

    def __new__(cls, *args: Any) -> "New":
        run(args)
        return super().__new__(cls)

    def __getnewargs__(self) -> tuple[int, ...]:
        return (1,)


class Lists(list[Any]):
    """Runs code when something is appended."""

    def append(self, item: Any) -> None:
        run(item)

    def extend(self, items: Any) -> None:
        run(items)


class Dicts(dict[Any, Any]):
    """Runs code when something is set."""

    def __setitem__(self, key: Any, value: Any) -> None:
        run(key)


class Keys:
    """Runs code when it is hashed."""

    def __hash__(self) -> int:
        run()
        return 1


def evil(touched: str) -> dict[str, Any]:
    """Objects whose pickles run code in one way each."""
    lists, dicts = Lists(), Dicts()
    list.append(lists, 1)
    dict.__setitem__(dicts, "a", 1)
    return {
        "os.system": Runs(os.system, (f"touch {touched}",)),
        "eval": Runs(eval, (f"open({touched!r}, 'w')",)),
        "exec": Runs(exec, (f"open({touched!r}, 'w')",)),
        "open": Runs(open, (touched, "w")),
        "__import__": Runs(__import__, ("antigravity",)),
        "getattr": Runs(getattr, (os, "system")) if False else Runs(getattr, ("", "join")),
        "map": Runs(map, (run, [1])),
        "partial": Runs(functools.partial, (run, 1)),
        "reduce": Runs(functools.reduce, (run, [1, 2])),
        "bytearray": Runs(bytearray, (1 << 40,)),
        "a list of a range": Runs(list, (range(1 << 40),)),
        "torch.load": Runs(torch.load, (touched,)),
        "torch.save": Runs(torch.save, (1, touched)),
        "torch.hub": Runs(torch.hub.load, ("a/b", "c")),
        "torch.Tensor": Runs(torch.Tensor, (1 << 20, 1 << 20)),
        "torch.empty": Runs(torch.empty, (1 << 50,)),
        "torch.nn.Linear": Runs(nn.Linear, (1 << 20, 1 << 20)),
        "pathlib": Runs(pathlib.Path.touch, (Path(touched),)),
        "np.save": Runs(np.save, (touched, np.ones(2))),
        "a function of one's own": Runs(run, (1,)),
        "its state": Runs(run, (1,), {"a": 1}),
        "items of a list": Runs(Lists, (), None, iter([1, 2])),
        "items of a dict": Runs(Dicts, (), None, None, iter([("a", 1)])),
        "setstate": Restored(),
        "new": New(),
        "list": lists,
        "dict": dicts,
        "key": {Keys(): 1},
        "setter of state": Runs(run, (), {"a": 1}, None, None, run),
        "update_wrapper": Runs(functools.update_wrapper, (run, os.system)),
        "set": {1, 2},
        "a ready frozenset": frozenset({1}),
    }


NAMES = sorted(evil("x"))


def zipped(pickled: bytes, path: Path) -> Path:
    """A file of torch.save with a pickle of one's own."""
    writer = torch._C.PyTorchFileWriter(str(path))
    writer.write_record("data.pkl", pickled, len(pickled))
    writer.write_record("byteorder", b"little", 6)
    writer.write_end_of_file()
    return path


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", NAMES)
def test_hostile_pickles_run_nothing(name: str, protocol: int, tmp_path: Path) -> None:
    touched, path = tmp_path / "touched", tmp_path / "a.pt"
    held = {"state_dict": {"w": torch.ones(3)}, "other": evil(str(touched))[name]}
    for new in (True, False):
        torch.save(held, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
        RAN.clear()
        found = load_checkpoint(path)
        assert RAN == []
        assert not touched.exists()
        assert found.state["w"].tolist() == [1, 1, 1]


def op(module: str, name: str) -> bytes:
    return b"c" + f"{module}\n{name}\n".encode()


CRAFTED: dict[str, bytes] = {
    "attributes of a function": op("torch._utils", "_rebuild_tensor")
    + b"N}X\x0c\x00\x00\x00__defaults__K\x01s\x86b.",
    "attributes of a class": op("collections", "OrderedDict") + b"N}X\x01\x00\x00\x00aK\x01s\x86b.",
    "a class of torch": op("torch.nn.parameter", "Parameter") + b"N}X\x01\x00\x00\x00aK\x01s\x86b.",
    "inst": b"(X\x04\x00\x00\x00trueios\nsystem\n.",
    "obj": b"(" + op("os", "system") + b"X\x04\x00\x00\x00trueo.",
    "dotted": b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93)R.",
    "a call of what a call gave": op("os", "system") + b")R)R.",
    "a call of a tuple": b"))R.",
    "an extension": b"\x82\x01.",
    "a text for a storage": b"P0\n.",
    "a module for a storage": b"(X\x06\x00\x00\x00moduleK\x01K\x01K\x01tQ.",
    "a storage of a class": b"(X\x07\x00\x00\x00storage" + op("os", "system")
    + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ.",
    "a large storage": b"(X\x07\x00\x00\x00storage" + op("torch", "FloatStorage")
    + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu\x8a\x06\xff\xff\xff\xff\xff\x0ftQ.",
    "a large bytearray": b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\x00\x00.",
    "a large text": b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\x00\x00.",
    "a buffer": b"\x80\x05\x97.",
    "nothing": b".",
    "not even an end": b"}",
    "a key that is nested": b"}" + b")" + b"\x85" * 200_000 + b"K\x01s.",
    "a value that is nested": b"}X\x01\x00\x00\x00a)" + b"\x85" * 200_000 + b"s.",
    "lists that are nested": b"]" * 100_000 + b"a" * 99_999 + b".",
}  # fmt: skip


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_pickles_are_refused_in_a_line(name: str, tmp_path: Path) -> None:
    before = torch._utils._rebuild_tensor.__defaults__, vars(nn.Parameter).copy()
    with pytest.raises(ValueError, match=r"a\.pt") as told:
        load_checkpoint(zipped(b"\x80\x02" + CRAFTED[name], tmp_path / "a.pt"))
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400
    assert (torch._utils._rebuild_tensor.__defaults__, vars(nn.Parameter)) == before


def test_a_tensor_stays_within_its_storage(tmp_path: Path) -> None:
    def saved(offset: int, size: int, stride: int) -> Path:
        torch.save({"w": torch.arange(5.0)}, tmp_path / "plain.pt")
        with zipfile.ZipFile(tmp_path / "plain.pt") as archive:
            records = {n.partition("/")[2]: archive.read(n) for n in archive.namelist()}
        old = b"K\x00K\x05\x85q\x08K\x01\x85"
        assert old in records["data.pkl"]
        new = bytes([75, offset, 75, size]) + b"\x85q\x08K" + bytes([stride]) + b"\x85"
        records["data.pkl"] = records["data.pkl"].replace(old, new)
        writer = torch._C.PyTorchFileWriter(str(tmp_path / "a.pt"))
        for name, content in records.items():
            if not name.startswith((".data", "version")):
                writer.write_record(name, content, len(content))
        writer.write_end_of_file()
        return tmp_path / "a.pt"

    assert load_checkpoint(saved(1, 2, 3)).state["w"].tolist() == [1, 4]
    for offset, size, stride in ((1, 5, 1), (0, 5, 2), (0, 255, 1), (5, 1, 1)):
        with pytest.raises(ValueError, match="reaches beyond its storage"):
            load_checkpoint(saved(offset, size, stride))


class Colour(enum.Enum):
    """Of a setting."""

    RED = 1


class Mine:
    """A class of somebody's."""

    def __init__(self) -> None:
        self.a = torch.ones(2)


Point = collections.namedtuple("Point", "a b")

EVERYDAY: dict[str, Callable[[], Any]] = {
    "numpy scalar": lambda: {"lr": np.float64(1e-3), "n": np.int64(3)},
    "numpy array": lambda: np.arange(3),
    "random state": lambda: np.random.RandomState(0).get_state(),
    "omegaconf": lambda: OmegaConf.create({"a": {"b": [1, "${a.b}"]}}),
    "namespace": lambda: argparse.Namespace(a=1),
    "simple namespace": lambda: types.SimpleNamespace(a=1),
    "path": lambda: pathlib.Path("x"),
    "windows path": lambda: pathlib.PureWindowsPath("x"),
    "class": Mine,
    "a class itself": lambda: Mine,
    "function": lambda: torch.nn.functional.relu,
    "module": lambda: nn.Linear(2, 2),
    "loss": nn.CrossEntropyLoss,
    "enum": lambda: Colour.RED,
    "named tuple": lambda: Point(1, torch.ones(2)),
    "date": lambda: datetime.datetime(2026, 1, 1),
    "fraction": lambda: fractions.Fraction(1, 3),
    "set": lambda: {1, 2},
    "frozenset": lambda: frozenset([1]),
    "deque": lambda: collections.deque([1, 2]),
    "defaultdict": lambda: collections.defaultdict(list, a=[1]),
    "counter": lambda: collections.Counter("aab"),
    "bytes": lambda: b"abc",
    "bytearray": lambda: bytearray(b"abc"),
    "complex": lambda: 1j,
    "large number": lambda: 10**400,
    "range": lambda: range(3),
    "slice": lambda: slice(1, 2),
    "ellipsis": lambda: ...,
    "type": lambda: int,
    "partial": lambda: functools.partial(run, 1),
    "dtype": lambda: torch.float32,
    "device": lambda: torch.device("cpu"),
    "size": lambda: torch.Size([2]),
    "generator": lambda: torch.Generator().get_state(),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "meta": lambda: torch.ones(2, device="meta"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", EVERYDAY)
def test_whatever_lies_beside_the_tensors(name: str, protocol: int, tmp_path: Path) -> None:
    state = collections.OrderedDict(w=torch.randn(4, 4))
    held = {"state_dict": state, "hyper_parameters": EVERYDAY[name](), "optimizer_states": []}
    for new in (True, False):
        path = tmp_path / "a.ckpt"
        torch.save(held, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
        found = load_checkpoint(path)
        assert list(found.state) == ["w"]
        assert found.state["w"].equal(state["w"])
        assert (found.key, found.other_keys) == ("state_dict", [])


def test_names_of_stand_ins_are_told_once(tmp_path: Path) -> None:
    held = {"w": torch.ones(2), "a": pathlib.PurePosixPath("x"), "b": [Mine(), Mine(), {1}]}
    torch.save(held, tmp_path / "a.pt")
    found = load_checkpoint(tmp_path / "a.pt")
    assert found.not_loaded == ["pathlib.PurePosixPath", f"{__name__}.Mine"]
    assert found.left_out == ["a (pathlib.PurePosixPath)", "b (list)"]


class Attributes(dict[str, Any]):
    """A dict of somebody's, as people keep settings in, and state dicts."""


def test_a_dict_of_a_class_of_its_own_is_a_dict(tmp_path: Path) -> None:
    torch.save(Attributes(model=Attributes(w=torch.ones(2)), epoch=3), tmp_path / "a.pt")
    assert load_checkpoint(tmp_path / "a.pt").state["w"].tolist() == [1, 1]


def test_a_whole_model_is_not_mistaken_for_what_lies_beside_it(tmp_path: Path) -> None:
    torch.save({"model": nn.Linear(2, 2), "optimizer": {"m": torch.ones(2)}}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"torch\.nn\.modules\.linear\.Linear, which only running"):
        load_checkpoint(tmp_path / "a.pt")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (lambda: torch.eye(3).to_sparse(), r"w is a sparse tensor; save its to_dense\(\)"),
        (lambda: torch.eye(3).to_sparse_csr(), "w is a sparse tensor"),
        (EVERYDAY["quantized"], "w is a quantized tensor; save"),
        (EVERYDAY["meta"], "w is a tensor on the meta device"),
    ],
)
def test_tensors_that_are_not_dense_are_named(
    tensor: Callable[[], torch.Tensor], message: str, tmp_path: Path
) -> None:
    torch.save({"w": tensor()}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=message):
        load_checkpoint(tmp_path / "a.pt")


class Special(torch.Tensor):
    """A tensor of somebody's class."""


def test_tensors_with_attributes_and_views(tmp_path: Path) -> None:
    whole = torch.randn(4, 4)
    named = nn.Parameter(torch.randn(3))
    named.tag = "x"  # type: ignore[attr-defined]
    state = {
        "whole": whole,
        "part": whole[1:],
        "across": whole.mT,
        "parameter": nn.Parameter(torch.randn(2)),
        "named": named,
        "special": torch.randn(3).as_subclass(Special),
        "conj": torch.randn(3, dtype=torch.complex64).conj(),
        "negative": torch.randn(3, dtype=torch.complex64).conj().imag,
        "none": torch.zeros(0, 3),
        "uint16": torch.ones(2, dtype=torch.uint16),
        "float8": torch.ones(2).to(torch.float8_e4m3fn),
    }
    for new in (True, False):
        if not new:  # whose types torch itself cannot read in the old format
            del state["uint16"], state["float8"]
        torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
        found = load_checkpoint(tmp_path / "a.pt").state
        for name, tensor in state.items():
            assert torch.equal(
                found[name].float() if name == "float8" else found[name],
                tensor.float() if name == "float8" else tensor.data,
            )
        assert found["part"].untyped_storage().data_ptr() == found["whole"].data_ptr()


def test_torchs_own_variable_does_not_stand_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pt")
    assert load_checkpoint(tmp_path / "a.pt").state["w"].tolist() == [1, 1]
    assert os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"


def test_a_stand_in_is_only_a_name() -> None:
    buffer = io.BytesIO()
    torch.save([Mine(), Restored()], buffer)
    buffer.seek(0)
    RAN.clear()
    first, second = unpickle(buffer).held
    assert type(first) is type(second) is StandIn
    assert (first.path, vars(first)) == (f"{__name__}.Mine", {"path": first.path, "why": None})
    assert not callable(first)
    assert RAN == []


def test_the_oldest_format_is_not_unpacked_to_disk(tmp_path: Path) -> None:
    import tarfile

    path = tmp_path / "a.pt"
    with tarfile.open(path, "w") as tar:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(0, 2)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(ValueError, match="no intact checkpoint"):
        load_checkpoint(path)


def bomb(path: Path, method: int) -> Path:
    """A file of torch.save whose storage is deflated."""
    torch.save({"w": torch.zeros(1 << 20)}, path.with_name("plain.pt"))
    with (
        zipfile.ZipFile(path.with_name("plain.pt")) as plain,
        zipfile.ZipFile(path, "w", method) as archive,
    ):
        for name in plain.namelist():
            archive.writestr(name, plain.read(name))
    return path


def test_a_deflated_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = bomb(tmp_path / "a.pt", zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 20_000
    with pytest.raises(ValueError, match=r"compressed, as torch.save never does; .*zip -0"):
        load_checkpoint(path)
    stored = bomb(tmp_path / "b.pt", zipfile.ZIP_STORED)
    assert load_checkpoint(stored).state["w"].numel() == 1 << 20


def test_entries_longer_than_the_file_are_refused(tmp_path: Path) -> None:
    path = bomb(tmp_path / "a.pt", zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\x01\x02", 0, content.rfind(b"data/0"))
    content[at + 20 : at + 28] = struct.pack("<II", 1 << 30, 1 << 30)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.pt"):
        load_checkpoint(path)


def nested(depth: int) -> dict[str, Any]:
    held: dict[str, Any] = {"w": torch.ones(2)}
    for _ in range(depth):
        held = {"a": held}
    return held


def laughs(depth: int, last: dict[str, Any]) -> dict[str, Any]:
    """Dicts in each other, so that there are 2^depth names."""
    held = last
    for _ in range(depth):
        held = {"a": held, "b": held}
    return held


def crowd() -> dict[str, Any]:
    weight = torch.ones(1000, 1000)
    return {f"w{i}": weight[:, i:] for i in range(900)}


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (lambda: {"w": torch.zeros(1).expand(2_000_000, 2_000_000)}, "show the same values again"),
        (lambda: {"w": torch.zeros(1).expand(20_000, 20_000)}, r"save what tensor\.expand"),
        (lambda: {f"w{i}": torch.zeros(1).expand(1_000_000 + i) for i in range(90)}, "to w16 with"),
        (lambda: {"w": torch.zeros(99999).as_strided((50_000, 50_000), (1, 1))}, "as_strided"),
        (crowd, "the shape"),
        (lambda: nested(70), "nested deeper than 64 levels"),
        (lambda: nested(300), "nested deeper than 64 levels"),
        (lambda: {"x": laughs(40, {"w": torch.ones(2)})}, "more than 1,048,576 names"),
        (lambda: {"w": torch.ones(1), "x": laughs(40, {})}, "more than 1,048,576 names"),
        (lambda: laughs(40, {}), "more than 1,048,576 names"),
    ],
)  # fmt: skip
def test_a_small_file_buys_little(
    held: Callable[[], dict[str, Any]], message: str, tmp_path: Path
) -> None:
    torch.save(held(), tmp_path / "a.pt")
    with pytest.raises(ValueError, match=message) as told:
        load_checkpoint(tmp_path / "a.pt")
    assert len(str(told.value)) < 500


def test_three_thousand_dicts(tmp_path: Path) -> None:
    w = io.BytesIO()
    pickle._Pickler(w, 2).dump(0)  # type: ignore[attr-defined]
    pickled = b"\x80\x02" + b"}X\x01\x00\x00\x00a" * 3000 + b"K\x01" + b"s" * 3000 + b"."
    with pytest.raises(ValueError, match="nested deeper than 64"):
        load_checkpoint(zipped(pickled, tmp_path / "a.pt"))


def test_tied_views_and_small_expansions_are_read(tmp_path: Path) -> None:
    weight = torch.ones(1000, 1000)
    held = {f"w{i}": weight for i in range(900)} | {"one": torch.zeros(1).expand(1000)}
    torch.save(held, tmp_path / "a.pt")
    assert len(load_checkpoint(tmp_path / "a.pt").state) == 901


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.pt")
    with pytest.raises(OSError, match="is a pipe, a device or the like"):
        load_checkpoint(tmp_path / "a.pt")
