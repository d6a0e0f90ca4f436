"""Reading files of version 2: docs/format.md has it byte by byte.

    4 bytes   BOIL
    1 byte    2
              sections
              fill: zero bytes
              index
    varint    from its last byte to its first: 4 * bytes of the index + 2 * sums + deflated
    4 bytes   CRC-32 of all before it; where `sums` is 1, of all before it but the sections

The fill bounds what a reader may be asked to allocate: a file of n bytes holds at most 16 MiB +
8192 n bytes of tensors, an element of less than 4 bytes counting as 4.
"""

import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import Any, BinaryIO

import numpy as np

from boildown.codec import dtypes
from boildown.codec.base import base_words, check_base
from boildown.codec.bytewise import VARINT_MOST, Reader
from boildown.codec.coder import Anatomy
from boildown.codec.entry import Entry, State, Stored
from boildown.codec.error import DAMAGED, FOREIGN, CodecError
from boildown.codec.in_order import in_order
from boildown.codec.index import DIFFERENCE, MIXED, Index, Section, unpack_index
from boildown.codec.pieces import Span, bytes_of, spans_of
from boildown.codec.sections import Decoded, Room, decode_section, joined_anatomy

CRC_BYTES = 4
START = 5  # bytes before the sections
PROMISED_ANYWAY, BYTES_PER_BYTE = 1 << 24, 8192
_LEAST_ITEM = 4  # bytes that an element counts as, at the least
_SECTION_ANYWAY, _SECTION_EACH = 4096, 16  # bytes of a section beyond its tensors, and for each
POOL_MOST = 1 << 22  # bytes of tensors that share a section
_CHUNK = 1 << 20
_ALIGNED = 16  # bytes


