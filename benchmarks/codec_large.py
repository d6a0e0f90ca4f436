"""The codec on large and on many tensors: seconds both ways, peak memory, one core against two.

    python benchmarks/codec_large.py [--gib 1] [--cases checkpoint many alexnet] [--out large.json]

checkpoint    fp32 weights as trained ones are distributed, SYNTHETIC: Gaussian, with a scale for
              each layer and a spread of scales over its rows; 1 GiB in a safetensors file
many          20,000 small tensors
alexnet       AlexNet's 61 million weights, pruned and shared, SYNTHETIC (`alexnet_pack.py`)

Each is packed and unpacked by each coder in a process of its own, first on one core and then on
all, and its file inspected. Peaks are what the kernel saw beyond the tensors themselves: packing
begins with them in memory, unpacking ends with them. `codec` without coders is measured as it is.
"""

import argparse
import contextlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CODERS = ("huffman", "fast", "best")
LIMITS = {  # seconds to pack, as asked of the codec
    ("many", "fast"): 5.0,
    ("many", "best"): 5.0,
    ("alexnet", "fast"): 5.0,
    ("alexnet", "best"): 90.0,
}


def checkpoint(gib: float) -> "dict[str, Any]":
    """So many GiB of fp32 in layers of 16 MiB to 64 MiB, with biases."""
    import torch

    generator = torch.Generator().manual_seed(0)
    state: dict[str, Any] = {}
    left, layer = int(gib * 2**28), 0
    while left > 0:
        columns = (4096, 1024, 2048)[layer % 3]
        rows = max(1, min(4096, left // columns))
        scale = 0.02 * 2 ** (0.3 * torch.randn(rows, 1, generator=generator)) / (1 + layer % 5)
        state[f"layers.{layer}.weight"] = torch.randn(rows, columns, generator=generator) * scale
        state[f"layers.{layer}.bias"] = torch.randn(rows, generator=generator) * 0.1
        left -= rows * columns
        layer += 1
    return state


def many() -> "dict[str, Any]":
    """Small tensors, named as in a deep network."""
    import torch

    generator = torch.Generator().manual_seed(0)
    state: dict[str, Any] = {}
    for i in range(5000):
        head = f"blocks.{i // 10}.layers.{i % 10}"
        state[f"{head}.weight"] = torch.randn(8, 6, generator=generator) * 0.1
        state[f"{head}.bias"] = torch.randn(8, generator=generator)
        state[f"{head}.scale"] = torch.ones(8)
        state[f"{head}.count"] = torch.tensor(100)
    return state


def make(case: str, gib: float, path: Path) -> None:
    """Write a case as safetensors."""
    from safetensors.torch import save_file

    if case == "alexnet":
        from alexnet_pack import synthetic

        save_file(synthetic(), path)
    else:
        save_file(checkpoint(gib) if case == "checkpoint" else many(), path)


class Peak:
    """The most resident bytes of this process since `reset`, and what was resident then."""

    def reset(self) -> None:
        """Begin anew."""
        Path("/proc/self/clear_refs").write_text("5")
        self.before = self._bytes("VmRSS:")

    def beyond(self) -> int:
        """Bytes above those at the last reset."""
        return self._bytes("VmHWM:") - self.before

    def _bytes(self, key: str) -> int:
        text = Path("/proc/self/status").read_text()
        return 1024 * int(text[text.index(key) + len(key) :].split()[0])


def options(coder: str) -> "dict[str, Any]":
    """What tells `pack` the coder; nothing where it has none."""
    from boildown import codec

    return {"coder": coder} if "coder" in inspect.signature(codec.pack).parameters else {}


def child(source: Path, target: Path, coder: str, cores: int) -> None:
    """Pack, unpack and inspect here, and print what it took."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    import torch
    from safetensors.torch import load_file

    from boildown import codec

    torch.set_num_threads(1)
    small = {"w": torch.randn(300, 80), "z": torch.eye(50), "n": torch.tensor(1)}
    codec.decode(codec.encode(small, **options(coder)))  # compiled, if it was not
    state = {name: tensor.clone() for name, tensor in load_file(source).items()}
    raw, peak = sum(t.nbytes for t in state.values()), Peak()
    found: dict[str, Any] = {"coder": coder, "cores": cores, "raw": raw, "tensors": len(state)}
    peak.reset()
    begun = time.perf_counter()
    found["bytes"] = codec.pack(state, target, **options(coder))
    found["pack"], found["pack peak"] = time.perf_counter() - begun, peak.beyond()
    begun = time.perf_counter()
    codec.inspect_file(target)
    found["inspect"] = time.perf_counter() - begun
    peak.reset()
    begun = time.perf_counter()
    back = codec.unpack(target)
    found["unpack"], found["unpack peak"] = time.perf_counter() - begun, peak.beyond() - raw
    for name, tensor in state.items():
        assert torch.equal(back[name], tensor), name  # no NaN among them
    print(json.dumps(found))


def command_line(target: Path) -> float:
    """Seconds of `boildown inspect` as it is typed, with the start of Python."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "boildown", "inspect", str(target)]
    with contextlib.suppress(subprocess.TimeoutExpired):  # a row of 200 s says so
        quiet = subprocess.DEVNULL
        subprocess.run(command, check=True, stdout=quiet, stderr=quiet, timeout=200)
    return time.perf_counter() - begun


def measured(case: str, source: Path, coder: str, cores: int) -> "dict[str, Any]":
    """One row, made in another process."""
    target = source.with_suffix(".boil")
    command = [sys.executable, __file__, "--child", str(source), str(target), coder, str(cores)]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(run.stdout.strip().rpartition("\n")[2])
    found |= {"case": case, "command line": command_line(target)}
    target.unlink()
    limit = LIMITS.get((case, coder))
    found["asked"] = "" if limit is None else "yes" if found["pack"] < limit else f"NO, {limit} s"
    return found


def row(found: "dict[str, Any]") -> str:
    """As a line of a table."""
    mib, raw = 2**20, found["raw"]
    cells = [found["case"], found["coder"], found["cores"], f"{found['bytes']:,}"]
    cells += [f"{found['bytes'] / raw:.4f}", f"{found['pack']:.2f}", f"{found['unpack']:.2f}"]
    cells += [f"{raw / found[way] / 1e6:.0f}" for way in ("pack", "unpack")]
    cells += [f"{found[f'{way} peak'] / mib:.0f}" for way in ("pack", "unpack")]
    cells += [f"{found['inspect']:.2f}", f"{found['command line']:.2f}", found["asked"]]
    return "| " + " | ".join(map(str, cells)) + " |"


HEAD = (
    "| case | coder | cores | bytes | of raw | pack, s | unpack, s | pack, MB/s | unpack, MB/s "
    "| pack peak, MiB | unpack peak, MiB | inspect, s | as a command, s | as asked |"
)


def main() -> None:
    """Print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--cases", nargs="+", default=["many", "alexnet", "checkpoint"])
    parser.add_argument("--coders", nargs="+", default=list(CODERS))
    parser.add_argument("--cores", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    if arguments.child:
        source, target, coder, cores = arguments.child
        child(Path(source), Path(target), coder, int(cores))
        return
    coders = arguments.coders if options("fast") else ["version 1"]
    rows = []
    print(HEAD + "\n" + "|---" * HEAD.count("| ") + "|")
    with tempfile.TemporaryDirectory() as folder:
        for case in arguments.cases:
            source = Path(folder) / f"{case}.safetensors"
            make(case, arguments.gib, source)
            for coder in coders:
                for cores in arguments.cores:
                    rows.append(measured(case, source, coder, cores))
                    print(row(rows[-1]), flush=True)
                    if arguments.out is not None:
                        arguments.out.write_text(json.dumps(rows, indent=1))
            source.unlink()


if __name__ == "__main__":
    main()
