"""What coders that know no tensors are given: symbols with their codebook, or the words themselves.

A tensor of few distinct values is an index map and a codebook, one on a grid per channel is whole
numbers and steps, any other is its words. Nothing is lost either way.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from boildown.codec.dtypes import name_of, to_words
from boildown.codec.steps import codes_of, find_steps

FLOATS = {"float32", "bfloat16", "float16"}  # whose byte planes are looked at, sign last
MOST = 4096  # values of a codebook
CODES = "codes"

Numbers = NDArray[Any]


@dataclass(frozen=True)
class Stream:
    """One array to be coded.

    Attributes:
        words: (n,), unsigned.
        dtype: of the tensor whose words these are, or `CODES`: symbols from 0 on.
        columns: of the matrix whose elements these are.
        zero: the symbol that stands for 0.
    """

    words: Numbers
    dtype: str
    columns: int
    zero: int = 0


def streams_of(state: Mapping[str, Tensor]) -> list[Stream]:
    """All tensors of a state dict as streams."""
    found = [s for tensor in state.values() if tensor.numel() for s in _streams(tensor)]
    return [_narrowed(stream) for stream in found]


def _narrowed(stream: Stream) -> Stream:
    """The same in fp16 where that holds every bit, as it does codebooks that were trained so."""
    if stream.dtype != "float32":
        return stream
    with np.errstate(over="ignore"):
        half = stream.words.view(np.float32).astype(np.float16)
    if not np.array_equal(half.astype(np.float32).view(np.uint32), stream.words):
        return stream
    return Stream(half.view(np.uint16), "float16", stream.columns)


def _streams(tensor: Tensor) -> Iterator[Stream]:
    words, dtype = to_words(tensor), name_of(tensor)
    columns = words.size // len(tensor) if tensor.dim() > 1 else words.size
    if dtype == "int8":
        yield Stream(words + np.uint8(128), CODES, columns, 128)
        return
    values, codes = np.unique(words, return_inverse=True)
    if values.size > 256 and dtype == "float32" and tensor.dim() > 1:
        matrix = words.view(np.float32).reshape(len(tensor), -1)
        steps = find_steps(matrix, most=128)
        steps = find_steps(matrix, by_sign=True, most=128) if steps is None else steps
        if steps is not None:
            symbols = (codes_of(matrix, steps).reshape(-1) + 128).astype(np.uint8)
            yield Stream(symbols, CODES, columns, 128)
            yield Stream(steps.reshape(-1).view(np.uint32), dtype, 1)
            return
    narrower = values.size <= (256 if words.itemsize == 2 else MOST) and words.itemsize > 1
    if narrower and values.size <= words.size // 4:
        rank, values = _ascending(values, dtype)
        symbols = rank[codes].astype(np.uint8 if values.size <= 256 else np.uint16)
        zero = np.flatnonzero(values == 0)
        yield Stream(symbols, CODES, columns, int(zero[0]) if zero.size else 0)
        yield Stream(values, dtype, values.size)
        return
    yield Stream(words, dtype, columns)


def _ascending(values: Numbers, dtype: str) -> tuple[Numbers, Numbers]:
    """Each entry's place in ascending order, and the entries so; the order of fp32 is by value."""
    order = np.argsort(values.view(np.float32) if dtype == "float32" else values, kind="stable")
    rank = np.empty(order.size, np.intp)
    rank[order] = np.arange(order.size)
    return rank, values[order]


def groups_of(streams: list[Stream]) -> dict[tuple[str, int], Numbers]:
    """All streams of one dtype and width behind one another: what packers of bytes are given."""
    kinds = dict.fromkeys((s.dtype, s.words.itemsize) for s in streams)
    return {
        kind: np.concatenate([s.words for s in streams if (s.dtype, s.words.itemsize) == kind])
        for kind in kinds
    }


def planes_of(words: Numbers, dtype: str) -> list[NDArray[np.uint8]]:
    """The bytes of words by significance; in floats the sign goes last, so an exponent is whole."""
    if dtype in FLOATS:
        bits = 8 * words.itemsize
        words = (words << 1) | (words >> (bits - 1))
    return list(np.ascontiguousarray(words.view(np.uint8).reshape(words.size, -1).T))


def words_of(planes: list[NDArray[np.uint8]], dtype: str) -> Numbers:
    """The inverse of `planes_of`."""
    words = np.ascontiguousarray(np.stack(planes, axis=1)).view(f"u{len(planes)}").reshape(-1)
    if dtype in FLOATS:
        bits = 8 * words.itemsize
        words = (words >> 1) | (words << (bits - 1))
    return words


def entropy_bits(counts: Numbers) -> float:
    """Order-0 entropy of so many symbols, in all."""
    counts = counts[counts > 0]
    return float((counts * np.log2(counts.sum() / counts)).sum())


def entropy_bytes(streams: list[Stream]) -> float:
    """Order-0 entropies: of the maps, with their codebooks as they are; of planes of other words.

    The entropy of each tensor's symbols by themselves, no table of theirs counted.
    """
    total = 0.0
    for stream in streams:
        arrays = [stream.words] if stream.dtype == CODES else planes_of(stream.words, stream.dtype)
        for array in arrays:
            bits = entropy_bits(np.bincount(array))
            small = stream.dtype != CODES and array.size < 1024  # a table would cost more
            total += array.nbytes if small else bits / 8
    return total
