"""Put a layer's weight on a grid so that its outputs change least: pure functions on matrices.

Each takes the weight W (m, n) that is wanted, the second moment H (n, n) of the layer's inputs, and
a grid with a step for each entry (`boildown.quantize.grid.spread`), and gives codes whose values Q
make the mean of ||(W - Q) x||^2 = tr((W - Q) H (W - Q)^T) small: for no row larger than the nearest
values do. An entry for which `keep` is False has the value 0, as what was pruned has.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from boildown.quantize.grid import Grid


class Solution(NamedTuple):
    """A weight on its grid.

    Attributes:
        codes: (m, n).
        flops: that they took to find, a multiply-add as two.
    """

    codes: Tensor
    flops: int


Method = Callable[[Tensor, Tensor, Grid, Tensor], Solution]
"""Weight (m, n), second moment (n, n), grid, keep (m, n) -> solution."""

Named = Literal["nearest", "gptq", "adaround"]

COLUMNS = 128  # after how many the columns behind them are brought up to date
SWEEPS = 8  # of the descent at most
STEPS = 300  # of AdaRound


def row_errors(weight: Tensor, values: Tensor, second: Tensor) -> Tensor:
    """The mean of ((w - q) x)^2 for each row, (m,).

    Args:
        weight: (m, n), what is wanted.
        values: (m, n), what there is.
        second: (n, n), the mean of x x^T.
    """
    lost = weight - values
    return ((lost @ second) * lost).sum(1)


def nearest(weight: Tensor, second: Tensor, grid: Grid, keep: Tensor) -> Solution:
    """Each weight's nearest value, whatever the inputs are."""
    return Solution(_nearest(weight, grid, keep), 0)


def _nearest(weight: Tensor, grid: Grid, keep: Tensor) -> Tensor:
    return torch.where(keep, grid.codes(weight), grid.zero)


def gptq(weight: Tensor, second: Tensor, grid: Grid, keep: Tensor) -> Solution:
    """Round column after column; the columns not yet rounded make up for each at once.

    Those with the largest inputs first. The factor U of H^-1 = U^T U has in row j what the columns
    behind j must change by for an error in j. A descent from what is found ends it.

    Source: Frantar et al. 2022, algorithm 1, https://arxiv.org/abs/2210.17323
    """
    order = second.diagonal().argsort(descending=True, stable=True)
    now = weight[:, order]
    ordered = Grid(grid.scale[:, order], grid.zero[:, order], grid.low, grid.high)
    kept = keep[:, order]
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(second[order][:, order]))
    upper = torch.linalg.cholesky(inverse, upper=True)
    codes = torch.empty_like(now)
    n = now.shape[1]
    for start in range(0, n, COLUMNS):
        end = min(start + COLUMNS, n)
        errors = torch.zeros_like(now[:, start:end])
        for j in range(start, end):
            column = _columns(ordered, slice(j, j + 1))
            codes[:, j : j + 1] = _nearest(now[:, j : j + 1], column, kept[:, j : j + 1])
            lost = (now[:, j] - column.values(codes[:, j : j + 1])[:, 0]) / upper[j, j]
            errors[:, j - start] = lost
            now[:, j + 1 : end] -= torch.outer(lost, upper[j, j + 1 : end])
        now[:, end:] -= errors @ upper[start:end, end:]
    found = torch.empty_like(codes)
    found[:, order] = codes
    ended = descend(weight, second, grid, keep, found)
    return Solution(ended.codes, ended.flops + n * n * (2 * n + 2 * len(weight)))


