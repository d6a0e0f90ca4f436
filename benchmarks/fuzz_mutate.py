"""What can be wrong with bytes, and with an index: a table of small damages."""

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from fuzz_parts import Parts, packed_index, resized, seal

from boildown.codec.bytewise import varint

EXTREMES = [0, 1, 2, 127, 128, 255, 256, 65535, 65536, 2**20, 2**31 - 1, 2**31, 2**32, 2**45]
EXTREMES += [2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -1, -2, -128, -(2**31), -(2**63)]
FEW = 24  # bytes at the start of a payload that are hit more often: they tell what follows


def _place(rng: random.Random, size: int) -> int:
    return rng.randrange(min(size, rng.choice([4, FEW, size, size])))


def _span(rng: random.Random, size: int) -> tuple[int, int]:
    start = _place(rng, size)
    return start, min(size, start + rng.choice([1, 2, 4, 8, 30, size]))


def flip(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """One bit, or a few, over."""
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        data[_place(rng, len(data))] ^= 1 << rng.randrange(8)


def byte(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """Other bytes."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        data[_place(rng, len(data))] = rng.choice([0, 255, 1, 128, rng.randrange(256)])


def splice(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """A stretch of another file's payload in place of one of this."""
    other = rng.choice(others)
    start, end = _span(rng, len(data))
    at = rng.randrange(len(other) + 1)
    data[start:end] = other[at : at + rng.choice([end - start, 1, 8, 64, len(other)])]


def graft(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """Another file's payload altogether."""
    data[:] = rng.choice(others)


def cut(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """The end missing."""
    del data[rng.choice([_place(rng, len(data)), rng.randrange(len(data)), len(data) - 1]) :]


def repeat(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """A stretch twice, or many times."""
    start, end = _span(rng, len(data))
    data[start:start] = data[start:end] * rng.choice([1, 1, 2, 50 if end - start < 64 else 1])


def insert(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """Bytes in between, or at the end."""
    at = rng.choice([_place(rng, len(data)), len(data)])
    data[at:at] = rng.randbytes(rng.choice([1, 1, 2, 4, 40]))


def delete(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """A stretch missing."""
    start, end = _span(rng, len(data))
    del data[start:end]


def level(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """A stretch of zeros, or of ones."""
    start, end = _span(rng, len(data))
    data[start:end] = bytes([rng.choice([0, 255])]) * (end - start)


def number(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """An integer of variable length at an extreme."""
    at = _place(rng, len(data))
    value = rng.choice([v for v in EXTREMES if 0 <= v < 2**63])
    data[at : at + rng.choice([1, 1, 2, 5])] = varint(value)


def noise(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """Noise from some place on."""
    at = _place(rng, len(data))
    data[at:] = rng.randbytes(len(data) - at)


def swap(data: bytearray, rng: random.Random, others: Sequence[bytes]) -> None:
    """The ends exchanged."""
    at = rng.randrange(len(data))
    data[:] = data[at:] + data[:at]


Damage = Callable[[bytearray, random.Random, Sequence[bytes]], None]
DAMAGES: tuple[Damage, ...] = (
    flip,
    byte,
    splice,
    graft,
    cut,
    repeat,
    insert,
    delete,
    level,
    number,
    noise,
    swap,
)
_OFTEN = (12, 10, 6, 2, 5, 4, 5, 5, 4, 8, 4, 1)


def damaged(data: bytes, rng: random.Random, others: Sequence[bytes]) -> tuple[bytes, str]:
    """Bytes after one or a few damages, and the name of the first."""
    bad, names = bytearray(data), []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        bad = bad or bytearray(1)
        damage = rng.choices(DAMAGES, _OFTEN)[0]
        damage(bad, rng, others)
        names.append(damage.__name__)
    return bytes(bad), names[0]


def bent(index: Any, rng: random.Random) -> Any:
    """An index with one of its numbers, names or rows another."""
    found = copy.deepcopy(index)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        _bend(found, rng)
    return found


def _lists(value: Any) -> list[list[Any]]:
    if not isinstance(value, list):
        return []
    return [value, *(inner for each in value for inner in _lists(each))]


def _bend(index: Any, rng: random.Random) -> None:
    lists = [each for each in _lists(index) if each]
    if not lists:
        return
    row = rng.choice(lists)
    at = rng.randrange(len(row))
    kind = rng.randrange(8)
    if kind < 4 and type(row[at]) is int:
        near = [row[at] + 1, row[at] - 1, 2 * row[at], row[at] // 2, -1 - row[at]]
        row[at] = rng.choice(near + EXTREMES)
        row[at] = max(-(2**63), min(row[at], 2**64 - 1))
    elif kind == 4:
        row[at] = rng.choice([None, True, 1.5, "x", b"x", [], {}, [[]], {"a": 1}, 2**64 - 1])
    elif kind == 5:
        row.insert(at, copy.deepcopy(rng.choice([row[at], 1, 0, -1, rng.choice(row)])))
    elif kind == 6:
        del row[at]
    else:
        other = rng.randrange(len(row))
        row[at], row[other] = row[other], row[at]


def mutant(rng: random.Random, corpus: Sequence[Parts]) -> tuple[bytes, Parts | None, str]:
    """A damaged file, its parts (None where the checksums were left wrong), and what was done."""
    parts = rng.choice(corpus)
    what = rng.choices(["payload", "index", "packed", "both", "file"], [70, 14, 6, 6, 4])[0]
    others = rng.choice(corpus).payloads or (b"\0",)
    if what == "file":
        data, name = damaged(seal(parts), rng, others)
        return data, None, f"file {name}"
    if what in ("payload", "both") and not parts.payloads:
        what = "index"
    label = what
    if what in ("payload", "both"):
        at = rng.choices(range(len(parts.payloads)), [1 + len(p) for p in parts.payloads])[0]
        bad, name = damaged(parts.payloads[at], rng, others)
        label = f"{what} {name}"
        if rng.random() < 0.9:
            parts = resized(parts, at, bad)
        else:
            payloads = (*parts.payloads[:at], bad, *parts.payloads[at + 1 :])
            parts = replace(parts, payloads=payloads)
    if what in ("index", "both"):
        parts = replace(parts, index=bent(parts.index, rng))
    if what == "packed":
        bad, name = damaged(packed_index(parts), rng, others)
        label = f"{what} {name}"
        parts = replace(parts, index=None, packed=bad)
    return seal(parts), parts, label
