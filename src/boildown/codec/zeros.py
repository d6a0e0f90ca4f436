"""Zeros with a sign: `weight * mask` leaves -0.0 where a negative weight was.

They are equal to 0.0 but not the same bits, so a file that holds every bit keeps them: as zeros
like all others, with one bit for the sign of each.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from boildown.codec.dtypes import word_type
from boildown.codec.error import CodecError
from boildown.codec.kernels import Bytes, Words

_SIGNED = (
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
_PIECE = 1 << 20  # floats looked at together
_PARTS = {
    "complex32": 2,
    "complex64": 2,
    "complex128": 1,
}  # floats in a word; one where a dtype is absent


def unsigned(words: Words, dtype: str) -> Words:
    """The words with 0.0 for each -0.0; the same array if there is none.

    Args:
        words: (n,).
        dtype: of the tensor.
    """
    if dtype not in _SIGNED:
        return words
    floats = _floats(words, dtype)
    zero = _negative_zero(floats)
    pieces = range(0, floats.size, _PIECE)
    if not any((floats[i : i + _PIECE] == zero).any() for i in pieces):
        return words
    unsigned = floats.copy()
    for i in pieces:
        piece = unsigned[i : i + _PIECE]
        piece[piece == zero] = 0
    return unsigned.view(words.dtype)


def signs(words: Words, dtype: str) -> Bytes:
    """A bit for each zero, 1 for -0.0, the highest bit of a byte first.

    Args:
        words: (n,).
        dtype: of the tensor, one whose zeros have a sign.
    """
    floats = _floats(words, dtype)
    negative = floats == _negative_zero(floats)
    return np.packbits(negative[negative | (floats == 0)])


def size_of(words: Words, dtype: str) -> int:
    """Bytes of the signs of zeros.

    Args:
        words: (n,), as from `unsigned`.
        dtype: of the tensor.

    Raises:
        CodecError: if the zeros of this dtype have no sign.
    """
    if dtype not in _SIGNED:
        raise CodecError(f"it stores signs of zeros, and zeros of {dtype} have none")
    return -(-int((_floats(words, dtype) == 0).sum()) // 8)


def sign(words: Words, dtype: str, stored: Bytes) -> None:
    """Give zeros their signs, in place; the inverse of `unsigned`.

    Args:
        words: (n,), writable.
        dtype: of the tensor.
        stored: as from `signs`; untrusted, but as many as there are zeros.

    Raises:
        CodecError: if the bits after the last zero's are not zero.
    """
    floats = _floats(words, dtype)
    (zeros,) = np.nonzero(floats == 0)
    bits = np.unpackbits(stored)
    if bits[zeros.size :].any():
        raise CodecError("it stores the signs of more zeros than it has")
    floats[zeros[bits[: zeros.size] == 1]] = _negative_zero(floats)


def _floats(words: Words, dtype: str) -> Words:
    """The words, or the halves of a word that holds two floats; a view."""
    return words.view(f"u{word_type(dtype).itemsize // _PARTS.get(dtype, 1)}")


def _negative_zero(floats: Words) -> NDArray[Any]:
    return np.array(1 << (8 * floats.itemsize - 1), floats.dtype)
