"""Predicting numbers: squared error, and what statisticians ask for."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score

from boildown.tasks.classification import Batch, MakeOptimizer, Task


class Regression(Task):
    """Training of any model of numbers, by the mean squared error.

    Logs `val/mse`, `val/mae`, `val/r2` and `val/loss`, which is the first again, and the same of
    `test/`: in the targets' unit squared, in their unit, and as the fraction of the targets'
    variance that is explained, the mean over the outputs. R2 needs two samples and is NaN for one.

    Args:
        model: (B, ...) inputs -> (B, outputs) numbers. Its state is what gets packed.
        optimizer: parameters, or groups of them -> optimizer.
        factors: see `Task`.

    Raises:
        ValueError: in a step, for outputs of another shape than the targets'; targets (B,) are
            those of one output.
    """

    objectives = ("regression",)

    def __init__(
        self,
        model: nn.Module,
        *,
        optimizer: MakeOptimizer,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(model, optimizer=optimizer, factors=factors)
        self.figures = nn.ModuleDict({stage: _figures() for stage in ("val", "test")})

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return F.mse_loss(*self._compared(batch))

    def _compared(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Outputs and targets, both (B, outputs) of the outputs' dtype."""
        inputs, targets = batch
        outputs = self(inputs)
        wanted = targets.to(outputs.dtype).unsqueeze(-1) if targets.ndim == 1 else targets
        if outputs.shape != wanted.shape:
            raise ValueError(
                f"the model's outputs are {tuple(outputs.shape)}, the targets "
                f"{tuple(targets.shape)}: regression compares them number by number"
            )
        return outputs, wanted.to(outputs.dtype)

    def _evaluate(self, batch: Batch, stage: str) -> None:
        outputs, targets = self._compared(batch)
        for figure in self._of(stage).values():
            figure.update(outputs.float(), targets.float())

    def _of(self, stage: str) -> dict[str, Metric]:
        kept = self.figures[stage]
        assert isinstance(kept, nn.ModuleDict)
        return {name: figure for name, figure in kept.items() if isinstance(figure, Metric)}

    def _report(self, stage: str) -> None:
        for name, figure in self._of(stage).items():
            few = isinstance(figure, R2Score) and int(figure.total) < 2
            value = torch.tensor(torch.nan) if few else figure.compute()
            self.log(f"{stage}/{name}", value)
            if name == "mse":
                self.log(f"{stage}/loss", value)
            figure.reset()


def _figures() -> nn.ModuleDict:
    return nn.ModuleDict({"mse": MeanSquaredError(), "mae": MeanAbsoluteError(), "r2": R2Score()})
