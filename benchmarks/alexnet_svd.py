"""Every rank of every layer of AlexNet, against torch.linalg.svd. Gaussian weights, float32.

python benchmarks/alexnet_svd.py [--threads 2] [--against conv3 fc8]   # fc7 takes torch minutes
"""

import argparse
import math
import time

import torch
from torch import Tensor

from boildown.lowrank.svd import decompose, tails
from boildown.models.alexnet import AlexNet

CHECKED = 64  # the rank whose reported error is measured
OVERSAMPLE = 10  # random directions beyond the rank
POWER = 2  # subspace iterations


def randomized(weight: Tensor, rank: int) -> tuple[float, float]:
    """The error of a rank found from products with a few random vectors, and a bound.

    The bound is how far the error may be above the least that rank allows: what was not captured,
    E = W - Q Q^T W, lifts the sum of the r largest squared singular values by at most ||E||^2, by
    Ky Fan's inequality.

    Source: Halko, Martinsson & Tropp 2011, algorithms 4.4 and 5.1, https://arxiv.org/abs/0909.4061
    """
    exact = weight.double()
    columns = min(rank + OVERSAMPLE, *weight.shape)
    start = torch.randn(weight.shape[1], columns, dtype=exact.dtype)
    basis = torch.linalg.qr(exact @ start).Q
    for _ in range(POWER):
        basis = torch.linalg.qr(exact @ torch.linalg.qr(exact.mT @ basis).Q).Q
    inside = basis.mT @ exact
    _, s, _ = torch.linalg.svd(inside, full_matrices=False)
    rest = float((exact - basis @ inside).square().sum())
    error = float(tails(s)[rank]) + rest
    return math.sqrt(error), math.sqrt(error) - math.sqrt(max(error - rest, 0.0))


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
    total = busy = 0.0
    print("| layer | matrices | seconds, of a core | torch.linalg.svd | rank 64: seconds, bound |")
    print("|---|---|---|---|---|")
    for name, module in model.named_children():
        if not hasattr(module, "weight") or (arguments.only and name not in arguments.only):
            continue
        groups = getattr(module, "groups", 1)
        shape = (module.weight.shape[0] // groups, module.weight[0].numel())
        weight = torch.randn(shape)
        began, worked = time.perf_counter(), time.process_time()
        for _ in range(groups):
            spectrum = decompose(weight)
        took, work = time.perf_counter() - began, time.process_time() - worked
        total, busy = total + took, busy + work
        rank = min(CHECKED, *shape)
        error = float((weight.double() - spectrum.truncate(rank).product().double()).square().sum())
        assert abs(error - float(spectrum.tails()[rank])) <= 1e-5 * error + 1e-9
        other = ""
        if name in arguments.against:
            began, worked = time.perf_counter(), time.process_time()
            for _ in range(groups):
                torch.linalg.svd(weight.double(), full_matrices=False)
            other = f"{time.perf_counter() - began:.2f}, {time.process_time() - worked:.2f}"
        began = time.perf_counter()
        lost, bound = randomized(weight, rank)
        fast = f"{time.perf_counter() - began:.2f}, {bound / lost:.4f}"
        size = f"{groups} of {shape[0]} x {shape[1]}"
        print(f"| {name} | {size} | {took:.2f}, {work:.2f} | {other} | {fast} |", flush=True)
    print(f"all: {total:.1f} s, {busy:.1f} s of a core, with {arguments.threads} threads")


if __name__ == "__main__":
    main()
