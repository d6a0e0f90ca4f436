"""The process of `fuzz_codec.py` that decodes: FOLDER SEED FIRST COUNT.

It says in FOLDER/status which artifact it is at before it decodes, and on stdout, a line of JSON
each, what it found and, now and then, how much it has done.
"""

import inspect
import json
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from fuzz_codec import artifact, load_corpus
from fuzz_corpus import base_state
from fuzz_parts import FREE, PER_BYTE, Parts, promised_bytes, seal
from torch import Tensor

from boildown import codec
from boildown.codec import CodecError
from boildown.codec.dtypes import itemsize, name_of

SECONDS, RATE, EVERY = 2.0, 256 << 20, 500  # and a second for each 256 MiB that a file may promise
MEMORY = (64 + 16) << 20  # 16 MiB for what threads and the allocator hold
DOORS = 8  # every so-manieth file goes through the doors that take a path as well
State = dict[str, Tensor]

_decode: Any = codec.decode
KNOWN: dict[str, Any] = (
    {"base": base_state()} if "base" in inspect.signature(_decode).parameters else {}
)


class Peak:
    """The most resident bytes since the last `reset`, beyond those then."""

    def __init__(self) -> None:
        self._status = Path("/proc/self/status")
        self._clear = Path("/proc/self/clear_refs")
        self._before = 0

    def _kilobytes(self, key: str) -> int:
        text = self._status.read_text()
        return int(text[text.index(key) + len(key) :].split()[0])

    def reset(self) -> None:
        """Begin anew."""
        self._clear.write_text("5")
        self._before = self._kilobytes("VmRSS:")

    def bytes(self) -> int:
        """So many."""
        return 1024 * (self._kilobytes("VmHWM:") - self._before)


def decode_once(data: bytes, peak: Peak) -> tuple[State | str | Exception, float, int]:
    """The state, or why it was refused, or what else was raised; processor seconds; bytes."""
    found: State | str | Exception
    peak.reset()
    begun = time.process_time()
    try:
        found, _ = _decode(data, **KNOWN)
    except CodecError as error:
        found = str(error)
    except Exception as error:
        found = error
    return found, time.process_time() - begun, peak.bytes()


def same(left: State, right: State) -> bool:
    """Whether two states hold the same bits."""
    return list(left) == list(right) and all(
        bytes_of(a) == bytes_of(b) for a, b in zip(left.values(), right.values(), strict=True)
    )


def bytes_of(tensor: Tensor) -> bytes:
    """Dtype, shape and bits."""
    plain = tensor.contiguous().reshape(-1)
    bits = plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    return f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + bits


def limit(data: bytes) -> int:
    """Bytes of tensors that a file may promise."""
    return FREE + PER_BYTE * len(data)


def counted(state: State) -> int:
    """Bytes of a state as the limit counts them."""
    distinct = {t.data_ptr(): t for t in state.values() if t.numel()}
    return sum(t.numel() * max(itemsize(name_of(t)), 4) for t in distinct.values())


def judge(data: bytes, promised: int, peak: Peak, counts: Counter[str]) -> tuple[str, str] | None:
    """Decode a file: kind and description of a finding, None if all is well."""
    allowed = MEMORY + min(promised, limit(data))
    patience = SECONDS + min(promised, limit(data)) / RATE
    found, seconds, memory = decode_once(data, peak)
    if seconds > patience or memory > allowed:
        again = decode_once(data, peak)  # the first may have compiled something
        seconds, memory = min(seconds, again[1]), min(memory, again[2])
    counts["most seconds, in ms"] = max(counts["most seconds, in ms"], round(1000 * seconds))
    beyond = max(0, memory - min(promised, limit(data)))
    counts["most bytes beyond"] = max(counts["most bytes beyond"], beyond)
    if isinstance(found, Exception):
        return "error", f"{type(found).__name__}: {found}"
    if seconds > patience:
        return "slow", f"{seconds:.2f} s of processor time for {len(data)} bytes"
    if memory > allowed:
        return "memory", f"{memory:,} bytes for {promised:,} promised, {len(data)} in the file"
    if isinstance(found, str):
        counts["refused"] += 1
        counts["reason: " + template(found)] += 1
        return None
    counts["read"] += 1
    if counted(found) > limit(data):
        return "large", f"{counted(found):,} bytes from {len(data)}"
    again_found = decode_once(data, peak)[0]
    if not isinstance(again_found, dict) or not same(found, again_found):
        return "unsteady", "decoded differently the second time"
    return None


def through_doors(data: bytes, path: Path) -> tuple[str, str] | None:
    """What takes a path must read or refuse as well: a finding, None if all is well."""
    path.write_bytes(data)
    unpack: Any = codec.unpack
    for door in (codec.read_config, codec.inspect_file, lambda p: unpack(p, **KNOWN)):
        try:
            door(path)
        except CodecError:
            continue
        except Exception as error:
            return "error", f"by its path: {type(error).__name__}: {error}"
    return None


def template(message: str) -> str:
    """A message without what differs from file to file."""
    message = re.sub(r"'[^']*'|\"[^\"]*\"|b'[^']*'", "...", message)
    return re.sub(r"-?\d[\d,]*", "N", message)[:110]


def promised_by(parts: Parts | None, data: bytes) -> int:
    """What the index promises; where the checksums are wrong, all that it could."""
    return limit(data) if parts is None else promised_bytes(parts)


def main() -> None:
    """Decode artifacts FIRST to COUNT."""
    folder, seed, first, count = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    torch.set_num_threads(1)
    corpus, peak = load_corpus(folder), Peak()
    for parts in corpus:  # compiles, and shows that what is taken apart and sealed is read
        _decode(seal(parts), **KNOWN)
    status = os.open(folder / "status", os.O_WRONLY)
    told: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for number in range(first, count):
        os.pwrite(status, f"{number:<20}".encode(), 0)
        data, parts, how = artifact(corpus, seed, number)
        found = judge(data, promised_by(parts, data), peak, counts)
        if found is None and number % DOORS == 0:
            found = through_doors(data, folder / "file.boil")
        counts["artifacts"] += 1
        counts["damage: " + how] += 1
        if found is not None:
            print(json.dumps({"number": number, "kind": found[0], "seen": found[1]}), flush=True)
        if (number + 1) % EVERY == 0 or number + 1 == count:
            print(json.dumps({"counts": _since(counts, told)}), flush=True)
            told = counts.copy()


def _since(counts: Counter[str], told: Counter[str]) -> dict[str, int]:
    return {k: v - told[k] for k, v in counts.items() if v != told[k]}


if __name__ == "__main__":
    main()
