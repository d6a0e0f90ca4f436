"""One stream that tensors are written to, or read from, one after another."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boildown.codec.error import CodecError
from boildown.codec.kernels import Bytes
from boildown.codec.mixed import arithmetic as coding
from boildown.codec.mixed import planes
from boildown.codec.mixed.trees import Tree

# Places of the counters that planes share.
FORM, SIGNED, ZERO, CODED, SHAPE, LIVE, ALIVE, TURNED, ALONE, GRID = range(0, 160, 16)
SIZE, DROP, WIDTH, FIRST, LENGTH = range(160, 480, 64)
KEYS, LENGTHS, _COUNTERS = 480, 608, 1472


class Full(Exception):
    """What is written takes more than it may."""


@dataclass(frozen=True)
class _Kept:
    """A stream as it was at some time, and what it had written since another."""

    state: coding.State
    counters: coding.Counters
    mixing: planes.Weights
    front: Bytes
    back: Bytes


class Stream:
    """Writes or reads, by the same calls.

    Args:
        data: to read from; None to write.
        room: bytes that may be written.
    """

    def __init__(self, data: Bytes | None = None, room: int = 0) -> None:
        self.reading = data is not None
        self.front = np.empty(room + 2 * coding.LEFT, np.uint8) if data is None else data
        self.back = np.empty(room + 16, np.uint8) if data is None else data
        self.state = coding.fresh()
        self.counters = np.full(_COUNTERS, coding.UNKNOWN, np.uint32)
        self.mixing = planes.weights()
        if data is not None:
            head = bytes(data[:4]).ljust(4, b"\0")
            self.state[coding.VALUE], self.state[coding.AT] = int.from_bytes(head, "big"), 4

    def small(self, place: int, value: int, most: int) -> int:
        """A number from 0 to `most`, at most 16."""
        self._check()
        return int(
            coding.small(self.state, self.front, self.counters, place, value, most, self.reading)
        )

    def number(self, place: int, value: int) -> int:
        """A number below 2^63."""
        self._check()
        return int(
            coding.number(
                self.state, self.front, self.counters, place, np.int64(value), self.reading
            )
        )

    def numbers(self, place: int, values: NDArray[np.int64]) -> None:
        """Numbers below 2^63; read into `values`."""
        self._go(coding.numbers(self.state, self.front, self.counters, place, values, self.reading))

    def plain(self, values: NDArray[np.uint64], widths: NDArray[np.uint8]) -> None:
        """The low bits of values, as they are; read into `values`."""
        self._go(coding.plain(self.state, self.back, values, widths, self.reading))

    def room_for(self, bits: int) -> None:
        """Make sure, before memory is taken for them, that so many bits can follow as they are."""
        self._go(bits <= 8 * self.back.size - int(self.state[coding.BACK]))

    def flags(self, place: int, flags: NDArray[np.int64]) -> None:
        """Bits, each by the three before it; read into `flags`."""
        self._go(coding.flags(self.state, self.front, self.counters, place, flags, self.reading))

    def lengths(self, lengths: NDArray[np.int64]) -> None:
        """Numbers below 32, each by the one before it, the first by 0; read into `lengths`."""
        self._go(
            coding.lengths(self.state, self.front, self.counters, LENGTHS, lengths, self.reading)
        )

    def plane(self, symbols: NDArray[np.int32], columns: int, tree: Tree, alone: bool) -> None:
        """A matrix by its tree; read into `symbols`. See `code_plane`."""
        self._go(
            planes.code_plane(
                self.state, self.front, self.mixing, symbols, columns, tree, alone, self.reading
            )
        )

    def cost(self, attempt: Callable[[], object]) -> float:
        """Bits up to the end of something; nothing is written.

        Returns:
            Infinity where it has no room.
        """
        start = self._keep(self.state)
        try:
            attempt()
            return self.bits()
        except Full:
            return inf
        finally:
            self._take(start, start)

    def cheapest(self, attempts: Iterable[Callable[[], object]]) -> int | None:
        """Do what takes the fewest bits.

        Args:
            attempts: each writes the same in another way, or raises Full.

        Returns:
            Which it was; None if none had room, with nothing written.
        """
        start = self._keep(self.state)
        best, least, kept = None, 0.0, start
        for i, attempt in enumerate(attempts):
            try:
                attempt()
            except Full:
                self._take(start, start)
                continue
            bits = self.bits()
            if best is None or bits < least:
                best, least, kept = i, bits, self._keep(start.state)
            self._take(start, start)
        if best is not None:
            self._take(kept, start)
        return best

    def bits(self) -> float:
        """Bits written up to here, as exactly as an interval can be told."""
        state = self.state
        part = 32 - log2(int(state[coding.HIGH]) - int(state[coding.LOW]) + 1)
        return 8 * int(state[coding.AT]) + part + int(state[coding.BACK])

    def written(self) -> bytes:
        """All that was written."""
        at, back = int(self.state[coding.AT]), -(-int(self.state[coding.BACK]) // 8)
        end = coding.ending(self.state)
        return bytes(self.front[:at]) + end + bytes(self.back[:back][::-1])

    def close(self) -> None:
        """After all was read.

        Raises:
            CodecError: unless the data is as it would be written.
        """
        taken, end = int(self.state[coding.AT]) - 4, coding.ending(self.state)
        bits = int(self.state[coding.BACK])
        back = -(-bits // 8)
        data = self.front
        if taken + len(end) + back != data.size or bytes(data[taken : taken + len(end)]) != end:
            raise CodecError("its stream does not end where it should")
        if bits % 8 and data[data.size - back] >> bits % 8:
            raise CodecError("bits are left over at the end of its stream")

    def _keep(self, since: coding.State) -> _Kept:
        bytes_, bits = slice(since[coding.AT], self.state[coding.AT]), coding.BACK
        back = slice(since[bits] // 8, -(-self.state[bits] // 8))
        return _Kept(
            self.state.copy(),
            self.counters.copy(),
            self.mixing.copy(),
            self.front[bytes_].copy(),
            self.back[back].copy(),
        )

    def _take(self, kept: _Kept, since: _Kept) -> None:
        self.state[:], self.counters[:], self.mixing[:] = kept.state, kept.counters, kept.mixing
        at, back = int(since.state[coding.AT]), int(since.state[coding.BACK]) // 8
        self.front[at : at + kept.front.size] = kept.front
        self.back[back : back + kept.back.size] = kept.back

    def _check(self) -> None:
        self._go(self.state[coding.AT] <= self.front.size - (-4 if self.reading else coding.LEFT))

    def _go(self, fine: Any) -> None:
        if fine:
            return
        if self.reading:
            raise CodecError("its stream is cut short")
        raise Full
