"""What a step of training costs on grids: LeNet-5 and ResNet-20, in turns with a plain one.

python benchmarks/qat_steps.py [--rounds 60] [--threads 2] [--nets LeNet-5 ResNet-20] [--processor]

Prints, in Markdown, the median of a step in milliseconds, and of the ratios of neighbours: plain,
with weights of 4 bits, with inputs of 4 bits too, ternary, and with a rate term. A step is forward,
backward and Adam of a batch of 64 in a Lightning Trainer; what is timed is from batch to batch, on
the wall's clock, or with --processor what the process took, which other work disturbs less.
"""

import argparse
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from bare_trainer import bare_trainer
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn

from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.quantize import Quantize
from boildown.data.loader import TensorLoader
from boildown.models.lenet import LeNet5
from boildown.models.resnet import ResNet
from boildown.runtime.report import this_machine
from boildown.tasks.classification import Classification

BATCH = 64
NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "LeNet-5": (lambda: LeNet5((1, 28, 28), 10), (1, 28, 28)),
    "ResNet-20": (lambda: ResNet((3, 32, 32), 10, width=16, depth=20), (3, 32, 32)),
}
WAYS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "4 bits": {"bits": 4},
    "4 bits, inputs 4": {"bits": 4, "activations": 4},
    "ternary": {"bits": "ternary"},
    "4 bits, rate": {"bits": 4, "rate": 0.1},
}


class Clock(Callback):
    """Seconds of each step but the first few."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now, self.seconds = now, list[float]()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._began = self.now()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.seconds.append(self.now() - self._began)


def steps(net: str, way: dict[str, Any] | None, count: int, now: Callable[[], float]) -> float:
    """The median of some steps."""
    build, shape = NETS[net]
    seed_everything(0, verbose=False)
    inputs, targets = (
        torch.randn(BATCH * (count + 3), *shape),
        torch.arange(BATCH * (count + 3)) % 10,
    )
    task = Classification(build(), optimizer=lambda p: torch.optim.Adam(p, lr=1e-3), num_classes=10)
    pair: list[tuple[Tensor, Tensor]] = [(inputs[:BATCH], targets[:BATCH])]
    clock = Clock(now)
    held = [] if way is None else [Quantize(**way, begin=0.0, calibration=lambda: pair)]
    trainer = bare_trainer([clock, ComputeBudget(steps=count + 3), *held])
    trainer.fit(task, TensorLoader(inputs, targets, BATCH, shuffle=False, seed=0, drop_last=True))
    return statistics.median(clock.seconds[3:])


def main() -> None:
    """Measure all ways in turns."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--processor", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    print(f"{this_machine(torch.device('cpu'))}\n")
    print("| net | " + " | ".join(WAYS) + " |\n|---|" + "---|" * len(WAYS))
    now = time.process_time if given.processor else time.perf_counter
    for net in given.nets:
        taken: dict[str, list[float]] = {name: [] for name in WAYS}
        for _ in range(given.rounds):
            for name, way in WAYS.items():
                taken[name].append(steps(net, way, given.steps, now))
        ratios = {
            name: statistics.median(a / b for a, b in zip(each, taken["plain"], strict=True))
            for name, each in taken.items()
        }
        cells = [f"{1e3 * statistics.median(taken[n]):.1f} ms, {ratios[n]:.2f}" for n in WAYS]
        print(f"| {net} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
