"""Columns of a weight that few bits cost most, and the solution with these kept at 16 bits.

Pure functions on tensors. A column j of a weight W (m, n) on its grid Q costs the layer's outputs
H_jj ||W_:j - Q_:j||^2, with H the second moment of its inputs, and more if it makes the grid wide.
Without those that cost most the grid is finer, and what they are set to makes up for what the
rounding of the others does.

Source: Lee et al. 2023 (OWQ), eq. 4, https://arxiv.org/abs/2306.02272; Dettmers et al. 2022
(LLM.int8()), https://arxiv.org/abs/2208.07339
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from boildown.quantize.grid import Grid
from boildown.quantize.reconstruct import nearest, row_errors


def column_costs(weight: Tensor, on_grid: Callable[[Tensor], Tensor], second: Tensor) -> Tensor:
    """What each column costs the outputs, relative to their mean square, (n,).

    Its own rounding, and where it has a row's largest entry, what the row's others would gain from
    the grid that suits them without it: the largest entry itself often lies on the grid.

    Args:
        weight: (m, n).
        on_grid: such a matrix -> its values on the grid that suits it.
        second: (n, n), the second moment of the inputs.
    """
    power = ((weight @ second) * weight).sum()
    if power <= 0.0:
        return torch.zeros_like(weight[0])
    inputs = second.diagonal()
    lost = (weight - on_grid(weight)).square() * inputs
    largest = weight.abs().argmax(1, keepdim=True)
    others = weight.scatter(1, largest, 0.0)
    finer = ((others - on_grid(others)).square() * inputs).sum(1)
    gain = (lost.scatter(1, largest, 0.0).sum(1) - finer).clamp(min=0.0)
    return lost.sum(0).index_add_(0, largest[:, 0], gain) / power


def dearest(
    costs: Mapping[str, Tensor], outputs: Mapping[str, int], fraction: float
) -> dict[str, list[int]]:
    """The columns of several weights that cost most for the bytes that they take.

    Args:
        costs: weight -> cost of each column, (n,).
        outputs: weight -> entries of a column, which it takes 16 bits for.
        fraction: of all entries of the weights that may be in them.

    Returns:
        Weight -> columns, ascending, at most half of each weight's; left out if there are none.
    """
    total = sum(outputs[name] * len(cost) for name, cost in costs.items())
    left = fraction * total * (1.0 + 1e-12)
    candidates = []
    for name, cost in costs.items():
        best = cost.argsort(descending=True, stable=True)[: len(cost) // 2].tolist()
        candidates += [(float(cost[j]) / outputs[name], name, j) for j in best if cost[j] > 0.0]
    found: dict[str, list[int]] = {}
    for _, name, column in sorted(candidates, key=lambda one: -one[0]):
        if outputs[name] <= left:
            left -= outputs[name]
            found.setdefault(name, []).append(column)
    return {name: sorted(columns) for name, columns in found.items()}


def solve_apart(
    codes_of: Callable[[Tensor, Tensor, Tensor, Grid], Tensor],
    exact: Tensor,
    wanted: Tensor,
    second: Tensor,
    grids: Sequence[Grid],
    parts: tuple[Tensor, Tensor],
) -> Tensor:
    """The best weight whose rest lies on a grid and whose other columns are free.

    With R the rest and O the others, O = W_O + (W_R - R) H_RO H_OO^-1 is best for any R. What R
    then costs is that of the second moment H_RR - H_RO H_OO^-1 H_OR, with which its codes are
    sought. On one of the grids nearest values cost no more than with all columns on it, but for
    entries of O that stay zero.

    Args:
        codes_of: exact and wanted rest, second moment and grid -> codes.
        exact: (m, n), the weight, whose zeros stay.
        wanted: (m, n), what is best for what the layer gets now.
        second: (n, n), positive definite.
        grids: for the rest, a step for each of its (m, n - k) entries; that on which nearest values
            cost least is taken.
        parts: the rest's columns, (n - k,), and the others', (k,).

    Returns:
        (m, n), the others rounded to 16 bits.
    """
    rest, few = parts
    across = second[few][:, rest]
    carry = torch.linalg.solve(second[few][:, few], across).mT  # (n - k, k)
    reduced = second[rest][:, rest] - carry @ across
    weight, best = exact[:, rest], wanted[:, rest]

    def cost(grid: Grid) -> float:
        values = grid.values(nearest(weight, reduced, grid, weight != 0.0).codes)
        return float(row_errors(best, values, reduced).sum())

    grid = min(grids, key=cost)
    found = torch.empty_like(wanted)
    found[:, rest] = grid.values(codes_of(weight, best, reduced, grid))
    others = wanted[:, few] + (best - found[:, rest]) @ carry
    found[:, few] = torch.where(exact[:, few] != 0.0, sixteen_bits(others), 0.0)
    return found


def sixteen_bits(values: Tensor) -> Tensor:
    """Values as float16 has them, or bfloat16 where that is nearer, as for very small ones."""
    ways = [values.to(kind).to(values.dtype) for kind in (torch.float16, torch.bfloat16)]
    return min(ways, key=lambda way: float((way - values).square().sum()))
