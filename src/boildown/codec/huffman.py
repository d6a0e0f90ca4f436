"""Canonical Huffman codes: lengths from dahuffman, tables in a few bytes, streams.

A code is known by its lengths alone: codes are handed out in the order of (length, symbol), each
the one before plus one (RFC 1951, section 3.2.2). Streams are written highest bit first, padded
with zero bits to a whole byte, and hold no end marker: the reader knows how many symbols to expect.

Source: Han, Mao and Dally 2016, section 4, https://arxiv.org/abs/1510.00149
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dahuffman import HuffmanCodec
from numpy.typing import NDArray

from boildown.codec import kernels
from boildown.codec.error import CodecError

LONGEST = 24  # bits of a code at most, so that decoding tables stay small
_LOOKUP_BITS = 12
_MANY = 1024  # symbols; with more, dahuffman takes longer than the rest of packing

Lengths = NDArray[np.int64]


def code_lengths(frequencies: NDArray[np.int64]) -> Lengths:
    """Bits of each symbol in an optimal prefix code with no code over 24 bits.

    Args:
        frequencies: (alphabet,), at least one above zero.

    Returns:
        (alphabet,), 0 for symbols that do not occur; a single one needs no bits and must be
        symbol 0 to be read back.

    >>> code_lengths(np.array([5, 0, 1, 1])).tolist()
    [1, 0, 2, 2]
    """
    used = np.flatnonzero(frequencies)
    lengths = np.zeros(frequencies.size, np.int64)
    if used.size > _MANY:
        lengths[used] = limited_lengths(frequencies[used], LONGEST)
        return lengths
    known = dict(zip(used.tolist(), frequencies[used].tolist(), strict=True))
    # dahuffman adds an end marker unless it is told that one of the symbols is the end.
    table = HuffmanCodec.from_frequencies(known, eof=int(used[0])).get_code_table()
    lengths[used] = [table[symbol][0] for symbol in known]
    if lengths.max() > LONGEST:
        lengths[used] = limited_lengths(frequencies[used], LONGEST)
    return lengths


def limited_lengths(frequencies: NDArray[np.int64], longest: int) -> Lengths:
    """Bits of each symbol in the best prefix code with no code over `longest` bits.

    Args:
        frequencies: (alphabet,), all above zero; at least two, at most 2^longest.
        longest: bits.

    Returns:
        (alphabet,).

    Source: package-merge, Larmore and Hirschberg 1990, https://doi.org/10.1145/79147.79150
    """
    order = np.argsort(frequencies, kind="stable")
    leaves = frequencies[order]
    row = leaves
    leaf_rows = [np.ones(leaves.size, dtype=bool)]
    for _ in range(longest - 1):
        pairs = row[: row.size // 2 * 2].reshape(-1, 2).sum(1)
        items = np.concatenate([leaves, pairs])
        merged = np.argsort(items, kind="stable")
        row = items[merged]
        leaf_rows.append(merged < leaves.size)
    lengths = np.zeros(leaves.size, np.int64)
    chosen = 2 * leaves.size - 2
    for is_leaf in reversed(leaf_rows):
        taken = int(is_leaf[:chosen].sum())
        lengths[order[:taken]] += 1
        chosen = 2 * (chosen - taken)
    return lengths


def canonical_codes(lengths: Lengths) -> NDArray[np.uint64]:
    """The code of each symbol, in the lowest bits.

    Args:
        lengths: (alphabet,), bits; 0 for symbols without a code.

    Returns:
        (alphabet,).

    >>> canonical_codes(np.array([1, 0, 2, 2])).tolist()
    [0, 0, 2, 3]
    """
    ranked = _ranked(lengths)
    first, _, offset = _by_length(lengths)
    codes = np.zeros(lengths.size, np.uint64)
    of_rank = lengths[ranked]
    codes[ranked] = (first[of_rank] + np.arange(ranked.size) - offset[of_rank]).astype(np.uint64)
    return codes


def encode(symbols: NDArray[Any], lengths: Lengths, size: int) -> bytes:
    """Write symbols.

    Args:
        symbols: (n,), unsigned, each with a code.
        lengths: (alphabet,), bits.
        size: bytes the stream takes, `(sum of lengths + 7) // 8`.
    """
    return b"".join(encode_blocks([symbols], lengths)) if size else b""


def encode_blocks(blocks: Iterable[NDArray[Any]], lengths: Lengths) -> Iterator[bytes]:
    """Write symbols that come in blocks: the stream, in pieces.

    Args:
        blocks: (n,) symbols each, as for `encode`.
        lengths: (alphabet,), bits.
    """
    longest = int(lengths.max())
    if longest == 0:
        return
    codes = canonical_codes(lengths)
    pending, held = np.uint64(0), 0
    for symbols in blocks:
        out = np.empty((symbols.size * longest + held) // 8, np.uint8)
        size, pending, held = kernels.write_bits(
            symbols, codes, lengths, out, np.uint64(pending), held
        )
        yield out[:size].tobytes()
    if held:
        yield bytes([int(pending) << (8 - held) & 0xFF])


def decode(data: memoryview, lengths: Lengths, count: int) -> tuple[NDArray[Any], int]:
    """Read symbols.

    Args:
        data: untrusted bytes that begin with the stream.
        lengths: (alphabet,), bits; untrusted.
        count: how many symbols. The caller has checked that it can hold so many.

    Returns:
        (count,) symbols, uint8 for at most 256 lengths and else uint16; the bytes they took.

    Raises:
        CodecError: if the lengths are no complete prefix code, the data ends too soon, or the bits
            that fill the last byte are not zero.
    """
    stream = Stream(data, lengths, count)
    symbols = stream.read(count)
    return symbols, stream.close()


class Stream:
    """Symbols that are read in blocks.

    Args:
        data: untrusted bytes that begin with the stream.
        lengths: (alphabet,), bits; untrusted.
        count: how many symbols there are in all. The caller has checked that it can hold a block.

    Raises:
        CodecError: if the lengths are no complete prefix code, or the data are too few.
    """

    def __init__(self, data: memoryview, lengths: Lengths, count: int) -> None:
        self._ranked = ranked = _ranked(lengths)
        if ranked.size and count > 8 * len(data):
            raise CodecError(f"{len(data)} bytes are left, too few for a stream of {count} symbols")
        self._type = np.uint8 if lengths.size <= 256 else np.uint16
        self._count, self._bits = count, 0
        self._data = np.frombuffer(data, np.uint8)
        if ranked.size == 0:
            return
        longest = int(lengths.max())
        if int((1 << (longest - lengths[ranked])).sum()) != 1 << longest:
            raise CodecError("the code lengths make no complete prefix code")
        width = min(longest, _LOOKUP_BITS)
        short = ranked[lengths[ranked] <= width]
        entries = (short << 5 | lengths[short]).astype(np.uint32)
        lookup = np.zeros(1 << width, np.uint32)
        filled = np.repeat(entries, 1 << (width - lengths[short]))
        lookup[: filled.size] = filled
        self._code = (lookup, width, longest, *_by_length(lengths), ranked.astype(np.uint16))

    def read(self, count: int) -> NDArray[Any]:
        """The next symbols, uint8 for at most 256 lengths and else uint16.

        Raises:
            CodecError: if the data end too soon.
        """
        symbols = np.zeros(count, self._type)
        if self._ranked.size:
            self._bits = kernels.read_bits(self._data, self._bits, *self._code, symbols)
        if self._bits < 0:
            raise CodecError(f"a stream of {self._count} symbols ends too soon")
        return symbols

    def close(self) -> int:
        """The bytes that all took.

        Raises:
            CodecError: if the bits that fill the last byte are not zero.
        """
        size = -(-self._bits // 8)
        if self._bits % 8 and int(self._data[size - 1]) & ((1 << (8 - self._bits % 8)) - 1):
            raise CodecError("the bits that fill the last byte of a stream are not zero")
        return size


def _ranked(lengths: Lengths) -> NDArray[np.int64]:
    """Symbols with a code, in the order of their codes."""
    order = np.argsort(lengths, kind="stable")
    return order[int((lengths == 0).sum()) :]


def _by_length(
    lengths: Lengths,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """First code, number of codes, and rank of the first code, each by length in bits."""
    count = np.bincount(lengths)
    count[0] = 0
    first = np.zeros_like(count)
    for bits in range(1, count.size):
        first[bits] = (first[bits - 1] + count[bits - 1]) << 1
    return first, count, np.cumsum(count) - count


@dataclass
class BitWriter:
    """Bits for the tables of code lengths, which are short: plain Python is fast enough."""

    bits: list[int]

    def put(self, value: int, width: int) -> None:
        """Append the lowest `width` bits of `value`, the highest first."""
        self.bits.extend(value >> i & 1 for i in reversed(range(width)))

    def gamma(self, value: int) -> None:
        """Append an integer above 0 in Elias's gamma code."""
        self.put(value, 2 * value.bit_length() - 1)

    def bytes(self) -> bytes:
        """All bits, padded with zeros to whole bytes."""
        return np.packbits(np.array(self.bits, np.uint8)).tobytes()


