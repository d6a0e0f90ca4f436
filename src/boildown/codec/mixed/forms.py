"""How the words of a tensor become symbols and bits: a closed table, each form both ways.

Words are folded into keys: floats with their sign as the lowest bit, signed integers in zigzag.
So keys rise with magnitudes, and what is around 0 is small.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boildown.codec.dtypes import word_type
from boildown.codec.error import CodecError
from boildown.codec.kernels import Words
from boildown.codec.mixed import stream as places
from boildown.codec.mixed.matrices import SIZES_MOST, code_matrix
from boildown.codec.mixed.stream import Full, Stream
from boildown.compiled import compiled

Keys = NDArray[np.uint64]

MANTISSAS = {"float32": 23, "float16": 10, "bfloat16": 7, "float64": 52}
FLOATS = {*MANTISSAS, "float8_e4m3fn", "float8_e5m2"}
_SIGNED = {"int8", "int16", "int32", "int64"}
_BYTE = 8
FINE_MOST = 3  # bits of an integer after the first that symbols tell
_CODED_MOST = 6  # bytes of a mantissa
_FEW_VALUED = 7.5  # bits of entropy, below which a byte of mantissas is worth symbols


@dataclass(frozen=True)
class Kind:
    """What is known of a tensor without its words.

    Attributes:
        dtype: its name.
        size: words.
        columns: of the matrix that they are, row by row; 1 or more.
    """

    dtype: str
    size: int
    columns: int

    @property
    def channel(self) -> int:
        """Words to each place along the tensor's first side; 0 where it has no other."""
        return 0 if self.columns == self.size else self.columns


def fold(words: Words, dtype: str) -> Keys:
    """Words as keys, (n,)."""
    keys = np.empty(words.size, np.uint64)
    _fold(words, keys, dtype in FLOATS, dtype in _SIGNED)
    return keys


def unfold(keys: Keys, dtype: str) -> Words:
    """The inverse of `fold`."""
    words = np.empty(keys.size, word_type(dtype))
    _unfold(keys, words, dtype in FLOATS, dtype in _SIGNED)
    return words


@compiled
def _fold(words: Words, keys: Keys, turned: bool, zigzag: bool) -> None:
    top, one = np.uint64(8 * words.itemsize - 1), np.uint64(1)
    mask = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(63) - top
    for i in range(words.size):
        word = np.uint64(words[i])
        sign = word >> top
        if turned:
            word = (word << one | sign) & mask
        elif zigzag:
            word = (word << one ^ (np.uint64(0) - sign)) & mask
        keys[i] = word


@compiled
def _unfold(keys: Keys, words: Words, turned: bool, zigzag: bool) -> None:
    top, one = np.uint64(8 * words.itemsize - 1), np.uint64(1)
    for i in range(keys.size):
        key = keys[i]
        low, half = key & one, key >> one
        if turned:
            key = half | low << top
        elif zigzag:
            key = half ^ (np.uint64(0) - low)
        words[i] = key


def _mask(bits: int) -> np.uint64:
    return np.uint64((1 << bits) - 1)


def _trailing(keys: Keys) -> int:
    """Zero bits at the end of all keys but 0."""
    ored = int(np.bitwise_or.reduce(keys, initial=0))
    return (ored & -ored).bit_length() - 1 if ored else 0


def code_codebook(stream: Stream, kind: Kind, keys: Keys | None, book: Keys | None) -> Keys:
    """Distinct keys, rising, and the place of each element's among them."""
    size = stream.number(places.SIZE, 0 if book is None else book.size - 1) + 1
    if size > min(SIZES_MOST, kind.size):
        raise CodecError(f"a codebook of {size} values")
    float_ = kind.dtype in FLOATS
    bits = 8 * word_type(kind.dtype).itemsize
    drop = 0
    if float_:
        drop = stream.number(places.DROP, 0 if book is None else _trailing(book >> np.uint64(1)))
        if drop >= bits:
            raise CodecError(f"{drop} zeros at the end of a value")
    deltas = np.zeros(size, np.int64)
    if book is not None:
        if bits == 64 and int(book[-1]) >> 62:
            raise Full  # beyond what a number holds
        rising = np.append(-1, _shortened(book, drop).astype(np.int64))
        deltas = rising[1:] - rising[:-1] - 1
    stream.numbers(places.KEYS, deltas)
    if book is None:
        most = 2.0 ** (bits - drop)
        if float(np.cumsum(deltas + 1.0)[-1]) > min(most, 2.0**62):
            raise CodecError("a value of its codebook has too many bits")
        book = _lengthened((np.cumsum(deltas + 1) - 1).astype(np.uint64), drop)
    symbols = np.zeros(kind.size, np.int32)
    if keys is not None:
        symbols = np.searchsorted(book, keys).astype(np.int32)
    code_matrix(stream, symbols, kind.columns, size)
    return book[symbols]


