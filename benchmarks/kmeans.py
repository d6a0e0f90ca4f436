"""Optimal 1-D k-means against scikit-learn and kmeans1d, one thread, interleaved medians.

python benchmarks/kmeans.py [--large]     # --large adds 61 million values
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import kmeans1d
import numpy as np
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from boildown.share.kmeans import kmeans_1d

REPEATS = 3


def sklearn_inertia(values: torch.Tensor, k: int) -> float:
    model = KMeans(k, n_init=1, random_state=0).fit(values.numpy()[:, None])
    return float(model.inertia_)


def kmeans1d_inertia(values: torch.Tensor, k: int) -> float:
    wide = values.double().numpy()
    codes, centres = kmeans1d.cluster(wide, k)
    return float(((wide - np.array(centres)[np.array(codes)]) ** 2).sum())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true")
    large = parser.parse_args().large
    torch.set_num_threads(1)
    kmeans_1d(torch.randn(3000), 16)  # compiles
    print("| n | k | seconds: optimal, scikit-learn, kmeans1d | inertia over optimal: same |")
    print("|---|---|---|---|")
    with threadpool_limits(1):
        for n, k in ((10_000, 32), (100_000, 32), (1_000_000, 32), (1_000_000, 256)):
            values = torch.randn(n, generator=torch.Generator().manual_seed(0))
            ways: dict[str, Callable[[], float]] = {
                "optimal": lambda v=values, k=k: kmeans_1d(v, k).inertia,
                "scikit-learn": lambda v=values, k=k: sklearn_inertia(v, k),
            }
            if n * k <= 32_000_000:
                ways["kmeans1d"] = lambda v=values, k=k: kmeans1d_inertia(v, k)
            seconds: dict[str, list[float]] = {way: [] for way in ways}
            inertia = {}
            for _ in range(REPEATS):
                for way, work in ways.items():
                    began = time.perf_counter()
                    inertia[way] = work()
                    seconds[way].append(time.perf_counter() - began)
            times = ", ".join(f"{statistics.median(s):.3f}" for s in seconds.values())
            over = ", ".join(f"{i / inertia['optimal']:.5f}" for i in inertia.values())
            print(f"| {n} | {k} | {times} | {over} |", flush=True)
    if large:
        values = torch.randn(61_000_000, generator=torch.Generator().manual_seed(0))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        kmeans_1d(values, 256)
        took = time.perf_counter() - began
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(f"61 million values, k = 256: {took:.1f} s, {grown:.0f} MiB beyond the values")


if __name__ == "__main__":
    main()
