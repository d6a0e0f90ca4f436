"""Mixed precision in Lightning: fp16 whose loss is scaled for real wherever it runs."""

from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins import MixedPrecision

ON_GPU = ("gpu", "cuda")


def fp16(accelerator: str = "auto") -> MixedPrecision:
    """The plugin for fp16 mixed precision with dynamic loss scaling, on a CUDA GPU or the CPU.

    `Trainer(precision="16-mixed")` trains in bf16 without a scaler when it runs on the CPU; this
    does not. Give it as `Trainer(plugins=[fp16()])`, without `precision`.

    Args:
        accelerator: as given to the Trainer: "auto", "cpu", "gpu" or "cuda".

    Raises:
        ValueError: for another accelerator, or "auto" on a machine whose GPU is not CUDA's.
    """
    if accelerator not in ("auto", "cpu", *ON_GPU):
        raise ValueError(
            f"fp16 with loss scaling runs on a CUDA GPU or the CPU, not on {accelerator!r}; give "
            "trainer.accelerator=gpu or cpu"
        )
    cuda = torch.cuda.is_available() and accelerator != "cpu"
    if accelerator == "auto" and not cuda and torch.backends.mps.is_available():
        raise ValueError(
            "fp16 with loss scaling does not run on this machine's GPU (MPS); give "
            "trainer.accelerator=cpu, or trainer=default for fp32"
        )
    device = "cuda" if cuda or accelerator in ON_GPU else "cpu"
    return MixedPrecision("16-mixed", device, scaler=torch.amp.GradScaler(device))


def scaler_of(trainer: Trainer) -> torch.amp.GradScaler | None:
    """The trainer's loss scaler, if it has one that is switched on."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    if isinstance(scaler, torch.amp.GradScaler) and scaler.is_enabled():
        return scaler
    return None


def precision_of(trainer: Trainer) -> str:
    """What the trainer computes in, as Lightning names it: "32-true", "16-mixed", "bf16-mixed"."""
    return str(trainer.precision)


def check_optimizers(trainer: Trainer) -> None:
    """Refuse optimizers that do the loss scaler's work inside their own step.

    Gradients would reach callbacks still scaled, and a step that was skipped would look like one
    that was made.

    Raises:
        ValueError: naming the optimizer and the remedy.
    """
    if scaler_of(trainer) is None:
        return
    for optimizer in trainer.optimizers:
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            raise ValueError(
                f"{type(optimizer).__name__}(fused=True) unscales gradients inside its step, where "
                "no callback can see them; with a loss scaler give fused=False "
                "(task.optimizer.fused=false)"
            )


def found_overflow(scaler: torch.amp.GradScaler, optimizer: Any) -> bool:
    """Whether unscaling met an infinite or NaN gradient, so that the step will be skipped."""
    return any(bool(found) for found in scaler._found_inf_per_device(optimizer).values())
