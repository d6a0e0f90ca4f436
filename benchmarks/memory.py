"""Peak memory of packing and unpacking, to the bytes of the tensors.

python benchmarks/memory.py [MiB]    each case in a process of its own; 256 MiB by default
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

KINDS = ("random", "pruned", "shared", "negative zeros", "grid")
PARTS = {"one tensor": 1, "16 tensors": 16}


def state_of(kind: str, parts: int, mebibytes: int) -> "dict[str, object]":
    """Tensors of fp32: random, nine tenths of them zero, of 16 values, masked, or 4 bits a row."""
    import torch

    size = (mebibytes << 18) // parts
    state: dict[str, object] = {}
    for i in range(parts):
        weight = torch.randn(size, generator=torch.Generator().manual_seed(i))
        if kind == "pruned":
            weight[weight.abs() < 1.645] = 0
        elif kind == "shared":
            weight.clamp_(-2, 1.75).mul_(4).round_().div_(4)
        elif kind == "negative zeros":
            weight *= weight.abs() >= 1.645
        elif kind == "grid":
            weight = weight.mul_(2).round_().clamp_(-8, 7).view(-1, 1024)
            weight *= torch.rand(len(weight), 1, generator=torch.Generator().manual_seed(i)) + 0.1
            weight += 0.0  # no -0.0
        state[f"w{i}"] = weight
    return state


def resident() -> int:
    """Bytes of this process in memory."""
    text = Path("/proc/self/statm").read_text(encoding="ascii")
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_of(command: "list[str]") -> int:
    """Bytes by which a command of boildown's, run here, raises what is resident."""
    import torch

    from boildown import codec
    from boildown.cli import main

    grid = (torch.rand(64, 1) + 0.1) * torch.arange(64.0)
    codec.encode({"w": torch.randn(99), "z": torch.eye(50), "g": grid})  # all is imported, compiled
    begin, most, done = resident(), 0, False

    def watch() -> None:
        nonlocal most
        while not done:
            most = max(most, resident())
            time.sleep(0.002)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        if main(command):
            raise SystemExit(1)
    finally:
        done = True
        thread.join()
    return most - begin


def measure(kind: str, parts: int, ending: str, mebibytes: int) -> None:
    """Print one row."""
    import torch

    from boildown.checkpoints.checkpoint import save_safetensors

    with tempfile.TemporaryDirectory() as place:
        path, boil = Path(place) / f"a{ending}", Path(place) / "a.boil"
        state = state_of(kind, parts, mebibytes)
        if ending == ".pt":
            torch.save(state, path)
        else:
            save_safetensors(state, path)  # type: ignore[arg-type]
        del state
        peaks = []
        for command in (["pack", str(path)], ["unpack", str(boil), "-o", f"{place}/b{ending}"]):
            ask = [sys.executable, __file__, "--peak", *command]
            told = subprocess.run(ask, check=True, stdout=subprocess.PIPE, text=True)
            peaks.append(int(told.stdout.splitlines()[-1]) / (mebibytes << 20))
        name = next(name for name, count in PARTS.items() if count == parts)
        print(f"| {kind}, {name}, {ending} | {peaks[0]:.2f} | {peaks[1]:.2f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        print(peak_of(sys.argv[2:]))
    else:
        size = int(sys.argv[1]) if sys.argv[1:] else 256
        for kind in KINDS:
            for count in PARTS.values():
                for ending in (".pt", ".safetensors"):
                    measure(kind, count, ending, size)
