"""How codes, numbered by their place in a codebook, are written as bits: a closed table.

A coder of symbols is two functions and a row of `SYMBOL_CODERS`. Its number takes the low four bits
of the byte before a codebook: 3 to 15 are free.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boildown.codec import huffman, kernels, ranges
from boildown.codec.blocks import BLOCK, Chunk
from boildown.codec.bytewise import Reader, varint
from boildown.codec.error import CodecError
from boildown.codec.kernels import Words

FIXED, HUFFMAN, RANGE = range(3)
PAPER = (HUFFMAN, FIXED)  # what Deep Compression has


@dataclass(frozen=True)
class Symbols:
    """How the codes of one tensor are written.

    Attributes:
        order: (k,), the entries of the codebook by symbol: the most frequent first, for one.
        table: bytes that tell a reader the number of entries, and how they are coded.
        size: bytes of the stream, exactly but for `RANGE`, where it is a bound.
        write: makes it, in chunks, from symbols that come in blocks.
    """

    order: NDArray[np.intp]
    table: bytes
    size: int
    write: Callable[[Iterable[NDArray[np.uint16]]], Iterable[Chunk]]


@dataclass(frozen=True)
class SymbolCoder:
    """A way to write codes.

    Attributes:
        name: in words.
        plan: from the values of a codebook and how often each occurs; None if it cannot write them.
        read: from untrusted bytes, at the table: the number of entries, and what reads so many
            symbols, in blocks, once the reader stands at the stream; it stands after it with the
            last of them.
    """

    name: str
    plan: Callable[[Words, NDArray[np.int64]], Symbols | None]
    read: Callable[[Reader], tuple[int, Callable[[int], Iterable[NDArray[Any]]]]]


def _plan_fixed(words: Words, counts: NDArray[np.int64]) -> Symbols:
    width = (words.size - 1).bit_length()
    size = -(-int(counts.sum()) * width // 8)
    write = partial(huffman.encode_blocks, lengths=_even(width))
    return Symbols(np.argsort(words), varint(words.size), size, write)


def _read_fixed(read: Reader) -> tuple[int, Callable[[int], Iterable[NDArray[Any]]]]:
    size = read.varint()
    if not 1 <= size <= kernels.DISTINCT_MOST:
        raise CodecError(
            f"a codebook of {size} values, where 1 to {kernels.DISTINCT_MOST} are allowed"
        )
    return size, partial(_read_stream, read, _even((size - 1).bit_length()))


def _plan_huffman(words: Words, counts: NDArray[np.int64]) -> Symbols:
    lengths = huffman.code_lengths(counts)
    order = np.lexsort((words, lengths))
    ranked = lengths[order]
    size = -(-int((counts[order] * ranked).sum()) // 8)
    write = partial(huffman.encode_blocks, lengths=ranked)
    return Symbols(order, huffman.pack_ranked_lengths(ranked), size, write)


def _read_huffman(read: Reader) -> tuple[int, Callable[[int], Iterable[NDArray[Any]]]]:
    rest = memoryview(read.data)[read.at :]
    lengths, taken = huffman.unpack_ranked_lengths(rest, kernels.DISTINCT_MOST)
    read.take(taken)
    return lengths.size, partial(_read_stream, read, lengths)


def _even(width: int) -> huffman.Lengths:
    """The lengths of all codes of so many bits."""
    return np.full(1 << width, width, np.int64)


def _read_stream(read: Reader, lengths: huffman.Lengths, count: int) -> Iterator[NDArray[Any]]:
    stream = huffman.Stream(memoryview(read.data)[read.at :], lengths, count)  # checked at once

    def blocks() -> Iterator[NDArray[Any]]:
        for at in range(0, count, BLOCK):
            yield stream.read(min(BLOCK, count - at))
        read.take(stream.close())

    return blocks()


def _plan_range(words: Words, counts: NDArray[np.int64]) -> Symbols | None:
    if not 2 <= words.size <= ranges.MOST:
        return None
    order = np.lexsort((words, -counts))
    parts = ranges.frequencies_of(counts[order])

    def write(symbols: Iterable[NDArray[np.uint16]]) -> Iterable[Chunk]:
        return [ranges.encode(np.concatenate(list(symbols)), parts)]

    return Symbols(order, ranges.pack_frequencies(parts), ranges.bound(counts[order], parts), write)


def _read_range(read: Reader) -> tuple[int, Callable[[int], Iterable[NDArray[Any]]]]:
    parts = ranges.read_frequencies(read)
    return parts.size, lambda count: [ranges.decode(read, parts, count)] if count else []


SYMBOL_CODERS = {  # the first is taken where two are as small
    HUFFMAN: SymbolCoder("huffman", _plan_huffman, _read_huffman),
    FIXED: SymbolCoder("fixed", _plan_fixed, _read_fixed),
    RANGE: SymbolCoder("range", _plan_range, _read_range),
}
