#!/usr/bin/env python3
"""Read a model.boil with Python's standard library alone: python boil.py model.boil [-o OUT].

Lists its tensors; OUT is a directory for their bytes, or an .npz, which takes numpy. The names are
those of boildown's docs/format.md. What boildown does not write is refused with a BoilError.
"""
import argparse
import base64
import hashlib
import json
import math
import struct
import zipfile
import zlib
from array import array
from collections import namedtuple
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

__all__ = ["BoilError", "Tensor", "decode"]
NAMES = ["float32", "float64", "float16", "bfloat16", "uint8", "int8", "int16", "int32", "int64",
    "bool", "complex64", "complex128", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2",
    "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2", "complex32"]
SIZES = [4, 8, 2, 2, 1, 1, 2, 4, 8, 1, 8, 16, 2, 4, 8, 1, 1, 1, 1, 1, 1, 4]  # bytes of an element
SIGNS = [4, 8, 2, 2, 0, 0, 0, 0, 0, 0, 4, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 2]  # of a float with -0.0
DTYPES = dict(zip(NAMES, zip(SIZES, SIGNS, strict=True), strict=True))
BITS = {name: 8 * min(8, size) for name, (size, _) in DTYPES.items()}
WORDS = {8: "B", 16: "H", 32: "I", 64: "Q"}  # what `struct` calls words of so many bits
FORMS = {"float32": {1: "H", 2: "H", 7: "b"}, "float64": {1: "H", 3: "I"}, "int16": {4: "b"},
         "int32": {4: "b", 5: "h"}, "int64": {4: "b", 5: "h", 6: "i"}}  # how values are stored
FLOATS = {16: ("<e", 10), 32: ("<f", 23), 64: ("<d", 52)}  # by bits: and those of the mantissa
MSGPACK = {0xC4 + i: ">" + c for i, c in enumerate("BHI   fdBHIQbhiq     BHIHIHI") if c > " "}
ITSELF = {0xC0: None, 0xC2: False, 0xC3: True} | {n & 255: n for n in range(-32, 128)}
LONGEST, WITHIN = 24, (5, 9, 13)  # bits of a code; coders that the last two have not within
WRONG_SUM, BAD_INDEX = "the checksum is wrong: the file is damaged", "there is no such index"
Tensor = namedtuple("Tensor", "dtype shape data")  # data: its bytes, little-endian
Entry = namedtuple("Entry", "name dtype shape size owner count promised")  # owner: of the words
Kind = namedtuple("Kind", "dtype size columns")  # an array: a matrix of so many words
Ints, Tensors, Found = list[int], dict[str, Tensor], tuple[Any, list[Entry], dict[str, list[bytes]]]
class BoilError(ValueError):
    """The bytes are not an intact file that boildown wrote."""
def check(fine: object, message: str) -> None:
    if not fine:
        raise BoilError(message)
class Reader:  # of untrusted bytes; bits are read from the highest of a byte down
    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at, self.held, self.left = data, at, 0, 0
    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]
    def numbers(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))
    def varint(self, shift: int = 0) -> int:
        byte = self.take(1)[0]
        check(byte < 128 or shift < 56, "an integer has more than 9 bytes")
        return byte << shift if byte < 128 else (byte & 127) << shift | self.varint(shift + 7)
    def bits(self, width: int) -> int:
        while self.left < width:
            self.held, self.left = self.held << 8 | self.take(1)[0], self.left + 8
        self.left, (value, self.held) = self.left - width, divmod(self.held, 1 << self.left - width)
        return value
    def aligned(self, found: Any) -> Any:  # what was found, if the rest of the byte is not used
        check(self.held == 0, "the bits that fill a last byte are not zero")
        self.left = 0
        return found
def decode(data: bytes, base: Tensors | None = None) -> tuple[Tensors, Any]:
    """The tensors by name and the config in a file, which may be relative to those of a base."""
    check(data[:5] in (b"BOIL\1", b"BOIL\2"), "this is not a boil file of version 1 or 2")
    try:
        config, entries, found = version1(data) if data[4] == 1 else version2(data, base)
        check(len({entry.name for entry in entries}) == len(entries), "a name is there twice")
    except (LookupError, ValueError, struct.error, zlib.error) as error:
        raise BoilError(str(error)) from None
    return {e.name: Tensor(e.dtype, e.shape, b"".join(found[e.owner])) for e in entries}, config
