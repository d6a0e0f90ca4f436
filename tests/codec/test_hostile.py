"""Files from strangers: whatever the bytes, a CodecError or the right tensors, in little memory."""

import gc
import hashlib
import os
import random
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from states import compressed, every_kind, lenet300

from boildown import codec
from boildown.codec import CodecError
from boildown.codec.bytewise import varint
from boildown.codec.dtypes import to_words
from boildown.codec.gaps import FIXED, HUFFMAN
from boildown.codec.tensor import DENSE, RAW, SIGNED_ZEROS, SPARSE, SPARSE_RAW, plan, read_tensor


def sealed(rows: Any, *payloads: bytes, fill: int = 0, deflate: bool = False) -> bytes:
    """A file with right checksums and a right digest, whatever its content."""
    packed = rows if isinstance(rows, bytes) else msgpack.packb(rows)
    if deflate:
        compress = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = compress.compress(packed) + compress.flush()
    body = b"BOIL\x01" + varint(2 * len(packed) + deflate) + packed
    for payload in payloads:
        body += payload + zlib.crc32(payload).to_bytes(4, "little")
    body += bytes(fill)
    return body + hashlib.blake2b(body, digest_size=16).digest()


def refuse(data: bytes, message: str | None = None) -> None:
    with pytest.raises(CodecError, match=message):
        codec.decode(data)


def test_seal_makes_files_that_are_read() -> None:
    raw = bytes([RAW]) + bytes(8)
    back, config = codec.decode(sealed([None, ["w", 0, 9, 2]], raw, deflate=True))
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
        refuse(data + more, "followed by something else")


@pytest.mark.parametrize(
    "name", [name for name, tensor in every_kind().items() if 0 < tensor.numel() < 10_000]
)
def test_payloads_of_noise_are_read_or_refused(name: str) -> None:
    """With checksums out of the way: the decoder itself holds."""
    tensor, rng = every_kind()[name], random.Random(0)
    dtype = str(tensor.dtype).removeprefix("torch.")
    words = to_words(tensor)
    good = b"".join(plan(words, dtype).write())
    assert (read_tensor(good, dtype, tensor.numel())[0] == words).all()
    refused = 0
    for _ in range(300):
        bad = bytearray(good)
        reach = min(len(bad), rng.choice([4, 20, 10_000]))
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(reach)] = rng.randrange(256)
        if rng.random() < 0.3:
            bad = bad[: rng.randrange(len(bad) + 1)]
        try:
            back, _ = read_tensor(bytes(bad), dtype, tensor.numel())
        except CodecError:
            refused += 1
        else:
            assert (back.shape, back.dtype) == (words.shape, words.dtype)
    assert refused > 30


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


def test_bytes_that_fill_must_be_zero() -> None:
    zeros = codec.encode({"w": torch.zeros(999_999)})
    body = bytearray(zeros[:-16])
    body[-1] = 1
    refuse(bytes(body) + hashlib.blake2b(body, digest_size=16).digest(), "fill")


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


@pytest.mark.parametrize("collects", [True, False])
def test_a_config_of_many_lists_sets_off_no_collections(tmp_path: Path, collects: bool) -> None:
    """Each goes through all objects there are; 200,000 lists took a second."""
    good, bad = tmp_path / "good.boil", tmp_path / "bad.boil"
    codec.pack({}, good, config={"a": [[]] * 200_000})
    bad.write_bytes(sealed([{"a": [[]] * 1000, "b": msgpack.ExtType(5, b"")}]))
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


