"""The learning rate as a function of the budget, restarted with every phase."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from boildown.callbacks.budget import clock_of, progress_of, validates_fit
from boildown.schedule import Shape, fraction


class ScheduleLearningRate(Callback):
    """Multiply every optimizer's learning rates by `peaks[phase] * shape(u)`.

    u runs from 0 to 1 through each phase of the `ComputeBudget` (without one, through the whole
    training, a phase named "train"), and through each part between further restarts.

    Args:
        shape: multiplier over a phase (`boildown.schedule.Cosine`, `Constant`).
        peaks: phase -> factor on the learning rate for that phase, 1 where absent.
    """

    def __init__(self, *, shape: Shape, peaks: Mapping[str, float] | None = None) -> None:
        self.shape = shape
        self.peaks = dict(peaks or {})
        self.restarts: list[float] = []

    def restart_at(self, points: Sequence[float]) -> None:
        """Restart the schedule at these points of progress too."""
        self.restarts = sorted({*self.restarts, *points})

    def multiplier(self, trainer: Trainer) -> float:
        """The factor on the learning rates at this moment."""
        clock = clock_of(trainer)
        progress = progress_of(trainer)
        phases = clock.phases if clock is not None else {"train": 0.0}
        phase = clock.phase if clock is not None else "train"
        points = sorted({0.0, 1.0, *phases.values(), *self.restarts})
        begin = max(p for p in points[:-1] if p <= progress)
        end = min(p for p in points if p > begin)
        return self.peaks.get(phase, 1.0) * self.shape(fraction(progress, begin, end))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        factor = self.multiplier(trainer)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if validates_fit(trainer):
            pl_module.log("learning_rate", trainer.optimizers[0].param_groups[0]["lr"])


def rates_before_schedules(trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
    """Parameter -> its learning rate as the optimizer was given it, before any schedule.

    Known from `on_train_start` on: a checkpoint replaces the optimizers' groups before.
    """
    names = {id(p): name for name, p in pl_module.named_parameters()}
    return {
        names[id(p)]: group.get("initial_lr", group["lr"])
        for optimizer in trainer.optimizers
        for group in optimizer.param_groups
        for p in group["params"]
        if id(p) in names
    }
