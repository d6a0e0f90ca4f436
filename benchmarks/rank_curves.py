"""Parameters against loss: what each way to lower the ranks keeps at the same loss, less noisily.

python benchmarks/rank_curves.py --net tutorial_cnn --root IMAGES.tar.gz [--seeds 0 1 2]

A search for the smallest network within 0.2 points, as in `prune_ranks.py`, also finds lucky ones:
where 3 % of 10,000 answers change, the difference of two errors has a standard deviation of 0.17
points. Here networks all along the path of each way are looked at. What a network loses is about
proportional to its divergence from the dense one, and that is hardly noisy: the errors of the
networks together give the factor, which gives the divergence at 0.2 points, and that the
parameters. All on validation images.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import torch
from matplotlib import pyplot as plt
from rank_nets import TOLERANCE, WAYS, augmented, calibrating, compared, options, prepared
from torch import Tensor, nn

from boildown.files.progress import progress
from boildown.lowrank.fitted_layer import Method
from boildown.lowrank.outputs import droppings, narrowed, outputs_to_drop
from boildown.lowrank.rank_search import RankSearch
from boildown.lowrank.studied import Schemes, Studied, divergence

SHARES = [share / 100 for share in range(95, 0, -5)]  # of the parameters, to look at
STYLES = {"default": "--", "outputs": ":"}
INK, COPPER, STEAM, GRID = "#22303c", "#b5541c", "#5b8aa6", "#d9dee2"
ENOUGH = 3.0  # times the tolerance, where a way is no longer followed

Batches = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Point:
    """One network: its parameters, and what it does to the answers."""

    parameters: int
    changed: float
    divergence: float
    error: float  # more than that of the dense network


@torch.inference_mode()
def logits(model: nn.Module, batches: Batches) -> Tensor:
    return torch.cat([model(x) for x, _ in batches])


def spaced(
    net: Studied, path: list[dict[str, int]], total: int, most: float
) -> list[dict[str, int]]:
    """Of a path of networks those next to shares of a total up to `most`, largest first."""
    shares = [share for share in SHARES if share <= most]
    nearest = [min(path, key=lambda r: abs(net.parameters(r) - share * total)) for share in shares]
    return [r for i, r in enumerate(nearest) if r and r not in nearest[:i]]


def narrower(search: RankSearch, path: list[dict[str, int]], parameters: float) -> Studied:
    """The network without the outputs that go when as much may change as on a path at a size."""
    net = search.net
    ranks = min(path, key=lambda ranks: abs(net.parameters(ranks) - parameters))
    change = sum(search.curves[name][rank] for name, rank in ranks.items())
    with progress("outputs", len(net.layers), in_bytes=False) as tick:
        able = droppings(net, tick)
    small, left = narrowed(net, able, outputs_to_drop(net, search.curves, able, change))
    print({name: len(kept) for name, kept in left.items()}, "outputs left", flush=True)
    return net.again(small)


def followed(
    search: RankSearch, path: list[dict[str, int]], model: nn.Module, batches: Batches, most: float
) -> Iterator[Point]:
    """Networks from a share of the dense one's parameters down, until they lose too much."""
    net = search.net
    targets, said = torch.cat([y for _, y in batches]), logits(model, batches)
    wrong = float((said.argmax(1) != targets).double().mean())
    total = sum(p.numel() for p in model.parameters())
    for ranks in spaced(net, path, total, most):
        now = logits(net.build(search.solutions(ranks)).eval(), batches)
        error = float((now.argmax(1) != targets).double().mean()) - wrong
        changed = float((now.argmax(1) != said.argmax(1)).double().mean())
        yield Point(net.parameters(ranks), changed, divergence(said.double(), now.double()), error)
        if error > ENOUGH * TOLERANCE:
            return


def rate(points: Sequence[Point], loss: float) -> float:
    """Error for each unit of divergence, by least squares over the points not far off a loss."""
    near = [p for p in points if p.error <= ENOUGH * loss]
    squares = sum(p.divergence**2 for p in near)
    return sum(p.error * p.divergence for p in near) / squares if squares else math.nan


def at(points: Sequence[Point], loss: float) -> float:
    """Parameters at a loss, by the divergences."""
    factor = rate(points, loss)
    wanted = loss / factor if factor > 0.0 else math.inf
    for large, small in pairwise(points):
        if large.divergence <= wanted <= small.divergence:
            t = math.log(wanted / large.divergence) / math.log(small.divergence / large.divergence)
            return large.parameters + t * (small.parameters - large.parameters)
    return math.nan


