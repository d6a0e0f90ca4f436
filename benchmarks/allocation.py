"""How dense each layer should be: global, ERK, LAMP and measured sensitivities, on MNIST's LeNets.

python benchmarks/allocation.py --root DIR [--net lenet300 lenet5] [--epochs 2] [--seeds 0 1 2]

Prints, in Markdown, test errors (mean and standard deviation over the seeds, in %): of cuts at
once without training; of gradual cuts, cubic over the first 70 % of a fine-tuning, at equal
nonzeros; and for LeNet-5 at equal operations of a forward pass and at equal bytes of the file
(values in fp16, the codec's best coder). In brackets nonzeros, the operations that are left, and
bytes. Which weights of a layer go, magnitude decides everywhere; calibration data are 512 training
images. What has been measured is kept in --out.
"""

import argparse
import json
import logging
import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import nn

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
from boildown.prune.criteria import lamp, magnitude
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
FLOPS = (0.1,)
BYTES = (30_000,)
BATCH, SAMPLES = 128, 512


class Data:
    """MNIST in memory: the last 5,000 training images are not used."""

    def __init__(self, root: str) -> None:
        mnist = MNIST(
            root=root, download=False, batch_size=BATCH, eval_batch_size=1000, val_size=5000, seed=0
        )
        train, test = mnist._read()
        self.train = train.inputs[:55000], train.targets[:55000]
        self.test = test.inputs, test.targets
        inputs, targets = (part[:SAMPLES] for part in self.train)
        self.calibration = list(zip(inputs.split(BATCH), targets.split(BATCH), strict=True))

    def error(self, net: nn.Module) -> float:
        """Of the test set, in %."""
        with torch.no_grad():
            wrong = (net(self.test[0]).argmax(1) != self.test[1]).float().mean()
        return 100.0 * float(wrong)


def trained(
    net: nn.Module, data: Data, seed: int, epochs: int, rate: float, *extra: Callback
) -> None:
    """Train in place, by Adam with a cosine."""
    seed_everything(seed, verbose=False)
    task = Classification(net, optimizer=lambda p: torch.optim.Adam(p, lr=rate), num_classes=10)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=-1,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        limit_val_batches=0,
        callbacks=[ComputeBudget(epochs=epochs), ScheduleLearningRate(shape=Cosine()), *extra],
    )
    loader = TensorLoader(*data.train, BATCH, shuffle=True, seed=seed, drop_last=True)
    trainer.fit(task, loader)


class Kept:
    """Figures by their key, in a file, so that nothing is measured twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.figures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, key: str, measure: Callable[[], Any]) -> Any:
        if key not in self.figures:
            self.figures[key] = measure()
            self.path.write_text(json.dumps(self.figures, indent=1))
        return self.figures[key]


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
    return [data.error(net), sum(kept[n] * net.get_parameter(n).numel() for n in kept), left,
            codec.estimate(half)]  # fmt: skip


def table(title: str, columns: list[str], cell: Callable[[str, int], list[list[float]]]) -> None:
    """A row for each way: errors, and what was reached on average."""
    print(f"\n| {title} | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for way in WAYS:
        cells = []
        for column in range(len(columns)):
            found = cell(way, column)
            errors = [each[0] for each in found]
            spread = statistics.stdev(errors) if len(errors) > 1 else 0.0
            nonzero, left, size = (statistics.mean(e[i] for e in found) for i in (1, 2, 3))
            cells.append(
                f"{statistics.mean(errors):.2f} ± {spread:.2f} "
                f"({nonzero:,.0f}, {left:.1%}, {size:,.0f})"
            )
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
        errors = [data.error(net) for net in dense.values()]
        print(f"\n{name}, dense: {statistics.mean(errors):.2f} % ({errors})")
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
