"""Files of version 1 from strangers: a CodecError or the right tensors, in little memory."""

import hashlib
import random
import tracemalloc
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sealed import sealed1 as sealed

from boildown import codec
from boildown.codec import CodecError
from boildown.codec.bytewise import varint
from boildown.codec.tensor import RAW, SPARSE_RAW

GOLDEN = Path(__file__).with_name("golden") / "version1"


def refuse(data: bytes, message: str | None = None) -> None:
    with pytest.raises(CodecError, match=message):
        codec.decode(data)


def test_seal_makes_files_that_are_read() -> None:
    raw = bytes([RAW]) + bytes(8)
    back, config = codec.decode(sealed([None, ["w", 0, 9, 2]], raw, deflate=True))
    assert back["w"].tolist() == [0, 0]
    assert config is None


@pytest.mark.parametrize("name", ["one", "config", "deflated", "filled"])
def test_every_flip_of_every_byte_of_small_files(name: str) -> None:
    data = (GOLDEN / f"{name}.boil").read_bytes()
    for at in range(len(data)):
        for flip in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            broken = bytearray(data)
            broken[at] ^= flip
            refuse(bytes(broken))


def test_random_flips_of_a_larger_file() -> None:
    data, rng = (GOLDEN / "signs.boil").read_bytes(), random.Random(0)
    for _ in range(2000):
        broken = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            broken[rng.randrange(len(data))] ^= rng.randint(1, 255)
        if broken != data:
            refuse(bytes(broken))


def test_every_truncation_and_anything_appended() -> None:
    data = (GOLDEN / "config.boil").read_bytes()
    for end in range(len(data)):
        refuse(data[:end])
    for more in (b"\0", b"x" * 20, data):
        refuse(data + more, "followed by something else")


RAW_W = bytes([RAW]) + bytes(8)
HUGE = 2**45


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([None, ["w", 0, 9, HUGE]], "cut short"),
        ([None, ["w", 0, 9, HUGE, HUGE]], "beyond what a file can hold"),
        ([None, ["w", 0, 9, 0, 2**62]], "beyond what a file can hold"),
        ([None, ["w", 0, 9, -2]], "beyond what a file can hold"),
        ([None, ["w", 0, 9, *[1] * 99]], "beyond what a file can hold"),
        ([None, ["w", 0, 9, 1.5]], "other than integers"),
        ([None, ["w", 0, 9, True]], "other than integers"),
        ([None, ["w", 0, 9, None]], "other than integers"),
        ([None, ["w", 0, 2**62, 2]], "cut short"),
        ([None, ["w", 0, 8, 2]], "followed by"),
        (
            [None, ["w", 0, 9, 3]],
            "tensor 'w' at byte .*: 12 bytes should follow, and 8 do .*newer boildown",
        ),
        ([None, ["w", 0, 9, 1]], "4 bytes are left over"),
        ([None, ["w", 0, 9]], "left over"),
        ([None, ["w", 0, 0, 2]], "no payload"),
        ([None, ["w", 0]], "no payload"),
        ([None, ["w", 99, 9, 2]], "dtype 99"),
        ([None, ["w"]], "entry is not a list"),
        ([None, [3, 0, 9, 2]], "entry is not a list"),
        ([None, {"w": 1}], "entry is not a list"),
        ([None, ["w", -1]], "tied to entry 0"),
        ([None, ["w", -2]], "tied to entry 1"),
        ([None, ["w", 0, 9, 2], ["v", -1], ["u", -2]], "'u' is tied to entry 1"),
        ([None, ["w", 0, 9, 2], ["v", -1, 7]], "'v' is tied"),
        ([None, ["w", 0, 9, 2], ["w", -1]], "two tensors are called 'w'"),
        ([], "not a list"),
        ({}, "not a list"),
        (b"", "not a list"),
        (b"\xc1", "not a list in msgpack"),
        (b"\x91" * 2000, "not a list in msgpack: ."),
        (b"\x90\x90", "not a list"),
        (msgpack.packb([{"a": msgpack.Timestamp(1)}]), "holds a Timestamp"),
        (msgpack.packb([{"a": msgpack.ExtType(5, b"x")}]), "holds a ExtType"),
        ([[1]], "not a mapping"),
        ([{b"a": 1}], "the key b'a'"),
        (msgpack.packb([{1: 1}]), "no msgpack"),
    ],
)
def test_headers_that_lie_are_refused(rows: Any, message: str) -> None:
    refuse(sealed(rows, RAW_W), message)


def test_promises_cost_no_memory() -> None:
    noise = random.Random(0).randbytes(40_000)
    bombs = [
        sealed([None, ["w", 0, 9, HUGE]], RAW_W),
        sealed([None, *[[str(i), 0, 9, 2**20] for i in range(1000)]], RAW_W),
        sealed(b"\x00" * 20_000_000, deflate=True),
        sealed([noise, [[]] * 2_000_000], RAW_W, deflate=True),
        sealed([{"a": noise, "b": [{}] * 2_000_000}], deflate=True),
        sealed([None, ["w", 0, 9, 2**20]], RAW_W, fill=460),
        sealed([None, ["w", 8, 4, 2**20]], bytes([SPARSE_RAW, *varint(2**20)]), fill=470),
    ]
    for bomb in bombs:
        tracemalloc.start()
        refuse(bomb)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4_000_000 + 64 * len(bomb)


def test_a_config_costs_little_memory() -> None:
    bomb = sealed([{"a": [[]] * 1_000_000}], fill=20_000)
    tracemalloc.start()
    refuse(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000_000


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.booleans())
def test_headers_of_noise_are_refused(noise: bytes, deflate: bool) -> None:
    data = sealed(noise, deflate=deflate)
    try:
        state, _ = codec.decode(data)
    except CodecError:
        return
    assert state == {}


def test_damage_is_located() -> None:
    data = bytearray((GOLDEN / "names.boil").read_bytes())
    data[-25] ^= 1
    refuse(bytes(data), r"tensor '.*' at byte .*: the checksum is wrong: it was damaged")


def test_bytes_that_fill_must_be_zero() -> None:
    body = bytearray((GOLDEN / "filled.boil").read_bytes()[:-16])
    body[-1] = 1
    refuse(bytes(body) + hashlib.blake2b(body, digest_size=16).digest(), "fill")


def test_a_fill_that_counts_elements_is_for_small_files() -> None:
    early = (GOLDEN / "early.boil").read_bytes()
    assert codec.decode(early)[0]["w"].numel() == 1 << 20
    payload = bytes([1, 1, 0x80 | 0, 0])
    large = sealed([None, ["w", 1, len(payload), 1 << 22]], payload, fill=2000)
    refuse(large, "cut short")
