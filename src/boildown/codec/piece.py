"""What is coded together with others in a section."""

from dataclasses import dataclass

from boildown.codec.kernels import Words


@dataclass(frozen=True)
class Piece:
    """A tensor, or some rows of one, to be coded.

    Attributes:
        words: (n,), n above 0, the bit patterns.
        dtype: its name.
        columns: of the matrix that the words are, row by row; n where they are one row.
        channel: words to each place along the tensor's first axis; 0 where it has no other.
        base: (n,), the words that a reader has in their place; None if there are none.
    """

    words: Words
    dtype: str
    columns: int
    channel: int = 0
    base: Words | None = None
