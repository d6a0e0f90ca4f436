"""LossScaling in a Trainer: skipped steps change nothing, hopeless runs end, resume is exact."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fits import StopAt
from lightning.pytorch import Callback, Trainer
from overflowing import ScaledOnly, fit
from torch import nn

from boildown.amp.plugins import scaler_of
from boildown.callbacks.budget import ComputeBudget, progress_of
from boildown.callbacks.learning_rate import ScheduleLearningRate
from boildown.callbacks.loss_scaling import LossScaling
from boildown.callbacks.prune import Prune
from boildown.callbacks.record import Record
from boildown.callbacks.share import ShareWeights
from boildown.schedule import Cosine, Cubic

BAD = (3, 4, 11, 18, 19, 20, 21, 27, 33)
PHASES = {"dense": 0.0, "prune": 0.2, "share": 0.6}


def techniques() -> list[Callback]:
    return [
        ScheduleLearningRate(shape=Cosine()),
        Prune(sparsity=0.75, schedule=Cubic(), begin=0.2, end=0.5, check="step"),
        ShareWeights(bits=3, begin=0.6, check="step"),
    ]


class Watch(Callback):
    """What a batch found and what it left: progress, learning rate, masks, weights, momentum."""

    def __init__(self) -> None:
        self.batches: list[dict[str, Any]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        prune = next(c for c in trainer.callbacks if isinstance(c, Prune))  # type: ignore[attr-defined]
        self.batches.append(
            {
                "progress": progress_of(trainer),
                "rate": trainer.optimizers[0].param_groups[0]["lr"],
                "sparsity": prune.sparsity,
                "weights": [p.detach().clone() for p in pl_module.parameters()],
                "memory": [
                    value.clone()
                    for state in trainer.optimizers[0].state.values()
                    for value in state.values()
                ],
            }
        )


def test_skipped_steps_leave_no_trace() -> None:
    options: dict[str, Any] = {"batch_size": 64, "shuffle": False, "accumulate_grad_batches": 1}
    models = []
    for bad in ((), BAD):
        budget = ComputeBudget(steps=40, phases=PHASES)
        callbacks = [budget, LossScaling(every=5), *techniques()]
        _, model = fit(callbacks, bad, plugin=ScaledOnly(), **options)
        models.append(model)
        assert (budget.steps, budget.skipped_steps) == (40, len(bad))
        assert budget.batches == 40 + len(bad)
    torch.testing.assert_close(models[1].state_dict(), models[0].state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_skipped_step_is_charged_and_advances_nothing(accumulate: int) -> None:
    per_batch = 6 * 8 * (12 * 16 + 16 * 3) - 2 * 8 * 12 * 16
    budget = ComputeBudget(flops=40 * accumulate * per_batch, phases=PHASES)
    scaling, watch = LossScaling(every=0), Watch()
    bad = [accumulate * step for step in (5, 9, 10, 11, 12, 13, 14, 30)]
    _, model = fit([budget, scaling, *techniques(), watch], bad, accumulate_grad_batches=accumulate)
    assert budget.flops == budget.total
    assert (budget.steps, budget.skipped_steps, scaling.skipped) == (32, 8, 8)
    assert budget.wasted_flops == 8 * accumulate * per_batch
    for cost in ("flops", "steps", "skipped_steps", "wasted_flops", "flops_credited"):
        assert sum(phase[cost] for phase in budget.by_phase.values()) == getattr(budget, cost)
    for step in (5, 9, 10, 11, 12, 13, 14, 30):
        before, after = (watch.batches[accumulate * s] for s in (step, step + 1))
        assert after["progress"] == before["progress"]
        assert after["rate"] == before["rate"]
        assert after["sparsity"] == before["sparsity"]
        for kind in ("weights", "memory"):
            assert all(map(torch.equal, before[kind], after[kind]))
    caught_up = watch.batches[accumulate * 16]["progress"]
    assert caught_up == pytest.approx(16 / 40)  # the wasted FLOPs are spent all the same
    weights = [p for p in model.parameters() if p.ndim > 1]
    zeros = sum(int((w == 0).sum()) for w in weights)
    assert zeros == round(0.75 * sum(w.numel() for w in weights))
    assert all(len(w[w != 0].unique()) <= 8 for w in weights)


@pytest.mark.filterwarnings("ignore:.*steps in a row were skipped")
def test_too_high_a_scale_comes_down_and_the_run_finishes() -> None:
    budget, scaling, record = (
        ComputeBudget(steps=30, phases=PHASES),
        LossScaling(initial_scale=2.0**40, every=10),
        Record(),
    )
    fit([budget, scaling, *techniques(), record])
    assert budget.steps == 30
    assert scaling.skipped == budget.skipped_steps > 10
    row = record.rows[-1]
    assert row["amp/scale"] == scaling.scale == 2.0 ** (40 - scaling.skipped)
    assert row["amp/skipped_steps"] == scaling.skipped
    assert record.rows[0]["amp/overflow/model.0"] > 0.1
    assert row["amp/overflow/model.0"] == 0.0


@pytest.mark.filterwarnings("ignore:.*loss scale has fallen to")
@pytest.mark.filterwarnings("ignore:.*steps in a row were skipped")
def test_a_run_that_cannot_step_ends_with_the_reason() -> None:
    with pytest.raises(RuntimeError, match=r"steps were all skipped.*any scale; mend the data"):
        fit([ComputeBudget(steps=10), LossScaling(patience=5, initial_scale=16.0)], range(10**6))


@pytest.mark.filterwarnings("ignore:.*steps in a row were skipped")
def test_a_budget_spent_without_a_step_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"all 12 optimizer steps were skipped.*initial_scale"):
        fit([ComputeBudget(flops=12 * 8448), LossScaling()], range(10**6))


def test_without_loss_scaling_the_budget_does_not_wait_forever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("boildown.callbacks.budget.HOPELESS", 20)
    with pytest.raises(RuntimeError, match="the last 20 optimizer steps were all skipped"):
        fit([ComputeBudget(steps=3)], range(10**6))


def test_warnings_come_once_with_a_remedy() -> None:
    scaling = LossScaling(initial_scale=4.0, patience=20)
    with pytest.warns(UserWarning, match="loss scale has fallen") as caught:
        fit([ComputeBudget(steps=10), scaling], range(4, 9))
    collapsed = [str(w.message) for w in caught if "has fallen to" in str(w.message)]
    assert len(collapsed) == 1
    assert "0.5" in collapsed[0]
    assert "trainer=bf16" in collapsed[0]


def test_a_layer_whose_gradients_vanish_is_named() -> None:
    scaling = LossScaling(initial_scale=2.0**-22, every=1)
    with pytest.warns(UserWarning, match=r"flushed to zero.*raise loss_scaling\.initial_scale"):
        fit([ComputeBudget(steps=5), scaling])


def test_underflow_grows_as_the_scale_falls() -> None:
    shares = []
    for power in (14, -12, -16):
        record = Record()
        net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(inplace=True), nn.Linear(64, 3))
        with torch.no_grad():
            net[2].weight.mul_(0.3)
        scaling = LossScaling(initial_scale=2.0**power, every=1)
        fit([ComputeBudget(steps=8), scaling, record], net=net)
        shares.append(record.rows[-1]["amp/underflow/model.0"])
    assert shares[0] < 0.01  # dead ReLUs, half of all entries, are not counted
    assert shares[0] < shares[1] < shares[2] < 1.0
    assert shares[2] > 0.2


def test_probes_change_no_bit() -> None:
    models = [fit([ComputeBudget(steps=12), LossScaling(every=e)])[1] for e in (0, 1)]
    torch.testing.assert_close(models[0].state_dict(), models[1].state_dict(), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:the training ended at")
@pytest.mark.parametrize("stop", [5, 15, 20, 30])
def test_resume_equals_never_stopping(stop: int, tmp_path: Path) -> None:
    def go(extra: list[Callback], resume: Path | None = None) -> tuple[Any, ...]:
        record, scaling = Record(), LossScaling(growth_interval=4, every=3)
        budget = ComputeBudget(flops=40 * 8448, phases=PHASES)
        trainer, model = fit(
            [budget, scaling, *techniques(), record, *extra],
            BAD,
            resume=resume,
            val_check_interval=5,
            check_val_every_n_epoch=None,
        )
        scaler = scaler_of(trainer)
        assert scaler is not None
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in record.rows]
        state = {k: v for k, v in budget.state_dict().items() if k not in ("seconds", "by_phase")}
        return model.state_dict(), scaler.state_dict(), rows, state, scaling.state_dict()

    straight = go([])
    go([StopAt(stop, tmp_path / "stopped.ckpt")])
    resumed = go([], tmp_path / "stopped.ckpt")
    torch.testing.assert_close(resumed[0], straight[0], rtol=0, atol=0)
    assert resumed[1:] == straight[1:]
    assert straight[1]["scale"] != 65536.0  # it moved


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"initial_scale": 0}, "initial_scale must be positive and finite, got 0"),
        ({"growth_factor": 1}, "growth_factor must be above 1, got 1"),
        ({"backoff_factor": 1.5}, r"backoff_factor must be in \(0, 1\), got 1.5"),
        ({"growth_interval": 0}, "growth_interval must be at least 1, got 0"),
        ({"every": -1}, "every must be at least 0, got -1"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_named(setting: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LossScaling(**setting)  # type: ignore[arg-type]


def test_a_trainer_without_a_scaler_is_refused() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, callbacks=[LossScaling()])
    with pytest.raises(ValueError, match=r"no loss scaler \(precision 32-true\).*fp16\(\)"):
        LossScaling().setup(trainer, None, "fit")  # type: ignore[arg-type]
