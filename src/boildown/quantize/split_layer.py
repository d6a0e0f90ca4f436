"""A linear layer as two products: a few columns with 16 bits, the rest with few; made, and told."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from boildown.structure.replace import noted, replaced

KEY = "outliers"  # of an entry of a structure


class SplitLinear(nn.Module):
    """y = R x_rest + O x_outliers + b, in place of a linear layer.

    Args:
        layer: whose sizes, device, dtype, mode and whether it is trained are taken.
        columns: of its weight, (k,) ascending, those of O; at least one, and not all.

    Attributes:
        rest: the layer of the other columns, (m, n - k), with the bias.
        outliers: that of the columns, (m, k), without.

    Raises:
        ValueError: for columns that the layer does not have, or no plain linear layer.
    """

    def __init__(self, layer: nn.Module, columns: Sequence[int]) -> None:
        super().__init__()
        if type(layer) is not nn.Linear:
            raise ValueError(
                f"only a Linear layer has columns of outliers, no {type(layer).__name__}"
            )
        _check_columns(columns, layer.in_features)
        self.columns = tuple(columns)
        inputs, outputs, few = layer.in_features, layer.out_features, len(columns)
        at: dict[str, Any] = {"device": layer.weight.device, "dtype": layer.weight.dtype}
        self.rest = nn.Linear(inputs - few, outputs, bias=layer.bias is not None, **at)
        self.outliers = nn.Linear(few, outputs, bias=False, **at)
        for part in (self.rest, self.outliers):
            part.weight.requires_grad_(layer.weight.requires_grad)
        if layer.bias is not None:
            self.rest.bias.requires_grad_(layer.bias.requires_grad)
        self._parts = parts_of(columns, inputs)  # no buffers, which the meta device would blank
        self.train(layer.training)

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., n) -> (..., m)."""
        if self._parts[0].device != inputs.device:
            self._parts = tuple(part.to(inputs.device) for part in self._parts)
        rest, few = (inputs.index_select(-1, part) for part in self._parts)
        made: Tensor = self.outliers(few)
        return made.add_(self.rest(rest))  # a third tensor of this size would take its time

    def extra_repr(self) -> str:
        return f"columns={list(self.columns)}"


def parts_of(columns: Sequence[int], inputs: int) -> tuple[Tensor, ...]:
    """The other columns of so many (n - k,), and the columns (k,), on the CPU."""
    apart = set(columns)
    others = [column for column in range(inputs) if column not in apart]
    return torch.tensor(others, device="cpu"), torch.tensor(list(columns), device="cpu")


def split(model: nn.Module, columns: Mapping[str, Sequence[int]]) -> nn.Module:
    """A copy of a network with two products in place of some linear layers; it computes the same.

    Args:
        model: any network; it is not touched.
        columns: dotted path of a Linear -> the columns of its weight that are a layer of their own,
            ascending. None: the network itself.

    Raises:
        ValueError: naming the layer, if it is none or has no such columns.
    """
    if not columns:
        return model
    built: dict[str, nn.Module] = {}
    for name, own in columns.items():
        layer = model.get_submodule(name)
        try:
            made = SplitLinear(layer, own)
        except ValueError as error:
            raise ValueError(f"{name or 'the network'}: {error}") from None
        with torch.no_grad():
            weight = layer.get_parameter("weight")
            others, few = (part.to(weight.device) for part in parts_of(own, weight.shape[1]))
            if not weight.is_meta:
                made.rest.weight.copy_(weight[:, others])
                made.outliers.weight.copy_(weight[:, few])
                if made.rest.bias is not None:
                    made.rest.bias.copy_(layer.get_parameter("bias"))
        noted(made, layer, **{KEY: list(own)})
        built[name] = made
    return replaced(model, built)


def split_again(model: nn.Module, entries: Mapping[str, Any]) -> nn.Module:
    """A network split as entries of a structure tell; they may come from an untrusted file.

    Raises:
        ValueError: naming the layer, if it is not there, none, or the entry tells no columns of it.
    """
    modules = dict(model.named_modules())
    for name in entries:
        if name not in modules:
            raise ValueError(f"structure: there is no layer {name!r}")
    return split(model, entries)


def _check_columns(columns: Any, inputs: int) -> None:
    whole = isinstance(columns, list | tuple) and all(type(column) is int for column in columns)
    ordered = whole and list(columns) == sorted(set(columns))
    if not ordered or not 1 <= len(columns) < inputs or columns[0] < 0 or columns[-1] >= inputs:
        raise ValueError(
            f"columns of outliers must be some of 0 to {inputs - 1}, ascending, and not all, "
            f"got {columns!r}"
        )
