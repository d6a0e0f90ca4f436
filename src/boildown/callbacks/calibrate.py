"""Evidence about what a Trainer trains: its batches, its precision, its loss."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import LightningModule
from torch import Tensor

from boildown.calibrate.evidence import Evidence
from boildown.forward import inputs_of


def evidence_of(
    pl_module: LightningModule,
    names: Iterable[str],
    calibration: Callable[[], Iterable[Any]] | None,
    samples: int,
) -> Evidence:
    """What samples of the training data say of the network as it is now.

    The loss is that of `training_step`, without what it logs.

    Args:
        pl_module: what is trained.
        names: of the parameters that are judged.
        calibration: makes an iterable of batches; None: there are none.
        samples: how many samples to take at most, rounded up to whole batches.
    """

    def batches() -> Sequence[Any]:
        assert calibration is not None
        with torch.random.fork_rng(devices=[]):  # a loader draws its order, also after a resume
            torch.manual_seed(0)
            return [
                move_data_to_device(b, pl_module.device) for b in _first(calibration(), samples)
            ]

    def loss(batch: Any) -> Tensor:
        with _logging_nothing(pl_module):
            found = pl_module.training_step(batch, 0)
        value = found["loss"] if isinstance(found, dict) else found
        if not isinstance(value, Tensor):
            raise ValueError(
                f"{type(pl_module).__name__}.training_step gives no loss to take gradients of"
            )
        return value

    return Evidence(pl_module, names, batches if calibration is not None else None, loss)


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
