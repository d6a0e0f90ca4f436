"""What pruning and weight sharing cost in accuracy, drawn for the documentation.

python benchmarks/trade_offs.py --root DIR [--out DIR] [--epochs 10] [--seeds 0 1 2]

LeNet-300-100 on MNIST, one technique at a time, test error read from the files, means over the
seeds with their standard deviation. Writes
docs/pruning.png and docs/weight_sharing.png; finished runs are not repeated.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import NullLocator

INK, COPPER, STEAM, MOSS, GRID = "#22303c", "#b5541c", "#5b8aa6", "#6b7f3a", "#d9dee2"
SPARSITIES = (0.8, 0.9, 0.95, 0.98, 0.99)
SCHEDULES = {
    "one shot": ["compression.prune.schedule._target_=boildown.schedule.OneShot"],
    "cubic, 20 cuts": [],
    "5 rounds": [
        "compression.prune.schedule._target_=boildown.schedule.Rounds",
        "+compression.prune.schedule.n=5",
    ],
}
BITS = (1, 2, 3, 4, 5)
Lines = dict[str, list[list[dict[str, Any]]]]  # name -> for each setting, the seeds' results
SHARINGS = {
    "optimal k-means, centroids tuned": [],
    "linear k-means, centroids tuned": ["compression.init=linear"],
    "optimal k-means alone": ["compression.share.tune=false"],
}


def measure(arguments: argparse.Namespace, name: str, overrides: list[str]) -> list[dict[str, Any]]:
    """The result of one run for each seed."""
    found = []
    for seed in arguments.seeds:
        directory = arguments.out / f"{name.replace(' ', '_').replace(',', '')}-{seed}"
        command = [sys.executable, "train.py", "+compression=deep", "data=mnist", "model=lenet300"]
        command += [f"data.root={arguments.root}", f"budget.epochs={arguments.epochs}"]
        command += [f"seed={seed}", "logger=none", "validations=5", "compression.ratio=null"]
        command += [f"share_dense={(arguments.out / 'dense').resolve()}"]
        command += [f"hydra.run.dir={directory}", "resume=true", *overrides]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found.append(json.loads((directory / "result.json").read_text()))
    return found


def over(results: list[dict[str, Any]], part: str) -> tuple[float, float]:
    """Mean and standard deviation over the seeds: test error in %, of "dense" or "compressed"."""
    errors = [100 * result[part]["metrics"]["test/error"] for result in results]
    return statistics.mean(errors), statistics.stdev(errors) if len(errors) > 1 else 0.0


def size(results: list[dict[str, Any]]) -> float:
    """Mean bytes of the files."""
    return statistics.mean(result["compressed"]["bytes"] for result in results)


def draw(
    lines: Lines,
    at: tuple[Any, ...],
    label: str,
    path: Path,
) -> None:
    """Error, and bytes, against a setting."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for (name, results), colour in zip(lines.items(), (INK, COPPER, STEAM, MOSS), strict=False):
        errors, spreads = zip(*(over(r, "compressed") for r in results), strict=True)
        style: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 4, "label": name}
        left.errorbar(range(len(at)), errors, spreads, capsize=2, **style)
        right.errorbar([size(r) / 1000 for r in results], errors, spreads, capsize=2, **style)
    dense = statistics.mean(over(r, "dense")[0] for results in lines.values() for r in results)
    left.axhline(dense, color=GRID, zorder=0)
    left.annotate("dense", (0, dense), color=INK, fontsize=8)
    left.set_xlabel(label)
    right.set_xlabel("bytes of the file, thousands")
    right.set_xscale("log")
    for axes in (left, right):
        axes.set_yscale("log")
        axes.set_ylabel("test error, %")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.grid(color=GRID, linewidth=0.6)
    left.set_xticks(range(len(at)), [f"{x:g}" for x in at])
    right.set_xticks([20, 50, 100, 200], ["20", "50", "100", "200"])
    right.xaxis.set_minor_locator(NullLocator())
    left.legend(frameon=False, fontsize=8)
    figure.suptitle("LeNet-300-100 on MNIST", color=INK, fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def table(lines: Lines, at: tuple[Any, ...]) -> None:
    """The same in Markdown."""
    print("| | " + " | ".join(map(str, at)) + " |\n|---|" + "---|" * len(at))
    for name, results in lines.items():
        cells = [
            "{:.2f} ± {:.2f} %, {:,.0f} B".format(*over(r, "compressed"), size(r)) for r in results
        ]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Run, draw, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True)
    parser.add_argument("--out", type=Path, default=Path("outputs/trade_offs"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    pruned = {
        name: [
            measure(
                arguments,
                f"prune-{name}-{sparsity}",
                ["~compression.share", f"compression.sparsity={sparsity}", *overrides],
            )
            for sparsity in SPARSITIES
        ]
        for name, overrides in SCHEDULES.items()
    }
    draw(pruned, SPARSITIES, "fraction of weights cut", Path("docs/pruning.png"))
    table(pruned, SPARSITIES)
    shared = {
        name: [
            measure(
                arguments,
                f"share-{name}-{bits}",
                ["~compression.prune", f"compression.bits={bits}", *overrides],
            )
            for bits in BITS
        ]
        for name, overrides in SHARINGS.items()
    }
    draw(shared, BITS, "bits per weight", Path("docs/weight_sharing.png"))
    table(shared, BITS)


if __name__ == "__main__":
    main()
