"""Reading files of version 1, which is written no more: docs/format.md has it byte by byte.

The header is msgpack, `[config, entry, ...]` in the order of the state dict. An entry is `[name,
dtype, bytes of the payload, *shape]`, or `[name, -1 - i]` for a tensor tied to entry i.
"""

import hashlib
import os
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, BinaryIO

import msgpack
import numpy as np

from boildown.codec import dtypes
from boildown.codec.bytewise import VARINT_MOST, Reader
from boildown.codec.entry import ITEM_MOST, Entry, State, Stored, check_shape
from boildown.codec.error import DAMAGED, FOREIGN, CodecError
from boildown.codec.plain_data import no_collection, unpacked, unpacked_config
from boildown.codec.tensor import read_tensor

EXPANSION = 64  # times a deflated header may grow
CRC_BYTES = 4
_BYTES_PER_BYTE = 8192
_LEAST_ITEM = 4  # bytes that an element counts as, at the least
_EARLY_MOST = 1 << 24  # such bytes, in a file whose fill counts elements of any size, as once
_DIGEST_BYTES = 16
_FIXED_BYTES = 5
_CHUNK = 1 << 20
_ALIGNED = 16  # bytes


@dataclass(frozen=True)
class Header:
    """Everything but the payloads.

    Attributes:
        config: what is stored beside the tensors.
        entries: the names.
        sizes: bytes of each payload, 0 for what is tied.
    """

    config: dict[str, Any] | None
    entries: tuple[Entry, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class OpenedVersion1:
    """A file whose header and digest have been checked; see `Opened`.

    Attributes:
        file: to read from.
        size: bytes of the file.
        header: what it holds.
        start: byte at which the payloads begin.
    """

    file: BinaryIO
    size: int
    header: Header
    start: int
    base: None = None

    @property
    def config(self) -> dict[str, Any] | None:
        return self.header.config

    @property
    def entries(self) -> Sequence[Entry]:
        return self.header.entries

    def stored(
        self, wanted: Collection[int] | None = None, base: State | None = None
    ) -> Iterator[Stored]:
        for place, at in _offsets(self.header, self.start):
            if wanted is not None and place not in wanted:
                continue
            entry, size = self.header.entries[place], self.header.sizes[place]
            payload = _payload(self.file, entry, size, at)
            try:
                words, anatomy = read_tensor(payload, entry.dtype, entry.numel)
            except CodecError as error:
                raise CodecError(
                    f"tensor {entry.name!r} at byte {at}: {error} ({FOREIGN})"
                ) from None
            yield Stored(place, words, anatomy, size + CRC_BYTES)


def open_version1(file: BinaryIO, size: int) -> OpenedVersion1:
    """Read the header and check the whole file against its digest.

    Nothing the header promises is allocated here.

    Args:
        file: that begins as one of version 1; untrusted.
        size: bytes of the file.

    Raises:
        CodecError: unless this is an intact file, saying what is wrong and where.
    """
    file.seek(0)
    read = Reader(file.read(_FIXED_BYTES + VARINT_MOST))
    read.take(_FIXED_BYTES)
    length, deflated = divmod(read.varint(), 2)
    if length > size - read.at - _DIGEST_BYTES:
        raise CodecError(
            f"the file is cut short: its header has {length} bytes from byte {read.at} on, and the "
            f"file ends at {size}; copy it again"
        )
    file.seek(read.at)
    header = _header(file.read(length), bool(deflated))
    start = read.at + length
    fill = _fill(header, start)
    expected = start + _payload_bytes(header) + fill + _DIGEST_BYTES
    if size < expected and _promised(header) <= _EARLY_MOST:
        fill = _early_fill(header, start)
        expected = start + _payload_bytes(header) + fill + _DIGEST_BYTES
    if size != expected:
        what = "cut short" if size < expected else "followed by something else"
        raise CodecError(
            f"the file is {what}: it has {size} bytes, its header asks for {expected}; "
            "copy it again"
        )
    if _digest(file, size - _DIGEST_BYTES) != file.read(_DIGEST_BYTES):
        for place, at in _offsets(header, start):
            _payload(file, header.entries[place], header.sizes[place], at)
        raise CodecError(f"the digest is wrong, though each tensor's checksum is right: {DAMAGED}")
    file.seek(start + _payload_bytes(header))
    if any(file.read(fill)):
        raise CodecError("the bytes that fill the file are not zero")
    return OpenedVersion1(file, size, header, start)


def _offsets(header: Header, start: int) -> Iterator[tuple[int, int]]:
    """Place of each stored entry, and the byte at which its payload begins."""
    for place, entry in enumerate(header.entries):
        if entry.tied is None:
            yield place, start
            start += header.sizes[place] + CRC_BYTES


def _payload_bytes(header: Header) -> int:
    return sum(header.sizes) + CRC_BYTES * sum(entry.tied is None for entry in header.entries)


def _promised(header: Header) -> int:
    """Bytes of all tensors, small elements counting as larger ones."""
    return sum(
        e.numel * max(dtypes.itemsize(e.dtype), _LEAST_ITEM)
        for e in header.entries
        if e.tied is None
    )


def _fill(header: Header, start: int, promised: int | None = None) -> int:
    """How many zero bytes stand before the digest."""
    promised = _promised(header) if promised is None else promised
    least = -(-promised // _BYTES_PER_BYTE)
    return max(0, least - start - _payload_bytes(header) - _DIGEST_BYTES)


def _early_fill(header: Header, start: int) -> int:
    """The same in files from before elements of 8 and 16 bytes counted as several."""
    elements = sum(entry.numel for entry in header.entries if entry.tied is None)
    return _fill(header, start, _LEAST_ITEM * elements)


def _payload(file: BinaryIO, entry: Entry, size: int, at: int) -> memoryview:
    """The bytes of a tensor, placed so that raw values, from the second byte on, are aligned."""
    file.seek(at)
    payload = np.empty(_ALIGNED - 1 + size, np.uint8)[_ALIGNED - 1 :].data
    file.readinto(payload)  # type: ignore[attr-defined]
    if zlib.crc32(payload).to_bytes(CRC_BYTES, "little") != file.read(CRC_BYTES):
        raise CodecError(f"tensor {entry.name!r} at byte {at}: the checksum is wrong: {DAMAGED}")
    return payload


def _digest(file: BinaryIO, size: int) -> bytes:
    """Digest of the first `size` bytes, after which the file is positioned."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    file.seek(0, os.SEEK_SET)
    for at in range(0, size, _CHUNK):
        digest.update(file.read(min(_CHUNK, size - at)))
    return digest.digest()


def _header(data: bytes, deflated: bool) -> Header:
    """Parse an untrusted header.

    Raises:
        CodecError: for anything that version 1 did not write.
    """
    config, *rows = _items(_inflate(data) if deflated else data)
    entries: list[Entry] = []
    sizes: list[int] = []
    names: set[str] = set()
    with no_collection():
        for row in rows:
            entry, size = _entry(unpacked(row), entries)
            if entry.name in names:
                raise CodecError(f"two tensors are called {entry.name!r}")
            names.add(entry.name)
            entries.append(entry)
            sizes.append(size)
        return Header(unpacked_config(config), tuple(entries), tuple(sizes))


def _items(plain: bytes) -> list[bytes]:
    """The items of the header's list, at least one, still packed.

    They are unpacked one at a time, since in memory a list of one byte of msgpack takes 64.
    """
    reader = msgpack.Unpacker(max_buffer_size=max(1, len(plain)))
    reader.feed(plain)
    try:
        ends = [reader.read_array_header(), reader.tell()]
        for _ in range(ends.pop(0)):
            reader.skip()
            ends.append(reader.tell())
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise CodecError(
            f"the header is not a list in msgpack: {str(error) or 'it is nested too deeply'}"
        ) from None
    if len(ends) == 1 or ends[-1] != len(plain):
        raise CodecError("the header is not a list in msgpack: it is empty, or more follows it")
    items = [plain[start:end] for start, end in pairwise(ends)]
    if len(max(items, key=len)) > ITEM_MOST:
        raise CodecError(f"the header has a part of over {ITEM_MOST:,} bytes")
    return items


def _inflate(data: bytes) -> bytes:
    limit = EXPANSION * len(data)
    inflate = zlib.decompressobj(-15)
    try:
        plain = inflate.decompress(data, limit + 1)
    except zlib.error as error:
        raise CodecError(f"the header does not inflate: {error}") from None
    if len(plain) > limit:
        raise CodecError(f"the header inflates to over {EXPANSION} times its size")
    if not inflate.eof or inflate.unused_data:
        raise CodecError("the header does not end where it should")
    return plain


def _entry(row: Any, before: Sequence[Entry]) -> tuple[Entry, int]:
    """An entry, and the bytes of its payload."""
    if type(row) is not list or len(row) < 2 or type(row[0]) is not str:
        raise CodecError(f"tensor {len(before)}: the entry is not a list of a name and numbers")
    name, numbers = row[0], row[1:]
    if not all(type(number) is int for number in numbers):
        raise CodecError(f"tensor {name!r}: the entry holds something other than integers")
    if numbers[0] < 0:
        other = -1 - numbers[0]
        if other >= len(before) or before[other].tied is not None or len(numbers) > 1:
            raise CodecError(f"tensor {name!r} is tied to entry {other}, which it cannot be")
        return Entry(name, before[other].dtype, before[other].shape, other), 0
    if numbers[0] >= len(dtypes.NAMES):
        raise CodecError(
            f"tensor {name!r} has dtype {numbers[0]}, which this version does not know"
        )
    if len(numbers) < 2 or numbers[1] < 1:
        raise CodecError(f"tensor {name!r} has no payload")
    shape = tuple(numbers[2:])
    try:
        check_shape(shape)
    except CodecError as error:
        raise CodecError(f"tensor {name!r}: {error}") from None
    return Entry(name, dtypes.NAMES[numbers[0]], shape), numbers[1]
