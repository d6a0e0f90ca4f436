"""A task whose loss is infinite at chosen batches, and a fit of it under a loss scaler."""

from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn

from boildown.amp.plugins import fp16
from boildown.data.loader import TensorLoader
from boildown.tasks.classification import Batch, Classification


class Overflowing(Classification):
    """Its loss is infinite at the batches numbered in `bad`, counted over the whole fit."""

    bad: Collection[int] = ()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        number = self.trainer.fit_loop.epoch_loop.total_batch_idx
        return loss * torch.inf if number in self.bad else loss


class ScaledOnly(MixedPrecision):
    """A loss scaler over fp32 arithmetic, where scaling by powers of two changes no bit."""

    def __init__(self) -> None:
        super().__init__("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu"))

    def autocast_context_manager(self) -> Any:
        return nullcontext()


def fit(
    callbacks: list[Callback],
    bad: Collection[int] = (),
    *,
    plugin: MixedPrecision | None = None,
    net: nn.Module | None = None,
    batch_size: int = 8,
    shuffle: bool = True,
    fused: bool = False,
    resume: Path | None = None,
    **options: Any,
) -> tuple[Trainer, nn.Module]:
    """Fit 64 samples of 12 features and 3 classes; returns the trainer and the network."""
    seed_everything(0, verbose=False)
    make = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 12, generator=make)
    targets = torch.randint(0, 3, (64,), generator=make)
    task = Overflowing(
        net or nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3)),
        optimizer=lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, fused=fused),
        num_classes=3,
    )
    task.bad = bad
    trainer = Trainer(
        accelerator="cpu",
        plugins=[plugin or fp16("cpu")],
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
        **({"max_epochs": -1} | options),
    )
    trainer.fit(
        task,
        TensorLoader(inputs, targets, batch_size, shuffle=shuffle, seed=0, drop_last=True),
        TensorLoader(inputs, targets, 64, shuffle=False, seed=0, drop_last=False),
        ckpt_path=resume,
        weights_only=True,
    )
    return trainer, task.model
