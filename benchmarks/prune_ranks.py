"""Rank pruning through the ReLU against plain SVD, at 0.2 points of accuracy.

python benchmarks/prune_ranks.py --mnist DIR --cifar10 IMAGES.tar.gz [--seeds 0 1 2] [--out DIR]

Each net is trained once per seed and kept in --out. The ranks are chosen on a validation part that
was not trained on, each image looked at in several augmentations, with a few hundred training
images to calibrate; the test set is used once, at the end.
"""

import argparse
import statistics
import time
from pathlib import Path

from rank_nets import NETS, TOLERANCE, WAYS, augmented, calibrating, compared, error, prepared
from torch import Tensor

from boildown.lowrank.prune_ranks import prune_ranks


def spread(batches: list[tuple[Tensor, Tensor]], most: int | None) -> list[tuple[Tensor, Tensor]]:
    """So many batches at most, from all over: a data set may be sorted by class."""
    if most is None or most >= len(batches):
        return batches
    return [batches[i * len(batches) // most] for i in range(most)]


def study(net: str, root: str, seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """All methods on one net; the parameters that each keeps."""
    model, data = prepared(net, root, seed, arguments.out, arguments.epochs)
    calibration = calibrating(data, arguments.samples, arguments.views)
    validation = data.val_dataloader()
    chosen = spread(list(validation), arguments.batches)
    again = augmented(data, validation)
    for _ in range(arguments.looks - 1):
        chosen += spread(list(again), arguments.batches)
    test = spread(list(data.test_dataloader()), arguments.batches)
    print(f"| {net} | {seed} | dense | | {error(model, chosen):.2%} | {error(model, test):.2%} | |")
    sizes: dict[str, float] = {}
    for way in arguments.ways:
        method, kinds, drop = WAYS[way]
        began = time.perf_counter()
        result = prune_ranks(
            model,
            calibration,
            TOLERANCE,
            evaluate=lambda candidate: error(candidate, chosen),
            method=method,
            schemes=kinds,
            samples=sum(map(len, calibration)),
            positions=arguments.positions,
            evaluations=arguments.evaluations,
            drop_outputs=drop,
            seed=seed,
        )
        seconds = time.perf_counter() - began
        sizes[way] = result.parameters
        kept = [f"{name} {rank}" for name, rank in result.ranks.items()]
        kept += [f"{name} {len(left)} outputs" for name, left in result.outputs.items()]
        print(
            f"| {net} | {seed} | {way} | {result.parameters} of {result.dense_parameters} | "
            f"{result.metric:.2%} | {error(result.model.eval(), test):.2%} | {seconds:.0f} s, "
            f"{len(result.path)} evaluations; {', '.join(kept)} |",
            flush=True,
        )
    return sizes


def main() -> None:
    """Run, then print a table; nets that are trained already are not trained again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", default=None, help="directory of the IDX files")
    parser.add_argument("--cifar10", default=None, help="directory or tar of images")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--ways",
        nargs="+",
        choices=WAYS,
        default=["plain-default", "plain-cheapest", "relu-cheapest"],
    )
    parser.add_argument("--samples", type=int, default=500, help="training images to calibrate on")
    parser.add_argument("--views", type=int, default=8, help="augmentations of each of them")
    parser.add_argument("--positions", type=int, default=8, help="in each view, of a convolution")
    parser.add_argument(
        "--looks", type=int, default=4, help="at each validation image: as it is, then augmented"
    )
    parser.add_argument("--evaluations", type=int, default=40, help="networks that each way tries")
    parser.add_argument("--epochs", type=int, default=None, help="of training, to try things out")
    parser.add_argument("--batches", type=int, default=None, help="of images to evaluate on")
    parser.add_argument("--out", type=Path, default=Path("outputs/prune_ranks"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    print("| net | seed | method | parameters | error, chosen on | test error | |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for net in arguments.nets:
        root = getattr(arguments, NETS[net][1])
        if root is None:
            continue
        runs = [study(net, root, seed, arguments) for seed in arguments.seeds]
        for ours, plain in compared(arguments.ways):
            fewer = [1.0 - run[ours] / run[plain] for run in runs]
            print(
                f"| {net} | all | {ours} | {statistics.mean(fewer):.1%} fewer than {plain} "
                f"({', '.join(f'{one:.1%}' for one in fewer)}) | | | |",
                flush=True,
            )


if __name__ == "__main__":
    main()
