"""Files from strangers: whatever the bytes, a CodecError or the right tensors, in little memory."""

import gc
import os
import random
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import msgpack
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sealed import one, sealed2
from states import assert_same, compressed, every_kind, lenet300

from boildown import codec
from boildown.codec import CodecError
from boildown.codec.bytewise import Reader
from boildown.codec.index import DIFFERENCE, PLAIN
from boildown.codec.tensor import RAW


def refuse(data: bytes, message: str | None = None) -> None:
    with pytest.raises(CodecError, match=message):
        codec.decode(data)


def test_seal_makes_files_that_are_read() -> None:
    for data in (one([0, 1, 2], RAW_W), sealed2([None, [20, 0, 1, 9], ["w"], [0, 1, 2]], RAW_W)):
        back, config = codec.decode(data)
        assert back["w"].tolist() == [0, 0]
        assert config is None


def test_every_flip_of_every_byte_of_a_small_file() -> None:
    state = {"w": compressed((20, 20), 0.2, 3), "b": torch.randn(4), "z": torch.zeros(999_999)}
    data = codec.encode(state, {"a": [1, "b"]})
    for at in range(len(data)):
        for flip in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            broken = bytearray(data)
            broken[at] ^= flip
            refuse(bytes(broken))


def test_random_flips_of_a_larger_file() -> None:
    data, rng = codec.encode(lenet300()), random.Random(0)
    for _ in range(3000):
        broken = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            broken[rng.randrange(len(data))] ^= rng.randint(1, 255)
        if broken != data:
            refuse(bytes(broken))


def test_every_truncation_and_anything_appended() -> None:
    data = codec.encode({"w": compressed((20, 20), 0.2, 3), "b": torch.randn(4)})
    for end in range(len(data)):
        refuse(data[:end])
    for more in (b"\0", b"x" * 20, data):
        refuse(data + more)


