"""Tensors from strangers: whatever the bytes, a CodecError or words, in little memory."""

import random

import numpy as np
import pytest
from states import every_kind

from boildown.codec import CodecError
from boildown.codec.bytewise import varint
from boildown.codec.dtypes import to_words
from boildown.codec.gaps import FIXED, HUFFMAN
from boildown.codec.tensor import DENSE, RAW, SIGNED_ZEROS, SPARSE, SPARSE_RAW, plan, read_tensor


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


ONE, TWO = np.float32(1).tobytes(), np.float32(2).tobytes()
TABLE_OF_ONE = b"\x80"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "byte 0: 1 bytes should follow, and 0 do"),
        (bytes([RAW | 9 << 2]) + bytes(32), "form 9"),
        (bytes([RAW | 4 << 2]) + bytes(32), "form 4"),
        (bytes([DENSE | 252]), "first byte, 253, stands for no way of storing"),
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
