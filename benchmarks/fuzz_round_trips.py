"""Odd state dicts by the thousand: each must come back bit for bit, from every coder.

    python benchmarks/fuzz_round_trips.py --count 5000 --seed 0 [--base]

A state of some tensors of any dtypes, sizes and patterns (constant, few or many values, extremes,
repeated or empty rows, runs, steps, grids, NaNs and both zeros, progressions) is encoded by each
coder; the length must be what `estimate` says, and decoding give every bit. With `--base` the
states are told by their differences to one that is near. State number n of a seed is always the
same; `--only N` repeats one.
"""

import argparse
import sys
import time
from collections import Counter
from typing import Any

import numpy as np
import torch
from fuzz_corpus import CODERS, checked
from numpy.typing import NDArray
from torch import Tensor

from boildown import codec
from boildown.codec import dtypes
from boildown.files.progress import progress

State = dict[str, Tensor]
Words = NDArray[Any]


def odd_words(rng: np.random.Generator, dtype: str, rows: int, columns: int) -> Words:
    """(rows * columns,), the bit patterns of a tensor."""
    word, size = dtypes.word_type(dtype), rows * columns
    bits = 8 * word.itemsize
    pool = _values(rng, dtype, int(rng.choice([1, 2, 3, 5, 16, 40, 300, 2000, size])))
    words: Words = pool[rng.integers(0, pool.size, size)].reshape(rows, columns)
    for _ in range(rng.integers(0, 3)):
        kind = rng.integers(0, 9)
        if kind == 0:
            words[rng.random(words.shape) < rng.choice([0.1, 0.5, 0.95, 0.999])] = 0
        elif kind == 1:
            words[rng.random(rows) < 0.5] = rng.choice([0, int(words[0, 0])])
        elif kind == 2:
            words[:, rng.random(columns) < 0.5] = 0
        elif kind == 3:
            words[:] = words[rng.integers(0, rows, rows)]
        elif kind == 4:
            words[:] = (np.arange(size).reshape(words.shape) * rng.integers(1, 1000)).astype(word)
        elif kind == 5:
            words &= word.type((1 << bits) - (1 << int(rng.integers(0, bits))))
        elif kind == 6:
            words[rng.random(words.shape) < 0.3] = word.type(1 << (bits - 1))
        elif kind == 7:
            words[:] = np.sort(words, axis=rng.integers(0, 2))
        else:
            words[rng.random(words.shape) < 0.02] = word.type((1 << bits) - 1)
    return words.reshape(-1) & word.type(1) if dtype == "bool" else words.reshape(-1)


def _values(rng: np.random.Generator, dtype: str, count: int) -> Words:
    """(count,), values to draw from."""
    word = dtypes.word_type(dtype)
    bits = 8 * word.itemsize
    kind = rng.integers(0, 6)
    if kind == 0:
        return np.frombuffer(rng.bytes(count * word.itemsize), word).copy()
    if kind == 1:
        edges = [0, 1, 2, (1 << bits) - 1, 1 << (bits - 1), (1 << (bits - 1)) - 1, 1 << (bits - 2)]
        return np.array(edges, np.uint64).astype(word)[rng.integers(0, 7, count)]
    if kind == 2 and dtype in ("float32", "float64"):
        real = np.dtype(f"f{word.itemsize}")
        normal = rng.normal(size=count) * 10.0 ** rng.integers(-30, 30)
        return normal.astype(real).view(word)
    if kind == 3 and dtype == "float32":
        step = np.float32(rng.random() + 0.01)
        return (np.rint(rng.normal(size=count) * 5).astype(np.float32) * step).view(word)
    if dtype in ("float16", "bfloat16"):
        floats = torch.from_numpy(rng.normal(size=count)).to(getattr(torch, dtype))
        return dtypes.to_words(floats).copy()
    low = int(rng.integers(0, 1 << min(bits - 1, 62)))
    return (low + np.arange(count, dtype=np.uint64)).astype(word)


def odd_tensor(rng: np.random.Generator) -> Tensor:
    """A tensor of any dtype and a shape of up to some thousand elements."""
    dtype = str(rng.choice(dtypes.NAMES))
    rows, columns = (int(rng.choice([1, 2, 3, 7, 16, 40, 70])) for _ in range(2))
    per = dtypes.word_count(dtype, 1)
    words = odd_words(rng, dtype, rows, columns * per)
    shape = [(rows, columns), (rows * columns,), (rows, columns, 1), (1, rows, columns)]
    return dtypes.to_tensor(words, dtype, shape[rng.integers(0, 4)])


def odd_state(seed: int, number: int) -> State:
    """State `number` of a seed."""
    rng = np.random.default_rng([seed, number])
    return {f"layer.{i}.weight": odd_tensor(rng) for i in range(rng.integers(1, 5))}


def near(state: State, seed: int, number: int) -> State:
    """A base: the same tensors with some words another, one missing, one of another shape."""
    rng, found = np.random.default_rng([seed, number, 1]), {}
    for name, tensor in state.items():
        words = dtypes.to_words(tensor).copy()
        kind = rng.integers(0, 5)
        if kind == 0:
            continue
        change = rng.random(words.size) < rng.choice([0, 0.01, 0.5])
        words[change] += words.dtype.type(rng.integers(1, 4))
        words = words & words.dtype.type(1) if tensor.dtype == torch.bool else words
        shape = tensor.shape if kind > 1 else (tensor.numel(),)
        found[name] = dtypes.to_tensor(words, dtypes.name_of(tensor), shape)
    return found | {"stranger": torch.ones(3)}


def trip(state: State, base: State | None, coder: str) -> None:
    """Encode and decode.

    Raises:
        AssertionError: if it does not come back, or takes other bytes than were estimated.
    """
    known = {"base": base} if base else {}
    encode: Any = codec.encode
    estimate: Any = codec.estimate
    data = encode(state, coder=coder, **known)
    checked(coder, data, state, base)
    assert estimate(state, coder=coder, **known) == len(data), "the estimate is another"


def attempt(seed: int, number: int, with_base: bool) -> list[str]:
    """What went wrong with a state, by coder."""
    state, found = odd_state(seed, number), []
    base = near(state, seed, number) if with_base else None
    for coder in CODERS[:1] if with_base else CODERS:
        try:
            trip(state, base, coder)
        except Exception as error:  # whatever it is, it is a finding
            found.append(f"{coder}: {type(error).__name__}: {error}"[:200])
    return found


def main() -> None:
    """Try them, and say which failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, default=None)
    parser.add_argument("--base", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.only is not None:
        for coder in CODERS[:1] if arguments.base else CODERS:
            state = odd_state(arguments.seed, arguments.only)
            base = near(state, arguments.seed, arguments.only) if arguments.base else None
            trip(state, base, coder)
        return
    failed: Counter[str] = Counter()
    begun = time.monotonic()
    with progress("states", arguments.count, in_bytes=False) as advance:
        for number in range(arguments.count):
            for said in attempt(arguments.seed, number, arguments.base):
                failed[said] += 1
                if failed[said] == 1:
                    print(f"seed {arguments.seed}, state {number}: {said}", file=sys.stderr)
            advance(1)
    print(f"{arguments.count} states, {time.monotonic() - begun:.0f} s")
    print(
        "\n".join(f"{count:>6}  {said}" for said, count in failed.most_common(40)) or "no failure"
    )
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
