"""The ledger: what zeros would save, when a budget ends, what other work costs."""

from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer
from overflowing import ScaledOnly, fit

from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.prune import Prune
from boildown.schedule import Cubic, OneShot

PER_BATCH = 6 * 8 * (12 * 16 + 16 * 3) - 2 * 8 * 12 * 16  # all of it in the two matrices


def test_dense_training_credits_what_it_charges() -> None:
    budget = ComputeBudget(steps=10)
    fit([budget])
    assert budget.flops_credited == budget.flops == 10 * PER_BATCH
    assert (budget.skipped_steps, budget.wasted_flops) == (0, 0)


def test_a_tenth_of_the_weights_credits_a_tenth() -> None:
    budget = ComputeBudget(steps=10)
    fit([budget, Prune(sparsity=0.9, schedule=OneShot(), begin=0, end=0, scope="layer")])
    assert budget.flops == 10 * PER_BATCH
    assert budget.flops_credited == pytest.approx(0.1 * budget.flops, rel=0.01)


def test_credit_follows_the_masks_of_each_layer() -> None:
    budget = ComputeBudget(steps=40, phases={"dense": 0.0, "prune": 0.5})
    prune = Prune(keep={"0": 0.25}, schedule=OneShot(), begin=0.5, end=0.5)
    fit([budget, prune])
    first, second = 2 * 2 * 8 * 12 * 16, 3 * 2 * 8 * 16 * 3
    assert budget.by_phase["dense"]["flops_credited"] == 20 * PER_BATCH
    assert budget.by_phase["prune"]["flops_credited"] == 20 * (0.25 * first + second)


@pytest.mark.parametrize("total", [8448.0, 1e5, 333_333.3])
@pytest.mark.parametrize("bad", [(), (2, 3, 7)])
def test_a_run_ends_within_a_step_of_its_budget(total: float, bad: tuple[int, ...]) -> None:
    budget = ComputeBudget(flops=total)
    fit([budget, Prune(sparsity=0.9, schedule=Cubic(), begin=0, end=0.5)], bad)
    assert 0 <= budget.flops - total < PER_BATCH
    assert budget.progress == 1.0


def test_the_last_step_of_a_budget_may_be_a_skipped_one() -> None:
    budget = ComputeBudget(flops=10 * PER_BATCH)
    fit([budget], bad=(9,))
    assert (budget.flops, budget.progress) == (10 * PER_BATCH, 1.0)
    assert (budget.steps, budget.skipped_steps) == (9, 1)


class Calibrate(Callback):
    """Does work of its own before the sixth batch."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == 5:
            clock = next(c for c in trainer.callbacks if isinstance(c, ComputeBudget))  # type: ignore[attr-defined]
            clock.charge(2 * PER_BATCH)


def test_other_work_is_booked_to_its_phase() -> None:
    budget = ComputeBudget(flops=20 * PER_BATCH, phases={"dense": 0.0, "rest": 0.25})
    fit([budget, Calibrate()])
    assert (budget.flops, budget.steps) == (20 * PER_BATCH, 18)
    assert budget.by_phase["rest"]["flops"] == 15 * PER_BATCH


def test_epochs_and_steps_do_not_count_skipped_steps() -> None:
    for unit in ({"epochs": 2.0}, {"steps": 16}):
        budget = ComputeBudget(**unit)  # type: ignore[arg-type]
        fit([budget], bad=(1, 5, 6), plugin=ScaledOnly())
        assert (budget.steps, budget.batches) == (16, 19)


def test_a_state_of_other_later_phases_is_gone_on_from() -> None:
    cut = ComputeBudget(steps=10, phases={"dense": 0.0, "factored": 0.3})
    cut.by_phase["dense"]["flops"] = 7.0
    pulled = ComputeBudget(steps=10, phases={"dense": 0.0, "lowrank": 0.3, "factored": 0.4})
    pulled.load_state_dict(cut.state_dict())
    assert list(pulled.by_phase) == ["dense", "lowrank", "factored"]
    assert pulled.by_phase["dense"]["flops"] == 7.0
    assert pulled.by_phase["lowrank"]["flops"] == 0.0
