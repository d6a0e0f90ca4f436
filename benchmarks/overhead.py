"""What boildown costs per training step: ratios against the same training without it, interleaved.

python benchmarks/overhead.py --root DIR [--repeats 7]

1. A Lightning step with Prune and ShareWeights holding / the same step without them.
2. A whole dense run of MNIST (--epochs) with logger=wandb, offline, / with logger=none.
3. A dense run's training with boildown's callbacks / a bare PyTorch loop, and / a bare Lightning
   fit, doing the same work (same batches, same validations).
"""

import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bare_trainer import bare_trainer
from lightning.pytorch import Callback, LightningModule
from torch.nn import functional as F

from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.learning_rate import ScheduleLearningRate
from boildown.callbacks.prune import Prune
from boildown.callbacks.quiet import quiet
from boildown.callbacks.record import Record
from boildown.callbacks.share import ShareWeights
from boildown.data.mnist import MNIST
from boildown.models.lenet import LeNet5, LeNet300
from boildown.schedule import Cosine, OneShot
from boildown.tasks.classification import Classification

ROOT = Path(__file__).parents[1]
FUSED = True  # as in conf/task; --plain-adam measures torch's default
SHAPE = {"input_shape": (1, 28, 28), "num_classes": 10}


class Plain(LightningModule):
    """The least a Lightning user writes."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return F.cross_entropy(self.model(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return adam(self.parameters())


class Clock(Callback):
    """Seconds of each step, the first 20 left out."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.times.append(time.perf_counter())

    @property
    def median(self) -> float:
        gaps = [b - a for a, b in zip(self.times[20:], self.times[21:], strict=False)]
        return statistics.median(gaps)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-3, fused=FUSED)


def fit(module: LightningModule, data: MNIST, callbacks: list[Callback], **limits: Any) -> None:
    bare_trainer(callbacks, **limits).fit(module, data.train_dataloader())


def task(model: torch.nn.Module) -> Classification:
    return Classification(model, optimizer=adam, num_classes=10)


def holding(make: Callable[..., torch.nn.Module], data: MNIST, steps: int) -> tuple[float, float]:
    """Median seconds of a step with and without the constraints, one fit of each."""
    held, free = Clock(), Clock()
    techniques = [
        Prune(sparsity=0.92, schedule=OneShot(), begin=0.0, end=0.0),
        ShareWeights(bits=5, begin=0.0),
    ]
    fit(task(make(**SHAPE)), data, [*techniques, held], max_steps=steps)
    fit(task(make(**SHAPE)), data, [free], max_steps=steps)
    return held.median, free.median


def whole(make: Callable[..., torch.nn.Module], data: MNIST, epochs: int) -> list[float]:
    """Seconds of a dense training: with boildown's clock and record, bare Lightning, bare loop."""
    seconds = []
    callbacks = [ComputeBudget(epochs=epochs), ScheduleLearningRate(shape=Cosine()), Record()]
    for work in (
        lambda: fit(task(make(**SHAPE)), data, callbacks, max_epochs=-1),
        lambda: fit(Plain(make(**SHAPE)), data, [], max_epochs=epochs),
        lambda: loop(make(**SHAPE), data, epochs),
    ):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds


def logged(root: str, epochs: int) -> list[tuple[float, float]]:
    """Seconds of CPU and of the clock of a whole dense run of MNIST, with wandb and without.

    CPU of all its processes, wandb's service too: on a machine that does other work the clock says
    little.
    """
    found = []
    for logger in ("wandb", "none"):
        with tempfile.TemporaryDirectory() as place:
            own = [f"logger={logger}", "data=mnist", f"data.root={root}", f"budget.epochs={epochs}"]
            began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(
                [sys.executable, str(ROOT / "train.py"), f"hydra.run.dir={place}/run", *own],
                check=True,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"WANDB_MODE": "offline"},
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            found.append((cpu, time.perf_counter() - began))
    return found


def loop(model: torch.nn.Module, data: MNIST, epochs: int) -> None:
    optimizer = adam(model.parameters())
    loader = data.train_dataloader()
    for _ in range(epochs):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=10, help="of the runs that log")
    parser.add_argument("--only-logging", action="store_true", help="the second table alone")
    parser.add_argument("--plain-adam", action="store_true", help="torch's unfused AdamW")
    arguments = parser.parse_args()
    global FUSED
    FUSED = not arguments.plain_adam
    contextlib.ExitStack().enter_context(quiet())
    warnings.filterwarnings("ignore")
    print("| dense MNIST run | CPU with wandb, s | without, s | more | clock, s |")
    print("|---|---|---|---|---|")
    for _ in range(arguments.repeats if arguments.epochs else 0):
        (cpu, clock), (bare_cpu, bare_clock) = logged(arguments.root, arguments.epochs)
        print(
            f"| LeNet-300-100, {arguments.epochs} epochs | {cpu:.1f} | {bare_cpu:.1f} | "
            f"{cpu / bare_cpu - 1:+.1%} | {clock:.1f}, {bare_clock:.1f} |",
            flush=True,
        )
    print()
    if arguments.only_logging:
        return
    data = MNIST(
        root=arguments.root,
        download=False,
        batch_size=128,
        eval_batch_size=1000,
        val_size=2000,
        seed=0,
    )
    print("| net, batch 128 | held / free step: min, median, max | run / Lightning | run / loop |")
    print("|---|---|---|---|")
    for make, steps, epochs in ((LeNet300, 400, 3), (LeNet5, 150, 1)):
        pairs = [holding(make, data, steps) for _ in range(arguments.repeats)]
        ratios = sorted(held / free for held, free in pairs)
        runs = [whole(make, data, epochs) for _ in range(arguments.repeats)]
        against = [statistics.median(r[0] / r[i] for r in runs) for i in (1, 2)]
        print(
            f"| {make.__name__} | {ratios[0]:.2f}, {statistics.median(ratios):.2f}, "
            f"{ratios[-1]:.2f} | {against[0]:.2f} | {against[1]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
