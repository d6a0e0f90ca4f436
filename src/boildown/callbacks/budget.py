"""The clock and the ledger: what has been spent of a run's budget, and when it ends."""

import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from boildown.flops import training_flops
from boildown.schedule import fraction

UNITS = ("flops", "epochs", "steps", "seconds")


class ComputeBudget(Callback):
    """Count what training costs, publish `progress` in [0, 1], and stop when the budget is spent.

    Put it first in the list of callbacks; the others read their time from it, so that one setting
    means the same for a small and a large model. Give exactly one of the four units. Steps are
    optimizer steps that really happened (a step that a loss scaler skips is not one); FLOPs are
    those of forward and backward passes over all ranks, skipped steps included; epochs may be
    fractions. FLOPs are counted once per batch shape.

    Args:
        flops: budget in floating-point operations.
        epochs: budget in passes over the training data.
        steps: budget in optimizer steps.
        seconds: budget in seconds of training (not reproducible).
        phases: name -> the progress at which the phase begins, the first at 0; costs are booked
            by phase and the learning rate restarts with each.

    Raises:
        ValueError: unless exactly one unit is given and positive, and the phases are in order.
    """

    def __init__(
        self,
        *,
        flops: float | None = None,
        epochs: float | None = None,
        steps: int | None = None,
        seconds: float | None = None,
        phases: Mapping[str, float] | None = None,
    ) -> None:
        values = (flops, epochs, steps, seconds)
        given = {u: float(v) for u, v in zip(UNITS, values, strict=True) if v is not None}
        if len(given) != 1:
            raise ValueError(f"budget: give exactly one of {', '.join(UNITS)}, got {given}")
        ((self.unit, self.total),) = given.items()
        if not self.total > 0:
            raise ValueError(f"budget.{self.unit} must be positive, got {self.total}")
        self.phases = dict(phases or {"train": 0.0})
        begins = list(self.phases.values())
        if begins[0] != 0.0 or begins != sorted(begins) or begins[-1] > 1.0:
            raise ValueError(f"phases must begin at 0 and not overlap, got {self.phases}")
        self.flops = 0
        self.steps = 0
        self.batches = 0
        self.seconds = 0.0
        self.by_phase = {name: {"flops": 0, "steps": 0, "seconds": 0.0} for name in self.phases}
        self.flops_per_batch: dict[tuple[int, ...], int] = {}
        self._steps_per_epoch = 0.0
        self._mark = 0.0

    @property
    def spent(self) -> float:
        """What is spent, in the budget's unit."""
        if self.unit == "epochs":
            return self.steps / self._steps_per_epoch if self._steps_per_epoch else 0.0
        return float(getattr(self, self.unit))

    @property
    def progress(self) -> float:
        """Fraction of the budget that is spent, in [0, 1]."""
        return min(self.spent / self.total, 1.0)

    @property
    def phase(self) -> str:
        """The phase that `progress` lies in."""
        return [name for name, begin in self.phases.items() if begin <= self.progress][-1]

    @property
    def phase_progress(self) -> float:
        """Fraction of the current phase that is spent, in [0, 1]."""
        begin = self.phases[self.phase]
        later = [b for b in self.phases.values() if b > begin]
        return fraction(self.progress, begin, min(later, default=1.0))

    def batches_ahead(
        self, pl_module: LightningModule, batch: Any, batches_per_epoch: int, accumulate: int = 1
    ) -> float:
        """How many training batches the whole budget holds; for seconds, those of ten epochs."""
        if self.unit == "epochs":
            return self.total * batches_per_epoch
        if self.unit == "steps":
            return self.total * accumulate
        if self.unit == "flops":
            return self.total / self._flops_of(pl_module, batch)
        return 10.0 * batches_per_epoch

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for optimizer in trainer.optimizers[:1]:
            optimizer.register_step_post_hook(self._on_real_step)

    def _on_real_step(self, *_: Any) -> None:
        self.steps += 1
        self.by_phase[self._charged]["steps"] += 1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._steps_per_epoch = trainer.num_training_batches / trainer.accumulate_grad_batches
        self._mark = time.perf_counter()
        if self.unit == "epochs" and not self._steps_per_epoch < float("inf"):
            raise ValueError("budget.epochs needs a loader with a length; give steps or flops")
        if self.progress >= 1.0:
            trainer.should_stop = True

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._charged = self.phase

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        now = time.perf_counter()
        self._charge(self._flops_of(pl_module, batch) * trainer.world_size, now - self._mark)
        self._mark = now
        if self.progress >= 1.0:
            trainer.should_stop = True

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validation_began = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._mark += time.perf_counter() - self._validation_began

    def _charge(self, flops: int, seconds: float) -> None:
        self.batches += 1
        self.flops += flops
        self.seconds += seconds
        self.by_phase[self._charged]["flops"] += flops
        self.by_phase[self._charged]["seconds"] += seconds

    def _flops_of(self, pl_module: LightningModule, batch: Any) -> int:
        inputs = _inputs_of(batch)
        shape = tuple(inputs.shape)
        if shape not in self.flops_per_batch:
            try:
                self.flops_per_batch[shape] = training_flops(pl_module, inputs)
            except (RuntimeError, NotImplementedError, TypeError) as error:
                problem = (
                    f"cannot count the FLOPs of {type(pl_module).__name__} on a batch of shape "
                    f"{shape}: its forward(inputs) must run on meta tensors ({error})"
                )
                if self.unit == "flops":
                    raise ValueError(problem) from error
                rank_zero_warn(f"{problem}; they are booked as 0")
                self.flops_per_batch[shape] = 0
        return self.flops_per_batch[shape]

    def state_dict(self) -> dict[str, Any]:
        return {
            "flops": self.flops,
            "steps": self.steps,
            "batches": self.batches,
            "seconds": self.seconds,
            "by_phase": {name: dict(costs) for name, costs in self.by_phase.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update(state_dict)


def _inputs_of(batch: Any) -> Tensor:
    """The first tensor of a batch: itself, or the first in its list, tuple or mapping."""
    if isinstance(batch, Tensor):
        return batch
    return _inputs_of(next(iter(batch.values() if isinstance(batch, Mapping) else batch)))


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """The trainer's callbacks, which Lightning sets without declaring them."""
    return list(trainer.callbacks)  # type: ignore[attr-defined]


def clock_of(trainer: Trainer) -> ComputeBudget | None:
    """The trainer's `ComputeBudget`, if it has one."""
    return next((c for c in callbacks_of(trainer) if isinstance(c, ComputeBudget)), None)


def progress_of(trainer: Trainer) -> float:
    """Fraction of the training that is done: of the budget, or else of the trainer's own limits.

    Raises:
        ValueError: if there is neither a `ComputeBudget` nor a max_steps or max_epochs.
    """
    clock = clock_of(trainer)
    if clock is not None:
        return clock.progress
    total = trainer.estimated_stepping_batches
    if not 0 < total < float("inf"):
        raise ValueError("no end in sight: add ComputeBudget(...), or give max_steps or max_epochs")
    return min(trainer.global_step / total, 1.0)
