"""A tensor's words in the stream, each in the form that takes the fewest bits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

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
from boildown.codec.mixed.stream import Full, Stream

_SIMPLE = 4  # forms that do not hold another array
_INTEGERS = {"int16", "int32", "int64", "uint16", "uint32", "uint64"}
_MANY = 1 << 12  # words, from which a bit of the mantissa goes with the exponent
_TINY = 16  # words, of which a codebook may have as many
_PARTS = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}


@dataclass(frozen=True)
class Form:
    """A way to store keys.

    Attributes:
        name: in words.
        code: writes or reads them; `keys` and what is prepared are None where they are read.
        prepared: what each way to write keys so is told; nothing where this is no way.
    """

    name: str
    code: Callable[[Stream, Kind, Keys | None, Any], Keys]
    prepared: Callable[[Kind, Keys, Words | None], Iterator[Any]]


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
        flags = np.zeros(at.size, np.uint64) if words is None else (words[at] != 0).astype(np.uint64)
        stream.room_for(flags.size)
        stream.plain(flags, np.ones(1, np.uint8))
        back[at[flags == 1]] = back.dtype.type(1 << 8 * back.itemsize - 1)
        name = f"{name}, signed zeros"
    return back, name


def code_keys(
    stream: Stream, kind: Kind, keys: Keys | None, base: Words | None, most: int | None = None
) -> tuple[Keys, str]:
    """Write or read keys in the form that takes the fewest bits; forms before `most` alone."""
    table = FORMS[:most]
    if keys is not None:
        ways = [
            (number, prepared)
            for number, form in enumerate(table)
            for prepared in form.prepared(kind, keys, base)
        ]
        best = stream.cheapest(
            (lambda way=way: _write(stream, kind, keys, *way)) for way in ways
        )
        if best is None:
            raise Full
        return keys, table[ways[best][0]].name
    number = stream.small(places.FORM, 0, len(FORMS))
    if number >= len(table):
        raise CodecError(f"form {number} stands for no way of storing a tensor")
    if number == _DIFFERENCE and base is None:
        raise CodecError("it is a difference to another tensor, which is not there")
    return table[number].code(stream, kind, None, base), table[number].name


def _write(stream: Stream, kind: Kind, keys: Keys, number: int, prepared: Any) -> None:
    stream.small(places.FORM, number, len(FORMS))
    FORMS[number].code(stream, kind, keys, prepared)


def _any_signed(words: Words, kind: Kind) -> bool:
    return bool((words == words.dtype.type(1 << 8 * words.itemsize - 1)).any())


def _books(kind: Kind, keys: Keys, base: Words | None) -> Iterator[Keys]:
    book = find_codebook(Blocks(keys, "uint64"))
    if book is None:
        return
    found = np.sort(book.words)
    if (keys == 0).any():
        found = np.concatenate([np.zeros(1, np.uint64), found])
    if found.size <= SIZES_MOST and (found.size * 2 <= keys.size or keys.size <= _TINY):
        yield found


def _cuts(kind: Kind, keys: Keys, base: Words | None) -> Iterator[forms.Cut]:
    if kind.dtype in MANTISSAS:
        yield forms.cut_of(keys, kind.dtype, int(kind.size >= _MANY))


def _once(kind: Kind, keys: Keys, base: Words | None) -> Iterator[None]:
    yield None


def _integers(kind: Kind, keys: Keys, base: Words | None) -> Iterator[None]:
    if kind.dtype in _INTEGERS:
        yield None


def _code_delta(stream: Stream, kind: Kind, keys: Keys | None, _: Any) -> Keys:
    """Integers by their differences to the one before, in zigzag."""
    bits = 8 * word_type(kind.dtype).itemsize
    given = None
    if keys is not None:
        given = fold(np.diff(unfold(keys, kind.dtype), prepend=word_type(kind.dtype).type(0)), f"int{bits}")
    found, _name = code_keys(stream, replace(kind, dtype=f"uint{bits}"), given, None, _SIMPLE)
    words = np.cumsum(unfold(found, f"int{bits}"), dtype=word_type(kind.dtype))
    return fold(words, kind.dtype)


def _code_difference(stream: Stream, kind: Kind, keys: Keys | None, base: Words) -> Keys:
    """Differences to the words of a base, both in the order of their numbers."""
    bits = 8 * word_type(kind.dtype).itemsize
    word = word_type(kind.dtype)
    before = _ordered(fold(base, kind.dtype), kind)
    given = None
    if keys is not None:
        given = fold((_ordered(keys, kind) - before).astype(word), f"int{bits}")
    found, _name = code_keys(stream, replace(kind, dtype=f"uint{bits}"), given, None, _SIMPLE)
    words = (unfold(found, f"int{bits}").astype(np.uint64) + before).astype(word)
    return _unordered(words.astype(np.uint64), kind)


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
    return sizes << np.uint64(1) | below.astype(np.uint64)


def _differences(kind: Kind, keys: Keys, base: Words | None) -> Iterator[Words]:
    if base is not None:
        yield base


def _grids(kind: Kind, keys: Keys, base: Words | None) -> Iterator[grid.Found]:
    if kind.dtype == "float32":
        blocks = Blocks(unfold(keys, kind.dtype), kind.dtype, channel=kind.channel)
        found = grid.find(blocks)
        if found is not None:
            yield found


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
        numbers = unfold(keys, "float32").view(np.float32).reshape(-1, length)
        codes = fold(steps.codes_of(numbers, found.steps).reshape(-1).view(np.uint16), "int16")
    read, _name = code_keys(stream, Kind("float32", count, count), sizes, None, _SIMPLE)
    whole, _name = code_keys(stream, replace(kind, dtype="int16"), codes, None, _SIMPLE)
    scale = unfold(read, "float32").view(np.float32)
    grid.check_steps(scale)
    signed = unfold(whole, "int16").view(np.int16)
    if signed.size and (signed.min() < -steps.MOST or signed.max() > steps.MOST):
        raise CodecError(f"its grid has whole numbers beyond {steps.MOST}")
    values = steps.values_of(signed.reshape(-1, length), scale.reshape(-1, 1 + by_sign))
    return fold(values.reshape(-1).view(np.uint32), "float32")


# Closed: a file must never name code to import. A new form comes last and keeps its place for ever.
FORMS: tuple[Form, ...] = (
    Form("codebook", forms.code_codebook, _books),
    Form("floats", forms.code_floats, _cuts),
    Form("integers", forms.code_integers, _integers),
    Form("plain", forms.code_plain, _once),
    Form("steps", _code_delta, _integers),
    Form("grid", _code_grid, _grids),
    Form("difference", _code_difference, _differences),
)
_DIFFERENCE = 6