def adaround(weight: Tensor, second: Tensor, grid: Grid, keep: Tensor) -> Solution:
    """Learn for each weight whether it goes up or down, by the layer's error and a regulariser.

    h = clip(1.2 sigmoid(v) - 0.1, 0, 1) of the way up, with sum(1 - |2 h - 1|^b) added, whose b
    falls from 20 to 2 so that every h ends at 0 or 1. The error is that of the second moment, no
    sample is needed. A descent from what is found ends it.

    Source: Nagel et al. 2020, eq. 21 to 24, https://arxiv.org/abs/2004.10568
    """
    exact, gram = weight.float(), second.float()
    scale = grid.scale.float()
    at = exact / scale + grid.zero.float()
    down = at.floor().clamp(grid.low, grid.high - 1)
    inside = keep & (at > grid.low) & (at < grid.high)
    start = _nearest(weight, grid, keep)
    size = row_errors(exact, grid.values(start).float(), gram)[:, None].clamp(min=1e-30)
    pull = exact.shape[1] / size * scale  # so that a weight's share of the error is about 1
    part = (at - down).clamp(0.01, 0.99)
    logit = ((part + 0.1) / (1.1 - part)).log_()
    first, square = torch.zeros_like(logit), torch.zeros_like(logit)
    fixed = torch.where(inside, 0.0, grid.values(start).float())
    for step in range(STEPS):
        soft = logit.sigmoid()
        up = (1.2 * soft - 0.1).clamp_(0.0, 1.0)
        seen = torch.where(inside, (down + up - grid.zero) * scale, fixed).float()
        slope = 2.0 * ((seen - exact) @ gram) * pull + _regular(up, step / STEPS)
        slope *= 1.2 * soft * (1.0 - soft) * ((up > 0.0) & (up < 1.0))
        first.lerp_(slope, 0.1)
        square.lerp_(slope.square(), 0.01)
        size_now = (square / (1.0 - 0.99 ** (step + 1))).sqrt_().add_(1e-8)
        logit -= RATE * first / (1.0 - 0.9 ** (step + 1)) / size_now
    found = torch.where(inside, (down + (logit > 0.0)).to(start.dtype), start)
    ended = descend(weight, second, grid, keep, found)
    return Solution(ended.codes, ended.flops + 2 * STEPS * len(exact) * len(gram) ** 2)


RATE = 0.05  # of Adam
WARM = 0.2  # of the steps, in which nothing draws weights to either side
WEIGHT = 0.3  # of the regulariser


def _regular(up: Tensor, progress: float) -> Tensor:
    """The gradient of what draws each weight to either side."""
    if progress < WARM:
        return torch.zeros_like(up)
    power = 2.0 + 9.0 * (1.0 + torch.cos(torch.tensor(torch.pi * (progress - WARM) / (1.0 - WARM))))
    side = 2.0 * up - 1.0
    return -WEIGHT * 2.0 * power * side.abs().pow(power - 1.0) * side.sign()


def descend(weight: Tensor, second: Tensor, grid: Grid, keep: Tensor, codes: Tensor) -> Solution:
    """Move one weight after the other to its best value given all others, until none moves.

    Each row begins at the given codes, or at the nearest if these have the smaller error, and the
    error of no row ever rises.

    Args:
        weight: (m, n), what is wanted.
        second: (n, n).
        grid: see above.
        keep: see above.
        codes: (m, n) to begin at.

    Source: Behdin et al. 2023 (QuantEase), algorithm 1, https://arxiv.org/abs/2309.01885
    """
    plain = _nearest(weight, grid, keep)
    errors = [row_errors(weight, grid.values(each), second) for each in (codes, plain)]
    codes = torch.where((errors[0] <= errors[1])[:, None], codes, plain)
    now = grid.values(codes)
    slope, sizes = (now - weight) @ second, second.diagonal()
    n = weight.shape[1]
    sweeps, moved = 0, True
    while moved and sweeps < SWEEPS:
        sweeps, moved = sweeps + 1, False
        for start in range(0, n, COLUMNS):
            end = min(start + COLUMNS, n)
            before = now[:, start:end].clone()
            for j in range(start, end):
                column = _columns(grid, slice(j, j + 1))
                best = (now[:, j] - slope[:, j] / sizes[j])[:, None]
                value = column.values(_nearest(best, column, keep[:, j : j + 1]))[:, 0]
                slope[:, start:end] += torch.outer(value - now[:, j], second[j, start:end])
                now[:, j] = value
            step = now[:, start:end] - before
            if step.any():
                moved = True
                slope[:, end:] += step @ second[start:end, end:]
                slope[:, :start] += step @ second[start:end, :start]
    return Solution(grid.codes(now), 2 * (3 + sweeps) * len(weight) * n * n)


def _columns(grid: Grid, which: slice) -> Grid:
    return Grid(grid.scale[:, which], grid.zero[:, which], grid.low, grid.high)


METHODS: dict[str, Method] = {"nearest": nearest, "gptq": gptq, "adaround": adaround}


def method_named(method: Named, where: str) -> Method:
    """The method of a name.

    Raises:
        ValueError: if there is none.
    """
    if method not in METHODS:
        raise ValueError(f"{where} must be one of {', '.join(METHODS)}, got {method!r}")
    return METHODS[method]
