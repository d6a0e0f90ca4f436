"""What a coder of tensors is: what it is told, what it plans, and what it says of what it read.

The coders are the rows of the table in `boildown.codec.tensor`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from boildown.codec import kernels, values
from boildown.codec.bytewise import Reader
from boildown.codec.codebook import Codebook, find_codebook
from boildown.codec.gaps import GapCode, cheapest_gaps
from boildown.codec.kernels import Words

Piece = bytes | memoryview


@dataclass(frozen=True)
class Survey:
    """A tensor, looked through once for all coders.

    Attributes:
        words: (n,), the bit patterns; must not change until written.
        dtype: of the tensor.
        nonzero: how many words are not 0.
        book: the distinct values among the survivors; None if there are over 65536.
        form: the narrowest, `values.GRID` aside, that holds every value.
        gaps: how the places of the survivors are written; None if none or all words are 0.
    """

    words: Words
    dtype: str
    nonzero: int
    book: Codebook | None
    form: int
    gaps: GapCode | None

    def survivors(self) -> Words:
        """The words that are not 0, in order: gathered anew, unless that is all of them."""
        return _gathered(self.words, self.nonzero)


@dataclass(frozen=True)
class Plan:
    """A way to write one tensor.

    Attributes:
        size: bytes, exactly.
        write: makes them. It is kept until then, so it should hold little beside the tensor.
        extra: 0 to 63, for the upper bits of the first byte: for the three coders that have them.
    """

    size: int
    write: Callable[[], list[Piece]]
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


def survey_of(words: Words, dtype: str) -> Survey:
    """Look through a tensor.

    Args:
        words: (n,), the bit patterns; may be empty.
        dtype: of the tensor.
    """
    nonzero, histograms = kernels.survey(words)
    book = None
    if _may_have_a_book(words):
        survivors = _gathered(words, nonzero)
        book = find_codebook(survivors)
    form = values.narrowest_form(words if book is None else book.words, dtype)  # 0 fits them all
    gaps = cheapest_gaps(histograms) if 0 < nonzero < words.size else None
    return Survey(words, dtype, nonzero, book, form, gaps)


def _may_have_a_book(words: Words) -> bool:
    """Whether the beginning has few distinct values: all of it is copied only then."""
    return words.size <= _BEGINNING or find_codebook(words[:_BEGINNING]) is not None


_BEGINNING = 1 << 18  # words


def _gathered(words: Words, nonzero: int) -> Words:
    if nonzero == words.size:
        return words
    survivors = np.empty(nonzero, words.dtype)
    kernels.gather(words, survivors)
    return survivors
