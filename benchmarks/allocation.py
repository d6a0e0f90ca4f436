"""How dense each layer should be: global, ERK, LAMP and measured sensitivities, on MNIST's LeNets.

python benchmarks/allocation.py --root DIR [--net lenet300 lenet5] [--epochs 2] [--seeds 0 1 2]

Prints, in Markdown, errors in %, mean and standard deviation over the seeds. First, of validation
images alone, what the sensitivity of a layer may be taken for (`DISTANCES`), cut at once: the
choice among them is made there. Then, of the test images, read once for each network: of cuts at
once without training; of gradual cuts, cubic over the first 70 % of a fine-tuning, at equal
nonzeros; and for LeNet-5 at equal operations of a forward pass and at equal bytes of the file
(values in fp16, the codec's best coder). In brackets nonzeros, the operations that are left, and
bytes. Which weights of a layer go, magnitude decides everywhere; calibration data are 512 training
images; the last 5,000 training images are those of validation. What has been measured is kept in
--out.
"""

import argparse
import copy
import logging
import math
import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bare_trainer import bare_trainer
from kept import Kept
from lightning.pytorch import Callback, seed_everything
from torch import Tensor, nn
from torch.nn import functional as F

from boildown import codec
from boildown.allocate.size import AskedSize
from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.learning_rate import ScheduleLearningRate
from boildown.callbacks.prune import Prune
from boildown.callbacks.round import RoundWeights
from boildown.data.loader import TensorLoader
from boildown.data.mnist import MNIST
from boildown.flops import forward_flops_by_weight
from boildown.models.lenet import LeNet5, LeNet300
from boildown.prune.allocation import (
    DEPTHS,
    LADDER,
    LEAST,
    allocated_densities,
    nonzeros,
    units_of,
)
from boildown.prune.criteria import lamp, magnitude
from boildown.prune.masks import layer_masks
from boildown.prune.patterns import SINGLE
from boildown.schedule import Cosine, Cubic, OneShot
from boildown.tasks.classification import Classification

NETS = {"lenet300": LeNet300, "lenet5": LeNet5}
WAYS: dict[str, dict[str, Any]] = {
    "global": {},
    "erk": {"scope": "erk"},
    "lamp": {"criterion": lamp},
    "sensitivity": {"scope": "sensitivity"},
}
SPARSITIES = (0.9, 0.95, 0.98)
DISTANCES = {  # of outputs from what they were: by logits before, logits now, and targets
    "-ln(1 - e)": lambda then, now, _: -math.log(max(1.0 - squared(then, now), LEAST)),
    "e": lambda then, now, _: squared(then, now),
    "cross-entropy": lambda then, now, targets: float(
        F.cross_entropy(now, targets) - F.cross_entropy(then, targets)
    ),
}
FLOPS = (0.1,)
BYTES = (30_000,)
BATCH, SAMPLES = 128, 512


class Data:
    """MNIST in memory: the last 5,000 training images are those of validation."""

    def __init__(self, root: str) -> None:
        mnist = MNIST(
            root=root, download=False, batch_size=BATCH, eval_batch_size=1000, val_size=5000, seed=0
        )
        train, test = mnist._read()
        self.train = train.inputs[:55000], train.targets[:55000]
        self.val = train.inputs[55000:], train.targets[55000:]
        self.test = test.inputs, test.targets
        inputs, targets = (part[:SAMPLES] for part in self.train)
        self.calibration = list(zip(inputs.split(BATCH), targets.split(BATCH), strict=True))


def squared(then: Tensor, now: Tensor) -> float:
    """The squared change of outputs over their squares."""
    return float((now - then).double().square().sum() / then.double().square().sum())


@torch.no_grad()
def error(net: nn.Module, part: tuple[Tensor, Tensor]) -> float:
    """Of images, in %."""
    wrong = (net(part[0]).argmax(1) != part[1]).float().mean()
    return 100.0 * float(wrong)


def trained(
    net: nn.Module, data: Data, seed: int, epochs: int, rate: float, *extra: Callback
) -> None:
    """Train in place, by Adam with a cosine."""
    seed_everything(seed, verbose=False)
    task = Classification(net, optimizer=lambda p: torch.optim.Adam(p, lr=rate), num_classes=10)
    callbacks = [ComputeBudget(epochs=epochs), ScheduleLearningRate(shape=Cosine()), *extra]
    loader = TensorLoader(*data.train, BATCH, shuffle=True, seed=seed, drop_last=True)
    bare_trainer(callbacks).fit(task, loader)