def version1(data: bytes) -> Found:  # config, entries, and the bytes of each that is not tied
    read, entries, found = Reader(data[:-16], 5), [], {}
    check(hashlib.blake2b(read.data, digest_size=16).digest() == data[-16:], WRONG_SUM)
    part = read.take((head := read.varint()) // 2)
    config, *rows = listed(inflated(part, 64 * len(part)) if head % 2 else part, math.inf)
    for row in rows:  # [name, dtype, bytes, *shape] or [name, -1 - i]
        check(type(row) is list and [*map(type, row)] == [str] + [int] * len(row[1:]), BAD_INDEX)
        check(row[2] > 0 <= row[1] if row[2:] else row[1] < 0, f"tensor {row[0]!r} has no payload")
        add(entries, row[0], row[1], row[3:], sum(row[2:3]))
    stored = [entry for entry in entries if entry.size]
    promised, end = sum(e.promised for e in stored), read.at + sum(e.size + 4 for e in stored) + 16
    early = 4 * sum(math.prod(e.shape) for e in stored) if promised <= 1 << 24 else promised
    check(len(data) in [max(end, -(-p // 8192)) for p in (promised, early)], "a wrong length")
    for name, dtype, _, size, _, count, _ in stored:
        payload = Reader(read.take(size))
        check(read.numbers("<I")[0] == zlib.crc32(payload.data), f"tensor {name!r}: {WRONG_SUM}")
        found[name] = [packed(dtype, tensor(payload, dtype, count))]
        check(payload.at == size, f"tensor {name!r}: bytes are left over")
    check(not any(read.data[read.at :]), "the bytes that fill the file are not zero")
    return config, entries, found
def version2(data: bytes, base: Tensors | None) -> Found:  # as version1
    read, crc = Reader(data[5:-4][-9:][::-1]), int.from_bytes(data[-4:], "little")
    length, kind = divmod(read.varint(), 4)
    end, sums, deflated = len(data) - 4 - read.at - length, kind & 2, kind & 1
    check(end >= 5 and (sums or zlib.crc32(data[:-4]) == crc), WRONG_SUM)
    index, common = data[end : end + length], base64.b64decode(DICTIONARY)  # dictionary.bin
    index = inflated(index, 64 * length + 65536, common) if deflated else index
    config, told, names, kinds, *digest = listed(index, 1)
    for items, kind in ((told, int), (names, str), (kinds, int)):
        check(type(items) is list and all(type(item) is kind for item in items), BAD_INDEX)
    entries, pieces, log, row = [], [], told[0] if told else 20, 4 if sums else 3
    sections, kinds = [(*told[i : i + row], 0)[:4] for i in range(1, len(told), row)], kinds[::-1]
    check(10 <= log <= 20 and len(told) % row == bool(told), BAD_INDEX)
    check(bool(told or sums) <= bool(sections) and len(names) <= 1 << 20, BAD_INDEX)
    check(all(0 <= s[0] < 3 and min(s[1:3]) > 0 <= s[3] < 1 << 32 for s in sections), BAD_INDEX)
    check(any(s[0] == 2 for s in sections) == len(digest), BAD_INDEX)
    check(all(type(d) is bytes and index[-18:] == b"\xc4\x10" + d for d in digest), BAD_INDEX)
    for name in names:
        sides = kinds.pop() if (dtype := kinds.pop()) >= 0 else 0
        check(0 <= sides <= 64, f"tensor {name!r} has too many sides")
        add(entries, name, dtype, [kinds.pop() for _ in range(sides)], 1)
    stored, known = [entry for entry in entries if entry.size], hashlib.blake2b(digest_size=16)
    least = max(0, -(-(sum(entry.promised for entry in stored) - (1 << 24)) // 8192))
    check(not kinds and least <= len(data), f"the file has too few bytes: {len(data)}")
    for name, (dtype, shape, part) in sorted((base or {}).items() if digest else ()):
        text, numbers = name.encode("utf-8", "surrogatepass"), [NAMES.index(dtype), len(shape)]
        known.update(b"".join([varint(len(text)), text, *map(varint, [*numbers, *shape]), part]))
    check(not digest or (base is not None and known.digest() == digest[0]), "give its base: --base")
    for entry in stored:  # whole rows, or parts of the only row
        size, rows = entry.count, entry.shape[0] if len(entry.shape) > 1 else 1
        columns = size // rows if 0 < size <= rows << 20 else size
        step = max(1, (1 << log) // columns) * columns if columns < size > 1 << log else 1 << log
        parts = [(start, min(step, size - start)) for start in range(0, size, step)]
        pieces += [(entry, at, Kind(entry.dtype, n, min(columns, n))) for at, n in parts]
    sections = sections or [(1, len(pieces), end - 5, 0)][: len(pieces)]
    at = 5 + sum(section[2] for section in sections)
    check(at <= end and sum(section[1] for section in sections) == len(pieces), BAD_INDEX)
    check(not sums or zlib.crc32(data[at:-4], zlib.crc32(data[:5])) == crc, WRONG_SUM)
    check(data[at:end] == bytes(max(0, least - len(data) + end - at)), "the file is filled wrong")
    found, read, coming = {entry.name: [] for entry in stored}, Reader(data, 5), iter(pieces)
    for kind, count, size, crc in sections:
        part, held = read.take(size), list(islice(coming, count))
        check(not sums or zlib.crc32(part) == crc, f"tensor {held[0][0].name!r}: {WRONG_SUM}")
        most = sum(shape.size * BITS[shape.dtype] // 8 for _, _, shape in held)
        check(count == 1 or all(k.size == e.count and most <= 1 << 22 for e, _, k in held), "mixed")
        check(size <= 4096 + 16 * count + most, "a section has too many bytes")
        plain, mixing = Reader(part), Mixing(part)
        for entry, at, k in held:
            same, n = kind == 2 and base.get(entry.name, "")[:2] == entry[1:3], BITS[k.dtype] // 8
            there = base[entry.name].data[at * n : (at + k.size) * n] if same else None
            words = mixing.words(k, there) if kind else packed(k[0], tensor(plain, *k[:2]))
            found[entry.name].append(words)
        check(mixing.ended() if kind else plain.at == size, "a section does not end as it should")
    return config, entries, found
def varint(value: int) -> bytes:
    return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])
def add(entries: list[Entry], name: str, dtype: int, sides: Ints, size: int) -> None:
    check(dtype < len(NAMES) and len(sides) <= 64 and min(sides, default=0) >= 0, BAD_INDEX)
    check(math.prod(max(side, 1) for side in sides) <= 1 << 48, f"the shape of {name!r} is beyond")
    size_of, numel = DTYPES[NAMES[max(dtype, 0)]][0], math.prod(sides)
    own = NAMES[max(dtype, 0)], tuple(sides), size, name, numel * max(1, size_of // 8)
    entry = Entry(name, *own, numel * max(4, size_of)) if dtype >= 0 else entries[-1 - dtype]
    check(entry.size, f"tensor {name!r} is tied to one that is tied itself")
    entries.append(entry if dtype >= 0 else entry._replace(name=name, size=0))
def inflated(data: bytes, most: int, dictionary: bytes = b"") -> bytes:  # raw deflate, RFC 1951
    plain = (inflate := zlib.decompressobj(-15, zdict=dictionary)).decompress(data, most + 1)
    check(len(plain) <= most and inflate.eof and not inflate.unused_data, "a part inflates wrong")
    return plain
def listed(data: bytes, limited: float) -> list[Any]:  # msgpack's list; how many take up to 1 MiB
    read, items, tag = Reader(data, 1), [], data[0]
    check(tag >> 4 == 9 or tag in (0xDC, 0xDD), "the header is not a list in msgpack")
    for i in range(tag & 15 if tag >> 4 == 9 else read.numbers(MSGPACK[tag])[0]):
        start = read.at
        items.append(unpacked(read, 0))
        check(i >= limited or read.at - start <= 1 << 20, "the header has a part of over 1 MiB")
    check(type(items[0]) in (dict, type(None)) and read.at == len(data), BAD_INDEX)
    return items
def unpacked(read: Reader, depth: int) -> Any:  # the next value of msgpack
    tag = read.take(1)[0]
    check(depth <= 64 and (tag < 0xC0 or tag in ITSELF or tag in MSGPACK), "it is no plain data")
    size = read.numbers(MSGPACK[tag])[0] if tag in MSGPACK else tag & (31 if tag >= 0xA0 else 15)
    if tag in ITSELF or 0xCA <= tag <= 0xD3:
        return ITSELF.get(tag, size)
    if tag >= 0xDC or tag < 0xA0:
        pairs = tag >= 0xDE or tag < 0x90
        items = [unpacked(read, depth + 1) for _ in range(size * (1 + pairs))]
        check(not pairs or all(type(key) is str for key in items[::2]), "a key is not a string")
        return dict(zip(items[::2], items[1::2], strict=True)) if pairs else items
    check(size <= 1 << 20 or tag <= 0xC6, "the header has a name of over 1 MiB")
    return read.take(size) if tag >> 2 == 0x31 else str(read.take(size), "utf-8", "surrogatepass")
def packed(dtype: str, words: Ints) -> bytes:
    return struct.pack(f"<{len(words)}{WORDS[BITS[dtype]]}", *words)
def tensor(read: Reader, dtype: str, size: int, outer: tuple[int, ...] = ()) -> Ints:
    first, bits, part = read.take(1)[0], BITS[dtype], 8 * DTYPES[dtype][1]
    coder, extra = (first, 0) if first % 4 == 1 else (first % 4, first >> 2)
    check(coder < 4 or coder in {*WITHIN} - {*outer}, f"there is no coder {first} of a tensor")
    if coder < 2:
        return dense(read, size, dtype) if coder else values(read, extra, size, dtype)
    if coder < 4:
        return sparse(read, coder, extra, size, dtype)
    if coder == 9:  # steps of blocks, and whole numbers
        length, half, by_sign = (head := read.varint()) // 4, 1 << (15 if head & 2 else 7), head & 1
        check(dtype == "float32" and 2 <= length <= size and size % length == 0, "a grid's blocks")
        steps = tensor(read, dtype, size // length * (1 + by_sign), WITHIN)
        words = tensor(read, "int16" if head & 2 else "int8", size, WITHIN)
        return on_grid(steps, [(word ^ half) - half for word in words], length, by_sign)
    if coder == 13:  # the lowest bytes of all words, then the next, ...; their lowest bit is a sign
        check(bits > 8, f"words are stored as planes, and there are none of {dtype}")
        parts = zip(*[tensor(read, "uint8", size, WITHIN) for _ in range(bits // 8)], strict=True)
        words = (int.from_bytes(word, "little") for word in parts)
        return [word >> 1 | (word & 1) << bits - 1 for word in words]
    data = packed(dtype, tensor(read, dtype, size, (5,)))  # then the signs of zeros
    check(part, f"signs of zeros are stored, and zeros of {dtype} have none")
    form = f"<{8 * len(data) // part}{WORDS[part]}"
    floats = [word or read.bits(1) << part - 1 for word in struct.unpack(form, data)]
    return read.aligned(struct.unpack(f"<{size}{WORDS[bits]}", struct.pack(form, *floats)))
def values(read: Reader, form: int, count: int, dtype: str) -> Ints:  # words, or narrower
    bits, forms = BITS[dtype], {0: WORDS[BITS[dtype]]} | FORMS.get(dtype, {})
    check(form in forms, f"there is no form {form} of values of {dtype}")
    step, stored = read.numbers("<f")[0] if form == 7 else 1, read.numbers(f"<{count}{forms[form]}")
    check(0 < step < math.inf and (dtype != "bool" or max(stored, default=0) < 2), "a bad value")
    if form == 7:
        return [*array("I", array("f", [step * number for number in stored]).tobytes())]
    wide = [widened(word, 8 + 8 * form, bits) for word in stored if form in (1, 3)]
    return wide or [word << 16 if form == 2 else word & (1 << bits) - 1 for word in stored]
def widened(word: int, narrow: int, wide: int) -> int:  # a float; a NaN keeps its bits
    (form, bits), (wider, more) = FLOATS[narrow], FLOATS[wide]
    number = struct.unpack(form, word.to_bytes(narrow // 8, "little"))[0]
    fraction = (word & (1 << bits) - 1) << more - bits | (1 << more - 1 if narrow == 32 else 0)
    nan = ((word >> narrow - 1) + 1 << wide - 1) - (1 << more) | fraction  # quiet, as processors do
    return nan if math.isnan(number) else int.from_bytes(struct.pack(wider, number), "little")
def on_grid(words: Ints, numbers: Ints, length: int, by_sign: int) -> Ints:
    steps, each = array("f", array("I", words).tobytes()), 1 + by_sign  # of a block
    check(all(2.0**-126 <= x < math.inf for x in steps) and max(map(abs, numbers)) < 256, "a grid")
    found = [n * steps[i // length * each + (n >= 0) * by_sign] for i, n in enumerate(numbers)]
    return [*array("I", array("f", found).tobytes())]
def dense(read: Reader, count: int, dtype: str) -> Ints:  # a codebook, and codes
    (form, method), table, free, length = divmod(read.take(1)[0], 16), [], 1, 0
    while method == 1 and free:  # how many codes have 0, 1, 2, ... bits
        table += [length] * (most := read.bits(free.bit_length()))
        check(length <= LONGEST and most <= free and len(table) <= 65536, "too many codes")
        free, length = (free - most) * 2, length + 1
    size = len(read.aligned(table)) or read.varint()
    check(1 <= size <= (65536, 65536, 1024)[method], f"a codebook has {size} values")
    if method == 2:  # frequencies
        table = [4096 - below for below in accumulate(read.varint() for _ in range(size))]
        check(table[-1] > 0 and sum(table) == 4096, "frequencies do not make up 4096")
    table = table or [(size - 1).bit_length()] * (1 << (size - 1).bit_length())
    book = values(read, form, size, dtype)
    if method < 2 or count == 0:
        return [book[code] for code in symbols(read, table, count)] if count else []
    most, found, states = read.at + 16 + 2 * count, [], list(read.numbers("<4I"))
    table = [(s, part, inside) for s, part in enumerate(table) for inside in range(part)]
    for i in range(-(-count // 4) * 4):  # four streams take turns
        symbol, part, inside = table[states[i % 4] & 4095]
        state = part * (states[i % 4] >> 12) + inside
        states[i % 4] = state << 16 | read.numbers("<H")[0] if state < 65536 else state
        found.append(book[symbol])
    check(read.at <= most and states == [65536] * 4, "a stream does not end as it began")
    return found[:count]
def sparse(read: Reader, coder: int, extra: int, size: int, dtype: str) -> Ints:
    filler, method, count = (2 << (extra & 7)) - 1, extra >> 3, read.varint()
    check(1 <= count <= size and method < 2, f"{count} gaps, coded by method {method}")
    lengths, last, words = [] if method else [(extra & 7) + 1] * (filler + 1), 1, []
    while len(lengths) <= filler:  # by differences, and runs of symbols without a code
        kind = read.bits(1) and 4 + read.bits(2)  # 4 grows, 5 falls, 6 a run, 7 anew
        last = read.bits(5) if kind == 7 else last + {4: 1, 5: -1}.get(kind, 0)
        run = 1 << (n := len([*iter(lambda: read.bits(1), 1)])) | read.bits(n) if kind == 6 else 0
        check(len(lengths) + run <= filler + 1 and (run or 1 <= last <= LONGEST), "a wrong table")
        lengths += [0] * run or [last]
    check((gaps := symbols(read, read.aligned(lengths), count))[-1] < filler, "a gap ends nowhere")
    count, form = count - gaps.count(filler), read.take(1)[0] if coder == 2 else 0
    coming = iter(values(read, form, count, dtype) if coder == 2 else dense(read, count, dtype))
    for gap in gaps:
        words += [0] * gap if gap == filler else [*[0] * gap, next(coming)]
        check(len(words) <= size, f"the positions lead past the end of {size} elements")
    return words + [0] * (size - len(words))
def symbols(read: Reader, lengths: Ints, count: int) -> Ints:  # of a canonical prefix code
    children, found = code_of(lengths)[0] if lengths != [0] else [], [0] * count
    for i in range(count if children else 0):
        node = 0
        while node >= 0:
            node = children[2 * node + read.bits(1)]
        found[i] = -1 - node
    return read.aligned(found)
def code_of(lengths: Ints) -> tuple[Ints, Ints]:  # each node's children, -1 - symbol for leaves
    parts = [1 << 24 - n if 0 < n <= LONGEST else -(n > 0) for n in lengths]
    check(sum(parts) == 1 << 24 and -1 not in parts, "the lengths of codes belong to no code")
    children, nodes, inner = [], 1, 1
    for length in range(1, max(lengths) + 1):
        leaves = [-1 - symbol for symbol, bits in enumerate(lengths) if bits == length]
        inner = 2 * inner - len(leaves)
        children += [*leaves, *range(nodes, nodes := nodes + inner)]
    starts = zip(accumulate(parts, initial=0), parts, strict=False)  # then the symbols' levels
    return children, [(below + part // 2 >> 12) << 4 for below, part in starts]
STRETCH = [round(256 * math.log((i + 0.5) / (4095.5 - i))) for i in range(4096)]
SQUASH = [min(max(round(65536 / (1 + math.exp(-x / 256))), 1), 65535) for x in range(-2815, 2816)]
RATE, AGE = [655360 // (10 * n + 16) for n in range(1001)], [0, 1, *[2] * 14, 3]
FORM, SIGNED, ZERO, CODED, SHAPE, LIVE, ALIVE, TURNED, ALONE, BY_SIGN = range(0, 160, 16)
SIZE, DROP, WIDTH, FIRST, LENGTH, KEYS = range(160, 481, 64)  # places of counters
LENGTHS, COUNTERS, UNKNOWN = 608, 1472, 1 << 31  # a counter: 22 bits of chance, 10 of its moves
PARTS = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}
ARRAYS = {1: NAMES[:4], 5: [name for name in NAMES if "int" in name], 6: NAMES[:1]}  # of forms
FLIPS = {name: 1 << BITS[name] - 1 for name in NAMES if DTYPES[name][1]}  # where a key ends in 1
FLIPS |= {name: (1 << BITS[name]) - 1 for name in NAMES if name[0] == "i"}
class Mixing:  # reads arrays: decisions from a stream's front, bits as they are from its end
    def __init__(self, data: bytes) -> None:
        self.data, self.padded, self.at, self.used = data, data + bytes(4), 4, 0
        self.low, self.high, self.value = 0, 0xFFFFFFFF, int.from_bytes(self.padded[:4], "big")
        self.counters, self.weights = [UNKNOWN] * COUNTERS, [[10486] * 6 for _ in range(64)]
    def ending(self) -> bytes:  # the fewest bytes after which the interval is known
        sizes = [n for n in (32, 24, 16, 8, 0) if 1 - (-self.low >> n) << n <= self.high + 1]
        return (-(-self.low >> sizes[0])).to_bytes(4 - sizes[0] // 8, "big")
    def ended(self) -> bool:
        middle = self.data[self.at - 4 : len(self.data) + -self.used // 8]
        return middle == self.ending() and self.plain(-self.used % 8) == 0
    def decide(self, chance: int) -> int:  # a decision that is 1 in `chance` of 65536 cases
        bit = int(self.value <= (middle := self.low + ((self.high - self.low) * chance >> 16)))
        self.low, self.high = (self.low, middle) if bit else (middle + 1, self.high)
        while self.low ^ self.high < 1 << 24:
            self.low, self.high = self.low << 8 & 0xFFFFFFFF, self.high << 8 & 0xFFFFFFFF | 255
            byte, self.at = self.padded[self.at], self.at + 1
            self.value = self.value << 8 & 0xFFFFFFFF | byte
        return bit
    def counted(self, place: int) -> int:  # a decision by its counter
        bit = self.decide(max((counter := self.counters[place]) >> 16, 1))
        self.counters[place] = renewed(counter, bit, 250)
        return bit
    def small(self, place: int, most: int) -> int:  # a number from 0 to `most`
        return next((i for i in range(most) if not self.counted(place + i)), most)
    def tree(self, place: int, bits: int) -> int:  # a number of so many bits
        node = 1
        for _ in range(bits):
            node = node << 1 | self.counted(place + node)
        return node - (1 << bits)
    def number(self, place: int) -> int:  # a number below 2^63
        length = self.tree(place, 6)
        return sum([self.decide(32768) << i for i in range(length - 2, -1, -1)], 1 << length >> 1)
    def plain(self, width: int) -> int:  # so many bits as they are, the lowest first
        at, self.used = self.used, self.used + width
        check(self.used <= 8 * len(self.data), "a stream is cut short")
        part = self.data[len(self.data) + -self.used // 8 : len(self.data) - at // 8]
        return int.from_bytes(part, "big") >> at % 8 & (1 << width) - 1
    def words(self, kind: Kind, base: bytes | None) -> bytes:  # of complex ones each is two floats
        part = PARTS.get(kind.dtype, kind.dtype)
        times, top = BITS[kind.dtype] // BITS[part], BITS[part] - 1
        signs = DTYPES[part][1] and self.small(SIGNED, 1)
        keys = self.keys(Kind(part, kind.size * times, kind.columns * times), 8, base)
        words = [self.plain(1) << top if signs and k == 0 else unfolded(k, part) for k in keys]
        check(part != "bool" or max(words) < 2, "a bool is neither 0 nor 1")
        return packed(part, words)
    def keys(self, kind: Kind, most: int, base: bytes | None = None) -> Ints:  # in some forms
        form, bits = self.small(FORM, 8), BITS[kind.dtype]
        check(form < most and kind.dtype in ARRAYS.get(form, NAMES), f"form {form} is not allowed")
        return [self.codebook, self.floats, self.integers,
                lambda *_: [self.plain(bits) for _ in range(kind.size)], self.deflated,
                self.differences, self.grid, self.differences][form](kind, bits, form == 7, base)
    def codebook(self, kind: Kind, bits: int, *_: Any) -> Ints:  # rising keys, and symbols
        size, drop = self.number(SIZE) + 1, self.number(DROP) if DTYPES[kind.dtype][1] else 0
        check(size <= min(1024, kind.size) and drop < bits, f"a codebook has {size} values")
        steps = [self.number(KEYS + (64 if i else 0)) + 1 for i in range(size)]
        book = [(key - 1 >> 1) << drop + 1 | key - 1 & 1 for key in accumulate(steps)]
        check(sum(steps) <= min(1 << bits - drop, 1 << 62), "a codebook's value has too many bits")
        return [book[symbol] for symbol in self.matrix(kind.size, kind.columns, size)]
    def floats(self, kind: Kind, bits: int, *_: Any) -> Ints:  # exponents, signs and mantissas
        drop, low, coded = self.number(DROP), self.number(WIDTH), self.small(CODED, 6)
        zeros, least, span = self.small(ZERO, 1), self.number(FIRST), self.number(SIZE) + 1
        check(drop + low < bits - 1 and 8 * coded <= low and span <= 1024, "mantissas are too long")
        check(least + span - zeros <= 1 << bits - 1 - drop - low, "exponents are too large")
        heads, keys = self.matrix(kind.size, kind.columns, span), [0] * kind.size
        places = [place for place, head in enumerate(heads) if head >= zeros]
        parts = [self.matrix(len(places), len(places), 256) for _ in range(coded)]
        for i, place in enumerate(places):
            rest, head = self.plain(low - 8 * coded + 1), heads[place] + least - zeros
            below = rest >> 1 << 8 * coded | int.from_bytes([part[i] for part in parts], "little")
            keys[place] = (head << low | below) << drop + 1 | rest & 1
        return keys
    def integers(self, kind: Kind, bits: int, *_: Any) -> Ints:  # the highest bits, then the others
        fine, size, keys = self.small(CODED, 3), self.number(SIZE) + 1, []
        check(size <= (bits - fine + 1) << fine, f"integers of {size} kinds")
        for symbol in self.matrix(kind.size, kind.columns, size):
            width = max((symbol >> fine) - 1, 0)
            head = symbol & (1 << fine) - 1 | 1 << fine if width else symbol
            keys.append(head << width | self.plain(width))
        return keys
    def deflated(self, kind: Kind, bits: int, *_: Any) -> Ints:  # the lowest bytes, the next, ...
        turned, length, size = self.small(TURNED, 1), self.number(LENGTH), kind.size
        check(length <= len(self.data), "a stream is cut short")
        found = inflated(bytes(self.plain(8) for _ in range(length)), size * bits // 8)
        check(len(found) == size * bits // 8, "an array does not inflate to its size")
        keys = [int.from_bytes(found[i::size], "little") for i in range(size)]
        rows = size // kind.columns if turned else 1
        return [key for row in range(rows) for key in keys[row::rows]]
    def differences(self, kind: Kind, bits: int, to_base: bool, base: bytes | None) -> Ints:
        steps = [k >> 1 ^ -(k & 1) for k in self.keys(kind._replace(dtype=f"uint{bits}"), 5)]
        if not to_base:  # but to the word before
            return [folded(word & (1 << bits) - 1, kind.dtype) for word in accumulate(steps)]
        half = 1 << bits - 1 if DTYPES[kind.dtype][1] else 0  # floats in order: -0.0 is -1
        words = struct.unpack(f"<{kind.size}{WORDS[bits]}", base or b"")
        ranks = [word ^ (half - 1) * (word & half > 0) for word in words]
        ranks = [rank + step & (1 << bits) - 1 for rank, step in zip(ranks, steps, strict=True)]
        return [folded(rank ^ (half - 1) * (rank & half > 0), kind.dtype) for rank in ranks]
    def grid(self, kind: Kind, bits: int, *_: Any) -> Ints:  # steps of blocks, and whole numbers
        length, by_sign = self.number(LENGTH), self.small(BY_SIGN, 1)
        check(length > 1 and kind.size % length == 0, f"blocks of {length} make no {kind.size}")
        count = kind.size // length * (1 + by_sign)
        steps = [unfolded(key, "float32") for key in self.keys(Kind("float32", count, count), 6)]
        numbers = [key >> 1 ^ -(key & 1) for key in self.keys(kind._replace(dtype="int16"), 6)]
        return [folded(word, "float32") for word in on_grid(steps, numbers, length, by_sign)]
    def matrix(self, count: int, columns: int, size: int) -> Ints:  # of symbols below `size`
        axes = [range(count // columns), range(columns)] if size > 1 and count else [(), ()]
        for axis in (0, 1) if len(axes[0]) > 1 and self.small(LIVE, 1) else ():
            flags, at = [0, 0, 0], ALIVE + 8 * axis
            for _ in axes[axis]:
                flags.append(self.counted(at + 4 * flags[-3] + 2 * flags[-2] + flags[-1]))
            axes[axis] = [i for i, flag in enumerate(flags[3:]) if flag]
        turned, found = min(map(len, axes)) > 1 and self.small(TURNED, 1), {}
        outer, inner = axes[::-1] if turned else axes
        if outer and inner:
            alone, shape = self.small(ALONE, 1), self.small(SHAPE, 2) if size > 2 else 0
            bits, lengths = (size - shape - 1).bit_length(), [0]
            for _ in range(size if shape == 2 else 0):
                lengths.append(self.tree(LENGTHS + 32 * min(lengths[-1], 26), 5))
            short = (1 << bits) - size + shape  # symbols whose codes are shorter by a bit
            even = [1] * shape + [shape + bits - (i < short) for i in range(size - shape)]
            code = code_of(lengths[1:] if shape == 2 else even)
            places = [j * columns + i if turned else i * columns + j for i in outer for j in inner]
            found = dict(zip(places, self.plane(len(outer), len(inner), *code, alone), strict=True))
        return [found.get(place, 0) for place in range(count)]
    def plane(self, rows: int, columns: int, code: Ints, levels: Ints, alone: int) -> Ints:
        nodes, top = len(code) // 2, 0 if rows == 1 else min(4, len(code) // 2)
        others = 2 * nodes + columns * top  # each column has counters for some nodes
        counters, found = array("I", [UNKNOWN]) * (others + 577 * nodes), []
        means, seen, overall, mean = [0] * columns, [0] * columns, 32768, 32768
        for at in range(rows * columns):
            column, kept, node = at % columns, at % columns if rows > 1 else 0, 0
            if column == 0 and not alone:
                mean, counters[nodes : 2 * nodes] = overall, array("I", [UNKNOWN]) * nodes
            other = means[kept] if seen[kept] else overall
            left, far = (levels[found[-i]] >> 13 if column >= i else 0 for i in (1, 2))
            third = others + nodes + (at >= columns and levels[found[-columns]] >> 13 << 3) + left
            fourth = others + 65 * nodes + (mean >> 12) * 16 + (other >> 12)
            fifth = others + 321 * nodes + (mean + other >> 12) * 8 + far
            age = 4 * AGE[min(column, 16)] + AGE[min(seen[kept], 16)]
            while node >= 0:  # of the symbol's code
                second = 2 * nodes + column * top if node < top else others
                places = [node, nodes + node, second + node,
                          third + 64 * node, fourth + 256 * node, fifth + 256 * node]
                weights, chance = self.weights[min(node, 3) * 16 + age], counters[node] >> 16
                inputs = [STRETCH[counters[place] >> 20] for place in places]
                total = sum([x * weight for x, weight in zip(inputs, weights, strict=True)]) >> 16
                mixed = SQUASH[min(max(total, -2815), 2815) + 2815]
                bit = self.decide(max(chance, 1) if alone else mixed)
                error = 0 if alone else ((bit << 16) - mixed) * 3
                for i, place in enumerate(places[:1] if alone else places):
                    weights[i] += inputs[i] * error + 131072 >> 18
                    counters[place] = renewed(counters[place], bit, 1000)
                node = code[2 * node + bit]
            found.append(-1 - node)
            mean += ((level := levels[-1 - node]) - mean) * RATE[min(column, 100)] >> 16
            means[kept] = other + ((level - other) * RATE[min(seen[kept], 100)] >> 16)
            overall += (level - overall) * RATE[min(at, 1000)] >> 16
            seen[kept] += 1
        return found
def renewed(counter: int, bit: int, most: int) -> int:  # a counter after a decision
    seen, chance = counter & 1023, counter >> 10
    return chance + (((bit << 22) - chance) * RATE[seen] >> 16) << 10 | min(seen + 1, most)
def folded(word: int, dtype: str) -> int:  # as a key: the sign lowest, or integers in zigzag
    top, flip = word >> BITS[dtype] - 1, FLIPS.get(dtype)
    return (word ^ top * flip) << 1 | top if flip else word
def unfolded(key: int, dtype: str) -> int:
    return key >> 1 ^ (key & 1) * FLIPS[dtype] if dtype in FLIPS else key
def main(given: list[str] | None = None) -> None:  # lists the tensors of a file, and writes them
    parser = argparse.ArgumentParser(description="Read a model.boil without boildown.")
    parser.add_argument("file", type=Path)
    parser.add_argument("-o", "--out", type=Path, help="an .npz (takes numpy), or a directory")
    parser.add_argument("--base", type=Path, help="the file that this one is relative to")
    args = parser.parse_args(given)
    try:
        base = decode(args.base.read_bytes())[0] if args.base else None
        tensors, config = decode(args.file.read_bytes(), base)
        for name, (dtype, shape, data) in tensors.items():
            print(json.dumps(name), dtype, list(shape), len(data), sep="\t")
        print("config", json.dumps(config, default=bytes.hex), sep="\t")
        if args.out is not None and args.out.suffix == ".npz":
            import numpy as np
            with zipfile.ZipFile(args.out, "w") as archive:
                for name, (dtype, shape, data) in tensors.items():  # bits where it has no dtype
                    kind = np.dtype(dtype if hasattr(np, dtype) else f"u{DTYPES[dtype][0]}")
                    values = np.frombuffer(data, kind.newbyteorder("<")).reshape(shape)
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, values)
        elif args.out is not None:
            args.out.mkdir(parents=True, exist_ok=True)
            index = {"config": config, "tensors": (rows := [])}
            for i, (name, (dtype, shape, data)) in enumerate(tensors.items()):
                (args.out / f"{i}.bin").write_bytes(data)  # a stranger's name is no path
                rows.append({"name": name, "dtype": dtype, "shape": shape, "file": f"{i}.bin"})
            (args.out / "index.json").write_text(json.dumps(index, indent=1, default=bytes.hex))
    except (BoilError, OSError, ImportError) as error:
        raise SystemExit(f"boil.py: {error}") from None
DICTIONARY = "lMCQ3AAX2SFlbWJlZGRpbmdzLndvcmRfZW1iZWRkaW5ncy53ZWlnaHTZJWVtYmVkZGluZ3MucG9zaXRpb25fZW1iZWRkaW5ncy53ZWlnaHTZJ2VtYmVkZGluZ3MudG9rZW5fdHlwZV9lbWJlZGRpbmdzLndlaWdodLtlbWJlZGRpbmdzLkxheWVyTm9ybS53ZWlnaHS5ZW1iZWRkaW5ncy5MYXllck5vcm0uYmlhc9krZW5jb2Rlci5sYXllci4wLmF0dGVudGlvbi5zZWxmLnF1ZXJ5LndlaWdodNkpZW5jb2Rlci5sYXllci4wLmF0dGVudGlvbi5zZWxmLnF1ZXJ5LmJpYXPZKWVuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24uc2VsZi5rZXkud2VpZ2h02SdlbmNvZGVyLmxheWVyLjAuYXR0ZW50aW9uLnNlbGYua2V5LmJpYXPZK2VuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24uc2VsZi52YWx1ZS53ZWlnaHTZKWVuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24uc2VsZi52YWx1ZS5iaWFz2S1lbmNvZGVyLmxheWVyLjAuYXR0ZW50aW9uLm91dHB1dC5kZW5zZS53ZWlnaHTZK2VuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24ub3V0cHV0LmRlbnNlLmJpYXPZMWVuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24ub3V0cHV0LkxheWVyTm9ybS53ZWlnaHTZL2VuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24ub3V0cHV0LkxheWVyTm9ybS5iaWFz2SllbmNvZGVyLmxheWVyLjAuaW50ZXJtZWRpYXRlLmRlbnNlLndlaWdodNknZW5jb2Rlci5sYXllci4wLmludGVybWVkaWF0ZS5kZW5zZS5iaWFz2SNlbmNvZGVyLmxheWVyLjAub3V0cHV0LmRlbnNlLndlaWdodNkhZW5jb2Rlci5sYXllci4wLm91dHB1dC5kZW5zZS5iaWFz2SdlbmNvZGVyLmxheWVyLjAub3V0cHV0LkxheWVyTm9ybS53ZWlnaHTZJWVuY29kZXIubGF5ZXIuMC5vdXRwdXQuTGF5ZXJOb3JtLmJpYXOzcG9vbGVyLmRlbnNlLndlaWdodLFwb29sZXIuZGVuc2UuYmlhc9wAXAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAlMCQ3AARtnRyYW5zZm9ybWVyLnd0ZS53ZWlnaHS2dHJhbnNmb3JtZXIud3BlLndlaWdodLt0cmFuc2Zvcm1lci5oLjAubG5fMS53ZWlnaHS5dHJhbnNmb3JtZXIuaC4wLmxuXzEuYmlhc9kidHJhbnNmb3JtZXIuaC4wLmF0dG4uY19hdHRuLndlaWdodNkgdHJhbnNmb3JtZXIuaC4wLmF0dG4uY19hdHRuLmJpYXPZInRyYW5zZm9ybWVyLmguMC5hdHRuLmNfcHJvai53ZWlnaHTZIHRyYW5zZm9ybWVyLmguMC5hdHRuLmNfcHJvai5iaWFzu3RyYW5zZm9ybWVyLmguMC5sbl8yLndlaWdodLl0cmFuc2Zvcm1lci5oLjAubG5fMi5iaWFzv3RyYW5zZm9ybWVyLmguMC5tbHAuY19mYy53ZWlnaHS9dHJhbnNmb3JtZXIuaC4wLm1scC5jX2ZjLmJpYXPZIXRyYW5zZm9ybWVyLmguMC5tbHAuY19wcm9qLndlaWdodL90cmFuc2Zvcm1lci5oLjAubWxwLmNfcHJvai5iaWFzt3RyYW5zZm9ybWVyLmxuX2Yud2VpZ2h0tXRyYW5zZm9ybWVyLmxuX2YuYmlhc65sbV9oZWFkLndlaWdodNwARAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAlMCQm7ltb2RlbC5lbWJlZF90b2tlbnMud2VpZ2h02SZtb2RlbC5sYXllcnMuMC5zZWxmX2F0dG4ucV9wcm9qLndlaWdodNkmbW9kZWwubGF5ZXJzLjAuc2VsZl9hdHRuLmtfcHJvai53ZWlnaHTZJm1vZGVsLmxheWVycy4wLnNlbGZfYXR0bi52X3Byb2oud2VpZ2h02SZtb2RlbC5sYXllcnMuMC5zZWxmX2F0dG4ub19wcm9qLndlaWdodNkjbW9kZWwubGF5ZXJzLjAubWxwLmdhdGVfcHJvai53ZWlnaHTZIW1vZGVsLmxheWVycy4wLm1scC51cF9wcm9qLndlaWdodNkjbW9kZWwubGF5ZXJzLjAubWxwLmRvd25fcHJvai53ZWlnaHTZJW1vZGVsLmxheWVycy4wLmlucHV0X2xheWVybm9ybS53ZWlnaHTZLm1vZGVsLmxheWVycy4wLnBvc3RfYXR0ZW50aW9uX2xheWVybm9ybS53ZWlnaHSxbW9kZWwubm9ybS53ZWlnaHTcACwAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQJTAkNwAGqxjb252MS53ZWlnaHSqYm4xLndlaWdodKhibjEuYmlhc7BibjEucnVubmluZ19tZWFur2JuMS5ydW5uaW5nX3ZhcrdibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjEuMC5jb252MS53ZWlnaHSzbGF5ZXIxLjAuYm4xLndlaWdodLFsYXllcjEuMC5ibjEuYmlhc7lsYXllcjEuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMS4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIxLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIxLjAuY29udjIud2VpZ2h0s2xheWVyMS4wLmJuMi53ZWlnaHSxbGF5ZXIxLjAuYm4yLmJpYXO5bGF5ZXIxLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjEuMC5ibjIucnVubmluZ192YXLZIGxheWVyMS4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VkvGxheWVyMi4wLmRvd25zYW1wbGUuMC53ZWlnaHS8bGF5ZXIyLjAuZG93bnNhbXBsZS4xLndlaWdodLpsYXllcjIuMC5kb3duc2FtcGxlLjEuYmlhc9kibGF5ZXIyLjAuZG93bnNhbXBsZS4xLnJ1bm5pbmdfbWVhbtkhbGF5ZXIyLjAuZG93bnNhbXBsZS4xLnJ1bm5pbmdfdmFy2SlsYXllcjIuMC5kb3duc2FtcGxlLjEubnVtX2JhdGNoZXNfdHJhY2tlZKlmYy53ZWlnaHSnZmMuYmlhc9wAaAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAlISoX3RhcmdldF/ZJWJvaWxkb3duLm1vZGVscy5zcXVlZXplbmV0LlNxdWVlemVOZXSnZHJvcG91dMs/4AAAAAAAAKtpbnB1dF9zaGFwZZMDzODM4KtudW1fY2xhc3Nlc80D6JDcADSsY29udjEud2VpZ2h0qmNvbnYxLmJpYXO3ZmlyZTIuc3F1ZWV6ZTF4MS53ZWlnaHS1ZmlyZTIuc3F1ZWV6ZTF4MS5iaWFztmZpcmUyLmV4cGFuZDF4MS53ZWlnaHS0ZmlyZTIuZXhwYW5kMXgxLmJpYXO2ZmlyZTIuZXhwYW5kM3gzLndlaWdodLRmaXJlMi5leHBhbmQzeDMuYmlhc7dmaXJlMy5zcXVlZXplMXgxLndlaWdodLVmaXJlMy5zcXVlZXplMXgxLmJpYXO2ZmlyZTMuZXhwYW5kMXgxLndlaWdodLRmaXJlMy5leHBhbmQxeDEuYmlhc7ZmaXJlMy5leHBhbmQzeDMud2VpZ2h0tGZpcmUzLmV4cGFuZDN4My5iaWFzt2ZpcmU0LnNxdWVlemUxeDEud2VpZ2h0tWZpcmU0LnNxdWVlemUxeDEuYmlhc7ZmaXJlNC5leHBhbmQxeDEud2VpZ2h0tGZpcmU0LmV4cGFuZDF4MS5iaWFztmZpcmU0LmV4cGFuZDN4My53ZWlnaHS0ZmlyZTQuZXhwYW5kM3gzLmJpYXO3ZmlyZTUuc3F1ZWV6ZTF4MS53ZWlnaHS1ZmlyZTUuc3F1ZWV6ZTF4MS5iaWFztmZpcmU1LmV4cGFuZDF4MS53ZWlnaHS0ZmlyZTUuZXhwYW5kMXgxLmJpYXO2ZmlyZTUuZXhwYW5kM3gzLndlaWdodLRmaXJlNS5leHBhbmQzeDMuYmlhc7dmaXJlNi5zcXVlZXplMXgxLndlaWdodLVmaXJlNi5zcXVlZXplMXgxLmJpYXO2ZmlyZTYuZXhwYW5kMXgxLndlaWdodLRmaXJlNi5leHBhbmQxeDEuYmlhc7ZmaXJlNi5leHBhbmQzeDMud2VpZ2h0tGZpcmU2LmV4cGFuZDN4My5iaWFzt2ZpcmU3LnNxdWVlemUxeDEud2VpZ2h0tWZpcmU3LnNxdWVlemUxeDEuYmlhc7ZmaXJlNy5leHBhbmQxeDEud2VpZ2h0tGZpcmU3LmV4cGFuZDF4MS5iaWFztmZpcmU3LmV4cGFuZDN4My53ZWlnaHS0ZmlyZTcuZXhwYW5kM3gzLmJpYXO3ZmlyZTguc3F1ZWV6ZTF4MS53ZWlnaHS1ZmlyZTguc3F1ZWV6ZTF4MS5iaWFztmZpcmU4LmV4cGFuZDF4MS53ZWlnaHS0ZmlyZTguZXhwYW5kMXgxLmJpYXO2ZmlyZTguZXhwYW5kM3gzLndlaWdodLRmaXJlOC5leHBhbmQzeDMuYmlhc7dmaXJlOS5zcXVlZXplMXgxLndlaWdodLVmaXJlOS5zcXVlZXplMXgxLmJpYXO2ZmlyZTkuZXhwYW5kMXgxLndlaWdodLRmaXJlOS5leHBhbmQxeDEuYmlhc7ZmaXJlOS5leHBhbmQzeDMud2VpZ2h0tGZpcmU5LmV4cGFuZDN4My5iaWFzrWNvbnYxMC53ZWlnaHSrY29udjEwLmJpYXPcAOoABGADBwcAAWAABBBgAQEAARAABEAQAQEAAUAABEAQAwMAAUAABBDMgAEBAAEQAARAEAEBAAFAAARAEAMDAAFAAAQgzIABAQABIAAEzIAgAQEAAcyAAATMgCADAwABzIAABCDNAQABAQABIAAEzIAgAQEAAcyAAATMgCADAwABzIAABDDNAQABAQABMAAEzMAwAQEAAczAAATMwDADAwABzMAABDDNAYABAQABMAAEzMAwAQEAAczAAATMwDADAwABzMAABEDNAYABAQABQAAEzQEAQAEBAAHNAQAABM0BAEADAwABzQEAAARAzQIAAQEAAUAABM0BAEABAQABzQEAAATNAQBAAwMAAc0BAAAEzQPozQIAAQEAAc0D6JSEqF90YXJnZXRfuWJvaWxkb3duLm1vZGVscy52Z2cuVkdHMTanZHJvcG91dMs/4AAAAAAAAKtpbnB1dF9zaGFwZZMDzODM4KtudW1fY2xhc3Nlc80D6JDcACCuY29udjFfMS53ZWlnaHSsY29udjFfMS5iaWFzrmNvbnYxXzIud2VpZ2h0rGNvbnYxXzIuYmlhc65jb252Ml8xLndlaWdodKxjb252Ml8xLmJpYXOuY29udjJfMi53ZWlnaHSsY29udjJfMi5iaWFzrmNvbnYzXzEud2VpZ2h0rGNvbnYzXzEuYmlhc65jb252M18yLndlaWdodKxjb252M18yLmJpYXOuY29udjNfMy53ZWlnaHSsY29udjNfMy5iaWFzrmNvbnY0XzEud2VpZ2h0rGNvbnY0XzEuYmlhc65jb252NF8yLndlaWdodKxjb252NF8yLmJpYXOuY29udjRfMy53ZWlnaHSsY29udjRfMy5iaWFzrmNvbnY1XzEud2VpZ2h0rGNvbnY1XzEuYmlhc65jb252NV8yLndlaWdodKxjb252NV8yLmJpYXOuY29udjVfMy53ZWlnaHSsY29udjVfMy5iaWFzqmZjNi53ZWlnaHSoZmM2LmJpYXOqZmM3LndlaWdodKhmYzcuYmlhc6pmYzgud2VpZ2h0qGZjOC5iaWFz3ACKAARAAwMDAAFAAARAQAMDAAFAAATMgEADAwABzIAABMyAzIADAwABzIAABM0BAMyAAwMAAc0BAAAEzQEAzQEAAwMAAc0BAAAEzQEAzQEAAwMAAc0BAAAEzQIAzQEAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAACzRAAzWIAAAHNEAAAAs0QAM0QAAABzRAAAALNA+jNEAAAAc0D6JSEqF90YXJnZXRfv2JvaWxkb3duLm1vZGVscy5hbGV4bmV0LkFsZXhOZXSnZHJvcG91dMs/4AAAAAAAAKtpbnB1dF9zaGFwZZMDzOPM46tudW1fY2xhc3Nlc80D6JDcABCsY29udjEud2VpZ2h0qmNvbnYxLmJpYXOsY29udjIud2VpZ2h0qmNvbnYyLmJpYXOsY29udjMud2VpZ2h0qmNvbnYzLmJpYXOsY29udjQud2VpZ2h0qmNvbnY0LmJpYXOsY29udjUud2VpZ2h0qmNvbnY1LmJpYXOqZmM2LndlaWdodKhmYzYuYmlhc6pmYzcud2VpZ2h0qGZjNy5iaWFzqmZjOC53ZWlnaHSoZmM4LmJpYXPcAEIABGADCwsAAWAABM0BADAFBQABzQEAAATNAYDNAQADAwABzQGAAATNAYDMwAMDAAHNAYAABM0BAMzAAwMAAc0BAAACzRAAzSQAAAHNEAAAAs0QAM0QAAABzRAAAALNA+jNEAAAAc0D6JSDqF90YXJnZXRf2SZib2lsZG93bi5sb3dyYW5rLmZhY3Rvcml6ZS5yZXN0cnVjdHVyZaVtb2RlbIOoX3RhcmdldF++Ym9pbGRvd24ubW9kZWxzLmxlbmV0LkxlTmV0MzAwq2lucHV0X3NoYXBlkwEICKtudW1fY2xhc3Nlcwqpc3RydWN0dXJlgqNmYzGCpnNjaGVtZaZsaW5lYXKkcmFuay+jZmMygqZzY2hlbWWmbGluZWFypHJhbmsQkJisZmMxLnYud2VpZ2h0rGZjMS51LndlaWdodKpmYzEudS5iaWFzrGZjMi52LndlaWdodKxmYzIudS53ZWlnaHSqZmMyLnUuYmlhc6pmYzMud2VpZ2h0qGZjMy5iaWFz3AAdAAIvQAACzQEsLwABzQEsAAIQzQEsAAJkEAABZAACCmQAAQqUiKhfdGFyZ2V0X9kgYm9pbGRvd24ubW9kZWxzLnRyYW5zZm9ybWVyLkJFUlSld2lkdGjMgKVkZXB0aAKlaGVhZHPApHRpZWTCp2Ryb3BvdXTLAAAAAAAAAACraW5wdXRfc2hhcGWRQKtudW1fY2xhc3Nlc80BAJDcABCsZW1iZWQud2VpZ2h0r3Bvc2l0aW9uLndlaWdodLVibG9ja3MuMC5ub3JtMS53ZWlnaHSzYmxvY2tzLjAucWt2LndlaWdodLNibG9ja3MuMC5vdXQud2VpZ2h0tWJsb2Nrcy4wLm5vcm0yLndlaWdodLJibG9ja3MuMC51cC53ZWlnaHS0YmxvY2tzLjAuZG93bi53ZWlnaHS1YmxvY2tzLjEubm9ybTEud2VpZ2h0s2Jsb2Nrcy4xLnFrdi53ZWlnaHSzYmxvY2tzLjEub3V0LndlaWdodLVibG9ja3MuMS5ub3JtMi53ZWlnaHSyYmxvY2tzLjEudXAud2VpZ2h0tGJsb2Nrcy4xLmRvd24ud2VpZ2h0q25vcm0ud2VpZ2h0q2hlYWQud2VpZ2h03AA7AALNAQHMgAACQMyAAAHMgAACzQGAzIAAAsyAzIAAAcyAAALNAgDMgAACzIDNAgAAAcyAAALNAYDMgAACzIDMgAABzIAAAs0CAMyAAALMgM0CAAABzIAAAs0BAMyAlIWoX3RhcmdldF+9Ym9pbGRvd24ubW9kZWxzLnJlc25ldC5SZXNOZXSld2lkdGgQpWRlcHRoCKtpbnB1dF9zaGFwZZMBCAirbnVtX2NsYXNzZXMKkNwALKxjb252MS53ZWlnaHSqYm4xLndlaWdodKhibjEuYmlhc7BibjEucnVubmluZ19tZWFur2JuMS5ydW5uaW5nX3ZhcrdibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjEuMC5jb252MS53ZWlnaHSzbGF5ZXIxLjAuYm4xLndlaWdodLFsYXllcjEuMC5ibjEuYmlhc7lsYXllcjEuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMS4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIxLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIxLjAuY29udjIud2VpZ2h0s2xheWVyMS4wLmJuMi53ZWlnaHSxbGF5ZXIxLjAuYm4yLmJpYXO5bGF5ZXIxLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjEuMC5ibjIucnVubmluZ192YXLZIGxheWVyMS4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMi4wLmNvbnYxLndlaWdodLNsYXllcjIuMC5ibjEud2VpZ2h0sWxheWVyMi4wLmJuMS5iaWFzuWxheWVyMi4wLmJuMS5ydW5uaW5nX21lYW64bGF5ZXIyLjAuYm4xLnJ1bm5pbmdfdmFy2SBsYXllcjIuMC5ibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjIuMC5jb252Mi53ZWlnaHSzbGF5ZXIyLjAuYm4yLndlaWdodLFsYXllcjIuMC5ibjIuYmlhc7lsYXllcjIuMC5ibjIucnVubmluZ19tZWFuuGxheWVyMi4wLmJuMi5ydW5uaW5nX3ZhctkgbGF5ZXIyLjAuYm4yLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIzLjAuY29udjEud2VpZ2h0s2xheWVyMy4wLmJuMS53ZWlnaHSxbGF5ZXIzLjAuYm4xLmJpYXO5bGF5ZXIzLjAuYm4xLnJ1bm5pbmdfbWVhbrhsYXllcjMuMC5ibjEucnVubmluZ192YXLZIGxheWVyMy4wLmJuMS5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMy4wLmNvbnYyLndlaWdodLNsYXllcjMuMC5ibjIud2VpZ2h0sWxheWVyMy4wLmJuMi5iaWFzuWxheWVyMy4wLmJuMi5ydW5uaW5nX21lYW64bGF5ZXIzLjAuYm4yLnJ1bm5pbmdfdmFy2SBsYXllcjMuMC5ibjIubnVtX2JhdGNoZXNfdHJhY2tlZKlmYy53ZWlnaHSnZmMuYmlhc9wAkwAEEAEDAwABEAABEAABEAABEAgAAAQQEAMDAAEQAAEQAAEQAAEQCAAABBAQAwMAARAAARAAARAAARAIAAAEIBADAwABIAABIAABIAABIAgAAAQgIAMDAAEgAAEgAAEgAAEgCAAABEAgAwMAAUAAAUAAAUAAAUAIAAAEQEADAwABQAABQAABQAABQAgAAAIKQAABCpSGqF90YXJnZXRft2JvaWxkb3duLm1vZGVscy5tbHAuTUxQpndpZHRoc8Cld2lkdGjNAQClZGVwdGgCq2lucHV0X3NoYXBlkSirbnVtX2NsYXNzZXMKkJaqZmMxLndlaWdodKhmYzEuYmlhc6pmYzIud2VpZ2h0qGZjMi5iaWFzqmZjMy53ZWlnaHSoZmMzLmJpYXPcABUAAs0BACgAAc0BAAACzQEAzQEAAAHNAQAAAgrNAQAAAQqUh6hfdGFyZ2V0X9klYm9pbGRvd24ubW9kZWxzLnRhYnVsYXIuVGFidWxhclJlc05ldKV3aWR0aEClZGVwdGgCqHdpZGVuaW5nAqdkcm9wb3V0ywAAAAAAAAAAq2lucHV0X3NoYXBlkQqrbnVtX2NsYXNzZXMBkNwAG6xmaXJzdC53ZWlnaHSqZmlyc3QuYmlhc7RibG9ja3MuMC5ub3JtLndlaWdodLJibG9ja3MuMC5ub3JtLmJpYXO6YmxvY2tzLjAubm9ybS5ydW5uaW5nX21lYW65YmxvY2tzLjAubm9ybS5ydW5uaW5nX3ZhctkhYmxvY2tzLjAubm9ybS5udW1fYmF0Y2hlc190cmFja2VktWJsb2Nrcy4wLndpZGVuLndlaWdodLNibG9ja3MuMC53aWRlbi5iaWFztmJsb2Nrcy4wLm5hcnJvdy53ZWlnaHS0YmxvY2tzLjAubmFycm93LmJpYXO0YmxvY2tzLjEubm9ybS53ZWlnaHSyYmxvY2tzLjEubm9ybS5iaWFzumJsb2Nrcy4xLm5vcm0ucnVubmluZ19tZWFuuWJsb2Nrcy4xLm5vcm0ucnVubmluZ192YXLZIWJsb2Nrcy4xLm5vcm0ubnVtX2JhdGNoZXNfdHJhY2tlZLVibG9ja3MuMS53aWRlbi53ZWlnaHSzYmxvY2tzLjEud2lkZW4uYmlhc7ZibG9ja3MuMS5uYXJyb3cud2VpZ2h0tGJsb2Nrcy4xLm5hcnJvdy5iaWFzq25vcm0ud2VpZ2h0qW5vcm0uYmlhc7Fub3JtLnJ1bm5pbmdfbWVhbrBub3JtLnJ1bm5pbmdfdmFyuG5vcm0ubnVtX2JhdGNoZXNfdHJhY2tlZKtoZWFkLndlaWdodKloZWFkLmJpYXPcAFQAAkAKAAFAAAFAAAFAAAFAAAFACAAAAsyAQAABzIAAAkDMgAABQAABQAABQAABQAABQAgAAALMgEAAAcyAAAJAzIAAAUAAAUAAAUAAAUAAAUAIAAACAUAAAQGUiKhfdGFyZ2V0X79ib2lsZG93bi5tb2RlbHMudHJhbnNmb3JtZXIuR1BUpXdpZHRozIClZGVwdGgCpWhlYWRzwKR0aWVkwqdkcm9wb3V0ywAAAAAAAAAAq2lucHV0X3NoYXBlkUCrbnVtX2NsYXNzZXPNAQCQ3AAQrGVtYmVkLndlaWdodK9wb3NpdGlvbi53ZWlnaHS1YmxvY2tzLjAubm9ybTEud2VpZ2h0s2Jsb2Nrcy4wLnFrdi53ZWlnaHSzYmxvY2tzLjAub3V0LndlaWdodLVibG9ja3MuMC5ub3JtMi53ZWlnaHSyYmxvY2tzLjAudXAud2VpZ2h0tGJsb2Nrcy4wLmRvd24ud2VpZ2h0tWJsb2Nrcy4xLm5vcm0xLndlaWdodLNibG9ja3MuMS5xa3Yud2VpZ2h0s2Jsb2Nrcy4xLm91dC53ZWlnaHS1YmxvY2tzLjEubm9ybTIud2VpZ2h0smJsb2Nrcy4xLnVwLndlaWdodLRibG9ja3MuMS5kb3duLndlaWdodKtub3JtLndlaWdodKtoZWFkLndlaWdodNwAOwACzQEAzIAAAkDMgAABzIAAAs0BgMyAAALMgMyAAAHMgAACzQIAzIAAAsyAzQIAAAHMgAACzQGAzIAAAsyAzIAAAcyAAALNAgDMgAACzIDNAgAAAcyAAALNAQDMgJSFqF90YXJnZXRfv2JvaWxkb3duLm1vZGVscy5yZXNuZXQuUmVzTmV0MjCld2lkdGgQpWRlcHRoFKtpbnB1dF9zaGFwZZMDICCrbnVtX2NsYXNzZXMKkNwAdKxjb252MS53ZWlnaHSqYm4xLndlaWdodKhibjEuYmlhc7BibjEucnVubmluZ19tZWFur2JuMS5ydW5uaW5nX3ZhcrdibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjEuMC5jb252MS53ZWlnaHSzbGF5ZXIxLjAuYm4xLndlaWdodLFsYXllcjEuMC5ibjEuYmlhc7lsYXllcjEuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMS4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIxLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIxLjAuY29udjIud2VpZ2h0s2xheWVyMS4wLmJuMi53ZWlnaHSxbGF5ZXIxLjAuYm4yLmJpYXO5bGF5ZXIxLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjEuMC5ibjIucnVubmluZ192YXLZIGxheWVyMS4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMS4xLmNvbnYxLndlaWdodLNsYXllcjEuMS5ibjEud2VpZ2h0sWxheWVyMS4xLmJuMS5iaWFzuWxheWVyMS4xLmJuMS5ydW5uaW5nX21lYW64bGF5ZXIxLjEuYm4xLnJ1bm5pbmdfdmFy2SBsYXllcjEuMS5ibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjEuMS5jb252Mi53ZWlnaHSzbGF5ZXIxLjEuYm4yLndlaWdodLFsYXllcjEuMS5ibjIuYmlhc7lsYXllcjEuMS5ibjIucnVubmluZ19tZWFuuGxheWVyMS4xLmJuMi5ydW5uaW5nX3ZhctkgbGF5ZXIxLjEuYm4yLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIxLjIuY29udjEud2VpZ2h0s2xheWVyMS4yLmJuMS53ZWlnaHSxbGF5ZXIxLjIuYm4xLmJpYXO5bGF5ZXIxLjIuYm4xLnJ1bm5pbmdfbWVhbrhsYXllcjEuMi5ibjEucnVubmluZ192YXLZIGxheWVyMS4yLmJuMS5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMS4yLmNvbnYyLndlaWdodLNsYXllcjEuMi5ibjIud2VpZ2h0sWxheWVyMS4yLmJuMi5iaWFzuWxheWVyMS4yLmJuMi5ydW5uaW5nX21lYW64bGF5ZXIxLjIuYm4yLnJ1bm5pbmdfdmFy2SBsYXllcjEuMi5ibjIubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjIuMC5jb252MS53ZWlnaHSzbGF5ZXIyLjAuYm4xLndlaWdodLFsYXllcjIuMC5ibjEuYmlhc7lsYXllcjIuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMi4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIyLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIyLjAuY29udjIud2VpZ2h0s2xheWVyMi4wLmJuMi53ZWlnaHSxbGF5ZXIyLjAuYm4yLmJpYXO5bGF5ZXIyLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjIuMC5ibjIucnVubmluZ192YXLZIGxheWVyMi4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMi4xLmNvbnYxLndlaWdodLNsYXllcjIuMS5ibjEud2VpZ2h0sWxheWVyMi4xLmJuMS5iaWFzuWxheWVyMi4xLmJuMS5ydW5uaW5nX21lYW64bGF5ZXIyLjEuYm4xLnJ1bm5pbmdfdmFy2SBsYXllcjIuMS5ibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjIuMS5jb252Mi53ZWlnaHSzbGF5ZXIyLjEuYm4yLndlaWdodLFsYXllcjIuMS5ibjIuYmlhc7lsYXllcjIuMS5ibjIucnVubmluZ19tZWFuuGxheWVyMi4xLmJuMi5ydW5uaW5nX3ZhctkgbGF5ZXIyLjEuYm4yLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIyLjIuY29udjEud2VpZ2h0s2xheWVyMi4yLmJuMS53ZWlnaHSxbGF5ZXIyLjIuYm4xLmJpYXO5bGF5ZXIyLjIuYm4xLnJ1bm5pbmdfbWVhbrhsYXllcjIuMi5ibjEucnVubmluZ192YXLZIGxheWVyMi4yLmJuMS5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMi4yLmNvbnYyLndlaWdodLNsYXllcjIuMi5ibjIud2VpZ2h0sWxheWVyMi4yLmJuMi5iaWFzuWxheWVyMi4yLmJuMi5ydW5uaW5nX21lYW64bGF5ZXIyLjIuYm4yLnJ1bm5pbmdfdmFy2SBsYXllcjIuMi5ibjIubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjMuMC5jb252MS53ZWlnaHSzbGF5ZXIzLjAuYm4xLndlaWdodLFsYXllcjMuMC5ibjEuYmlhc7lsYXllcjMuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMy4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIzLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIzLjAuY29udjIud2VpZ2h0s2xheWVyMy4wLmJuMi53ZWlnaHSxbGF5ZXIzLjAuYm4yLmJpYXO5bGF5ZXIzLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjMuMC5ibjIucnVubmluZ192YXLZIGxheWVyMy4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMy4xLmNvbnYxLndlaWdodLNsYXllcjMuMS5ibjEud2VpZ2h0sWxheWVyMy4xLmJuMS5iaWFzuWxheWVyMy4xLmJuMS5ydW5uaW5nX21lYW64bGF5ZXIzLjEuYm4xLnJ1bm5pbmdfdmFy2SBsYXllcjMuMS5ibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjMuMS5jb252Mi53ZWlnaHSzbGF5ZXIzLjEuYm4yLndlaWdodLFsYXllcjMuMS5ibjIuYmlhc7lsYXllcjMuMS5ibjIucnVubmluZ19tZWFuuGxheWVyMy4xLmJuMi5ydW5uaW5nX3ZhctkgbGF5ZXIzLjEuYm4yLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIzLjIuY29udjEud2VpZ2h0s2xheWVyMy4yLmJuMS53ZWlnaHSxbGF5ZXIzLjIuYm4xLmJpYXO5bGF5ZXIzLjIuYm4xLnJ1bm5pbmdfbWVhbrhsYXllcjMuMi5ibjEucnVubmluZ192YXLZIGxheWVyMy4yLmJuMS5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMy4yLmNvbnYyLndlaWdodLNsYXllcjMuMi5ibjIud2VpZ2h0sWxheWVyMy4yLmJuMi5iaWFzuWxheWVyMy4yLmJuMi5ydW5uaW5nX21lYW64bGF5ZXIzLjIuYm4yLnJ1bm5pbmdfdmFy2SBsYXllcjMuMi5ibjIubnVtX2JhdGNoZXNfdHJhY2tlZKlmYy53ZWlnaHSnZmMuYmlhc9wBgwAEEAMDAwABEAABEAABEAABEAgAAAQQEAMDAAEQAAEQAAEQAAEQCAAABBAQAwMAARAAARAAARAAARAIAAAEEBADAwABEAABEAABEAABEAgAAAQQEAMDAAEQAAEQAAEQAAEQCAAABBAQAwMAARAAARAAARAAARAIAAAEEBADAwABEAABEAABEAABEAgAAAQgEAMDAAEgAAEgAAEgAAEgCAAABCAgAwMAASAAASAAASAAASAIAAAEICADAwABIAABIAABIAABIAgAAAQgIAMDAAEgAAEgAAEgAAEgCAAABCAgAwMAASAAASAAASAAASAIAAAEICADAwABIAABIAABIAABIAgAAARAIAMDAAFAAAFAAAFAAAFACAAABEBAAwMAAUAAAUAAAUAAAUAIAAAEQEADAwABQAABQAABQAABQAgAAARAQAMDAAFAAAFAAAFAAAFACAAABEBAAwMAAUAAAUAAAUAAAUAIAAAEQEADAwABQAABQAABQAABQAgAAAIKQAABCpSGqF90YXJnZXRft2JvaWxkb3duLm1vZGVscy5tbHAuTUxQpndpZHRoc8Cld2lkdGjNAQClZGVwdGgCq2lucHV0X3NoYXBlkwEICKtudW1fY2xhc3NlcwqQlqpmYzEud2VpZ2h0qGZjMS5iaWFzqmZjMi53ZWlnaHSoZmMyLmJpYXOqZmMzLndlaWdodKhmYzMuYmlhc9wAFQACzQEAQAABzQEAAALNAQDNAQAAAc0BAAACCs0BAAABCpSGqF90YXJnZXRft2JvaWxkb3duLm1vZGVscy5tbHAuTUxQpndpZHRoc8Cld2lkdGjNAQClZGVwdGgCq2lucHV0X3NoYXBlkwEcHKtudW1fY2xhc3NlcwqQlqpmYzEud2VpZ2h0qGZjMS5iaWFzqmZjMi53ZWlnaHSoZmMyLmJpYXOqZmMzLndlaWdodKhmYzMuYmlhc9wAFQACzQEAzQMQAAHNAQAAAs0BAM0BAAABzQEAAAIKzQEAAAEKlIOoX3RhcmdldF+8Ym9pbGRvd24ubW9kZWxzLmxlbmV0LkxlTmV0NatpbnB1dF9zaGFwZZMDICCrbnVtX2NsYXNzZXMKkJisY29udjEud2VpZ2h0qmNvbnYxLmJpYXOsY29udjIud2VpZ2h0qmNvbnYyLmJpYXOqZmMxLndlaWdodKhmYzEuYmlhc6pmYzIud2VpZ2h0qGZjMi5iaWFz3AAgAAQUAwUFAAEUAAQyFAUFAAEyAALNAfTNBOIAAc0B9AACCs0B9AABCpSDqF90YXJnZXRfvmJvaWxkb3duLm1vZGVscy5sZW5ldC5MZU5ldDMwMKtpbnB1dF9zaGFwZZMBHByrbnVtX2NsYXNzZXMKkJaqZmMxLndlaWdodKhmYzEuYmlhc6pmYzIud2VpZ2h0qGZjMi5iaWFzqmZjMy53ZWlnaHSoZmMzLmJpYXPcABUAAs0BLM0DEAABzQEsAAJkzQEsAAFkAAIKZAABCpSDqF90YXJnZXRfvmJvaWxkb3duLm1vZGVscy5sZW5ldC5MZU5ldDMwMKtpbnB1dF9zaGFwZZMBCAirbnVtX2NsYXNzZXMKkJaqZmMxLndlaWdodKhmYzEuYmlhc6pmYzIud2VpZ2h0qGZjMi5iaWFzqmZjMy53ZWlnaHSoZmMzLmJpYXPcABUAAs0BLEAAAc0BLAACZM0BLAABZAACCmQAAQqUg6hfdGFyZ2V0X7xib2lsZG93bi5tb2RlbHMubGVuZXQuTGVOZXQ1q2lucHV0X3NoYXBlkwEcHKtudW1fY2xhc3NlcwqQmKxjb252MS53ZWlnaHSqY29udjEuYmlhc6xjb252Mi53ZWlnaHSqY29udjIuYmlhc6pmYzEud2VpZ2h0qGZjMS5iaWFzqmZjMi53ZWlnaHSoZmMyLmJpYXPcACAABBQBBQUAARQABDIUBQUAATIAAs0B9M0DIAABzQH0AAIKzQH0AAEK"  # noqa: E501
if __name__ == "__main__":
    main()
