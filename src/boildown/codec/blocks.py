"""A tensor's words, block by block: what is derived from them takes the memory of a block."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from boildown.codec import kernels, zeros
from boildown.codec.kernels import Words

BLOCK = 1 << 18  # words

Chunk = bytes | memoryview


@dataclass(frozen=True)
class Blocks:
    """The words of a tensor, to be gone through as often as one likes.

    Attributes:
        source: (n,), the bit patterns; must not change until written.
        dtype: of the tensor.
        unsigned: whether each -0.0 is to be 0.0.
        channel: words to each place along the tensor's first axis; 0 where it has no other.
    """

    source: Words
    dtype: str
    unsigned: bool = False
    channel: int = 0

    def survivors(self) -> Iterator[Words]:
        """The words that are not 0, in order, in as many blocks."""
        for block in self:
            survivors = np.empty_like(block)
            yield survivors[: kernels.gather(block, survivors)]

    @property
    def size(self) -> int:
        """Words."""
        return self.source.size

    @property
    def word(self) -> np.dtype[Any]:
        """The type of a word."""
        return self.source.dtype

    def whole(self) -> Words:
        """All words at once; made anew unless they are those of the source."""
        return zeros.unsigned(self.source, self.dtype) if self.unsigned else self.source

    def __iter__(self) -> Iterator[Words]:
        for at in range(0, self.size, BLOCK):
            block = self.source[at : at + BLOCK]
            yield zeros.unsigned(block, self.dtype) if self.unsigned else block


def joined(blocks: Iterable[Words], size: int, word: np.dtype[Any]) -> Words:
    """Blocks as one array.

    Args:
        blocks: of `size` words in all.
        size: words.
        word: their type.
    """
    words, at = np.empty(size, word), 0
    for block in blocks:
        words[at : at + block.size] = block
        at += block.size
    return words
