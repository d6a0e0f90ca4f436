"""Deep Compression's LeNets on MNIST, 3 seeds: bytes, ratio and test error, read from the files.

python benchmarks/lenets.py --root DIR [--seeds 0 1 2] [--out DIR] [OVERRIDE ...]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

EXPERIMENTS = {
    "deep_compression_lenet300": "1.64 -> 1.58 %, 40x",
    "deep_compression_lenet5": "0.80 -> 0.74 %, 39x",
}


def main() -> None:
    """Run, then print a table; finished runs are not repeated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("outputs/lenets"))
    parser.add_argument("--only", choices=EXPERIMENTS, default=None)
    arguments, overrides = parser.parse_known_args()
    print("| net | published | error dense -> file | bytes | ratio | seconds | seed |")
    print("|---|---|---|---|---|---|---|")
    for experiment, published in EXPERIMENTS.items():
        if arguments.only not in (None, experiment):
            continue
        errors = []
        for seed in arguments.seeds:
            directory = arguments.out / f"{experiment}-{seed}"
            began = time.perf_counter()
            command = [sys.executable, "train.py", f"experiment={experiment}", f"seed={seed}"]
            command += [f"data.root={arguments.root}", f"hydra.run.dir={directory}", "resume=true"]
            subprocess.run(
                [*command, "logger=csv", *overrides], check=True, stdout=subprocess.DEVNULL
            )
            seconds = time.perf_counter() - began
            r = json.loads((directory / "result.json").read_text())
            before, after = (r[k]["metrics"]["test/error"] for k in ("dense", "compressed"))
            errors.append(after)
            print(
                f"| {experiment} | {published} | {before:.2%} -> {after:.2%} | "
                f"{r['compressed']['bytes']} | {r['ratio']:.1f} | {seconds:.0f} | {seed} |",
                flush=True,
            )
        print(f"| {experiment} | | mean {statistics.mean(errors):.2%} | | | | |")


if __name__ == "__main__":
    main()
