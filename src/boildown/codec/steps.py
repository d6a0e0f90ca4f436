"""Steps of uniform grids, found in the values alone: v = fp32(s * q), q a whole number.

Quantization leaves such values, one step s to a tensor, a channel or a group of inputs. With Q the
code of the largest magnitude a, s lies within an ulp of a / Q. Each Q is tried, the smallest first,
and a step is one only if it gives back every bit.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from boildown.compiled import compiled

MOST = 255  # the largest magnitude of a code: 8 bits about a zero point anywhere among them
_TABLE = 1024  # slots for the distinct magnitudes of a row
_NEAR = 1e-4  # of a whole number; two roundings of values and 255 make 6e-5
_BOTH, _BELOW, _ABOVE = 0, -1, 1  # of which sign are the values that share a step

Floats = NDArray[np.float32]
Codes = NDArray[Any]  # int8 or int16


def find_steps(matrix: Floats, *, by_sign: bool = False, most: int = MOST) -> Floats | None:
    """The step s of each row for which every value is fp32(s * q), q a whole number.

    A row without anything but zeros has the step 1. The sign of a zero is not looked at. A matrix
    that is no grid is refused at its first row that is none.

    Args:
        matrix: (rows, n).
        by_sign: whether a row has two steps, one for what is below 0 and one for what is above, as
            ternary weights do.
        most: the largest |q|, 1 to 255.

    Returns:
        (rows,), above 0, or (rows, 2) of each sign, -1 first; None if there are no such steps.

    >>> rows = np.array([[0.5, -1.5, 0.0], [0.7, 0.7, -0.7]], np.float32)
    >>> find_steps(rows)
    array([0.5, 0.7], dtype=float32)
    >>> find_steps(np.array([[0.5, 1.234567]], np.float32)) is None
    True
    """
    words = np.ascontiguousarray(matrix).view(np.uint32)
    found = []
    for sign in (_BELOW, _ABOVE) if by_sign else (_BOTH,):
        steps = np.empty(len(words), np.float32)
        if not _find(words, sign, most, steps):
            return None
        found.append(steps)
    return np.stack(found, axis=1) if by_sign else found[0]


def codes_of(matrix: Floats, steps: Floats) -> NDArray[np.int16]:
    """The whole numbers q of a matrix on a grid.

    Args:
        matrix: (rows, n).
        steps: from `find_steps` of it, (rows,) or (rows, 2).

    Returns:
        (rows, n), -255 to 255.

    >>> rows = np.array([[0.5, -1.5, 0.0]], np.float32)
    >>> codes_of(rows, find_steps(rows))
    array([[ 1, -3,  0]], dtype=int16)
    """
    codes = np.empty(matrix.shape, np.int16)
    numbers = np.ascontiguousarray(matrix).reshape(-1)
    encode(numbers, steps.reshape(len(matrix), -1), matrix.shape[1], 0, codes.reshape(-1))
    return codes


def values_of(codes: Codes, steps: Floats) -> Floats:
    """What codes stand for, fp32(s * q); the inverse of `codes_of`.

    Args:
        codes: (rows, n).
        steps: (rows,) or (rows, 2), as from `find_steps`.
    """
    values = np.empty(codes.shape, np.float32)
    flat = np.ascontiguousarray(codes).reshape(-1)
    decode(flat, steps.reshape(len(codes), -1), codes.shape[1], values.reshape(-1))
    return values


@compiled
def _find(words: NDArray[np.uint32], sign: int, most: int, steps: Floats) -> bool:
    """Find the step of each row.

    Args:
        words: (rows, n), the bit patterns.
        sign: of the values that matter.
        most: the largest code.
        steps: (rows,), written.

    Returns:
        Whether each row has one; otherwise what was written has no meaning.
    """
    sizes, ratios = np.empty(most, np.uint32), np.empty(most, np.float64)
    keys, stamps = np.empty(_TABLE, np.uint32), np.full(_TABLE, -1, np.int64)
    for row in range(len(words)):
        count = _distinct(words[row], sign, sizes, keys, stamps, row)
        if count < 0:
            return False
        steps[row] = 1.0 if count == 0 else _step(sizes[:count], ratios, most)
        if steps[row] == 0.0:
            return False
    return True


@compiled
def _distinct(
    words: NDArray[np.uint32],
    sign: int,
    sizes: NDArray[np.uint32],
    keys: NDArray[np.uint32],
    stamps: NDArray[np.int64],
    row: int,
) -> Any:
    """Gather the distinct magnitudes of a row but 0.

    Args:
        words: (n,).
        sign: of the values that matter.
        sizes: (most,), written: their bit patterns.
        keys: (slots,), a hash table.
        stamps: (slots,), which row a slot was last written for.
        row: this one.

    Returns:
        How many; -1 for too many, or if one is not finite.
    """
    count, slots = 0, keys.size - 1
    for word in words:
        size = word & np.uint32(0x7FFFFFFF)
        below = word >> np.uint32(31) != 0
        if size == 0 or (sign == _ABOVE and below) or (sign == _BELOW and not below):
            continue
        slot = np.int64(np.uint32(size * np.uint32(0x9E3779B1)) >> np.uint32(22)) & slots
        while stamps[slot] == row and keys[slot] != size:
            slot = (slot + 1) & slots
        if stamps[slot] == row:
            continue
        if count == sizes.size or size >= np.uint32(0x7F800000):
            return -1
        stamps[slot], keys[slot], sizes[count] = row, size, size
        count += 1
    return count


@compiled
def _step(sizes: NDArray[np.uint32], ratios: NDArray[np.float64], most: int) -> Any:
    """The largest step of which all magnitudes are multiples, 0 if there is none.

    Args:
        sizes: (k,), the bit patterns of the magnitudes, none 0.
        ratios: (at least k,), overwritten.
        most: the largest code.
    """
    numbers = sizes.view(np.float32)
    largest = np.float64(numbers.max())
    for i in range(numbers.size):
        ratios[i] = np.float64(numbers[i]) / largest
    near = np.empty(1, np.float32)
    bits = near.view(np.uint32)
    for top in range(1, most + 1):
        whole = True
        for i in range(numbers.size):
            code = ratios[i] * top
            if not (abs(code - np.rint(code)) < _NEAR and code > 0.5):
                whole = False
                break
        if not whole:
            continue
        for shift in (0, -1, 1):
            near[0] = largest / top
            if shift == -1 and bits[0] == 0:
                continue
            bits[0] += np.uint32(shift)
            if _fits(numbers, near[0], most):
                return near[0]
    return np.float32(0.0)


@compiled
def _fits(numbers: Floats, step: Any, most: int) -> bool:
    if step == 0.0:
        return False
    for number in numbers:
        code = np.rint(np.float64(number) / np.float64(step))
        if code > most or step * np.float32(code) != number:
            return False
    return True


@compiled
def encode(numbers: Floats, steps: Floats, length: int, start: int, codes: Codes) -> None:
    """The whole numbers of consecutive values.

    Args:
        numbers: (n,), all of the grid.
        steps: (rows, 1), of all rows of the matrix; or (rows, 2), for values below 0 and above.
        length: of a row.
        start: place of the first value in the matrix.
        codes: (n,), written; of a type that holds them.
    """
    row, left, last = start // length, length - start % length, steps.shape[1] - 1
    for i in range(numbers.size):
        if left == 0:
            row, left = row + 1, length
        left -= 1
        number = numbers[i]
        step = np.float64(steps[row, 0 if number < 0 else last])
        codes[i] = np.rint(np.float64(number) / step)


@compiled
def decode(codes: Codes, steps: Floats, length: int, numbers: Floats) -> None:
    """The values of whole numbers.

    Args:
        codes: (n,), whole rows.
        steps: (rows, 1) or (rows, 2).
        length: of a row.
        numbers: (n,), written.
    """
    for row in range(len(steps)):
        below, above = steps[row, 0], steps[row, -1]
        for i in range(row * length, (row + 1) * length):
            numbers[i] = (below if codes[i] < 0 else above) * np.float32(codes[i])
