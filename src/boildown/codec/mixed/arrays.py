"""A tensor's words in the stream, each in the form that takes the fewest bits."""

import math
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boildown.codec import grid, steps, zeros
from boildown.codec.blocks import Blocks
from boildown.codec.codebook import find_codebook
from boildown.codec.dtypes import word_type
from boildown.codec.error import CodecError
from boildown.codec.kernels import Words
from boildown.codec.mixed import forms
from boildown.codec.mixed import stream as places
from boildown.codec.mixed.forms import MANTISSAS, Keys, Kind, fold, unfold
from boildown.codec.mixed.matrices import SIZES_MOST
from boildown.codec.mixed.stream import Stream

_SIMPLE, _FLAT = 5, 6  # forms that hold no other array, and none but of one of these
_INTEGERS = {"int8", "uint8", "int16", "int32", "int64", "uint16", "uint32", "uint64"}
_MANY = 1 << 10  # words, from which a bit of the mantissa goes with the exponent
_FEW = 1 << 16  # words, of which more forms are tried
_SLACK = 1 << 10  # bits, which entropies of few words may be off by
_FEW_BYTES = 1 << 10  # words, below which nothing repeats that a codebook does not find
_REPEATED = 0.9  # of what another form takes, to be worth deflating well
_TINY = 16  # words, of which a codebook may have as many
_PARTS = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}


@dataclass(frozen=True)
class Form:
    """A way to store keys.

    Attributes:
        name: in words.
        code: writes or reads them; `keys` and what is prepared are None where they are read.
        ways: to write keys so: about the bits that each takes, and what `code` is told; none where
            this is no way.
        dtypes: that it is for; None for all.
    """

    name: str
    code: Callable[[Stream, Kind, Keys | None, Any], Keys]
    ways: Callable[[Kind, Keys, Words | None, float], Iterator[tuple[float, Any]]]
    dtypes: Collection[str] | None = None


def code_words(
    stream: Stream, kind: Kind, words: Words | None, base: Words | None = None
) -> tuple[Words, str]:
    """Write or read words; the words, and the name of their form.

    Args:
        stream: to write to or to read from.
        kind: of the tensor, none of complex numbers.
        words: (n,), None where they are read.
        base: (n,), what is known instead of them, if there is something.

    Raises:
        CodecError: for anything that is not written.
        Full: if there is no room.
    """
    plain = words
    signed = kind.dtype in zeros.SIGNED and bool(
        stream.small(places.SIGNED, int(words is not None and _any_signed(words, kind)), 1)
    )
    if signed and words is not None:
        plain = zeros.unsigned(words, kind.dtype)
    keys = None if plain is None else fold(plain, kind.dtype)
    found, name = code_keys(stream, kind, keys, base)
    back = unfold(found, kind.dtype)
    if signed:
        at = np.flatnonzero(found == 0)
        flags = (
            np.zeros(at.size, np.uint64) if words is None else (words[at] != 0).astype(np.uint64)
        )
        stream.room_for(flags.size)
        stream.plain(flags, np.ones(1, np.uint8))
        back[at[flags == 1]] = back.dtype.type(1 << 8 * back.itemsize - 1)
        name = f"{name}, signed zeros"
    if name == "codebook" and (found == found[0]).all():
        name = "constant"
    return back, name


def weighed(stream: Stream, kind: Kind, words: Words) -> list[tuple[float, str]]:
    """What each form would take that may take the least, and the name of the form.

    Args:
        stream: to be written to, which nothing was.
        kind: of the tensor, none of complex numbers.
        words: (n,), without -0.0.

    Returns:
        Bits and names, the fewest first.
    """
    keys = fold(words, kind.dtype)
    ways = _likely(FORMS, kind, keys, None, all_=True)
    bits = [stream.cost(partial(_write, stream, kind, keys, *way)) for way in ways]
    names = [FORMS[number].name for number, _ in ways]
    return sorted((b, name) for b, name in zip(bits, names, strict=True) if b < math.inf)


