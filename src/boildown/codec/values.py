"""How values themselves are stored: as they are, in a narrower type, or as a grid.

Values are handled as bit patterns ("words", unsigned integers of the dtype's width), and a form is
used only if it gives back every word exactly, so NaN payloads, infinities, -0.0 and subnormals
survive.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boildown.codec.blocks import BLOCK
from boildown.codec.error import CodecError
from boildown.codec.kernels import Words
from boildown.codec.steps import find_steps

OWN, FLOAT16, BFLOAT16, FLOAT32, INT8, INT16, INT32, GRID = range(8)

_STORED: dict[int, type[np.generic]] = {
    FLOAT16: np.float16,
    BFLOAT16: np.uint16,
    FLOAT32: np.float32,
    INT8: np.int8,
    INT16: np.int16,
    INT32: np.int32,
}
_FORMS: dict[str, tuple[int, ...]] = {  # the narrowest first
    "float32": (FLOAT16, BFLOAT16),
    "float64": (FLOAT16, FLOAT32),
    "int16": (INT8,),
    "int32": (INT8, INT16),
    "int64": (INT8, INT16, INT32),
}
_CHUNK = 1 << 16
_GRID_MOST = 127
_STEP_BYTES = 4


def narrowest_form(blocks: Iterable[Words], dtype: str) -> int:
    """The form, `GRID` aside, that takes the fewest bytes.

    Args:
        blocks: (n,) words each; gone through more than once.
        dtype: of the tensor.
    """
    for form in _FORMS.get(dtype, ()):
        chunks = (words[i : i + _CHUNK] for words in blocks for i in range(0, words.size, _CHUNK))
        if all(np.array_equal(_widen(_narrow(c, dtype, form), dtype, form), c) for c in chunks):
            return form
    return OWN


def stored_size(count: int, itemsize: int, form: int) -> int:
    """Bytes that `count` values take in any form but `GRID`, if their words take `itemsize`."""
    return count * (itemsize if form == OWN else np.dtype(_STORED[form]).itemsize)


def grid_size(count: int) -> int:
    """Bytes that `count` values take in the form `GRID`."""
    return _STEP_BYTES + count


def store(words: Words, dtype: str, form: int) -> bytes | memoryview:
    """Values as bytes, little-endian, in any form but `GRID`; a view where the form is `OWN`."""
    stored = words if form == OWN else _narrow(words, dtype, form)
    return stored.view(np.uint8).data


def grid_step(words: Words, dtype: str) -> np.float32 | None:
    """The step s for which every value is fp32(s * q), q a whole number from -127 to 127.

    Uniform quantization leaves such values; each then takes one byte.

    Args:
        words: (n,), distinct.
        dtype: of the tensor; there is a grid for float32 only.

    Returns:
        None if there is none.
    """
    if dtype != "float32" or not 2 <= words.size <= 2 * _GRID_MOST + 1:
        return None
    steps = find_steps(words.view(np.float32)[None], most=_GRID_MOST)
    if steps is None or not np.array_equal(_on_grid(_whole(words, steps[0]), steps[0]), words):
        return None  # such as for -0.0
    return np.float32(steps[0])


def store_grid(words: Words, step: np.float32) -> bytes:
    """Values as the step and one byte each."""
    return np.float32(step).tobytes() + _whole(words, step).tobytes()


def size_of(form: int, count: int, dtype: str, itemsize: int) -> int:
    """Bytes that `count` stored values take.

    Args:
        form: untrusted.
        count: how many values.
        dtype: of the tensor.
        itemsize: bytes of a word.

    Raises:
        CodecError: if this dtype has no such form.
    """
    if form == GRID and dtype == "float32":
        return grid_size(count)
    if form != OWN and form not in _FORMS.get(dtype, ()):
        raise CodecError(
            f"its values are stored in form {form}, which this version does not know for {dtype}"
        )
    return stored_size(count, itemsize, form)


def load_blocks(data: memoryview, dtype: str, form: int, word: np.dtype[Any]) -> Iterator[Words]:
    """What `load` gives, in blocks."""
    step, data = (data[:_STEP_BYTES], data[_STEP_BYTES:]) if form == GRID else (b"", data)
    size = BLOCK * (1 if form == GRID else stored_size(1, word.itemsize, form))
    for at in range(0, len(data), size):
        part = data[at : at + size]
        yield load(memoryview(b"".join((step, part))) if step else part, dtype, form, word)


def load(data: memoryview, dtype: str, form: int, word: np.dtype[Any]) -> Words:
    """The inverse of `store` and `store_grid`.

    Args:
        data: untrusted, of the length `size_of` gives for a form it accepts.
        dtype: of the tensor.
        form: one that `size_of` accepts for the dtype.
        word: type of the words.

    Returns:
        (n,), not writable where the form is `OWN`.

    Raises:
        CodecError: for a bool that is neither 0 nor 1, and a step that is no number above 0.
    """
    if form == OWN:
        words = np.frombuffer(data, word)
    elif form == GRID:
        step = np.frombuffer(data[:_STEP_BYTES], np.float32)[0]
        if not 0 < step < np.inf:
            raise CodecError("the step of its values is not a number above 0")
        words = _on_grid(np.frombuffer(data[_STEP_BYTES:], np.int8), step)
    else:
        words = _widen(np.frombuffer(data, _STORED[form]), dtype, form)
    if dtype == "bool" and words.max(initial=0) > 1:
        raise CodecError("its elements are bools, and one is neither 0 nor 1")
    return words


def _narrow(words: Words, dtype: str, form: int) -> NDArray[Any]:
    if form == BFLOAT16:
        return (words >> 16).astype(np.uint16)
    with np.errstate(all="ignore"):
        return words.view(dtype).astype(_STORED[form])


def _widen(stored: NDArray[Any], dtype: str, form: int) -> Words:
    if form == BFLOAT16:
        return stored.astype(np.uint32) << np.uint32(16)
    with np.errstate(all="ignore"):
        numbers = stored.astype(dtype)
    return numbers.view(f"u{numbers.itemsize}")


def _whole(words: Words, step: np.float32) -> NDArray[np.int8]:
    ratio = np.nan_to_num(words.view(np.float32) / np.float32(step))
    whole: NDArray[np.int8] = np.clip(np.rint(ratio), -_GRID_MOST, _GRID_MOST).astype(np.int8)
    return whole


def _on_grid(whole: NDArray[np.int8], step: np.float32) -> Words:
    with np.errstate(all="ignore"):
        return (whole.astype(np.float32) * step).view(np.uint32)
