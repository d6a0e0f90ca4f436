"""A static range coder: symbols by how often each occurs, four interleaved streams in one.

The last symbols are 0 until their number is a multiple of four.

The asymmetric numeral systems of Duda, in the variant with ranges (rANS): frequencies of 12 bits,
states of 32, which grow and shrink by 16 bits.

Source: Duda 2013, https://arxiv.org/abs/1311.2540; interleaved as in Giesen 2014,
https://arxiv.org/abs/1402.3392
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boildown.codec.bytewise import Reader, varint
from boildown.codec.error import CodecError
from boildown.compiled import compiled

BITS = 12
WHOLE = 1 << BITS  # what frequencies add up to
MOST = 1024  # symbols
STATES = 4
_LEAST = 1 << 16  # of a state, between symbols

Frequencies = NDArray[np.int64]


def frequencies_of(counts: Frequencies) -> Frequencies:
    """Counts as whole parts of 4096, none 0, in the same order of size.

    Args:
        counts: (k,), above 0, falling; k at most 1024.

    >>> frequencies_of(np.array([900, 99, 1])).tolist()
    [3686, 406, 4]
    """
    exact = counts * (WHOLE / counts.sum())
    parts: Frequencies = np.maximum(np.floor(exact), 1).astype(np.int64)
    left = WHOLE - int(parts.sum())
    while left:  # what is left over, or owed, goes where it changes the least
        change = 1 if left > 0 else -1
        gain = np.where(
            parts + change > 0,
            counts
            * np.log2(
                (parts + change) / parts, where=parts + change > 0, out=np.full(parts.size, -np.inf)
            ),
            -np.inf,
        )
        best = int(gain.argmax())
        parts[best] += change
        left -= change
    return -np.sort(-parts)


def bound(counts: Frequencies, parts: Frequencies) -> int:
    """Bytes that the stream takes at the most."""
    bits = float((counts * np.log2(WHOLE / parts)).sum())
    return math.ceil(bits / 8 * (1 + 1e-4)) + 4 * STATES + 2 * STATES


def pack_frequencies(parts: Frequencies) -> bytes:
    """Falling frequencies, by what each is below the one before."""
    steps = np.diff(-parts, prepend=-WHOLE)
    return varint(parts.size) + b"".join(varint(int(step)) for step in steps)


def read_frequencies(read: Reader) -> Frequencies:
    """The inverse of `pack_frequencies`.

    Raises:
        CodecError: unless they fall, none is 0, and they add up to 4096.
    """
    size = read.varint()
    if not 1 <= size <= MOST:
        raise CodecError(f"{size} frequencies, where 1 to {MOST} are allowed")
    parts = np.empty(size, np.int64)
    before = WHOLE
    for i in range(size):
        before -= read.varint()
        parts[i] = max(before, 0)
    if parts.min() < 1 or parts.sum() != WHOLE:
        raise CodecError(f"frequencies that do not make up {WHOLE}")
    return parts


def encode(symbols: NDArray[np.uint16], parts: Frequencies) -> bytes:
    """The stream of symbols.

    Args:
        symbols: (n,), each below the number of frequencies.
        parts: (k,), frequencies that add up to 4096.
    """
    starts = np.cumsum(parts) - parts
    symbols = np.pad(symbols, (0, -symbols.size % STATES))
    words = np.empty(symbols.size + 2 * STATES, np.uint16)
    at = _encode(symbols, parts.astype(np.uint32), starts.astype(np.uint32), words)
    return words[at:].tobytes()


def decode(read: Reader, parts: Frequencies, count: int) -> NDArray[np.uint16]:
    """The inverse of `encode`: so many symbols; the reader stands behind the stream then.

    Raises:
        CodecError: if the stream is cut short, or is none that `encode` writes.
    """
    most = min(read.left, 4 * STATES + 2 * count) // 2 * 2
    if most < 4 * STATES:
        raise CodecError("its stream of symbols is cut short")
    words = np.zeros(most // 2 + STATES, np.uint16)
    words[: most // 2] = np.frombuffer(bytes(read.data[read.at : read.at + most]), np.uint16)
    starts = np.cumsum(parts) - parts
    inside = np.arange(WHOLE) - np.repeat(starts, parts)
    of_slot = np.repeat(np.arange(parts.size), parts)
    table = (of_slot << 32 | parts[of_slot] << 16 | inside).astype(np.uint64)
    symbols = np.empty(-(-count // STATES) * STATES, np.uint16)
    used = _decode(words, most // 2, table, symbols)
    if used < 0:
        raise CodecError("its stream of symbols is cut short, or does not end as it began")
    read.take(2 * used)
    return symbols[:count]


@compiled
def _encode(symbols: Any, parts: Any, starts: Any, words: Any) -> Any:
    """Write from the end to the front; where the stream begins."""
    states = np.full(STATES, _LEAST, np.uint64)
    at = words.size
    for i in range(symbols.size - 1, -1, -1):
        symbol = symbols[i]
        part, lane = np.uint64(parts[symbol]), i & (STATES - 1)
        state = states[lane]
        if state >= part << np.uint64(32 - BITS):
            at -= 1
            words[at] = np.uint16(state & np.uint64(0xFFFF))
            state >>= np.uint64(16)
        states[lane] = (state // part << np.uint64(BITS)) + state % part + np.uint64(starts[symbol])
    for lane in range(STATES - 1, -1, -1):
        at -= 2
        words[at] = np.uint16(states[lane] & np.uint64(0xFFFF))
        words[at + 1] = np.uint16(states[lane] >> np.uint64(16))
    return at


@compiled
def _decode(words: Any, size: int, table: Any, symbols: Any) -> Any:
    """Words read, -1 where there are too few, or a state does not end where it began.

    All is unsigned and without branches, which makes it 20 times as fast.

    Args:
        words: of the stream, at least 8, and 4 more of any kind.
        size: of the stream, without those.
        table: (4096,), of each slot its symbol, from bit 32 on, the frequency of that, from bit 16
            on, and its place among the slots of the symbol.
        symbols: (a multiple of 4,), written: some of them beyond the last.
    """
    at, one, half = np.uint64(2 * STATES), np.uint64(1), np.uint64(16)
    a = np.uint64(words[0]) | np.uint64(words[1]) << half
    b = np.uint64(words[2]) | np.uint64(words[3]) << half
    c = np.uint64(words[4]) | np.uint64(words[5]) << half
    d = np.uint64(words[6]) | np.uint64(words[7]) << half
    for i in range(symbols.size // STATES):
        first = np.uint64(STATES * i)
        symbols[first], a, at = _next(words, table, a, at)
        symbols[first + one], b, at = _next(words, table, b, at)
        symbols[first + one + one], c, at = _next(words, table, c, at)
        symbols[first + one + one + one], d, at = _next(words, table, d, at)
        if at > np.uint64(size):
            return -1
    begun = a == _LEAST and b == _LEAST and c == _LEAST and d == _LEAST
    return np.int64(at) if begun else -1


@compiled
def _next(words: Any, table: Any, state: Any, at: Any) -> Any:
    """A symbol, the state after it, and where the stream goes on."""
    entry = table[state & np.uint64(WHOLE - 1)]
    low = np.uint64(0xFFFF)
    state = (entry >> np.uint64(16) & low) * (state >> np.uint64(BITS)) + (entry & low)
    more = state < np.uint64(_LEAST)
    state = state << np.uint64(16) | np.uint64(words[at]) if more else state
    return entry >> np.uint64(32), state, at + np.uint64(more)