@dataclass
class BitReader:
    """The inverse of `BitWriter`, on untrusted bytes."""

    data: memoryview
    at: int = 0

    def get(self, width: int) -> int:
        """The next `width` bits."""
        value = 0
        for _ in range(width):
            if self.at >= 8 * len(self.data):
                raise CodecError("the file ends within a table of code lengths")
            value = value << 1 | self.data[self.at >> 3] >> (7 - (self.at & 7)) & 1
            self.at += 1
        return value

    def gamma(self) -> int:
        """The next integer in Elias's gamma code, below 2^25."""
        zeros = 0
        while not self.get(1):
            zeros += 1
            if zeros > LONGEST:
                raise CodecError("a table of code lengths holds too large a number")
        return 1 << zeros | self.get(zeros)

    def close(self) -> int:
        """Bytes read; the rest of the last must be zero bits."""
        if self.get(-self.at % 8):
            raise CodecError("the bits that fill the last byte of a table are not zero")
        return self.at // 8


def pack_ranked_lengths(lengths: Sequence[int] | Lengths) -> bytes:
    """Code lengths that ascend, as they do where symbols are numbered by rank: a few bytes.

    Per length, how many codes have it, in as many bits as the codes still free call for. The number
    of symbols need not be stored: the table ends where no code is free.

    Args:
        lengths: (alphabet,), ascending, of a complete code; or [0] for a single symbol.

    >>> pack_ranked_lengths([1, 2, 3, 3]).hex(), pack_ranked_lengths([0]).hex()
    ('2c', '80')
    """
    out = BitWriter([])
    count = np.bincount(np.asarray(lengths, np.int64))
    free = 1
    for bits in range(count.size):
        out.put(int(count[bits]), free.bit_length())
        free = (free - int(count[bits])) * 2
    return out.bytes()


