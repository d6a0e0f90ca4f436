"""A section: consecutive pieces of tensors that are coded together, and apart from all others."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from boildown.codec.bytewise import Reader
from boildown.codec.coder import Anatomy, Plan
from boildown.codec.error import CodecError
from boildown.codec.index import DIFFERENCE, MIXED, PLAIN, Section
from boildown.codec.kernels import Words
from boildown.codec.piece import Piece
from boildown.codec.tensor import plan, read_words

CODERS = ("auto", "best", "fast", "huffman")


@dataclass(frozen=True)
class Coded:
    """A section to be written.

    Attributes:
        section: what the index tells of it.
        data: its bytes.
        dense: bytes of the words that are in it.
    """

    section: Section
    data: bytes
    dense: int


@dataclass(frozen=True)
class Room:
    """What a reader knows of a piece; the words of `Piece` aside.

    Attributes:
        name: of its tensor.
        dtype: of its tensor.
        size: words.
        columns: as in `Piece`.
        base: as in `Piece`.
    """

    name: str
    dtype: str
    size: int
    columns: int
    base: Words | None = None


@dataclass(frozen=True)
class Decoded:
    """A piece that was read.

    Attributes:
        words: (size,), writable.
        anatomy: what its bytes consist of.
        size: these bytes; a fraction where pieces share a stream.
    """

    words: Words
    anatomy: Anatomy
    size: float


def encode_section(pieces: Sequence[Piece], coder: str, *, zero_signs: bool) -> Coded:
    """Code pieces in the way that takes the fewest bytes.

    Args:
        pieces: at least one.
        coder: "best", "fast" or "huffman".
        zero_signs: whether -0.0 stays -0.0.
    """
    if coder == "best":
        kind, data = _mixed(pieces, zero_signs)
    paper = coder == "huffman"
    plans = [
        plan(p.words, p.dtype, zero_signs=zero_signs, channel=p.channel, paper=paper)
        for p in pieces
    ]
    if coder != "best" or len(data) > sum(p.size for p in plans):
        kind, data = PLAIN, _plain(plans)
    return _coded(kind, data, pieces)


def _coded(kind: int, data: bytes, pieces: Sequence[Piece]) -> Coded:
    section = Section(kind, len(pieces), len(data), zlib.crc32(data))
    return Coded(section, data, sum(piece.words.nbytes for piece in pieces))


def _plain(plans: Sequence[Plan]) -> bytes:
    return b"".join(part for one in plans for part in one.write())


def _mixed(pieces: Sequence[Piece], zero_signs: bool) -> tuple[int, bytes]:
    from boildown.codec.mixed import pieces as mixed  # whose machine code takes a while to load

    kind = MIXED if all(piece.base is None for piece in pieces) else DIFFERENCE
    return kind, mixed.encode(pieces, zero_signs=zero_signs)


def decode_section(kind: int, data: memoryview, rooms: Sequence[Room]) -> list[Decoded]:
    """The inverse of `encode_section`.

    Args:
        kind: of the section.
        data: untrusted.
        rooms: what the index tells of each piece.

    Raises:
        CodecError: for anything that `encode_section` does not write.
    """
    if kind == PLAIN:
        return _read_plain(data, rooms)
    from boildown.codec.mixed import pieces as mixed

    kinds = [mixed.Kind(room.dtype, room.size, room.columns) for room in rooms]
    try:
        found = mixed.decode(data, kinds, [room.base for room in rooms])
    except CodecError as error:
        last = f" to {rooms[-1].name!r}" if len(rooms) > 1 else ""
        raise CodecError(f"tensor {rooms[0].name!r}{last}: {error}") from None
    return [
        Decoded(words, anatomy, (anatomy.weight_bits_coded or 0) * room.size / 8)
        for (words, anatomy), room in zip(found, rooms, strict=True)
    ]


def _read_plain(data: memoryview, rooms: Sequence[Room]) -> list[Decoded]:
    source, found = Reader(data), []
    for room in rooms:
        start = source.at
        try:
            words, anatomy = read_words(source, room.dtype, room.size)
        except CodecError as error:
            raise CodecError(f"tensor {room.name!r}: {error}") from None
        found.append(Decoded(words, anatomy, source.at - start))
    if source.left:
        raise CodecError(
            f"tensor {rooms[-1].name!r}: {source.left} bytes are left over after it, at byte "
            f"{source.at} of its section"
        )
    return found


def joined_anatomy(pieces: Sequence[tuple[Anatomy, int, float]]) -> Anatomy:
    """What the bytes of a tensor consist of.

    Args:
        pieces: of each its anatomy, its words and its bytes.
    """
    every = [anatomy for anatomy, *_ in pieces]

    def mean(values: Sequence[float | None]) -> float | None:
        known = [(v, n) for v, (_, n, _) in zip(values, pieces, strict=True) if v is not None]
        return sum(v * n for v, n in known) / sum(n for _, n in known) if known else None

    def most(values: Sequence[int | None]) -> int | None:
        return max((value for value in values if value is not None), default=None)

    fillers = [anatomy.fillers for anatomy in every if anatomy.fillers is not None]
    return Anatomy(
        " + ".join(dict.fromkeys(anatomy.coder for anatomy in every)),
        most([anatomy.weight_bits for anatomy in every]),
        mean([anatomy.weight_bits_coded for anatomy in every]),
        most([anatomy.position_bits for anatomy in every]),
        mean([anatomy.position_bits_coded for anatomy in every]),
        sum(fillers) if fillers else None,
    )
