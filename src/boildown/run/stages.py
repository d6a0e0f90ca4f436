"""A run as fits over one budget, between which the network's structure may change.

During a fit nothing is replaced. A technique that changes shapes (factorising a layer, removing
channels) learns what to do while the network is trained as it is, and does it between two fits.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import nn

from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.restructuring import Restructuring
from boildown.callbacks.save import SaveNewest


@dataclass(frozen=True)
class Stage:
    """One fit.

    Attributes:
        until: progress at which it ends.
        techniques: what holds in it.
        change: what the structure becomes after it; None after the last.
    """

    until: float
    techniques: list[Callback]
    change: Restructuring | None


def stages_of(techniques: Iterable[Callback]) -> list[Stage]:
    """The fits of a run, from its techniques in the order in which they act.

    Each fit ends where a technique changes the structure, and holds that technique and those before
    it whose structure is already there. The last ends with the budget.
    """
    stages: list[Stage] = []
    done: list[Callback] = []
    waiting: list[Callback] = []
    for technique in techniques:
        waiting.append(technique)
        if isinstance(technique, Restructuring):
            stages.append(Stage(technique.end, [*done, *waiting], technique))
            done.append(technique)
            waiting = []
    return [*stages, Stage(1.0, [*done, *waiting], None)]


@dataclass
class Fit:
    """A stage that is to be trained.

    Attributes:
        stage: what it is.
        model: to train, in the structure of the stage.
        start: path of the checkpoint to start from; None for none.
        first: whether it is the first of this process.
        resumed: whether `start` is the run's own checkpoint.
        past: what the structure became before it, in order.
    """

    stage: Stage
    model: nn.Module
    start: str | None
    first: bool
    resumed: bool
    past: Sequence[Restructuring]

    def describe(self, config: dict[str, Any]) -> dict[str, Any]:
        """The config of `model`, from that of the model in its first structure."""
        for change in self.past:
            config = change.describe(config)
        return config

    def go_on(self, trainer: Trainer, budget: ComputeBudget) -> None:
        """Let the clock and a new trainer count on from where the fit before this one ended."""
        budget.go_on(self.stage.until)
        if not self.first:
            _go_on(trainer, math.ceil(budget.epochs), budget.steps)

    def check_end(self, budget: ComputeBudget) -> None:
        """See that the fit ended because its part of the budget is spent.

        Raises:
            RuntimeError: if something else ended it.
        """
        if budget.progress < self.stage.until:
            raise RuntimeError(
                f"the training was stopped at {budget.progress:.0%} of its budget; resume=true "
                "with the same directory goes on"
            )


def fits(
    stages: Sequence[Stage], model: nn.Module, newest: SaveNewest, *, resume: bool
) -> Iterator[Fit]:
    """The fits that are still to be done, from the beginning or from the newest checkpoint.

    A checkpoint says by itself which structures it has: a stage is past if the state of its
    technique names the structure that follows it. When the next fit is asked for, the one before
    must have trained its `model`.

    Args:
        stages: from `stages_of`.
        model: in its first structure.
        newest: what saves the checkpoints.
        resume: go on from the newest checkpoint, if there is one.
    """
    own = newest.own() if resume else None
    states = callback_states(own) if own is not None else {}
    start = str(own) if own is not None else newest.start()
    first = True
    past: list[Restructuring] = []
    for stage in stages:
        saved = states.get(stage.change.state_key, {}) if stage.change is not None else {}
        if stage.change is not None and saved.get("structure") is not None:
            stage.change.load_state_dict(saved)
            model = stage.change.rebuild(model)
            past.append(stage.change)
            continue
        yield Fit(stage, model, start, first, first and own is not None, tuple(past))
        start, first = None, False
        if stage.change is not None:
            model = stage.change.restructure(model)
            past.append(stage.change)


def callback_states(path: Path) -> Mapping[str, Any]:
    """The states of the callbacks in a checkpoint, by their keys."""
    states = torch.load(path, map_location="cpu", weights_only=True)["callbacks"]
    return dict(states)


def _go_on(trainer: Trainer, epoch: int, steps: int) -> None:
    """Let a new trainer count on from an epoch, and its loggers from a step.

    Both come from the ledger: a fit that was resumed at its very end has counted nothing itself.
    """
    progress = trainer.fit_loop.epoch_progress
    state = progress.state_dict()
    progress.load_state_dict({k: dict.fromkeys(counts, epoch) for k, counts in state.items()})
    trainer.fit_loop.epoch_loop._batches_that_stepped = steps