def pruned(
    dense: nn.Module, data: Data, seed: int, epochs: float, schedule: Any, **how: Any
) -> tuple[nn.Module, Prune]:
    """A copy, pruned as told; at once where `epochs` is 0, but for a last step of no length."""
    net = type(dense)((1, 28, 28), 10)
    net.load_state_dict(dense.state_dict())
    size = how.pop("bytes", None)
    settings = {"criterion": magnitude, "begin": 0.0, "end": 0.7} | how
    prune = Prune(schedule=schedule, calibration=lambda: data.calibration, samples=512, **settings)
    rounded = RoundWeights(dtype="float16")
    if size is not None:
        total = 4 * sum(p.numel() for p in net.parameters())
        prune.size = AskedSize(
            size, total, lambda w: codec.estimate({n: t.detach() for n, t in w.items()}),
            prune.preview, [rounded.preview], 1.0, "bytes",
        )  # fmt: skip
    extra = [prune] if size is None else [prune, rounded]
    trained(net, data, seed, epochs or 1 / 400, 1e-3 if epochs else 0.0, *extra)
    return net.eval(), prune


def error_of(data: Data, dense: nn.Module, seed: int, *how: Any, **settings: Any) -> list[float]:
    """Test error in %, nonzeros, the fraction of operations left, and bytes in fp16."""
    net, prune = pruned(dense, data, seed, *how, **settings)
    kept = prune.densities
    kept = {name.removeprefix("model."): density for name, density in kept.items()}
    flops = forward_flops_by_weight(net, data.test[0][:1])
    left = sum(flops[n] * d for n, d in kept.items()) / sum(flops[n] for n in kept)
    half = {n: t.detach().half().float() for n, t in net.state_dict().items()}
    return [error(net, data.test), sum(kept[n] * net.get_parameter(n).numel() for n in kept), left,
            codec.estimate(half)]  # fmt: skip


def curves(
    net: nn.Module, data: Data, scores: dict[str, Tensor]
) -> dict[str, dict[str, list[float]]]:
    """Distance -> weight -> how far the outputs move at each sparsity of `LADDER`."""
    inputs, targets = (torch.cat(part) for part in zip(*data.calibration, strict=True))
    found: dict[str, dict[str, list[float]]] = {name: {} for name in DISTANCES}
    with torch.no_grad():
        then = net(inputs)
        for name in scores:
            each = []
            for sparsity in LADDER:
                made = cut(net, layer_masks({name: scores[name]}, {name: sparsity}))
                each.append(made(inputs))
            for way, distance in DISTANCES.items():
                moved = [max(distance(then, now, targets), 0.0) for now in each]
                found[way][name] = np.maximum.accumulate(moved).tolist()
    return found


def convex(distances: list[float]) -> list[float]:
    """Raised so that their slope over -ln(density) never falls, as `measured_curves` has them."""
    steps = np.diff(DEPTHS)
    slopes = np.maximum.accumulate(np.diff([0.0, *distances]) / steps)
    raised: list[float] = np.cumsum(slopes * steps).tolist()
    return raised


def cut(net: nn.Module, masks: dict[str, Tensor]) -> nn.Module:
    """A copy with zeros."""
    made = copy.deepcopy(net)
    with torch.no_grad():
        for name, mask in masks.items():
            made.get_parameter(name).mul_(mask)
    return made


