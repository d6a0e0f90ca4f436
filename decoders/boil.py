#!/usr/bin/env python3
"""Read a model.boil without boildown: this file and Python's standard library, nothing else.

    python boil.py model.boil                 # lists its tensors
    python boil.py model.boil -o model.npz    # writes them for numpy, which must be installed
    python boil.py model.boil -o directory    # writes the bytes of each, and index.json

`decode` gives them as bytes. What the bytes of a file mean is in boildown's docs/format.md, whose
words are the names here; boil.js is the same in JavaScript. Files are untrusted: whatever boildown
does not write is refused.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import struct
import sys
import zipfile
import zlib
from array import array
from itertools import islice
from operator import mul
from pathlib import Path
from typing import Any, NamedTuple

try:  # for speed alone
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

DTYPES = {  # bytes of an element, and of a float in it if its zeros have signs
    "float32": (4, 4), "float64": (8, 8), "float16": (2, 2), "bfloat16": (2, 2), "uint8": (1, 0),
    "int8": (1, 0), "int16": (2, 0), "int32": (4, 0), "int64": (8, 0), "bool": (1, 0),
    "complex64": (8, 4), "complex128": (16, 8), "uint16": (2, 0), "uint32": (4, 0),
    "uint64": (8, 0), "float8_e4m3fn": (1, 1), "float8_e5m2": (1, 1), "float8_e4m3fnuz": (1, 0),
    "float8_e5m2fnuz": (1, 0), "float8_e8m0fnu": (1, 0), "float4_e2m1fn_x2": (1, 0),
    "complex32": (4, 2),
}  # fmt: skip
NAMES = list(DTYPES)
WORDS = {1: "B", 2: "H", 4: "I", 8: "Q"}  # type codes of arrays of words
OWN, FLOAT16, BFLOAT16, FLOAT32, INT8, INT16, INT32, GRID = range(8)  # forms of values
STORED = {FLOAT16: "H", BFLOAT16: "H", FLOAT32: "I", INT8: "b", INT16: "h", INT32: "i"}
FORMS = {
    "float32": (FLOAT16, BFLOAT16, GRID), "float64": (FLOAT16, FLOAT32), "int16": (INT8,),
    "int32": (INT8, INT16), "int64": (INT8, INT16, INT32),
}  # fmt: skip
LONGEST = 24  # bits of a code
WITHIN = (5, 9, 13)  # coders that are not within one of the last two
MSGPACK = {
    0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H",
    0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q", 0xD9: ">B",
    0xDA: ">H", 0xDB: ">I", 0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I",
}  # fmt: skip


class BoilError(ValueError):
    """The bytes are not an intact file that boildown wrote."""


class Tensor(NamedTuple):
    """The dtype's name in torch, the shape, and the elements' bytes, little-endian."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


class Entry(NamedTuple):
    """A name of a file, with a tensor of its own or that of the entry that it is tied to."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int = 0
    tied: int | None = None


class Reader:
    """A cursor over untrusted bytes; bits are read from the highest of a byte down."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.data, self.at, self.held, self.left = memoryview(data), 0, 0, 0

    def take(self, count: int) -> memoryview:
        """The next bytes."""
        self.at += count
        if self.at > len(self.data):
            raise BoilError(f"{count} bytes should follow byte {self.at - count}, and fewer do")
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> Any:
        """The next number, in a form of `struct`."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def varint(self) -> int:
        """The next integer in groups of 7 bits."""
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise BoilError(f"an integer of more than 9 bytes ends at byte {self.at}")

    def bits(self, width: int) -> int:
        """The next bits as a number."""
        while self.left < width:
            self.held, self.left = self.held << 8 | self.take(1)[0], self.left + 8
        self.left -= width
        value, self.held = self.held >> self.left, self.held & (1 << self.left) - 1
        return value

    def align(self) -> None:
        """Go to the next whole byte."""
        if self.held:
            raise BoilError("the bits that fill the last byte of a table are not zero")
        self.left = 0


def decode(
    data: bytes, base: dict[str, Tensor] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The tensors by name, in order, and the config in the bytes of a file.

    Args:
        data: untrusted.
        base: the tensors that those of a file of differences are relative to.

    Raises:
        BoilError: unless this is an intact file.
    """
    if data[:4] != b"BOIL":
        raise BoilError("this is not a boil file: it does not begin with BOIL")
    if data[4:5] == b"\2":
        return _version2(data, base)
    if data[4:5] != b"\1":
        raise BoilError(f"the format's version is {data[4:5].hex() or 'missing'}, not 1 or 2")
    return _version1(data)


# ---- version 1


