"""The decoders that need no boildown give what it gives, and refuse what it refuses."""

import base64
import contextlib
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

import msgpack
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sealed import one, sealed1, sealed2
from states import compressed, every_kind, lenet300, plain_bytes, special, states
from torch import Tensor

from boildown import codec
from boildown.codec.base import digest_of
from boildown.codec.bytewise import varint
from boildown.codec.dtypes import NAMES, name_of, to_words
from boildown.codec.index import PLAIN, dictionary
from boildown.codec.tensor import plan

ROOT = Path(__file__).parents[2]
DECODERS = ROOT / "decoders"
GOLDEN = Path(__file__).with_name("golden")
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


def by_boildown(files: Sequence[bytes], base: bytes | None = None) -> Iterator[Told]:
    given = None if base is None else codec.decode(base)[0]
    for file in files:
        try:
            state, config = codec.decode(file, base=given)
        except codec.CodecError:
            yield None
        else:
            yield rows(state), comparable(config)


def by_python(files: Sequence[bytes], base: bytes | None = None) -> Iterator[Told]:
    given = None if base is None else boil.decode(base)[0]
    for file in files:
        try:
            tensors, config = boil.decode(file, given)
        except boil.BoilError:
            yield None
        else:
            yield [(name, *tensor) for name, tensor in tensors.items()], comparable(config)


def by_node(files: Sequence[bytes], base: bytes | None = None) -> Iterator[Told]:
    script = Path(__file__).with_name("decode_all.js")
    given = files if base is None else [base, *files]
    told = subprocess.run(
        [str(NODE), str(script), str(DECODERS / "boil.js"), *([] if base is None else ["base"])],
        input=b"".join(len(file).to_bytes(4, "little") + file for file in given),
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
    pytest.param(by_node, id="node", marks=needs_node),
]
Way = Callable[..., Iterator[Told]]


CODERS = ("huffman", "fast", "best")


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
    filled = {"filled": torch.zeros(17_000_000, dtype=torch.uint8)}
    small = {name: t for name, t in every_kind().items() if t.numel() < 20_000}
    states = [{}, {"w": torch.ones(3)}, small, {"w": compressed((60, 300), 0.1, 3)}, grids]
    return [
        codec.encode(filled, {}, coder="huffman"),
        codec.encode(every_kind(), coder="fast"),
        codec.encode(lenet300()),
        *(codec.encode(state, config, coder=coder) for coder in CODERS for state in states),
    ]


@pytest.fixture(scope="module")
def fresh() -> tuple[list[bytes], list[Told]]:
    files = packed()
    return files, list(by_boildown(files))


@pytest.mark.parametrize("way", WAYS)
def test_freshly_packed_states_are_read(way: Way, fresh: tuple[list[bytes], list[Told]]) -> None:
    files, meant = fresh
    assert None not in meant
    for found, told in zip(way(files), meant, strict=True):
        assert found == told


@settings(max_examples=200, deadline=None)
@given(states(), st.sampled_from(CODERS))
def test_python_reads_any_state(state: dict[str, Tensor], coder: str) -> None:
    file = codec.encode(state, coder=coder)
    assert next(by_python([file])) == (rows(state), None)


@needs_node
def test_node_reads_any_state() -> None:
    files: list[bytes] = []

    @settings(max_examples=200, deadline=None)
    @given(states(), st.sampled_from(CODERS))
    def draw(state: dict[str, Tensor], coder: str) -> None:
        if not any("\ud800" <= letter <= "\udfff" for name in state for letter in name):
            files.append(codec.encode(state, coder=coder))

    draw()
    assert list(by_node(files)) == list(by_boildown(files))


