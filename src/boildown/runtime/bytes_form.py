"""Linear layers whose weights alone lie on grids: bytes from memory, floats in the registers.

One sample's product is bound by what the weight takes in memory, a quarter of fp32's.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from boildown.quantize.activations import InputGrid
from boildown.quantize.integers import Integers
from boildown.runtime.forms import Form


class Bytes(Form):
    """A weight as bytes with a step for each group of inputs, row by row of the input.

    Attributes:
        codes: int8, (outputs, inputs).
        steps: (outputs, groups).
    """

    codes: Tensor
    steps: Tensor

    def __init__(self, integers: Integers, grid: InputGrid | None = None) -> None:
        """With what the layer rounds its inputs to, if it does."""
        super().__init__(None)
        self.grid = grid
        self.keep(codes=integers.codes, steps=integers.steps.contiguous())

    def forward(self, inputs: Tensor, bias: Tensor | None, columns: int) -> Tensor:
        if self.grid is not None:
            inputs = self.grid.plainly(inputs)
        outputs, across = self.codes.shape
        made = inputs.new_empty(*inputs.shape[:-1], outputs)
        rows = inputs.detach().reshape(-1, across).numpy()
        _multiply(rows, self.codes.numpy(), self.steps.numpy(), made.view(-1, outputs).numpy())
        return made if bias is None else made.add_(bias)

    def dense(self) -> Tensor:
        by_group = self.codes.view(*self.steps.shape, -1).float()
        return (by_group * self.steps[..., None]).view(self.codes.shape)


@njit(cache=True, nogil=True, fastmath=True)
def _multiply(
    rows: NDArray[Any], codes: NDArray[Any], steps: NDArray[Any], made: NDArray[Any]
) -> None:
    """Products of rows (n, inputs) and codes (outputs, inputs), into (n, outputs)."""
    groups = steps.shape[1]
    size = codes.shape[1] // groups
    for row in range(len(rows)):
        for out in range(len(codes)):
            total = np.float32(0.0)
            for group in range(groups):
                start = group * size
                own, given = codes[out, start : start + size], rows[row, start : start + size]
                part = np.float32(0.0)
                for place in range(size):
                    part += np.float32(own[place]) * given[place]
                total += part * steps[out, group]
            made[row, out] = total


def bytes_form(
    integers: Integers | None, weight: Tensor, grid: InputGrid | None = None
) -> Bytes | None:
    """The form of a Linear whose weight is on a grid without zero points, on the CPU; else None."""
    if integers is None or integers.zeros.any() or weight.device.type != "cpu":
        return None
    return Bytes(integers, grid) if weight.ndim == 2 else None
