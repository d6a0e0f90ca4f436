"""Bytes and speed of boildown's codec against other packers, on the sets of `codec_sets.py`.

    python -m venv ENV
    ENV/bin/pip install dahuffman constriction zstandard openzl zipnn matplotlib boildown
    python -m venv OTHER                         # nncodec asks for a numpy below 2
    OTHER/bin/pip install nncodec "numpy<2" torch
    ENV/bin/python benchmarks/codec_peers.py SETS/*.safetensors \
        --nncodec OTHER/bin/python --out peers --repeats 5

One core, medians of repeats in which all take turns; what is not installed is left out and named.
boildown packs the tensors, names, shapes and all, into a file. The others get the same tensors as
index maps and codebooks (or whole numbers and steps, or words: `codec_streams.py`), and neither
names nor lengths count for them. zlib, zstd, xz, openzl and zipnn get all of one dtype at once.
dahuffman is timed on 200,000 symbols. nncodec has no lossless floats: it is given the maps alone.
"Entropy" is the order-0 entropy of each tensor's map, or of the byte planes of other words.
Writes OUT.md, OUT.json and OUT.png, and prints the first.
"""

import argparse
import inspect
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from codec_nnc import Outside
from codec_peers_out import draw, markdown
from codec_rivals import Rival, rivals
from codec_streams import Stream, entropy_bytes, streams_of
from safetensors.torch import load_file

from boildown import codec

State = dict[str, torch.Tensor]


@dataclass
class Figure:
    """What one packer made of one set.

    Attributes:
        name: of the set.
        peer: the packer.
        raw: bytes of the tensors.
        bytes: of what was kept; None where it cannot.
        encode: seconds, the median.
        decode: the same.
        why: it cannot.
    """

    name: str
    peer: str
    raw: int
    bytes: int | None = None
    encode: float | None = None
    decode: float | None = None
    why: str = ""


@dataclass
class Job:
    """A packer at a set: one try gives bytes and seconds both ways."""

    figure: Figure
    attempt: Callable[[], tuple[int, float, float]]


def ours() -> dict[str, Callable[[State], bytes]]:
    """The coders of boildown, as far as `encode` can be told one."""
    if "coder" not in inspect.signature(codec.encode).parameters:
        return {"boildown": codec.encode}
    coders = ("best", "fast", "huffman")
    return {f"boildown {coder}": partial(_encode_with, coder) for coder in coders}


def _encode_with(coder: str, state: State) -> bytes:
    encode: Any = codec.encode
    return bytes(encode(state, coder=coder))


def attempt_ours(encode: Callable[[State], bytes], state: State) -> tuple[int, float, float]:
    """Encode and decode once, bit for bit."""
    begun = time.perf_counter()
    data = encode(state)
    between = time.perf_counter()
    back, _ = codec.decode(data)
    done = time.perf_counter()
    for name, tensor in state.items():
        assert same(back[name], tensor), name
    return len(data), between - begun, done - between


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether two tensors hold the same bits."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    a, b = (t.contiguous().reshape(-1).view(torch.uint8) for t in (left, right))
    return torch.equal(a, b)


def attempt_rival(rival: Rival, streams: list[Stream]) -> tuple[int, float, float]:
    """The same of another packer."""
    share = rival.share(streams)
    begun = time.perf_counter()
    kept, size = rival.encode(streams)
    between = time.perf_counter()
    back = rival.decode(kept)
    done = time.perf_counter()
    expected = rival.expected(streams)
    assert len(back) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(back, expected, strict=True)), rival.name
    return size, (between - begun) / share, (done - between) / share


def jobs_of(name: str, state: State, found: list[Rival], outside: Outside | None) -> Iterator[Job]:
    """All packers at one set."""
    raw = sum(t.nbytes for t in state.values())
    streams = streams_of(state)
    for peer, encode in ours().items():
        yield Job(Figure(name, peer, raw), partial(attempt_ours, encode, state))
    for rival in found:
        yield Job(Figure(name, rival.name, raw), partial(attempt_rival, rival, streams))
    if outside is not None:
        figure = Figure(name, "nncodec", raw, why=outside.misfit(streams))
        yield Job(figure, partial(outside.attempt, streams))


def measure(jobs: list[Job], repeats: int) -> list[Figure]:
    """Medians of repeats in which all take turns."""
    runs: dict[int, list[tuple[int, float, float]]] = {i: [] for i in range(len(jobs))}
    for _ in range(repeats):
        for i, job in enumerate(jobs):
            if not job.figure.why:
                try:
                    runs[i].append(job.attempt())
                except Exception as error:  # a packer that fails is told of, and the others go on
                    job.figure.why = f"{type(error).__name__}: {error}"[:200]
    for i, job in enumerate(jobs):
        if runs[i] and not job.figure.why:
            job.figure.bytes = runs[i][0][0]
            job.figure.encode = statistics.median(run[1] for run in runs[i])
            job.figure.decode = statistics.median(run[2] for run in runs[i])
    return [job.figure for job in jobs]


def processor() -> str:
    """The CPU by name, and what torch makes of it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    return (
        f"{names[0] if names else platform.processor()}, {torch.backends.cpu.get_cpu_capability()}"
    )


def told(sets: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """The sets, small ones first, as their names and files."""
    for path in sorted(sets, key=lambda path: path.stat().st_size):
        yield path.stem, path


def main() -> None:
    """Measure, and write after each set what is known by then."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("peers"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--once", type=int, default=32, help="MiB from which a set has one turn")
    parser.add_argument("--nncodec", type=Path, default=None, help="a Python that has it")
    parser.add_argument("--only", nargs="*", default=None, help="names of packers")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):  # files of several sections are coded by two threads
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    found, missing = rivals()
    if arguments.only is not None:
        found = [rival for rival in found if rival.name in arguments.only]
    outside = Outside(arguments.nncodec) if arguments.nncodec else None
    codec.decode(codec.encode({"w": torch.eye(300), "v": torch.randn(3000)}))  # compile
    figures: list[Figure] = []
    for name, path in told(arguments.sets):
        state = load_file(path)
        raw = sum(t.nbytes for t in state.values())
        figures.append(Figure(name, "entropy", raw, round(entropy_bytes(streams_of(state)))))
        repeats = 1 if raw > arguments.once << 20 else arguments.repeats
        figures += measure(list(jobs_of(name, state, found, outside)), repeats)
        head = f"{processor()}, one core, medians of {arguments.repeats}"
        head += "".join(f"; not installed: {n} ({why})" for n, why in missing.items())
        arguments.out.with_suffix(".md").write_text(markdown(figures, head))
        kept = {"machine": head, "figures": [asdict(figure) for figure in figures]}
        arguments.out.with_suffix(".json").write_text(json.dumps(kept, indent=1))
        print(
            f"{name}: " + ", ".join(f"{f.peer} {f.bytes}" for f in figures if f.name == name),
            flush=True,
        )
    draw(figures, arguments.out.with_suffix(".png"))
    print(arguments.out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
