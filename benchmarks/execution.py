"""Compiled networks against dense ones: interleaved medians, at AlexNet's shapes and densities.

python benchmarks/execution.py [--threads 2] [--others]    # --others: what is not shipped, too

Layers alone: AlexNet's fc6 to fc8 at Deep Compression's 9, 9 and 25 %, LeNet-5's fc1 at 3 %,
AlexNet's conv3 at its 35 % and at 5 %, a ResNet's convolution at 9 % and one with half its filters
dead. Goals over dense at batch 1, 32, 256: fc6 2.5, 2, 1.3; fc7 2.5, 2.5, 1.8; fc8 never slower;
LeNet-5's fc1 2 everywhere. Weights are drawn, the smallest are zero. All figures but the dense time
are times faster than dense, by medians; "at best" compares the fastest rounds, which other work on
the machine disturbed least.
"""

import argparse
import statistics
from collections.abc import Callable

import numpy as np
import scipy.sparse
import torch
from numba import njit
from torch import Tensor, nn

from boildown.runtime import Report, compile
from boildown.stopwatch import in_turns

BATCHES = (1, 32, 256)
LINEAR = {  # inputs, outputs, kept
    "AlexNet fc6": (9216, 4096, 0.09),
    "AlexNet fc7": (4096, 4096, 0.09),
    "AlexNet fc8": (4096, 1000, 0.25),
    "LeNet-5 fc1": (800, 500, 0.03),
}
CONVOLUTIONS = {  # inputs, outputs, kernel, pixels of a side, kept
    "AlexNet conv3": (256, 384, 3, 13, 0.35),
    "384 filters": (256, 384, 3, 13, 0.05),
    "64 channels": (64, 64, 3, 8, 0.09),
    "64 channels, dead": (64, 64, 3, 8, "half the filters"),
}


def pruned(layer: nn.Module, kept: float) -> nn.Module:
    """The layer with its smallest weights zero."""
    weight = layer.weight.data
    least = weight.abs().flatten().kthvalue(int((1 - kept) * weight.numel())).values
    weight.mul_(weight.abs() > least)
    return layer


def drawn() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Layers and the shape of a sample."""
    torch.manual_seed(0)
    made: dict[str, tuple[nn.Module, tuple[int, ...]]] = {}
    for name, (inputs, outputs, kept) in LINEAR.items():
        made[f"{name}, {100 * kept:g} %"] = pruned(nn.Linear(inputs, outputs), kept), (inputs,)
    for name, (inputs, outputs, kernel, side, kept) in CONVOLUTIONS.items():
        layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        if isinstance(kept, str):
            layer.weight.data[::2] = 0.0
            made[name] = layer, (inputs, side, side)
        else:
            made[f"{name}, {100 * kept:g} %"] = pruned(layer, kept), (inputs, side, side)
    return made


class Stopwatch:
    """`in_turns`, which keeps what it measured of whole networks."""

    def __init__(self) -> None:
        self.kept: list[dict[str, list[float]]] = []

    def __call__(self, ways: dict[str, Callable[[], object]], *args, **kwargs):
        took = in_turns(ways, *args, **kwargs)
        if "compiled" in took:
            self.kept.append(took)
        return took


def show(name: str, report: Report, kept: list[dict[str, list[float]]]) -> None:
    """A row for each batch."""
    layer, total = (
        [line for line in report.lines() if (line.layer is None) == whole]
        for whole in (False, True)
    )
    kept = kept[-len(total) :]
    for line, whole, took in zip(layer, total, kept, strict=True):
        rows = report.of("0", line.batch)
        tried = [f"{r.form} {line.dense / r.seconds:.2f}" for r in rows if r.form != "dense"]
        cells = (
            *(name, str(line.batch), f"{1e3 * line.dense:.3f}", ", ".join(tried), line.form),
            f"{whole.times:.2f}",
            f"{min(took['dense']) / min(took['compiled']):.2f}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


@njit(fastmath=True, nogil=True)
def product(crow, col, values, chunks, out):
    """A kernel of our own: rows of the weight against 16 columns at a time."""
    for c in range(chunks.shape[0]):
        x = chunks[c]
        for r in range(len(crow) - 1):
            sums = np.zeros(16, np.float32)
            for j in range(crow[r], crow[r + 1]):
                for t in range(16):
                    sums[t] += values[j] * x[col[j], t]
            out[16 * c : 16 * c + 16, r] = sums


def others(layer: nn.Linear, batch: int) -> None:
    """What does not ship, numba and scipy, against dense and torch's sparse rows."""
    x = torch.randn(batch, layer.in_features)
    matrix = scipy.sparse.csr_matrix(layer.weight.detach().numpy())
    ways: dict[str, Callable[[], object]] = {"dense": lambda: layer(x)}
    ways["scipy"] = lambda: matrix @ x.T.numpy()
    compiled = compile(nn.Sequential(layer), x, "csr")
    ways["csr"] = lambda: compiled(x)
    if batch % 16 == 0:

        def own() -> Tensor:
            given = x.view(-1, 16, layer.in_features).mT.contiguous().numpy()
            out = np.empty((batch, layer.out_features), np.float32)
            product(matrix.indptr, matrix.indices, matrix.data, given, out)
            return torch.from_numpy(out) + layer.bias

        assert torch.allclose(own(), layer(x), atol=1e-4)
        ways["numba"] = own
    show_ratios(f"{layer.in_features} x {layer.out_features}", batch, ways)


