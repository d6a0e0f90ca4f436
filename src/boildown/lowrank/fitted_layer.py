"""One layer of a trained network, and what it may be replaced by at each rank."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from boildown.calibrate.moments import Moments, moments_of
from boildown.calibrate.samples import Samples
from boildown.lowrank import scheme as of
from boildown.lowrank import separable
from boildown.lowrank.activation import regressed, whitened
from boildown.lowrank.factored_layer import layers
from boildown.lowrank.form import output_form
from boildown.lowrank.relu import ITERATIONS, PENALTIES, through_relu_ranks
from boildown.lowrank.scheme import Scheme
from boildown.lowrank.svd import Factors, decompose, svd_flops

Method = Literal["relu", "activation", "plain"]

EXACT = 1e-4  # fraction of the outputs' variance, below which the ReLU changes nothing

Part = tuple[Factors, Tensor | None]
"""The factors and the bias of one group of a layer."""


@dataclass(frozen=True)
class Solution:
    """The factors of each group of a layer, and the whole layer's bias."""

    factors: tuple[Factors, ...]
    bias: Tensor | None


@dataclass(frozen=True)
class Dense:
    """Another weight and bias of a layer."""

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class Way:
    """How a layer is fitted.

    Attributes:
        damping: see `boildown.lowrank.activation.whitened`.
        floor: of the form of the outputs, see `boildown.lowrank.form.output_form`; None
            for outputs that all count alike.
    """

    damping: float | None = None
    floor: float | None = None


# Candidates; chosen by held-out error.
DAMPINGS = (None, 0.3, 0.7, 1.0)  # the last is the plain truncation, with a fitted bias
FLOORS = (0.3, 5.0)


class FittedLayer:
    """A layer as one matrix per group, its calibration rows, and its solutions."""

    def __init__(self, module: nn.Module, scheme: Scheme, seen: Samples, relu: bool) -> None:
        self.module = module
        self.scheme = scheme
        self.seen = seen
        self.relu = relu
        self.groups = int(getattr(module, "groups", 1))
        layer = cast("nn.Linear", module)
        self.weight = of.matrices(layer.weight.detach(), scheme, self.groups)
        self.bias = None if layer.bias is None else layer.bias.detach()
        self.dense = of.dense_parameters(module)
        self.highest = of.break_even(module, scheme)
        self.spectra = [decompose(matrix) for matrix in self.weight]
        self.gradients = [Moments() for _ in range(self.groups)]

    def parameters(self, rank: int) -> int:
        return of.parameters(self.module, self.scheme, rank)

    def parameters_of(self, rank: int | None, outputs: int, inputs: int) -> int:
        """Parameters at a rank, None for the dense layer, of other numbers of outputs and inputs.

        The inputs are those of one group.
        """
        own = self.module.get_parameter("weight").shape
        bias = 0 if self.bias is None else outputs
        if rank is None:
            return outputs * inputs * math.prod(own[2:]) + bias
        m, n = self.weight.shape[1:]
        rows, columns = m * self.groups // own[0], n * self.groups // own[1]
        return rank * (rows * outputs + columns * inputs) + bias

    def solve(
        self,
        method: Method,
        ranks: Sequence[int],
        seen: Samples,
        way: Way,
        *,
        asymmetric: bool,
    ) -> dict[int, Solution]:
        """Solutions of several ranks on these rows."""
        biases: Sequence[Tensor | None] = [None] * self.groups
        if self.bias is not None:
            biases = list(self.bias.unflatten(0, (self.groups, -1)))
        solved = []
        for g, bias in enumerate(biases):
            x, y = seen.inputs[g], seen.outputs[g] if asymmetric else None
            solved.append(self._solve(g, bias, method, ranks, x, y, way))
        return {rank: self._joined([each[rank] for each in solved]) for rank in ranks}

    def _solve(
        self,
        group: int,
        bias: Tensor | None,
        method: Method,
        ranks: Sequence[int],
        x: Tensor,
        y: Tensor | None,
        way: Way,
    ) -> dict[int, Part]:
        """One group's; y are the outputs to reproduce, None for those of these x."""
        weight, relu = self.weight[group], method == "relu" and self.relu
        if method == "plain":
            return {rank: (self.spectra[group].truncate(rank), bias) for rank in ranks}
        form = None if way.floor is None else output_form(self.gradients[group], way.floor)
        if self.scheme == "spatial":
            kernel = of.fold(weight[None], self.scheme, self._shape())
            found = separable.separable_ranks(
                kernel, bias, x, ranks, relu=relu, targets=y, damping=way.damping, form=form
            )
            return {rank: (layer.factors, layer.bias) for rank, layer in found.items()}
        if y is None:
            every = whitened(weight, bias, moments_of(x), damping=way.damping, form=form)
        else:
            every = regressed(weight, bias, x, y, damping=way.damping, form=form)
        solutions = {rank: every.truncate(rank) for rank in ranks}
        if relu:
            tails = every.tails()
            coarse = [rank for rank in ranks if tails[rank] > EXACT * tails[0]]
            found = through_relu_ranks(
                weight, bias, x, coarse, targets=y, damping=way.damping, form=form
            )
            solutions |= {rank: (layer.factors, layer.bias) for rank, layer in found.items()}
        return solutions

    def _shape(self) -> tuple[int, ...]:
        """Of the kernel of one group."""
        outputs, *rest = self.module.get_parameter("weight").shape
        return outputs // self.groups, *rest

    def _applied(self, factors: Factors, x: Tensor) -> Tensor:
        """(rows, m) of (rows, n), without the bias."""
        if self.scheme != "spatial":
            return x @ factors.v @ factors.u.mT
        kernel = of.fold(factors.product()[None], self.scheme, self._shape())
        return x @ kernel.flatten(1).mT.to(x.dtype)

    def outputs(self, solution: Solution, inputs: Tensor) -> Tensor:
        """(groups, rows, m) of (groups, rows, n)."""
        pairs = zip(solution.factors, inputs, strict=True)
        outputs = torch.stack([self._applied(factors, x) for factors, x in pairs])
        if solution.bias is not None:
            outputs += solution.bias.unflatten(0, (self.groups, 1, -1))
        return outputs

    def _joined(self, parts: Sequence[Part]) -> Solution:
        biases = [bias for _, bias in parts if bias is not None]
        return Solution(tuple(f for f, _ in parts), torch.cat(biases) if biases else None)

    def product(self, solution: Solution | Dense) -> Tensor:
        """The weight, which factors stand for."""
        if isinstance(solution, Dense):
            return solution.weight
        weight = cast("nn.Linear", self.module).weight
        products = torch.stack([f.product() for f in solution.factors])
        return of.fold(products, self.scheme, weight.shape)

    def build(self, solution: Solution) -> nn.Sequential:
        return layers(self.module, self.scheme, solution.factors, solution.bias)

    def solve_flops(self, method: Method, ranks: Sequence[int], rows: int) -> int:
        """About what the solutions cost."""
        m, n = self.weight.shape[1:]
        if method == "plain":
            return 0
        fit = 2 * rows * n * n + svd_flops(m, n)
        relu = method == "relu" and self.relu
        if self.scheme == "spatial":
            m, n = self.module.get_parameter("weight").flatten(1).shape
            steps = (1 + len(PENALTIES) * relu) * separable.ITERATIONS
            fit += steps * len(ranks) * rows * 4 * m // self.groups * n
        elif relu:  # at most: high ranks take no iterations
            fit += len(PENALTIES) * ITERATIONS * 5 * rows * sum(ranks) * (m + n)
        return self.groups * fit
