"""Words without structure, byte by byte: all exponents, then all that is below them.

Of each element the sign is rotated to the lowest bit, so that an exponent of 8 bits is one byte.
The bytes of a place are a tensor of bytes themselves and coded as such: exponents, of which there
are few, get short codes, and what nothing is known of stays as it is.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np

from boildown.codec.blocks import Blocks
from boildown.codec.bytewise import Reader
from boildown.codec.coder import Anatomy, Plan, Survey
from boildown.codec.dtypes import word_type
from boildown.codec.error import CodecError
from boildown.codec.kernels import Bytes, Words
from boildown.compiled import compiled

_BYTES = "uint8"
_FEW = 24  # words, of which no bytes of a place save what their codes take to tell


def plan(survey: Survey, limit: int, nested: Callable[[Blocks], Plan]) -> Plan | None:
    """The bytes of all words, the lowest of each first.

    Args:
        survey: of the tensor.
        limit: bytes.
        nested: the cheapest way to write a tensor of bytes.
    """
    blocks = survey.blocks
    if blocks.word.itemsize == 1 or blocks.size < _FEW:
        return None
    words = blocks.whole()
    plans = []
    for place in range(blocks.word.itemsize):
        part = np.empty(blocks.size, np.uint8)
        _take(words, place, part)
        plans.append(nested(Blocks(part, _BYTES)) if _may_shrink(part) else _as_it_is(part))
    size = sum(one.size for one in plans)

    def write() -> Iterator[Any]:
        return chain.from_iterable(one.write() for one in plans)

    return Plan(size, write) if size < limit else None


def _may_shrink(part: Bytes) -> bool:
    """Whether codes of these bytes, and a table of them, can take less than they do."""
    counts = np.bincount(part, minlength=256)
    used = counts[counts > 0]
    return float((used * np.log2(part.size / used)).sum()) + 8 * used.size < 8 * part.size


def _as_it_is(part: Bytes) -> Plan:
    return Plan(1 + part.size, lambda: [b"\0", part.data])  # the coder raw


def read(
    source: Reader, dtype: str, size: int, nested: Callable[[str, int], tuple[Words, Anatomy]]
) -> tuple[Words, Anatomy]:
    """The inverse of `plan`.

    Args:
        source: untrusted.
        dtype: of the tensor.
        size: its words.
        nested: reads a tensor of a dtype and so many words.
    """
    word = word_type(dtype)
    if word.itemsize == 1:
        raise CodecError(f"it is stored as planes, and there are none of {dtype}")
    parts = [nested(_BYTES, size) for _ in range(word.itemsize)]
    words = np.zeros(size, word)
    for place, (part, _) in enumerate(parts):
        _give(words, place, part)
    _turn(words)
    name = f"planes {parts[-1][1].coder}"
    return words, Anatomy(name)


@compiled
def _take(words: Words, place: int, part: Bytes) -> None:
    """A byte of each word, rotated left by one bit."""
    top, shift = np.uint64(8 * words.itemsize - 1), np.uint64(8 * place)
    one, low = np.uint64(1), np.uint64(255)
    for i in range(words.size):
        word = np.uint64(words[i])
        part[i] = (word << one | word >> top) >> shift & low


@compiled
def _give(words: Words, place: int, part: Bytes) -> None:
    shift = np.uint64(8 * place)
    for i in range(words.size):
        words[i] |= words.dtype.type(np.uint64(part[i]) << shift)


@compiled
def _turn(words: Words) -> None:
    """Rotate each word right by one bit."""
    top = np.uint64(8 * words.itemsize - 1)
    for i in range(words.size):
        word = np.uint64(words[i])
        words[i] = word >> np.uint64(1) | word << top
