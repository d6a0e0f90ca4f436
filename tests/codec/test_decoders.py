"""The decoders that need no boildown give what it gives, and refuse what it refuses."""

import base64
import hashlib
import importlib.util
import json
import math
import random
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from states import compressed, every_kind, lenet300, plain_bytes, special, states
from torch import Tensor

from boildown import codec
from boildown.codec.bytewise import varint

ROOT = Path(__file__).parents[2]
DECODERS = ROOT / "decoders"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="needs Node")

Told = tuple[list[tuple[str, str, tuple[int, ...], bytes]], Any] | None  # None: it was refused


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("boil", DECODERS / "boil.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


boil = loaded()


def by_boildown(files: Sequence[bytes]) -> Iterator[Told]:
    for file in files:
        try:
            state, config = codec.decode(file)
        except codec.CodecError:
            yield None
        else:
            yield rows(state), comparable(config)


def by_python(files: Sequence[bytes]) -> Iterator[Told]:
    for file in files:
        try:
            tensors, config = boil.decode(file)
        except boil.BoilError:
            yield None
        else:
            yield [(name, *tensor) for name, tensor in tensors.items()], comparable(config)


def by_python_alone(files: Sequence[bytes]) -> Iterator[Told]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boil, "np", None)
        yield from by_python(files)


