"""A task whose loss is infinite at chosen batches, and a fit of it under a loss scaler."""

from collections.abc import Collection
from contextlib import nullcontext
from typing import Any

import fits
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn

from boildown.amp.plugins import fp16
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
    fused: bool = False,
    **options: Any,
) -> tuple[Trainer, nn.Module]:
    """`fits.fit` under a loss scaler, of a task whose loss is infinite at the `bad` batches."""

    def make(*args: Any, **named: Any) -> Classification:
        task = Overflowing(*args, **named)
        task.bad = bad
        return task

    return fits.fit(
        callbacks,
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, fused=fused),
        make,
        net,
        plugins=[plugin or fp16("cpu")],
        **options,
    )
