"""The metrics of a model, by its run's task."""

from collections.abc import Iterable
from typing import Any, Literal

from lightning.pytorch import Trainer
from omegaconf import DictConfig
from torch import nn

from boildown.callbacks.quiet import quiet
from boildown.run.build import build_task


def metrics_of(
    cfg: DictConfig,
    data: Any,
    model: nn.Module,
    loader: Iterable[Any],
    step: Literal["validate", "test"],
    batches: int | None = None,
) -> dict[str, float]:
    """What the task of a run says of a model.

    Args:
        cfg: of the run.
        data: its data module, prepared.
        model: of the run's structure, or what has become of it.
        loader: of the batches to measure on.
        step: of the task, which names the metrics.
        batches: how many to measure on; None for all.

    Returns:
        Metrics such as {"val/loss": 0.1, "val/error": 0.02}.
    """
    with quiet(warn=False):
        trainer = Trainer(
            accelerator=cfg.trainer.get("accelerator", "auto"),
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=1.0 if batches is None else batches,
            inference_mode=False,  # the weights may be changed afterwards
        )
        (found,) = getattr(trainer, step)(build_task(cfg, data, model), loader, verbose=False)
    # Lightning keeps float32: beyond its 7 digits 0.0159 would read 0.01590001583
    return {name: round(float(value), 7) for name, value in found.items()}


def samples_in(loader: Iterable[Any]) -> int | None:
    """How many samples a loader goes through; None for a stream that does not say.

    Args:
        loader: boildown's, or torch's.
    """
    own = getattr(loader, "samples", None)
    if own is None:
        try:
            own = len(loader.dataset)  # type: ignore[attr-defined]
        except (AttributeError, TypeError):
            return None
    return int(own)
