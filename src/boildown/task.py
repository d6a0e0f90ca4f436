"""What a model is trained for: loss and metrics. Knows nothing of compression."""

from collections.abc import Callable, Iterable

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy

Batch = tuple[Tensor, Tensor]


class Classification(LightningModule):
    """Cross-entropy training of any classifier.

    Logs `val/loss`, `val/error`, `test/loss` and `test/error`; an error is a fraction in [0, 1].

    Args:
        model: (B, ...) inputs -> (B, num_classes) logits. Its state is what gets packed.
        optimizer: parameters -> optimizer.
        num_classes: number of classes.
        label_smoothing: in [0, 1), on the training loss only.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        num_classes: int,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.optimizer = optimizer
        self.label_smoothing = label_smoothing
        self.accuracy = nn.ModuleDict(
            {stage: MulticlassAccuracy(num_classes, average="micro") for stage in ("val", "test")}
        )

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(inputs)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, targets = batch
        return F.cross_entropy(self(inputs), targets, label_smoothing=self.label_smoothing)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, "test")

    def on_validation_epoch_end(self) -> None:
        self._report("val")

    def on_test_epoch_end(self) -> None:
        self._report("test")

    def _evaluate(self, batch: Batch, stage: str) -> None:
        inputs, targets = batch
        logits = self(inputs)
        self._accuracy(stage).update(logits, targets)
        self.log(f"{stage}/loss", F.cross_entropy(logits, targets), batch_size=len(targets))

    def _accuracy(self, stage: str) -> MulticlassAccuracy:
        accuracy = self.accuracy[stage]
        assert isinstance(accuracy, MulticlassAccuracy)
        return accuracy

    def _report(self, stage: str) -> None:
        accuracy = self._accuracy(stage)
        # in float64: 1 - 9842/10000 would otherwise miss the fraction's last digits
        self.log(f"{stage}/error", 1.0 - accuracy.compute().double())
        accuracy.reset()

    def configure_optimizers(self) -> Optimizer:
        return self.optimizer([p for p in self.parameters() if p.requires_grad])