def variants(name: str, dense: dict[int, nn.Module], data: Data, kept: Kept) -> None:
    """Validation errors of cuts at once, by what the sensitivity is taken for."""

    def measure(net: nn.Module) -> dict[str, list[float]]:
        weights = {n: p for n, p in net.named_parameters() if p.ndim > 1}
        scores = magnitude(weights, None)
        units, found = units_of(scores, SINGLE), {}
        for way, by_name in curves(net, data, scores).items():
            both = {way: by_name, f"{way}, convex": {n: convex(c) for n, c in by_name.items()}}
            for told, each in both.items():
                found[told] = []
                for sparsity in SPARSITIES:
                    budget = nonzeros(scores, units, sparsity)
                    densities = allocated_densities(each, units, [budget])
                    masks = layer_masks(scores, {n: 1 - d for n, d in densities.items()})
                    found[told].append(error(cut(net, masks), data.val))
        return found

    found = [
        kept.get(f"{name}/variants/{seed}", partial(measure, net)) for seed, net in dense.items()
    ]
    print("\n| validation, at once | " + " | ".join(f"{100 * s:g} % cut" for s in SPARSITIES), "|")
    print("|---|" + "---|" * len(SPARSITIES))
    for way in found[0]:
        cells = [mean([each[way][i] for each in found]) for i in range(len(SPARSITIES))]
        print(f"| {way} | " + " | ".join(cells) + " |", flush=True)


def mean(errors: list[float]) -> str:
    """With the standard deviation behind it."""
    spread = statistics.stdev(errors) if len(errors) > 1 else 0.0
    return f"{statistics.mean(errors):.2f} ± {spread:.2f}"


def table(title: str, columns: list[str], cell: Callable[[str, int], list[list[float]]]) -> None:
    """A row for each way: errors, and what was reached on average."""
    print(f"\n| {title} | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for way in WAYS:
        cells = []
        for column in range(len(columns)):
            found = cell(way, column)
            errors = [each[0] for each in found]
            nonzero, left, size = (statistics.mean(e[i] for e in found) for i in (1, 2, 3))
            cells.append(f"{mean(errors)} ({nonzero:,.0f}, {left:.1%}, {size:,.0f})")
        print(f"| {way} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True)
    parser.add_argument("--net", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("outputs/allocation"))
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    data, kept = Data(arguments.root), Kept(arguments.out / "figures.json")
    for name in arguments.net:
        dense = dense_nets(name, data, arguments.seeds, arguments.out)
        for what, part in (("validation", data.val), ("test", data.test)):
            errors = [error(net, part) for net in dense.values()]
            print(f"\n{name}, dense, {what}: {mean(errors)} %")
        variants(name, dense, data, kept)
        show(Cells(name, dense, data, kept), arguments.epochs)


@dataclass
class Cells:
    """The figures of a network's cells, each measured once."""

    name: str
    dense: dict[int, nn.Module]
    data: Data
    kept: Kept

    def __call__(self, epochs: float, way: str, **how: Any) -> list[list[float]]:
        schedule = Cubic() if epochs else OneShot()
        found = []
        for seed, net in self.dense.items():
            measure = partial(error_of, self.data, net, seed, epochs, schedule, **(WAYS[way] | how))
            found.append(self.kept.get(f"{self.name}/{epochs:g}/{way}/{how}/{seed}", measure))
        return found


def dense_nets(name: str, data: Data, seeds: list[int], out: Path) -> dict[int, nn.Module]:
    """Trained for two epochs, each once."""
    nets = {}
    for seed in seeds:
        seed_everything(seed, verbose=False)
        nets[seed] = NETS[name]((1, 28, 28), 10)
        path = out / f"{name}-{seed}.pt"
        if path.exists():
            nets[seed].load_state_dict(torch.load(path, weights_only=True))
        else:
            trained(nets[seed], data, seed, 2, 2e-3)
            torch.save(nets[seed].state_dict(), path)
        nets[seed].eval()
    return nets


def show(cells: Cells, epochs: float) -> None:
    """All tables of a network."""
    columns = [f"{100 * s:g} % cut" for s in SPARSITIES]
    table("at once", columns, lambda w, i: cells(0, w, sparsity=SPARSITIES[i]))
    if cells.name == "lenet5":
        columns = [f"{100 * f:g} % of the operations" for f in FLOPS]
        table(f"{epochs:g} epochs", columns, lambda w, i: cells(epochs, w, flops=FLOPS[i]))
        columns = [f"{size:,} bytes" for size in BYTES]
        table(f"{epochs:g} epochs", columns, lambda w, i: cells(epochs, w, bytes=BYTES[i]))
    columns = [f"{100 * s:g} % cut" for s in SPARSITIES]
    table(f"{epochs:g} epochs", columns, lambda w, i: cells(epochs, w, sparsity=SPARSITIES[i]))


if __name__ == "__main__":
    main()