def payloads_of(file: bytes) -> Iterator[tuple[list[Any], bytes]]:
    """Each stored tensor of a file of version 1: its entry in the header, and its payload."""
    read = boil.Reader(file, 5)
    head = read.varint()
    header = read.take(head // 2)
    header = zlib.decompress(header, -15) if head % 2 else header
    _, *rows = msgpack.unpackb(header, unicode_errors="surrogatepass")
    for _, *numbers in rows:
        if len(numbers) > 1:
            yield ["w", *numbers], bytes(read.take(numbers[1]))
            read.take(4)


def fill1(body: int, numel: int) -> int:
    """Zero bytes that a file of version 1 needs for so many elements of up to 4 bytes."""
    return max(0, math.ceil(4 * numel / 8192) - body - 16)


def spoiled(data: bytes, rng: random.Random, reach: int = 9999) -> bytes:
    bad = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(min(len(bad), reach))
        bad[at] = rng.choice([rng.randrange(256), bad[at] ^ 1 << rng.randrange(8)])
    return bytes(bad)


def fast_ones() -> list[tuple[str, Any]]:
    """Words that a static range coder or planes of bytes are best for."""
    g = torch.Generator().manual_seed(3)
    skewed = (torch.rand(1501, generator=g) ** 20 * 4 + 1).byte()
    places = torch.rand(1502, generator=g) < 0.3
    whole = torch.randn(48, 40, generator=g).mul(5).round()
    found = {
        "range": skewed,
        "sparse range": torch.where(places, 2 ** skewed.repeat(2)[:1502].half(), 0),
        "grid": whole * (torch.rand(48, 1, generator=g) + 0.1) + 0.0,
        "planes": torch.randn(1503, generator=g),
        "planes, signed zeros": torch.randn(1504, generator=g).double() * places.repeat(2)[:1504],
        "planes of 8 bytes": torch.randn(501, generator=g, dtype=torch.float64),
        "planes of complex": torch.randn(501, generator=g, dtype=torch.complex64),
    }
    return [(name_of(tensor), to_words(tensor)) for tensor in found.values()]


def wrong_payloads(rng: random.Random) -> Iterator[bytes]:
    """Files of a tensor each, in both versions, whose coder is led astray."""
    for name, words in fast_ones():
        good = b"".join(plan(words, name).write())
        kinds = [NAMES.index(name), 1, words.size]
        yield one(kinds, good)
        for _ in range(60):
            yield one(kinds, spoiled(good, rng, rng.choice([12, 40, 9999])))
    for path in sorted((GOLDEN / "version1").glob("*.boil")):
        for (name, dtype, size, *shape), payload in payloads_of(path.read_bytes()):
            if not 0 < math.prod(shape) < 2000:
                continue
            for _ in range(5):
                bad = spoiled(payload, rng, rng.choice([3, 20, 9999]))
                yield sealed1([None, [name, dtype, size, *shape]], bad)
                yield one([dtype, len(shape), *shape], bad)


def wrong_headers(rng: random.Random) -> Iterator[bytes]:
    """Files of version 1 whose header is led astray."""
    payloads = [b"\0" + bytes(range(24)), b"\1\1\x80" + bytes(4), b"\0"]
    rows = [{"k": [1, 2.5, {"x": None}], "l": "text é"}]
    rows += [["a", 0, 25, 2, 3], ["b", 0, 7, 40_000], ["empty", 0, 1, 0, 3], ["tied", -1]]
    header: bytes = msgpack.packb(rows)
    fill = fill1(len(sealed1(header, *payloads)) - 16, 40_006)
    for _ in range(600):
        yield sealed1(spoiled(header, rng), *payloads, fill=fill, deflate=rng.random() < 0.5)
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = compress.compress(header) + compress.flush()
    for _ in range(300):
        bad = spoiled(stream, rng)
        body = b"BOIL\x01" + varint(2 * len(bad) + 1) + bad
        body += b"".join(part + zlib.crc32(part).to_bytes(4, "little") for part in payloads)
        body += bytes(fill1(len(body), 40_006))
        yield body + hashlib.blake2b(body, digest_size=16).digest()


def divided(sums: bool) -> tuple[list[Any], bytes]:
    """Index and sections of a file of version 2 with tensors in several pieces."""
    wide = torch.randint(0, 5, (40, 100), generator=torch.Generator().manual_seed(2)).float()
    row = torch.arange(3000)
    parts = [(wide[at : at + 10], 1) for at in range(0, 40, 10)]
    parts += [(row[at : at + 1024], 1) for at in range(0, 3000, 1024)]
    streams = [b"".join(plan(to_words(part), name_of(part)).write()) for part, _ in parts]
    streams.append(b"\0" + bytes(range(12)) + b"\1\1\x80\5")
    told: list[int] = [10]
    for i, stream in enumerate(streams):
        pieces = 2 if i + 1 == len(streams) else 1
        told += [PLAIN, pieces, len(stream), *([zlib.crc32(stream)] if sums else [])]
    names = ["wide", "row", "few", "constant", "empty", "tied"]
    kinds = [0, 2, 40, 100, 8, 1, 3000, 0, 1, 3, 4, 0, 0, 2, 3, 0, -1]
    return [{"k": 1.5}, told, names, kinds], b"".join(streams)


def wrong_indices(rng: random.Random) -> Iterator[bytes]:
    """Files of version 2 whose index is led astray."""
    for sums in (0, 1):
        index, sections = divided(bool(sums))
        yield sealed2(index, sections, sums=sums)
        packed = msgpack.packb(index)
        for _ in range(500):
            deflate = rng.random() < 0.5
            yield sealed2(spoiled(packed, rng), sections, sums=sums, deflate=deflate)
        for _ in range(100):
            yield sealed2(index, spoiled(sections, rng), sums=sums)
    index, sections = divided(False)
    file = sealed2(index, sections, deflate=True)
    start = 5 + len(sections)
    for _ in range(300):
        bad = file[:start] + spoiled(file[start:-4], rng)
        yield bad + zlib.crc32(bad).to_bytes(4, "little")
    for bad in ([], [index[0], [], [], []], [None, [], ["e"], [0, 1, 0]], [None, [], [], [], b""]):
        yield sealed2(bad)
        yield sealed2(bad, b"x")
        yield sealed2(bad, sums=1)
        yield sealed2(bad, fill=bytes(1))
    index, payload = [None, [20, PLAIN, 1, 4], ["w"], [4, 1, 17_000_000]], b"\1\1\x80\2"
    least = math.ceil((4 * 17_000_000 - 2**24) / 8192)
    for size in (least - 1, least, least + 1):
        yield sealed2(index, payload, bytes(size - len(sealed2(index, payload))))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", [0.0, -0.5, math.inf, math.nan])
def test_a_step_that_is_no_number_above_0_is_refused(way: Way, step: float) -> None:
    payloads = [bytes([7 << 2]) + struct.pack("<f", number) + b"\x01\xff" for number in (0.5, step)]
    good, bad = (one([0, 1, 2], payload) for payload in payloads)
    values = struct.pack("<2f", 0.5, -0.5)
    assert list(way([good, bad])) == [([("w", "float32", (2,), values)], None), None]
    assert list(by_boildown([bad])) == [None]


@pytest.mark.parametrize("way", WAYS)
def test_sections_have_the_bytes_that_their_tensors_allow(way: Way) -> None:
    def sparse(n: int) -> bytes:
        """Not a zero, and a bit for each gap nevertheless."""
        payload = b"\2" + varint(n) + bytes(-(-n // 8)) + b"\0" + b"\1" * n
        return one([NAMES.index("uint8"), 1, n], payload)

    def pooled(n: int) -> bytes:
        return one([0, 1, n] * 2, (b"\1\1\x80" + bytes(4)) * 2, names=("a", "b"))

    files = [sparse(32_000), sparse(34_000), pooled(1 << 19), pooled((1 << 19) + 1)]
    meant = list(by_boildown(files))
    assert [told is not None for told in meant] == [True, False, True, False]
    assert list(way(files)) == meant


class Straying(boil.Mixing):  # type: ignore[misc, name-defined]
    """Instead of reading a stream, writes one in which all is as chance has it."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(b"")
        self.rng, self.likely, self.next = rng, rng.choice([0.1, 0.5, 0.9]), list[int]()
        self.front, self.back, self.size = bytearray(), 0, 0

    def decide(self, chance: int) -> int:
        bit = self.next.pop() if self.next else int(self.rng.random() < self.likely)
        middle = self.low + ((self.high - self.low) * chance >> 16)
        self.low, self.high = (self.low, middle) if bit else (middle + 1, self.high)
        while self.low ^ self.high < 1 << 24:
            self.front.append(self.low >> 24)
            self.low, self.high = self.low << 8 & 0xFFFFFFFF, self.high << 8 & 0xFFFFFFFF | 255
        return bit

    def small(self, place: int, most: int) -> int:
        count = 0 if most == 6 and self.rng.random() < 0.7 else self.rng.randint(0, most)
        self.next = [0] * (count < most) + [1] * count
        return int(super().small(place, most))

    def tree(self, place: int, bits: int) -> int:
        most = 3 if self.rng.random() < 0.97 else (1 << bits) - 1
        value = self.rng.randint(0, most)
        self.next = [value >> i & 1 for i in range(bits)]
        return int(super().tree(place, bits))

    def plain(self, width: int) -> int:
        value = self.rng.getrandbits(width) if width else 0
        self.back |= value << self.size
        self.size += width
        return value

    def written(self) -> bytes:
        back = self.back.to_bytes(-(-self.size // 8), "big")
        return bytes(self.front) + self.ending() + back


def strayed(rng: random.Random, kind: Any, base: Any = None) -> bytes:
    stream = Straying(rng)
    # then it ends where a reader refuses it
    with contextlib.suppress(boil.BoilError, struct.error, zlib.error):
        stream.words(kind, base)
    return stream.written()


def wrong_streams(rng: random.Random) -> Iterator[bytes]:
    """Files whose section of kind 1 is led astray: most are read all the same."""
    for _ in range(3000):
        dtype, rows, columns = rng.randrange(len(NAMES)), rng.randint(1, 9), rng.randint(1, 9)
        name = NAMES[dtype]
        times = 2 if name == "complex128" else 1
        across = columns * times
        kind = boil.Kind(name, rows * across, across)
        if data := strayed(rng, kind):
            yield sealed2([None, [], ["w"], [dtype, 2, rows, columns]], data)
    for name, tensor in every_kind().items():
        if 0 < tensor.numel() < 1000:
            file = codec.encode({name[:5]: tensor}, coder="best")
            for _ in range(3):
                bad = spoiled(file[:-4], rng)
                yield bad + zlib.crc32(bad).to_bytes(4, "little")


WRONG = (wrong_payloads, wrong_headers, wrong_indices, wrong_streams)


@pytest.fixture(scope="module", params=WRONG)
def wrong(request: pytest.FixtureRequest) -> tuple[list[bytes], list[Told]]:
    files = list(request.param(random.Random(0)))
    return files, list(by_boildown(files))


@pytest.mark.parametrize("way", WAYS)
def test_damaged_files_are_judged_alike(way: Way, wrong: tuple[list[bytes], list[Told]]) -> None:
    files, verdicts = wrong
    assert len(files) > 800
    assert 0.05 < sum(verdict is not None for verdict in verdicts) / len(files) < 0.95
    for file, found, meant in zip(files, way(files), verdicts, strict=True):
        assert found == meant, file.hex()


def test_boil_js_is_short() -> None:
    lines = (DECODERS / "boil.js").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 500
    wide = [line for line in lines if len(line) > 100]
    assert len(wide) == 1, "only the dictionary is wider than 100 characters"
    assert boil.DICTIONARY in wide[0]


def test_python_takes_few_lines() -> None:
    lines = (DECODERS / "boil.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 500
    assert all(len(line) <= 100 or line.startswith("DICTIONARY = ") for line in lines)


def test_the_dictionary_is_that_of_the_codec() -> None:
    assert base64.b64decode(boil.DICTIONARY) == dictionary()
    assert boil.DICTIONARY in (DECODERS / "boil.js").read_text(encoding="utf-8")


def differing() -> tuple[bytes, list[bytes]]:
    """The file of a base, and those of states that differ from it more or less."""
    base = every_kind()
    del base["many values"], base["negative"], base["one in many"], base["fp16, many values"]
    states = []
    for share in (0.0, 0.05, 1.0):
        state = {}
        for i, (name, tensor) in enumerate(base.items()):
            changed = tensor.detach().resolve_conj().clone(memory_format=torch.contiguous_format)
            if changed.numel() and changed.dtype is not torch.bool:
                flat = changed.view(-1).view(torch.uint8)
                near = torch.rand(flat.shape) < share
                flat[near] ^= torch.randint(0, 4, flat.shape, dtype=torch.uint8)[near]
            state[name if i % 9 else f"{name}, new"] = changed
        states.append(state | {"other": torch.randn(30)})
    kept = codec.encode(base, coder="huffman")
    return kept, [codec.encode(state, base=base, coder="best") for state in states]


def strayed_differences(rng: random.Random) -> tuple[bytes, list[bytes]]:
    names = ["float32", "float16", "float8_e5m2", "int8", "int64", "bool", "complex64", "float64"]
    state = {}
    for name in names:
        dtype = getattr(torch, name)
        most = 2 if name == "bool" else 256
        raw = torch.randint(0, most, (6 * dtype.itemsize,)).to(torch.uint8)
        state[name] = raw.view(dtype).reshape(2, 3)
    base = codec.encode(state, coder="huffman")
    held, files = boil.decode(base)[0], []
    for _ in range(1500):
        name = rng.choice(names)
        data = strayed(rng, boil.Kind(name, 6, 3), held[name].data)
        index = [None, [20, 2, 1, len(data)], [name], [NAMES.index(name), 2, 2, 3]]
        files.append(sealed2([*index, digest_of(state)], data))
    return base, files


@pytest.mark.parametrize("way", WAYS)
def test_differences_to_a_base_are_read(way: Way) -> None:
    base, files = differing()
    meant = list(by_boildown(files, base))
    assert None not in meant
    assert len(files[0]) < 3000 < len(files[1]) < len(files[2])
    assert list(way(files, base)) == meant
    other = codec.encode({"w": torch.ones(2)}, coder="huffman")
    assert list(way(files[:2])) == [None] * 2
    assert list(way(files[:2], other)) == [None] * 2


@pytest.mark.parametrize("way", WAYS)
def test_differences_that_stray_are_judged_alike(way: Way) -> None:
    base, files = strayed_differences(random.Random(0))
    meant = list(by_boildown(files, base))
    assert sum(told is not None for told in meant) > 200
    for file, found, told in zip(files, way(files, base), meant, strict=True):
        assert found == told, file.hex()


LONG = (GOLDEN / "version2_best" / "positions.boil", GOLDEN / "version2_base" / "divided.boil")


@pytest.mark.parametrize("way", WAYS)
def test_golden_files_are_read(way: Way) -> None:
    paths = [*GOLDEN.rglob("*.boil"), *(ROOT / "tests" / "fixtures").rglob("*.boil")]
    paths = sorted(p for p in paths if p not in LONG and p.parent.name != "version2_base")
    files = [path.read_bytes() for path in paths]
    for path, found, meant in zip(paths, way(files), by_boildown(files), strict=True):
        assert meant is not None, path.name
        assert found == meant, path.name


@pytest.mark.slow
@pytest.mark.parametrize("path", LONG, ids=lambda path: path.stem)
@pytest.mark.parametrize("way", WAYS)
def test_long_golden_files_are_read(way: Way, path: Path) -> None:
    relative = path.parent.name == "version2_base"
    base = (GOLDEN / "version2_best" / path.name).read_bytes() if relative else None
    (meant,) = by_boildown([path.read_bytes()], base)
    assert meant is not None
    assert list(way([path.read_bytes()], base)) == [meant]


@pytest.mark.parametrize("way", WAYS)
def test_golden_differences_are_read(way: Way) -> None:
    for path in sorted((GOLDEN / "version2_base").glob("*.boil")):
        if path in LONG:
            continue
        file, base = path.read_bytes(), (GOLDEN / "version2_best" / path.name).read_bytes()
        (meant,) = by_boildown([file], base)
        assert meant is not None, path.name
        assert list(way([file], base)) == [meant], path.name


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
    state["tied"] = state["é"]
    file = codec.encode(state, {"k": [1, b"\x07"]}, coder="huffman")
    (tmp_path / "model.boil").write_bytes(file)
    told = run(command, tmp_path / "model.boil", "-o", tmp_path / "out")
    assert (told.returncode, told.stderr) == (0, "")
    lines = [line.split("\t") for line in told.stdout.splitlines()]
    assert [line[1] for line in lines[:3]] == ["int64", "bfloat16", "bfloat16"]
    assert json.loads(lines[0][2]) == [2, 3]
    assert json.loads(lines[3][1]) == {"k": [1, "07"]}
    index = json.loads((tmp_path / "out" / "index.json").read_text(encoding="utf-8"))
    assert index["config"] == {"k": [1, "07"]}
    assert [row["name"] for row in index["tensors"]] == ["../a b", "é", "tied"]
    for row, tensor in zip(index["tensors"], state.values(), strict=True):
        assert row["shape"] == list(tensor.shape)
        assert (tmp_path / "out" / row["file"]).read_bytes() == plain_bytes(tensor)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_refuses(command: Sequence[str], tmp_path: Path) -> None:
    data = bytearray(codec.encode({"w": torch.randn(50)}, coder="huffman"))
    data[60] ^= 4
    (tmp_path / "bad.boil").write_bytes(data)
    told = run(command, tmp_path / "bad.boil", "-o", tmp_path / "out")
    assert told.returncode == 1
    assert "checksum is wrong" in told.stderr
    assert told.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    missing = run(command, tmp_path / "none.boil")
    assert missing.returncode == 1
    assert missing.stderr.count("\n") == 1


def test_python_writes_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"a/b": torch.randn(4, 3), "file": torch.tensor([1.5, -2.0]).bfloat16()}
    state["tied"] = state["a/b"]
    (tmp_path / "model.boil").write_bytes(codec.encode(state, coder="huffman"))
    boil.main([str(tmp_path / "model.boil"), "-o", str(tmp_path / "model.npz")])
    with np.load(tmp_path / "model.npz") as arrays:
        assert arrays.files == ["a/b", "file", "tied"]
        assert (arrays["a/b"] == state["a/b"].numpy()).all()
        assert arrays["file"].dtype == np.uint16
        assert arrays["file"].tobytes() == plain_bytes(state["file"])
        assert arrays["tied"].tobytes() == arrays["a/b"].tobytes()
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(SystemExit, match="numpy"):
        boil.main([str(tmp_path / "model.boil"), "-o", str(tmp_path / "other.npz")])