RAW_W = bytes([RAW]) + bytes(8)
HUGE = 2**45
ONE_W = [20, PLAIN, 1, 9]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (
            [None, ONE_W, ["w"], [0, 1, HUGE]],
            "the sections have 1 pieces, and the tensors 33554432",
        ),
        ([None, [], ["w"], [0, 1, HUGE]], "cut short: its tensors ask for"),
        ([None, ONE_W, ["w"], [0, 2, HUGE, HUGE]], "beyond what a file can hold"),
        ([None, ONE_W, ["w"], [0, 2, 0, 2**62]], "beyond what a file can hold"),
        ([None, ONE_W, ["w"], [0, 1, -2]], "beyond what a file can hold"),
        ([None, ONE_W, ["w"], [0, 65, *[1] * 65]], "65 sides"),
        ([None, ONE_W, ["w"], [0, -1]], "-1 sides"),
        ([None, ONE_W, ["w"], [0, 1, 1.5]], "an integer should follow"),
        ([None, ONE_W, ["w"], [0, 1, True]], "an integer should follow"),
        ([None, ONE_W, ["w"], [0, 1, None]], "an integer should follow"),
        ([None, ONE_W, ["w"], [0, 1, [2]]], "an integer should follow"),
        ([None, ONE_W, ["w"], [0, 1]], "'w': its dtype and shape are missing"),
        ([None, ONE_W, ["w"], [0, 1, 2, 0]], "more dtypes and shapes"),
        ([None, ONE_W, ["w"], {"a": 1}], "not a list in msgpack"),
        ([None, ONE_W, ["w"], [99, 1, 2]], "dtype 99"),
        ([None, ONE_W, [b"w"], [0, 1, 2]], "a text should follow"),
        ([None, ONE_W, [3], [0, 1, 2]], "a text should follow"),
        ([None, ONE_W, [["w"]], [0, 1, 2]], "a text should follow"),
        ([None, ONE_W, "w", [0, 1, 2]], "not a list in msgpack"),
        ([None, ONE_W, ["w"], [-1]], "tied to entry 0"),
        ([None, ONE_W, ["w"], [-2]], "tied to entry 1"),
        ([None, ONE_W, ["w", "v", "u"], [0, 1, 2, -1, -2]], "'u' is tied to entry 1"),
        ([None, ONE_W, ["w", "w"], [0, 1, 2, -1]], "two tensors are called 'w'"),
        ([None, [20, PLAIN, 1, 2**62], ["w"], [0, 1, 2]], "section 0 has .* the index begins at"),
        ([None, [20, PLAIN, 1, 8], ["w"], [0, 1, 2]], "1 bytes stand between sections"),
        ([None, [20, PLAIN, 1, 0], ["w"], [0, 1, 2]], "section 0 has 1 pieces in 0 bytes"),
        ([None, [20, PLAIN, 1, -9], ["w"], [0, 1, 2]], "section 0 has 1 pieces in -9 bytes"),
        ([None, [20, PLAIN, 0, 9], ["w"], [0, 1, 2]], "section 0 has 0 pieces"),
        ([None, [20, PLAIN, 2, 9], ["w"], [0, 1, 2]], "sections have 2 pieces, and the tensors 1"),
        ([None, [20, 3, 1, 9], ["w"], [0, 1, 2]], "of kind 3, which this version does not know"),
        ([None, [20, -1, 1, 9], ["w"], [0, 1, 2]], "of kind -1"),
        ([None, [21, PLAIN, 1, 9], ["w"], [0, 1, 2]], r"blocks of 2\^21"),
        ([None, [9, PLAIN, 1, 9], ["w"], [0, 1, 2]], r"blocks of 2\^9"),
        ([None, [20], ["w"], [0, 1, 2]], "0 integers make no sections"),
        ([None, [20, 0, 1], ["w"], [0, 1, 2]], "2 integers make no sections"),
        ([None, [10, PLAIN, 2, 9], ["w"], [0, 1, 1025]], "section 0 holds a part of the tensor"),
        (
            [None, [20, PLAIN, 2, 9], ["w", "v"], [0, 1, 2**20] * 2],
            "several tensors of 8,388,608 bytes, where 4,194,304 are allowed",
        ),
        ([None, [], ["w"], [0, 1, 0]], "9 bytes stand before the index, and no tensor"),
        ([None, [], [], []], "9 bytes stand before the index, and no tensor"),
        (
            [None, ONE_W, ["w"], [0, 1, 3]],
            "section at byte 5: tensor 'w': byte 1: 12 bytes should follow.*newer boildown",
        ),
        ([None, ONE_W, ["w"], [0, 1, 1]], "4 bytes are left over"),
        ([None, ONE_W, ["w"], [0, 0]], "left over"),
        ([None, ONE_W, ["w"], [0, 1, 2], bytes(16)], "where no section needs it"),
        ([None, ONE_W, ["w"], [0, 1, 2], bytes(15)], "digest is not of 16 bytes"),
        ([None, ONE_W, ["w"], [0, 1, 2], 7], "digest is not of 16 bytes"),
        ([None, [20, DIFFERENCE, 1, 9], ["w"], [0, 1, 2]], "needed where none is told"),
        (
            [None, [20, DIFFERENCE, 1, 9], ["w"], [0, 1, 2], bytes(16)],
            "differences to another state dict, the one of digest 0{32}: give that as base=",
        ),
        ([None, ONE_W, ["w"]], "a list of 3 items"),
        ([], "a list of 0 items"),
        ({}, "not a list"),
        (b"", "not a list"),
        (b"\xc1", "not a list in msgpack"),
        (b"\x91" * 2000, "a list of 1 items"),
        (b"\x94" * 2000, "not a list in msgpack: ."),
        (msgpack.packb([None, ONE_W, ["w"], [0, 1, 2]]) + b"\x90", "more follows it"),
        ([{"a": msgpack.Timestamp(1)}, ONE_W, ["w"], [0, 1, 2]], "holds a Timestamp"),
        ([{"a": msgpack.ExtType(5, b"x")}, ONE_W, ["w"], [0, 1, 2]], "holds a ExtType"),
        ([[1], ONE_W, ["w"], [0, 1, 2]], "not a mapping"),
        ([{b"a": 1}, ONE_W, ["w"], [0, 1, 2]], "the key b'a'"),
        ([{1: 1}, ONE_W, ["w"], [0, 1, 2]], "no msgpack"),
    ],
)
@pytest.mark.parametrize("deflate", [False, True])
def test_indices_that_lie_are_refused(items: Any, message: str, deflate: bool) -> None:
    refuse(sealed2(items, RAW_W, deflate=deflate), message)


