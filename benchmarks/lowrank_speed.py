"""Factors at a quarter of a layer's operations against the layer: interleaved medians.

python benchmarks/lowrank_speed.py [--large]     # --large: big images at batch 256 too

AlexNet's fc6 to fc8, and VGG-16's convolutions from 256 channels up at their shapes on 224 pixels.
Goals: 2.5 times for the fully connected layers, 2.3 times for the convolutions. Convolutions are
timed in both memory formats; a scheme's ratio is that of its better one to the dense layer's better
one. Values do not matter, so factors are not computed.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from boildown.lowrank import scheme as schemes
from boildown.lowrank.factored_layer import blank

DENSE = {"fc6": (9216, 4096), "fc7": (4096, 4096), "fc8": (4096, 1000)}
CONVOLUTIONS = {  # inputs, outputs, pixels of a side
    "conv3_2, conv3_3": (256, 256, 56),
    "conv4_1": (256, 512, 28),
    "conv4_2, conv4_3": (512, 512, 28),
    "conv5_1 to conv5_3": (512, 512, 14),
}
BATCHES = (1, 32, 256)
MOST = 1 << 26  # floats of an input without --large: 256 MiB


def rank_at(module: nn.Module, scheme: str, fraction: float) -> int:
    """The highest rank whose factors cost at most a fraction of the layer's operations."""
    most = fraction * schemes.dense_flops(module)
    return min(schemes.full_rank(module, scheme), int(most // schemes.flops(module, scheme, 1)))


def medians(ways: dict[str, Callable[[], Tensor]], repeats: int) -> dict[str, float]:
    """Milliseconds of each, measured in turns."""
    took: dict[str, list[float]] = {way: [] for way in ways}
    for way in ways.values():
        way()
    for _ in range(repeats):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            took[name].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(each) for name, each in took.items()}


def measure(name: str, layer: nn.Module, x: Tensor, fraction: float, repeats: int) -> None:
    """Print a row for each scheme."""
    kinds: dict[str, nn.Module] = {"dense": layer}
    for scheme in schemes.schemes_for(layer):
        rank = rank_at(layer, scheme, fraction)
        kinds[f"{scheme} {rank}"] = blank(layer, scheme, rank)
    formats = {"contiguous": torch.contiguous_format}
    if x.ndim == 4:
        formats["channels last"] = torch.channels_last
    times: dict[tuple[str, str], float] = {}
    for name_of_format, form in formats.items():
        given = x.contiguous(memory_format=form)
        ways = {}
        for kind, module in kinds.items():
            module.to(memory_format=form)
            ways[kind] = lambda m=module, given=given: m(given)
        for kind, took in medians(ways, repeats).items():
            times[kind, name_of_format] = took
    for kind in kinds:
        each = [times[kind, form] for form in formats]
        dense = [times["dense", form] for form in formats]
        own = ", ".join(f"{d / t:.2f}" for d, t in zip(dense, each, strict=True))
        best = f"{min(dense) / min(each):.2f}"
        cells = (name, str(len(x)), kind, ", ".join(f"{t:.2f}" for t in each), own, best)
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--fraction", type=float, default=0.25, help="of the layer's operations")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15, help="at batch 1; fewer for larger ones")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--only", default="", help="layers whose names start so, fc or conv")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(
        f"{given.threads} threads, torch {torch.__version__}, factors at {given.fraction:g} of the "
        "operations; two figures are contiguous, channels last"
    )
    print("| layer | batch | scheme, rank | ms | ratio in that format | ratio of the best |")
    print("|---|---|---|---|---|---|")
    layers: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        name: (nn.Linear(inputs, outputs), (inputs,)) for name, (inputs, outputs) in DENSE.items()
    }
    for name, (inputs, outputs, side) in CONVOLUTIONS.items():
        layers[name] = nn.Conv2d(inputs, outputs, 3, padding=1), (inputs, side, side)
    left_out = []
    with torch.inference_mode():
        for name, (layer, shape) in layers.items():
            if not name.startswith(given.only):
                continue
            for batch in given.batches:
                x = torch.empty(batch, *shape)
                if x.numel() >= MOST / 2 and not given.large and batch > 32:
                    left_out.append(f"{name} at batch {batch}")
                    continue
                repeats = given.repeats if batch == 1 else max(3, given.repeats // 3)
                repeats = min(given.repeats, repeats)
                measure(name, layer, x.normal_(), given.fraction, repeats)
    if left_out:
        print(f"left out without --large: {'; '.join(left_out)}")


if __name__ == "__main__":
    main()
