"""Files with right checksums, whatever their content."""

import hashlib
import zlib
from collections.abc import Sequence
from typing import Any

import msgpack

from boildown.codec.bytewise import varint
from boildown.codec.index import PLAIN, dictionary
from boildown.codec.pieces import BLOCK_LOG


def sealed1(rows: Any, *payloads: bytes, fill: int = 0, deflate: bool = False) -> bytes:
    """A file of version 1: header, payloads, fill."""
    packed = rows if isinstance(rows, bytes) else msgpack.packb(rows)
    if deflate:
        compress = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = compress.compress(packed) + compress.flush()
    body = b"BOIL\x01" + varint(2 * len(packed) + deflate) + packed
    for payload in payloads:
        body += payload + zlib.crc32(payload).to_bytes(4, "little")
    body += bytes(fill)
    return body + hashlib.blake2b(body, digest_size=16).digest()


def sealed2(
    items: Any, sections: bytes = b"", fill: bytes = b"", *, deflate: bool = False, sums: int = 0
) -> bytes:
    """A file of version 2: index, sections, fill."""
    packed = items if isinstance(items, bytes) else msgpack.packb(items)
    if deflate:
        compress = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=dictionary())
        packed = compress.compress(packed) + compress.flush()
    end = fill + packed + varint(4 * len(packed) + 2 * sums + deflate)[::-1]
    start = b"BOIL\x02"
    crc = zlib.crc32(start + end if sums else start + sections + end)
    return start + sections + end + crc.to_bytes(4, "little")


def one(kinds: Sequence[int], payload: bytes, *, names: Sequence[str] = ("w",)) -> bytes:
    """A file of one section, in which tensors are coded as in version 1."""
    return sealed2([None, [BLOCK_LOG, PLAIN, len(names), len(payload)], names, kinds], payload)
