"""Prune by how the weights move while it cuts."""

from typing import Any

import pytest
import torch
from fits import fit
from lightning.pytorch import Callback
from torch import Tensor

from boildown.amp.plugins import fp16
from boildown.callbacks.loss_scaling import LossScaling
from boildown.callbacks.movement import Movement
from boildown.callbacks.prune import Prune
from boildown.prune.criteria import movement
from boildown.schedule import Cubic, OneShot, Rounds
from boildown.tasks.classification import Batch, Classification

WINDOW: dict[str, Any] = {"begin": 0.25, "end": 0.75, "schedule": Cubic(), "cuts": 4}


class Sum(Callback):
    """Adds up -w g at every step of the optimizer in the window, by itself."""

    def __init__(self) -> None:
        self.steps, self.total = 0, torch.zeros(16, 12)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        before: list[Tensor] = []

        def ahead(*_: Any) -> None:
            before.append(pl_module.model[0].weight.detach().clone())

        def behind(*_: Any) -> None:
            self.steps += 1
            if self.steps > 8:  # of 32 in all, a quarter
                self.total -= before[-1] * pl_module.model[0].weight.grad

        trainer.optimizers[0].register_step_pre_hook(ahead)
        trainer.optimizers[0].register_step_post_hook(behind)


def test_it_is_the_sum_over_the_steps_since_the_first_cut() -> None:
    own, prune = Sum(), Prune(sparsity=0.5, criterion=movement, **WINDOW)
    _, model = fit([own, prune], max_epochs=4)
    moved = prune.state_dict()["movement"]["model.0.weight"]
    assert torch.allclose(moved, own.total, atol=1e-6)
    assert prune.sparsity == 0.5
    assert (model[0].weight == 0).any()  # type: ignore[index]


def test_what_moves_away_from_zero_stays() -> None:
    kept = []
    for criterion in (movement, None):
        given = {} if criterion is None else {"criterion": criterion}
        prune = Prune(sparsity=0.75, **WINDOW, **given)
        fit([prune], max_epochs=4)
        kept.append(torch.cat([mask.flatten() for mask in prune.masks.values()]))
    assert not torch.equal(*kept)


@pytest.mark.parametrize("schedule", [OneShot(), Rounds(2)])
def test_a_cut_before_anything_has_moved_is_refused(schedule: Any) -> None:
    with pytest.raises(ValueError, match=r"prune gradually.*Cubic\(\), not (OneShot|Rounds)"):
        fit([Prune(sparsity=0.5, criterion=movement, schedule=schedule)], max_epochs=1)


class Bursting(Classification):
    """Its loss is infinite at some batches."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) * (torch.inf if batch_idx % 4 == 0 else 1.0)


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*")
def test_steps_that_are_skipped_move_nothing() -> None:
    prune = Prune(sparsity=0.5, criterion=movement, **WINDOW)
    fit([LossScaling(every=2), prune], make=Bursting, max_epochs=8, plugins=[fp16("cpu")])
    moved = prune.state_dict()["movement"]
    assert all(torch.isfinite(each).all() and each.any() for each in moved.values())


def test_each_optimizer_counts_its_own_parameters() -> None:
    a, b = (torch.nn.Parameter(torch.tensor([2.0])) for _ in "ab")
    first, second = (torch.optim.SGD([p], lr=0.0) for p in (a, b))
    moved = Movement()
    for parameter in (a, b):
        parameter.grad = torch.tensor([3.0])
    moved.before_step({"a": a, "b": b})
    moved.after_step(first)
    assert {name: float(each) for name, each in moved.sums.items()} == {"a": -6.0}
    moved.before_step({"a": a, "b": b})
    moved.after_step(second)
    assert {name: float(each) for name, each in moved.sums.items()} == {"a": -6.0, "b": -6.0}
