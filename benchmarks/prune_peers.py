"""Pruning in training beside Lightning's ModelPruning and torch.nn.utils.prune.

python benchmarks/prune_peers.py [--repeats 40]

CPU, one thread, random data. Prints, in Markdown: the CPU time of a training step (forward,
backward, SGD with momentum and weight decay; batch 64) with nothing, with `Prune`, with
ModelPruning and torch.nn.utils.prune, after the cut, all taking turns; and what is left of the
zeros that were asked for (90 %, in three cuts) at the end, and after a resume from a checkpoint of
the middle with nothing cut after it; whether the state's keys are those of the dense network, and
the bytes of torch.save and of boildown.pack.
"""

import argparse
import copy
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelPruning
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import prune as peer
from torch.utils.data import DataLoader, TensorDataset

import boildown
from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.prune import Prune
from boildown.models.lenet import LeNet5
from boildown.models.resnet import ResNet
from boildown.structure.weights import weights_in

BATCH, STEPS, SPARSITY = 64, 12, 0.9
NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "LeNet-5": (lambda: LeNet5((1, 28, 28), 10), (1, 28, 28)),
    "ResNet-20": (lambda: ResNet((3, 32, 32), 10, 16, 20), (3, 32, 32)),
}


class Task(LightningModule):
    """A network, trained by SGD with momentum and weight decay."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return cross_entropy(self.model(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1)


def weights_of(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """The modules whose weight `Prune` prunes, so that all prune the same."""
    return [(model.get_submodule(name.rpartition(".")[0]), "weight") for name in weights_in(model)]


def prepared(way: str, task: Task) -> list[Callback]:
    """The callbacks of a way; torch's own is told by a callback at the same steps."""
    if way == "dense":
        return []
    if way == "boildown Prune":
        return [
            ComputeBudget(steps=STEPS),
            Prune(sparsity=SPARSITY, begin=0.25, end=0.5, cuts=3),
        ]
    parameters = weights_of(task.model)
    if way == "ModelPruning":
        return [
            ModelPruning(
                "l1_unstructured",
                parameters_to_prune=parameters,
                use_global_unstructured=True,
                amount=lambda epoch: amount_at(epoch, task),
                use_lottery_ticket_hypothesis=False,
                make_pruning_permanent=True,
            )
        ]
    return [TorchPrune(parameters)]


def amount_at(epoch: int, task: Task) -> float:
    """Of what is left, so that three cuts make 90 %; ModelPruning compounds its amount."""
    return 1.0 - (1.0 - SPARSITY) ** (1 / 3) if epoch < 3 else 0.0


class TorchPrune(Callback):
    """torch.nn.utils.prune as its tutorial has it: three global cuts, made permanent at the end."""

    def __init__(self, parameters: list[tuple[nn.Module, str]]) -> None:
        self.parameters = parameters

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch < 3:
            peer.global_unstructured(
                self.parameters,
                pruning_method=peer.L1Unstructured,
                amount=1.0 - (1.0 - SPARSITY) ** (1 / 3),
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for module, name in self.parameters:
            if peer.is_pruned(module):
                peer.remove(module, name)


WAYS = ("dense", "boildown Prune", "ModelPruning", "torch.nn.utils.prune")


def data_of(shape: tuple[int, ...], steps: int) -> DataLoader:
    """Each epoch three steps."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(steps * BATCH, *shape, generator=g)
    y = torch.randint(0, 10, (len(x),), generator=g)
    return DataLoader(TensorDataset(x, y), BATCH)


def trainer_of(callbacks: list[Callback], epochs: int, folder: Path) -> Trainer:
    return Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, callbacks=callbacks,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        default_root_dir=folder,
    )  # fmt: skip


def zeros_in(model: nn.Module) -> float:
    weights = [module.weight.detach() for module, _ in weights_of(model)]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


class StepTimes(Callback):
    """Milliseconds of CPU of each step, optimizer and its hooks included."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.began = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        self.began = time.process_time()

    def on_train_batch_end(self, *_: Any) -> None:
        self.times.append(1e3 * (time.process_time() - self.began))


def times(name: str, repeats: int, folder: Path) -> dict[str, list[float]]:
    """Milliseconds of the last two steps, after the cuts; the ways take turns, a fit each."""
    make, shape = NETS[name]
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            seed_everything(0, verbose=False)
            task, clock = Task(make()), StepTimes()
            trainer_of([clock, *prepared(way, task)], 4, folder).fit(task, data_of(shape, 3))
            took[way] += clock.times[-2:]
    return took


class SaveAt(Callback):
    """A checkpoint at the end of an epoch, when the others have acted."""

    def __init__(self, epoch: int, path: Path) -> None:
        self.epoch, self.path = epoch, path

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            trainer.save_checkpoint(self.path)


def correctness(name: str, way: str, folder: Path) -> list[str]:
    """Zeros at the end, zeros after a resume, keys, and bytes."""
    make, shape = NETS[name]
    seed_everything(0, verbose=False)
    task = Task(make())
    keys = set(task.model.state_dict())
    saver = SaveAt(3, folder / "middle.ckpt")
    trainer_of([*prepared(way, task), saver], 4, folder).fit(task, data_of(shape, 3))
    found = [f"{zeros_in(task.model):.4f}"]
    middle = torch.load(folder / "middle.ckpt", weights_only=True)["state_dict"]
    same = {key.removeprefix("model.") for key in middle} == keys
    seed_everything(0, verbose=False)
    again = Task(make())
    try:
        trainer = trainer_of(prepared(way, again), 4, folder)
        trainer.fit(again, data_of(shape, 3), ckpt_path=folder / "middle.ckpt", weights_only=True)
        found.append(f"{zeros_in(again.model):.4f}")
    except Exception as error:
        found.append(f"{type(error).__name__}: {str(error).strip().splitlines()[0][:50]}")
    found.append("the same" if same else "others")
    state = copy.deepcopy(task.model.state_dict())
    torch.save(state, folder / "model.pt")
    boildown.pack(state, folder / "model.boil")
    sizes = [(folder / file).stat().st_size for file in ("model.pt", "model.boil")]
    return [*found, *(f"{size:,}" for size in sizes)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--net", nargs="+", default=list(NETS), choices=list(NETS))
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(f"1 thread, {torch.backends.cpu.get_cpu_capability()}")
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        print("| net | way | zeros | after a resume | keys in a checkpoint | torch.save | pack |")
        print("|---|---|---|---|---|---|---|")
        for name in arguments.net:
            for way in WAYS[1:]:
                row = " | ".join(correctness(name, way, folder))
                print(f"| {name} | {way} | {row} |", flush=True)
        print("\n| ms of CPU a step | " + " | ".join(WAYS) + " |\n|---|---|---|---|---|")
        for name in arguments.net:
            took = times(name, arguments.repeats, folder)
            middle = {way: statistics.median(each) for way, each in took.items()}
            cells = [f"{ms:.2f} ({ms / middle['dense']:.2f}x)" for ms in middle.values()]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
