"""What every technique that holds weights in a constraint set has: hold, verify, guard.

During a fit nothing is replaced: parameters stay dense tensors of the network. A constraint steers
gradients before the optimizer's step (after the all-reduce, after unscaling) and puts the weights
back into the set after every step that really happened.
"""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import (
    EarlyStopping,
    ModelCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch.optim import Optimizer

from boildown.amp.plugins import check_optimizers
from boildown.callbacks.budget import callbacks_of, progress_of
from boildown.callbacks.technique import HOLDING, Technique

Check = Literal["stage", "step"]


class BrokenConstraintError(RuntimeError):
    """A weight left the set it is held in: something else writes to the parameters."""


class Constraint(Technique):
    """Base of the techniques that hold weights in a set.

    A subclass says when to act (`act`), what to do to gradients (`steer`) and weights (`hold`),
    what must be true (`verify`), and when the constraint is final (`reached`). Until then
    `ModelCheckpoint(monitor=...)` and `EarlyStopping` see no winner: the contest for the best
    model starts anew with the first model that meets the target.

    Args:
        check: "stage" verifies at every stage, validation and checkpoint; "step" also after every
            step.
        name: tells apart callbacks of one kind in one Trainer, which must hold different tensors.

    Raises:
        ValueError: for another `check`.
    """

    called = HOLDING

    def __init__(self, check: Check = "stage", name: str = "") -> None:
        if check not in ("stage", "step"):
            raise ValueError(f"check must be 'stage' or 'step', got {check!r}")
        self.check, self.name = check, name
        self._contest_restarted = False
        self._steered = False  # whether the gradients are, for the step to come
        self._thresholds: dict[int, float | None] = {}

    @property
    def state_key(self) -> str:
        kind = type(self).__qualname__
        return f"{kind}({self.name})" if self.name else kind

    # what a subclass provides

    @property
    @abstractmethod
    def reached(self) -> bool:
        """Whether the constraint is as tight as it will be."""

    @abstractmethod
    def act(self, trainer: Trainer, pl_module: LightningModule, progress: float) -> None:
        """Tighten the constraint if the schedule says so at `progress`."""

    @abstractmethod
    def steer(self, pl_module: LightningModule) -> None:
        """Project the gradients; called before every optimizer step."""

    @abstractmethod
    def hold(self, pl_module: LightningModule, stepped: Optimizer | None = None) -> None:
        """Put the weights back into the set; called after every step of every optimizer.

        Args:
            pl_module: what is trained.
            stepped: the optimizer that has just made its step; None if it was not one.
        """

    @abstractmethod
    def verify(self, pl_module: LightningModule) -> None:
        """Raise `BrokenConstraintError`, naming the layer, if a weight has left the set."""

    # Lightning's hooks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        mine = type(self).__name__
        for other in callbacks_of(trainer):
            if isinstance(other, WeightAveraging | StochasticWeightAveraging):
                raise ValueError(
                    f"{type(other).__name__} averages weights from before and after a cut and "
                    "writes the average back at the end: zeros and shared values would be lost. "
                    f"Remove it, or average in a training of its own before {mine}."
                )
        if isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy):
            raise ValueError(
                f"{mine} needs whole weights on every rank, which "
                f"{type(trainer.strategy).__name__} shards; use ddp"
            )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        check_optimizers(trainer)

        def before_step(*_: Any) -> None:
            # Lightning's hook sees automatic optimization, after the closure with the forward pass,
            # before which this is called; of optimizers used by hand it does not see all
            if not self._steered and not pl_module.automatic_optimization:
                self.steer(pl_module)

        def after_step(optimizer: Optimizer, *_: Any) -> None:
            self._steered = False
            self.hold(pl_module, optimizer)

        for optimizer in trainer.optimizers:
            optimizer.register_step_pre_hook(before_step)
            optimizer.register_step_post_hook(after_step)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._act(trainer, pl_module)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        self.steer(pl_module)  # before gradients are clipped; in a closure, at each of its calls
        self._steered = True

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self.check == "step":
            self.verify(pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._guard(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if fitting(trainer) and not trainer.sanity_checking:
            self._guard(trainer)
            self.verify(pl_module)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if fitting(trainer):
            self.verify(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._act(trainer, pl_module)
        self.verify(pl_module)
        if self.reached:
            _let_the_last_model_win(trainer, pl_module)
        else:
            rank_zero_warn(
                f"the training ended at {progress_of(trainer):.0%} of its budget, before "
                f"{type(self).__name__} reached its target"
            )

    def _act(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.act(trainer, pl_module, progress_of(trainer))
        if self.reached and not self._contest_restarted:
            self._contest_restarted = True
            self._restart_contest(trainer)

    def _guard(self, trainer: Trainer) -> None:
        """Keep EarlyStopping from ending a run whose model is not yet compressed."""
        for stopper in callbacks_of(trainer):
            if isinstance(stopper, EarlyStopping):
                if stopper.stopping_threshold is not None:  # else another constraint keeps it
                    self._thresholds.setdefault(id(stopper), stopper.stopping_threshold)
                if not self.reached:
                    stopper.stopping_threshold = None
                    _forget_best(stopper)

    def _restart_contest(self, trainer: Trainer) -> None:
        for other in callbacks_of(trainer):
            if isinstance(other, EarlyStopping):
                if id(other) in self._thresholds:
                    other.stopping_threshold = self._thresholds[id(other)]
                _forget_best(other)
            elif isinstance(other, ModelCheckpoint) and other.monitor is not None:
                other.best_k_models = {}
                other.best_model_path = other.kth_best_model_path = ""
                other.best_model_score = other.current_score = None
                other.kth_value = _worst(other.mode)

    @property
    def settings(self) -> dict[str, Any]:
        """What a resumed fit must have in common with the one that began, as plain data."""
        return {}

    @property
    def begun(self) -> bool:
        """Whether it has acted, so that its settings are no longer free."""
        return self.reached

    def state_dict(self) -> dict[str, Any]:
        kept = {"settings": self.settings} if self.begun else {}
        return {"contest_restarted": self._contest_restarted} | kept

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._contest_restarted = state_dict["contest_restarted"]
        now = self.settings
        for name, then in state_dict.get("settings", {}).items():
            if name in now and now[name] != then:
                raise ValueError(
                    f"{self.state_key}: the training to resume was begun with {name}={then}, not "
                    f"{now[name]}; resume it with the same settings, or begin another"
                )


def fitting(trainer: Trainer) -> bool:
    """Whether this is a fit, and not the validation or test of some network after it."""
    return trainer.state.fn == TrainerFn.FITTING


@contextmanager
def taking_up(who: str) -> Iterator[None]:
    """Refuse to go on with what is held from an earlier fit if the network is not the same."""
    try:
        yield
    except (AttributeError, IndexError, BrokenConstraintError) as error:
        found = str(error).partition(";")[0]
        raise ValueError(
            f"{who} goes on with what it held in an earlier fit, and that does not fit the weights "
            f"of this one ({found}); give each network a new {who}"
        ) from error


def _let_the_last_model_win(trainer: Trainer, pl_module: LightningModule) -> None:
    """Validate once more where a target was met after the last validation.

    Else `ModelCheckpoint(monitor=...)` would end without a best model: none that meets the target
    was measured.
    """
    waiting = [
        other
        for other in callbacks_of(trainer)
        if isinstance(other, ModelCheckpoint) and other.monitor is not None
        if not other.best_model_path
    ]
    unmet = [c for c in callbacks_of(trainer) if isinstance(c, Constraint) and not c.reached]
    if waiting and not unmet and trainer.enable_validation:
        for other in waiting:  # else it skips a step at which it has saved before
            other._last_global_step_saved = -1
        trainer.validating = True
        trainer.fit_loop.epoch_loop.val_loop.run()
        trainer.training = True
        for other in waiting:
            if not other.best_model_path:  # it saves when an epoch ends, after its validation
                other.on_train_epoch_end(trainer, pl_module)


def _worst(mode: str) -> torch.Tensor:
    return torch.tensor(torch.inf if mode == "min" else -torch.inf)


def _forget_best(stopper: EarlyStopping) -> None:
    stopper.best_score = _worst(stopper.mode)
    stopper.wait_count = 0


def forget_momentum(trainer: Trainer, parameters: list[torch.nn.Parameter]) -> None:
    """Drop what the optimizers remember of these parameters; they start afresh at the next step."""
    for optimizer in trainer.optimizers:
        for parameter in parameters:
            optimizer.state.pop(parameter, None)


def forget_cut(trainer: Trainer, parameter: torch.nn.Parameter, mask: torch.Tensor) -> None:
    """Drop what the optimizers remember of the entries where `mask` is False.

    Left alone, a cut weight's momentum would decay into subnormal numbers, on which every
    operation of the optimizer is slow.
    """
    for optimizer in trainer.optimizers:
        for value in optimizer.state.get(parameter, {}).values():
            if isinstance(value, torch.Tensor) and value.shape == mask.shape:
                value.masked_fill_(~mask, 0.0)