def draw(found: dict[str, list[list[Point]]], net: str, path: Path) -> None:
    """Error against parameters: dots as measured, lines from the divergence; all seeds."""
    figure, axes = plt.subplots(figsize=(7, 4))
    for way, runs in found.items():
        colour = STEAM if way.startswith("plain") else COPPER
        style = STYLES.get(way.partition("-")[2], "-")
        for points in runs:
            sizes = [p.parameters / 1000 for p in points]
            axes.plot(sizes, [100 * p.error for p in points], ".", color=colour, markersize=3)
            losses = [100 * rate(points, TOLERANCE) * p.divergence for p in points]
            label = way if points is runs[0] else None
            axes.plot(sizes, losses, style, color=colour, linewidth=1, label=label)
    axes.axhline(100 * TOLERANCE, color=INK, linewidth=0.6)
    axes.set_ylim(-0.1, 100 * ENOUGH * TOLERANCE)
    axes.set_xlabel("parameters, thousands")
    axes.set_ylabel("more error, points")
    axes.grid(color=GRID, linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)
    axes.set_title(f"{net}, ranks lowered without training", color=INK, fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run, then print the points of each way and what they keep, and draw them."""
    parser = options(__doc__, views=2, positions=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--looks", type=int, default=4, help="at each validation image")
    parser.add_argument(
        "--most", type=float, default=SHARES[0], help="share of the parameters to look at first"
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--plot", type=Path, default=None, help="a PNG of the curves")
    arguments = parser.parse_args()
    arguments.ways = [way for way in WAYS if way in arguments.ways]
    if "relu-outputs" in arguments.ways and "relu-cheapest" not in arguments.ways:
        parser.error("relu-outputs begins where relu-cheapest ends: name that too")
    arguments.out.mkdir(parents=True, exist_ok=True)
    print("| net | seed | way | parameters | answers changed | divergence | error, points |")
    print("|---|---|---|---|---|---|---|", flush=True)
    found: dict[str, list[list[Point]]] = {way: [] for way in arguments.ways}
    for seed in arguments.seeds:
        model, data = prepared(arguments.net, arguments.root, seed, arguments.out)
        calibration = calibrating(data, arguments.samples, arguments.views)
        rows = len(torch.cat(calibration))
        batches = list(data.val_dataloader())
        again = augmented(data, data.val_dataloader())
        for _ in range(arguments.looks - 1):
            batches += list(again)
        searched: dict[tuple[Method, Schemes], tuple[RankSearch, list[dict[str, int]]]] = {}
        for way in arguments.ways:
            method, kinds, drop = WAYS[way]
            points: list[Point] = []
            found[way].append(points)
            if drop:
                size = at(found["relu-cheapest"][-1], TOLERANCE)
                if math.isnan(size):
                    continue
                net = narrower(*searched[method, kinds], size)
            else:
                net = Studied(model, calibration, None, kinds, rows, arguments.positions, seed)
            search = RankSearch(net, method, method != "plain")
            with progress(f"layers ({method})", len(net.layers), in_bytes=False) as tick:
                path = search.path(tick)
            searched.setdefault((method, kinds), (search, path))
            for point in followed(search, path, model, batches, arguments.most):
                points.append(point)
                print(
                    f"| {arguments.net} | {seed} | {way} | {point.parameters} | "
                    f"{point.changed:.2%} | {point.divergence:.5f} | {100 * point.error:+.3f} |",
                    flush=True,
                )
            print(
                f"| {arguments.net} | {seed} | {way} | {at(points, TOLERANCE):.0f} at "
                f"{TOLERANCE:.1%} lost | | | |",
                flush=True,
            )
    kept = {way: [at(points, TOLERANCE) for points in runs] for way, runs in found.items()}
    for ours, plain in compared(arguments.ways):
        fewer = [1.0 - a / b for a, b in zip(kept[ours], kept[plain], strict=True)]
        print(
            f"| {arguments.net} | all | {ours} | {statistics.mean(fewer):.1%} fewer than {plain} "
            f"({', '.join(f'{one:.1%}' for one in fewer)}) | | | |",
            flush=True,
        )
    if arguments.plot is not None:
        draw(found, arguments.net, arguments.plot)


if __name__ == "__main__":
    main()
