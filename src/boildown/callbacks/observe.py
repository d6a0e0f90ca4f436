"""What loggers are told of a training at each validation, beside what others log."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from boildown.callbacks.budget import callbacks_of, clock_of, progress_of, validates_fit
from boildown.callbacks.technique import Technique

AXES = ("progress", "flops", "epochs", "steps")  # against which a metric may be drawn


class Observe(Callback):
    """Log the training loss, what has been spent, and what is held of each weight.

    At each validation of a fit:

    - `train/loss`: the mean over the steps since the last validation;
    - `progress`, `flops`, `epochs`, `steps`: what has been spent, in the same row, so that every
      metric can be drawn over each of them;
    - `sparsity/WEIGHT`, `distinct/WEIGHT`, `bits/WEIGHT`, `rank/LAYER`: what the techniques say
      that they hold (`Technique.held_figures`), to the loggers alone: nothing is measured.

    Put it after the techniques. A step costs one addition on the device of the loss.
    """

    def __init__(self) -> None:
        self._loss: Tensor | None = None
        self._steps = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if not isinstance(loss, Tensor):  # of a LightningModule that optimizes by hand
            return
        loss = loss.detach() * trainer.accumulate_grad_batches  # Lightning has divided by it
        self._loss = loss if self._loss is None else self._loss.to(loss.device) + loss
        self._steps += 1

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not validates_fit(trainer):
            return
        if self._loss is not None:
            mean = self._loss.double() / self._steps
            pl_module.log("train/loss", mean, sync_dist=trainer.world_size > 1)
            self._loss, self._steps = None, 0
        spent = self._spent(trainer)
        for name, value in spent.items():  # in float64: a float32 has 7 digits
            pl_module.log(name, torch.tensor(value, dtype=torch.float64))
        if trainer.loggers and (figures := held_figures(trainer)):
            for logger in trainer.loggers:
                logger.log_metrics(figures | spent, step=int(spent["steps"]))

    def _spent(self, trainer: Trainer) -> dict[str, float]:
        clock = clock_of(trainer)
        if clock is None:
            spent = {"progress": progress_of(trainer), "epochs": float(trainer.current_epoch)}
            return spent | {"steps": float(trainer.global_step)}
        values = (clock.progress, clock.flops, clock.epochs, clock.steps)
        return {name: float(value) for name, value in zip(AXES, values, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self._loss, "steps": self._steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loss, self._steps = state_dict["loss"], state_dict["steps"]


def held_figures(trainer: Trainer) -> dict[str, float]:
    """What the techniques of a trainer hold, such as {"sparsity/fc1.weight": 0.9}."""
    return {
        f"{figure}/{weight.removeprefix('model.')}": float(value)
        for technique in callbacks_of(trainer)
        if isinstance(technique, Technique)
        for figure, values in technique.held_figures.items()
        for weight, value in values.items()
    }
