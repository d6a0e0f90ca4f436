"""Decisions of two ways as bits: a binary arithmetic coder, counters, and numbers made of them.

One function writes and reads: where it reads, what it is told is not looked at, and it returns what
was written. Probabilities are of 16 bits, the interval of 32. Bits that nothing is known of go
another way, from the end of the data to its front, as they are.

Source: the coder is that of Mahoney's PAQ; Witten, Neal and Cleary 1987,
https://doi.org/10.1145/214762.214771
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from boildown.codec.kernels import Bytes
from boildown.codec.mixed.tables import RATE
from boildown.compiled import compiled

LOW, HIGH, VALUE, AT, BACK = range(5)  # of a state: the interval, the bytes read in it, bytes, bits
STATE = 5
ALL = 0xFFFFFFFF
UNKNOWN = np.uint32(1 << 31)  # a counter: 22 bits of probability, 10 of how often it was moved
STEADY = 250  # such, for what numbers are made of
LENGTH_BITS = 6  # of a number's length in bits
NUMBER = 1 << LENGTH_BITS  # counters of a number
SMALL = 16  # counters of a small number
LEFT = 64  # bytes that must be left before so many decisions as a symbol takes

State = NDArray[np.int64]
Counters = NDArray[np.uint32]


def fresh() -> State:
    """The state before anything is written or read."""
    return np.array([0, ALL, 0, 0, 0], np.int64)


@compiled
def decide(state: State, data: Bytes, probability: Any, bit: Any, reading: bool) -> Any:
    """Write or read a bit.

    Args:
        state: of the coder, changed.
        data: with room for 4 bytes where it is written to.
        probability: that it is 1, times 65536: 1 to 65535.
        bit: 0 or 1.
        reading: whether it is read.
    """
    low, high = state[LOW], state[HIGH]
    middle = low + ((high - low) * probability >> 16)
    if reading:
        bit = 1 if state[VALUE] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while (low ^ high) & 0xFF000000 == 0:
        at = state[AT]
        if reading:
            byte = np.int64(data[at]) if at < data.size else 0
            state[VALUE] = (state[VALUE] << 8 & ALL) | byte
        else:
            data[at] = high >> 24
        state[AT] = at + 1
        low = low << 8 & ALL
        high = (high << 8 & ALL) | 255
    state[LOW], state[HIGH] = low, high
    return bit


@compiled
def renewed(counter: Any, bit: Any, most: int) -> Any:
    """A counter after a decision; an int64."""
    seen, chance = counter & 1023, counter >> 10
    chance += ((bit << 22) - chance) * RATE[np.uint64(seen)] >> 16
    return chance << 10 | (seen + 1 if seen < most else seen)


@compiled
def counted(
    state: State, data: Bytes, counters: Counters, place: int, bit: Any, reading: bool
) -> Any:
    """Write or read a bit by what its counter has seen."""
    counter = np.int64(counters[place])
    bit = decide(state, data, max(counter >> 16, 1), np.int64(bit), reading)
    counters[place] = np.uint32(renewed(counter, bit, STEADY))
    return bit


@compiled
def small(
    state: State, data: Bytes, counters: Counters, place: int, value: int, most: int, reading: bool
) -> Any:
    """Write or read a number from 0 to `most`, at most 16, by as many decisions and one more."""
    count = 0
    while count < most:
        more = 1 if count < value else 0
        if not counted(state, data, counters, place + count, more, reading):
            break
        count += 1
    return count


@compiled
def tree(
    state: State, data: Bytes, counters: Counters, place: int, bits: int, value: int, reading: bool
) -> Any:
    """Write or read a number of so many bits, the highest first, each by what was before it."""
    node = 1
    for i in range(bits):
        bit = value >> (bits - 1 - i) & 1
        node = node << 1 | counted(state, data, counters, place + node, bit, reading)
    return node - (1 << bits)


@compiled
def number(
    state: State, data: Bytes, counters: Counters, place: int, value: Any, reading: bool
) -> Any:
    """Write or read a number below 2^63: its length in bits, and the bits after the first."""
    length = 0
    while not reading and value >> length:
        length += 1
    length = tree(state, data, counters, place, LENGTH_BITS, length, reading)
    if length == 0:
        return np.int64(0)
    found = np.int64(1)
    for i in range(length - 2, -1, -1):
        found = found << 1 | decide(state, data, 32768, np.int64(value >> i & 1), reading)
    return found


@compiled
def numbers(
    state: State,
    data: Bytes,
    counters: Counters,
    place: int,
    values: NDArray[np.int64],
    reading: bool,
) -> bool:
    """Write or read numbers: the first by counters of its own.

    Returns:
        False where the data is full, or was read to beyond its end.
    """
    for i in range(values.size):
        if state[AT] > data.size - (-4 if reading else LEFT):
            return False
        own = place + (NUMBER if i else 0)
        values[i] = number(state, data, counters, own, values[i], reading)
    return True


@compiled
def flags(
    state: State, data: Bytes, counters: Counters, place: int, values: Any, reading: bool
) -> bool:
    """Write or read bits, each by the three before it. False as for `numbers`."""
    before = 0
    for i in range(values.size):
        if state[AT] > data.size - (-4 if reading else LEFT):
            return False
        values[i] = counted(state, data, counters, place + before, values[i], reading)
        before = (before << 1 | values[i]) & 7
    return True


@compiled
def lengths(
    state: State, data: Bytes, counters: Counters, place: int, values: Any, reading: bool
) -> bool:
    """Write or read numbers below 32, each by the one before it. False as for `numbers`."""
    before = 0
    for i in range(values.size):
        if state[AT] > data.size - (-4 if reading else LEFT):
            return False
        own = place + 32 * min(before, 26)
        values[i] = before = tree(state, data, counters, own, 5, values[i], reading)
    return True


@compiled
def plain(
    state: State,
    data: Bytes,
    values: NDArray[np.uint64],
    widths: NDArray[np.uint8],
    reading: bool,
) -> bool:
    """Write or read the low bits of values, the lowest first, from the end of the data on.

    Args:
        state: of the coder.
        data: written from its front, and turned round later; read from its end.
        values: (n,), each below 2 to its width; written where they are read.
        widths: (n,), or (1,) for all; 0 to 64 bits.
        reading: whether they are read.

    Returns:
        False where the data is too short.
    """
    at = state[BACK]
    for i in range(values.size):
        width = np.int64(widths[i if widths.size > 1 else 0])
        if at + width > data.size * 8:
            return False
        value, done = values[i], 0
        if reading:
            value = np.uint64(0)
        while done < width:
            byte, inside = at >> 3, at & 7
            taken = min(8 - inside, width - done)
            mask = (1 << taken) - 1
            if reading:
                part = np.int64(data[data.size - 1 - byte]) >> inside & mask
                value |= np.uint64(part) << np.uint64(done)
            else:
                part = np.int64(value >> np.uint64(done)) & mask
                data[byte] = (data[byte] if inside else 0) | part << inside
            done += taken
            at += taken
        values[i] = value
    state[BACK] = at
    return True


def ending(state: State) -> bytes:
    """The fewest bytes after which the interval is known, whatever follows them."""
    low, high = int(state[LOW]), int(state[HIGH])
    for count in range(5):
        unit = 1 << 32 - 8 * count
        least = -(-low // unit)
        if (least + 1) * unit - 1 <= high:
            return least.to_bytes(count, "big")
    raise AssertionError("an interval holds at least one number")