def test_sections_have_checksums_or_have_none() -> None:
    crc = zlib.crc32(RAW_W)
    good = sealed2([None, [*ONE_W, crc], ["w"], [0, 1, 2]], RAW_W, sums=1)
    assert codec.decode(good)[0]["w"].tolist() == [0, 0]
    bad = sealed2([None, [*ONE_W, crc ^ 1], ["w"], [0, 1, 2]], RAW_W, sums=1)
    refuse(bad, "tensor 'w', section at byte 5: the checksum is wrong: it was damaged")
    refuse(sealed2([None, [*ONE_W, 1 << 32], ["w"], [0, 1, 2]], RAW_W, sums=1), "section 0 has")
    refuse(sealed2([None, ONE_W, ["w"], [0, 1, 2]], RAW_W, sums=1), "integers make no sections")
    refuse(sealed2([None, [], ["w"], [0, 1, 2]], RAW_W, sums=1), "checksums, and there are none")


def test_bytes_that_fill_must_be_zero_and_as_many_as_are_needed() -> None:
    zeros = codec.encode({"w": torch.zeros(20_000_000)}, coder="huffman")
    assert bytes(400) in zeros
    at = zeros.index(bytes(400)) + 200
    body = zeros[:at] + b"\1" + zeros[at + 1 : -4]
    refuse(body + zlib.crc32(body).to_bytes(4, "little"), "fill the file are not zero")
    for less in (zeros[:at] + zeros[at + 1 : -4], zeros[:at] + b"\0" + zeros[at:-4]):
        refuse(less + zlib.crc32(less).to_bytes(4, "little"), "cut short|bytes stand between")
    items = [None, ONE_W, ["w"], [0, 1, 2]]
    refuse(sealed2(items, RAW_W, fill=bytes(3)), "3 bytes stand between sections and index")


def test_promises_cost_no_memory() -> None:
    noise = random.Random(0).randbytes(40_000)
    names = [str(i) for i in range(1000)]
    bombs = [
        sealed2([None, ONE_W, ["w"], [0, 1, HUGE]], RAW_W),
        sealed2([None, [20, PLAIN, 1000, 9], names, [0, 1, 2**20] * 1000], RAW_W),
        sealed2([None, [20, PLAIN, 1, 9], ["w"], [0, 1, 2**21]], RAW_W),
        sealed2([None, [], ["w"], [0, 1, 2**44]]),
        sealed2([None, [10, *[PLAIN, 2**30, 1] * 4], ["w"], [0, 1, 2**42]], RAW_W),
        sealed2(b"\x00" * 20_000_000, deflate=True),
        sealed2([noise, ONE_W, ["w"], [[]] * 2_000_000], RAW_W, deflate=True),
        sealed2([noise, ONE_W, ["ab"] * 2_000_000, [0]], RAW_W, deflate=True),
        sealed2([{"a": noise, "b": [{}] * 2_000_000}, [], [], []], deflate=True),
        one([0, 1, 2], bytes(9)[:-1] + b"\0" * 40_000_000),
    ]
    for bomb in bombs:
        tracemalloc.start()
        refuse(bomb)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8_000_000 + 64 * min(len(bomb), 1_000_000)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128, torch.uint8])
