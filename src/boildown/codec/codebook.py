"""Few distinct values: a codebook, and one code per value.

The codebook is ordered by code length, so that the lengths take a few bytes and the code of an
entry follows from its place.

Source: Han, Mao and Dally 2016, sections 3 and 4, https://arxiv.org/abs/1510.00149
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boildown.codec import huffman, kernels, values
from boildown.codec.bytewise import Reader, varint
from boildown.codec.error import CodecError
from boildown.codec.kernels import Words

FIXED, HUFFMAN = range(2)  # how codes are written, as the file says it: never renumber
_FORM_SHIFT = (
    4  # of the byte before the table, whose low bits are the coder, the high ones the form
)


@dataclass(frozen=True)
class Codebook:
    """The distinct values of an array of words.

    Attributes:
        words: (k,), the values.
        counts: (k,), how often each occurs.
        codes: (n,), the place of each word in `words`.
    """

    words: Words
    counts: NDArray[np.int64]
    codes: NDArray[np.uint16]


def find_codebook(words: Words) -> Codebook | None:
    """The distinct values, or None if there are over 65536.

    Args:
        words: (n,).
    """
    codes = np.empty(words.size, np.uint16)
    found = np.empty(kernels.DISTINCT_MOST, words.dtype)
    size = kernels.distinct(words, codes, found)
    if size < 0:
        return None
    counts = np.bincount(codes, minlength=size).astype(np.int64)
    return Codebook(found[:size].copy(), counts, codes)


@dataclass(frozen=True)
class Code:
    """How the words of one tensor are written as codes.

    Attributes:
        head: coder, form, code lengths and values.
        rank: (k,), the symbol of each entry of the codebook.
        lengths: (k,), bits of each symbol.
        bits: of the stream.
    """

    head: bytes
    rank: NDArray[np.uint16]
    lengths: huffman.Lengths
    bits: int

    @property
    def size(self) -> int:
        """Bytes of head and stream."""
        return len(self.head) + -(-self.bits // 8)

    def stream(self, codes: NDArray[np.uint16]) -> bytes:
        """The stream of these places in the codebook; (bits + 7) // 8 bytes."""
        return huffman.encode(self.rank[codes], self.lengths, -(-self.bits // 8))


def cheapest_code(
    words: Words, counts: NDArray[np.int64], dtype: str, form: int, limit: int
) -> Code | None:
    """The coder and form that take the fewest bytes.

    Args:
        words: (k,), the values.
        counts: (k,), how often each occurs.
        dtype: of the tensor.
        form: the narrowest that fits all values.
        limit: bytes.

    Returns:
        None if the cheapest takes `limit` bytes or more. For a large codebook that is known early,
        from the entropy of its codes.
    """
    step = values.grid_step(words, dtype)
    size = values.stored_size(words.size, words, form)
    if step is not None and values.grid_size(words.size) < size:
        form, size = values.GRID, values.grid_size(words.size)
    entropy = float((counts * np.log2(counts.sum() / counts)).sum())
    if size + entropy / 8 >= limit:
        return None

    def code(coder: int, lengths: huffman.Lengths, order: NDArray[np.intp], table: bytes) -> Code:
        ranked = words[order]
        if form == values.GRID and step is not None:
            stored: bytes | memoryview = values.store_grid(ranked, step)
        else:
            stored = values.store(ranked, dtype, form)
        rank = np.empty(words.size, np.uint16)
        rank[order] = np.arange(words.size)
        bits = int((counts[order] * lengths[: words.size]).sum())
        head = bytes([coder | form << _FORM_SHIFT]) + table + bytes(stored)
        return Code(head, rank, lengths, bits)

    width = (words.size - 1).bit_length()
    order = np.argsort(words)
    fixed = np.full(1 << width, width, np.int64)
    plain = code(FIXED, fixed, order, varint(words.size))
    lengths = huffman.code_lengths(counts)
    order = np.lexsort((words, lengths))
    table = huffman.pack_ranked_lengths(lengths[order])
    best = min(code(HUFFMAN, lengths[order], order, table), plain, key=lambda c: c.size)
    return best if best.size < limit else None


@dataclass(frozen=True)
class Decoded:
    """What `read_code` found.

    Attributes:
        words: (k,), the codebook.
        codes: (count,), places in it.
        coder: in words.
        size: bytes of the stream.
    """

    words: Words
    codes: NDArray[Any]
    coder: str
    size: int


def read_code(read: Reader, count: int, dtype: str, word: np.dtype[np.unsignedinteger]) -> Decoded:
    """Read head and stream.

    Args:
        read: at the head; untrusted.
        count: codes in the stream.
        dtype: of the tensor.
        word: type of the words.

    Raises:
        CodecError: for anything that `cheapest_code` does not write.
    """
    head = read.byte()
    coder, form = head & (1 << _FORM_SHIFT) - 1, head >> _FORM_SHIFT
    if coder == HUFFMAN:
        rest = memoryview(read.data)[read.at :]
        lengths, taken = huffman.unpack_ranked_lengths(rest, kernels.DISTINCT_MOST)
        read.take(taken)
        size = lengths.size
    elif coder == FIXED:
        size = read.varint()
        if not 1 <= size <= kernels.DISTINCT_MOST:
            raise CodecError(
                f"a codebook of {size} values, where 1 to {kernels.DISTINCT_MOST} are allowed"
            )
        width = (size - 1).bit_length()
        lengths = np.full(1 << width, width, np.int64)
    else:
        raise CodecError(
            f"its values are coded by method {coder}, which this version does not know"
        )
    stored = read.take(values.size_of(form, size, dtype, word.itemsize))
    words = values.load(stored, dtype, form, word)
    codes, taken = huffman.decode(memoryview(read.data)[read.at :], lengths, count)
    read.take(taken)
    if codes.max(initial=0) >= size:
        raise CodecError(f"code {codes.max()} stands for no value: the codebook has {size}")
    return Decoded(words, codes, "huffman" if coder == HUFFMAN else "fixed", taken)
