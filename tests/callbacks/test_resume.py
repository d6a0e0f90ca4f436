"""A run of all callbacks that stops and resumes equals one that never stopped, bit for bit."""

from pathlib import Path
from typing import Any

import fits
import pytest
import torch
from fits import StopAt, drawn, layers
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.learning_rate import ScheduleLearningRate
from boildown.callbacks.prune import Prune
from boildown.callbacks.record import Record
from boildown.callbacks.save import SaveNewest
from boildown.callbacks.share import ShareWeights
from boildown.prune.criteria import movement
from boildown.schedule import Cosine, Cubic

STEPS = 40


class KeepAll(SaveNewest):
    """Keeps each checkpoint it takes, under the number of its batch."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        super().on_train_batch_end(trainer, pl_module, *_)
        self._keep(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        self._keep(trainer)

    def _keep(self, trainer: Trainer) -> None:
        if self.path.exists():
            self.path.rename(self.path.with_name(f"batch-{trainer.fit_loop.total_batch_idx}.ckpt"))


def fit(
    extra: list[Callback],
    resume: Path | None = None,
    *,
    steps: int = STEPS,
    every: int = 5,
    accumulate: int = 1,
    **pruning: Any,
) -> nn.Module:
    first, relu, last = layers(20, 30, 4)
    _, model = fits.fit(
        [
            ComputeBudget(steps=steps, phases={"dense": 0.0, "prune": 0.2, "share": 0.6}),
            ScheduleLearningRate(shape=Cosine()),
            Prune(sparsity=0.8, schedule=Cubic(), begin=0.2, end=0.5, check="step", **pruning),
            ShareWeights(bits=3, begin=0.6, rounds=2, dtype="float16", check="step"),
            *extra,
        ],
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        model=nn.Sequential(first, relu, nn.Dropout(0.0), last),
        data=drawn(96, 20, 4),
        resume=resume,
        val_check_interval=every,
        accumulate_grad_batches=accumulate,
        check_val_every_n_epoch=None,
        enable_checkpointing=any(isinstance(c, SaveNewest) for c in extra),
    )
    return model


@pytest.mark.filterwarnings("ignore:the training ended at")
@pytest.mark.parametrize("stop", [5, 10, 15, 25, 30, 35])
def test_resume_equals_never_stopping(stop: int, tmp_path: Path) -> None:
    straight = fit([])
    fit([StopAt(stop, tmp_path / "stopped.ckpt")])
    resumed = fit([], tmp_path / "stopped.ckpt")
    torch.testing.assert_close(resumed.state_dict(), straight.state_dict(), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:the training ended at")
@pytest.mark.parametrize("stop", [10, 15])
def test_the_movement_of_weights_resumes_too(stop: int, tmp_path: Path) -> None:
    straight = fit([], criterion=movement)
    fit([StopAt(stop, tmp_path / "stopped.ckpt")], criterion=movement)
    resumed = fit([], tmp_path / "stopped.ckpt", criterion=movement)
    torch.testing.assert_close(resumed.state_dict(), straight.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("every", [4, 6])  # of 12 batches an epoch
def test_a_window_of_gradients_is_never_cut(every: int, tmp_path: Path) -> None:
    rows = Record()
    straight = fit([rows, KeepAll(tmp_path / "newest.ckpt")], steps=12, every=every, accumulate=5)
    kept = sorted(tmp_path.glob("batch-*.ckpt"))
    assert len(kept) >= 4
    for checkpoint in kept:
        again = Record()
        extra = [again, KeepAll(tmp_path / "again" / "newest.ckpt")]
        resumed = fit(extra, checkpoint, steps=12, every=every, accumulate=5)
        torch.testing.assert_close(resumed.state_dict(), straight.state_dict(), rtol=0, atol=0)
        for row in (*rows.rows, *again.rows):
            row.pop("seconds", None)
        assert again.rows == rows.rows


def test_the_constraints_hold_at_the_end() -> None:
    model = fit([])
    weights = [p for p in model.parameters() if p.ndim > 1]
    total = sum(w.numel() for w in weights)
    zeros = sum(int((w == 0).sum()) for w in weights)
    assert zeros == round(0.8 * total)
    for weight in weights:
        bits = weight.detach().view(torch.int32)
        assert bits[weight == 0].count_nonzero() == 0  # no -0.0
        assert len(weight[weight != 0].unique()) <= 8
    for parameter in model.parameters():
        assert torch.equal(parameter, parameter.half().float())


@pytest.mark.parametrize(
    ("then", "now", "says"),
    [
        (Prune(sparsity=0.5, begin=0.0), Prune(sparsity=0.9, begin=0.0), "sparsity=0.5, not 0.9"),
        (Prune(keep={"0": 0.5}, begin=0.0), Prune(sparsity=0.5, begin=0.0), "sparsity=None"),
        (ShareWeights(bits=2, begin=0.0), ShareWeights(bits=3, begin=0.0), "bits=2, not 3"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*before .* reached its target")
def test_other_settings_are_named_when_resuming(
    then: Callback, now: Callback, says: str, tmp_path: Path
) -> None:
    trainer, _ = fits.fit([then], max_epochs=1)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    with pytest.raises(ValueError, match=f"the training to resume was begun with {says}"):
        fits.fit([now], max_epochs=4, resume=tmp_path / "one.ckpt")