def code_keys(
    stream: Stream, kind: Kind, keys: Keys | None, base: Words | None, most: int | None = None
) -> tuple[Keys, str]:
    """Write or read keys in the form that takes the fewest bits; forms before `most` alone."""
    table = FORMS[:most]
    if keys is not None:
        ways = _likely(table, kind, keys, base)
        best = stream.cheapest([partial(_write, stream, kind, keys, *way) for way in ways])
        if best is None:  # such as codebooks of keys beyond 2^62
            _write(stream, kind, keys, _PLAIN, None)
            return keys, table[_PLAIN].name
        return keys, table[ways[best][0]].name
    number = stream.small(places.FORM, 0, len(FORMS))
    if number >= len(table):
        raise CodecError(f"form {number} stands for no way of storing a tensor")
    if kind.dtype not in (table[number].dtypes or (kind.dtype,)):
        raise CodecError(f"form {number} stands for no way of storing {kind.dtype}")
    if number == _DIFFERENCE and base is None:
        raise CodecError("it is a difference to another tensor, which is not there")
    told = base if number == _DIFFERENCE else None
    return table[number].code(stream, kind, None, told), table[number].name


def _write(stream: Stream, kind: Kind, keys: Keys, number: int, prepared: Any) -> None:
    stream.small(places.FORM, number, len(FORMS))
    FORMS[number].code(stream, kind, keys, prepared)


def _any_signed(words: Words, kind: Kind) -> bool:
    return bool((words == words.dtype.type(1 << 8 * words.itemsize - 1)).any())


def _likely(
    table: tuple[Form, ...],
    kind: Kind,
    keys: Keys,
    base: Words | None,
    *,
    all_: bool = False,
) -> list[tuple[int, Any]]:
    """The forms, and what each is told, that may take the fewest bits.

    Without contexts a form takes about what its symbols' entropy says; contexts gain as much in all
    forms of one tensor, or nearly. What is far above the least by that measure is not tried, but
    where all are asked for.
    """
    ways: list[tuple[float, int, Any]] = []
    for number, form in sorted(enumerate(table), key=lambda row: row[0] == _DEFLATED):
        least = min((bits for bits, _, _ in ways), default=math.inf)
        ways += ((bits, number, told) for bits, told in form.ways(kind, keys, base, least))
    few = kind.size <= _FEW
    judged = [bits for bits, number, _ in ways if number != _DEFLATED]
    most = min(judged) * (1.25 if few else 1.03) + (_SLACK if few else 0)
    return [(number, told) for bits, number, told in ways if bits <= most or all_]


def _entropy(counts: NDArray[np.int64]) -> float:
    """Bits of so many symbols."""
    used = counts[counts > 0]
    return float((used * np.log2(used.sum() / used)).sum()) if used.size else 0.0


def _books(
    kind: Kind, keys: Keys, base: Words | None, least: float
) -> Iterator[tuple[float, Keys]]:
    book = find_codebook(Blocks(keys, "uint64"))
    if book is None:
        return
    order = np.argsort(book.words)
    if int(book.words.max(initial=0)) >> 62:
        return  # beyond what a number holds
    found, counts = book.words[order], book.counts[order]
    zeros = keys.size - int(counts.sum())
    if zeros:
        found, counts = np.append(np.zeros(1, np.uint64), found), np.append(zeros, counts)
    if found.size <= SIZES_MOST and (found.size * 2 <= keys.size or keys.size <= _TINY):
        bits = 8 * word_type(kind.dtype).itemsize
        yield _entropy(counts) + found.size * bits / 2, found


def _cuts(
    kind: Kind, keys: Keys, base: Words | None, least: float
) -> Iterator[tuple[float, forms.Cut]]:
    if kind.dtype in MANTISSAS:
        cut = forms.cut_of(keys, kind.dtype, int(kind.size >= _MANY))
        heads = (keys >> np.uint64(cut.drop + cut.low + 1)).astype(np.int64)
        full = keys[keys > 1] >> np.uint64(cut.drop + 1)
        below = float((cut.low - 8 * cut.coded + 1) * full.size)
        for byte in range(cut.coded):
            symbols = full >> np.uint64(8 * byte) & np.uint64(255)
            below += _entropy(np.bincount(symbols.astype(np.int64)))
        if int(heads.max(initial=0)) - int(heads[keys > 0].min(initial=1 << 60)) < SIZES_MOST - 1:
            yield _entropy(np.bincount(heads)) + below, cut


def _plain(
    kind: Kind, keys: Keys, base: Words | None, least: float
) -> Iterator[tuple[float, None]]:
    yield 8 * word_type(kind.dtype).itemsize * keys.size, None