def blocks(side: int, batch: int) -> None:
    """Whole blocks of a 4096 x 4096 weight, 10 % kept: torch's BSR against its CSR."""
    layer = nn.Linear(4096, 4096)
    there = torch.rand(4096 // side, 4096 // side) < 0.1
    layer.weight.data.mul_(there.repeat_interleave(side, 0).repeat_interleave(side, 1))
    x = torch.randn(batch, 4096)
    matrix = layer.weight.detach().to_sparse_bsr((side, side))
    compiled = compile(nn.Sequential(layer), x, "csr")
    ways: dict[str, Callable[[], object]] = {"dense": lambda: layer(x)}
    ways["csr"] = lambda: compiled(x)
    ways["bsr"] = lambda: (matrix @ x.T.contiguous()).T + layer.bias
    show_ratios(f"blocks of {side}", batch, ways)


def show_ratios(name: str, batch: int, ways: dict[str, Callable[[], object]]) -> None:
    took = in_turns(ways, torch.device("cpu"), at_least=9, at_most=51, seconds=3.0)
    median = {way: statistics.median(each) for way, each in took.items()}
    ratios = [f"{way} {median['dense'] / t:.2f}" for way, t in median.items() if way != "dense"]
    print(f"| {name} | {batch} | {1e3 * median['dense']:.3f} | {', '.join(ratios)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--others", action="store_true")
    parser.add_argument("--only", default="", help="layers whose names start so")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    machine = None
    for name, (layer, shape) in drawn().items():
        if not name.startswith(given.only):
            continue
        watch, x = Stopwatch(), torch.randn(1, *shape)
        made = compile(nn.Sequential(layer), x, batches=given.batches, turns=watch)
        if machine is None:
            machine = made.report.machine
            print(f"{machine}\n")
            print("| layer | batch | dense, ms | forms over dense | taken | compiled | at best |")
            print("|---|---|---|---|---|---|---|")
        show(name, made.report, watch.kept)
    if not given.others:
        return
    print("\n| weight | batch | dense, ms | over dense |\n|---|---|---|---|")
    with torch.no_grad():
        for inputs, outputs, kept in LINEAR.values():
            for batch in given.batches:
                others(pruned(nn.Linear(inputs, outputs), kept), batch)
        for side in (16, 32, 64):
            for batch in given.batches:
                blocks(side, batch)


if __name__ == "__main__":
    main()
