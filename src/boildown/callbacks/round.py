"""Round the weights at the end of the training to what the file stores in two bytes."""

from typing import Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from boildown.callbacks.budget import progress_of
from boildown.share.kmeans import round_to


class RoundWeights(Callback):
    """Round all parameters to a shorter type's values when the budget is spent; they stay float32.

    For recipes without `ShareWeights`, which does so by itself.

    Args:
        dtype: "float16" or "bfloat16"; "float32" leaves everything as it is.

    Raises:
        ValueError: for another type.
    """

    def __init__(self, *, dtype: Literal["float32", "float16", "bfloat16"]) -> None:
        if dtype not in ("float32", "float16", "bfloat16"):
            raise ValueError(f"round.dtype must be float32, float16 or bfloat16, got {dtype!r}")
        self.dtype: torch.dtype = getattr(torch, dtype)

    @torch.no_grad()
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if progress_of(trainer) >= 1.0:
            for parameter in pl_module.parameters():
                parameter.copy_(round_to(parameter, self.dtype))