def _integers(
    kind: Kind, keys: Keys, base: Words | None, least: float
) -> Iterator[tuple[float, int]]:
    if kind.dtype in _INTEGERS:
        yield _entropy_of_integers(keys, _fine(kind)), _fine(kind)


def _fine(kind: Kind) -> int:
    return 2 if kind.size >= _MANY else 0


def _entropy_of_integers(keys: Keys, fine: int = 0) -> float:
    symbols, widths = forms.heads_of(keys, fine)
    return _entropy(np.bincount(symbols)) + float(widths.sum(dtype=np.int64))


def _deltas(
    kind: Kind, keys: Keys, base: Words | None, least: float
) -> Iterator[tuple[float, Keys]]:
    if kind.dtype in _INTEGERS and kind.size > 1:
        word = word_type(kind.dtype)
        words = np.diff(unfold(keys, kind.dtype), prepend=word.type(0))
        given = fold(words, f"int{8 * word.itemsize}")
        counts = np.unique(given, return_counts=True)[1]
        yield min(_entropy_of_integers(given), _entropy(counts) + 8.0 * counts.size), given


def _code_deltas(stream: Stream, kind: Kind, keys: Keys | None, given: Keys | None) -> Keys:
    """Integers by their differences to the one before, in zigzag."""
    word = word_type(kind.dtype)
    bits = 8 * word.itemsize
    found, _name = code_keys(stream, replace(kind, dtype=f"uint{bits}"), given, None, _SIMPLE)
    words = np.cumsum(unfold(found, f"int{bits}"), dtype=word)
    return fold(words, kind.dtype)


def _code_difference(stream: Stream, kind: Kind, keys: Keys | None, base: Words) -> Keys:
    """Differences to the words of a base, both in the order of their numbers."""
    word = word_type(kind.dtype)
    bits = 8 * word.itemsize
    before = _ordered(fold(base, kind.dtype), kind)
    given = None if keys is None else _difference(kind, keys, before)
    found, _name = code_keys(stream, replace(kind, dtype=f"uint{bits}"), given, None, _SIMPLE)
    words = (unfold(found, f"int{bits}").astype(np.uint64) + before).astype(word)
    return _unordered(words.astype(np.uint64), kind)


def _difference(kind: Kind, keys: Keys, before: Keys) -> Keys:
    word = word_type(kind.dtype)
    return fold((_ordered(keys, kind) - before).astype(word), f"int{8 * word.itemsize}")


def _ordered(keys: Keys, kind: Kind) -> Keys:
    """Whole numbers, modulo 2^64, that rise as the values do that keys stand for."""
    if kind.dtype not in forms.FLOATS:
        return unfold(keys, kind.dtype).astype(np.uint64)
    sizes = keys >> np.uint64(1)
    return np.where(keys & np.uint64(1), ~sizes, sizes)  # -0.0 is -1


def _unordered(words: Keys, kind: Kind) -> Keys:
    word = word_type(kind.dtype)
    if kind.dtype not in forms.FLOATS:
        return fold(words.astype(word), kind.dtype)
    half = np.uint64(1) << np.uint64(8 * word.itemsize - 1)
    below = words & half != 0
    sizes = np.where(below, ~words, words) & (half - np.uint64(1))
    keys: Keys = sizes << np.uint64(1) | below.astype(np.uint64)
    return keys


def _differences(
    kind: Kind, keys: Keys, base: Words | None, least: float
) -> Iterator[tuple[float, Words]]:
    if base is not None:
        given = _difference(kind, keys, _ordered(fold(base, kind.dtype), kind))
        yield _entropy_of_integers(given), base


def _grids(
    kind: Kind, keys: Keys, base: Words | None, least: float
) -> Iterator[tuple[float, grid.Found]]:
    if kind.dtype != "float32" or kind.size < _TINY:
        return
    words = unfold(keys, kind.dtype)
    found = grid.find(Blocks(words, kind.dtype, channel=kind.channel))
    if found is not None:
        codes = _whole(words, found)
        yield _entropy(np.bincount(codes.astype(np.int64))) + 32.0 * found.steps.size, found


def _whole(words: Words, found: grid.Found) -> Keys:
    """The whole numbers of words on a grid, as keys."""
    numbers = words.view(np.float32).reshape(-1, found.length)
    return fold(steps.codes_of(numbers, found.steps).reshape(-1).view(np.uint16), "int16")


