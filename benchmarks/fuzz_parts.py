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
FREE, PER_BYTE = 16 << 20, 8192  # bytes of tensors that a file of version 2 may promise
_DIGEST, _CRC, _FIXED = 16, 4, 5
_LEAST = 4  # bytes that an element counts as, at the least
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


def promised_bytes(parts: Parts, least: int = 1) -> int:
    """Bytes of the tensors that the index promises; 0 if it makes no sense.

    Args:
        parts: of a file.
        least: bytes that an element counts as at the least.
    """
    try:
        index = parts.index if parts.index is not None else unpacked(parts.packed)
        rows = _rows1(index) if parts.version == 1 else _rows2(index[3])
        assert all(
            type(side) is int for _, sides in rows for side in sides
        )  # a text times a number
        sizes = [math.prod(sides) * max(itemsize(NAMES[dtype]), least) for dtype, sides in rows]
        return sum(size for size in sizes if size >= 0)
    except Exception:  # noise
        return 0


def _rows1(index: Any) -> list[tuple[int, list[int]]]:
    """Dtype and sides of each stored tensor."""
    return [(row[1], row[3:]) for row in index[1:] if row[1] >= 0]


def _rows2(kinds: list[int]) -> list[tuple[int, list[int]]]:
    at, found = 0, []
    while at < len(kinds):
        if kinds[at] < 0:
            at += 1
            continue
        end = at + 2 + kinds[at + 1]
        found.append((kinds[at], kinds[at + 2 : end]))
        at = max(end, at + 1)
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
    body += _fill(promised_bytes(parts, _LEAST), len(body) + _DIGEST)
    return body + hashlib.blake2b(body, digest_size=_DIGEST).digest()


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
    sections = len(body)
    if parts.sums and parts.index is not None:
        parts = replace(parts, index=_summed(parts, body))
    packed = packed_index(parts)
    if parts.deflated:
        squeeze = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, _dictionary())
        packed = squeeze.compress(packed) + squeeze.flush()
    tail = packed + varint(4 * len(packed) + 2 * parts.sums + parts.deflated)[::-1]
    if parts.payloads and (parts.index is None or parts.index[1:2] != [[]]):
        beyond = promised_bytes(parts, _LEAST) - FREE
        body += _fill(beyond, _FIXED + len(body) + len(tail) + _CRC)
    head = MAGIC + b"\x02"
    checked = head + body[sections:] + tail if parts.sums else head + body + tail
    return head + body + tail + zlib.crc32(checked).to_bytes(_CRC, "little")


def _fill(promised: int, size: int) -> bytes:
    """Zero bytes, so that a file of otherwise `size` bytes has one for each 8192 promised."""
    least = -(-promised // PER_BYTE) - size
    return bytes(least if 0 < least < _FILL_MOST else 0)


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
