"""A Lightning trainer that does nothing but train, for what is measured."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, Trainer


def bare_trainer(callbacks: Sequence[Callback], **settings: Any) -> Trainer:
    """A trainer on the CPU that logs, saves, validates and shows nothing.

    Args:
        callbacks: what takes part; a `ComputeBudget` among them ends the training.
        settings: others of the trainer.
    """
    usual: dict[str, Any] = {"accelerator": "cpu", "max_epochs": -1, "limit_val_batches": 0}
    return Trainer(
        callbacks=list(callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        **usual | settings,
    )