def _code_grid(stream: Stream, kind: Kind, keys: Keys | None, found: grid.Found | None) -> Keys:
    """Steps, one or two to each block, and whole numbers."""
    length = stream.number(places.LENGTH, found.length if found else 0)
    by_sign = stream.small(places.GRID, found.steps.shape[1] - 1 if found else 0, 1)
    if length < 2 or kind.size % length:
        raise CodecError(f"blocks of {length} elements do not make up its {kind.size}")
    count = kind.size // length * (1 + by_sign)
    sizes, codes = None, None
    if found is not None and keys is not None:
        sizes = fold(found.steps.reshape(-1).view(np.uint32), "float32")
        codes = _whole(unfold(keys, "float32"), found)
    read, _name = code_keys(stream, Kind("float32", count, count), sizes, None, _FLAT)
    whole, _name = code_keys(stream, replace(kind, dtype="int16"), codes, None, _FLAT)
    scale = unfold(read, "float32").view(np.float32)
    grid.check_steps(scale)
    signed = unfold(whole, "int16").view(np.int16)
    if signed.size and (signed.min() < -steps.MOST or signed.max() > steps.MOST):
        raise CodecError(f"its grid has whole numbers beyond {steps.MOST}")
    values = steps.values_of(signed.reshape(-1, length), scale.reshape(-1, 1 + by_sign))
    return fold(values.reshape(-1).view(np.uint32), "float32")


def _deflated(
    kind: Kind, keys: Keys, base: Words | None, least: float
) -> Iterator[tuple[float, tuple[int, bytes]]]:
    """Where something repeats: the bytes of the keys, the lowest of all first."""
    if kind.size < _FEW_BYTES:
        return
    for turn in (0, 1) if kind.channel > 1 else (0,):
        matrix = keys.reshape(-1, kind.columns)
        rows = (matrix.T if turn else matrix).astype(word_type(kind.dtype)).reshape(-1)
        planes = rows.view(np.uint8).reshape(kind.size, -1).T.tobytes()
        quick = zlib.compress(planes, 1)
        if 8 * len(quick) < _REPEATED * least:
            compress = zlib.compressobj(9, zlib.DEFLATED, -15)
            data = compress.compress(planes) + compress.flush()
            yield 8.0 * len(data), (turn, data)


def _code_deflated(
    stream: Stream, kind: Kind, keys: Keys | None, told: tuple[int, bytes] | None
) -> Keys:
    """The bytes of the keys, deflated (RFC 1951)."""
    word = word_type(kind.dtype)
    turn, data = told or (0, b"")
    turn = stream.small(places.TURNED, turn, 1)
    length = stream.number(places.LENGTH, len(data))
    stream.room_for(8 * length)
    values = np.zeros(length, np.uint64)
    if told is not None and keys is not None:
        values = np.frombuffer(data, np.uint8).astype(np.uint64)
        stream.plain(values, np.array([8], np.uint8))
        return keys
    stream.plain(values, np.array([8], np.uint8))
    inflate = zlib.decompressobj(-15)
    most = kind.size * word.itemsize
    try:
        planes = inflate.decompress(values.astype(np.uint8).tobytes(), most + 1)
    except zlib.error as error:
        raise CodecError(f"it does not inflate: {error}") from None
    if len(planes) != most or not inflate.eof or inflate.unused_data:
        raise CodecError("it does not inflate to its size")
    flat = np.frombuffer(planes, np.uint8).reshape(-1, kind.size).T.copy().view(word).reshape(-1)
    if turn:
        flat = flat.reshape(kind.columns, -1).T.reshape(-1)
    return flat.astype(np.uint64)


# Closed: a file must never name code to import. A new form comes last and keeps its place for ever.
FORMS: tuple[Form, ...] = (
    Form("codebook", forms.code_codebook, _books),
    Form("floats", forms.code_floats, _cuts, MANTISSAS),
    Form("integers", forms.code_integers, _integers),
    Form("plain", forms.code_plain, _plain),
    Form("deflated", _code_deflated, _deflated),
    Form("steps", _code_deltas, _deltas, _INTEGERS),
    Form("grid", _code_grid, _grids, ("float32",)),
    Form("difference", _code_difference, _differences),
)
_PLAIN, _DEFLATED, _DIFFERENCE = 3, 4, 7
