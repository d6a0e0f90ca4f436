"""The index at the end of a file: names, shapes, where the tensors lie, and the model's config.

Msgpack, `[config, sections, names, kinds]` and the base's digest if there is a base. A file of one
of boildown's own models tells little that is new: the index is deflated with a preset dictionary of
theirs.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgpack

from boildown.codec import dtypes
from boildown.codec.entry import ITEM_MOST, Entry, check_shape
from boildown.codec.error import CodecError
from boildown.codec.pieces import BLOCK_LOG, count_of
from boildown.codec.plain_data import UTF8, no_collection, unpacked_config

PLAIN, MIXED, DIFFERENCE = range(3)  # kinds of sections: never renumber
KINDS = (PLAIN, MIXED, DIFFERENCE)
NAMES_MOST = 1 << 20
BASE_BYTES = 16
EXPANSION, EXPANSION_ANYWAY = 64, 1 << 16  # times a deflated index may grow, and bytes besides
_BLOCK_LEAST, _BLOCK_MOST = 10, BLOCK_LOG  # logarithms
_TRIED_MOST = 1 << 16  # bytes of an index that is deflated in several ways
_WAYS = [(level, strategy) for strategy in (0, zlib.Z_FIXED) for level in (9, 6, 4, 2)]
_INT_BYTES = frozenset([*range(0x80), *range(0xCC, 0xD4), *range(0xE0, 0x100)])
_TEXT_BYTES = frozenset([*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB])


@dataclass(frozen=True, slots=True)
class Section:
    """Consecutive pieces that are coded together.

    Attributes:
        kind: `PLAIN`, `MIXED` or `DIFFERENCE`.
        pieces: how many.
        size: bytes.
        crc: of these; None where one checksum is of the whole file.
    """

    kind: int
    pieces: int
    size: int
    crc: int | None = None


@dataclass(frozen=True)
class Index:
    """What a file tells of itself.

    Attributes:
        config: what is stored beside the tensors.
        entries: the names, in order.
        sections: in order; none if there is one of kind `MIXED`, which takes all the room there is.
        block_log: the logarithm of the words that a tensor may have and not be divided.
        base: the digest of the base; None if there is none.
    """

    config: dict[str, Any] | None
    entries: tuple[Entry, ...]
    sections: tuple[Section, ...] = ()
    block_log: int = BLOCK_LOG
    base: bytes | None = None


def pack_index(
    config: bytes, entries: Sequence[Entry], sections: Sequence[Section], base: bytes | None = None
) -> tuple[bytes, bool]:
    """An index as bytes, and whether they are deflated.

    Args:
        config: packed.
        entries: of any names whose length has been checked.
        sections: none for one of kind `MIXED`, which takes all the room there is.
        base: the digest of the base.
    """
    plain = plain_index(config, entries, sections, base)
    deflated = min((_deflated(plain, *way) for way in _ways(plain)), key=len)
    if len(deflated) < len(plain) <= EXPANSION * len(deflated) + EXPANSION_ANYWAY:
        return deflated, True
    return plain, False


def plain_index(
    config: bytes, entries: Sequence[Entry], sections: Sequence[Section], base: bytes | None = None
) -> bytes:
    """An index as `pack_index` deflates it."""
    kinds: list[int] = []
    for entry in entries:
        if entry.tied is None:
            kinds += [dtypes.NAMES.index(entry.dtype), len(entry.shape), *entry.shape]
        else:
            kinds.append(-1 - entry.tied)
    told: list[int] = [BLOCK_LOG] if sections else []
    for section in sections:
        crc = [] if section.crc is None else [section.crc]
        told += [section.kind, section.pieces, section.size, *crc]
    names = [entry.name for entry in entries]
    items: list[Any] = [told, names, kinds] + ([] if base is None else [base])
    head: bytes = msgpack.Packer().pack_array_header(1 + len(items))
    return head + config + b"".join(msgpack.packb(item, unicode_errors=UTF8) for item in items)


def _ways(plain: bytes) -> list[tuple[int, int]]:
    return _WAYS if len(plain) <= _TRIED_MOST else _WAYS[:1]


def _deflated(plain: bytes, level: int, strategy: int) -> bytes:
    compress = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy, dictionary())
    return compress.compress(plain) + compress.flush()


@cache
def dictionary() -> bytes:
    """What indices are deflated with, frozen: a file cannot be read with another."""
    return Path(__file__).with_name("dictionary.bin").read_bytes()


def unpack_index(data: bytes, deflated: bool, sums: bool) -> Index:
    """The inverse of `pack_index`.

    Args:
        data: untrusted.
        deflated: whether `data` is.
        sums: whether each section has a checksum.

    Raises:
        CodecError: for anything that `pack_index` does not write.
    """
    plain = _inflate(data) if deflated else data
    read = _Items(plain)
    try:
        count = read.array()
        if count not in (4, 5):
            raise CodecError(f"the index is a list of {count} items, where 4 or 5 are allowed")
        config = read.skipped()
        with no_collection():
            sections, block_log = _sections(list(read.integers()), sums)
            entries = _entries(read)
        base = read.skipped() if count == 5 else None
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        if isinstance(error, CodecError):
            raise
        reason = str(error) or "it is nested too deeply or ends too early"
        raise CodecError(f"the index is not a list in msgpack: {reason}") from None
    if read.at != len(plain):
        raise CodecError("the index is not a list in msgpack: more follows it")
    index = Index(unpacked_config(config), entries, sections, block_log, _base(base))
    _check_sections(index, sums)
    return index


class _Items:
    """A cursor over msgpack that makes nothing of what it was not asked for.

    In memory a list of one byte of msgpack takes 64.
    """

    def __init__(self, plain: bytes) -> None:
        self._plain = plain
        self._reader = msgpack.Unpacker(
            max_buffer_size=max(1, len(plain)), max_str_len=ITEM_MOST, unicode_errors=UTF8
        )
        self._reader.feed(plain)

    @property
    def at(self) -> int:
        """The byte that comes next."""
        place: int = self._reader.tell()
        return place

    def array(self) -> int:
        """The length of the list that begins here."""
        length: int = self._reader.read_array_header()
        return length

    def skipped(self) -> bytes:
        """An item, still packed.

        Raises:
            CodecError: if it takes over 1 MiB.
        """
        start = self.at
        self._reader.skip()
        if self.at - start > ITEM_MOST:
            raise CodecError(f"the index has a part of over {ITEM_MOST:,} bytes")
        return self._plain[start : self.at]

    def integers(self) -> Iterator[int]:
        """The items of a list of integers."""
        for _ in range(self.array()):
            yield self._next(_INT_BYTES, "an integer")

    def texts(self) -> Iterator[str]:
        """The items of a list of texts."""
        for _ in range(self.array()):
            yield self._next(_TEXT_BYTES, "a text")

    def _next(self, firsts: frozenset[int], what: str) -> Any:
        at = self.at
        if at >= len(self._plain) or self._plain[at] not in firsts:
            raise CodecError(f"byte {at} of the index: {what} should follow")
        return self._reader.unpack()


def _inflate(data: bytes) -> bytes:
    limit = EXPANSION * len(data) + EXPANSION_ANYWAY
    inflate = zlib.decompressobj(-15, dictionary())
    try:
        plain = inflate.decompress(data, limit + 1)
    except zlib.error as error:
        raise CodecError(f"the index does not inflate: {error}") from None
    if len(plain) > limit:
        raise CodecError(
            f"the index inflates to over {EXPANSION} times its size and {EXPANSION_ANYWAY} bytes"
        )
    if not inflate.eof or inflate.unused_data:
        raise CodecError("the index does not end where it should")
    return plain


def _base(packed: bytes | None) -> bytes | None:
    if packed is None:
        return None
    if len(packed) != BASE_BYTES + 2 or packed[:2] != bytes([0xC4, BASE_BYTES]):
        raise CodecError(f"the base's digest is not of {BASE_BYTES} bytes")
    return packed[2:]


def _sections(told: list[int], sums: bool) -> tuple[tuple[Section, ...], int]:
    """The sections, and the logarithm of the block."""
    if not told:
        return (), BLOCK_LOG
    block_log, numbers, row = told[0], told[1:], 4 if sums else 3
    if not _BLOCK_LEAST <= block_log <= _BLOCK_MOST:
        raise CodecError(
            f"blocks of 2^{block_log} words, where 2^{_BLOCK_LEAST} to 2^{_BLOCK_MOST} are allowed"
        )
    if not numbers or len(numbers) % row:
        raise CodecError(f"{len(numbers)} integers make no sections of {row} each")
    sections: list[Section] = []
    for i in range(0, len(numbers), row):
        section = Section(*numbers[i : i + row])
        if section.kind not in KINDS:
            raise CodecError(
                f"section {len(sections)} is of kind {section.kind}, which this version does not "
                "know: update boildown"
            )
        if section.pieces < 1 or section.size < 1 or not 0 <= (section.crc or 0) < 1 << 32:
            raise CodecError(f"section {len(sections)} has {section.pieces} pieces in "
                             f"{section.size} bytes")  # fmt: skip
        sections.append(section)
    return tuple(sections), block_log


def _check_sections(index: Index, sums: bool) -> None:
    """Refuse sections that do not hold the pieces of all tensors."""
    if sums and not index.sections:
        raise CodecError("the sections have checksums, and there are none")
    pieces = count_of(index.entries, index.block_log)
    told = sum(section.pieces for section in index.sections)
    if index.sections and told != pieces:
        raise CodecError(f"the sections have {told} pieces, and the tensors {pieces}")
    differs = any(section.kind == DIFFERENCE for section in index.sections)
    if differs != (index.base is not None):
        raise CodecError("a base is told where no section needs it, or needed where none is told")


def _entries(read: _Items) -> tuple[Entry, ...]:
    """The names with their dtypes and shapes, or ties."""
    names = dict[str, None]()
    for name in read.texts():
        if name in names:
            raise CodecError(f"two tensors are called {name!r}")
        if len(names) >= NAMES_MOST:
            raise CodecError(f"the index has more than {NAMES_MOST:,} names")
        names[name] = None
    entries: list[Entry] = []
    kinds = read.integers()

    def number(name: str) -> int:
        for found in kinds:
            return found
        raise CodecError(f"tensor {name!r}: its dtype and shape are missing")

    for name in names:
        entries.append(_entry(name, number, entries))
    if next(kinds, None) is not None:
        raise CodecError("more dtypes and shapes than names")
    return tuple(entries)


def _entry(name: str, number: Callable[[str], int], before: Sequence[Entry]) -> Entry:
    first = number(name)
    if first < 0:
        other = -1 - first
        if other >= len(before) or before[other].tied is not None:
            raise CodecError(f"tensor {name!r} is tied to entry {other}, which it cannot be")
        return Entry(name, before[other].dtype, before[other].shape, other)
    if first >= len(dtypes.NAMES):
        raise CodecError(f"tensor {name!r} has dtype {first}, which this version does not know")
    sides = number(name)
    if not 0 <= sides <= 64:
        raise CodecError(f"tensor {name!r} has {sides} sides, where 0 to 64 are allowed")
    shape = tuple(number(name) for _ in range(sides))
    try:
        check_shape(shape)
    except CodecError as error:
        raise CodecError(f"tensor {name!r}: {error}") from None
    return Entry(name, dtypes.NAMES[first], shape)
