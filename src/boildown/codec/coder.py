"""What a coder of tensors is: what it is told, what it plans, and what it says of what it read.

The coders are the rows of the table in `boildown.codec.tensor`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from boildown.codec import kernels, values
from boildown.codec.blocks import Blocks, Chunk
from boildown.codec.bytewise import Reader
from boildown.codec.codebook import Codebook, find_codebook
from boildown.codec.gaps import GapCode, cheapest_gaps
from boildown.codec.kernels import Words


@dataclass(frozen=True)
class Survey:
    """A tensor, looked through once for all coders.

    Attributes:
        blocks: the bit patterns, block by block.
        dtype: of the tensor.
        nonzero: how many words are not 0.
        book: the distinct values among them; None if there are over 65536.
        form: the narrowest, `values.GRID` aside, that holds every value.
        gaps: how the places of the survivors are written; None if none or all words are 0.
        paper: whether only what Deep Compression has may be used.
    """

    blocks: Blocks
    dtype: str
    nonzero: int
    book: Codebook | None
    form: int
    gaps: GapCode | None
    paper: bool

    @property
    def words(self) -> Words:
        """(n,), all bit patterns at once; see `Blocks.whole`."""
        return self.blocks.whole()

    def survivors(self) -> Iterator[Words]:
        """The words that are not 0, in order, in blocks."""
        return self.blocks.survivors()


@dataclass(frozen=True)
class Plan:
    """A way to write one tensor.

    Attributes:
        size: bytes, exactly, or a few more than it takes.
        write: makes them, in chunks. It is kept until then, so it should hold little beside the
            tensor; and chunks made one by one keep little memory.
        extra: 0 to 63, for the upper bits of the first byte: for the three coders that have them.
    """

    size: int
    write: Callable[[], Iterable[Chunk]]
    extra: int = 0


@dataclass(frozen=True)
class Anatomy:
    """What a tensor's bytes consist of; see `TensorReport`, which repeats the fields."""

    coder: str
    weight_bits: int | None = None
    weight_bits_coded: float | None = None
    position_bits: int | None = None
    position_bits_coded: float | None = None
    fillers: int | None = None


@dataclass(frozen=True)
class Coder:
    """A way to store a tensor, without the first byte, which tells the coder.

    Attributes:
        plan: from a tensor, not empty, and the bytes that it must stay below to be chosen. None if
            the coder cannot store this tensor, or sees early that it takes more.
        read: from untrusted bytes, the tensor's dtype, how many words it has, and `Plan.extra`:
            the words, writable. Must raise CodecError for whatever `plan` does not write, and
            allocate memory only once the bytes are known to suffice. The exception is a tensor of
            one value throughout, whose codes take no bits: the number of words has been bounded.
    """

    plan: Callable[[Survey, int], Plan | None]
    read: Callable[[Reader, str, int, int], tuple[Words, Anatomy]]


def survey_of(blocks: Blocks, *, paper: bool = False) -> Survey:
    """Look through a tensor, which may be empty."""
    gaps = np.zeros(kernels.GAPS_COUNTED, np.int64)
    long = np.zeros((9, 256), np.int64)
    nonzero = gap = 0
    for block in blocks:
        found, gap = kernels.survey(block, gap, gaps, long)
        nonzero += found
    book = find_codebook(blocks)
    form = values.narrowest_form(blocks if book is None else [book.words], blocks.dtype)  # of 0 too
    sparse = 0 < nonzero < blocks.size
    code = cheapest_gaps(kernels.gap_histograms(gaps, long)) if sparse else None
    return Survey(blocks, blocks.dtype, nonzero, book, form, code, paper)
