"""Zeros with a sign: `weight * mask` leaves -0.0 where a negative weight was.

They are equal to 0.0 but not the same bits, so a file that holds every bit keeps them: as zeros
like all others, with one bit for the sign of each.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from boildown.codec import kernels
from boildown.codec.dtypes import word_type
from boildown.codec.error import CodecError
from boildown.codec.kernels import Bytes, Words

SIGNED = (
    "float32",
    "float64",
    "float16",
    "bfloat16",
    "complex64",
    "complex128",
    "complex32",
    "float8_e4m3fn",
    "float8_e5m2",
)
_PIECE = 1 << 18  # floats looked at together
_PARTS = {
    "complex32": 2,
    "complex64": 2,
    "complex128": 1,
}  # floats in a word; one where a dtype is absent


def unsigned(words: Words, dtype: str) -> Words:
    """The words with 0.0 for each -0.0; the same array for a dtype without.

    Args:
        words: (n,).
        dtype: of the tensor.
    """
    if dtype not in SIGNED:
        return words
    floats = _floats(words, dtype)
    unsigned = np.empty_like(floats)
    kernels.without_signs(floats, _negative_zero(floats), unsigned)
    return unsigned.view(words.dtype)


def signs_size(blocks: Iterable[Words], dtype: str) -> int:
    """Bytes of what `signs` gives; 0 if no zero is -0.0, so that there is nothing to tell.

    Args:
        blocks: (n,) words each; gone through twice.
        dtype: of the tensor.
    """
    if dtype not in SIGNED:
        return 0
    floats = (_floats(words, dtype) for words in blocks)
    if not any((part == _negative_zero(part)).any() for part in floats):
        return 0
    count = 0
    for words in blocks:
        part = _floats(words, dtype)
        count += int(np.count_nonzero((part == 0) | (part == _negative_zero(part))))
    return -(-count // 8)


def signs(blocks: Iterable[Words], dtype: str) -> Iterator[bytes]:
    """A bit for each zero, 1 for -0.0, the highest bit of a byte first; in pieces.

    Args:
        blocks: (n,) words each.
        dtype: of the tensor, one whose zeros have a sign.
    """
    held = 0  # bits of the last block that make no whole byte
    bits = np.empty(0, np.uint8)
    for words in blocks:
        floats = _floats(words, dtype)
        left, bits = bits[bits.size - held :], np.empty(held + floats.size, np.uint8)
        bits[:held] = left
        count = held + kernels.zero_signs(floats, _negative_zero(floats), bits[held:])
        bits, held = bits[:count], count % 8
        yield np.packbits(bits[: count - held]).tobytes()
    yield np.packbits(bits[bits.size - held :]).tobytes()


def size_of(words: Words, dtype: str) -> int:
    """Bytes of the signs of zeros.

    Args:
        words: (n,), without -0.0.
        dtype: of the tensor.

    Raises:
        CodecError: if the zeros of this dtype have no sign.
    """
    if dtype not in SIGNED:
        raise CodecError(f"it stores signs of zeros, and zeros of {dtype} have none")
    return -(-sum(int(np.count_nonzero(part == 0)) for part in _parts(words, dtype)) // 8)


def sign(words: Words, dtype: str, stored: Bytes) -> None:
    """Give zeros their signs, in place; the inverse of `unsigned`.

    Args:
        words: (n,), writable.
        dtype: of the tensor.
        stored: as from `signs`; untrusted, but as many as there are zeros.

    Raises:
        CodecError: if the bits after the last zero's are not zero.
    """
    at = 0
    for floats in _parts(words, dtype):
        zeros = np.flatnonzero(floats == 0)
        bits = np.unpackbits(stored[at // 8 : -(-(at + zeros.size) // 8)])[at % 8 :]
        floats[zeros[bits[: zeros.size] == 1]] = _negative_zero(floats)
        at += zeros.size
    if at % 8 and int(stored[-1]) << at % 8 & 0xFF:
        raise CodecError("it stores the signs of more zeros than it has")


def _parts(words: Words, dtype: str) -> Iterator[Words]:
    """The floats in pieces; views."""
    floats = _floats(words, dtype)
    return (floats[at : at + _PIECE] for at in range(0, floats.size, _PIECE))


def _floats(words: Words, dtype: str) -> Words:
    """The words, or the halves of a word that holds two floats; a view."""
    return words.view(f"u{word_type(dtype).itemsize // _PARTS.get(dtype, 1)}")


def _negative_zero(floats: Words) -> Any:
    return floats.dtype.type(1 << (8 * floats.itemsize - 1))