ONE, TWO = np.float32(1).tobytes(), np.float32(2).tobytes()
TABLE_OF_ONE = b"\x80"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "byte 0: 1 bytes should follow, and 0 do"),
        (bytes([RAW | 9 << 2]) + bytes(32), "form 9"),
        (bytes([RAW | 4 << 2]) + bytes(32), "form 4"),
        (bytes([DENSE | 12]), "first byte, 13, stands for no way of storing"),
        (bytes([DENSE, 7]), "coded by method 7"),
        (bytes([DENSE, FIXED, 0]), "a codebook of 0"),
        (bytes([DENSE, FIXED, *varint(65537)]), "a codebook of 65537"),
        (bytes([DENSE, FIXED, 3]) + ONE + TWO, "12 bytes should follow"),
        (
            bytes([DENSE, FIXED, 3]) + ONE + TWO + ONE + b"\x1b\x00",
            "code 3 stands for no value: the codebook has 3",
        ),
        (bytes([DENSE, FIXED, 2]) + ONE + TWO + b"\x1b\x00", "left over"),
        (bytes([DENSE, FIXED, 2]) + ONE + TWO, "0 bytes are left, too few for a stream of 8"),
        (bytes([DENSE, HUFFMAN, 0b01100000]) + ONE, "more than there can be"),
        (bytes([DENSE, HUFFMAN, *bytes(99)]), "more than 24 bits"),
        (bytes([SPARSE, 0]), "0 gaps"),
        (bytes([SPARSE, 9]), "9 gaps between nonzero elements, and 8 elements"),
        (bytes([SPARSE | 5 << 5, 1]), "gaps are coded by method 5"),
        (bytes([SPARSE, 8, 0b11111111]), "last gap has no element after it"),
        (bytes([SPARSE | HUFFMAN << 5, 1, 0b11000000]), "within a table"),
        (bytes([SPARSE | HUFFMAN << 5, 1, 0b11001000]), "lengths is empty"),
        (bytes([SPARSE | HUFFMAN << 5, 1, 0b11000100]), "longer than its alphabet"),
        (bytes([SPARSE | HUFFMAN << 5, 1, 0b01000000, 0]), "no complete prefix code"),
        (bytes([SPARSE | HUFFMAN << 5, 1, 0b11111111, 0b00000000]), "a code has 31 bits"),
        (bytes([SPARSE | HUFFMAN << 5, 1, 0b10100000]), "a code has 0 bits"),
        (
            bytes([SPARSE_RAW | 2 << 2, 3, 0b11111100, 0b10000000, 0]),
            "the positions lead past|bytes",
        ),
        (bytes([SPARSE_RAW | 7 << 2, 1, 200, 0]) + ONE, "past the end of its 8"),
        (bytes([SPARSE_RAW | 7 << 2, 1, 3, 0]) + ONE + b"x", "1 bytes are left over"),
        (bytes([SPARSE | 7 << 2, 1, 3, HUFFMAN]) + TABLE_OF_ONE + ONE + b"x", "left over"),
    ],
)
def test_payloads_that_lie_are_refused(payload: bytes, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        read_tensor(payload, "float32", 8)


def test_a_bool_is_zero_or_one() -> None:
    with pytest.raises(CodecError, match="neither 0 nor 1"):
        read_tensor(bytes([RAW, 0, 2]), "bool", 2)
    with pytest.raises(CodecError, match="neither 0 nor 1"):
        read_tensor(bytes([DENSE, HUFFMAN]) + TABLE_OF_ONE + b"\x07", "bool", 2)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.booleans())
def test_headers_of_noise_are_refused(noise: bytes, deflate: bool) -> None:
    data = sealed(noise, deflate=deflate)
    try:
        state, _ = codec.decode(data)
    except CodecError:
        return
    assert state == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a boil file"),
        (b"BOI", "not a boil file"),
        (b"PK\x03\x04", "not a boil file"),
        (b"BOIL", "1 bytes should follow"),
        (b"BOIL\x02", "version 2; this boildown reads version 1: update"),
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
    codec.pack({"a": torch.randn(9), "b": torch.randn(9)}, path)
    data = bytearray(path.read_bytes())
    data[-25] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        CodecError, match=r"tensor 'b' at byte .*: the checksum is wrong: it was damaged"
    ):
        codec.unpack(path)


def test_what_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        codec.unpack(tmp_path / "nothing.boil")
    with pytest.raises(IsADirectoryError):
        codec.unpack(tmp_path)


@pytest.mark.parametrize(
    ("dtype", "payload", "message"),
    [
        ("int32", bytes([SIGNED_ZEROS, RAW, 0, 0, 0, 0, 128]), "zeros of int32 have none"),
        ("float32", bytes([SIGNED_ZEROS, RAW, 0, 0, 0, 0, 64]), "more zeros than it has"),
        ("float32", bytes([SIGNED_ZEROS, RAW, 0, 0, 0, 0]), "1 bytes should follow"),
        (
            "float32",
            bytes([SIGNED_ZEROS, SIGNED_ZEROS, RAW, 0, 0, 0, 0, 128]),
            "the first byte, 5, stands for",
        ),
        ("float32", bytes([SIGNED_ZEROS, RAW, 0, 0, 0, 0, 128, 1]), "1 bytes are left over"),
    ],
)
def test_signs_of_zeros_that_lie_are_refused(dtype: str, payload: bytes, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        read_tensor(payload, dtype, 1)


@pytest.mark.parametrize("dtype", [torch.complex128, torch.float64, torch.int64, torch.float32])
def test_a_file_buys_bytes_and_not_elements(dtype: torch.dtype) -> None:
    tensor = torch.zeros(1 << 22, dtype=dtype)
    size = len(codec.encode({"w": tensor}))
    assert tensor.nbytes <= 8192 * size
    assert size <= tensor.nbytes // 8192 + 1
    assert codec.decode(codec.encode({"w": tensor}))[0]["w"].equal(tensor)


def test_small_files_from_before_bytes_were_counted_are_read() -> None:
    """Their fill counts elements: 2048 of any size to a byte."""
    payload = codec.encode({"w": torch.zeros(1 << 20, dtype=torch.float64)})
    assert payload[-16 - 100 : -16] == bytes(100)
    body = payload[: (1 << 9) - 16]
    early = body + hashlib.blake2b(body, digest_size=16).digest()
    assert codec.decode(early)[0]["w"].numel() == 1 << 20
    body = codec.encode({"w": torch.zeros(1 << 22, dtype=torch.float64)})[: (1 << 11) - 16]
    refuse(body + hashlib.blake2b(body, digest_size=16).digest(), "cut short")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.boil")
    for read in (codec.unpack, codec.read_config, codec.inspect):
        with pytest.raises(OSError, match="is a pipe, a device or the like"):
            read(tmp_path / "pipe.boil")
