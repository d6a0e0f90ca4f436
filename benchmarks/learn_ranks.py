"""Learned ranks against one energy threshold at equal parameters: LeNets on MNIST, 3 seeds.

python benchmarks/learn_ranks.py --root DIR [--shares 0.05 0.1 0.2] [--seeds 0 1 2] [--out DIR]

All ways start from the same dense training of a seed and cost the same number of epochs:

- energy: cut once to the ranks of the highest energy threshold that meets the share of the layers'
  parameters, and trained on as factors;
- eased: the same threshold, but lowered step by step under the pull of `LearnRanks`;
- learned: `LearnRanks` as configured;
- strict: the same within the parameters that "energy" has used, as one threshold leaves some of the
  budget over.
"""

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BY_ENERGY = ["compression.lowrank.choose=energy", "compression.lowrank.metric=weights"]
WAYS = {
    "energy": ["compression.lowrank.end=0.2", *BY_ENERGY],
    "eased": BY_ENERGY,
    "learned": [],
    "strict": [],
}


def run(
    args: argparse.Namespace,
    net: str,
    way: str,
    share: float,
    seed: int,
    energy: dict | None = None,
) -> dict:
    """One run, unless it is there already; its result."""
    directory = args.out / f"{net}-{way}-{share:g}-{seed}"
    command = [sys.executable, "train.py", f"experiment=lowrank_{net}", f"seed={seed}"]
    command += [f"data.root={args.root}", f"hydra.run.dir={directory}", "resume=true"]
    if way == "strict" and energy is not None:
        used = sum(row["cost"] for row in energy["ranks"])
        share = (used + 0.5) / sum(row["dense_cost"] for row in energy["ranks"])
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
    if "energy" not in args.ways:
        parser.error("--ways needs energy, which the others are compared with")
    cases = [
        (net, way, share, seed)
        for net in args.nets
        for share in args.shares
        for seed in args.seeds
        for way in args.ways
    ]
    found = {}
    for net in args.nets:  # the dense training of each seed first, for the others to start from
        for seed in args.seeds:
            first = (net, "energy", args.shares[0], seed)
            found[first] = run(args, *first)
    for ways in (["energy"], [way for way in args.ways if way != "energy"]):
        todo = [case for case in cases if case[1] in ways]
        limits = [found.get((net, "energy", share, seed)) for net, _, share, seed in todo]
        with ThreadPoolExecutor(args.jobs) as pool:
            results = pool.map(lambda case, limit: run(args, *case, limit), todo, limits)
            found |= zip(todo, results, strict=True)
    print("| net | share | way | ranks, by seed | parameters | test error, by seed | mean |")
    print("|---|---|---|---|---|---|---|")
    for net in args.nets:
        dense = [found[net, "energy", args.shares[0], s] for s in args.seeds]
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
