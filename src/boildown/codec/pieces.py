"""How tensors are divided into pieces, which code and decode independently of each other.

A tensor is a matrix: its rows are the places along its first axis. One of one axis or none, or of
over 2^20 columns, has one row. A tensor of more words than a block is divided into pieces of as
many whole rows as a block has room for; one of one row into pieces of a block each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from boildown.codec.dtypes import word_type
from boildown.codec.entry import Entry

BLOCK_LOG = 20  # of the words that a tensor may have and not be divided
_COLUMNS_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class Span:
    """Where a piece lies.

    Attributes:
        place: of the tensor's entry.
        start: its first word in the tensor.
        size: words.
        columns: of the matrix that these words are, row by row; as many as there are words if they
            are a row or a part of one.
        whole: whether it is the tensor.
    """

    place: int
    start: int
    size: int
    columns: int
    whole: bool


def spans_of(entry: Entry, place: int, block_log: int) -> Iterator[Span]:
    """The pieces of a tensor.

    Args:
        entry: not tied.
        place: of the entry.
        block_log: the block has 2^this words.
    """
    words, columns, step = _division(entry, block_log)
    for start in range(0, words, step):
        size = min(step, words - start)
        yield Span(place, start, size, min(columns, size), size == words)


def count_of(entries: Sequence[Entry], block_log: int) -> int:
    """How many pieces all tensors have."""
    count = 0
    for entry in entries:
        if entry.tied is None and entry.numel:
            words, _, step = _division(entry, block_log)
            count += -(-words // step)
    return count


def bytes_of(entry: Entry, span: Span) -> int:
    """Bytes of the words of a piece."""
    return span.size * word_type(entry.dtype).itemsize


def _division(entry: Entry, block_log: int) -> tuple[int, int, int]:
    """Words, columns, and words of every piece but the last, which may have fewer."""
    words, block = entry.words, 1 << block_log
    rows = entry.shape[0] if len(entry.shape) > 1 and words else 1
    columns = words // rows
    if columns > _COLUMNS_MOST:
        columns = words
    if words <= block or columns == words:
        return words, columns, max(1, min(words, block))
    return words, columns, max(1, block // columns) * columns
