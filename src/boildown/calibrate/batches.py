"""Calibration data: batches of inputs, read once or kept, and what passing them costs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from boildown.flops import forward_flops
from boildown.forward import evaluating, inputs_of

Data = Tensor | Iterable[Any]
"""One tensor of inputs, or batches: tensors, or sequences or mappings with the inputs first."""

BATCH = 256  # samples of a single tensor that go through the model at once


class CalibrationError(ValueError):
    """The calibration data do not show what is asked of a layer."""


def batches_of(data: Data) -> Iterator[Tensor]:
    """The inputs, batch by batch; a single tensor in batches of at most 256 samples.

    Raises:
        CalibrationError: if there are none, a batch has no tensor, batches differ in their dtype,
            or there are single samples instead of batches.
    """
    return (inputs for _, inputs in _checked(data))


def _checked(data: Data) -> Iterator[tuple[Any, Tensor]]:
    """The batches that are not empty, whole, and the inputs in them."""
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        raise CalibrationError(
            f"calibration data come in batches, and a {type(data).__name__} gives one sample at a "
            "time: wrap it in a torch.utils.data.DataLoader"
        )
    count, dtype = 0, None
    for batch in data.split(BATCH) if isinstance(data, Tensor) and data.ndim else data:
        try:
            inputs = inputs_of(batch)
        except ValueError as error:
            raise CalibrationError(f"calibration data: {error}") from None
        dtype = dtype or inputs.dtype
        if inputs.dtype != dtype:
            raise CalibrationError(
                f"the calibration batches are {dtype}, then {inputs.dtype}: give one tensor of "
                "inputs, or batches that each begin with the inputs, such as [(inputs, targets)]"
            )
        count += len(inputs)
        if len(inputs):
            yield batch, inputs
    if count == 0:
        raise CalibrationError("the calibration set is empty: give at least one sample")


def split_batch(batch: Any, samples: int) -> Iterator[Any]:
    """A batch in parts of at most so many samples.

    Args:
        batch: tensors in nested lists, tuples and mappings. What is no tensor with a row for each
            of the inputs goes with every part.
        samples: at least 1.
    """
    count = len(inputs_of(batch))
    for start in range(0, count, samples):
        yield _part(batch, count, slice(start, start + samples))


def _part(value: Any, count: int, rows: slice) -> Any:
    if isinstance(value, Tensor):
        return value[rows].detach() if value.ndim and len(value) == count else value
    if isinstance(value, Mapping):
        return {key: _part(each, count, rows) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_part(each, count, rows) for each in value))
    if isinstance(value, list | tuple):
        return type(value)(_part(each, count, rows) for each in value)
    return value


def collect(data: Data, samples: int) -> list[Tensor]:
    """The first inputs of the data, kept, for work that passes over them several times.

    Args:
        data: the calibration data; no more of an iterable is read than needed.
        samples: how many samples to keep at most, at least 1.

    Returns:
        The batches, the last one cut to size.

    Raises:
        CalibrationError: for an empty set.
        ValueError: if `samples` is below 1.
    """
    return [inputs_of(batch) for batch in collect_whole(data, samples)]


def collect_whole(data: Data, samples: int) -> list[Any]:
    """The first batches of the data, with all that is in them beside the inputs.

    See `collect`.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    kept: list[Any] = []
    for batch, inputs in _checked(data):
        kept.append(_part(batch, len(inputs), slice(samples)))
        samples -= len(inputs)
        if samples <= 0:
            break
    return kept


def calibration_flops(model: nn.Module, data: Data, passes: int = 1) -> int:
    """Operations of passing data through a model without gradients, a multiply-add as two.

    Args:
        model: takes a batch of inputs alone.
        data: the calibration data; an iterable is read once.
        passes: how often they pass.

    Raises:
        CalibrationError: for an empty set.
        Exception: whatever the forward pass raises.
    """
    shapes: Counter[tuple[torch.Size, torch.dtype]] = Counter()
    shapes.update((inputs.shape, inputs.dtype) for inputs in batches_of(data))
    with evaluating(model):
        return passes * sum(
            count * forward_flops(model, torch.empty(shape, dtype=dtype, device="meta"))
            for (shape, dtype), count in shapes.items()
        )
