"""Example inputs: called with, cut to a batch, and what layers are given of them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from boildown.forward import evaluating, first_input, tensors_of
from boildown.quantize.activations import InputGrid
from boildown.quantize.grid import limits


@dataclass(frozen=True)
class Given:
    """An input of a layer, but for its values."""

    shape: torch.Size
    dtype: torch.dtype
    device: torch.device
    channels_last: bool

    @classmethod
    def of(cls, x: Tensor) -> "Given":
        """That of a tensor."""
        last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
        return cls(x.shape, x.dtype, x.device, last and not x.is_contiguous())

    def drawn(self) -> Tensor:
        """Such an input, of normal values."""
        x = torch.randn(self.shape, dtype=self.dtype, device=self.device)
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last else x

    def drawn_over(self, grid: InputGrid) -> Tensor:
        """Such an input, of values all over the range of a grid."""
        low, high = limits(grid.bits, signed=False)
        over = self.drawn().uniform_(low - grid.zero - 0.5, high - grid.zero + 0.5)
        return over.mul_(float(grid.step.detach()))


def called(model: nn.Module, example: Any) -> Any:
    """The model's output.

    Args:
        model: any network.
        example: its input, a tuple or list of its arguments, or a mapping of them by name.
    """
    if isinstance(example, Mapping):
        return model(**example)
    return model(*example) if isinstance(example, tuple | list) else model(example)


def batch_of(example: Any) -> int:
    """How many samples an example holds: the first axis of its first tensor.

    Raises:
        ValueError: if it holds none.
    """
    tensors = tensors_of(example)
    if not tensors or tensors[0].ndim == 0 or len(tensors[0]) == 0:
        raise ValueError(
            "the example holds no sample: pass a batch as the model takes it, such as "
            "torch.randn(32, 784), a tuple of arguments, or a dict of them by name"
        )
    return len(tensors[0])


def resized(example: Any, batch: int) -> Any:
    """The example with another number of samples, its own over and over."""
    count = batch_of(example)

    def change(value: Any) -> Any:
        if isinstance(value, Tensor):
            if value.ndim == 0 or len(value) != count:
                return value
            return value[torch.arange(batch, device=value.device) % count]
        if isinstance(value, Mapping):
            return {key: change(part) for key, part in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(change, value))
        return type(value)(map(change, value)) if isinstance(value, tuple | list) else value

    return example if batch == count else change(example)


def inputs_of_layers(
    model: nn.Module, layers: Mapping[str, nn.Module], example: Any
) -> dict[str, Counter[Given]]:
    """What one pass of the model gives its layers, and how often.

    No hooks are used: some modules take another way where there are any.

    Args:
        model: any network; it is as it was afterwards.
        layers: of it, which have no forward of their own.
        example: see `called`.

    Returns:
        Layer -> inputs; without the layers that the pass does not call.

    Raises:
        ValueError: if the model does not take the example.
    """
    seen: dict[str, Counter[Given]] = {}

    def watch(name: str, layer: nn.Module) -> None:
        compute = layer.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            seen.setdefault(name, Counter())[Given.of(first_input(args, kwargs))] += 1
            return compute(*args, **kwargs)

        layer.forward = forward

    with evaluating(model), _restored(layers):
        for name, layer in layers.items():
            watch(name, layer)
        try:
            called(model, example)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors_of(example))
            said = str(error).partition("\n")[0]
            raise ValueError(
                f"the {type(model).__name__} does not take the example ({shapes}): {said}"
            ) from error
    return seen


@contextmanager
def _restored(layers: Mapping[str, nn.Module]) -> Iterator[None]:
    """Their own class's forward again at the end of the block."""
    try:
        yield
    finally:
        for layer in layers.values():
            vars(layer).pop("forward", None)
