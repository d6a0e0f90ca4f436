"""Small fits on noise, for the tests of callbacks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import Tensor, nn

from boildown.data.loader import TensorLoader
from boildown.tasks.classification import Classification


def drawn(samples: int = 64, features: int = 12, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Inputs and targets, the same each time."""
    make = torch.Generator().manual_seed(0)
    inputs = torch.randn(samples, features, generator=make)
    return inputs, torch.randint(0, classes, (samples,), generator=make)


def layers(features: int = 12, hidden: int = 16, classes: int = 3) -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes)]


def fit(
    callbacks: list[Callback],
    optimizer: Callable[..., Any] = lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    make: Callable[..., Classification] = Classification,
    model: nn.Module | None = None,
    *,
    data: tuple[Tensor, Tensor] | None = None,
    batch_size: int = 8,
    shuffle: bool = True,
    resume: Path | None = None,
    **options: Any,
) -> tuple[Trainer, nn.Module]:
    """Fit, by default 64 samples of 12 features and 3 classes; returns the trainer and the network.

    Args:
        callbacks: of the trainer.
        optimizer: of the parameters.
        make: the task, from network, optimizer and number of classes.
        model: None for one hidden layer.
        data: None for the 64 samples.
        batch_size: of the training.
        shuffle: whether each epoch has an order of its own.
        resume: a checkpoint.
        options: of the trainer.
    """
    seed_everything(0, verbose=False)
    inputs, targets = drawn() if data is None else data
    task = make(
        nn.Sequential(*layers()) if model is None else model,
        optimizer=optimizer,
        num_classes=int(targets.max()) + 1,
    )
    defaults: dict[str, Any] = {"max_epochs": -1, "enable_checkpointing": False}
    defaults["enable_progress_bar"] = False
    trainer = Trainer(
        accelerator="cpu",
        num_sanity_val_steps=0,
        logger=False,
        enable_model_summary=False,
        callbacks=callbacks,
        **(defaults | options),
    )
    trainer.fit(
        task,
        TensorLoader(inputs, targets, batch_size, shuffle=shuffle, seed=0, drop_last=True),
        TensorLoader(inputs, targets, len(inputs), shuffle=False, seed=0, drop_last=False),
        ckpt_path=resume,
        weights_only=True,
    )
    return trainer, task.model


class StopAt(Callback):
    """Saves a checkpoint at the validation after a number of batches, and stops."""

    def __init__(self, batch: int, path: Path) -> None:
        self.batch, self.path = batch, path

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.fit_loop.total_batch_idx + 1 == self.batch:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True
