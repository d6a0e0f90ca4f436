"""Positions of the nonzero elements as gaps: how many zeros lie between one and the next.

With w bits a gap symbol s below M = 2^w - 1 stands for s zeros and then an element; the symbol M
stands for M zeros and no element, so a filler costs no weight code. Deep Compression pads with
zero weights instead. Zeros after the last element are not written: the shape tells them.

Source: Han, Mao and Dally 2016, section 2, https://arxiv.org/abs/1510.00149
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boildown.codec import huffman, kernels
from boildown.codec.blocks import BLOCK
from boildown.codec.bytewise import Reader, varint
from boildown.codec.error import CodecError
from boildown.codec.kernels import Words

FIXED, HUFFMAN = range(2)  # how gaps are coded, as the file says it: never renumber
_WIDTH_BITS = 3  # of the first byte's upper bits; the rest tell the coder


@dataclass(frozen=True)
class GapCode:
    """How the gaps of one tensor are written.

    Attributes:
        width: bits of a gap, 1 to 8.
        coder: `FIXED` or `HUFFMAN`.
        count: symbols, fillers included.
        lengths: (2^width,), bits of each symbol.
        head: what precedes the stream: the number of symbols and the code lengths.
        stream_size: bytes of the stream.
    """

    width: int
    coder: int
    count: int
    lengths: huffman.Lengths
    head: bytes
    stream_size: int

    @property
    def size(self) -> int:
        """Bytes of head and stream."""
        return len(self.head) + self.stream_size

    @property
    def extra(self) -> int:
        """Width and coder, for the first byte of the tensor."""
        return (self.width - 1) | self.coder << _WIDTH_BITS

    def stream(self, blocks: Iterable[Words]) -> Iterator[bytes]:
        """The gaps of these words, in pieces."""
        return huffman.encode_blocks(self._symbols(blocks), self.lengths)

    def _symbols(self, blocks: Iterable[Words]) -> Iterator[NDArray[np.uint8]]:
        gap, most = 0, (1 << self.width) - 1
        for block in blocks:
            symbols = np.empty(block.size + gap // most + 1, np.uint8)
            count, gap = kernels.gap_symbols(block, self.width, gap, symbols)
            yield symbols[:count]


@dataclass(frozen=True)
class Places:
    """What `read_gaps` found.

    Attributes:
        symbols: (fillers + count,).
        width: bits of a gap.
        count: elements that have a place, at least one.
        size: bytes of the stream.
    """

    symbols: NDArray[np.uint8]
    width: int
    count: int
    size: int

    def fill(self, blocks: Iterable[Words], size: int, word: np.dtype[Any]) -> Words:
        """Survivors where they belong, and zeros.

        Args:
            blocks: the survivors, `count` in all.
            size: words of the tensor.
            word: their type.

        Raises:
            CodecError: if the gaps lead further.
        """
        words = np.zeros(size, word)
        start = at = 0
        for survivors in blocks:
            start, at = kernels.place(self.symbols, start, self.width, survivors, words, at)
            if start < 0:
                raise CodecError(f"the positions lead past the end of its {size} elements")
        return words


def cheapest_gaps(histograms: NDArray[np.int64]) -> GapCode:
    """The width and coder that take the fewest bytes.

    Args:
        histograms: (9, 256), counts of the symbols of each width, from `kernels.survey`.
    """
    order = sorted(kernels.WIDTHS, key=lambda width: _bound(histograms[width]))
    best: GapCode | None = None
    cost = 0
    for width in order:
        if best is not None and _bound(histograms[width]) / 8 > cost:
            break
        for code in _codes(width, histograms[width, : 1 << width]):
            if best is None or code.size < cost:
                best, cost = code, code.size
    assert best is not None
    return best


def read_gaps(read: Reader, extra: int, most: int) -> Places:
    """Read the head and the stream.

    Args:
        read: at the head; untrusted.
        extra: width and coder; untrusted.
        most: words of the tensor: there can be no more symbols.

    Raises:
        CodecError: for anything that `GapCode` does not write.
    """
    width, coder = (extra & (1 << _WIDTH_BITS) - 1) + 1, extra >> _WIDTH_BITS
    count = read.varint()
    if not 1 <= count <= most:
        raise CodecError(
            f"it has {count} gaps between nonzero elements, and {most} elements in all"
        )
    if coder == HUFFMAN:
        rest = memoryview(read.data)[read.at :]
        lengths, taken = huffman.unpack_lengths(rest, 1 << width)
        read.take(taken)
        if not lengths.any():
            raise CodecError("the table of the gaps' code lengths is empty")
    elif coder == FIXED:
        lengths = np.full(1 << width, width, np.int64)
    else:
        raise CodecError(f"its gaps are coded by method {coder}, which this version does not know")
    symbols, size = huffman.decode(memoryview(read.data)[read.at :], lengths, count)
    read.take(size)
    filler = (1 << width) - 1
    if symbols[-1] == filler:
        raise CodecError("its last gap has no element after it")
    pieces = (symbols[i : i + BLOCK] for i in range(0, count, BLOCK))
    placed = sum(int((piece != filler).sum()) for piece in pieces)
    return Places(symbols.astype(np.uint8, copy=False), width, placed, size)


def _codes(width: int, histogram: NDArray[np.int64]) -> list[GapCode]:
    count = int(histogram.sum())
    head = varint(count)
    fixed = np.full(1 << width, width, np.int64)
    codes = [GapCode(width, FIXED, count, fixed, head, -(-count * width // 8))]
    if (histogram > 0).sum() > 1:
        lengths = huffman.code_lengths(histogram)
        head += huffman.pack_lengths(lengths)
        bits = int((histogram * lengths).sum())
        codes.append(GapCode(width, HUFFMAN, count, lengths, head, -(-bits // 8)))
    return codes


def _bound(histogram: NDArray[np.int64]) -> float:
    """A lower bound on the bits of any prefix code: the entropy, less a margin for rounding."""
    counts = histogram[histogram > 0]
    return float((counts * np.log2(counts.sum() / counts)).sum()) * (1 - 1e-9)
