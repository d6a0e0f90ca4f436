"""A budget beside the trainer's own limits: schedules that ask for the total, bars, and the end."""

import io
from typing import Any

import fits
import overflowing
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from torch import nn

from boildown.callbacks import ComputeBudget, Prune, ShareWeights
from boildown.callbacks.bar import BudgetBar
from boildown.callbacks.budget import progress_of
from boildown.tasks.classification import Classification

PER_EPOCH = 8  # batches


class OneCycle(Classification):
    """With a schedule that asks for the total, and fails beyond it."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        self.total = self.trainer.estimated_stepping_batches
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, int(self.total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Told(Callback):
    """What Lightning's own bar says of the epoch, and the progress at the end."""

    said = ""
    progress = 0.0
    total: float = 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        bar = RichProgressBar()
        bar._trainer = trainer
        self.said = bar._get_train_description(trainer.current_epoch).strip()
        self.total = getattr(pl_module, "total", 0)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.progress = progress_of(trainer)


@pytest.mark.parametrize(
    ("epochs", "max_epochs", "total", "said"),
    [(5, 5, 5, "Epoch 4/4"), (5, -1, 5, "Epoch 4/4"), (2.5, -1, 3, "Epoch 2/2"),
     (5, 7, 7, "Epoch 4/6")],
)  # fmt: skip
def test_a_schedule_and_a_bar_have_the_total(
    epochs: float, max_epochs: int, total: int, said: str
) -> None:
    told, prune = Told(), Prune(sparsity=0.5)
    trainer, _ = fits.fit(
        [ComputeBudget(epochs=epochs), prune, ShareWeights(bits=2), told], make=OneCycle,
        max_epochs=max_epochs,
    )  # fmt: skip
    assert (told.total, told.said, told.progress) == (total * PER_EPOCH, said, 1.0)
    assert trainer.global_step == epochs * PER_EPOCH
    assert prune.sparsity == pytest.approx(0.5, abs=0.01)
    assert trainer.max_epochs == max_epochs


@pytest.mark.parametrize(
    ("budget", "limits", "why"),
    [
        ({"epochs": 5}, {"max_epochs": 3}, "max_epochs=3 ends .*before Prune .*70%.*max_epochs=5"),
        ({"steps": 40}, {"max_steps": 20}, "max_steps=20 ends .*of 40 steps: .*max_steps=40"),
        ({"epochs": 5}, {"max_epochs": 0}, None),
        ({"epochs": 5}, {"max_epochs": 4}, None),  # after the target, which is at 3.5
        ({"steps": 40}, {"fast_dev_run": 1}, None),
    ],
)
@pytest.mark.filterwarnings("ignore:the training ended at")
def test_a_limit_before_the_target_is_refused(
    budget: dict[str, int], limits: dict[str, int], why: str | None
) -> None:
    prune = Prune(sparsity=0.5)
    if why is None:
        fits.fit([ComputeBudget(**budget), prune], **limits)
        return
    with pytest.raises(ValueError, match=why):
        fits.fit([ComputeBudget(**budget), prune], **limits)
    assert prune.masks == {}
    fits.fit([ComputeBudget(**budget)], **limits)  # nothing is lost without a technique


@pytest.mark.parametrize(
    ("budget", "limits"), [({"epochs": 4}, {"max_epochs": 4}), ({"steps": 32}, {"max_steps": 32})]
)
def test_skipped_steps_leave_no_technique_unfinished(
    budget: dict[str, int], limits: dict[str, int]
) -> None:
    clock, share, told = ComputeBudget(**budget), ShareWeights(bits=2, dtype="float16"), Told()
    _, model = overflowing.fit([clock, share, told], bad=(3, 9), net=nn.Sequential(*fits.layers()),
                               **limits)  # fmt: skip
    assert clock.skipped_steps > 0
    assert told.progress == 1.0
    assert share.reached
    assert all(p.equal(p.half().float()) for p in model.parameters())


def test_a_trainer_gets_its_own_limit_back_after_an_error() -> None:
    class Failing(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            self.trainer = trainer
            raise RuntimeError(f"at {trainer.max_epochs}")

    failing = Failing()
    with pytest.raises(RuntimeError, match="at 5"):
        fits.fit([ComputeBudget(epochs=5), failing])
    assert failing.trainer.max_epochs == -1


def test_progress_in_a_pipe_ends_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = BudgetBar(label="digits")
    written = io.StringIO()
    monkeypatch.setattr(bar._console, "file", written)
    fits.fit([ComputeBudget(epochs=2), Prune(sparsity=0.5), bar], enable_progress_bar=True)
    lines = written.getvalue().splitlines()
    assert lines[-1].startswith("digits 100%")
    assert len(lines) == len({line.split()[1] for line in lines})
