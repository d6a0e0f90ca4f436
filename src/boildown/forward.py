"""One pass through a model: what goes in, what comes out, and a model that stays as it was."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


def tensors_of(value: Any) -> list[Tensor]:
    """All tensors in nested sequences, mappings and dataclasses, in their order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = value.values()
    elif is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, field.name) for field in fields(value)]
    elif not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return []
    return [tensor for part in value for tensor in tensors_of(part)]


def inputs_of(batch: Any) -> Tensor:
    """The first tensor of a batch: itself, or the first found in its lists, tuples and mappings.

    Raises:
        ValueError: if there is none.
    """
    found = tensors_of(batch)
    if not found:
        raise ValueError(
            f"there is no tensor in a batch of type {type(batch).__name__}; a batch is a tensor, "
            "or a list, tuple or mapping that holds one"
        )
    return found[0]


@contextmanager
def hooks() -> Iterator[list[RemovableHandle]]:
    """A list for the handles of hooks, all of which are removed at the end of the block."""
    handles: list[RemovableHandle] = []
    try:
        yield handles
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside the block, and everything as it was after it.

    Each module's mode is restored by itself, and so is the random state of the CPU and of the
    devices that hold the model.
    """
    modes = [(module, module.training) for module in model.modules()]
    tensors = [*model.parameters(), *model.buffers()]
    devices = {t.device for t in tensors if t.device.type == "cuda"}
    try:
        with torch.random.fork_rng(devices=list(devices)), torch.no_grad():
            for module, _ in modes:
                module.training = False
            yield
    finally:
        for module, training in modes:
            module.training = training


def run(model: nn.Module, inputs: Tensor) -> Any:
    """The model's output for inputs, moved to the device of its first parameter."""
    first = next(model.parameters(), None)
    return model(inputs if first is None else inputs.to(first.device))


def first_input(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """What a layer of one input was called with, by position or by name."""
    given: Tensor = args[0] if args else next(iter(kwargs.values()))
    return given