@pytest.mark.parametrize("noise", [True, False])
def test_decoding_takes_little_more_memory_than_the_tensors(
    dtype: torch.dtype, noise: bool
) -> None:
    size = (1 << 26) // dtype.itemsize
    many = torch.randint(0, 256 if noise else 2, (1 << 26,), dtype=torch.uint8)
    tensor = many.view(dtype).reshape(-1, 1 << 10) if noise else torch.arange(size) % 2 == 0
    state = {"w": tensor.to(dtype), "v": torch.ones(5)}
    data = codec.encode(state, coder="huffman")
    codec.decode(codec.encode({"w": tensor[:3].to(dtype)}, coder="huffman"))
    tracemalloc.start()
    back, _ = codec.decode(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_same(state, back)
    assert peak < sum(t.nbytes for t in state.values()) + (1 << 26)


def test_a_config_costs_little_memory() -> None:
    bomb = sealed2([{"a": [[]] * 1_000_000}, [], [], [0]])
    tracemalloc.start()
    refuse(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000_000


@pytest.mark.parametrize("collects", [True, False])
def test_a_config_of_many_lists_sets_off_no_collections(tmp_path: Path, collects: bool) -> None:
    """Each goes through all objects there are; 200,000 lists took a second."""
    good, bad = tmp_path / "good.boil", tmp_path / "bad.boil"
    codec.pack({}, good, config={"a": [[]] * 200_000})
    bad.write_bytes(sealed2([{"a": [[]] * 1000, "b": msgpack.ExtType(5, b"")}, [], [], []]))
    full: list[str] = []

    def note(phase: str, about: dict[str, int]) -> None:
        full.extend([phase] if about["generation"] == 2 else [])

    was = gc.isenabled()
    gc.callbacks.append(note)
    try:
        (gc.enable if collects else gc.disable)()
        codec.read_config(good)
        assert gc.isenabled() is collects
        with pytest.raises(CodecError, match="ExtType"):
            codec.read_config(bad)
        assert gc.isenabled() is collects
    finally:
        gc.callbacks.remove(note)
        (gc.enable if was else gc.disable)()
    assert full.count("start") <= 1  # the first after it


def test_configs_and_names_beyond_the_header_are_refused() -> None:
    state = {"w": torch.ones(2)}
    codec.decode(codec.encode(state, {"a": "x" * 1_000_000}))
    with pytest.raises(CodecError, match=r"the config takes 1,100,\d+ bytes"):
        codec.encode(state, {"a": "x" * 1_100_000})
    with pytest.raises(CodecError, match=r"the name 'x{40}'... takes"):
        codec.encode({"x" * 2_000_000: torch.ones(2)})


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.booleans(), st.integers(0, 1))
def test_indices_of_noise_are_refused(noise: bytes, deflate: bool, sums: int) -> None:
    try:
        state, _ = codec.decode(sealed2(noise, deflate=deflate, sums=sums))
    except CodecError:
        return
    assert state == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a boil file"),
        (b"BOI", "not a boil file"),
        (b"PK\x03\x04", "not a boil file"),
        (b"BOIL", "cut short after BOIL"),
        (b"BOIL\x03", "version 3; this boildown reads versions 1 and 2: update"),
        (b"BOIL\x02", "cut short: it has 5 bytes"),
        (b"BOIL\x02" + b"\xff" * 20, "more than 9 bytes"),
        (b"BOIL\x02" + b"\x7f" * 9, "cut short or damaged"),
        (b"BOIL\x01" + b"\xff" * 20, "more than 9 bytes"),
        (b"BOIL\x01\x7f", "cut short: .* the file ends at 6"),
    ],
)
def test_what_is_no_file_of_ours_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.boil"
    path.write_bytes(content)
    for read in (codec.unpack, codec.read_config, codec.inspect):
        with pytest.raises(CodecError, match=rf"model\.boil: .*{message}"):
            read(path)