def _shortened(keys: Keys, drop: int) -> Keys:
    one = np.uint64(1)
    return keys >> np.uint64(drop + 1) << one | keys & one


def _lengthened(keys: Keys, drop: int) -> Keys:
    one = np.uint64(1)
    return keys >> one << np.uint64(drop + 1) | keys & one


@dataclass(frozen=True)
class Cut:
    """Where the keys of floats are cut: symbols from their exponents, the rest as it is.

    Attributes:
        drop: zero bits at the end of all mantissas.
        low: bits of a mantissa below its symbol, without those.
        coded: such bytes, the lowest first, that are symbols themselves.
    """

    drop: int
    low: int
    coded: int


def cut_of(keys: Keys, dtype: str, more: int) -> Cut:
    """The cut for these keys.

    Args:
        keys: (n,), of floats.
        dtype: of the tensor.
        more: bits of the mantissa that go with the exponent.
    """
    sizes = keys >> np.uint64(1)
    drop = _trailing(sizes)
    low = max(MANTISSAS[dtype] - more - drop, 0)
    below = sizes[sizes != 0] >> np.uint64(drop)
    coded = 0
    while _BYTE * (coded + 1) <= low and _few_valued(below >> np.uint64(_BYTE * coded)):
        coded += 1
    return Cut(drop, low, coded)


def _few_valued(values: Keys) -> bool:
    counts = np.bincount((values & np.uint64(255)).astype(np.int64), minlength=256)
    used = counts[counts > 0]
    if used.size == 0 or values.size < 4 * used.size:
        return False
    return float((used * np.log2(values.size / used)).sum()) < _FEW_VALUED * values.size


def code_floats(stream: Stream, kind: Kind, keys: Keys | None, cut: Cut | None) -> Keys:
    """Exponents as a matrix of symbols, 0 for a zero if there are any; signs and mantissas."""
    given = cut or Cut(0, 0, 0)
    bits = 8 * word_type(kind.dtype).itemsize - 1
    drop = stream.number(places.DROP, given.drop)
    low = stream.number(places.WIDTH, given.low)
    coded = stream.small(places.CODED, given.coded, _CODED_MOST)
    shift = drop + low
    if shift >= bits or _BYTE * coded > low:
        raise CodecError(f"{low} bits of mantissas above {drop} zeros")
    heads = np.zeros(0, np.int64) if keys is None else _heads(keys, shift)
    least = int(heads[heads >= 0].min(initial=1 << 60)) if (heads >= 0).any() else 0
    zeros = stream.small(places.ZERO, int((heads < 0).any()), 1)
    least = stream.number(places.FIRST, least)
    span = int(heads.max(initial=least)) - least + 1 + zeros
    span = stream.number(places.SIZE, span - 1) + 1
    if span > SIZES_MOST:
        if stream.reading:
            raise CodecError(f"{span} exponents")
        raise Full
    symbols = np.zeros(kind.size, np.int32)
    if keys is not None:
        symbols = np.where(heads < 0, 0, heads - least + zeros).astype(np.int32)
    code_matrix(stream, symbols, kind.columns, span)
    if least + span - zeros > 1 << bits - shift:
        raise CodecError("an exponent beyond what its type has")
    if keys is None:
        below = np.zeros(int(np.count_nonzero(symbols >= zeros)), np.uint64)
    else:
        full, one = keys[heads >= 0], np.uint64(1)
        below = (full >> np.uint64(drop + 1) & _mask(low)) << one | full & one
    below = _code_below(stream, below, low, coded)
    found = np.zeros(kind.size, np.uint64)
    _join(symbols, below, zeros, least, shift, drop, found)
    return found