def unpack_ranked_lengths(data: memoryview, most: int) -> tuple[Lengths, int]:
    """The inverse of `pack_ranked_lengths`.

    Args:
        data: untrusted bytes that begin with a table.
        most: how many symbols there may be.

    Returns:
        (alphabet,) lengths, and the bytes that they took.

    Raises:
        CodecError: for what is no complete code of at most `most` symbols and 24 bits.
    """
    read = BitReader(data)
    counts: list[int] = []
    free = 1
    while free:
        if len(counts) > LONGEST:
            raise CodecError(f"a code has more than {LONGEST} bits, the most that are allowed")
        count = read.get(free.bit_length())
        if count > free or sum(counts) + count > most:
            raise CodecError(f"{count} codes have {len(counts)} bits: more than there can be")
        counts.append(count)
        free = (free - count) * 2
    lengths = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    return lengths, read.close()


def pack_lengths(lengths: Lengths) -> bytes:
    """Code lengths of an alphabet whose order matters, such as gaps.

    Neighbours differ little, so each is told by its difference from the last present one:
    0 the same; 10s one more or less; 110 and a gamma code, a run of absent symbols; 111 and five
    bits, anything.

    Args:
        lengths: (alphabet,), 0 for absent symbols; all 0 if a single symbol needs no bits, which
            this cannot tell.
    """
    out = BitWriter([])
    last = 1
    values = lengths.tolist()
    at = 0
    while at < len(values):
        bits = values[at]
        run = 1
        if bits == 0:
            while at + run < len(values) and values[at + run] == 0:
                run += 1
            out.put(0b110, 3)
            out.gamma(run)
        elif bits == last:
            out.put(0, 1)
        elif abs(bits - last) == 1:
            out.put(0b100 | (bits < last), 3)
        else:
            out.put(0b111, 3)
            out.put(bits, 5)
        last = bits or last
        at += run
    return out.bytes()


def unpack_lengths(data: memoryview, alphabet: int) -> tuple[Lengths, int]:
    """The inverse of `pack_lengths`.

    Args:
        data: untrusted bytes that begin with a table.
        alphabet: how many lengths there are.

    Returns:
        (alphabet,) lengths, each 0 to 24, and the bytes that they took. Whether they make a code is
        for `decode` to check.

    Raises:
        CodecError: for a length above 24 or more lengths than the alphabet has.
    """
    read = BitReader(data)
    lengths = np.zeros(alphabet, np.int64)
    last = 1
    at = 0
    while at < alphabet:
        if read.get(1):
            if not read.get(1):
                last += -1 if read.get(1) else 1
            elif read.get(1):
                last = read.get(5)
            else:
                at += read.gamma()
                if at > alphabet:
                    raise CodecError("a table of code lengths is longer than its alphabet")
                continue
        if not 1 <= last <= LONGEST:
            raise CodecError(f"a code has {last} bits, where 1 to {LONGEST} are allowed")
        lengths[at] = last
        at += 1
    return lengths, read.close()
