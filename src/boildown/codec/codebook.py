"""Few distinct values: a codebook, and one code per value.

The codebook is ordered by code length, so that the lengths take a few bytes and the code of an
entry follows from its place.

Source: Han, Mao and Dally 2016, sections 3 and 4, https://arxiv.org/abs/1510.00149
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boildown.codec import kernels, values
from boildown.codec.bytewise import Reader
from boildown.codec.error import CodecError
from boildown.codec.kernels import Words
from boildown.codec.symbols import SYMBOL_CODERS

_PIECE = 1 << 20  # codes counted together
_FORM_SHIFT = 4  # of the byte before the table: below is the coder, above the form


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
    counts = np.zeros(size, np.int64)
    for i in range(0, codes.size, _PIECE):  # bincount makes them 8 bytes wide
        counts += np.bincount(codes[i : i + _PIECE], minlength=size)
    return Codebook(found[:size].copy(), counts, codes)


@dataclass(frozen=True)
class Code:
    """How the words of one tensor are written as codes.

    Attributes:
        head: coder, form, table of the codes and values.
        rank: (k,), the symbol of each entry of the codebook.
        stream_size: bytes of the stream.
        write: makes it from symbols.
    """

    head: bytes
    rank: NDArray[np.uint16]
    stream_size: int
    write: Callable[[NDArray[np.uint16]], bytes]

    @property
    def size(self) -> int:
        """Bytes of head and stream."""
        return len(self.head) + self.stream_size

    def stream(self, codes: NDArray[np.uint16]) -> bytes:
        """The stream of these places in the codebook."""
        return self.write(self.rank[codes])


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

    coded = ((coder, row.plan(words, counts)) for coder, row in SYMBOL_CODERS.items())
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
    rank = np.empty(words.size, np.uint16)
    rank[symbols.order] = np.arange(words.size)
    head = bytes([coder | form << _FORM_SHIFT]) + symbols.table + bytes(stored)
    return Code(head, rank, symbols.size, symbols.write)


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

    @property
    def width(self) -> int:
        """Bits of a code, were all of one length."""
        return (self.words.size - 1).bit_length()


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
    number, form = head & (1 << _FORM_SHIFT) - 1, head >> _FORM_SHIFT
    coder = SYMBOL_CODERS.get(number)
    if coder is None:
        raise CodecError(
            f"its values are coded by method {number}, which this version does not know"
        )
    size, symbols = coder.read(read)
    stored = read.take(values.size_of(form, size, dtype, word.itemsize))
    words = values.load(stored, dtype, form, word)
    start = read.at
    codes = symbols(count)
    if codes.max(initial=0) >= size:
        raise CodecError(f"code {codes.max()} stands for no value: the codebook has {size}")
    return Decoded(words, codes, coder.name, read.at - start)