def by_node(files: Sequence[bytes]) -> Iterator[Told]:
    script = Path(__file__).with_name("decode_all.js")
    told = subprocess.run(
        [str(NODE), str(script), str(DECODERS / "boil.js")],
        input=b"".join(len(file).to_bytes(4, "little") + file for file in files),
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert told.returncode == 0, told.stderr.decode()
    for line in told.stdout.splitlines():
        found = json.loads(line)
        if "refused" in found:
            yield None
            continue
        tensors = [(n, d, tuple(s), base64.b64decode(b)) for n, d, s, b in found["tensors"]]
        yield tensors, comparable(from_node(found["config"]))


def from_node(value: Any) -> Any:
    if isinstance(value, list):
        return [from_node(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "map":
        return {key: from_node(item) for key, item in held}
    made: dict[str, Callable[[str], Any]] = {
        "integer": int,
        "number": float,
        "bytes": bytes.fromhex,
    }
    return made[kind](held)


def comparable(value: Any) -> Any:
    """With NaNs that are equal; whole floats are integers, as they are in JavaScript."""
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return value


def rows(state: Mapping[str, Tensor]) -> list[tuple[str, str, tuple[int, ...], bytes]]:
    return [
        (name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), plain_bytes(tensor))
        for name, tensor in state.items()
    ]


WAYS = [
    pytest.param(by_python, id="python"),
    pytest.param(by_python_alone, id="python alone"),
    pytest.param(by_node, id="node", marks=needs_node),
]
Way = Callable[[Sequence[bytes]], Iterator[Told]]


def packed() -> list[bytes]:
    """Files of all coders, dtypes and shapes."""
    config = {
        "a": [1, -1, 2.5, None, True, "é\ud800", b"\0\xff", {"deep": [[]]}, 2**63, -(2**40)],
        "long": ["x" * 300, "y" * 70_000, list(range(-40, 40)), {str(i): i for i in range(20)}],
        "numbers": [127, 128, 255, 256, 65535, 65536, 2**32, 2**53, -32, -33, -128, -129, -32769],
        "__proto__": {"constructor": 1.0},
    }
    g = torch.Generator().manual_seed(1)
    whole = torch.randint(-9, 10, (12, 40), generator=g)
    signs = torch.where(whole < 0, 0.3, 0.7)
    grids = {
        "channels": whole * (torch.rand(12, 1, generator=g) + 0.1),
        "by sign": whole.clamp(-1, 1) * signs * (torch.arange(12)[:, None] + 1.0),
        "wide": torch.randint(-250, 251, (8, 99), generator=g) * torch.full((8, 1), 0.0123),
        "__proto__": torch.where(whole % 3 == 0, whole * -0.0, whole * 0.01),
        "halves in double": special().half().double(),
        "singles in double": special()[[0, 1, 2, 4, 5, 6, 7]].double().repeat(5),
        "halves": torch.arange(-32768, 32768, dtype=torch.int32).short().view(torch.half).float(),
    }
    return [
        codec.encode({}),
        codec.encode({}, {}),
        codec.encode({"w": torch.ones(3)}),
        codec.encode(every_kind(), config),
        codec.encode(lenet300()),
        codec.encode(grids),
        codec.encode(every_kind(), zero_signs=False),
    ]


@pytest.mark.parametrize("way", WAYS)
def test_freshly_packed_states_are_read(way: Way) -> None:
    files = packed()
    for found, meant in zip(way(files), by_boildown(files), strict=True):
        assert meant is not None
        assert found == meant


@settings(max_examples=200, deadline=None)
@given(states())
def test_python_reads_any_state(state: dict[str, Tensor]) -> None:
    file = codec.encode(state)
    for way in (by_python, by_python_alone):
        assert next(way([file])) == (rows(state), None)


@needs_node
def test_node_reads_any_state() -> None:
    files: list[bytes] = []

    @settings(max_examples=200, deadline=None)
    @given(states())
    def draw(state: dict[str, Tensor]) -> None:
        if not any("\ud800" <= letter <= "\udfff" for name in state for letter in name):
            files.append(codec.encode(state))

    draw()
    assert list(by_node(files)) == list(by_boildown(files))


def sealed(header: bytes, payloads: Sequence[bytes], fill: int, deflate: bool) -> bytes:
    """A file of version 1 with right checksums and a right digest, whatever its content."""
    if deflate:
        compress = zlib.compressobj(9, zlib.DEFLATED, -15)
        header = compress.compress(header) + compress.flush()
    body = b"BOIL\x01" + varint(2 * len(header) + deflate) + header
    body += b"".join(part + zlib.crc32(part).to_bytes(4, "little") for part in payloads)
    body += bytes(max(0, fill - len(body) - 16))
    return body + hashlib.blake2b(body, digest_size=16).digest()


def opened(file: bytes) -> tuple[bytes, list[bytes]]:
    """The inflated header and the payloads of a file of version 1."""
    read = boil.Reader(file)
    read.take(5)
    head = read.varint()
    header = bytes(read.take(head // 2))
    header = boil._inflated(header) if head % 2 else header
    _, entries = boil._header(boil.Reader(header))
    payloads = []
    for entry in entries:
        if entry.tied is None:
            payloads.append(bytes(read.take(entry.size)))
            read.take(4)
    return header, payloads


def spoiled(data: bytes, rng: random.Random, reach: int) -> bytes:
    bad = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(min(len(bad), reach))
        bad[at] = rng.choice([rng.randrange(256), bad[at] ^ 1 << rng.randrange(8)])
    return bytes(bad)


def damaged(rng: random.Random) -> Iterator[bytes]:
    """Files that are wrong inside, with right checksums; many of one tensor, so that one counts."""
    state = every_kind() | {
        "channels": torch.randint(-9, 9, (6, 16)) * (torch.rand(6, 1) + 0.1),
        "shared": compressed((20, 20), 0.2, 3),
        "ternary": torch.randint(-1, 2, (6, 16)) * 0.5,
    }
    for name, tensor in state.items():
        if not 0 < tensor.numel() < 2000:
            continue
        header, (payload,) = opened(codec.encode({name[:9]: tensor}))
        for _ in range(12):
            bad = spoiled(payload, rng, rng.choice([3, 20, 9999]))
            yield sealed(header, [bad], 0, deflate=False)
        for _ in range(3):
            yield sealed(spoiled(header, rng, 9999), [payload], 0, deflate=rng.random() < 0.5)
    few = {"a": torch.ones(2, 3), "b": torch.zeros(40_000), "empty": torch.empty(0, 3)}
    few["tied"] = few["a"]
    header, payloads = opened(codec.encode(few, {"k": [1, 2.5, {"x": None}], "l": "text é"}))
    fill = math.ceil(4 * 40_006 / 8192)
    for _ in range(600):
        yield sealed(spoiled(header, rng, 9999), payloads, fill, deflate=rng.random() < 0.5)
    deflated = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = deflated.compress(header) + deflated.flush()
    for _ in range(300):
        bad = spoiled(stream, rng, 9999)
        body = b"BOIL\x01" + varint(2 * len(bad) + 1) + bad
        body += b"".join(part + zlib.crc32(part).to_bytes(4, "little") for part in payloads)
        body += bytes(max(0, fill - len(body) - 16))
        yield body + hashlib.blake2b(body, digest_size=16).digest()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", [0.0, -0.5, math.inf, math.nan])
def test_a_step_that_is_no_number_above_0_is_refused(way: Way, step: float) -> None:
    header = b"\x92\xc0\x94\xa1w\x00\x07\x02"
    payloads = [bytes([7 << 2]) + struct.pack("<f", number) + b"\x01\xff" for number in (0.5, step)]
    good, bad = (sealed(header, [payload], 0, deflate=False) for payload in payloads)
    values = struct.pack("<2f", 0.5, -0.5)
    assert list(way([good, bad])) == [([("w", "float32", (2,), values)], None), None]
    assert list(by_boildown([bad])) == [None]


@pytest.fixture(scope="module")
def wrong() -> tuple[list[bytes], list[Told]]:
    files = list(damaged(random.Random(0)))
    return files, list(by_boildown(files))


@pytest.mark.parametrize("way", WAYS)
def test_damaged_files_are_judged_alike(way: Way, wrong: tuple[list[bytes], list[Told]]) -> None:
    files, verdicts = wrong
    assert len(files) > 1500
    assert 0.1 < sum(verdict is None for verdict in verdicts) / len(files) < 0.9
    for file, found, meant in zip(files, way(files), verdicts, strict=True):
        assert found == meant, file.hex()


@pytest.mark.parametrize("way", WAYS)
def test_golden_files_are_read(way: Way) -> None:
    paths = sorted(Path(__file__).with_name("golden").rglob("*.boil"))
    files = [path.read_bytes() for path in paths]
    for path, found, meant in zip(paths, way(files), by_boildown(files), strict=True):
        assert meant is not None, path.name
        assert found == meant, path.name


COMMANDS = [
    # neither the directory nor what is installed is looked at
    pytest.param([sys.executable, "-I", "-S", str(DECODERS / "boil.py")], id="python alone"),
    pytest.param([str(NODE), str(DECODERS / "boil.js")], id="node", marks=needs_node),
]


def run(command: Sequence[str], *more: str | Path) -> subprocess.CompletedProcess[str]:
    line = [*command, *map(str, more)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_writes_bytes(command: Sequence[str], tmp_path: Path) -> None:
    state = {"../a b": torch.arange(6).reshape(2, 3), "é": torch.tensor([1.5, -2.0]).bfloat16()}
    codec.pack(state | {"tied": state["é"]}, tmp_path / "model.boil", config={"k": [1, b"\x07"]})
    told = run(command, tmp_path / "model.boil", "-o", tmp_path / "out")
    assert (told.returncode, told.stderr) == (0, "")
    lines = [line.split("\t") for line in told.stdout.splitlines()]
    assert [line[1] for line in lines[:3]] == ["int64", "bfloat16", "bfloat16"]
    assert json.loads(lines[0][2]) == [2, 3]
    assert json.loads(lines[3][1]) == {"k": [1, "07"]}
    index = json.loads((tmp_path / "out" / "index.json").read_text(encoding="utf-8"))
    assert index["config"] == {"k": [1, "07"]}
    assert [row["name"] for row in index["tensors"]] == ["../a b", "é", "tied"]
    for row, tensor in zip(index["tensors"], [*state.values(), state["é"]], strict=True):
        assert row["shape"] == list(tensor.shape)
        assert (tmp_path / "out" / row["file"]).read_bytes() == plain_bytes(tensor)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_refuses(command: Sequence[str], tmp_path: Path) -> None:
    codec.pack({"w": torch.randn(50)}, tmp_path / "model.boil")
    data = bytearray((tmp_path / "model.boil").read_bytes())
    data[60] ^= 4
    (tmp_path / "bad.boil").write_bytes(data)
    told = run(command, tmp_path / "bad.boil", "-o", tmp_path / "out")
    assert told.returncode == 1
    assert "digest is wrong" in told.stderr
    assert told.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    missing = run(command, tmp_path / "none.boil")
    assert missing.returncode == 1
    assert missing.stderr.count("\n") == 1


def test_python_writes_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"a/b": torch.randn(4, 3), "file": torch.tensor([1.5, -2.0]).bfloat16()}
    state["tied"] = state["a/b"]
    codec.pack(state, tmp_path / "model.boil")
    boil.main([str(tmp_path / "model.boil"), "-o", str(tmp_path / "model.npz")])
    with np.load(tmp_path / "model.npz") as arrays:
        assert arrays.files == ["a/b", "file", "tied"]
        assert (arrays["a/b"] == state["a/b"].numpy()).all()
        assert arrays["file"].dtype == np.uint16
        assert arrays["file"].tobytes() == plain_bytes(state["file"])
        assert arrays["tied"].tobytes() == arrays["a/b"].tobytes()
    monkeypatch.setattr(boil, "np", None)
    with pytest.raises(SystemExit, match="takes numpy"):
        boil.main([str(tmp_path / "model.boil"), "-o", str(tmp_path / "other.npz")])
