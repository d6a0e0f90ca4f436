"""Round the weights at the end of the training to what the file stores in two bytes."""

from collections.abc import Mapping
from typing import Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from boildown.callbacks.budget import progress_of
from boildown.callbacks.technique import Technique, dtype_named, trained_like
from boildown.share.kmeans import round_to


class RoundWeights(Technique):
    """Round all parameters to a shorter type's values when the budget is spent; they stay float32.

    For recipes without `ShareWeights`, which does so by itself. It has no phase of its own.

    Args:
        dtype: "float16" or "bfloat16"; "float32" leaves everything as it is.

    Raises:
        ValueError: for another type.
    """

    def __init__(self, *, dtype: Literal["float32", "float16", "bfloat16"] = "float16") -> None:
        self.dtype = dtype_named(dtype, "round")

    @torch.no_grad()
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if progress_of(trainer) >= 1.0:
            for parameter in pl_module.parameters():
                parameter.copy_(round_to(parameter, self.dtype))

    def preview(
        self, weights: Mapping[str, Tensor], amount: float | None = None
    ) -> dict[str, Tensor]:
        return {
            name: trained_like(round_to(parameter.detach(), self.dtype), parameter)
            for name, parameter in weights.items()
        }
