"""One-shot pruning by the layers' outputs, by the loss, and by both: LeNets on MNIST.

python benchmarks/mix.py --root DIR [--nets lenet300 lenet5] [--seeds 0 1 2] [--methods obs alps]

Each net is trained for two epochs and pruned without training, every layer to the same sparsity, on
512 training images. Prints, in Markdown, the error in % on the last 5,000 training images, which
nothing was trained or calibrated on: mean and standard deviation over the seeds. What has been
measured is kept in --out and not repeated.
"""

import argparse
import copy
import logging
import statistics
import time
import warnings
from pathlib import Path

import torch
from bare_trainer import bare_trainer
from kept import Kept
from lightning.pytorch import seed_everything
from torch import nn
from torch.nn import functional as F

from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.learning_rate import ScheduleLearningRate
from boildown.data.loader import TensorLoader
from boildown.data.mnist import MNIST
from boildown.models.lenet import LeNet5, LeNet300
from boildown.prune.layers import prune_oneshot
from boildown.schedule import Cosine
from boildown.tasks.classification import Classification

NETS = {"lenet300": LeNet300, "lenet5": LeNet5}
METHODS = ("obs", "sparsegpt", "alps")
MIXES = (0.0, 0.1, 0.5, 1.0)
SPARSITIES = (0.8, 0.9, 0.95)
SAMPLES, EPOCHS, BATCH = 512, 2, 128


class Data:
    """MNIST's training images in memory, of which the last 5,000 are measured on."""

    def __init__(self, root: str) -> None:
        mnist = MNIST(
            root=root, download=False, batch_size=BATCH, eval_batch_size=1000, val_size=5000, seed=0
        )
        train, _ = mnist._read()
        self.train = train.inputs[:55000], train.targets[:55000]
        self.held = train.inputs[55000:], train.targets[55000:]
        inputs, targets = (part[:SAMPLES] for part in self.train)
        self.calibration = list(zip(inputs.split(BATCH), targets.split(BATCH), strict=True))

    def error(self, net: nn.Module) -> float:
        """In %."""
        with torch.no_grad():
            wrong = (net(self.held[0]).argmax(1) != self.held[1]).float().mean()
        return 100.0 * float(wrong)

    def seconds_and_error(
        self, net: nn.Module, method: str, sparsity: float, mix: float
    ) -> list[float]:
        begin = time.perf_counter()
        made = prune_oneshot(
            net,
            self.calibration,
            sparsity,
            method=method,  # type: ignore[arg-type]
            samples=SAMPLES,
            mix=mix,
            loss=F.cross_entropy,
        )
        return [time.perf_counter() - begin, self.error(made)]


def trained(net: nn.Module, data: Data, seed: int) -> None:
    """Train in place, by Adam with a cosine."""
    seed_everything(seed, verbose=False)
    task = Classification(net, optimizer=lambda p: torch.optim.Adam(p, lr=1e-3), num_classes=10)
    trainer = bare_trainer([ComputeBudget(epochs=EPOCHS), ScheduleLearningRate(shape=Cosine())])
    trainer.fit(task, TensorLoader(*data.train, BATCH, shuffle=True, seed=seed, drop_last=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", required=True, help="of MNIST's IDX files")
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--mixes", nargs="+", type=float, default=list(MIXES))
    parser.add_argument("--out", type=Path, default=Path("outputs/mix"))
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    data, kept = Data(args.root), Kept(args.out / "figures.json")
    for name in args.nets:
        dense: dict[int, nn.Module] = {}
        for seed in args.seeds:
            file = args.out / f"{name}_{seed}.pt"
            torch.manual_seed(seed)
            dense[seed] = NETS[name]((1, 28, 28), 10)
            if not file.exists():
                trained(dense[seed], data, seed)
                torch.save(dense[seed].state_dict(), file)
            dense[seed].load_state_dict(torch.load(file, weights_only=True))
            dense[seed].eval()
        errors = [data.error(copy.deepcopy(net)) for net in dense.values()]
        print(
            f"\n{name}, dense: {_told(errors)} %\n\n| method | mix | "
            + " | ".join(f"{sparsity}" for sparsity in SPARSITIES)
            + " | seconds |"
        )
        print("|---|---|" + "---|" * (len(SPARSITIES) + 1))
        for method in args.methods:
            for mix in args.mixes:
                cells, seconds = [], []
                for sparsity in SPARSITIES:
                    found = [
                        kept.get(
                            f"{name} {seed} {method} {sparsity} {mix}",
                            lambda net=net, s=sparsity, m=method, a=mix: data.seconds_and_error(
                                net, m, s, a
                            ),
                        )
                        for seed, net in dense.items()
                    ]
                    cells.append(_told([error for _, error in found]))
                    seconds += [each for each, _ in found]
                row = [method, f"{mix:g}", *cells, f"{statistics.mean(seconds):.1f}"]
                print("| " + " | ".join(row) + " |", flush=True)


def _told(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} ± {spread:.2f}"


if __name__ == "__main__":
    main()
