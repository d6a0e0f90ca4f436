"""What fp16 saves and what the callbacks cost under it: interleaved medians.

python benchmarks/amp.py [--width 4096 --depth 4 --batch 1024 --steps 60 --repeats 5]

Trains an MLP on random inputs, on the GPU if there is one, four ways: in fp32, in bf16, in fp16
with Lightning's scaler alone, and in fp16 with ComputeBudget, LossScaling, Prune at 90 % and
ShareWeights at 5 bits all holding. Prints the median milliseconds of a step (the first 10 left out;
the probe on every 50th step is in no median), the median over the repeats of its ratio to fp32 and
to fp16 alone, and on a GPU the peak memory in MiB.
"""

import argparse
import contextlib
import statistics
import time
import warnings
from typing import Any

import torch
from bare_trainer import bare_trainer
from lightning.pytorch import Callback

from boildown.amp.plugins import fp16
from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.loss_scaling import LossScaling
from boildown.callbacks.prune import Prune
from boildown.callbacks.quiet import quiet
from boildown.callbacks.share import ShareWeights
from boildown.data.loader import TensorLoader
from boildown.models.mlp import MLP
from boildown.schedule import OneShot
from boildown.tasks.classification import Classification

WAYS = ("fp32", "bf16", "fp16", "fp16, callbacks")
CLASSES = 10
ON_GPU = torch.cuda.is_available()


class Clock(Callback):
    """Seconds of each step, the first 10 left out."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        if ON_GPU:
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    @property
    def median(self) -> float:
        gaps = [b - a for a, b in zip(self.times[10:], self.times[11:], strict=False)]
        return statistics.median(gaps)


def measure(way: str, size: argparse.Namespace) -> tuple[float, float]:
    """Median seconds of a step, and the peak of GPU memory in MiB (0 on the CPU)."""
    torch.manual_seed(0)
    inputs = torch.randn(4 * size.batch, size.width)
    targets = torch.randint(0, CLASSES, (4 * size.batch,))
    loader = TensorLoader(inputs, targets, size.batch, shuffle=True, seed=0, drop_last=True)
    model = MLP((size.width,), CLASSES, [size.width] * size.depth)
    task = Classification(
        model, optimizer=lambda p: torch.optim.AdamW(p, lr=1e-4), num_classes=CLASSES
    )
    clock = Clock()
    callbacks: list[Callback] = [clock]
    if way == "fp16, callbacks":
        callbacks = [
            ComputeBudget(steps=size.steps),
            LossScaling(),
            Prune(sparsity=0.9, schedule=OneShot(), begin=0.0, end=0.0),
            ShareWeights(bits=5, begin=0.0),
            clock,
        ]
    precision: dict[str, Any] = {"precision": {"fp32": "32-true", "bf16": "bf16-mixed"}.get(way)}
    if way.startswith("fp16"):
        precision = {"plugins": [fp16("gpu" if ON_GPU else "cpu")]}
    trainer = bare_trainer(
        callbacks,
        accelerator="gpu" if ON_GPU else "cpu",
        devices=1,
        max_steps=size.steps,
        **precision,
    )
    if ON_GPU:
        torch.cuda.reset_peak_memory_stats()
    trainer.fit(task, loader)
    return clock.median, torch.cuda.max_memory_allocated() / 2**20 if ON_GPU else 0.0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=4096 if ON_GPU else 256)
    parser.add_argument("--depth", type=int, default=4 if ON_GPU else 2)
    parser.add_argument("--batch", type=int, default=1024 if ON_GPU else 64)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    size = parser.parse_args()
    contextlib.ExitStack().enter_context(quiet())
    warnings.filterwarnings("ignore")
    runs = [{way: measure(way, size) for way in WAYS} for _ in range(size.repeats)]
    device = torch.cuda.get_device_name() if ON_GPU else f"CPU, {torch.get_num_threads()} threads"
    print(f"{device}; width {size.width}, depth {size.depth}, batch {size.batch}")
    print("| | ms per step | / fp32 | / fp16 | peak MiB |")
    print("|---|---|---|---|---|")
    for way in WAYS:
        step = statistics.median(run[way][0] for run in runs)
        ratios = [
            statistics.median(run[way][0] / run[other][0] for run in runs)
            for other in ("fp32", "fp16")
        ]
        peak = f"{max(run[way][1] for run in runs):.0f}" if ON_GPU else "-"
        print(f"| {way} | {1000 * step:.2f} | {ratios[0]:.2f} | {ratios[1]:.2f} | {peak} |")


if __name__ == "__main__":
    main()
