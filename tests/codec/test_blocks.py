"""Large tensors go through the codec block by block: the same bytes as ever, in little memory."""

import hashlib
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from boildown.codec import dtypes
from boildown.codec.blocks import BLOCK
from boildown.codec.kernels import Words
from boildown.codec.tensor import plan, read_tensor

SIZE = 2 * BLOCK + 12_345
NEGATIVE = 0x80000000


def noise(size: int, seed: int) -> Words:
    """32 bits each that no version of a library changes."""
    mixed = (np.arange(size, dtype=np.uint64) + np.uint64(seed << 32)) * np.uint64(
        0x9E3779B97F4A7C15
    )
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(32)).astype(np.uint32)


def shared(size: int, kept: float, values: int) -> Words:
    """Few values, the small ones more often, and zeros."""
    chosen = ((noise(size, 1) / 2.0**32) ** 2 * values).astype(np.float32)
    floats = np.floor(chosen) / np.float32(7) - np.float32(1.03)
    return np.where(noise(size, 2) < kept * 2**32, floats, np.float32(0)).view(np.uint32)


def masked(size: int, kept: float) -> Words:
    """All values differ but the zeros, which have the sign of what was there."""
    words = noise(size, 3) % np.uint32(1 << 30) | noise(size, 4) & np.uint32(NEGATIVE)
    return np.where(noise(size, 5) < kept * 2**32, words, words & np.uint32(NEGATIVE))


def signed(words: Words) -> Words:
    """Half of the zeros negative."""
    return np.where(words == 0, noise(words.size, 6) & np.uint32(NEGATIVE), words)


def apart() -> Words:
    """Two values, with more than a block of zeros between, before and after them."""
    words = np.zeros(3 * SIZE, np.uint32)
    words[[5, 2 * SIZE]] = 0x3FC00000
    return words


def brim(first: int) -> Words:
    """65536 values, and a zero among the first or in the last block."""
    words = np.arange(SIZE, dtype=np.uint32) % 65536 + 1
    words[first] = 0
    return words


CASES: dict[str, tuple[str, Callable[[], Words]]] = {
    "31 values and zero": ("float32", lambda: shared(SIZE, 0.9, 31)),
    "31 values, few": ("float32", lambda: shared(SIZE, 0.1, 31)),
    "300 values": ("float32", lambda: shared(SIZE, 1.0, 300)),
    "300 values, half of them": ("float32", lambda: shared(SIZE, 0.5, 300)),
    "31 values and both zeros": ("float32", lambda: signed(shared(SIZE, 0.9, 31))),
    "31 values, few, both zeros": ("float32", lambda: signed(shared(SIZE, 0.1, 31))),
    "masked": ("float32", lambda: masked(SIZE, 0.1)),
    "hardly masked": ("float32", lambda: masked(SIZE, 0.97)),
    "masked, complex": ("complex64", lambda: masked(2 * SIZE, 0.1).view(np.uint64)),
    "masked, double": (
        "float64",
        lambda: masked(SIZE, 0.1).view(np.float32).astype(np.float64).view(np.uint64),
    ),
    "bfloat16": ("bfloat16", lambda: (noise(SIZE, 7) >> np.uint32(16)).astype(np.uint16)),
    "bfloat16 in float32": ("float32", lambda: noise(SIZE, 7) & np.uint32(0xFFFF0000)),
    "apart": ("float32", apart),
    "brim, zero first": ("int32", lambda: brim(9)),
    "brim, zero last": ("int32", lambda: brim(SIZE - 9)),
    "over the brim late": (
        "int32",
        lambda: np.append(shared(SIZE, 0.5, 9), np.arange(1, 70_000, dtype=np.uint32)),
    ),
    "nothing": ("float32", lambda: np.zeros(SIZE, np.uint32)),
    "nothing, negative": ("float32", lambda: np.full(SIZE, NEGATIVE, np.uint32)),
}
GOLDEN = {  # of the bytes that were written when every tensor was coded whole
    "31 values and zero": "9fbec3baa9fe2c24",
    "31 values, few": "5300c579c1fd86b5",
    "300 values": "321d0c896d913d56",
    "300 values, half of them": "990a3a9dc3ad362b",
    "31 values and both zeros": "9650f73ad84226d8",
    "31 values, few, both zeros": "86f238e3a581ff53",
    "masked": "9f9c5c1a5720fd81",
    "hardly masked": "1feca0044558f36f",
    "masked, complex": "6cda4c475e262900",
    "masked, double": "8fbf26261a2696b7",
    "bfloat16": "805f2555702098db",
    "bfloat16 in float32": "db0fc4064acb6737",
    "apart": "8bee37389d49b501",
    "brim, zero first": "e2902a33e8934521",
    "brim, zero last": "cfa10cb6d87c9c40",
    "over the brim late": "331d2ffa918f4782",
    "nothing": "392e6756212259f6",
    "nothing, negative": "7741d0225e7e1133",
}


def bytes_of(name: str) -> tuple[str, Words, bytes]:
    dtype, words = CASES[name][0], CASES[name][1]()
    return dtype, words, b"".join(plan(words, dtype, paper=True).write())


@pytest.mark.parametrize("name", CASES)
def test_the_bytes_are_those_of_ever_and_come_back(name: str) -> None:
    dtype, words, data = bytes_of(name)
    assert hashlib.sha256(data).hexdigest()[:16] == GOLDEN[name]
    numel = words.nbytes // dtypes.itemsize(dtype)
    back, _ = read_tensor(data, dtype, numel)
    assert (back == words).all()
    assert plan(words, dtype, paper=True).size == len(data)


@pytest.mark.parametrize("name", ["31 values and both zeros", "31 values, few, both zeros"])
def test_without_signs_it_is_as_if_there_were_none(name: str) -> None:
    words = CASES[name][1]()
    unsigned = np.where(words == NEGATIVE, np.uint32(0), words)
    bare = plan(words, "float32", zero_signs=False)
    assert b"".join(bare.write()) == b"".join(plan(unsigned, "float32").write())


@pytest.mark.parametrize("values", [32, 300])
@pytest.mark.parametrize("kept", [0.1, 0.9])
@pytest.mark.parametrize("signs", [False, True])
def test_few_values_take_little_memory(values: int, kept: float, signs: bool) -> None:
    """Beside the tensor and its bytes only those of a few blocks."""
    words = shared(24 * BLOCK, kept, values)
    words = signed(words) if signs else words
    data = b"".join(plan(words, "float32", paper=True).write())  # all is compiled
    whole = words.nbytes
    tracemalloc.start()
    for _ in plan(words, "float32", paper=True).write():
        pass
    packing = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    read_tensor(data, "float32", words.size)
    unpacking = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert packing < 0.4 * whole
    assert unpacking + len(data) < 1.4 * whole
