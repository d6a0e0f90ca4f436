"""The clock and the ledger: what has been spent of a run's budget, and when it ends."""

import contextlib
import math
import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.optim import Optimizer

from boildown.amp.plugins import check_optimizers, scaler_of
from boildown.callbacks.technique import Technique
from boildown.flops import credited, flops_by_weight, training_flops
from boildown.forward import inputs_of
from boildown.schedule import fraction

UNITS = ("flops", "epochs", "steps", "seconds")
NOTHING: dict[str, float] = {
    "flops": 0,
    "steps": 0,
    "seconds": 0.0,
    "flops_credited": 0,
    "skipped_steps": 0,
    "wasted_flops": 0,
}
PENDING = (
    "_spent_at_step",
    "_since_try",
    "_skipped_in_a_row",
    "_batches_since_try",
    "_wasted_batches",
)
HOPELESS = 1000  # steps skipped in a row after which none is expected to be made


class ComputeBudget(Callback):
    """Count what training costs, publish `progress` in [0, 1], and stop when the budget is spent.

    Put it first in the list of callbacks; the others read their time from it, so that one setting
    means the same for a small and a large model. Give exactly one of the four units. Steps are
    those of the first optimizer that really happened (a step that a loss scaler skips is not one);
    FLOPs are those of forward and backward passes over all ranks, skipped steps included; epochs
    are counted in batches that led to a step, and may be fractions. FLOPs are counted once per
    batch shape, and anew in every fit: a run may change the network's structure between two fits
    over one budget. A budget pays for one fit; `go_on` lets another go on over what is left of it.

    A skipped step costs, and is shown as wasted, but it advances no schedule: `progress` is what
    had been spent when the last step was made, so nothing is cut, clustered or slowed down between
    two steps that were made, however many were skipped; the next one that is made catches up. Only
    the end does not wait: when the whole budget is spent, `progress` is 1. In steps or epochs a
    skipped step spends nothing.

    Zeros save nothing on a dense kernel and are charged. What the FLOPs would be if weights that
    are held at zero cost nothing is counted beside them, as `flops_credited`
    (`boildown.flops.credited`), from the `densities` of the callbacks that hold them.

    A budget in epochs gives a trainer with `max_epochs=-1` its own number of them for the fit, so
    that schedules which ask for the total and progress bars have one. With limits of its own the
    trainer must reach the end of a budget in epochs or steps; where it does, and a loss scaler
    skipped steps, what they left unspent is spent when the trainer ends.

    Args:
        flops: budget in floating-point operations.
        epochs: budget in passes over the training data.
        steps: budget in optimizer steps.
        seconds: budget in seconds of training (not reproducible).
        phases: name -> the progress at which the phase begins, the first at 0; costs are booked
            by phase and the learning rate restarts with each.

    Raises:
        ValueError: unless exactly one unit is given and positive, and the phases are in order; when
            the training starts, for a limit of the trainer's that ends it too early.
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
        self.flops_credited = 0
        self.wasted_flops = 0
        self.skipped_steps = 0
        self.by_phase = {name: dict(NOTHING) for name in self.phases}
        self.until = 1.0  # progress at which the fit stops
        self._may_begin = self._alone = True
        self._gave_epochs = self._ended = False
        self._costs: dict[tuple[int, ...], tuple[int, dict[str, int]]] = {}  # shape -> see _cost_of
        self._told_uncounted = False
        self._sparse: list[Any] = []
        self._spent_at_step = 0.0
        self._since_try = 0  # FLOPs since a step was last made or skipped
        self._skipped_in_a_row = 0
        self._batches_since_try = self._wasted_batches = 0
        self._tried = self._made = 0  # in this batch
        self._charged = next(iter(self.phases))
        self._batches_per_epoch = math.inf
        self._mark = 0.0

    @property
    def spent(self) -> float:
        """What is spent, in the budget's unit."""
        if self.unit == "epochs":
            return self.epochs
        return float(getattr(self, self.unit))

    @property
    def progress(self) -> float:
        """Fraction of the budget that was spent when the last step was made, in [0, 1]."""
        if self.spent >= self.total or self._ended:
            return 1.0
        waits = self.unit in ("flops", "seconds")
        return (self._spent_at_step if waits else self.spent) / self.total

    @property
    def epochs(self) -> float:
        """Passes over the training data, in batches of steps made; known once a fit has begun."""
        stepped = self.batches - self._batches_since_try - self._wasted_batches
        return stepped / self._batches_per_epoch

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
            return self.total / self._cost_of(pl_module, batch)[0]
        return 10.0 * batches_per_epoch

    def go_on(self, until: float = 1.0) -> None:
        """Let the next fit go on over what is left, as far as this progress.

        Its network may have another structure: FLOPs are counted anew.
        """
        self.until = until
        self._may_begin = True
        self._alone = self._ended = False
        self._costs = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        endless = trainer.max_epochs == -1 and trainer.max_steps == -1
        exact = self.unit == "epochs" and scaler_of(trainer) is None
        if stage == "fit" and endless and exact and self._alone and not self.batches:
            trainer.fit_loop.max_epochs = math.ceil(self.total)
            self._gave_epochs = True

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._take_epochs_back(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._take_epochs_back(trainer)

    def _take_epochs_back(self, trainer: Trainer) -> None:
        if self._gave_epochs:
            trainer.fit_loop.max_epochs = -1
            self._gave_epochs = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.batches and not self._may_begin:
            raise ValueError(
                f"this ComputeBudget has paid for a fit already ({self.spent:g} of {self.total:g} "
                f"{self.unit}): give each training its own, or call its go_on() before a fit that "
                "goes on over what is left"
            )
        self._may_begin = False
        self._costs = {}
        check_optimizers(trainer)
        for optimizer in trainer.optimizers[:1]:
            optimizer.register_step_post_hook(self._on_real_step)
        self._sparse = [c for c in callbacks_of(trainer) if hasattr(c, "densities")]

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if scaler_of(trainer) is not None:  # nothing else skips a step
            self._tried += optimizer is trainer.optimizers[0]

    def _on_real_step(self, *_: Any) -> None:
        self._made += 1
        self.steps += 1
        self.by_phase[self._charged]["steps"] += 1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._batches_per_epoch = float(trainer.num_training_batches)
        self._mark = time.perf_counter()
        if self.unit == "epochs" and not math.isfinite(self._batches_per_epoch):
            raise ValueError("budget.epochs needs a loader with a length; give steps or flops")
        self._check_limits(trainer)
        if self.progress >= self.until:
            trainer.should_stop = True

    def _check_limits(self, trainer: Trainer) -> None:
        """Refuse a limit of the trainer's own that ends the fit before a technique's target."""
        limit, now = ("max_epochs", trainer.current_epoch)
        if self.unit == "steps":
            limit, now = ("max_steps", trainer.global_step)
        techniques = [c for c in callbacks_of(trainer) if isinstance(c, Technique)]
        given = getattr(trainer, limit)
        if self.unit not in ("epochs", "steps") or trainer.fast_dev_run or not techniques:  # type: ignore[attr-defined]
            return
        last = max(techniques, key=lambda technique: technique.end)
        left = min(self.until, last.end) * self.total - self.spent
        if given is not None and 0 <= given < now + left - 1e-6:
            raise ValueError(
                f"{limit}={given} ends the training before {type(last).__name__} reaches its "
                f"target, at {last.end:.0%} of the budget of {self.total:g} {self.unit}: give the "
                f"Trainer {limit}={math.ceil(now + self.until * self.total - self.spent - 1e-6)}, "
                f"or a smaller ComputeBudget({self.unit}=...)"
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._was_stopped(trainer):
            rank_zero_info(f"a callback ended the training at {self.progress:.0%} of its budget")
            self._ended = True
            return
        limit = {"epochs": trainer.max_epochs, "steps": trainer.max_steps}.get(self.unit)
        if self.until < 1.0 or limit is None or limit < 0:
            return
        skipped = self._wasted_batches / self._batches_per_epoch
        skipped = self.skipped_steps if self.unit == "steps" else skipped
        self._ended = self.spent + skipped >= self.total * (1.0 - 1e-9)

    def _was_stopped(self, trainer: Trainer) -> bool:
        """Whether a callback such as EarlyStopping ended the last fit, with every target met.

        What is left to do at the end of the budget is done then.
        """
        early = trainer.should_stop and self.until == 1.0 and self.progress < 1.0
        others = callbacks_of(trainer)
        return early and all(getattr(other, "reached", True) for other in others)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._charged = self.phase
        self._tried = self._made = 0

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        now = time.perf_counter()
        flops, by_weight = self._cost_of(pl_module, batch)
        density = {name: kept for c in self._sparse for name, kept in c.densities.items()}
        ranks = trainer.world_size
        self.batches += 1
        self._batches_since_try += 1
        self._book("flops_credited", credited(flops, by_weight, density) * ranks)
        self._book("flops", flops * ranks)
        self._book("seconds", now - self._mark)
        self._mark = now
        self._since_try += flops * ranks
        self._settle()
        if self.progress >= self.until:
            trainer.should_stop = True

    def _settle(self) -> None:
        """Say of the FLOPs and batches since the last try whether they led to a step."""
        skipped = max(self._tried - self._made, 0)
        if skipped:
            self._book("skipped_steps", skipped)
        if self._made:
            self._spent_at_step = self.spent
            self._skipped_in_a_row = 0
        elif skipped:
            self._book("wasted_flops", self._since_try)
            self._wasted_batches += self._batches_since_try
            self._skipped_in_a_row += skipped
        if self._tried or self._made:
            self._since_try = self._batches_since_try = 0
        if self._skipped_in_a_row >= HOPELESS:
            raise RuntimeError(
                f"the last {self._skipped_in_a_row} optimizer steps were all skipped: gradients "
                "are infinite or NaN at every loss scale; look for the cause in the data or the "
                "learning rate, or train in bf16 or fp32"
            )

    def charge(self, flops: int, seconds: float = 0.0) -> None:
        """Book other work that trains the model to the last batch's phase: calibration, a C step.

        Args:
            flops: operations, over all ranks.
            seconds: that it took, if it comes after the last batch; before that they are taken
                anyway, as all that happens between two batches.
        """
        self._book("flops", flops)
        self._book("flops_credited", flops)
        self._book("seconds", seconds)
        self._spent_at_step += flops if self.unit == "flops" else 0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validation_began = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._mark += time.perf_counter() - self._validation_began

    def _book(self, what: str, cost: float) -> None:
        setattr(self, what, getattr(self, what) + cost)
        self.by_phase[self._charged][what] += cost

    def _cost_of(self, pl_module: LightningModule, batch: Any) -> tuple[int, dict[str, int]]:
        """A batch's FLOPs on this rank, and those of each weight."""
        try:
            inputs = inputs_of(batch)
            shape = tuple(inputs.shape)
            if shape not in self._costs:
                self._costs[shape] = (
                    training_flops(pl_module, inputs),
                    flops_by_weight(pl_module, inputs),
                )
        except Exception as error:  # whatever a forward pass raises
            return self._uncounted(pl_module, batch, error)
        return self._costs[shape]

    def _uncounted(
        self, pl_module: LightningModule, batch: Any, error: Exception
    ) -> tuple[int, dict[str, int]]:
        """Refuse where FLOPs are the budget; elsewhere say once that they are not counted."""
        problem = (
            f"cannot count the FLOPs of {type(pl_module).__name__}: {error}; its forward must take "
            "the first tensor of a batch, alone"
        )
        if self.unit == "flops":
            raise ValueError(f"{problem}. Or give the budget in steps or epochs") from error
        if not self._told_uncounted:
            rank_zero_warn(f"{problem}. They are booked as 0")
            self._told_uncounted = True
        free: tuple[int, dict[str, int]] = (0, {})
        with contextlib.suppress(ValueError):  # not tried again
            self._costs[tuple(inputs_of(batch).shape)] = free
        return free

    def state_dict(self) -> dict[str, Any]:
        kept = {name: getattr(self, name) for name in (*NOTHING, "batches", *PENDING)}
        return kept | {"by_phase": {name: dict(costs) for name, costs in self.by_phase.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update(state_dict)
        self._may_begin = True
        saved = state_dict["by_phase"]  # of a run whose later phases may be others
        self.by_phase = {name: saved.get(name, dict(NOTHING)) for name in self.phases}


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """The trainer's callbacks, which Lightning sets without declaring them."""
    return list(trainer.callbacks)  # type: ignore[attr-defined]


def clock_of(trainer: Trainer) -> ComputeBudget | None:
    """The trainer's `ComputeBudget`, if it has one."""
    return next((c for c in callbacks_of(trainer) if isinstance(c, ComputeBudget)), None)


def validates_fit(trainer: Trainer) -> bool:
    """Whether a validation is one of a fit's own: not `trainer.validate`, not the sanity check."""
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking


def progress_of(trainer: Trainer) -> float:
    """Fraction of the training that is done: of the budget, or else of the trainer's own limits.

    Raises:
        ValueError: if there is neither a `ComputeBudget` nor a max_steps or max_epochs.
    """
    clock = clock_of(trainer)
    if clock is not None:
        return clock.progress
    parts = []
    if trainer.max_steps > 0:
        parts.append(trainer.global_step / trainer.max_steps)
    epochs = trainer.max_epochs or 0
    if epochs > 0 and math.isfinite(trainer.num_training_batches):
        parts.append(_stepped_batches(trainer) / (epochs * trainer.num_training_batches))
    if not parts and epochs > 0:
        raise ValueError(
            f"no end in sight: the training loader has no length, so max_epochs={epochs} does not "
            "say how long; add ComputeBudget(steps=...), or give max_steps or limit_train_batches"
        )
    if not parts:
        raise ValueError("no end in sight: add ComputeBudget(...), or give max_steps or max_epochs")
    return min(max(parts), 1.0)


def _stepped_batches(trainer: Trainer) -> int:
    """Batches behind the trainer, less those whose gradients wait for a step."""
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress
    waiting = int(progress.current.processed) % trainer.accumulate_grad_batches
    if progress.current.processed >= trainer.num_training_batches:
        waiting = 0  # an epoch's last, incomplete group of batches is a step too
    stepped: int = progress.total.processed - waiting
    return stepped
