"""Every rank of every layer of AlexNet, against torch.linalg.svd. Gaussian weights, float32.

python benchmarks/alexnet_svd.py [--threads 2] [--against conv3 fc8]   # fc7 takes torch minutes
"""

import argparse
import time

import torch

from boildown.lowrank.svd import decompose, randomized
from boildown.models.alexnet import AlexNet

CHECKED = 64  # the rank whose reported error is measured


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--against", nargs="*", default=["conv3", "fc8"], help="layers for torch")
    parser.add_argument("--only", nargs="*", default=[], help="these layers instead of all")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    with torch.device("meta"):
        model = AlexNet((3, 227, 227), 1000, 0.0)
    total = 0.0
    print(
        "| layer | matrices | seconds | torch.linalg.svd, float64 | rank 64 alone, seconds, bound |"
    )
    print("|---|---|---|---|---|")
    for name, module in model.named_children():
        if not hasattr(module, "weight") or (arguments.only and name not in arguments.only):
            continue
        groups = getattr(module, "groups", 1)
        shape = (module.weight.shape[0] // groups, module.weight[0].numel())
        weight = torch.randn(shape)
        began = time.perf_counter()
        for _ in range(groups):
            spectrum = decompose(weight)
        took = time.perf_counter() - began
        total += took
        rank = min(CHECKED, *shape)
        error = float((weight.double() - spectrum.truncate(rank).product().double()).square().sum())
        assert abs(error - float(spectrum.tails()[rank])) <= 1e-5 * error + 1e-9
        other = ""
        if name in arguments.against:
            began = time.perf_counter()
            for _ in range(groups):
                torch.linalg.svd(weight.double(), full_matrices=False)
            other = f"{time.perf_counter() - began:.2f}"
        began = time.perf_counter()
        found, bound = randomized(weight, rank)
        fast = f"{time.perf_counter() - began:.2f}, {bound / float(found.tails()[rank].sqrt()):.4f}"
        size = f"{groups} of {shape[0]} x {shape[1]}"
        print(f"| {name} | {size} | {took:.2f} | {other} | {fast} |", flush=True)
    print(f"all: {total:.1f} s with {arguments.threads} threads")


if __name__ == "__main__":
    main()
