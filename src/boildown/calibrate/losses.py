"""A loss of outputs and targets as one of batches, through a model."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


def loss_through(
    model: nn.Module, loss: Callable[[Any, Any], Tensor] | None
) -> Callable[[Any], Tensor] | None:
    """What evidence asks a loss for.

    Args:
        model: takes a batch of inputs alone.
        loss: (outputs, targets) -> scalar; None: there is none.

    Returns:
        Batch -> scalar; raises ValueError for batches that are no pairs, or another loss.
    """
    if loss is None:
        return None

    def of(batch: Any) -> Tensor:
        if not isinstance(batch, list | tuple) or len(batch) != 2:
            raise ValueError(
                f"a loss needs calibration batches of (inputs, targets), got a "
                f"{type(batch).__name__}; give a list of pairs, or a DataLoader of them"
            )
        first = next(model.parameters()).device
        found = loss(model(batch[0].to(first)), batch[1].to(first))
        if not isinstance(found, Tensor) or found.ndim:
            told = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"loss must give a single number, got {told}")
        return found

    return of
