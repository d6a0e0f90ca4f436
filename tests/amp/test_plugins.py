"""fp16 on the CPU with a scaler, and what Lightning does around a step that is skipped."""

from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from overflowing import fit

from boildown.amp.plugins import fp16, precision_of, scaler_of
from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.loss_scaling import LossScaling
from boildown.callbacks.prune import Prune
from boildown.schedule import OneShot


def test_the_cpu_gets_fp16_and_a_scaler() -> None:
    trainer = Trainer(accelerator="cpu", plugins=[fp16("cpu")], logger=False)
    assert precision_of(trainer) == "16-mixed"
    scaler = scaler_of(trainer)
    assert scaler is not None
    assert scaler.is_enabled()
    with trainer.precision_plugin.forward_context():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float16


def test_other_accelerators_are_refused() -> None:
    with pytest.raises(ValueError, match=r"not on 'tpu'; give trainer\.accelerator"):
        fp16("tpu")


def test_no_scaler_without_it() -> None:
    assert scaler_of(Trainer(accelerator="cpu", logger=False)) is None
    assert scaler_of(Trainer(accelerator="cpu", precision="bf16-mixed", logger=False)) is None


class Look(Callback):
    """The gradients that callbacks see, and the steps that Lightning and the optimizer count."""

    def __init__(self) -> None:
        self.gradients: list[torch.Tensor] = []
        self.real = 0

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        trainer.optimizers[0].register_step_post_hook(self._count)

    def _count(self, *_: Any) -> None:
        self.real += 1

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        self.gradients.append(pl_module.model[0].weight.grad.clone())


@pytest.mark.parametrize("clip", [None, 1e-3])
def test_callbacks_see_unscaled_gradients_before_clipping(clip: float | None) -> None:
    small, large = Look(), Look()
    for scale, look in ((2.0**8, small), (2.0**12, large)):
        scaling = LossScaling(initial_scale=scale)
        fit([scaling, look], max_steps=1, gradient_clip_val=clip)
    norm = small.gradients[0].norm()
    assert norm > 1e-2
    torch.testing.assert_close(small.gradients[0], large.gradients[0], rtol=1e-2, atol=1e-4)


def test_lightning_counts_skipped_steps_and_the_optimizer_does_not() -> None:
    look = Look()
    trainer, _ = fit([look], bad={2, 3}, max_steps=10)
    assert (trainer.global_step, look.real) == (10, 8)
    assert not torch.isfinite(look.gradients[2]).all()


@pytest.mark.parametrize(
    "callback",
    [
        lambda: LossScaling(),
        lambda: ComputeBudget(steps=3),
        lambda: Prune(sparsity=0.5, schedule=OneShot(), begin=0.0, end=0.0),
    ],
)
def test_optimizers_that_unscale_inside_are_refused(callback: Any) -> None:
    with pytest.raises(ValueError, match=r"AdamW\(fused=True\).*give fused=False"):
        fit([callback()], fused=True, max_steps=3)
