"""The loops that numpy cannot express, compiled by numba.

Everything here works on flat arrays of unsigned integers, the bit patterns of a tensor's elements
("words"). No kernel reads or writes out of bounds whatever its input: `read_bits` and `place` are
fed untrusted bytes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from boildown.compiled import compiled

Words = NDArray[Any]  # uint8, uint16, uint32 or uint64, one dimension
Bytes = NDArray[np.uint8]

DISTINCT_MOST = 65536
WIDTHS = range(1, 9)
_SLOTS_LOG2 = 18
_GAPS_COUNTED = 4096  # longer gaps are rare enough to be taken apart one by one
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Fibonacci hashing
_TOP = np.uint64(64 - _SLOTS_LOG2)


@compiled
def survey(words: Words) -> tuple[int, NDArray[np.int64]]:
    """Count the nonzero words and, for each gap width, the gap symbols they would take.

    Args:
        words: (n,).

    Returns:
        The count, and (9, 256) counts of the gap symbols of width w in row w (row 0 is unused);
        see `boildown.codec.gaps` for what the symbols mean.
    """
    counts = np.zeros((9, 256), np.int64)
    gaps = np.zeros(_GAPS_COUNTED, np.int64)
    nonzero = 0
    gap = 0
    for word in words:
        if word == 0:
            gap += 1
            continue
        nonzero += 1
        if gap < _GAPS_COUNTED:
            gaps[gap] += 1
        else:
            for width in range(1, 9):
                most = (1 << width) - 1
                counts[width, gap % most] += 1
                counts[width, most] += gap // most
        gap = 0
    for width in range(1, 9):
        most = (1 << width) - 1
        for gap in range(_GAPS_COUNTED):
            counts[width, gap % most] += gaps[gap]
            counts[width, most] += gaps[gap] * (gap // most)
    return nonzero, counts


@compiled
def gather(words: Words, survivors: Words) -> None:
    """Copy the nonzero words, in order.

    Args:
        words: (n,).
        survivors: (nonzero,), written.
    """
    at = 0
    for word in words:
        if word != 0:
            survivors[at] = word
            at += 1


@compiled
def distinct(words: Words, codes: NDArray[np.uint16], values: Words) -> int:
    """Number the distinct words in order of appearance, giving up beyond 65536.

    Args:
        words: (n,).
        codes: (n,), written: the number of each word.
        values: (65536,), written: the distinct words.

    Returns:
        How many there are, or -1 for too many; then what was written has no meaning.
    """
    slots = np.full(1 << _SLOTS_LOG2, -1, np.int32)
    wrap = (1 << _SLOTS_LOG2) - 1
    found = 0
    for i in range(words.size):
        word = words[i]
        slot = np.int64((np.uint64(word) * _MIX) >> _TOP)
        code = slots[slot]
        while code >= 0 and values[code] != word:
            slot = (slot + 1) & wrap
            code = slots[slot]
        if code < 0:
            if found == DISTINCT_MOST:
                return -1
            code = np.int32(found)
            slots[slot] = code
            values[found] = word
            found += 1
        codes[i] = np.uint16(code)
    return found


@compiled
def gap_symbols(words: Words, width: int, symbols: Bytes) -> None:
    """Write the gap symbols of the nonzero words.

    Args:
        words: (n,).
        width: bits of a gap, 1 to 8.
        symbols: (count,), written; the count follows from `survey`.
    """
    most = (1 << width) - 1
    at = 0
    gap = 0
    for word in words:
        if word == 0:
            gap += 1
            continue
        while gap >= most:
            symbols[at] = most
            at += 1
            gap -= most
        symbols[at] = gap
        at += 1
        gap = 0


@compiled
def place(symbols: Bytes, width: int, survivors: Words, words: Words) -> bool:
    """Put survivors where gap symbols say; the inverse of `gap_symbols`.

    Args:
        symbols: (count,), each below 2^width; untrusted.
        width: bits of a gap, 1 to 8.
        survivors: (nonzero,), as many as there are symbols below 2^width - 1.
        words: (n,), zeros, written.

    Returns:
        False if the symbols lead past the end of `words`.
    """
    most = (1 << width) - 1
    at = 0
    taken = 0
    for symbol in symbols:
        at += symbol
        if symbol == most:
            continue
        if at >= words.size or taken >= survivors.size:
            return False
        words[at] = survivors[taken]
        taken += 1
        at += 1
    return True


@compiled
def write_bits(
    symbols: Words, codes: NDArray[np.uint64], lengths: NDArray[np.int64], out: Bytes
) -> None:
    """Write codes one after the other, the highest bit first.

    Args:
        symbols: (n,).
        codes: (alphabet,).
        lengths: (alphabet,), bits, at most 24.
        out: written; as many bytes as the codes take.
    """
    pending = np.uint64(0)
    held = 0
    at = 0
    for symbol in symbols:
        length = lengths[symbol]
        pending = (pending << np.uint64(length)) | codes[symbol]
        held += length
        while held >= 8:
            held -= 8
            out[at] = (pending >> np.uint64(held)) & np.uint64(0xFF)
            at += 1
    if held > 0:
        out[at] = (pending << np.uint64(8 - held)) & np.uint64(0xFF)


@compiled
def read_bits(
    data: Bytes,
    lookup: NDArray[np.uint32],
    width: int,
    longest: int,
    first: NDArray[np.int64],
    count: NDArray[np.int64],
    offset: NDArray[np.int64],
    ranked: NDArray[np.uint16],
    symbols: Words,
) -> int:
    """Decode a canonical prefix code: up to `width` bits by a look-up, longer ones by a search.

    Args:
        data: untrusted bytes.
        lookup: (2^width,), symbol * 32 + length by the next `width` bits; 0 for longer codes.
        width: bits looked up at once, 1 to 12.
        longest: length of the longest code, 1 to 24.
        first: (longest + 1,), the first code of each length.
        count: (longest + 1,), how many codes have each length.
        offset: (longest + 1,), where the symbols of each length begin in `ranked`.
        ranked: (used,), the symbols in the order of their codes.
        symbols: (n,), written.

    Returns:
        Bits read, or -1 if the data ended first or held no code.
    """
    pending, at, done = np.uint64(0), 0, 0  # pending: the bits not yet used, from the top
    held: Any = 0  # how many these are; numba types it, not mypy
    batch = 56 // longest
    shift = np.uint64(64 - width)
    while done < symbols.size:
        while held <= 56 and at < data.size:
            pending |= np.uint64(data[at]) << np.uint64(56 - held)
            at += 1
            held += 8
        if longest <= width and held > 56 and symbols.size - done >= batch:
            for _ in range(batch):
                entry = lookup[pending >> shift]
                spent = entry & np.uint32(31)
                symbols[done] = entry >> np.uint32(5)
                done += 1
                pending <<= np.uint64(spent)
                held -= np.int64(spent)
            continue
        entry = lookup[pending >> shift]
        symbol, bits = entry >> np.uint32(5), np.int64(entry & np.uint32(31))
        if bits == 0:
            for length in range(width + 1, longest + 1):
                rank = np.int64(pending >> np.uint64(64 - length)) - first[length]
                if 0 <= rank < count[length]:
                    symbol, bits = ranked[offset[length] + rank], np.int64(length)
                    break
        if bits == 0 or bits > held:
            return -1
        symbols[done] = symbol
        done += 1
        pending <<= np.uint64(bits)
        held -= bits
    return int(at * 8 - held)
