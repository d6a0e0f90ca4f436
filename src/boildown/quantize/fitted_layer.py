"""One layer put on its grid, fitted to what it put out before anything was quantized."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from boildown.calibrate.moments import PairedMoments, damped, shrunk
from boildown.quantize.grid import Grid, spread
from boildown.quantize.outliers import solve_apart
from boildown.quantize.reconstruct import Method, nearest, row_errors
from boildown.quantize.split_layer import parts_of

DAMPING = 0.01  # of the inputs' covariance, as GPTQ


class FittedLayer:
    """A layer that is to be put on a grid, and what it sees.

    Args:
        layer: a Linear or Conv2d.
        moments: one for each of its groups.
        grid: of its weight's blocks.
        method: how.
        outliers: columns that take no part in the grid, of a Linear.
        without: a grid of the blocks of the other columns.

    Attributes:
        flops: spent on solutions.
    """

    def __init__(
        self,
        layer: nn.Module,
        moments: Sequence[PairedMoments],
        grid: Grid,
        method: Method,
        outliers: Sequence[int] = (),
        without: Grid | None = None,
    ) -> None:
        self.layer, self.moments, self.grid, self.method = layer, moments, grid, method
        self.outliers, self.without = outliers, without
        self.weight = layer.get_parameter("weight")
        bias = layer._parameters.get("bias")
        frozen = bias is not None and self.weight.requires_grad and not bias.requires_grad
        self.bias = None if frozen else bias
        self.flops = 0

    def solve(self) -> float:
        """Round the weight in place, let the bias make up; the relative error of the outputs."""
        matrix = self.weight.detach().double().flatten(1)
        grid = spread(self.grid, matrix.shape)
        wide = Grid(grid.scale.double(), grid.zero.double(), grid.low, grid.high)
        groups = len(self.moments)
        rows = matrix.shape[0] // groups
        lost, power, values, shifts = 0.0, 0.0, [], []
        for group, moments in enumerate(self.moments):
            own = slice(group * rows, (group + 1) * rows)
            part = Grid(wide.scale[own], wide.zero[own], wide.low, wide.high)
            exact = matrix[own]
            second, wanted = self._wanted(exact, moments)
            found = self._found(exact, wanted, second, part)
            values.append(found)
            new = found.double()
            shifts.append(exact @ moments.exact_mean - new @ moments.now.mean)
            error, size = self._errors(exact, new, moments)
            lost, power = lost + error, power + size
        self.weight.copy_(torch.cat(values).view_as(self.weight))
        if self.bias is not None:
            self.bias.add_(torch.cat(shifts).to(self.bias.dtype))
        return max(lost, 0.0) / power if power > 0.0 else 0.0

    def _found(self, exact: Tensor, wanted: Tensor, second: Tensor, grid: Grid) -> Tensor:
        """The new weight, (m, n) float32."""
        if self.without is None:
            single = Grid(grid.scale.float(), grid.zero.float(), grid.low, grid.high)
            return single.values(self._codes(exact, wanted, second, grid).float())
        rest, few = (part.to(exact.device) for part in parts_of(self.outliers, exact.shape[1]))
        own = spread(self.without, (len(exact), len(rest)))
        grids = [
            Grid(own.scale.double(), own.zero.double(), own.low, own.high),
            Grid(grid.scale[:, rest], grid.zero[:, rest], grid.low, grid.high),
        ]
        found = solve_apart(self._codes, exact, wanted, second, grids, (rest, few))
        n, k = exact.shape[1], len(few)
        self.flops += 2 * k * (k * n + n * n + len(exact) * n)
        return found.float()

    def _codes(self, exact: Tensor, wanted: Tensor, second: Tensor, grid: Grid) -> Tensor:
        """What the method finds, or for rows where these are better the weight's nearest values."""
        keep = exact != 0.0
        plain = nearest(exact, second, grid, keep).codes
        if self.method is nearest:
            return plain
        one = self.method(wanted, second, grid, keep)
        self.flops += one.flops
        errors = [row_errors(wanted, grid.values(each), second) for each in (one.codes, plain)]
        return torch.where((errors[0] <= errors[1])[:, None], one.codes, plain)

    def _wanted(self, exact: Tensor, moments: PairedMoments) -> tuple[Tensor, Tensor]:
        """The second moment of what the layer gets, and the weight that is best for that.

        With x before and z now, E||W x - Q z||^2 is E||(W' - Q) z||^2 and a constant for
        W' = W E[x z^T] E[z z^T]^-1: the asymmetric term of GPTAQ, exactly.

        Source: Li et al. 2025, https://arxiv.org/abs/2504.02692
        """
        covariance = moments.now.covariance()
        rho, variance = damped(covariance, moments.now.count, DAMPING)
        second = shrunk(covariance, rho, variance)
        drift = (1.0 - rho) * (moments.cross() - covariance)
        if self.bias is None:
            mean = moments.now.mean
            second += torch.outer(mean, mean)
            drift += torch.outer(moments.exact_mean - mean, mean)
        if not drift.any():
            return second, exact
        return second, exact + torch.linalg.solve(second, (exact @ drift).mT).mT

    def _errors(self, exact: Tensor, new: Tensor, moments: PairedMoments) -> tuple[float, float]:
        """Sums over the outputs: of the squared errors, and of what they are relative to."""
        cross, now, power = moments.cross(), moments.now.covariance(), moments.output_variance()
        size = float(power.sum())
        lost = size - 2.0 * float(((exact @ cross) * new).sum())
        lost += float(((new @ now) * new).sum())
        if self.bias is None:
            means = exact @ moments.exact_mean, new @ moments.now.mean
            lost += float((means[0] - means[1]).square().sum())
            size += float(means[0].square().sum())
        return lost, size
