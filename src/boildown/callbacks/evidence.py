"""What a technique measures on a network in training, at the trainer's precision, on all ranks."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from boildown.calibrate.batches import calibration_flops, collect
from boildown.calibrate.evidence import Evidence
from boildown.calibrate.tracing import read_elsewhere
from boildown.forward import inputs_of
from boildown.lowrank.form import Form, measure
from boildown.lowrank.scheme import Scheme


class OutputForms:
    """What the errors of layers do to what the network says, on samples that stay the same.

    Args:
        calibration: makes an iterable of batches.
        samples: how many of its samples to measure on.
    """

    def __init__(self, calibration: Callable[[], Iterable[Any]], samples: int) -> None:
        self.calibration, self.samples = calibration, samples
        self._batches: list[Tensor] | None = None

    def measure(
        self, trainer: Trainer, pl_module: LightningModule, layers: Mapping[str, Scheme]
    ) -> tuple[dict[str, list[Form]], int]:
        """The forms of the layers' matrices, the same on all ranks, and what they cost in FLOPs.

        Raises:
            CalibrationError: as `boildown.lowrank.form.measure`.
            ValueError: if the forward pass wants something else than the inputs.
        """
        if self._batches is None:
            with _same_order():
                batches = collect(self.calibration(), self.samples)
            self._batches = [trainer.precision_plugin.convert_input(batch) for batch in batches]
        with passing(trainer):
            found = measure(pl_module, self._batches, layers)
        flops = calibration_flops(pl_module, self._batches, passes=3)
        if trainer.world_size > 1:
            sent = {name: [form.to("cpu") for form in each] for name, each in found.items()}
            sent = trainer.strategy.broadcast(sent)
            found = {n: [form.to(pl_module.device) for form in sent[n]] for n in found}
        return found, flops * trainer.world_size


def weights_read_elsewhere(
    trainer: Trainer, pl_module: LightningModule, inputs: Tensor
) -> set[str]:
    """The layers whose weight something else than their own forward pass computes with.

    Raises:
        ValueError: if the forward pass wants something else than the inputs.
    """
    with passing(trainer):
        return read_elsewhere(pl_module, trainer.precision_plugin.convert_input(inputs))


@contextmanager
def passing(trainer: Trainer) -> Iterator[None]:
    """Pass inputs through the network as in training, at the precision of the trainer.

    Raises:
        ValueError: if its forward pass wants something else than the inputs.
    """
    try:
        with trainer.precision_plugin.forward_context():
            yield
    except (TypeError, NotImplementedError) as error:
        raise ValueError(
            "lowrank.metric=outputs needs a forward that takes the inputs alone; write one, or "
            f"set metric=weights ({error})"
        ) from error


def evidence_of(
    pl_module: LightningModule,
    names: Iterable[str],
    calibration: Callable[[], Iterable[Any]] | None,
    samples: int,
    movement: Callable[[], Mapping[str, Tensor]] | None = None,
) -> Evidence:
    """What samples of the training data say of the network as it is now.

    The loss is that of `training_step`, without what it logs.

    Args:
        pl_module: what is trained.
        names: of the parameters that are judged.
        calibration: makes an iterable of batches; None: there are none.
        samples: how many samples to take at most, rounded up to whole batches.
        movement: gives what the training has summed up so far; None: nothing has.
    """

    def batches() -> Sequence[Any]:
        assert calibration is not None
        as_trained = pl_module.trainer.precision_plugin.convert_input
        with _same_order():
            found = _first(calibration(), samples)
        return [as_trained(move_data_to_device(batch, pl_module.device)) for batch in found]

    def loss(batch: Any) -> Tensor:
        with _logging_nothing(pl_module):
            found = pl_module.training_step(batch, 0)
        value = found["loss"] if isinstance(found, dict) else found
        if not isinstance(value, Tensor):
            raise ValueError(
                f"{type(pl_module).__name__}.training_step gives no loss to take gradients of"
            )
        return value

    made = batches if calibration is not None else None
    return Evidence(pl_module, names, made, loss, movement)


@contextmanager
def _same_order() -> Iterator[None]:
    """Let a loader draw the same order each time, also after a resume, and leave no trace."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _first(data: Iterable[Any], samples: int) -> list[Any]:
    """Whole batches until there are so many samples."""
    kept: list[Any] = []
    for batch in data:
        kept.append(batch)
        samples -= len(inputs_of(batch))
        if samples <= 0:
            break
    return kept


@contextmanager
def _logging_nothing(pl_module: LightningModule) -> Iterator[None]:
    """Let `log` and `log_dict` do nothing inside the block."""
    for name in ("log", "log_dict"):
        object.__setattr__(pl_module, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name in ("log", "log_dict"):
            object.__delattr__(pl_module, name)