def _heads(keys: Keys, shift: int) -> NDArray[np.int64]:
    """What symbols tell of keys; -1 for zeros."""
    heads = (keys >> np.uint64(shift + 1)).astype(np.int64)
    heads[keys <= 1] = -1
    return heads


def _code_below(stream: Stream, below: Keys, low: int, coded: int) -> Keys:
    """Mantissas, with the sign as the lowest bit: coded bytes first."""
    one, left = np.uint64(1), np.uint64(_BYTE * coded)
    lowest = None
    for i in range(coded):
        shift = np.uint64(_BYTE * i)
        symbols = (below >> one + shift & np.uint64(255)).astype(np.int32)
        code_matrix(stream, symbols, max(symbols.size, 1), 256)
        part = symbols.astype(np.uint64) << shift
        lowest = part if lowest is None else lowest | part
    rest = below if lowest is None else below >> one + left << one | below & one
    width = low - _BYTE * coded + 1
    stream.room_for(width * rest.size)
    stream.plain(rest, np.array([width], np.uint8))
    if lowest is None:
        return rest
    return (rest >> one << left | lowest) << one | rest & one


@compiled
def _join(
    symbols: Any, below: Keys, zeros: int, least: int, shift: int, drop: int, found: Keys
) -> None:
    """Keys of exponents and what is below them."""
    at, one = 0, np.uint64(1)
    for i in range(symbols.size):
        if symbols[i] < zeros:
            continue
        top = np.uint64(symbols[i] + least - zeros) << np.uint64(shift)
        size = top | below[at] >> one << np.uint64(drop)
        found[i] = size << one | below[at] & one
        at += 1


def code_integers(stream: Stream, kind: Kind, keys: Keys | None, fine: int | None) -> Keys:
    """The highest bits of keys as a matrix of symbols, and the others as they are.

    Keys of n bits have 2^`fine` symbols, which tell the `fine` bits after the first.
    """
    bits = 8 * word_type(kind.dtype).itemsize
    fine = stream.small(places.CODED, fine or 0, FINE_MOST)
    symbols, widths = np.zeros(kind.size, np.int32), np.zeros(kind.size, np.uint8)
    if keys is not None:
        symbols, widths = heads_of(keys, fine)
    size = stream.number(places.SIZE, int(symbols.max(initial=0))) + 1
    if size > (bits - fine + 1) << fine:
        raise CodecError(f"integers of {size} kinds")
    code_matrix(stream, symbols, kind.columns, size)
    widths = np.maximum((symbols >> fine) - 1, 0).astype(np.uint8)
    stream.room_for(int(widths.sum(dtype=np.int64)))
    rest = np.zeros(kind.size, np.uint64) if keys is None else keys & _masks(widths)
    stream.plain(rest, widths)
    heads = symbols.astype(np.uint64)
    large = widths > 0
    one = np.uint64(1) << np.uint64(fine)
    heads[large] = heads[large] & one - np.uint64(1) | one
    found: Keys = heads << widths.astype(np.uint64) | rest
    return found


def heads_of(keys: Keys, fine: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """The symbols of `code_integers`, and how many bits of each key are left."""
    widths = np.maximum(lengths_of(keys) - 1 - fine, 0)
    heads = (keys >> widths.astype(np.uint64)).astype(np.int32) + (widths << fine)
    return heads.astype(np.int32), widths.astype(np.uint8)


def lengths_of(keys: Keys) -> NDArray[np.int32]:
    """Bits of each key."""
    lengths = np.empty(keys.size, np.int32)
    _measure(keys, lengths)
    return lengths


@compiled
def _measure(keys: Keys, lengths: NDArray[np.int32]) -> None:
    for i in range(keys.size):
        key, length = keys[i], 0
        while key:
            key >>= np.uint64(1)
            length += 1
        lengths[i] = length


def _masks(widths: NDArray[np.uint8]) -> Keys:
    return (np.uint64(1) << widths.astype(np.uint64)) - np.uint64(1)


def code_plain(stream: Stream, kind: Kind, keys: Keys | None, _: Any) -> Keys:
    """Keys as they are."""
    bits = 8 * word_type(kind.dtype).itemsize
    stream.room_for(bits * kind.size)
    found = np.zeros(kind.size, np.uint64) if keys is None else keys.copy()
    stream.plain(found, np.array([bits], np.uint8))
    return found
