"""A stand-in for the mixing coder: words as they are, or deflated where they are told by others."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from boildown.codec import zeros
from boildown.codec.bytewise import Reader, varint
from boildown.codec.coder import Anatomy
from boildown.codec.dtypes import word_type
from boildown.codec.error import CodecError
from boildown.codec.kernels import Words


@dataclass(frozen=True)
class Kind:
    """What a reader knows of a piece."""

    dtype: str
    size: int
    columns: int


@dataclass(frozen=True)
class Piece:
    """A tensor, or some rows of one."""

    words: Words
    dtype: str
    columns: int
    base: Words | None = None


@dataclass(frozen=True)
class Encoded:
    """A stream."""

    data: bytes
    bits: tuple[float, ...]
    forms: tuple[str, ...]


def encode(pieces: Sequence[Piece], *, zero_signs: bool = True) -> Encoded:
    """Write pieces, one after another."""
    parts = []
    for piece in pieces:
        words = piece.words if zero_signs else zeros.unsigned(piece.words, piece.dtype)
        plain = (words if piece.base is None else words ^ piece.base).tobytes()
        packed = plain if piece.base is None else zlib.compress(plain, 1)
        parts.append(varint(len(packed)) + packed)
    return Encoded(b"".join(parts), tuple(8.0 * len(p) for p in parts), ("words",) * len(parts))


def decode(
    data: bytes | memoryview, kinds: Sequence[Kind], bases: Sequence[Words | None] | None = None
) -> list[tuple[Words, Anatomy]]:
    """The inverse of `encode`."""
    read, found = Reader(data), []
    for i, kind in enumerate(kinds):
        base, start = None if bases is None else bases[i], read.at
        packed, word = read.take(read.varint()), word_type(kind.dtype)
        size = kind.size * word.itemsize
        try:
            plain = packed if base is None else zlib.decompressobj().decompress(packed, size)
        except zlib.error as error:
            raise CodecError(str(error)) from None
        if len(plain) != size:
            raise CodecError(f"{len(plain)} bytes of {kind.size} words")
        words = np.frombuffer(plain, word).copy()
        if base is not None:
            words ^= base
        if kind.dtype == "bool" and words.max(initial=0) > 1:
            raise CodecError("its elements are bools, and one is neither 0 nor 1")
        bits = 8 * (read.at - start) / kind.size
        found.append((words, Anatomy("words", weight_bits_coded=bits)))
    if read.left:
        raise CodecError(f"{read.left} bytes are left over")
    return found
