"""Predicting bytes: the task of language models."""

import math
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric

from boildown.data.text import IGNORE
from boildown.tasks.classification import Batch, MakeOptimizer, Task, checked_smoothing


class Language(Task):
    """Cross-entropy training on bytes, forwards or masked, as the data's targets say.

    Logs `val/loss` and `test/loss` in nats, and `val/bits_per_byte` and `test/bits_per_byte`, which
    are the same in bits: what the model needs for a byte, the mean over all that count. 8 is what
    a coder without a model needs. Positions whose target is -100 do not count.

    Args:
        model: (B, T) int64 symbols -> (B, T, classes) logits. Its state is what gets packed.
        optimizer: parameters, or groups of them -> optimizer.
        label_smoothing: in [0, 1), on the training loss only.
        factors: see `Task`.

    Raises:
        ValueError: for a label_smoothing out of range.
    """

    objectives = ("causal", "masked")

    def __init__(
        self,
        model: nn.Module,
        *,
        optimizer: MakeOptimizer,
        label_smoothing: float = 0.0,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(model, optimizer=optimizer, factors=factors)
        self.label_smoothing = checked_smoothing(label_smoothing)
        self.nats = nn.ModuleDict({stage: MeanMetric() for stage in ("val", "test")})

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, targets = batch
        return F.cross_entropy(
            self(inputs).flatten(0, 1),
            targets.flatten(),
            ignore_index=IGNORE,
            label_smoothing=self.label_smoothing,
        )

    def _evaluate(self, batch: Batch, stage: str) -> None:
        inputs, targets = batch
        nats = F.cross_entropy(
            self(inputs).flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="none"
        )
        self._nats(stage).update(nats, (targets.flatten() != IGNORE).to(nats.dtype))

    def _nats(self, stage: str) -> MeanMetric:
        nats = self.nats[stage]
        assert isinstance(nats, MeanMetric)
        return nats

    def _report(self, stage: str) -> None:
        nats = self._nats(stage).compute().double()
        self._nats(stage).reset()
        self.log(f"{stage}/loss", nats)
        self.log(f"{stage}/bits_per_byte", nats / math.log(2))
