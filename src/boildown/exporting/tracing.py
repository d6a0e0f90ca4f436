"""A network as one graph of operators, its grids of activations among them."""

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from boildown.forward import first_input
from boildown.quantize.activations import InputGrid, detach, grid_on
from boildown.quantize.grid import limits
from boildown.runtime.example import batch_of, resized
from boildown.runtime.layer import CompiledLayer

Rounded = Callable[[Tensor, float, int, int, int], Tensor]
"""Nearest values of a grid: of inputs, with its step, zero point, least and largest code."""


def traced(model: nn.Module, example: Any, rounded: Rounded) -> ExportedProgram:
    """The graph of a network in evaluation mode, for any number of samples.

    Args:
        model: any network on the CPU; it is not touched.
        example: a batch of its input, a tuple or list of its arguments, or a mapping of them.
        rounded: what stands for a grid of activations.

    Raises:
        ValueError: if the network is compiled, does not take the example, or does what
            torch.export cannot follow, naming it.
    """
    for name, part in model.named_modules():
        if isinstance(part, CompiledLayer):
            raise ValueError(f"{name or 'the model'} is compiled: export the plain model")
    plain = _with_plain_grids(model, rounded)
    count, batch = batch_of(example), Dim("batch")

    def free(value: Any) -> Any:
        there = isinstance(value, Tensor) and value.ndim > 0 and len(value) == count
        return {0: batch} if there else None

    args, kwargs = arguments(example)
    by_name = {name: pytree.tree_map(free, value) for name, value in kwargs.items()}
    shapes: Any = by_name or tuple(pytree.tree_map(free, value) for value in args)
    args, kwargs = arguments(resized(example, 2))  # few: torch.export.save keeps them in the file
    try:
        with torch.no_grad():
            return torch.export.export(plain, args, kwargs or None, dynamic_shapes=shapes)
    except Exception as error:  # whatever the network does is tried
        said = next(
            (line for line in str(error).splitlines() if line.strip()), type(error).__name__
        )
        raise ValueError(
            f"torch.export cannot follow the {type(model).__name__}: {said.strip()}"
        ) from error


def arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """An example as what a network is called with, by position and by name."""
    if isinstance(example, Mapping):
        return (), dict(example)
    return (tuple(example) if isinstance(example, tuple | list) else (example,)), {}


def _with_plain_grids(model: nn.Module, rounded: Rounded) -> nn.Module:
    """A copy in evaluation mode whose inputs are rounded by operators of a graph."""
    made = copy.deepcopy(model).eval().requires_grad_(False)
    for layer in made.modules():
        grid = grid_on(layer)
        if grid is not None:
            detach(layer)
            layer.register_forward_pre_hook(_PlainGrid(grid, rounded), with_kwargs=True)
    return made


class _PlainGrid:
    """A forward pre-hook that rounds a layer's first input by given operators."""

    def __init__(self, grid: InputGrid, rounded: Rounded) -> None:
        self.rounded = rounded
        self.numbers = float(grid.step.detach()), grid.zero, *limits(grid.bits, signed=False)

    def __call__(
        self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        seen = self.rounded(first_input(args, kwargs), *self.numbers)
        if args:
            return (seen, *args[1:]), kwargs
        return args, {**kwargs, next(iter(kwargs)): seen}


def layer_of(program: ExportedProgram, message: str) -> str:
    """The layer whose operator an error's message names; "" if it names none."""
    named = re.search(r"torch\.ops\.\w+\.(\w+)", message)
    for node in program.graph.nodes:
        if named and node.op == "call_function" and named[1] in str(node.target):
            stack = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
            return str(stack[-1]) if stack else ""
    return ""
