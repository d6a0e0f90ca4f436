"""Prune(reconstruct=...): the survivors make up for each cut, in training."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fits import StopAt, drawn, fit, layers
from lightning.pytorch import Callback
from torch import Tensor, nn

from boildown.calibrate.evidence import EvidenceError
from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.prune import Prune
from boildown.prune.criteria import obs, random
from boildown.schedule import Cubic, OneShot

WINDOW: dict[str, Any] = {"begin": 0.25, "end": 0.75, "schedule": Cubic(), "cuts": 4}


def batches() -> list[tuple[Tensor, Tensor]]:
    inputs, targets = drawn()
    return list(zip(inputs.split(8), targets.split(8), strict=True))


class Outputs(Callback):
    """What the network puts out right before the first step after a cut, and before the cut."""

    def __init__(self) -> None:
        self.gap = 0.0
        self._before: Tensor | None = None

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        with torch.no_grad():
            now = pl_module(drawn()[0])
        if trainer.global_step == 15:
            self._before = now  # before the step that ends at the cut
        if trainer.global_step == 16:
            assert self._before is not None
            self.gap = float((now - self._before).square().mean())


class Losses(Callback):
    """The loss right after the cut."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == 16:
            inputs, targets = drawn()
            with torch.no_grad():
                self.loss = float(nn.functional.cross_entropy(pl_module(inputs), targets))


@pytest.mark.parametrize("pattern", [None, "2:4"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_what_stays_makes_up_for_the_cut(scope: Any, pattern: Any) -> None:
    gaps = []
    for method in (None, "sparsegpt", "alps"):
        look = Outputs()
        prune = Prune(
            sparsity=0.6, scope=scope, pattern=pattern, reconstruct=method, calibration=batches,
            begin=0.5, end=0.5, schedule=OneShot(), check="step",
        )  # fmt: skip
        fit([prune, look], lambda p: torch.optim.SGD(p, lr=1e-3), max_epochs=4)
        assert prune.sparsity == pytest.approx(0.6, abs=1 / 240)
        if pattern is not None:
            for mask in prune.masks.values():
                assert (mask.reshape(-1, 4).sum(1) <= 2).all()
        gaps.append(look.gap)
    assert max(gaps[1:]) < gaps[0]


def test_cuts_stay_and_the_ledger_is_charged() -> None:
    steps = []
    for method in (None, "alps"):
        budget = ComputeBudget(flops=2e6)
        prune = Prune(sparsity=0.8, reconstruct=method, calibration=batches, check="step", **WINDOW)
        _, model = fit([budget, prune])
        assert prune.sparsity == 0.8
        assert int((model[0].weight == 0).sum()) == int((~prune.masks["model.0.weight"]).sum())  # type: ignore[index]
        steps.append(budget.steps)
    assert steps[1] < steps[0]  # what is spent on fitting is not spent on training


def test_a_weight_that_is_zero_by_itself_is_not_cut() -> None:
    model = nn.Sequential(*layers())
    with torch.no_grad():
        model[2].weight.zero_()
    prune = Prune(
        sparsity=0.5, scope="layer", criterion=random, reconstruct="alps", calibration=batches,
        begin=0.0, end=0.5, cuts=4,
    )  # fmt: skip
    fit([prune], model=model, max_epochs=4)
    assert prune.densities == {"model.0.weight": 0.5, "model.2.weight": 0.5}


def test_layers_that_cannot_be_fitted_are_cut_and_named(caplog: pytest.LogCaptureFixture) -> None:
    class Looked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.out = nn.Embedding(6, 4), nn.Linear(4, 3)

        def forward(self, symbols: Tensor) -> Tensor:
            return self.out(self.table(symbols).mean(1))

    symbols, targets = torch.randint(0, 6, (64, 5)), torch.arange(64) % 3
    rows = [(symbols[:32], targets[:32])]
    prune = Prune(sparsity=0.5, reconstruct="sparsegpt", calibration=lambda: rows, **WINDOW)
    with caplog.at_level("INFO"):
        fit([prune], model=Looked(), data=(symbols, targets), max_epochs=4)
    assert prune.sparsity == 0.5


def test_what_cannot_be_is_refused_before_the_training() -> None:
    with pytest.raises(ValueError, match=r"prune\.reconstruct must be sparsegpt, alps"):
        Prune(sparsity=0.5, reconstruct="gpt")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"prune\.rewind=weights sets back what prune\.recon"):
        Prune(sparsity=0.5, reconstruct="alps", rewind="weights")
    with pytest.raises(EvidenceError, match=r"no calibration batches.*calibration="):
        fit([Prune(sparsity=0.5, reconstruct="alps")], max_epochs=1)


def test_the_survivors_of_a_criterion_make_up_for_the_cut_by_the_loss() -> None:
    """WoodFisher in a schedule: what obs chooses goes, and the others of the row move for it."""
    losses, masks = [], []
    for method in (None, "refit"):
        look = Losses()
        prune = Prune(
            sparsity=0.6, criterion=obs, reconstruct=method, mix=1.0 if method else 0.0,
            calibration=batches, begin=0.5, end=0.5, schedule=OneShot(), check="step",
        )  # fmt: skip
        fit([prune, look], lambda p: torch.optim.Adam(p, lr=0.02), max_epochs=4)
        losses.append(look.loss)
        masks.append(prune.masks)
    assert losses[1] < losses[0]
    for name, mask in masks[0].items():
        assert torch.equal(mask, masks[1][name])  # the criterion's own


def test_the_mix_is_charged_and_told() -> None:
    flops = []
    for mix in (0.0, 0.5):
        prune = Prune(
            sparsity=0.8, reconstruct="alps", mix=mix, calibration=batches, check="step", **WINDOW
        )
        budget = ComputeBudget(steps=32)
        fit([budget, prune])
        assert prune.sparsity == 0.8
        assert prune.settings["mix"] == mix
        flops.append(budget.flops)
    assert flops[1] > flops[0]
    with pytest.raises(ValueError, match=r"prune\.mix must be a number in \[0, 1\].*got 3"):
        Prune(sparsity=0.5, reconstruct="alps", mix=3)
    with pytest.raises(ValueError, match=r"prune\.mix = 0\.5 says what prune\.reconstruct fits to"):
        Prune(sparsity=0.5, mix=0.5)


@pytest.mark.filterwarnings("ignore:the training ended at")
@pytest.mark.parametrize(("method", "mix"), [("alps", 0.0), ("obs", 0.5)])
def test_resume_equals_never_stopping(tmp_path: Path, method: Any, mix: float) -> None:
    def trained(extra: list[Callback], resume: Path | None = None) -> nn.Module:
        prune = Prune(sparsity=0.8, reconstruct=method, mix=mix, calibration=batches, **WINDOW)
        _, model = fit(
            [ComputeBudget(steps=32), prune, *extra],
            lambda p: torch.optim.AdamW(p, lr=0.01),
            resume=resume,
            val_check_interval=4,
            check_val_every_n_epoch=None,
        )
        return model

    straight = trained([])
    trained([StopAt(16, tmp_path / "stopped.ckpt")])
    resumed = trained([], tmp_path / "stopped.ckpt")
    torch.testing.assert_close(resumed.state_dict(), straight.state_dict(), rtol=0, atol=0)
