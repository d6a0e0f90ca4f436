"""Few distinct values: a codebook, and one code per value.

The codebook is ordered by code length, so that the lengths take a few bytes and the code of an
entry follows from its place.

Source: Han, Mao and Dally 2016, sections 3 and 4, https://arxiv.org/abs/1510.00149
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boildown.codec import kernels, values
from boildown.codec.blocks import BLOCK, Blocks, Chunk
from boildown.codec.bytewise import Reader
from boildown.codec.error import CodecError
from boildown.codec.kernels import Words
from boildown.codec.symbols import PAPER, SYMBOL_CODERS

_FORM_SHIFT = 4  # of the byte before the table: below is the coder, above the form


@dataclass(frozen=True)
class Codebook:
    """The distinct values of a tensor.

    Attributes:
        words: (k,), the values but 0, in the order in which they first occur.
        counts: (k,), how often each occurs.
    """

    words: Words
    counts: NDArray[np.int64]


def find_codebook(blocks: Blocks) -> Codebook | None:
    """The distinct values but 0, or None if there are over 65536.

    A zero in the first block counts as well if there are more blocks. That is for the sake of files
    alone: which coder stores a tensor must not change.
    """
    most = min(max(blocks.size, 1), kernels.DISTINCT_MOST)
    slots = np.full(min(4 << most.bit_length(), kernels.SLOTS), -1, np.int32)
    words, counts = np.empty(most, blocks.word), np.zeros(most, np.int64)
    size = 0
    for i, block in enumerate(blocks.survivors()):
        size = kernels.distinct(block, slots, words, counts, size)
        zero = i == 0 and block.size < BLOCK < blocks.size
        if size < 0 or size + zero > kernels.DISTINCT_MOST:
            return None
    return Codebook(words[:size].copy(), counts[:size].copy())


@dataclass(frozen=True)
class Code:
    """How the words of one tensor are written as codes.

    Attributes:
        head: coder, form, table of the codes and values.
        words: (k,), the codebook, in the order of the symbols.
        stream_size: bytes of the stream.
        write: makes it, in chunks, from symbols that come in blocks.
    """

    head: bytes
    words: Words
    stream_size: int
    write: Callable[[Iterable[NDArray[np.uint16]]], Iterable[Chunk]]

    @property
    def size(self) -> int:
        """Bytes of head and stream."""
        return len(self.head) + self.stream_size

    def stream(self, blocks: Iterable[Words]) -> Iterable[Chunk]:
        """The stream of these words, all of the codebook."""
        return self.write(self._symbols(blocks))

    def _symbols(self, blocks: Iterable[Words]) -> Iterator[NDArray[np.uint16]]:
        slots = np.full(4 << self.words.size.bit_length(), -1, np.int32)
        kernels.hashed(self.words, slots)
        for block in blocks:
            symbols = np.empty(block.size, np.uint16)
            kernels.places(block, self.words, slots, symbols)
            yield symbols


def cheapest_code(
    words: Words,
    counts: NDArray[np.int64],
    dtype: str,
    form: int,
    limit: int,
    *,
    paper: bool,
) -> Code | None:
    """The coder and form that take the fewest bytes.

    Args:
        words: (k,), the values.
        counts: (k,), how often each occurs.
        dtype: of the tensor.
        form: the narrowest that fits all values.
        limit: bytes.
        paper: whether it must be a coder of Deep Compression's.

    Returns:
        None if the cheapest takes `limit` bytes or more. For a large codebook that is known early,
        from the entropy of its codes.
    """
    step = values.grid_step(words, dtype)
    size = values.stored_size(words.size, words.itemsize, form)
    if step is not None and values.grid_size(words.size) < size:
        form, size = values.GRID, values.grid_size(words.size)
    entropy = float((counts * np.log2(counts.sum() / counts)).sum())
    if size + entropy / 8 >= limit:
        return None

    coded = [
        (coder, row.plan(words, counts))
        for coder, row in SYMBOL_CODERS.items()
        if not paper or coder in PAPER
    ]
    coder, symbols = min(
        ((coder, symbols) for coder, symbols in coded if symbols is not None),
        key=lambda c: len(c[1].table) + c[1].size,
    )
    if 1 + len(symbols.table) + size + symbols.size >= limit:
        return None
    ranked = words[symbols.order]
    if form == values.GRID and step is not None:
        stored: bytes | memoryview = values.store_grid(ranked, step)
    else:
        stored = values.store(ranked, dtype, form)
    head = bytes([coder | form << _FORM_SHIFT]) + symbols.table + bytes(stored)
    return Code(head, ranked, symbols.size, symbols.write)


@dataclass(frozen=True)
class StoredCode:
    """What a head tells.

    Attributes:
        words: (k,), the codebook.
        coder: in words.
        symbols: reads so many places in the codebook from the stream, in blocks.
    """

    words: Words
    coder: str
    symbols: Callable[[int], Iterable[NDArray[Any]]]

    @property
    def width(self) -> int:
        """Bits of a code, were all of one length."""
        return (self.words.size - 1).bit_length()

    def values(self, count: int) -> Iterator[Words]:
        """So many words, in blocks, after the last of which the reader stands behind the stream.

        Raises:
            CodecError: for anything that `cheapest_code` does not write; what can be said without
                reading the stream at once, so that memory may be taken for the words.
        """
        return map(self._values, self.symbols(count))

    def _values(self, codes: NDArray[Any]) -> Words:
        if codes.max(initial=0) >= self.words.size:
            raise CodecError(
                f"code {codes.max()} stands for no value: the codebook has {self.words.size}"
            )
        words: Words = self.words[codes]
        return words


def read_code(read: Reader, dtype: str, word: np.dtype[np.unsignedinteger]) -> StoredCode:
    """Read the head.

    Args:
        read: at the head, and then at the stream; untrusted.
        dtype: of the tensor.
        word: type of the words.

    Raises:
        CodecError: for anything that `cheapest_code` does not write.
    """
    head = read.byte()
    number, form = head & (1 << _FORM_SHIFT) - 1, head >> _FORM_SHIFT
    coder = SYMBOL_CODERS.get(number)
    if coder is None:
        raise CodecError(
            f"its values are coded by method {number}, which this version does not know"
        )
    size, symbols = coder.read(read)
    stored = read.take(values.size_of(form, size, dtype, word.itemsize))
    return StoredCode(values.load(stored, dtype, form, word), coder.name, symbols)
