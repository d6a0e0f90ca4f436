"""Prune(rule="admm"): weights are pulled towards zeros before they are cut."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fits import StopAt, fit
from lightning.pytorch import Callback
from torch import Tensor, nn

from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.prune import Prune
from boildown.callbacks.pull import SupportPull
from boildown.prune.layers import chooser
from boildown.schedule import Cubic, OneShot, Rounds

WINDOW: dict[str, Any] = {"begin": 0.25, "end": 0.75, "schedule": Cubic(), "cuts": 8}


def test_the_turns_of_admm_as_they_are_written() -> None:
    torch.manual_seed(0)
    wanted = torch.randn(4, 6)
    weight = nn.Parameter(wanted.clone())
    rate, steps = 0.1, 5
    optimizer = torch.optim.SGD([weight], lr=rate)
    rule, choose = SupportPull((2.0, 8.0)), chooser(0.5)
    w, z, y, mu = wanted.clone(), torch.zeros(0), torch.zeros(4, 6), 2.0
    for turn in range(4):
        shifted = rule.shifted({"w": weight})
        rule.renew({"w": weight}, {"w": choose(shifted["w"].abs())}, turn / 3)
        if turn:
            y = y + mu * (w - z)
        new = 2.0 * 4.0 ** (turn / 3)
        z = (w + y / mu) * choose((w + y / mu).abs())
        mu = new
        for _ in range(steps):
            optimizer.zero_grad()
            ((weight - wanted).square().sum() / 2).backward()
            optimizer.step()
            rule.after_step(optimizer, {"w": weight}, {"w": rate})
            w = w - rate * (w - wanted)
            w = (w + rate * mu * (z - y / mu)) / (1 + rate * mu)
        assert torch.allclose(weight.detach(), w, atol=1e-5)


class Cut(Callback):
    """The zeros before, and how far the weights went, at the step that begins with the last cut."""

    def __init__(self, at: int) -> None:
        self.at, self.moved, self.zeros = at, 0.0, -1

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == self.at:
            self._before = [p.detach().clone() for p in pl_module.parameters() if p.ndim > 1]
            self.zeros = sum(int((p == 0).sum()) for p in self._before)

    def on_before_zero_grad(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if trainer.global_step == self.at:
            now: list[Tensor] = [p.detach() for p in pl_module.parameters() if p.ndim > 1]
            lost = sum(
                float((a - b).square().sum()) for a, b in zip(now, self._before, strict=True)
            )
            self.moved = lost / sum(float(b.square().sum()) for b in self._before)


def test_the_cut_at_the_end_finds_little_left_to_cut() -> None:
    cuts = []
    for given in ({"rule": "admm"}, {"schedule": OneShot(), "begin": 0.75}):
        look = Cut(at=24)
        prune = Prune(sparsity=0.6, check="step", **(WINDOW | given))
        fit([prune, look], max_epochs=4)
        assert prune.sparsity == 0.6
        assert look.zeros == 0
        cuts.append(look.moved)
    assert cuts[0] < 0.5 * cuts[1]


@pytest.mark.filterwarnings("ignore:the training ended at")
@pytest.mark.parametrize("stop", [8, 12, 20, 28])
def test_resume_equals_never_stopping(stop: int, tmp_path: Path) -> None:
    def trained(extra: list[Callback], resume: Path | None = None) -> nn.Module:
        _, model = fit(
            [ComputeBudget(steps=32), Prune(sparsity=0.8, rule="admm", **WINDOW), *extra],
            lambda p: torch.optim.AdamW(p, lr=0.01),
            resume=resume,
            val_check_interval=4,
            check_val_every_n_epoch=None,
        )
        return model

    straight = trained([])
    trained([StopAt(stop, tmp_path / "stopped.ckpt")])
    resumed = trained([], tmp_path / "stopped.ckpt")
    torch.testing.assert_close(resumed.state_dict(), straight.state_dict(), rtol=0, atol=0)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"rule": "lc"}, r"prune\.rule must be cut or admm, got 'lc'"),
    ({"rule": "admm", "mu": [3.0, 1.0]}, r"prune\.mu must be two numbers.*got \[3\.0, 1\.0\]"),
    ({"rule": "admm", "mu": [1.0]}, r"prune\.mu must be two numbers"),
    (
        {"rule": "admm", "schedule": OneShot()},
        r"prune\.rule=admm pulls the weights over",
    ),
    ({"rule": "admm", "schedule": Rounds(1)}, r"prune\.rule=admm pulls"),
    ({"rule": "admm", "end": 0.25}, r"prune\.rule=admm pulls"),
    ({"rule": "admm", "rewind": "weights"}, r"prune\.rule=admm pulls.*rewind=weights"),
]


@pytest.mark.parametrize(("given", "says"), BAD)
def test_what_cannot_be_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Prune(sparsity=0.5, **(WINDOW | given))
