"""Positions of the nonzero elements as gaps: how many zeros lie between one and the next.

With w bits a gap symbol s below M = 2^w - 1 stands for s zeros and then an element; the symbol M
stands for M zeros and no element, so a filler costs no weight code. Deep Compression pads with
zero weights instead. Zeros after the last element are not written: the shape tells them.

Source: Han, Mao and Dally 2016, section 2, https://arxiv.org/abs/1510.00149
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boildown.codec import huffman, kernels
from boildown.codec.bytewise import Reader, varint
from boildown.codec.error import CodecError

FIXED, HUFFMAN = range(2)  # how gaps are coded, as the file says it: never renumber


@dataclass(frozen=True)
class GapCode:
    """How the gaps of one tensor are written.

    Attributes:
        width: bits of a gap, 1 to 8.
        coder: `FIXED` or `HUFFMAN`.
        count: symbols, fillers included.
        lengths: (2^width,), bits of each symbol.
        bits: of the stream.
    """

    width: int
    coder: int
    count: int
    lengths: huffman.Lengths
    bits: int

    def head(self) -> bytes:
        """What precedes the stream: the number of symbols and the code lengths."""
        table = huffman.pack_lengths(self.lengths) if self.coder == HUFFMAN else b""
        return varint(self.count) + table

    def stream(self, words: kernels.Words) -> bytes:
        """The gaps of these words; (bits + 7) // 8 bytes."""
        symbols = np.empty(self.count, np.uint8)
        kernels.gap_symbols(words, self.width, symbols)
        return huffman.encode(symbols, self.lengths, -(-self.bits // 8))


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
            size = len(code.head()) + -(-code.bits // 8)
            if best is None or size < cost:
                best, cost = code, size
    assert best is not None
    return best


def read_gaps(
    read: Reader, width: int, coder: int, most: int
) -> tuple[NDArray[np.uint8], int, int]:
    """Read the head and the stream.

    Args:
        read: at the head; untrusted.
        width: bits of a gap, 1 to 8.
        coder: untrusted.
        most: words of the tensor: there can be no more symbols.

    Returns:
        (count,) symbols; how many of them place an element; bytes of the stream.

    Raises:
        CodecError: for anything that `GapCode` does not write.
    """
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
    return symbols.astype(np.uint8, copy=False), int((symbols != filler).sum()), size


def _codes(width: int, histogram: NDArray[np.int64]) -> list[GapCode]:
    count = int(histogram.sum())
    fixed = np.full(1 << width, width, np.int64)
    codes = [GapCode(width, FIXED, count, fixed, count * width)]
    if (histogram > 0).sum() > 1:
        lengths = huffman.code_lengths(histogram)
        codes.append(GapCode(width, HUFFMAN, count, lengths, int((histogram * lengths).sum())))
    return codes


def _bound(histogram: NDArray[np.int64]) -> float:
    """A lower bound on the bits of any prefix code: the entropy, less a margin for rounding."""
    counts = histogram[histogram > 0]
    return float((counts * np.log2(counts.sum() / counts)).sum()) * (1 - 1e-9)
