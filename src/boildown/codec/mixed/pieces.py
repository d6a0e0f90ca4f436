"""Tensors in one stream, coded by mixed predictions: what takes the fewest bytes.

Each tensor takes the form that takes the fewest bits, by trying them. Tensors of one stream share
what the coder has learned, and no byte is spent on where one ends.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from boildown.codec import zeros
from boildown.codec.coder import Anatomy
from boildown.codec.dtypes import word_type
from boildown.codec.error import CodecError
from boildown.codec.kernels import Words
from boildown.codec.mixed.arrays import code_words, weighed
from boildown.codec.mixed.forms import Kind
from boildown.codec.mixed.stream import Stream
from boildown.codec.piece import Piece

__all__ = ["Kind", "decode", "encode", "weigh"]

T = TypeVar("T", Words, None, Words | None)

_ROOM = 512  # bytes of a piece beyond its words
_PARTS = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}


def encode(pieces: Sequence[Piece], *, zero_signs: bool = True) -> bytes:
    """Pieces as one stream, one after another.

    Args:
        pieces: each of at least one word.
        zero_signs: whether -0.0 stays -0.0.
    """
    stream = Stream(room=sum(p.words.nbytes * 9 // 8 + _ROOM for p in pieces))  # signs of zeros too
    for piece in pieces:
        words = piece.words if zero_signs else zeros.unsigned(piece.words, piece.dtype)
        whole = Kind(piece.dtype, words.size, piece.columns)
        (kind, parts), (_, base) = _parts(whole, words), _parts(whole, piece.base)
        code_words(stream, kind, parts, base)
    return stream.written()


def decode(
    data: bytes | memoryview, kinds: Sequence[Kind], bases: Sequence[Words | None] | None = None
) -> list[tuple[Words, Anatomy]]:
    """The inverse of `encode`.

    Args:
        data: untrusted.
        kinds: of the pieces.
        bases: what stands in the place of each, where something does.

    Raises:
        CodecError: for anything that `encode` does not write.
    """
    stream = Stream(np.frombuffer(data, np.uint8).copy())  # numba has one type for both ways
    found = []
    before = stream.bits()
    for i, kind in enumerate(kinds):
        inner, base = _parts(kind, None if bases is None else bases[i])
        words, name = code_words(stream, inner, None, base)
        if kind.dtype == "bool" and words.max(initial=0) > 1:
            raise CodecError("its elements are bools, and one is neither 0 nor 1")
        after = stream.bits()
        anatomy = Anatomy(name, weight_bits_coded=(after - before) / max(kind.size, 1))
        found.append((words.view(word_type(kind.dtype)), anatomy))
        before = after
    stream.close()
    return found


def weigh(piece: Piece) -> list[tuple[str, float]]:
    """What each form would take for a piece in a stream of its own.

    Args:
        piece: its base and the signs of its zeros are not looked at.

    Returns:
        Names of forms and bytes, the fewest first.
    """
    words = zeros.unsigned(piece.words, piece.dtype)
    kind, parts = _parts(Kind(piece.dtype, words.size, piece.columns), words)
    stream = Stream(room=words.nbytes * 2 + _ROOM)
    return [(name, bits / 8) for bits, name in weighed(stream, kind, parts)]


def _parts(kind: Kind, words: T) -> tuple[Kind, T]:
    """Complex numbers as twice as many real ones."""
    dtype = _PARTS.get(kind.dtype)
    if dtype is None:
        return kind, words
    times = word_type(kind.dtype).itemsize // word_type(dtype).itemsize
    inner = Kind(dtype, kind.size * times, kind.columns * times)
    return inner, words if words is None else words.view(word_type(dtype))
