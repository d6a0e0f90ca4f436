"""Weights on uniform grids: the steps of blocks, and a whole number for every element.

A block is the whole tensor, a channel or a group of inputs, and the values in it are fp32(s * q). A
block has one step s, or one for each sign, as ternary weights do. Steps and numbers are tensors
themselves and coded as such, so that few numbers get short codes and many zeros become gaps.

Source: Esser et al. 2020, https://arxiv.org/abs/1902.08153; Zhu et al. 2017 for two steps,
https://arxiv.org/abs/1612.01064
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from boildown.codec import steps as stepping
from boildown.codec import values
from boildown.codec.blocks import BLOCK, Blocks, joined
from boildown.codec.bytewise import Reader, varint
from boildown.codec.codebook import Codebook, find_codebook
from boildown.codec.coder import Anatomy, Plan, Survey
from boildown.codec.dtypes import word_type
from boildown.codec.error import CodecError
from boildown.codec.kernels import Words
from boildown.codec.steps import MOST, Floats, find_steps

_LEAST_GROUP = 8  # elements: a step of 4 bytes each is no gain over less
_STEP_LEAST_BYTES = 2
_FEW = 2  # values beside 0, which take as much as steps
_NARROW, _WIDE = "int8", "int16"  # whole numbers of 8 bits, and about a zero point
_NEGATIVE_ZERO = 0x80000000
_SUBNORMAL = np.finfo(np.float32).tiny  # below it a processor may be told to take 0 instead


@dataclass(frozen=True)
class Found:
    """Steps (rows, 1) or (rows, 2) of blocks of so many elements."""

    length: int
    steps: Floats


@dataclass(frozen=True, kw_only=True)
class CodeBlocks(Blocks):
    """The whole numbers of a tensor on a grid, int8 or int16, made anew each time.

    Attributes:
        grid: steps and length of its blocks.
    """

    grid: Found

    @property
    def word(self) -> np.dtype[Any]:
        return word_type(self.dtype)

    def whole(self) -> Words:
        return joined(self, self.size, self.word)

    def __iter__(self) -> Iterator[Words]:
        numbers = self.source.view(np.float32)
        for at in range(0, self.size, BLOCK):
            block = numbers[at : at + BLOCK]
            codes = np.empty(block.size, self.dtype)
            stepping.encode(block, self.grid.steps, self.grid.length, at, codes)
            yield codes.view(self.word)


def plan(survey: Survey, limit: int, nested: Callable[[Blocks], Plan]) -> Plan | None:
    """Length of a block, steps, and whole numbers.

    Args:
        survey: of the tensor.
        limit: bytes.
        nested: the cheapest way to write a tensor of steps or numbers.
    """
    found = _grid_of(survey, limit)
    if found is None:
        return None
    codes = CodeBlocks(survey.blocks.source, _WIDE, grid=found)
    wide = any((numbers.view(np.int16) != numbers.astype(np.int8)).any() for numbers in codes)
    head = varint(4 * found.length + 2 * wide + found.steps.shape[1] - 1)
    steps = nested(Blocks(found.steps.reshape(-1).view(np.uint32), "float32"))
    if len(head) + steps.size >= limit:
        return None
    rest = nested(codes if wide else replace(codes, dtype=_NARROW))
    return Plan(
        len(head) + steps.size + rest.size, lambda: chain([head], steps.write(), rest.write())
    )


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
    if dtype != "float32":
        raise CodecError(f"it is stored as a grid, and there are none of {dtype}")
    length, kind = divmod(source.varint(), 4)
    wide, by_sign = divmod(kind, 2)
    if not 2 <= length <= size or size % length:
        raise CodecError(f"blocks of {length} elements do not make up its {size}")
    rows = size // length
    steps = nested("float32", rows * (1 + by_sign))[0].view(np.float32)
    check_steps(steps)
    start, whole = source.at, _WIDE if wide else _NARROW
    words, anatomy = nested(whole, size)
    codes = words.view(whole)
    if codes.min() < -MOST or codes.max() > MOST:
        raise CodecError(f"its grid has whole numbers beyond {MOST}")
    numbers = np.empty(size, np.float32)
    stepping.decode(codes, steps.reshape(rows, -1), length, numbers)
    bits, coded = anatomy.weight_bits, anatomy.weight_bits_coded
    if bits is None and anatomy.position_bits is None:  # all numbers as they are
        bits = (np.unique(codes).size - 1).bit_length()
        coded = 8 * (source.at - start - 1) / size
    name = f"grid {anatomy.coder}"
    return numbers.view(np.uint32), replace(
        anatomy, coder=name, weight_bits=bits, weight_bits_coded=coded
    )


def check_steps(steps: Floats) -> None:
    """Refuse steps that are no normal numbers above 0."""
    if not (np.isfinite(steps) & (steps >= _SUBNORMAL)).all():
        raise CodecError("a step of its grid is not a normal number above 0")


def find(blocks: Blocks) -> Found | None:
    """The grid of the longest blocks, whatever it takes; none for two values or fewer.

    Args:
        blocks: of float32, without -0.0.
    """
    book = find_codebook(blocks)
    if book is not None and book.words.size <= _FEW:
        return None
    found = _whole(book, blocks.size) or _by_blocks(blocks, 4 * blocks.size)
    return None if found is None or found.steps.min() < _SUBNORMAL else found


def _grid_of(survey: Survey, limit: int) -> Found | None:
    """The grid of the longest blocks; none where a codebook takes a byte or less for each value."""
    blocks, book = survey.blocks, survey.book
    if survey.dtype != "float32":
        return None
    if book and (book.words.size <= _FEW or values.grid_step(book.words, "float32") is not None):
        return None
    found = _whole(book, blocks.size) or _by_blocks(blocks, limit)
    if found is None or found.steps.min() < _SUBNORMAL:
        return None
    if not blocks.unsigned and any((block == _NEGATIVE_ZERO).any() for block in blocks):
        return None
    return found


def _whole(book: Codebook | None, size: int) -> Found | None:
    if book is None or not 1 <= book.words.size <= 2 * MOST:
        return None
    return _steps(book.words, book.words.size, size)


def _by_blocks(blocks: Blocks, limit: int) -> Found | None:
    for length in _lengths(blocks.channel):
        if _STEP_LEAST_BYTES * (blocks.size // length) >= limit:
            return None
        found = _steps(blocks.source, length, length)
        if found is not None:
            return found
    return None


def _lengths(channel: int) -> Iterator[int]:
    """Of blocks, the longest first: a channel's, and groups' that divide it."""
    if channel >= 2:
        yield channel
    small = [part for part in range(2, math.isqrt(channel) + 1) if channel % part == 0]
    for length in sorted({*small, *(channel // part for part in small)}, reverse=True):
        if length >= _LEAST_GROUP:
            yield length


def _steps(words: Words, row: int, length: int) -> Found | None:
    matrix = words.view(np.float32).reshape(-1, row)
    for by_sign in (False, True):
        steps = find_steps(matrix, by_sign=by_sign)
        if steps is not None:
            return Found(length, steps.reshape(len(matrix), -1))
    return None
