"""What a model is trained for: loss and metrics. Knows nothing of compression."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy

from boildown.tasks.width import scale_rates

Batch = tuple[Tensor, Tensor]
MakeOptimizer = Callable[[Iterable[nn.Parameter] | list[dict[str, Any]]], Optimizer]


class Task(LightningModule):
    """What all tasks have: a model, its optimizer, and the rhythm of evaluation.

    Args:
        model: the network. Its state is what gets packed.
        optimizer: parameters, or groups of them -> optimizer.
        factors: parameter of the model -> factor on its learning rate
            (`boildown.tasks.width.width_factors`), 1 where absent; None is one rate for all.

    Attributes:
        objectives: the `objective` of the data it is for, None for classes to tell apart; empty if
            any will do.
    """

    objectives: ClassVar[tuple[str | None, ...]] = ()

    def __init__(
        self,
        model: nn.Module,
        *,
        optimizer: MakeOptimizer,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.optimizer = optimizer
        self.factors = factors

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(inputs)
        return logits

    @abstractmethod
    def _evaluate(self, batch: Batch, stage: str) -> None:
        """Take a batch into the metrics of a stage, "val" or "test"."""

    @abstractmethod
    def _report(self, stage: str) -> None:
        """Log the metrics of a stage and begin anew."""

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, "test")

    def on_validation_epoch_end(self) -> None:
        self._report("val")

    def on_test_epoch_end(self) -> None:
        self._report("test")

    def configure_optimizers(self) -> Optimizer:
        trained = [(n, p) for n, p in self.named_parameters() if p.requires_grad]
        if self.factors is None:
            return self.optimizer([p for _, p in trained])
        factors = {f"model.{name}": factor for name, factor in self.factors.items()}
        return scale_rates(self.optimizer, dict(trained), factors)


class Classification(Task):
    """Cross-entropy training of any classifier.

    Logs `val/loss`, `val/error`, `test/loss` and `test/error`; an error is a fraction in [0, 1].

    Args:
        model: (B, ...) inputs -> (B, num_classes) logits. Its state is what gets packed.
        optimizer: parameters, or groups of them -> optimizer.
        num_classes: number of classes.
        label_smoothing: in [0, 1), on the training loss only.
        factors: see `Task`.

    Raises:
        ValueError: for a label_smoothing out of range.
    """

    objectives = (None,)

    def __init__(
        self,
        model: nn.Module,
        *,
        optimizer: MakeOptimizer,
        num_classes: int,
        label_smoothing: float = 0.0,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(model, optimizer=optimizer, factors=factors)
        self.label_smoothing = checked_smoothing(label_smoothing)
        self.accuracy = nn.ModuleDict(
            {stage: MulticlassAccuracy(num_classes, average="micro") for stage in ("val", "test")}
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, targets = batch
        return F.cross_entropy(self(inputs), targets, label_smoothing=self.label_smoothing)

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
        # in float64, since in float32 1 - 9842/10000 has wrong last digits
        self.log(f"{stage}/error", 1.0 - accuracy.compute().double())
        accuracy.reset()


def checked_smoothing(value: float) -> float:
    """A label smoothing.

    Raises:
        ValueError: if it is no number in [0, 1).
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < 1.0:
        raise ValueError(f"label_smoothing must be a number in [0, 1), got {value!r}")
    return value
