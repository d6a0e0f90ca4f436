"""Files taken apart and put together again with right checksums, whatever they then hold.

Both versions are written out here from the description of the format, not with the codec's own
writers, so that a wrong index can be sealed as well.
"""

import hashlib
import math
import zlib
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

import msgpack

from boildown.codec.bytewise import Reader, varint
from boildown.codec.dtypes import NAMES, itemsize

MAGIC = b"BOIL"
FREE, PER_BYTE = 64 << 20, 8192  # bytes of tensors that a file of version 2 may promise
_DIGEST, _CRC, _FIXED = 16, 4, 5
_FILL_MOST = 1 << 18  # more is not added for a shape that grew


@dataclass(frozen=True)
class Parts:
    """A file without its checksums.

    Attributes:
        version: 1 or 2.
        index: the header or index as msgpack reads it; None where bytes stand for it.
        packed: its bytes before deflation, where `index` is None.
        deflated: whether it is deflated.
        sums: whether sections have checksums of their own (version 2).
        payloads: of the tensors (version 1) or of the sections.
    """

    version: int
    index: Any
    packed: bytes
    deflated: bool
    sums: bool
    payloads: tuple[bytes, ...]


def take_apart(data: bytes) -> Parts:
    """The parts of a good file."""
    return _apart1(data) if data[len(MAGIC)] == 1 else _apart2(data)


def seal(parts: Parts) -> bytes:
    """A file with right checksums."""
    return _seal1(parts) if parts.version == 1 else _seal2(parts)


def unpacked(packed: bytes) -> Any:
    """An index as Python's own types."""
    return msgpack.unpackb(
        packed, strict_map_key=False, unicode_errors="surrogatepass", use_list=True
    )


def packed_index(parts: Parts) -> bytes:
    """The bytes of the index, not deflated."""
    if parts.index is None:
        return parts.packed
    return bytes(msgpack.packb(parts.index, unicode_errors="surrogatepass"))


def promised_bytes(parts: Parts) -> int:
    """Bytes of the tensors that the index promises; 0 if it makes no sense."""
    index = parts.index
    if index is None:
        try:
            index = unpacked(parts.packed)
        except Exception:  # noise
            return 0
    try:
        return sum(_promised1(index) if parts.version == 1 else _promised2(index))
    except (TypeError, ValueError, IndexError, KeyError):
        return 0


def _promised1(index: Any) -> list[int]:
    return [
        math.prod(row[3:]) * itemsize(NAMES[row[1]])
        for row in index[1:]
        if row[1] >= 0 and min(row[3:], default=0) >= 0
    ]


def _promised2(index: Any) -> list[int]:
    kinds, at, found = index[3], 0, []
    while at < len(kinds):
        dtype = kinds[at]
        at += 1
        if dtype < 0:
            continue
        sides = kinds[at]
        shape = kinds[at + 1 : at + 1 + sides]
        at += 1 + sides
        if min(shape, default=0) >= 0:
            found.append(math.prod(shape) * itemsize(NAMES[dtype]))
    return found


def _apart1(data: bytes) -> Parts:
    read = Reader(data)
    read.take(_FIXED)
    length, deflated = divmod(read.varint(), 2)
    packed = bytes(read.take(length))
    if deflated:
        packed = zlib.decompress(packed, -15)
    index, payloads = unpacked(packed), []
    for row in index[1:]:
        if row[1] >= 0:
            payloads.append(bytes(read.take(row[2])))
            read.take(_CRC)
    return Parts(1, index, packed, bool(deflated), False, tuple(payloads))


def _seal1(parts: Parts) -> bytes:
    packed = packed_index(parts)
    if parts.deflated:
        squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = squeeze.compress(packed) + squeeze.flush()
    body = MAGIC + b"\x01" + varint(2 * len(packed) + parts.deflated) + packed
    for payload in parts.payloads:
        body += payload + zlib.crc32(payload).to_bytes(_CRC, "little")
    least = -(-_counted(parts) // PER_BYTE) - _DIGEST - len(body)
    body += bytes(least if 0 < least < _FILL_MOST else 0)
    return body + hashlib.blake2b(body, digest_size=_DIGEST).digest()


def _counted(parts: Parts) -> int:
    """Promised bytes, elements of less than 4 counting as 4."""
    try:
        index = parts.index if parts.index is not None else unpacked(parts.packed)
        rows = [row for row in index[1:] if row[1] >= 0]
        return sum(math.prod(row[3:]) * max(itemsize(NAMES[row[1]]), 4) for row in rows)
    except Exception:  # noise
        return 0


def _dictionary() -> bytes:
    return resources.files("boildown.codec").joinpath("dictionary.bin").read_bytes()


def _apart2(data: bytes) -> Parts:
    read = Reader(data[-1 - _CRC :: -1])
    length, flags = divmod(read.varint(), 4)
    end = len(data) - _CRC - read.at
    packed = data[end - length : end]
    sums, deflated = bool(flags & 2), bool(flags & 1)
    if deflated:
        inflate = zlib.decompressobj(-15, zdict=_dictionary())
        packed = inflate.decompress(packed)
    index, body = unpacked(packed), data[_FIXED : end - length]
    at, payloads = 0, []
    for start in range(1, len(index[1]), 3 + sums):
        size = index[1][start + 2]
        payloads.append(body[at : at + size])
        at += size
    if not index[1]:
        payloads = [body]
    return Parts(2, index, packed, deflated, sums, tuple(payloads))


def _seal2(parts: Parts) -> bytes:
    body = b"".join(parts.payloads)
    if parts.sums and parts.index is not None:
        parts = replace(parts, index=_summed(parts, body))
    packed = packed_index(parts)
    if parts.deflated:
        squeeze = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, _dictionary())
        packed = squeeze.compress(packed) + squeeze.flush()
    tail = packed + varint(4 * len(packed) + 2 * parts.sums + parts.deflated)[::-1]
    head = MAGIC + b"\x02"
    checked = head + tail if parts.sums else head + body + tail
    return head + body + tail + zlib.crc32(checked).to_bytes(_CRC, "little")


def _summed(parts: Parts, body: bytes) -> Any:
    """The index with each section's checksum set to that of its bytes."""
    index = list(parts.index)
    try:
        sections, at = list(index[1]), 0
        for start in range(1, len(sections), 4):
            size = sections[start + 2]
            if not 0 <= size <= len(body):
                break
            sections[start + 3] = zlib.crc32(body[at : at + size])
            at += size
    except (TypeError, IndexError):
        return index
    index[1] = sections
    return index


def resized(parts: Parts, at: int, payload: bytes) -> Parts:
    """The same with another payload, and the index telling its length."""
    payloads = (*parts.payloads[:at], payload, *parts.payloads[at + 1 :])
    index = [list(row) if isinstance(row, list) else row for row in parts.index]
    if parts.version == 1:
        stored = [row for row in index[1:] if row[1] >= 0]
        stored[at][2] = len(payload)
    elif index[1]:
        index[1][1 + at * (3 + parts.sums) + 2] = len(payload)
    return replace(parts, index=index, payloads=payloads)