def _version1(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    read = Reader(data)
    read.take(5)
    head = read.varint()
    packed = read.take(head // 2)
    if hashlib.blake2b(data[:-16], digest_size=16).digest() != data[-16:]:
        raise BoilError("the digest is wrong: the file was damaged, cut short or added to")
    config, entries = _header(Reader(_inflated(packed, 64 * len(packed)) if head % 2 else packed))
    stored = [entry for entry in entries if entry.tied is None]
    sizes = [(math.prod(entry.shape), DTYPES[entry.dtype][0]) for entry in stored]
    promised = sum(numel * max(size, 4) for numel, size in sizes)
    end = read.at + sum(entry.size + 4 for entry in stored) + 16
    expected = max(end, -(-promised // 8192))
    if len(data) < expected and promised <= 1 << 24:  # once elements of any size counted as 4
        expected = max(end, -(-4 * sum(numel for numel, _ in sizes) // 8192))
    if len(data) != expected:
        raise BoilError(f"the file has {len(data)} bytes, its header asks for {expected}")
    tensors: dict[str, Tensor] = {}
    for name, dtype, shape, size, tied in entries:
        if tied is not None:
            tensors[name] = tensors[entries[tied].name]
            continue
        payload = Reader(read.take(size))
        if zlib.crc32(payload.data) != read.number("<I"):
            raise BoilError(f"tensor {name!r}: the checksum is wrong")
        words = _tensor(payload, dtype, _word_count(dtype, shape))
        if payload.at != size:
            raise BoilError(f"tensor {name!r}: {size - payload.at} bytes are left over")
        tensors[name] = Tensor(dtype, shape, _little(words).tobytes())
    if any(read.take(len(data) - 16 - read.at)):
        raise BoilError("the bytes that fill the file are not zero")
    return tensors, config


def _header(read: Reader) -> tuple[dict[str, Any] | None, list[Entry]]:
    """`[config, entry, ...]`, an entry being `[name, dtype, bytes, *shape]` or `[name, -1 - i]`."""
    count = _list_size(read)
    config = _config(read)
    entries: list[Entry] = []
    for _ in range(count - 1):
        row = _item(read)
        if type(row) is not list or len(row) < 2 or type(row[0]) is not str:
            raise BoilError(f"entry {len(entries)} is not a list of a name and numbers")
        name, dtype, *rest = row
        if any(type(number) is not int for number in row[1:]):
            raise BoilError(f"tensor {name!r}: the entry holds something other than integers")
        if dtype < 0 and not rest:
            entries.append(_tied(name, -1 - dtype, entries))
            continue
        if not 0 <= dtype < len(NAMES) or not rest or rest[0] < 1:
            raise BoilError(f"tensor {name!r} has no payload, or the unknown dtype {dtype}")
        entries.append(Entry(name, NAMES[dtype], _shape(rest[1:]), rest[0]))
    if read.at != len(read.data) or len({entry.name for entry in entries}) < len(entries):
        raise BoilError("the header goes on after its list, or has a name twice")
    return config, entries


# ---- version 2


class Piece(NamedTuple):
    """Whole rows of a tensor, or part of its only row: where they begin, and how many words."""

    entry: Entry
    start: int
    size: int
    columns: int
    whole: bool


def _version2(
    data: bytes, base: dict[str, Tensor] | None
) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    read = Reader(data[max(5, len(data) - 13) : -4][::-1])
    number = read.varint()
    end, sums = len(data) - 4 - read.at - (number >> 2), number & 2
    if end < 5:
        raise BoilError(f"the file is cut short: {len(data)} bytes, {number >> 2} for its index")
    crc = data[-4:]
    if not sums and zlib.crc32(data[:-4]).to_bytes(4, "little") != crc:
        raise BoilError("the checksum is wrong: the file was damaged, cut short or added to")
    index = data[end : end + (number >> 2)]
    if number & 1:
        index = _inflated(index, 64 * len(index) + 65536, _dictionary())
    config, entries, sections, block, digest = _index(Reader(index), sums)
    stored = [entry for entry in entries if entry.tied is None]
    promised = sum(math.prod(e.shape) * max(4, DTYPES[e.dtype][0]) for e in stored)
    least = max(0, -(-(promised - (1 << 24)) // 8192))
    if least > len(data):
        raise BoilError(f"the file has {len(data)} bytes, its tensors ask for {least}")
    pieces = [piece for entry in stored for piece in _pieces(entry, block)]
    if not sections and pieces:
        sections = [(1, len(pieces), end - 5, 0)]
    at = 5 + sum(section[2] for section in sections)
    if at > end or sum(section[1] for section in sections) != len(pieces):
        raise BoilError("the sections take more bytes than there are, or hold other pieces")
    if sums and zlib.crc32(data[at:-4], zlib.crc32(data[:5])).to_bytes(4, "little") != crc:
        raise BoilError("the checksum is wrong: the file was damaged, cut short or added to")
    if end - at != max(0, least - (len(data) - (end - at))) or any(data[at:end]):
        raise BoilError("the bytes that fill the file are too many, too few or not zero")
    if digest is not None and (base is None or _digest(base) != digest):
        raise BoilError(f"the file is relative to tensors of the digest {digest.hex()}: give them")
    found: dict[str, list[bytes]] = {entry.name: [] for entry in entries}
    at = 5
    coming = iter(pieces)
    for kind, count, size, crc32 in sections:
        held = list(islice(coming, count))
        dense = sum(piece.size * min(8, DTYPES[piece.entry.dtype][0]) for piece in held)
        if size > 4096 + 2 * dense or (count > 1 and not all(piece.whole for piece in held)):
            raise BoilError(f"the section at byte {at} has {size} bytes, or mixes parts")
        body = data[at : at + size]
        if sums and zlib.crc32(body) != crc32:
            raise BoilError(f"tensor {held[0].entry.name!r}: the checksum is wrong")
        for piece, words in zip(held, _section(body, kind, held, base), strict=True):
            found[piece.entry.name].append(_little(words).tobytes())
        at += size
    tensors: dict[str, Tensor] = {}
    for name, dtype, shape, _, tied in entries:
        whole = Tensor(dtype, shape, b"".join(found[name]))
        tensors[name] = whole if tied is None else tensors[entries[tied].name]
    return tensors, config


def _index(read: Reader, sums: int) -> tuple[Any, list[Entry], list[Any], int, bytes | None]:
    """`[config, sections, names, kinds]`, and the digest of a base."""
    count = _list_size(read)
    if count not in (4, 5):
        raise BoilError(f"the index is a list of {count} items, where 4 or 5 are allowed")
    config = _config(read)
    told, names, kinds = (_unpacked(read, 0) for _ in range(3))
    for items, kind in ((told, int), (names, str), (kinds, int)):
        if type(items) is not list or any(type(item) is not kind for item in items):
            raise BoilError("the index holds something else than lists of integers and texts")
    digest = None
    if count == 5:
        if read.take(2) != b"\xc4\x10":
            raise BoilError("the base's digest is not of 16 bytes")
        digest = bytes(read.take(16))
    if read.at != len(read.data) or len(set(names)) < len(names) or len(names) > 1 << 20:
        raise BoilError("the index goes on after its list, or has a name twice or too many")
    block, row, entries = told[0] if told else 20, 4 if sums else 3, list[Entry]()
    sections = [(*told[i : i + row], 0)[:4] for i in range(1, len(told), row)]
    if not (
        10 <= block <= 20
        and len(told) % row == bool(told)
        and (len(sections) > 0 if told or sums else True)
        and all(s[0] in (0, 1, 2) and min(s[1:3]) > 0 and 0 <= s[3] < 1 << 32 for s in sections)
        and any(s[0] == 2 for s in sections) == (digest is not None)
    ):
        raise BoilError("the index tells of sections that there cannot be")
    coming = iter(kinds)
    try:
        for name in names:
            dtype = next(coming)
            if dtype < 0:
                entries.append(_tied(name, -1 - dtype, entries))
            elif dtype >= len(NAMES) or not 0 <= (sides := next(coming)) <= 64:
                raise BoilError(f"tensor {name!r} has the unknown dtype {dtype}, or too many sides")
            else:
                shape = _shape([next(coming) for _ in range(sides)])
                entries.append(Entry(name, NAMES[dtype], shape))
    except StopIteration:
        raise BoilError("dtypes and shapes are missing") from None
    if next(coming, None) is not None:
        raise BoilError("there are more dtypes and shapes than names")
    return config, entries, sections, block, digest


def _pieces(entry: Entry, block_log: int) -> list[Piece]:
    """The parts of a tensor that are coded apart, of 2^block_log words at most if there are any."""
    size, block = _word_count(entry.dtype, entry.shape), 1 << block_log
    columns = size // entry.shape[0] if len(entry.shape) > 1 and size else size
    if columns > 1 << 20:
        columns = size
    step = block if size <= block or columns == size else max(1, block // columns) * columns
    sizes = [(start, min(step, size - start)) for start in range(0, size, step)]
    return [Piece(entry, start, n, min(columns, n), n == size) for start, n in sizes]


def _section(
    body: bytes, kind: int, pieces: list[Piece], base: dict[str, Tensor] | None
) -> list[array[int]]:
    """The words of pieces that are coded together."""
    if kind:
        stream = Mixing(body)
        given = base if kind == 2 and base else {}
        mixed = [
            stream.words(Kind(piece.entry.dtype, piece.size, piece.columns), _in(given, piece))
            for piece in pieces
        ]
        stream.close()
        return mixed
    read = Reader(body)
    found = [_tensor(read, piece.entry.dtype, piece.size) for piece in pieces]
    if read.at != len(body):
        raise BoilError(f"{len(body) - read.at} bytes are left over after a section's tensors")
    return found


def _in(base: dict[str, Tensor], piece: Piece) -> array[int] | None:
    """The words of a base where a piece is, if it has such a tensor."""
    name, dtype, shape = piece.entry[:3]
    if name not in base or base[name][:2] != (dtype, shape):
        return None
    words = array(WORDS[min(8, DTYPES[dtype][0])], base[name].data)
    return _little(words)[piece.start : piece.start + piece.size]


def _digest(tensors: dict[str, Tensor]) -> bytes:
    """What tells tensors apart."""
    digest = hashlib.blake2b(digest_size=16)
    for name, (dtype, shape, data) in sorted(tensors.items()):
        text = name.encode("utf-8", "surrogatepass")
        numbers = [NAMES.index(dtype), len(shape), *shape]
        digest.update(_varint(len(text)) + text + b"".join(map(_varint, numbers)) + data)
    return digest.digest()


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _dictionary() -> bytes:
    """What indices are deflated with."""
    return base64.b64decode(DICTIONARY)


# ---- headers


def _word_count(dtype: str, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * max(1, DTYPES[dtype][0] // 8)


def _tied(name: str, other: int, entries: list[Entry]) -> Entry:
    if other >= len(entries) or entries[other].tied is not None:
        raise BoilError(f"tensor {name!r} is tied to entry {other}, which it cannot be")
    return Entry(name, entries[other].dtype, entries[other].shape, tied=other)


def _shape(sides: list[int]) -> tuple[int, ...]:
    if (
        len(sides) > 64
        or not all(0 <= side <= 1 << 48 for side in sides)
        or math.prod(max(side, 1) for side in sides) > 1 << 48
    ):
        raise BoilError(f"the shape {str(sides)[:40]} is beyond what a file can hold")
    return tuple(sides)


def _inflated(data: bytes | memoryview, most: int, dictionary: bytes = b"") -> bytes:
    """Raw deflate (RFC 1951) undone, which gives so many bytes at most."""
    inflate = zlib.decompressobj(-15, zdict=dictionary)
    try:
        plain = inflate.decompress(data, most + 1)
    except zlib.error as error:
        raise BoilError(f"a part does not inflate: {error}") from None
    if len(plain) > most or not inflate.eof or inflate.unused_data:
        raise BoilError(f"a part inflates to over {most} bytes, or more follows it")
    return plain


def _list_size(read: Reader) -> int:
    tag = read.take(1)[0]
    size = tag & 15 if tag >> 4 == 9 else read.number(MSGPACK[tag]) if tag in (0xDC, 0xDD) else 0
    if size == 0:
        raise BoilError("the header is not a list in msgpack, or an empty one")
    return int(size)


def _config(read: Reader) -> dict[str, Any] | None:
    config = _item(read)
    if config is not None and type(config) is not dict:
        raise BoilError("the config is not a mapping")
    return config


def _item(read: Reader) -> Any:
    """The next item of the header's list, each of which has a size that it must not exceed."""
    start = read.at
    value = _unpacked(read, 0)
    if read.at - start > 1 << 20:
        raise BoilError("the header has a part of over 1 MiB")
    return value


def _unpacked(read: Reader, depth: int) -> Any:
    """The next value of msgpack, which has no extensions."""
    tag = read.take(1)[0]
    if depth > 64 or tag in (0xC1, 0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8):
        raise BoilError("the header is nested too deeply, or holds what is not plain data")
    if tag < 0x80 or tag >= 0xE0:
        return tag if tag < 0x80 else tag - 256
    if 0xC0 <= tag <= 0xC3:
        return (None, None, False, True)[tag & 3]
    value = read.number(MSGPACK[tag]) if tag in MSGPACK else tag & (31 if tag >= 0xA0 else 15)
    if 0xCA <= tag <= 0xD3:
        return value
    if tag >= 0xDE or tag < 0x90:
        found = {}
        for _ in range(value):
            key = _unpacked(read, depth + 1)
            if type(key) is not str:
                raise BoilError(f"the config has the key {key!r:.99}; keys must be strings")
            found[key] = _unpacked(read, depth + 1)
        return found
    if tag >= 0xDC or tag < 0xA0:
        return [_unpacked(read, depth + 1) for _ in range(value)]
    if 0xC4 <= tag <= 0xC6:
        return bytes(read.take(value))
    if value > 1 << 20:
        raise BoilError("the header has a name of over 1 MiB")
    try:
        return str(read.take(value), "utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise BoilError(f"the header has a string that is no UTF-8: {error}") from None


# ---- a tensor


def _tensor(read: Reader, dtype: str, size: int, outer: tuple[int, ...] = ()) -> array[int]:
    """So many words of a tensor, coded in none of the ways that it may not be within."""
    first = read.take(1)[0]
    coder, extra = (first, 0) if first % 4 == 1 else (first % 4, first >> 2)
    if coder == 0:
        return _values(read, extra, size, dtype)
    if coder == 1:
        return _coded(read, size, dtype)
    if coder in (2, 3):
        gaps, count = _gaps(read, extra, size)
        if coder == 3:
            survivors = _coded(read, count, dtype)
        else:
            survivors = _values(read, read.take(1)[0], count, dtype)
        return _placed(gaps, (2 << (extra & 7)) - 1, survivors, size)
    if coder == 5 and coder not in outer:
        return _signed(read, _tensor(read, dtype, size, (5,)), dtype)
    if coder == 9 and coder not in outer:
        return _grid(read, dtype, size)
    if coder == 13 and coder not in outer:
        return _planes(read, dtype, size)
    raise BoilError(f"the first byte of a tensor, {first}, stands for no way of storing it")


def _values(read: Reader, form: int, count: int, dtype: str) -> array[int]:
    if form != OWN and form not in FORMS.get(dtype, ()):
        raise BoilError(f"values are stored in form {form}, which there is not for {dtype}")
    if form == GRID:
        step = read.number("<f")
        if not 0 < step < math.inf:
            raise BoilError("the step of a grid is not a number above 0")
        return _multiplied(array("b", bytes(read.take(count))), [(step, step)], count)
    code = WORDS[min(DTYPES[dtype][0], 8)]
    stored = array(STORED.get(form, code))
    stored.frombytes(read.take(count * stored.itemsize))
    stored = _little(stored)
    if dtype == "bool" and any(word > 1 for word in stored):
        raise BoilError("an element is a bool, and neither 0 nor 1")
    if form in (INT8, INT16, INT32):
        return array(code, array(code.lower(), stored).tobytes())
    if form == BFLOAT16:
        return array(code, (word << 16 for word in stored))
    if form in (FLOAT16, FLOAT32):
        return _widened(stored, form, code)
    return stored


def _widened(stored: array[int], form: int, code: str) -> array[int]:
    """Floats in a wider type, in which a NaN keeps its bits."""
    if np is not None and stored:
        floats = np.frombuffer(stored, f"f{stored.itemsize}")
        with np.errstate(all="ignore"):
            return array(code, floats.astype("f4" if code == "I" else "f8").tobytes())
    bits, bias = (10, 15) if form == FLOAT16 else (23, 127)
    more, wide = (23, 127) if code == "I" else (52, 1023)
    known = {}
    for word in set(stored):
        sign, exponent = divmod(word >> bits, 2 * bias + 2)
        mantissa = word & (1 << bits) - 1
        if exponent == 2 * bias + 1:
            exponent = 2 * wide + 1
            mantissa |= 1 << 22 if mantissa and form == FLOAT32 else 0  # as processors do
        elif exponent:
            exponent += wide - bias
        elif mantissa:  # a subnormal number, which is none in the wider type
            shift = bits + 1 - mantissa.bit_length()
            mantissa, exponent = mantissa << shift & (1 << bits) - 1, wide - bias + 1 - shift
        known[word] = (sign * (2 * wide + 2) + exponent) << more | mantissa << more - bits
    return array(code, map(known.__getitem__, stored))


def _multiplied(numbers: array[int], steps: list[tuple[float, float]], length: int) -> array[int]:
    """Whole numbers of blocks times the block's step for those below 0 or the others, in fp32."""
    floats = array("f", bytes(4)) * len(numbers)
    for row, (below, above) in enumerate(steps):
        at = row * length
        part = numbers[at : at + length]
        table = {number: number * (below if number < 0 else above) for number in set(part)}
        floats[at : at + length] = array("f", map(table.__getitem__, part))
    return array("I", floats.tobytes())


def _grid(read: Reader, dtype: str, size: int) -> array[int]:
    head = read.varint()
    length, wide, by_sign = head // 4, head // 2 % 2, head % 2
    if dtype != "float32" or not 2 <= length <= size or size % length:
        raise BoilError(f"blocks of {length} elements make no grid of {size} of {dtype}")
    rows = size // length * (1 + by_sign)
    steps = array("f", _tensor(read, "float32", rows, WITHIN).tobytes())
    words = _tensor(read, "int16" if wide else "int8", size, WITHIN)
    return _on_grid(steps, array("h" if wide else "b", words.tobytes()), length, by_sign)


def _on_grid(steps: array[float], numbers: array[int], length: int, by_sign: int) -> array[int]:
    """Whole numbers times the steps of their blocks, one each or two, as words."""
    if not all(2.0**-126 <= step < math.inf for step in steps):
        raise BoilError("a step of a grid is not a normal number above 0")
    if min(numbers) < -255 or max(numbers) > 255:
        raise BoilError("a grid has whole numbers beyond 255")
    sides = zip(steps[:: 1 + by_sign], steps[by_sign :: 1 + by_sign], strict=True)
    return _multiplied(numbers, list(sides), length)


def _planes(read: Reader, dtype: str, size: int) -> array[int]:
    """The lowest bytes of all words, then the next, ..., of words whose sign is the lowest bit."""
    width = min(DTYPES[dtype][0], 8)
    if width == 1:
        raise BoilError(f"words are stored as planes, and there are none of {dtype}")
    turned = bytearray(width * size)
    for place in range(width):
        turned[place::width] = _tensor(read, "uint8", size, WITHIN).tobytes()
    words = _little(array(WORDS[width], bytes(turned)))
    return array(words.typecode, (word >> 1 | (word & 1) << 8 * width - 1 for word in words))


def _signed(read: Reader, words: array[int], dtype: str) -> array[int]:
    """Zeros with their signs, a bit for each."""
    width = DTYPES[dtype][1]
    if width == 0:
        raise BoilError(f"signs of zeros are stored, and zeros of {dtype} have none")
    floats = array(WORDS[width], words.tobytes())
    zeros = [place for place, word in enumerate(floats) if word == 0]
    for place in zeros:
        floats[place] = read.bits(1) << 8 * width - 1
    read.align()
    return array(words.typecode, floats.tobytes())


def _little(words: array[int]) -> array[int]:
    """Words of a file as the machine's own, and back."""
    if sys.byteorder == "big":
        words = words[:]
        words.byteswap()
    return words


# ---- codes


def _coded(read: Reader, count: int, dtype: str) -> array[int]:
    """A codebook, and so many codes."""
    head = read.take(1)[0]
    if head & 15 == 2:
        parts = _frequencies(read)
        book = _values(read, head >> 4, len(parts), dtype)
        codes = _by_ranges(read, parts, count) if count else array("H")
        return array(book.typecode, map(book.__getitem__, codes))
    if head & 15 == 1:
        lengths = _ranked_lengths(read)
        size = len(lengths)
    elif head & 15 == 0:
        size = read.varint()
        if not 1 <= size <= 65536:
            raise BoilError(f"a codebook of {size} values, where 1 to 65536 are allowed")
        lengths = [(size - 1).bit_length()] * (1 << (size - 1).bit_length())
    else:
        raise BoilError(f"values are coded by method {head & 15}, which there is not")
    book = _values(read, head >> 4, size, dtype)
    codes = _symbols(read, lengths, count)
    if count and max(codes) >= size:
        raise BoilError(f"code {max(codes)} stands for no value: the codebook has {size}")
    return array(book.typecode, map(book.__getitem__, codes))


def _frequencies(read: Reader) -> list[int]:
    """Falling frequencies that make up 4096."""
    size, before, parts = read.varint(), 4096, list[int]()
    for _ in range(min(size, 1025)):
        before -= read.varint()
        parts.append(before)
    if not 1 <= size <= 1024 or before < 1 or sum(parts) != 4096:
        raise BoilError(f"{size} frequencies, which do not make up 4096")
    return parts


def _by_ranges(read: Reader, parts: list[int], count: int) -> array[int]:
    """So many symbols of a static range coder, whose four streams take turns."""
    start, table, size = read.at, list[tuple[int, int, int]](), 8 + count
    for symbol, part in enumerate(parts):
        table += [(symbol, part, inside) for inside in range(part)]
    states = [read.number("<I") for _ in range(4)]
    found, data, at = array("H"), bytes(read.data[: start + 2 * size]), read.at
    for i in range(-(-count // 4) * 4):
        symbol, part, inside = table[states[i & 3] & 4095]
        state = part * (states[i & 3] >> 12) + inside
        if state < 65536:
            state = state << 16 | int.from_bytes(data[at : at + 2], "little")
            at += 2
        states[i & 3] = state
        found.append(symbol)
    if at > len(data) or states != [65536] * 4:
        raise BoilError("a stream of symbols is cut short, or does not end as it began")
    read.take(at - read.at)
    return found[:count]


def _gaps(read: Reader, extra: int, most: int) -> tuple[array[int], int]:
    """The symbols of gaps, and how many elements have a place."""
    width, coder, count = (extra & 7) + 1, extra >> 3, read.varint()
    filler = (1 << width) - 1
    if not 1 <= count <= most or coder > 1:
        raise BoilError(f"{count} gaps among {most} elements, coded by method {coder}")
    lengths = _gap_lengths(read, 1 << width) if coder else [width] * (1 << width)
    gaps = _symbols(read, lengths, count)
    if gaps[-1] == filler:
        raise BoilError("the last gap has no element after it")
    return gaps, count - gaps.count(filler)


def _placed(gaps: array[int], filler: int, survivors: array[int], size: int) -> array[int]:
    """Zeros with elements where the gaps between them say."""
    words = array(survivors.typecode, bytes(survivors.itemsize)) * size
    at, coming = 0, iter(survivors)
    for gap in gaps:
        at += gap
        if gap < filler:
            if at >= size:
                raise BoilError(f"the positions lead past the end of {size} elements")
            words[at] = next(coming)
            at += 1
    return words


def _ranked_lengths(read: Reader) -> list[int]:
    """Code lengths that ascend: how many codes have 0, 1, 2, ... bits."""
    lengths: list[int] = []
    free, length = 1, 0
    while free:
        count = read.bits(free.bit_length())
        if length > LONGEST or count > free or len(lengths) + count > 65536:
            raise BoilError(f"{count} codes have {length} bits: more than there can be")
        lengths += [length] * count
        free, length = (free - count) * 2, length + 1
    read.align()
    return lengths


def _gap_lengths(read: Reader, alphabet: int) -> list[int]:
    """Code lengths of gaps, each by its difference to the last, and runs of symbols without."""
    lengths: list[int] = []
    last = 1
    while len(lengths) < alphabet:
        run = 0
        if read.bits(1):
            if not read.bits(1):
                last += -1 if read.bits(1) else 1
            elif read.bits(1):
                last = read.bits(5)
            else:
                zeros = 0
                while not read.bits(1) and zeros <= LONGEST:
                    zeros += 1
                run = 1 << zeros | read.bits(zeros)
        if len(lengths) + run > alphabet or not (run or 1 <= last <= LONGEST):
            raise BoilError(f"a code of gaps has {last} bits, or its table is too long")
        lengths += [0] * run if run else [last]
    read.align()
    if not any(lengths):
        raise BoilError("the table of the gaps' code lengths is empty")
    return lengths


def _symbols(read: Reader, lengths: list[int], count: int) -> array[int]:
    """So many symbols of a canonical prefix code."""
    found, longest = array("H", bytes(2)) * count, max(lengths)
    if longest == 0:
        return found
    stream = read.data[read.at :]
    ranked = sorted((length, symbol) for symbol, length in enumerate(lengths) if length)
    if sum(1 << longest - length for length, _ in ranked) != 1 << longest:
        raise BoilError("the code lengths make no complete prefix code")
    width, code = min(longest, 12), 0
    table: list[tuple[int, int]] = []  # length and symbol by the next 12 bits
    longer = {}  # symbol by length and code, for codes that are longer
    for length, symbol in ranked:
        if length <= width:
            table += [(length, symbol)] * (1 << width - length)
        else:
            longer[length, code >> longest - length] = symbol
        code += 1 << longest - length
    table += [(0, 0)] * ((1 << width) - len(table))
    data, at, mask, down = bytes(stream) + bytes(4), 0, (1 << longest) - 1, longest - width
    for i in range(count):
        start = at >> 3
        window = int.from_bytes(data[start : start + 4], "big") >> 32 - longest - (at & 7) & mask
        length, symbol = table[window >> down]
        if length == 0:
            length = next(n for n in range(width + 1, 25) if (n, window >> longest - n) in longer)
            symbol = longer[length, window >> longest - length]
        found[i] = symbol
        at += length
        if at > 8 * len(stream):
            raise BoilError(f"a stream of {count} symbols ends too soon")
    read.take(-(-at // 8))
    if at % 8 and stream[at >> 3] << at % 8 & 0xFF:
        raise BoilError("the bits that fill the last byte of a stream are not zero")
    return found


# ---- the mixing coder

STRETCH = [round(256 * math.log((i + 0.5) / (4095.5 - i))) for i in range(4096)]
SQUASH = [min(max(round(65536 / (1 + math.exp(-x / 256))), 1), 65535) for x in range(-2815, 2816)]
RATE = [655360 // (10 * n + 16) for n in range(1001)]
FORM, SIGNED, ZERO, CODED, SHAPE, LIVE, ALIVE, TURNED, ALONE, BY_SIGN = range(0, 160, 16)
SIZE, DROP, WIDTH, FIRST, LENGTH = range(160, 480, 64)  # places of counters
KEYS, LENGTHS, COUNTERS = 480, 608, 1472
PARTS = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}
UNKNOWN = 1 << 31  # a counter: 22 bits of probability, 10 of how often it was moved
SIMPLE, FLAT = 5, 6  # forms that hold no other array, and none but of one of these
ARRAYS = {  # dtypes that a form is for, where it is not for all
    1: ("float32", "float64", "float16", "bfloat16"),
    5: [name for name in NAMES if name.strip("u").startswith("int")],
    6: ("float32",),
}


class Kind(NamedTuple):
    """An array: the words are a matrix of so many columns, row by row."""

    dtype: str
    size: int
    columns: int

    @property
    def bits(self) -> int:
        """Bits of a word."""
        return 8 * min(DTYPES[self.dtype][0], 8)


class Mixing:
    """Reads arrays from one stream: decisions from its front, bits as they are from its end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.low, self.high, self.at = data, 0, 0xFFFFFFFF, 4
        self.value = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
        self.end, self.held, self.left = len(data), 0, 0
        self.counters = [UNKNOWN] * COUNTERS
        self.weights = [[10486] * 6 for _ in range(64)]

    def ending(self) -> bytes:
        """The fewest bytes after which the interval is known."""
        least, size = 0, 0
        while least << 32 - 8 * size < self.low or least + 1 << 32 - 8 * size > self.high + 1:
            size += 1
            least = -(-self.low // (1 << 32 - 8 * size))
        return least.to_bytes(size, "big")

    def close(self) -> None:
        """Refuse a stream that does not end as it is written."""
        if self.data[self.at - 4 : self.end] != self.ending() or self.held:
            raise BoilError("a stream does not end where it should")

    def decide(self, chance: int) -> int:
        """A decision that is 1 with a probability of chance / 65536."""
        middle = self.low + ((self.high - self.low) * chance >> 16)
        bit = 1 if self.value <= middle else 0
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while self.low ^ self.high < 1 << 24:
            byte = self.data[self.at] if self.at < len(self.data) else 0
            self.at += 1
            if self.at > len(self.data) + 4:
                raise BoilError("a stream is cut short")
            self.low, self.high = self.low << 8 & 0xFFFFFFFF, self.high << 8 & 0xFFFFFFFF | 255
            self.value = self.value << 8 & 0xFFFFFFFF | byte
        return bit

    def counted(self, place: int) -> int:
        """A decision by its counter."""
        counter = self.counters[place]
        bit = self.decide(max(counter >> 16, 1))
        self.counters[place] = _renewed(counter, bit, 250)
        return bit

    def small(self, place: int, most: int) -> int:
        """A number from 0 to `most`."""
        count = 0
        while count < most and self.counted(place + count):
            count += 1
        return count

    def tree(self, place: int, bits: int) -> int:
        """A number of so many bits."""
        node = 1
        for _ in range(bits):
            node = node << 1 | self.counted(place + node)
        return node - (1 << bits)

    def number(self, place: int) -> int:
        """A number below 2^63."""
        length, found = self.tree(place, 6), 1
        for _ in range(length - 1):
            found = found << 1 | self.decide(32768)
        return found if length else 0

    def plain(self, width: int) -> int:
        """So many bits as they are, the lowest first."""
        while self.left < width:
            if self.end == 0:
                raise BoilError("a stream is cut short")
            self.end -= 1
            self.held, self.left = self.held | self.data[self.end] << self.left, self.left + 8
        value, self.held = self.held & (1 << width) - 1, self.held >> width
        self.left -= width
        return value

    def words(self, kind: Kind, base: array[int] | None) -> array[int]:
        """An array, of which those of complex numbers are twice as many real ones."""
        code = WORDS[kind.bits // 8]
        if kind.dtype in PARTS:
            part = PARTS[kind.dtype]
            times = kind.bits // (8 * DTYPES[part][0])
            inner = Kind(part, kind.size * times, kind.columns * times)
            held = None if base is None else array(WORDS[inner.bits // 8], base.tobytes())
            return array(code, self.words(inner, held).tobytes())
        signed = DTYPES[kind.dtype][1] and self.small(SIGNED, 1)
        keys = self.keys(kind, base, 8)
        found = array(code, (_unfolded(key, kind.dtype, kind.bits) for key in keys))
        for place, key in enumerate(keys) if signed else ():
            if key == 0:
                found[place] = self.plain(1) << kind.bits - 1
        if kind.dtype == "bool" and max(found) > 1:
            raise BoilError("an element is a bool, and neither 0 nor 1")
        return found

    def keys(self, kind: Kind, base: array[int] | None, most: int) -> list[int]:
        """An array in one of the first forms; of words a key has the sign as its lowest bit."""
        form = self.small(FORM, 8)
        if form >= most or kind.dtype not in ARRAYS.get(form, NAMES):
            raise BoilError(f"form {form} stands for no way of storing an array of {kind.dtype}")
        if form == 7:
            return self.difference(kind, base)
        forms = (
            self.codebook, self.floats, self.integers, self.as_they_are, self.deflated,
            self.steps, self.grid,
        )  # fmt: skip
        return forms[form](kind)

    def codebook(self, kind: Kind) -> list[int]:
        """Distinct keys, rising, and the place of each element's among them."""
        size = self.number(SIZE) + 1
        drop = self.number(DROP) if DTYPES[kind.dtype][1] else 0
        if size > min(1024, kind.size) or drop >= kind.bits:
            raise BoilError(f"a codebook of {size} values with {drop} zeros at their end")
        key, book = -1, []
        for i in range(size):
            key += self.number(KEYS + (64 if i else 0)) + 1
            book.append((key >> 1) << drop + 1 | key & 1)
        if key >= min(1 << kind.bits - drop, 1 << 62):
            raise BoilError("a value of a codebook has too many bits")
        return [book[symbol] for symbol in self.matrix(kind.size, kind.columns, size)]

    def floats(self, kind: Kind) -> list[int]:
        """Exponents as a matrix of symbols, then signs and mantissas."""
        bits = kind.bits - 1
        drop, low, coded = self.number(DROP), self.number(WIDTH), self.small(CODED, 6)
        zeros, least, span = self.small(ZERO, 1), self.number(FIRST), self.number(SIZE) + 1
        shift = drop + low
        if (
            shift >= bits
            or 8 * coded > low
            or span > 1024
            or least + span - zeros > 1 << bits - shift
        ):
            raise BoilError(f"{span} exponents from {least}, {low} bits of mantissas above {drop}")
        heads = self.matrix(kind.size, kind.columns, span)
        count = sum(head >= zeros for head in heads)
        lowest = [0] * count
        for i in range(coded):
            for place, byte in enumerate(self.matrix(count, count, 256)):
                lowest[place] |= byte << 8 * i
        keys, coming = [], iter(lowest)
        for head in heads:
            if head < zeros:
                keys.append(0)
                continue
            rest = self.plain(low - 8 * coded + 1)
            below = rest >> 1 << 8 * coded | next(coming)
            keys.append((head + least - zeros << shift | below << drop) << 1 | rest & 1)
        return keys

    def integers(self, kind: Kind) -> list[int]:
        """The highest bits of keys as a matrix of symbols, the others as they are."""
        fine, size = self.small(CODED, 3), self.number(SIZE) + 1
        if size > (kind.bits - fine + 1) << fine:
            raise BoilError(f"integers of {size} kinds")
        keys = []
        for symbol in self.matrix(kind.size, kind.columns, size):
            width = max((symbol >> fine) - 1, 0)
            head = symbol & (1 << fine) - 1 | 1 << fine if width else symbol
            keys.append(head << width | self.plain(width))
        return keys

    def as_they_are(self, kind: Kind) -> list[int]:
        """Keys."""
        return [self.plain(kind.bits) for _ in range(kind.size)]

    def deflated(self, kind: Kind) -> list[int]:
        """The lowest bytes of all keys, then the next, ..., deflated."""
        turned, length = self.small(TURNED, 1), self.number(LENGTH)
        data = bytes(self.plain(8) for _ in range(min(length, len(self.data) + 1)))
        planes = _inflated(data, kind.size * kind.bits // 8)
        if len(planes) != kind.size * kind.bits // 8:
            raise BoilError("an array does not inflate to its size")
        parts = [planes[at : at + kind.size] for at in range(0, len(planes), kind.size)]
        keys = [int.from_bytes(key, "little") for key in zip(*parts, strict=True)]
        rows = kind.size // kind.columns
        return [key for row in range(rows) for key in keys[row::rows]] if turned else keys

    def steps(self, kind: Kind) -> list[int]:
        """Integers by their differences to the one before."""
        keys = self.keys(kind._replace(dtype=f"uint{kind.bits}"), None, SIMPLE)
        mask, word, found = (1 << kind.bits) - 1, 0, []
        for key in keys:
            word = word + (key >> 1 ^ -(key & 1)) & mask
            found.append(_folded(word, kind.dtype, kind.bits))
        return found

    def grid(self, kind: Kind) -> list[int]:
        """Steps of blocks, and whole numbers."""
        length, by_sign = self.number(LENGTH), self.small(BY_SIGN, 1)
        if length < 2 or kind.size % length:
            raise BoilError(f"blocks of {length} elements do not make up {kind.size}")
        count = kind.size // length * (1 + by_sign)
        sizes = self.keys(Kind("float32", count, count), None, FLAT)
        codes = self.keys(kind._replace(dtype="int16"), None, FLAT)
        words = array("I", (_unfolded(key, "float32", 32) for key in sizes))
        numbers = array("h", (key >> 1 ^ -(key & 1) for key in codes))
        found = _on_grid(array("f", words.tobytes()), numbers, length, by_sign)
        return [_folded(word, "float32", 32) for word in found]

    def difference(self, kind: Kind, base: array[int] | None) -> list[int]:
        """Differences to the words of a base, both in the order of their numbers."""
        if base is None:
            raise BoilError("an array is told by its difference to one that is not there")
        keys = self.keys(kind._replace(dtype=f"uint{kind.bits}"), None, SIMPLE)
        mask, half, found = (1 << kind.bits) - 1, 1 << kind.bits - 1, []
        for key, word in zip(keys, base, strict=True):
            if not DTYPES[kind.dtype][1]:
                number = word + (key >> 1 ^ -(key & 1)) & mask
                found.append(_folded(number, kind.dtype, kind.bits))
                continue
            number = ~word ^ half if word & half else word  # -0.0 is -1
            number = number + (key >> 1 ^ -(key & 1)) & mask
            below = number >> kind.bits - 1
            found.append(((~number if below else number) & half - 1) << 1 | below)
        return found

    def matrix(self, count: int, columns: int, size: int) -> list[int]:
        """A matrix of so many symbols, each below `size`."""
        found = [0] * count
        if size < 2 or count == 0:
            return found
        shape = [range(count // columns), range(columns)]
        if count > columns and self.small(LIVE, 1):
            for axis, place in enumerate((ALIVE, ALIVE + 8)):
                before, alive = 0, []
                for i in shape[axis]:
                    bit = self.counted(place + before)
                    before = before << 1 & 6 | bit
                    alive += [i] * bit
                shape[axis] = alive
        rows, live = shape
        turned = min(len(rows), len(live)) > 1 and self.small(TURNED, 1)
        if not (rows and live):
            return found
        alone = self.small(ALONE, 1)
        children, levels = _tree(self.lengths(size))
        read = self.alone if alone else self.plane
        symbols = read(len(rows) * len(live), len(rows if turned else live), children, levels)
        for i, symbol in enumerate(symbols):
            row, column = divmod(i, len(rows if turned else live))
            if turned:
                row, column = column, row
            found[rows[row] * columns + live[column]] = symbol
        return found

    def lengths(self, size: int) -> list[int]:
        """The code lengths of so many symbols."""
        shape = self.small(SHAPE, 2) if size > 2 else 0
        if shape < 2:  # even ones, but for one of 1 for symbol 0
            bits = (size - shape - 1).bit_length()
            short = (1 << bits) - size + shape
            even = [shape + bits - (i < short) for i in range(size - shape)]
            return [1] * shape + even
        found, before = [], 0
        for _ in range(size):
            before = self.tree(LENGTHS + 32 * min(before, 26), 5)
            found.append(before)
        return found

    def alone(self, count: int, columns: int, children: Any, levels: Any) -> list[int]:
        """Symbols by how often each was."""
        counters, found = [UNKNOWN] * len(children), []
        for _ in range(count):
            node = 0
            while node >= 0:
                bit = self.decide(max(counters[node] >> 16, 1))
                counters[node] = _renewed(counters[node], bit, 1000)
                node = children[node][bit]
            found.append(-1 - node)
        return found

    def plane(self, count: int, columns: int, children: Any, levels: Any) -> list[int]:
        """Symbols by six counters that are mixed."""
        nodes, single = len(children), count == columns
        top = 0 if single else min(4, nodes)  # nodes that each column has counters for
        column_counters, others = 2 * nodes, 2 * nodes + columns * top
        counters = array("I", [UNKNOWN]) * (others + 577 * nodes)
        means, seen = [32768] * columns, [0] * columns
        overall = mean = 32768
        found: list[int] = []
        for at in range(count):
            column = at % columns
            if column == 0:
                counters[nodes : 2 * nodes] = array("I", [UNKNOWN]) * nodes
                mean = overall
            kept = 0 if single else column
            if seen[kept] == 0:
                means[kept] = overall
            other = means[kept]
            left = levels[found[at - 1]] >> 13 if column > 0 else 0
            far = levels[found[at - 2]] >> 13 if column > 1 else 0
            above = levels[found[at - columns]] >> 13 if at >= columns else 0
            third = others + nodes + above * 8 + left
            fourth = others + 65 * nodes + (mean >> 12) * 16 + (other >> 12)
            fifth = others + 321 * nodes + (mean + other >> 12) * 8 + far
            ages, node = _age(column) * 4 + _age(seen[kept]), 0
            while node >= 0:
                second = column_counters + column * top + node if node < top else others + node
                places = (
                    node, nodes + node, second, third + 64 * node, fourth + 256 * node,
                    fifth + 256 * node,
                )  # fmt: skip
                weights = self.weights[min(node, 3) * 16 + ages]
                inputs = [STRETCH[counters[place] >> 20] for place in places]
                total = sum(map(mul, inputs, weights)) >> 16
                chance = SQUASH[min(max(total, -2815), 2815) + 2815]
                bit = self.decide(chance)
                error = ((bit << 16) - chance) * 3
                for i, place in enumerate(places):
                    weights[i] += inputs[i] * error + 131072 >> 18
                    counters[place] = _renewed(counters[place], bit, 1000)
                node = children[node][bit]
            found.append(-1 - node)
            level = levels[-1 - node]
            mean += (level - mean) * RATE[min(column, 100)] >> 16
            means[kept] += (level - other) * RATE[min(seen[kept], 100)] >> 16
            overall += (level - overall) * RATE[min(at, 1000)] >> 16
            seen[kept] += 1
        return found


def _age(count: int) -> int:
    return count if count < 2 else 2 if count < 16 else 3


def _renewed(counter: int, bit: int, most: int) -> int:
    """A counter after a decision."""
    seen, chance = counter & 1023, counter >> 10
    chance += ((bit << 22) - chance) * RATE[seen] >> 16
    return chance << 10 | (seen + 1 if seen < most else seen)


def _folded(word: int, dtype: str, bits: int) -> int:
    """A word as a key: floats with the sign as the lowest bit, signed integers in zigzag."""
    top, mask = word >> bits - 1, (1 << bits) - 1
    if DTYPES[dtype][1]:
        return (word << 1 | top) & mask
    return (word << 1 ^ -top) & mask if dtype.startswith("int") else word


def _unfolded(key: int, dtype: str, bits: int) -> int:
    if DTYPES[dtype][1]:
        return key >> 1 | (key & 1) << bits - 1
    return (key >> 1 ^ -(key & 1)) & (1 << bits) - 1 if dtype.startswith("int") else key


def _tree(lengths: list[int]) -> tuple[list[list[int]], list[int]]:
    """Nodes of a code, level by level, each two nodes or -1 - symbol; the level of each symbol."""
    ranked = sorted((length, symbol) for symbol, length in enumerate(lengths) if length)
    if len(ranked) < 2 or sum(2.0**-length for length, _ in ranked) != 1 or max(lengths) > LONGEST:
        raise BoilError("the lengths of codes belong to no code")
    children: list[list[int]] = []
    inner = length = 1  # nodes of a level, and bits of the codes below it
    while inner:
        leaves = [-1 - symbol for bits, symbol in ranked if bits == length]
        first = len(children) + inner
        slots = [*leaves, *range(first, first + 2 * inner - len(leaves))]
        children += [slots[i : i + 2] for i in range(0, 2 * inner, 2)]
        inner, length = 2 * inner - len(leaves), length + 1
    levels, below = [], 0
    for length in lengths:
        part = 1 << 24 - length if length else 0
        levels.append((below + part // 2 >> 12) << 4)
        below += part
    return children, levels


# ---- the command line


def main(given: list[str] | None = None) -> None:
    """List the tensors of a file, and write them."""
    parser = argparse.ArgumentParser(description="Read a model.boil without boildown.")
    parser.add_argument("file", type=Path)
    parser.add_argument("-o", "--out", type=Path, help="an .npz (takes numpy), or a directory")
    parser.add_argument("--base", type=Path, help="the file that this one is relative to")
    args = parser.parse_args(given)
    try:
        base = decode(args.base.read_bytes())[0] if args.base else None
        tensors, config = decode(args.file.read_bytes(), base)
        for name, tensor in tensors.items():
            print(json.dumps(name), tensor.dtype, list(tensor.shape), len(tensor.data), sep="\t")
        print("config", json.dumps(config, default=bytes.hex), sep="\t")
        if args.out is not None:
            (_write_npz if args.out.suffix == ".npz" else _write)(args.out, tensors, config)
    except (BoilError, OSError) as error:
        sys.exit(f"boil.py: {error}")


def _write(path: Path, tensors: dict[str, Tensor], config: dict[str, Any] | None) -> None:
    """Bytes as 0.bin, 1.bin, ..., as a stranger's name is no path, and what they are as JSON."""
    path.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, (name, (dtype, shape, data)) in enumerate(tensors.items()):
        (path / f"{i}.bin").write_bytes(data)
        rows.append({"name": name, "dtype": dtype, "shape": shape, "file": f"{i}.bin"})
    index = json.dumps({"config": config, "tensors": rows}, indent=1, default=bytes.hex)
    (path / "index.json").write_text(index + "\n")


def _write_npz(path: Path, tensors: dict[str, Tensor], config: dict[str, Any] | None) -> None:
    """Arrays for `numpy.load`; of a dtype that numpy lacks the bits, as unsigned integers."""
    if np is None:
        raise BoilError("an .npz takes numpy: install it, or give -o a directory")
    with zipfile.ZipFile(path, "w") as archive:
        for name, (dtype, shape, data) in tensors.items():
            kind = np.dtype(dtype if hasattr(np, dtype) else f"u{DTYPES[dtype][0]}")
            values = np.frombuffer(data, kind.newbyteorder("<")).reshape(shape)
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, values)


# boildown's codec/dictionary.bin, in base 64
DICTIONARY = "lMCQ3AAX2SFlbWJlZGRpbmdzLndvcmRfZW1iZWRkaW5ncy53ZWlnaHTZJWVtYmVkZGluZ3MucG9zaXRpb25fZW1iZWRkaW5ncy53ZWlnaHTZJ2VtYmVkZGluZ3MudG9rZW5fdHlwZV9lbWJlZGRpbmdzLndlaWdodLtlbWJlZGRpbmdzLkxheWVyTm9ybS53ZWlnaHS5ZW1iZWRkaW5ncy5MYXllck5vcm0uYmlhc9krZW5jb2Rlci5sYXllci4wLmF0dGVudGlvbi5zZWxmLnF1ZXJ5LndlaWdodNkpZW5jb2Rlci5sYXllci4wLmF0dGVudGlvbi5zZWxmLnF1ZXJ5LmJpYXPZKWVuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24uc2VsZi5rZXkud2VpZ2h02SdlbmNvZGVyLmxheWVyLjAuYXR0ZW50aW9uLnNlbGYua2V5LmJpYXPZK2VuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24uc2VsZi52YWx1ZS53ZWlnaHTZKWVuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24uc2VsZi52YWx1ZS5iaWFz2S1lbmNvZGVyLmxheWVyLjAuYXR0ZW50aW9uLm91dHB1dC5kZW5zZS53ZWlnaHTZK2VuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24ub3V0cHV0LmRlbnNlLmJpYXPZMWVuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24ub3V0cHV0LkxheWVyTm9ybS53ZWlnaHTZL2VuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24ub3V0cHV0LkxheWVyTm9ybS5iaWFz2SllbmNvZGVyLmxheWVyLjAuaW50ZXJtZWRpYXRlLmRlbnNlLndlaWdodNknZW5jb2Rlci5sYXllci4wLmludGVybWVkaWF0ZS5kZW5zZS5iaWFz2SNlbmNvZGVyLmxheWVyLjAub3V0cHV0LmRlbnNlLndlaWdodNkhZW5jb2Rlci5sYXllci4wLm91dHB1dC5kZW5zZS5iaWFz2SdlbmNvZGVyLmxheWVyLjAub3V0cHV0LkxheWVyTm9ybS53ZWlnaHTZJWVuY29kZXIubGF5ZXIuMC5vdXRwdXQuTGF5ZXJOb3JtLmJpYXOzcG9vbGVyLmRlbnNlLndlaWdodLFwb29sZXIuZGVuc2UuYmlhc9wAXAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAlMCQ3AARtnRyYW5zZm9ybWVyLnd0ZS53ZWlnaHS2dHJhbnNmb3JtZXIud3BlLndlaWdodLt0cmFuc2Zvcm1lci5oLjAubG5fMS53ZWlnaHS5dHJhbnNmb3JtZXIuaC4wLmxuXzEuYmlhc9kidHJhbnNmb3JtZXIuaC4wLmF0dG4uY19hdHRuLndlaWdodNkgdHJhbnNmb3JtZXIuaC4wLmF0dG4uY19hdHRuLmJpYXPZInRyYW5zZm9ybWVyLmguMC5hdHRuLmNfcHJvai53ZWlnaHTZIHRyYW5zZm9ybWVyLmguMC5hdHRuLmNfcHJvai5iaWFzu3RyYW5zZm9ybWVyLmguMC5sbl8yLndlaWdodLl0cmFuc2Zvcm1lci5oLjAubG5fMi5iaWFzv3RyYW5zZm9ybWVyLmguMC5tbHAuY19mYy53ZWlnaHS9dHJhbnNmb3JtZXIuaC4wLm1scC5jX2ZjLmJpYXPZIXRyYW5zZm9ybWVyLmguMC5tbHAuY19wcm9qLndlaWdodL90cmFuc2Zvcm1lci5oLjAubWxwLmNfcHJvai5iaWFzt3RyYW5zZm9ybWVyLmxuX2Yud2VpZ2h0tXRyYW5zZm9ybWVyLmxuX2YuYmlhc65sbV9oZWFkLndlaWdodNwARAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAlMCQm7ltb2RlbC5lbWJlZF90b2tlbnMud2VpZ2h02SZtb2RlbC5sYXllcnMuMC5zZWxmX2F0dG4ucV9wcm9qLndlaWdodNkmbW9kZWwubGF5ZXJzLjAuc2VsZl9hdHRuLmtfcHJvai53ZWlnaHTZJm1vZGVsLmxheWVycy4wLnNlbGZfYXR0bi52X3Byb2oud2VpZ2h02SZtb2RlbC5sYXllcnMuMC5zZWxmX2F0dG4ub19wcm9qLndlaWdodNkjbW9kZWwubGF5ZXJzLjAubWxwLmdhdGVfcHJvai53ZWlnaHTZIW1vZGVsLmxheWVycy4wLm1scC51cF9wcm9qLndlaWdodNkjbW9kZWwubGF5ZXJzLjAubWxwLmRvd25fcHJvai53ZWlnaHTZJW1vZGVsLmxheWVycy4wLmlucHV0X2xheWVybm9ybS53ZWlnaHTZLm1vZGVsLmxheWVycy4wLnBvc3RfYXR0ZW50aW9uX2xheWVybm9ybS53ZWlnaHSxbW9kZWwubm9ybS53ZWlnaHTcACwAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQJTAkNwAGqxjb252MS53ZWlnaHSqYm4xLndlaWdodKhibjEuYmlhc7BibjEucnVubmluZ19tZWFur2JuMS5ydW5uaW5nX3ZhcrdibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjEuMC5jb252MS53ZWlnaHSzbGF5ZXIxLjAuYm4xLndlaWdodLFsYXllcjEuMC5ibjEuYmlhc7lsYXllcjEuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMS4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIxLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIxLjAuY29udjIud2VpZ2h0s2xheWVyMS4wLmJuMi53ZWlnaHSxbGF5ZXIxLjAuYm4yLmJpYXO5bGF5ZXIxLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjEuMC5ibjIucnVubmluZ192YXLZIGxheWVyMS4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VkvGxheWVyMi4wLmRvd25zYW1wbGUuMC53ZWlnaHS8bGF5ZXIyLjAuZG93bnNhbXBsZS4xLndlaWdodLpsYXllcjIuMC5kb3duc2FtcGxlLjEuYmlhc9kibGF5ZXIyLjAuZG93bnNhbXBsZS4xLnJ1bm5pbmdfbWVhbtkhbGF5ZXIyLjAuZG93bnNhbXBsZS4xLnJ1bm5pbmdfdmFy2SlsYXllcjIuMC5kb3duc2FtcGxlLjEubnVtX2JhdGNoZXNfdHJhY2tlZKlmYy53ZWlnaHSnZmMuYmlhc9wAaAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAlISoX3RhcmdldF/ZJWJvaWxkb3duLm1vZGVscy5zcXVlZXplbmV0LlNxdWVlemVOZXSnZHJvcG91dMs/4AAAAAAAAKtpbnB1dF9zaGFwZZMDzODM4KtudW1fY2xhc3Nlc80D6JDcADSsY29udjEud2VpZ2h0qmNvbnYxLmJpYXO3ZmlyZTIuc3F1ZWV6ZTF4MS53ZWlnaHS1ZmlyZTIuc3F1ZWV6ZTF4MS5iaWFztmZpcmUyLmV4cGFuZDF4MS53ZWlnaHS0ZmlyZTIuZXhwYW5kMXgxLmJpYXO2ZmlyZTIuZXhwYW5kM3gzLndlaWdodLRmaXJlMi5leHBhbmQzeDMuYmlhc7dmaXJlMy5zcXVlZXplMXgxLndlaWdodLVmaXJlMy5zcXVlZXplMXgxLmJpYXO2ZmlyZTMuZXhwYW5kMXgxLndlaWdodLRmaXJlMy5leHBhbmQxeDEuYmlhc7ZmaXJlMy5leHBhbmQzeDMud2VpZ2h0tGZpcmUzLmV4cGFuZDN4My5iaWFzt2ZpcmU0LnNxdWVlemUxeDEud2VpZ2h0tWZpcmU0LnNxdWVlemUxeDEuYmlhc7ZmaXJlNC5leHBhbmQxeDEud2VpZ2h0tGZpcmU0LmV4cGFuZDF4MS5iaWFztmZpcmU0LmV4cGFuZDN4My53ZWlnaHS0ZmlyZTQuZXhwYW5kM3gzLmJpYXO3ZmlyZTUuc3F1ZWV6ZTF4MS53ZWlnaHS1ZmlyZTUuc3F1ZWV6ZTF4MS5iaWFztmZpcmU1LmV4cGFuZDF4MS53ZWlnaHS0ZmlyZTUuZXhwYW5kMXgxLmJpYXO2ZmlyZTUuZXhwYW5kM3gzLndlaWdodLRmaXJlNS5leHBhbmQzeDMuYmlhc7dmaXJlNi5zcXVlZXplMXgxLndlaWdodLVmaXJlNi5zcXVlZXplMXgxLmJpYXO2ZmlyZTYuZXhwYW5kMXgxLndlaWdodLRmaXJlNi5leHBhbmQxeDEuYmlhc7ZmaXJlNi5leHBhbmQzeDMud2VpZ2h0tGZpcmU2LmV4cGFuZDN4My5iaWFzt2ZpcmU3LnNxdWVlemUxeDEud2VpZ2h0tWZpcmU3LnNxdWVlemUxeDEuYmlhc7ZmaXJlNy5leHBhbmQxeDEud2VpZ2h0tGZpcmU3LmV4cGFuZDF4MS5iaWFztmZpcmU3LmV4cGFuZDN4My53ZWlnaHS0ZmlyZTcuZXhwYW5kM3gzLmJpYXO3ZmlyZTguc3F1ZWV6ZTF4MS53ZWlnaHS1ZmlyZTguc3F1ZWV6ZTF4MS5iaWFztmZpcmU4LmV4cGFuZDF4MS53ZWlnaHS0ZmlyZTguZXhwYW5kMXgxLmJpYXO2ZmlyZTguZXhwYW5kM3gzLndlaWdodLRmaXJlOC5leHBhbmQzeDMuYmlhc7dmaXJlOS5zcXVlZXplMXgxLndlaWdodLVmaXJlOS5zcXVlZXplMXgxLmJpYXO2ZmlyZTkuZXhwYW5kMXgxLndlaWdodLRmaXJlOS5leHBhbmQxeDEuYmlhc7ZmaXJlOS5leHBhbmQzeDMud2VpZ2h0tGZpcmU5LmV4cGFuZDN4My5iaWFzrWNvbnYxMC53ZWlnaHSrY29udjEwLmJpYXPcAOoABGADBwcAAWAABBBgAQEAARAABEAQAQEAAUAABEAQAwMAAUAABBDMgAEBAAEQAARAEAEBAAFAAARAEAMDAAFAAAQgzIABAQABIAAEzIAgAQEAAcyAAATMgCADAwABzIAABCDNAQABAQABIAAEzIAgAQEAAcyAAATMgCADAwABzIAABDDNAQABAQABMAAEzMAwAQEAAczAAATMwDADAwABzMAABDDNAYABAQABMAAEzMAwAQEAAczAAATMwDADAwABzMAABEDNAYABAQABQAAEzQEAQAEBAAHNAQAABM0BAEADAwABzQEAAARAzQIAAQEAAUAABM0BAEABAQABzQEAAATNAQBAAwMAAc0BAAAEzQPozQIAAQEAAc0D6JSEqF90YXJnZXRfuWJvaWxkb3duLm1vZGVscy52Z2cuVkdHMTanZHJvcG91dMs/4AAAAAAAAKtpbnB1dF9zaGFwZZMDzODM4KtudW1fY2xhc3Nlc80D6JDcACCuY29udjFfMS53ZWlnaHSsY29udjFfMS5iaWFzrmNvbnYxXzIud2VpZ2h0rGNvbnYxXzIuYmlhc65jb252Ml8xLndlaWdodKxjb252Ml8xLmJpYXOuY29udjJfMi53ZWlnaHSsY29udjJfMi5iaWFzrmNvbnYzXzEud2VpZ2h0rGNvbnYzXzEuYmlhc65jb252M18yLndlaWdodKxjb252M18yLmJpYXOuY29udjNfMy53ZWlnaHSsY29udjNfMy5iaWFzrmNvbnY0XzEud2VpZ2h0rGNvbnY0XzEuYmlhc65jb252NF8yLndlaWdodKxjb252NF8yLmJpYXOuY29udjRfMy53ZWlnaHSsY29udjRfMy5iaWFzrmNvbnY1XzEud2VpZ2h0rGNvbnY1XzEuYmlhc65jb252NV8yLndlaWdodKxjb252NV8yLmJpYXOuY29udjVfMy53ZWlnaHSsY29udjVfMy5iaWFzqmZjNi53ZWlnaHSoZmM2LmJpYXOqZmM3LndlaWdodKhmYzcuYmlhc6pmYzgud2VpZ2h0qGZjOC5iaWFz3ACKAARAAwMDAAFAAARAQAMDAAFAAATMgEADAwABzIAABMyAzIADAwABzIAABM0BAMyAAwMAAc0BAAAEzQEAzQEAAwMAAc0BAAAEzQEAzQEAAwMAAc0BAAAEzQIAzQEAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAACzRAAzWIAAAHNEAAAAs0QAM0QAAABzRAAAALNA+jNEAAAAc0D6JSEqF90YXJnZXRfv2JvaWxkb3duLm1vZGVscy5hbGV4bmV0LkFsZXhOZXSnZHJvcG91dMs/4AAAAAAAAKtpbnB1dF9zaGFwZZMDzOPM46tudW1fY2xhc3Nlc80D6JDcABCsY29udjEud2VpZ2h0qmNvbnYxLmJpYXOsY29udjIud2VpZ2h0qmNvbnYyLmJpYXOsY29udjMud2VpZ2h0qmNvbnYzLmJpYXOsY29udjQud2VpZ2h0qmNvbnY0LmJpYXOsY29udjUud2VpZ2h0qmNvbnY1LmJpYXOqZmM2LndlaWdodKhmYzYuYmlhc6pmYzcud2VpZ2h0qGZjNy5iaWFzqmZjOC53ZWlnaHSoZmM4LmJpYXPcAEIABGADCwsAAWAABM0BADAFBQABzQEAAATNAYDNAQADAwABzQGAAATNAYDMwAMDAAHNAYAABM0BAMzAAwMAAc0BAAACzRAAzSQAAAHNEAAAAs0QAM0QAAABzRAAAALNA+jNEAAAAc0D6JSDqF90YXJnZXRf2SZib2lsZG93bi5sb3dyYW5rLmZhY3Rvcml6ZS5yZXN0cnVjdHVyZaVtb2RlbIOoX3RhcmdldF++Ym9pbGRvd24ubW9kZWxzLmxlbmV0LkxlTmV0MzAwq2lucHV0X3NoYXBlkwEICKtudW1fY2xhc3Nlcwqpc3RydWN0dXJlgqNmYzGCpnNjaGVtZaZsaW5lYXKkcmFuay+jZmMygqZzY2hlbWWmbGluZWFypHJhbmsQkJisZmMxLnYud2VpZ2h0rGZjMS51LndlaWdodKpmYzEudS5iaWFzrGZjMi52LndlaWdodKxmYzIudS53ZWlnaHSqZmMyLnUuYmlhc6pmYzMud2VpZ2h0qGZjMy5iaWFz3AAdAAIvQAACzQEsLwABzQEsAAIQzQEsAAJkEAABZAACCmQAAQqUiKhfdGFyZ2V0X9kgYm9pbGRvd24ubW9kZWxzLnRyYW5zZm9ybWVyLkJFUlSld2lkdGjMgKVkZXB0aAKlaGVhZHPApHRpZWTCp2Ryb3BvdXTLAAAAAAAAAACraW5wdXRfc2hhcGWRQKtudW1fY2xhc3Nlc80BAJDcABCsZW1iZWQud2VpZ2h0r3Bvc2l0aW9uLndlaWdodLVibG9ja3MuMC5ub3JtMS53ZWlnaHSzYmxvY2tzLjAucWt2LndlaWdodLNibG9ja3MuMC5vdXQud2VpZ2h0tWJsb2Nrcy4wLm5vcm0yLndlaWdodLJibG9ja3MuMC51cC53ZWlnaHS0YmxvY2tzLjAuZG93bi53ZWlnaHS1YmxvY2tzLjEubm9ybTEud2VpZ2h0s2Jsb2Nrcy4xLnFrdi53ZWlnaHSzYmxvY2tzLjEub3V0LndlaWdodLVibG9ja3MuMS5ub3JtMi53ZWlnaHSyYmxvY2tzLjEudXAud2VpZ2h0tGJsb2Nrcy4xLmRvd24ud2VpZ2h0q25vcm0ud2VpZ2h0q2hlYWQud2VpZ2h03AA7AALNAQHMgAACQMyAAAHMgAACzQGAzIAAAsyAzIAAAcyAAALNAgDMgAACzIDNAgAAAcyAAALNAYDMgAACzIDMgAABzIAAAs0CAMyAAALMgM0CAAABzIAAAs0BAMyAlIWoX3RhcmdldF+9Ym9pbGRvd24ubW9kZWxzLnJlc25ldC5SZXNOZXSld2lkdGgQpWRlcHRoCKtpbnB1dF9zaGFwZZMBCAirbnVtX2NsYXNzZXMKkNwALKxjb252MS53ZWlnaHSqYm4xLndlaWdodKhibjEuYmlhc7BibjEucnVubmluZ19tZWFur2JuMS5ydW5uaW5nX3ZhcrdibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjEuMC5jb252MS53ZWlnaHSzbGF5ZXIxLjAuYm4xLndlaWdodLFsYXllcjEuMC5ibjEuYmlhc7lsYXllcjEuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMS4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIxLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIxLjAuY29udjIud2VpZ2h0s2xheWVyMS4wLmJuMi53ZWlnaHSxbGF5ZXIxLjAuYm4yLmJpYXO5bGF5ZXIxLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjEuMC5ibjIucnVubmluZ192YXLZIGxheWVyMS4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMi4wLmNvbnYxLndlaWdodLNsYXllcjIuMC5ibjEud2VpZ2h0sWxheWVyMi4wLmJuMS5iaWFzuWxheWVyMi4wLmJuMS5ydW5uaW5nX21lYW64bGF5ZXIyLjAuYm4xLnJ1bm5pbmdfdmFy2SBsYXllcjIuMC5ibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjIuMC5jb252Mi53ZWlnaHSzbGF5ZXIyLjAuYm4yLndlaWdodLFsYXllcjIuMC5ibjIuYmlhc7lsYXllcjIuMC5ibjIucnVubmluZ19tZWFuuGxheWVyMi4wLmJuMi5ydW5uaW5nX3ZhctkgbGF5ZXIyLjAuYm4yLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIzLjAuY29udjEud2VpZ2h0s2xheWVyMy4wLmJuMS53ZWlnaHSxbGF5ZXIzLjAuYm4xLmJpYXO5bGF5ZXIzLjAuYm4xLnJ1bm5pbmdfbWVhbrhsYXllcjMuMC5ibjEucnVubmluZ192YXLZIGxheWVyMy4wLmJuMS5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMy4wLmNvbnYyLndlaWdodLNsYXllcjMuMC5ibjIud2VpZ2h0sWxheWVyMy4wLmJuMi5iaWFzuWxheWVyMy4wLmJuMi5ydW5uaW5nX21lYW64bGF5ZXIzLjAuYm4yLnJ1bm5pbmdfdmFy2SBsYXllcjMuMC5ibjIubnVtX2JhdGNoZXNfdHJhY2tlZKlmYy53ZWlnaHSnZmMuYmlhc9wAkwAEEAEDAwABEAABEAABEAABEAgAAAQQEAMDAAEQAAEQAAEQAAEQCAAABBAQAwMAARAAARAAARAAARAIAAAEIBADAwABIAABIAABIAABIAgAAAQgIAMDAAEgAAEgAAEgAAEgCAAABEAgAwMAAUAAAUAAAUAAAUAIAAAEQEADAwABQAABQAABQAABQAgAAAIKQAABCpSGqF90YXJnZXRft2JvaWxkb3duLm1vZGVscy5tbHAuTUxQpndpZHRoc8Cld2lkdGjNAQClZGVwdGgCq2lucHV0X3NoYXBlkSirbnVtX2NsYXNzZXMKkJaqZmMxLndlaWdodKhmYzEuYmlhc6pmYzIud2VpZ2h0qGZjMi5iaWFzqmZjMy53ZWlnaHSoZmMzLmJpYXPcABUAAs0BACgAAc0BAAACzQEAzQEAAAHNAQAAAgrNAQAAAQqUh6hfdGFyZ2V0X9klYm9pbGRvd24ubW9kZWxzLnRhYnVsYXIuVGFidWxhclJlc05ldKV3aWR0aEClZGVwdGgCqHdpZGVuaW5nAqdkcm9wb3V0ywAAAAAAAAAAq2lucHV0X3NoYXBlkQqrbnVtX2NsYXNzZXMBkNwAG6xmaXJzdC53ZWlnaHSqZmlyc3QuYmlhc7RibG9ja3MuMC5ub3JtLndlaWdodLJibG9ja3MuMC5ub3JtLmJpYXO6YmxvY2tzLjAubm9ybS5ydW5uaW5nX21lYW65YmxvY2tzLjAubm9ybS5ydW5uaW5nX3ZhctkhYmxvY2tzLjAubm9ybS5udW1fYmF0Y2hlc190cmFja2VktWJsb2Nrcy4wLndpZGVuLndlaWdodLNibG9ja3MuMC53aWRlbi5iaWFztmJsb2Nrcy4wLm5hcnJvdy53ZWlnaHS0YmxvY2tzLjAubmFycm93LmJpYXO0YmxvY2tzLjEubm9ybS53ZWlnaHSyYmxvY2tzLjEubm9ybS5iaWFzumJsb2Nrcy4xLm5vcm0ucnVubmluZ19tZWFuuWJsb2Nrcy4xLm5vcm0ucnVubmluZ192YXLZIWJsb2Nrcy4xLm5vcm0ubnVtX2JhdGNoZXNfdHJhY2tlZLVibG9ja3MuMS53aWRlbi53ZWlnaHSzYmxvY2tzLjEud2lkZW4uYmlhc7ZibG9ja3MuMS5uYXJyb3cud2VpZ2h0tGJsb2Nrcy4xLm5hcnJvdy5iaWFzq25vcm0ud2VpZ2h0qW5vcm0uYmlhc7Fub3JtLnJ1bm5pbmdfbWVhbrBub3JtLnJ1bm5pbmdfdmFyuG5vcm0ubnVtX2JhdGNoZXNfdHJhY2tlZKtoZWFkLndlaWdodKloZWFkLmJpYXPcAFQAAkAKAAFAAAFAAAFAAAFAAAFACAAAAsyAQAABzIAAAkDMgAABQAABQAABQAABQAABQAgAAALMgEAAAcyAAAJAzIAAAUAAAUAAAUAAAUAAAUAIAAACAUAAAQGUiKhfdGFyZ2V0X79ib2lsZG93bi5tb2RlbHMudHJhbnNmb3JtZXIuR1BUpXdpZHRozIClZGVwdGgCpWhlYWRzwKR0aWVkwqdkcm9wb3V0ywAAAAAAAAAAq2lucHV0X3NoYXBlkUCrbnVtX2NsYXNzZXPNAQCQ3AAQrGVtYmVkLndlaWdodK9wb3NpdGlvbi53ZWlnaHS1YmxvY2tzLjAubm9ybTEud2VpZ2h0s2Jsb2Nrcy4wLnFrdi53ZWlnaHSzYmxvY2tzLjAub3V0LndlaWdodLVibG9ja3MuMC5ub3JtMi53ZWlnaHSyYmxvY2tzLjAudXAud2VpZ2h0tGJsb2Nrcy4wLmRvd24ud2VpZ2h0tWJsb2Nrcy4xLm5vcm0xLndlaWdodLNibG9ja3MuMS5xa3Yud2VpZ2h0s2Jsb2Nrcy4xLm91dC53ZWlnaHS1YmxvY2tzLjEubm9ybTIud2VpZ2h0smJsb2Nrcy4xLnVwLndlaWdodLRibG9ja3MuMS5kb3duLndlaWdodKtub3JtLndlaWdodKtoZWFkLndlaWdodNwAOwACzQEAzIAAAkDMgAABzIAAAs0BgMyAAALMgMyAAAHMgAACzQIAzIAAAsyAzQIAAAHMgAACzQGAzIAAAsyAzIAAAcyAAALNAgDMgAACzIDNAgAAAcyAAALNAQDMgJSFqF90YXJnZXRfv2JvaWxkb3duLm1vZGVscy5yZXNuZXQuUmVzTmV0MjCld2lkdGgQpWRlcHRoFKtpbnB1dF9zaGFwZZMDICCrbnVtX2NsYXNzZXMKkNwAdKxjb252MS53ZWlnaHSqYm4xLndlaWdodKhibjEuYmlhc7BibjEucnVubmluZ19tZWFur2JuMS5ydW5uaW5nX3ZhcrdibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjEuMC5jb252MS53ZWlnaHSzbGF5ZXIxLjAuYm4xLndlaWdodLFsYXllcjEuMC5ibjEuYmlhc7lsYXllcjEuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMS4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIxLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIxLjAuY29udjIud2VpZ2h0s2xheWVyMS4wLmJuMi53ZWlnaHSxbGF5ZXIxLjAuYm4yLmJpYXO5bGF5ZXIxLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjEuMC5ibjIucnVubmluZ192YXLZIGxheWVyMS4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMS4xLmNvbnYxLndlaWdodLNsYXllcjEuMS5ibjEud2VpZ2h0sWxheWVyMS4xLmJuMS5iaWFzuWxheWVyMS4xLmJuMS5ydW5uaW5nX21lYW64bGF5ZXIxLjEuYm4xLnJ1bm5pbmdfdmFy2SBsYXllcjEuMS5ibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjEuMS5jb252Mi53ZWlnaHSzbGF5ZXIxLjEuYm4yLndlaWdodLFsYXllcjEuMS5ibjIuYmlhc7lsYXllcjEuMS5ibjIucnVubmluZ19tZWFuuGxheWVyMS4xLmJuMi5ydW5uaW5nX3ZhctkgbGF5ZXIxLjEuYm4yLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIxLjIuY29udjEud2VpZ2h0s2xheWVyMS4yLmJuMS53ZWlnaHSxbGF5ZXIxLjIuYm4xLmJpYXO5bGF5ZXIxLjIuYm4xLnJ1bm5pbmdfbWVhbrhsYXllcjEuMi5ibjEucnVubmluZ192YXLZIGxheWVyMS4yLmJuMS5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMS4yLmNvbnYyLndlaWdodLNsYXllcjEuMi5ibjIud2VpZ2h0sWxheWVyMS4yLmJuMi5iaWFzuWxheWVyMS4yLmJuMi5ydW5uaW5nX21lYW64bGF5ZXIxLjIuYm4yLnJ1bm5pbmdfdmFy2SBsYXllcjEuMi5ibjIubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjIuMC5jb252MS53ZWlnaHSzbGF5ZXIyLjAuYm4xLndlaWdodLFsYXllcjIuMC5ibjEuYmlhc7lsYXllcjIuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMi4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIyLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIyLjAuY29udjIud2VpZ2h0s2xheWVyMi4wLmJuMi53ZWlnaHSxbGF5ZXIyLjAuYm4yLmJpYXO5bGF5ZXIyLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjIuMC5ibjIucnVubmluZ192YXLZIGxheWVyMi4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMi4xLmNvbnYxLndlaWdodLNsYXllcjIuMS5ibjEud2VpZ2h0sWxheWVyMi4xLmJuMS5iaWFzuWxheWVyMi4xLmJuMS5ydW5uaW5nX21lYW64bGF5ZXIyLjEuYm4xLnJ1bm5pbmdfdmFy2SBsYXllcjIuMS5ibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjIuMS5jb252Mi53ZWlnaHSzbGF5ZXIyLjEuYm4yLndlaWdodLFsYXllcjIuMS5ibjIuYmlhc7lsYXllcjIuMS5ibjIucnVubmluZ19tZWFuuGxheWVyMi4xLmJuMi5ydW5uaW5nX3ZhctkgbGF5ZXIyLjEuYm4yLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIyLjIuY29udjEud2VpZ2h0s2xheWVyMi4yLmJuMS53ZWlnaHSxbGF5ZXIyLjIuYm4xLmJpYXO5bGF5ZXIyLjIuYm4xLnJ1bm5pbmdfbWVhbrhsYXllcjIuMi5ibjEucnVubmluZ192YXLZIGxheWVyMi4yLmJuMS5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMi4yLmNvbnYyLndlaWdodLNsYXllcjIuMi5ibjIud2VpZ2h0sWxheWVyMi4yLmJuMi5iaWFzuWxheWVyMi4yLmJuMi5ydW5uaW5nX21lYW64bGF5ZXIyLjIuYm4yLnJ1bm5pbmdfdmFy2SBsYXllcjIuMi5ibjIubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjMuMC5jb252MS53ZWlnaHSzbGF5ZXIzLjAuYm4xLndlaWdodLFsYXllcjMuMC5ibjEuYmlhc7lsYXllcjMuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMy4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIzLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIzLjAuY29udjIud2VpZ2h0s2xheWVyMy4wLmJuMi53ZWlnaHSxbGF5ZXIzLjAuYm4yLmJpYXO5bGF5ZXIzLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjMuMC5ibjIucnVubmluZ192YXLZIGxheWVyMy4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMy4xLmNvbnYxLndlaWdodLNsYXllcjMuMS5ibjEud2VpZ2h0sWxheWVyMy4xLmJuMS5iaWFzuWxheWVyMy4xLmJuMS5ydW5uaW5nX21lYW64bGF5ZXIzLjEuYm4xLnJ1bm5pbmdfdmFy2SBsYXllcjMuMS5ibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjMuMS5jb252Mi53ZWlnaHSzbGF5ZXIzLjEuYm4yLndlaWdodLFsYXllcjMuMS5ibjIuYmlhc7lsYXllcjMuMS5ibjIucnVubmluZ19tZWFuuGxheWVyMy4xLmJuMi5ydW5uaW5nX3ZhctkgbGF5ZXIzLjEuYm4yLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIzLjIuY29udjEud2VpZ2h0s2xheWVyMy4yLmJuMS53ZWlnaHSxbGF5ZXIzLjIuYm4xLmJpYXO5bGF5ZXIzLjIuYm4xLnJ1bm5pbmdfbWVhbrhsYXllcjMuMi5ibjEucnVubmluZ192YXLZIGxheWVyMy4yLmJuMS5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMy4yLmNvbnYyLndlaWdodLNsYXllcjMuMi5ibjIud2VpZ2h0sWxheWVyMy4yLmJuMi5iaWFzuWxheWVyMy4yLmJuMi5ydW5uaW5nX21lYW64bGF5ZXIzLjIuYm4yLnJ1bm5pbmdfdmFy2SBsYXllcjMuMi5ibjIubnVtX2JhdGNoZXNfdHJhY2tlZKlmYy53ZWlnaHSnZmMuYmlhc9wBgwAEEAMDAwABEAABEAABEAABEAgAAAQQEAMDAAEQAAEQAAEQAAEQCAAABBAQAwMAARAAARAAARAAARAIAAAEEBADAwABEAABEAABEAABEAgAAAQQEAMDAAEQAAEQAAEQAAEQCAAABBAQAwMAARAAARAAARAAARAIAAAEEBADAwABEAABEAABEAABEAgAAAQgEAMDAAEgAAEgAAEgAAEgCAAABCAgAwMAASAAASAAASAAASAIAAAEICADAwABIAABIAABIAABIAgAAAQgIAMDAAEgAAEgAAEgAAEgCAAABCAgAwMAASAAASAAASAAASAIAAAEICADAwABIAABIAABIAABIAgAAARAIAMDAAFAAAFAAAFAAAFACAAABEBAAwMAAUAAAUAAAUAAAUAIAAAEQEADAwABQAABQAABQAABQAgAAARAQAMDAAFAAAFAAAFAAAFACAAABEBAAwMAAUAAAUAAAUAAAUAIAAAEQEADAwABQAABQAABQAABQAgAAAIKQAABCpSGqF90YXJnZXRft2JvaWxkb3duLm1vZGVscy5tbHAuTUxQpndpZHRoc8Cld2lkdGjNAQClZGVwdGgCq2lucHV0X3NoYXBlkwEICKtudW1fY2xhc3NlcwqQlqpmYzEud2VpZ2h0qGZjMS5iaWFzqmZjMi53ZWlnaHSoZmMyLmJpYXOqZmMzLndlaWdodKhmYzMuYmlhc9wAFQACzQEAQAABzQEAAALNAQDNAQAAAc0BAAACCs0BAAABCpSGqF90YXJnZXRft2JvaWxkb3duLm1vZGVscy5tbHAuTUxQpndpZHRoc8Cld2lkdGjNAQClZGVwdGgCq2lucHV0X3NoYXBlkwEcHKtudW1fY2xhc3NlcwqQlqpmYzEud2VpZ2h0qGZjMS5iaWFzqmZjMi53ZWlnaHSoZmMyLmJpYXOqZmMzLndlaWdodKhmYzMuYmlhc9wAFQACzQEAzQMQAAHNAQAAAs0BAM0BAAABzQEAAAIKzQEAAAEKlIOoX3RhcmdldF+8Ym9pbGRvd24ubW9kZWxzLmxlbmV0LkxlTmV0NatpbnB1dF9zaGFwZZMDICCrbnVtX2NsYXNzZXMKkJisY29udjEud2VpZ2h0qmNvbnYxLmJpYXOsY29udjIud2VpZ2h0qmNvbnYyLmJpYXOqZmMxLndlaWdodKhmYzEuYmlhc6pmYzIud2VpZ2h0qGZjMi5iaWFz3AAgAAQUAwUFAAEUAAQyFAUFAAEyAALNAfTNBOIAAc0B9AACCs0B9AABCpSDqF90YXJnZXRfvmJvaWxkb3duLm1vZGVscy5sZW5ldC5MZU5ldDMwMKtpbnB1dF9zaGFwZZMBHByrbnVtX2NsYXNzZXMKkJaqZmMxLndlaWdodKhmYzEuYmlhc6pmYzIud2VpZ2h0qGZjMi5iaWFzqmZjMy53ZWlnaHSoZmMzLmJpYXPcABUAAs0BLM0DEAABzQEsAAJkzQEsAAFkAAIKZAABCpSDqF90YXJnZXRfvmJvaWxkb3duLm1vZGVscy5sZW5ldC5MZU5ldDMwMKtpbnB1dF9zaGFwZZMBCAirbnVtX2NsYXNzZXMKkJaqZmMxLndlaWdodKhmYzEuYmlhc6pmYzIud2VpZ2h0qGZjMi5iaWFzqmZjMy53ZWlnaHSoZmMzLmJpYXPcABUAAs0BLEAAAc0BLAACZM0BLAABZAACCmQAAQqUg6hfdGFyZ2V0X7xib2lsZG93bi5tb2RlbHMubGVuZXQuTGVOZXQ1q2lucHV0X3NoYXBlkwEcHKtudW1fY2xhc3NlcwqQmKxjb252MS53ZWlnaHSqY29udjEuYmlhc6xjb252Mi53ZWlnaHSqY29udjIuYmlhc6pmYzEud2VpZ2h0qGZjMS5iaWFzqmZjMi53ZWlnaHSoZmMyLmJpYXPcACAABBQBBQUAARQABDIUBQUAATIAAs0B9M0DIAABzQH0AAIKzQH0AAEK"  # noqa: E501

if __name__ == "__main__":
    main()
