"""Learned ranks against one energy threshold at equal parameters: LeNets on MNIST, 3 seeds.

python benchmarks/learn_ranks.py --root DIR [--shares 0.05 0.1 0.2] [--seeds 0 1 2] [--out DIR]

All ways start from the same dense training of a seed, cost the same number of epochs and are
factorised to the same share of the layers' parameters:

- learned: `LearnRanks`, all ranks chosen jointly in every C step;
- joint: cut once, where the other begins, to ranks chosen jointly, and trained on as factors;
- energy: cut there to the ranks of the one energy threshold that meets the share.
"""

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

AT_ONCE = "compression.lowrank.end=0.2"
WAYS = {
    "learned": ["compression.lowrank.choose=joint"],
    "joint": [AT_ONCE, "compression.lowrank.choose=joint"],
    "energy": [AT_ONCE, "compression.lowrank.choose=energy"],
}


def run(args: argparse.Namespace, net: str, way: str, share: float, seed: int) -> dict:
    """One run, unless it is there already; its result."""
    directory = args.out / f"{net}-{way}-{share:g}-{seed}"
    command = [sys.executable, "train.py", f"experiment=lowrank_{net}", f"seed={seed}"]
    command += [f"data.root={args.root}", f"hydra.run.dir={directory}", "resume=true"]
    command += ["logger=none", f"share_dense={args.out}/dense", f"compression.factors={share}"]
    subprocess.run([*command, *WAYS[way]], check=True, stdout=subprocess.DEVNULL)
    return json.loads((directory / "result.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True)
    parser.add_argument("--nets", nargs="+", default=["lenet300", "lenet5"])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.1, 0.2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("outputs/learn_ranks").resolve())
    args = parser.parse_args()
    cases = [
        (net, way, share, seed)
        for net in args.nets
        for share in args.shares
        for seed in args.seeds
        for way in args.ways
    ]
    for net in args.nets:  # the dense training of each seed first, for the others to start from
        for seed in args.seeds:
            run(args, net, args.ways[0], args.shares[0], seed)
    with ThreadPoolExecutor(args.jobs) as pool:
        found = dict(zip(cases, pool.map(lambda case: run(args, *case), cases), strict=True))
    print("| net | share | way | ranks, by seed | parameters | test error, by seed | mean |")
    print("|---|---|---|---|---|---|---|")
    for net in args.nets:
        dense = [found[net, args.ways[0], args.shares[0], s] for s in args.seeds]
        errors = [r["dense"]["metrics"]["test/error"] for r in dense]
        print(f"| {net} | 1 | dense, where these begin | | | {_list(errors)} | {_mean(errors)} |")
        for share in args.shares:
            for way in args.ways:
                results = [found[net, way, share, seed] for seed in args.seeds]
                errors = [r["compressed"]["metrics"]["test/error"] for r in results]
                ranks = "; ".join(
                    " ".join("-" if row["rank"] is None else str(row["rank"]) for row in r["ranks"])
                    for r in results
                )
                counts = ", ".join(f"{sum(row['cost'] for row in r['ranks']):,}" for r in results)
                print(
                    f"| {net} | {share:g} | {way} | {ranks} | {counts} | {_list(errors)} | "
                    f"{_mean(errors)} |"
                )


def _list(errors: list[float]) -> str:
    return ", ".join(f"{100 * error:.2f}" for error in errors)


def _mean(errors: list[float]) -> str:
    return f"{100 * statistics.mean(errors):.2f} %"


if __name__ == "__main__":
    main()