def test_damage_is_located(tmp_path: Path) -> None:
    path = tmp_path / "model.boil"
    state = {"a": torch.randn(9), "large": torch.randn(1 << 20), "b": torch.randn(1 << 15)}
    codec.pack(state, path, coder="huffman")
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        CodecError, match=r"tensor 'b', section at byte .*: the checksum is wrong: it was damaged"
    ):
        codec.unpack(path)
    assert_same({"a": state["a"]}, codec.unpack(path, ["a"]))
    codec.pack({"a": state["a"]}, path)
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    with pytest.raises(CodecError, match="the checksum is wrong: it was damaged"):
        codec.unpack(path)


def test_what_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        codec.unpack(tmp_path / "nothing.boil")
    with pytest.raises(IsADirectoryError):
        codec.unpack(tmp_path)


@pytest.mark.parametrize("dtype", [torch.complex128, torch.float64, torch.int64, torch.float32])
def test_a_file_buys_bytes_and_not_elements(dtype: torch.dtype) -> None:
    tensor = torch.zeros((1 << 27) // dtype.itemsize, dtype=dtype)
    data = codec.encode({"w": tensor}, coder="huffman")
    assert len(data) == ((1 << 27) - (1 << 24)) // 8192
    assert codec.decode(data)[0]["w"].equal(tensor)
    short = torch.zeros((1 << 24) // dtype.itemsize, dtype=dtype)
    assert len(codec.encode({"w": short}, coder="huffman")) < 300


def resealed(data: bytes, rng: random.Random) -> bytes:
    """A file of which something was changed, with right checksums."""
    tail = Reader(data[-5:-14:-1])
    number = tail.varint()
    length, sums, deflated = number >> 2, number >> 1 & 1, number & 1
    end = len(data) - 4 - tail.at
    index, sections = data[end - length : end], data[5 : end - length]
    if deflated:
        inflate = zlib.decompressobj(-15, zdict=codec.index.dictionary())
        index = inflate.decompress(index)
    parts = [bytearray(index), bytearray(sections)]
    for _ in range(rng.choice([1, 1, 2, 4])):
        part = parts[rng.random() < 0.5] or parts[0]
        at = rng.randrange(len(part))
        how = rng.random()
        if how < 0.6:
            part[at] = rng.choice([rng.randrange(256), 0, 0xFF, part[at] ^ 1 << rng.randrange(8)])
        elif how < 0.8:
            del part[at : at + rng.randint(1, 4)]
        else:
            part[at:at] = rng.randbytes(rng.randint(1, 4))
    if sums:
        return sealed2(bytes(parts[0]), bytes(parts[1]), sums=1)
    return sealed2(bytes(parts[0]), bytes(parts[1]), deflate=rng.random() < 0.5)


def test_changed_files_with_right_checksums_are_read_or_refused() -> None:
    rng, refused = random.Random(0), 0
    kinds = every_kind()
    few = {name: kinds[name] for name in ("special", "empty", "tied", "tied too", "grid", "bool")}
    files = [
        codec.encode(lenet300(), {"a": [1, "b"]}, coder="huffman"),
        codec.encode(few, coder="huffman"),
        codec.encode(few),
        codec.encode({name: t for name, t in kinds.items() if t.numel() < 1000}, {"a": 1}),
    ]
    for i in range(2000):
        data = resealed(files[i % len(files)], rng)
        try:
            state, _ = codec.decode(data)
        except CodecError:
            refused += 1
            continue
        assert sum(t.nbytes for t in state.values()) <= (1 << 24) + 8192 * len(data)
    assert refused > 1000


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.boil")
    for read in (codec.unpack, codec.read_config, codec.inspect):
        with pytest.raises(OSError, match="is a pipe, a device or the like"):
            read(tmp_path / "pipe.boil")
