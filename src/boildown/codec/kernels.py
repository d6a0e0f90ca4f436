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
SLOTS = 1 << 18  # of a table of any number of distinct words
GAPS_COUNTED = 4096  # longer gaps are rare enough to be taken apart one by one
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Fibonacci hashing
_HALF = np.uint64(32)


@compiled
def survey(words: Words, gap: int, gaps: NDArray[np.int64], long: NDArray[np.int64]) -> Any:
    """Count the nonzero words and the zeros between them, in one block of a tensor.

    Args:
        words: (n,).
        gap: zeros since the last nonzero word of the blocks before.
        gaps: (4096,), counts of the gaps of each length, added to.
        long: (9, 256), counts of the symbols that longer gaps would take, added to; see
            `gap_histograms`.

    Returns:
        The count, and the zeros at the end.
    """
    nonzero = 0
    for word in words:
        if word == 0:
            gap += 1
            continue
        nonzero += 1
        if gap < GAPS_COUNTED:
            gaps[gap] += 1
        else:
            for width in range(1, 9):
                most = (1 << width) - 1
                long[width, gap % most] += 1
                long[width, most] += gap // most
        gap = 0
    return nonzero, gap


@compiled
def gap_histograms(gaps: NDArray[np.int64], long: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each gap width, the gap symbols that a tensor would take.

    Args:
        gaps: (4096,), from `survey` of all blocks.
        long: (9, 256), likewise.

    Returns:
        (9, 256), counts of the gap symbols of width w in row w (row 0 is unused); see
        `boildown.codec.gaps` for what the symbols mean.
    """
    counts = long.copy()
    for width in range(1, 9):
        most = (1 << width) - 1
        for gap in range(GAPS_COUNTED):
            counts[width, gap % most] += gaps[gap]
            counts[width, most] += gaps[gap] * (gap // most)
    return counts


@compiled
def gather(words: Words, survivors: Words) -> int:
    """Copy the nonzero words, in order.

    Args:
        words: (n,).
        survivors: (n,), written.

    Returns:
        How many there are.
    """
    at = 0
    for word in words:  # without a branch, which a processor would guess wrong
        survivors[at] = word
        at += word != 0
    return at


@compiled
def without_signs(floats: Words, negative: Any, unsigned: Words) -> None:
    """Copy floats, with 0.0 for -0.0.

    Args:
        floats: (n,).
        negative: -0.0.
        unsigned: (n,), written.
    """
    for i in range(floats.size):
        unsigned[i] = floats[i]
        if floats[i] == negative:
            unsigned[i] = 0  # not `0 if ... else`, which makes 64 bits a double


@compiled
def zero_signs(floats: Words, negative: Any, signs: Bytes) -> int:
    """Tell the sign of each zero.

    Args:
        floats: (n,).
        negative: -0.0.
        signs: (n,), written: 1 for -0.0.

    Returns:
        How many zeros there are.
    """
    at = 0
    for word in floats:
        signs[at] = word == negative
        at += (word == negative) | (word == 0)
    return at


@compiled
def slot_of(word: Any, values: Words, slots: NDArray[np.int32]) -> Any:
    """Where a hash table has a word, or where it would be: an open one, with linear probing.

    Args:
        word: looked for.
        values: (k,), the words of the table.
        slots: (a power of two above k,), places in `values`, -1 where there is none.
    """
    last = slots.size - 1
    high = (np.uint64(word) * _MIX) >> _HALF  # of which the upper bits, as many as slots need
    slot = np.int64((high * np.uint64(slots.size)) >> _HALF)
    while slots[slot] >= 0 and values[slots[slot]] != word:
        slot = (slot + 1) & last
    return slot


@compiled
def distinct(
    words: Words, slots: NDArray[np.int32], values: Words, counts: NDArray[np.int64], found: int
) -> int:
    """Count each distinct word, in order of appearance, giving up beyond 65536.

    Args:
        words: (n,), a block of them.
        slots: (s,), the hash table of the words found; see `slot_of`.
        values: (k,), these words; k the number of words of all blocks, 65536 at most.
        counts: (k,), how often each has occurred.
        found: how many there are, from the blocks before.

    Returns:
        How many there are now, or -1 for too many; then what was written has no meaning.
    """
    for word in words:
        slot = slot_of(word, values, slots)
        place = slots[slot]
        if place < 0:
            if found == DISTINCT_MOST:
                return -1
            place = np.int32(found)
            slots[slot] = place
            values[found] = word
            found += 1
        counts[place] += 1
    return found


@compiled
def hashed(values: Words, slots: NDArray[np.int32]) -> None:
    """Make the hash table of distinct words.

    Args:
        values: (k,).
        slots: as for `slot_of`, all -1, written.
    """
    for place in range(values.size):
        slots[slot_of(values[place], values, slots)] = place


@compiled
def places(
    words: Words, values: Words, slots: NDArray[np.int32], found: NDArray[np.uint16]
) -> None:
    """The place of each word in a table.

    Args:
        words: (n,), all in it.
        values: (k,), the words of the table.
        slots: from `hashed`.
        found: (n,), written.
    """
    for i in range(words.size):
        found[i] = np.uint16(slots[slot_of(words[i], values, slots)])


@compiled
def gap_symbols(words: Words, width: int, gap: int, symbols: Bytes) -> Any:
    """Write the gap symbols of the nonzero words of a block.

    Args:
        words: (n,).
        width: bits of a gap, 1 to 8.
        gap: zeros since the last nonzero word of the blocks before.
        symbols: (n + gap // (2^width - 1) + 1,), written.

    Returns:
        How many were written, and the zeros at the end.
    """
    most = (1 << width) - 1
    at = 0
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
    return at, gap


@compiled
def place(symbols: Bytes, start: int, width: int, survivors: Words, words: Words, at: int) -> Any:
    """Put survivors where gap symbols say; the inverse of `gap_symbols`.

    Args:
        symbols: (count,), each below 2^width; untrusted.
        start: the first symbol not yet used.
        width: bits of a gap, 1 to 8.
        survivors: (n,), those that come next.
        words: zeros, written.
        at: the word after the last one written.

    Returns:
        `start` and `at` for the survivors after these; a start of -1 if the symbols lead past the
        end of `words`, or end first.
    """
    most = (1 << width) - 1
    for survivor in survivors:
        symbol: Any = most
        while symbol == most:
            if start >= symbols.size:
                return -1, at
            symbol = np.int64(symbols[start])
            start += 1
            at += symbol
        if at >= words.size:
            return -1, at
        words[at] = survivor
        at += 1
    return start, at


@compiled
def write_bits(
    symbols: Words,
    codes: NDArray[np.uint64],
    lengths: NDArray[np.int64],
    out: Bytes,
    pending: np.uint64,
    held: int,
) -> Any:
    """Write codes one after the other, the highest bit first.

    Args:
        symbols: (n,).
        codes: (alphabet,).
        lengths: (alphabet,), bits, at most 24.
        out: written; as many bytes as the codes and the bits before them take.
        pending: its lowest bits are those not yet written.
        held: how many these are, 0 to 7.

    Returns:
        Bytes written, and `pending` and `held` for what comes next.
    """
    at = 0
    for symbol in symbols:
        length = lengths[symbol]
        pending = (pending << np.uint64(length)) | codes[symbol]
        held += length
        while held >= 8:
            held -= 8
            out[at] = (pending >> np.uint64(held)) & np.uint64(0xFF)
            at += 1
    return at, pending, held


@compiled
def _search(
    pending: np.uint64,
    width: int,
    longest: int,
    first: NDArray[np.int64],
    count: NDArray[np.int64],
    offset: NDArray[np.int64],
    ranked: NDArray[np.uint16],
) -> Any:
    """The symbol and length of a code of over `width` bits; a length of 0 if there is none."""
    for length in range(width + 1, longest + 1):
        rank = np.int64(pending >> np.uint64(64 - length)) - first[length]
        if 0 <= rank < count[length]:
            return np.uint32(ranked[offset[length] + rank]), length
    return np.uint32(0), 0


@compiled
def read_bits(
    data: Bytes,
    start: int,
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
        start: the first bit, which is in them or just after.
        lookup: (2^width,), symbol * 32 + length by the next `width` bits; 0 for longer codes.
        width: bits looked up at once, 1 to 12.
        longest: length of the longest code, 1 to 24.
        first: (longest + 1,), the first code of each length.
        count: (longest + 1,), how many codes have each length.
        offset: (longest + 1,), where the symbols of each length begin in `ranked`.
        ranked: (used,), the symbols in the order of their codes.
        symbols: (n,), written.

    Returns:
        The bit after the last one read, or -1 if the data ended first or held no code.
    """
    at, done = -(-start // 8), 0
    held: Any = 8 * at - start  # bits not yet used, the top ones of `pending`; numba types it
    pending = np.uint64(data[at - 1] if held else 0) << np.uint64((64 - held) & 63)
    batch, shift = 56 // longest, np.uint64(64 - width)
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
            symbol, bits = _search(pending, width, longest, first, count, offset, ranked)
        if bits == 0 or bits > held:
            return -1
        symbols[done] = symbol
        done += 1
        pending <<= np.uint64(bits)
        held -= bits
    return int(at * 8 - held)
