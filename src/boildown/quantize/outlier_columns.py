"""Which columns of a network's linear layers keep 16 bits, by what their layers get as inputs."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from boildown.calibrate.grams import input_moments
from boildown.lowrank.factorize import factorisable, refused
from boildown.quantize.activations import grid_on
from boildown.quantize.outliers import column_costs, dearest


class Columns(NamedTuple):
    """What was chosen.

    Attributes:
        columns: weight -> columns, ascending.
        refused: weight -> why it has none.
        passes: of all batches that were needed, one for each weight that can have some.
    """

    columns: dict[str, list[int]]
    refused: dict[str, str]
    passes: int


def columns_apart(
    model: nn.Module,
    batches: Sequence[Tensor],
    layers: Mapping[str, tuple[str, nn.Module]],
    on_grid: Callable[[str, Tensor], Tensor],
    fraction: float,
) -> Columns:
    """The columns that few bits cost most for the bytes that they take.

    Args:
        model: takes a batch of inputs alone; nothing of it is quantized yet.
        batches: of calibration.
        layers: weight -> the path and the layer that has it, which the batches reach.
        on_grid: a weight by name -> its values on its grid.
        fraction: of the entries of the weights that can have some, see `dearest`.

    Raises:
        CalibrationError: as `boildown.calibrate.grams.input_moments`.
    """
    able, reasons = factorisable(model), refused(model)
    costs: dict[str, Tensor] = {}
    outputs: dict[str, int] = {}
    left: dict[str, str] = {}
    for name, (path, layer) in layers.items():
        if type(layer) is not nn.Linear:
            left[name] = f"only a Linear layer has such columns, no {type(layer).__name__}"
        elif path not in able:
            left[name] = reasons[path]
        elif grid_on(layer):
            left[name] = "the inputs of its layer have a grid"
        else:
            moments = input_moments(model, batches, path)[0]
            second = moments.second() if layer.bias is None else moments.covariance()
            weight = layer.weight.detach().double()
            costs[name] = column_costs(weight, partial(on_grid, name), second)
            outputs[name] = len(weight)
    columns = dearest(costs, outputs, fraction)
    if costs and not columns:
        left |= dict.fromkeys(costs, f"no column is as small as {fraction} of the weights")
    return Columns(columns, left, len(costs))
