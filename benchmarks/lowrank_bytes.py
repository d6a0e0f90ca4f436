"""Low rank against pruning at equal bytes, and what learning ranks does to the singular values.

python benchmarks/lowrank_bytes.py --root DIR [--out DIR] [--epochs 10] [--seed 0]

LeNet-300-100 on MNIST, test error read from the files. Writes docs/lowrank.png and
docs/spectra.png; finished runs are not repeated.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import torch
from matplotlib import pyplot as plt
from safetensors.torch import load_file

import boildown

INK, COPPER, STEAM, MOSS, GRID = "#22303c", "#b5541c", "#5b8aa6", "#6b7f3a", "#d9dee2"
SIZES = (120_000, 60_000, 30_000, 15_000)
WAYS = {
    "low rank": ["compression=lowrank"],
    "pruning": ["compression=deep", "compression.bits=12"],
    "pruning, sharing": ["compression=deep"],
    "low rank, pruning, sharing": ["compression=lowrank_deep"],
}


def measure(arguments: argparse.Namespace, way: str, size: int) -> dict[str, Any]:
    """The result of one run."""
    directory = arguments.out / f"{way.replace(', ', '-').replace(' ', '_')}-{size}"
    command = [sys.executable, "train.py", *WAYS[way], f"compression.bytes={size}"]
    command += ["data=mnist", "model=lenet300", "data.augment=shift", "data.val_size=2000"]
    command += [f"data.root={arguments.root}", f"budget.epochs={arguments.epochs}"]
    command += [f"seed={arguments.seed}", "logger=none", "validations=10"]
    command += [f"hydra.run.dir={directory}", "resume=true"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return dict(json.loads((directory / "result.json").read_text())) | {"at": directory}


def draw_errors(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Test error against bytes, a line for each way."""
    figure, axes = plt.subplots(figsize=(7, 4))
    for (name, results), colour in zip(found.items(), (COPPER, STEAM, INK, MOSS), strict=True):
        errors = [100 * r["compressed"]["metrics"]["test/error"] for r in results]
        sizes = [r["compressed"]["bytes"] / 1000 for r in results]
        axes.plot(sizes, errors, color=colour, marker="o", markersize=4, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([15, 30, 60, 120], ["15", "30", "60", "120"])
    axes.minorticks_off()
    axes.set_yticks([1, 2, 3, 5, 10], ["1", "2", "3", "5", "10"])
    axes.set_xlabel("bytes of the file, thousands")
    axes.set_ylabel("test error, %")
    axes.grid(color=GRID, linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)
    axes.set_title("LeNet-300-100 on MNIST", color=INK, fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def draw_spectra(run: Path, ranks: list[dict[str, Any]], path: Path) -> None:
    """Each layer's singular values before compression, and in the file."""
    dense = load_file(run / "dense.safetensors")
    state = boildown.unpack(run / "model.boil")
    figure, all_axes = plt.subplots(1, len(ranks), figsize=(4 * len(ranks), 3.5))
    for axes, row in zip(all_axes, ranks, strict=True):
        name = row["name"]
        before = torch.linalg.svdvals(dense[f"{name}.weight"].double())
        if row["rank"] is None:
            after = torch.linalg.svdvals(state[f"{name}.weight"].double())
        else:
            product = state[f"{name}.u.weight"].double() @ state[f"{name}.v.weight"].double()
            after = torch.linalg.svdvals(product)[: row["rank"]]
        axes.plot(range(1, len(before) + 1), before, color=STEAM, label="dense")
        label = "in the file" if row["rank"] is None else f"in the file, rank {row['rank']}"
        axes.plot(range(1, len(after) + 1), after, color=COPPER, marker=".", label=label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(float(before.max()) * 1e-2, float(torch.cat([before, after]).max()) * 1.5)
        axes.set_title(f"{name}, {' x '.join(map(str, dense[f'{name}.weight'].shape))}", color=INK)
        axes.set_xlabel("number")
        axes.grid(color=GRID, linewidth=0.6)
        axes.legend(frameon=False, fontsize=8)
    all_axes[0].set_ylabel("singular value")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run, draw, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True)
    parser.add_argument("--out", type=Path, default=Path("outputs/lowrank_bytes"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = {way: [measure(arguments, way, size) for size in SIZES] for way in WAYS}
    draw_errors(found, Path("docs/lowrank.png"))
    first = found["low rank"][1]
    draw_spectra(first["at"], first["ranks"], Path("docs/spectra.png"))
    print(
        "| | " + " | ".join(f"{size:,} bytes" for size in SIZES) + " |\n|---|" + "---|" * len(SIZES)
    )
    for way, results in found.items():
        cells = [
            f"{r['compressed']['metrics']['test/error']:.2%} ({r['compressed']['bytes']:,})"
            for r in results
        ]
        print(f"| {way} | " + " | ".join(cells) + " |")
    print("ranks:", [[row["rank"] for row in r["ranks"]] for r in found["low rank"]])


if __name__ == "__main__":
    main()