def least_size(entries: Sequence[Entry]) -> int:
    """Bytes that a file of these tensors has at the least."""
    promised = sum(
        e.numel * max(dtypes.itemsize(e.dtype), _LEAST_ITEM) for e in entries if e.tied is None
    )
    return max(0, -(-(promised - PROMISED_ANYWAY) // BYTES_PER_BYTE))


@dataclass(frozen=True)
class Group:
    """A section in a file.

    Attributes:
        section: what the index tells of it.
        at: its first byte.
        spans: its pieces.
    """

    section: Section
    at: int
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class OpenedVersion2:
    """A file whose index has been checked; see `Opened`.

    Attributes:
        file: to read from.
        size: bytes of the file.
        index: what it holds.
        groups: the sections.
    """

    file: BinaryIO
    size: int
    index: Index
    groups: tuple[Group, ...]

    @property
    def config(self) -> dict[str, Any] | None:
        return self.index.config

    @property
    def entries(self) -> Sequence[Entry]:
        return self.index.entries

    @property
    def base(self) -> bytes | None:
        return self.index.base

    def stored(
        self, wanted: Collection[int] | None = None, base: State | None = None
    ) -> Iterator[Stored]:
        groups = [
            group
            for group in self.groups
            if wanted is None or any(span.place in wanted for span in group.spans)
        ]
        differs = any(group.section.kind == DIFFERENCE for group in groups)
        base = check_base(self.base if differs else None, base)
        lock = Lock()  # on the file and the base

        def decoded(group: Group) -> list[tuple[Span, Decoded]]:
            with lock:
                data, rooms = self._read(group, base)
            return _decoded(group, data, rooms)

        pieces = (
            (span, piece)
            for found in in_order(decoded, groups, self._room)
            for span, piece in found
            if wanted is None or span.place in wanted
        )
        for place, entry in enumerate(self.entries):
            if entry.tied is None and (wanted is None or place in wanted):
                yield _assembled(place, entry, pieces)

    def _room(self, group: Group) -> int:
        """Bytes that a section and what is in it take."""
        spans = group.spans
        return group.section.size + sum(bytes_of(self.entries[s.place], s) for s in spans)

    def _read(self, group: Group, base: State | None) -> tuple[memoryview, list[Room]]:
        """The bytes of a section, placed so that raw values, after a byte, are aligned."""
        self.file.seek(group.at)
        data = np.empty(_ALIGNED - 1 + group.section.size, np.uint8)[_ALIGNED - 1 :].data
        self.file.readinto(data)  # type: ignore[attr-defined]
        name = self.entries[group.spans[0].place].name
        if group.section.crc is not None and zlib.crc32(data) != group.section.crc:
            raise CodecError(
                f"tensor {name!r}, section at byte {group.at}: the checksum is wrong: {DAMAGED}"
            )
        if len(group.spans) > 1:
            data = data.toreadonly()  # of which no tensor may be a view
        rooms = []
        for span in group.spans:
            entry = self.entries[span.place]
            given = base_words(base if group.section.kind == DIFFERENCE else None, entry)
            part = None if given is None else given[span.start : span.start + span.size]
            rooms.append(Room(entry.name, entry.dtype, span.size, span.columns, part))
        return data, rooms


def _decoded(group: Group, data: memoryview, rooms: Sequence[Room]) -> list[tuple[Span, Decoded]]:
    try:
        found = decode_section(group.section.kind, data, rooms)
    except CodecError as error:
        raise CodecError(f"section at byte {group.at}: {error} ({FOREIGN})") from None
    return list(zip(group.spans, found, strict=True))


def _assembled(place: int, entry: Entry, pieces: Iterator[tuple[Span, Decoded]]) -> Stored:
    """A tensor of its pieces, which come next."""
    if entry.numel == 0:
        return Stored(place, np.empty(0, dtypes.word_type(entry.dtype)), Anatomy("raw"), 0)
    span, piece = next(pieces)
    if span.whole:
        return Stored(place, piece.words, piece.anatomy, piece.size)
    words = np.empty(entry.words, dtypes.word_type(entry.dtype))
    found: list[tuple[Anatomy, int, float]] = []
    while True:
        words[span.start : span.start + span.size] = piece.words
        found.append((piece.anatomy, span.size, piece.size))
        if span.start + span.size == entry.words:
            break
        span, piece = next(pieces)
    return Stored(place, words, joined_anatomy(found), sum(size for *_, size in found))


def open_version2(file: BinaryIO, size: int) -> OpenedVersion2:
    """Read the index and check all but the sections that have checksums of their own.

    Nothing the index promises is allocated here.

    Args:
        file: that begins as one of version 2; untrusted.
        size: bytes of the file.

    Raises:
        CodecError: unless this is an intact file, saying what is wrong and where.
    """
    tail = Reader(_tail(file, size)[::-1])
    number = tail.varint()
    length, sums, deflated = number >> 2, bool(number & 2), bool(number & 1)
    end = size - CRC_BYTES - tail.at
    if length > end - START:
        raise CodecError(
            f"the file is cut short or damaged: its last bytes tell of an index of {length} bytes, "
            f"and it has {size} in all; copy it again"
        )
    if not sums:
        _check_crc(file, size, [(0, size - CRC_BYTES)])
    file.seek(end - length)
    try:
        index = unpack_index(file.read(length), deflated, sums)
        least = least_size(index.entries)
        if least > size:
            raise CodecError(
                f"the file is cut short: its tensors ask for {least} bytes at the least, and it "
                f"has {size}; copy it again"
            )
        groups = _groups(index, end - length)
    except CodecError as error:
        raise CodecError(f"{error} ({FOREIGN if not sums else _EITHER})") from None
    last = groups[-1].at + groups[-1].section.size if groups else START
    if sums:
        _check_crc(file, size, [(0, START), (last, size - CRC_BYTES)])
    _check_fill(file, last, end - length, size, least)
    return OpenedVersion2(file, size, index, groups)


_EITHER = (
    "the file was damaged: copy it again; or written like this by a newer boildown, in which case "
    "update yours, or by something else"
)


def _tail(file: BinaryIO, size: int) -> bytes:
    """What stands before the checksum, as far as a varint goes."""
    least = START + 1 + CRC_BYTES
    if size < least:
        raise CodecError(f"the file is cut short: it has {size} bytes, and none has under {least}")
    start = max(START, size - CRC_BYTES - VARINT_MOST)
    file.seek(start)
    return file.read(size - CRC_BYTES - start)


def _check_crc(file: BinaryIO, size: int, ranges: Sequence[tuple[int, int]]) -> None:
    crc = 0
    for start, end in ranges:
        file.seek(start)
        for at in range(start, end, _CHUNK):
            crc = zlib.crc32(file.read(min(_CHUNK, end - at)), crc)
    file.seek(size - CRC_BYTES)
    if crc.to_bytes(CRC_BYTES, "little") != file.read(CRC_BYTES):
        raise CodecError(f"the checksum is wrong: {DAMAGED}")


def _check_fill(file: BinaryIO, start: int, end: int, size: int, least: int) -> None:
    """Refuse other bytes between the sections and the index than those that an honest file has."""
    fill = end - start
    wanted = max(0, least - (size - fill))
    if fill != wanted:
        raise CodecError(
            f"{fill} bytes stand between sections and index, where its tensors ask for {wanted} "
            f"({FOREIGN})"
        )
    file.seek(start)
    for at in range(start, end, _CHUNK):
        if any(file.read(min(_CHUNK, end - at))):
            raise CodecError(f"the bytes that fill the file are not zero ({FOREIGN})")


def _groups(index: Index, end: int) -> tuple[Group, ...]:
    """Where the sections lie.

    Args:
        index: untrusted, of as many pieces as its sections tell of.
        end: of what they may take.

    Raises:
        CodecError: if they take more, or hold what belongs in several.
    """
    spans = (
        span
        for place, entry in enumerate(index.entries)
        if entry.tied is None and entry.numel
        for span in spans_of(entry, place, index.block_log)
    )
    if not index.sections:
        return _only_group(index, tuple(spans), end)
    groups, at = [], START
    for number, section in enumerate(index.sections):
        if section.size > end - at:
            raise CodecError(
                f"section {number} has {section.size} bytes from byte {at} on, and the index "
                f"begins at {end}"
            )
        held: list[Span] = []
        for span in islice(spans, section.pieces):
            held.append(span)
            if not span.whole and section.pieces > 1:
                name = index.entries[span.place].name
                raise CodecError(
                    f"section {number} holds a part of the tensor {name!r} and something else"
                )
        groups.append(_group(index, section, at, tuple(held)))
        at += section.size
    return tuple(groups)


def _only_group(index: Index, spans: tuple[Span, ...], end: int) -> tuple[Group, ...]:
    """The one section that is not told of."""
    room = end - START
    if not spans:
        if room:
            raise CodecError(f"{room} bytes stand before the index, and no tensor needs any")
        return ()
    if len(spans) > 1 and not all(span.whole for span in spans):
        raise CodecError("one section holds a part of a tensor and something else")
    return (_group(index, Section(MIXED, len(spans), room), START, spans),)


def _group(index: Index, section: Section, at: int, spans: tuple[Span, ...]) -> Group:
    dense = sum(bytes_of(index.entries[span.place], span) for span in spans)
    if len(spans) > 1 and dense > POOL_MOST:
        raise CodecError(
            f"the section at byte {at} holds several tensors of {dense:,} bytes, where "
            f"{POOL_MOST:,} are allowed"
        )
    if section.size > _SECTION_ANYWAY + _SECTION_EACH * len(spans) + dense:
        raise CodecError(
            f"the section at byte {at} has {section.size} bytes for tensors of {dense}, more than "
            "any way of storing them takes"
        )
    return Group(section, at, spans)
