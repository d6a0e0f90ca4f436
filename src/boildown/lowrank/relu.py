"""Truncation that minimises the error behind a layer's ReLU: pure functions.

What a layer puts out below zero, the ReLU discards; an approximation that counts only what passes
it gets by with a lower rank. The problem

    minimise, over A of rank r and b,  mean over inputs of ||relu(y) - relu(A x + b)||^2

has no closed form. Zhang et al. 2015 split it with auxiliary outputs z and a penalty L,

    ||relu(y) - relu(z)||^2 + L ||z - A x - b||^2,

and alternate: z has a closed form for each element by itself, A and b are a reduced-rank regression
of z on x.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from boildown.calibrate.checks import check_layer, check_samples
from boildown.calibrate.moments import damped, form_root, moments_of, shrunk
from boildown.lowrank.activation import regressed, whitened
from boildown.lowrank.svd import Factors, balanced, check_rank

PENALTIES = (0.01, math.inf)
ITERATIONS = 25
UNGATED = 0.1  # of the form, kept where the ReLU passes nothing
ROWS = 4096  # at once in float64, where errors are measured


@dataclass(frozen=True)
class LowRankLayer:
    """A linear layer of a rank: x -> u v^T x + bias.

    Attributes:
        factors: u (m, r) and v (n, r), balanced.
        bias: (m,), None for a layer without one.
        error: mean over the calibration inputs of the squared distance to the targets' ReLU, in
            the form, as measured on these factors behind the ReLU.
        start: the same error of the activation-aware truncation it began with; never below `error`.
    """

    factors: Factors
    bias: Tensor | None
    error: float
    start: float


def through_relu_ranks(
    weight: Tensor,
    bias: Tensor | None,
    inputs: Tensor,
    ranks: Sequence[int],
    *,
    targets: Tensor | None = None,
    damping: float | None = None,
    form: Tensor | None = None,
    penalties: Sequence[float] = PENALTIES,
    iterations: int = ITERATIONS,
) -> dict[int, LowRankLayer]:
    """Approximations of a linear layer that a ReLU follows, of several ranks.

    Starts at the activation-aware truncation and keeps the best iterate, so it is never worse than
    that behind the ReLU; nor is a rank worse than a lower one of `ranks`. The map is fitted to the
    inputs directly and shrunk towards reproducing W x + b, so that a few hundred inputs do. Each
    step costs about 5 N r (m + n) operations; N m float32 numbers are held four times.

    Args:
        weight: (m, n) floats.
        bias: (m,), or None for a layer without one.
        inputs: (N, n), from the original network, or from one with earlier layers approximated.
        ranks: each from 1 to min(m, n).
        targets: (N, m), what the original layer put out before its ReLU; None for W x + b.
        damping: see `boildown.lowrank.activation.whitened`.
        form: (m, m) symmetric positive definite, what weighs the errors behind the ReLU; None for
            the identity. z ignores it; the regression weighs by its `gated_form`.
        penalties: L of the successive phases, rising. A finite one also draws outputs across zero;
            inf descends on the error itself (z = relu(y) where A x + b > 0, else A x + b).
        iterations: of each phase, at least 0.

    Returns:
        rank -> layer, in the weight's dtype.

    Raises:
        ValueError: for sizes that do not fit, values that are not finite or out of range.

    Source: Zhang, Zou, He & Sun 2015, sections 3.2 and 3.3, https://arxiv.org/abs/1505.06798
    """
    check_layer(weight, bias)
    check_samples(weight, inputs, targets)
    for rank in ranks:
        check_rank(rank, min(weight.shape))
    check_phases(penalties, iterations)
    given, targets = targets, outputs_of(inputs, weight, bias) if targets is None else targets
    problem = Problem(weight, bias, inputs, targets, damping, form)
    if given is None:
        fit = partial(whitened, weight, bias, moments_of(inputs), damping=damping)
    else:
        fit = partial(regressed, weight, bias, inputs, given, damping=damping)
    fits = [fit(form=each) for each in [problem.gated] + ([] if form is None else [form])]
    layers, below = dict[int, LowRankLayer](), None
    for rank in sorted(set(ranks)):
        layer = _best_from([fit.truncate(rank) for fit in fits], problem, penalties, iterations)
        layers[rank] = below = better(layer, below)
    return layers


def _best_from(
    truncated: Sequence[tuple[Factors, Tensor | None]],
    problem: "Problem",
    penalties: Sequence[float],
    iterations: int,
) -> LowRankLayer:
    """The best of some truncations and of what is found from the first of them."""

    def lost(factors: Factors, bias: Tensor | None) -> float:
        return output_error(factors, bias, problem.inputs, problem.targets, problem.form)

    errors = [lost(*one) for one in truncated]
    start = min(errors)
    layer = LowRankLayer(*truncated[errors.index(start)], start, start)
    for one in problem.solve(*truncated[0], penalties, iterations):
        error = lost(*one)
        if error < layer.error:
            layer = LowRankLayer(*one, error, start)
    return layer


def check_phases(penalties: Sequence[float], iterations: int) -> None:
    """Refuse phases that cannot be.

    Raises:
        ValueError: naming the value.
    """
    for penalty in penalties:
        if not penalty > 0.0:
            raise ValueError(f"penalties must be above 0, got {penalty!r}")
    if iterations < 0:
        raise ValueError(f"iterations must be at least 0, got {iterations!r}")


def output_error(
    factors: Factors,
    bias: Tensor | None,
    inputs: Tensor,
    targets: Tensor,
    form: Tensor | None = None,
    *,
    relu: bool = True,
) -> float:
    """Mean over the inputs of e^T Q e, e = relu(y) - relu(u v^T x + b), in float64.

    Args:
        factors: u (m, r) and v (n, r).
        bias: (m,) or None.
        inputs: (N, n) x.
        targets: (N, m) y, before the ReLU.
        form: (m, m) Q; None for the identity.
        relu: without it e = y - u v^T x - b.
    """
    u, v = factors.u.double(), factors.v.double()
    total = 0.0
    for x, y in zip(inputs.split(ROWS), targets.split(ROWS), strict=True):
        outputs = (x.double() @ v) @ u.mT
        if bias is not None:
            outputs += bias.double()
        missed = y.double()
        missed = outputs.relu_() - missed.relu() if relu else outputs - missed
        weighed = missed if form is None else missed @ form.double()
        total += float((weighed * missed).sum())
    return total / len(inputs)


@dataclass
class Problem:
    """What all ranks have in common: the inputs, what is to be put out, the factored form.

    The sums over inputs are made in float32 unless the inputs are float64; all that is conditioned
    on the inputs' covariance is float64.

    Args:
        weight: (m, n).
        bias: (m,) or None.
        inputs: (N, n).
        targets: (N, m), before the ReLU.
        damping: see `boildown.lowrank.activation.whitened`.
        form: (m, m), of the errors; None for the identity. `gated` is that of the regression.
        relu: whether a ReLU follows.
    """

    weight: Tensor
    bias: Tensor | None
    inputs: Tensor
    targets: Tensor
    damping: float | None
    form: Tensor | None
    relu: bool = True

    def __post_init__(self) -> None:
        inputs = self.inputs
        self.work = torch.float64 if inputs.dtype == torch.float64 else torch.float32
        self.matrix = self.weight.detach().double()
        x = inputs.detach().double()
        mean = x.mean(0)
        centred = x - mean
        covariance = centred.mT @ centred / len(x)
        self.rho, self.variance = damped(covariance, len(x), self.damping)
        second = shrunk(covariance, self.rho, self.variance)
        self.with_bias = self.bias is not None
        self.centre, self.mean = mean, torch.zeros_like(mean)  # taken off, left in
        if self.bias is None:
            self.centre, self.mean = self.mean, self.centre
            second = second + torch.outer(mean, mean)
        self.second, self.triangle = second, torch.linalg.cholesky(second)
        self.x = (centred if self.with_bias else x).to(self.work)
        self.y = self.targets.detach().to(self.work)
        self.goal = self.y.relu() if self.relu else self.y
        root = form_root(self.form, self.matrix)
        self.root = None if root is None else root.mT.to(self.work)
        self.gated = self.form
        if self.form is not None and self.relu:
            self.gated = gated_form(self.form, self.targets)
        self.gate = form_root(self.gated, self.matrix)

    def solve(
        self,
        factors: Factors,
        bias: Tensor | None,
        penalties: Sequence[float | None],
        iterations: int,
    ) -> list[tuple[Factors, Tensor | None]]:
        """The best iterate of each phase, as factors and bias; the phase None has no ReLU."""
        u, v = factors.u.double(), factors.v.double()
        offset = u @ (v.mT @ self.centre)
        if bias is not None:
            offset = offset + bias.double()
        found = []
        for penalty in penalties:
            least, best = math.inf, (u, v, offset)
            for step in range(iterations + 1):
                t = self._outputs(u, v, offset)
                error = self._error(t)
                if error < least:
                    least, best = error, (u, v, offset)
                if step < iterations:
                    z = self.y if penalty is None else auxiliary(t, self.goal, penalty)
                    u, v, offset = self.regress(z, v)
            found.append(best)
        return [self.finished(*best) for best in found]

    def _outputs(self, u: Tensor, v: Tensor, offset: Tensor) -> Tensor:
        m, n = self.weight.shape
        offset = offset.to(self.work)
        if u.shape[1] * (m + n) < m * n:
            return torch.addmm(offset, self.x @ v.to(self.work), u.mT.to(self.work))
        return torch.addmm(offset, self.x, (v @ u.mT).to(self.work))

    def _error(self, t: Tensor) -> float:
        missed = (t.relu() if self.relu else t) - self.goal
        if self.root is not None:
            missed = missed @ self.root
        return float(missed.square_().sum(dtype=torch.float64))

    def regress(self, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step of the reduced-rank regression of z on x: the best u for v, the best v for u.

        With D the damped cross moment of z and x and M the damped moment of x, the exact solution
        projects on the leading eigenvectors of D M^-1 D^T. This is a step of subspace iteration
        towards them from the last v, without forming D; z moves less from step to step.
        """
        each, own = (1.0 - self.rho) / len(z), self.rho * self.variance
        mean = z.mean(0, dtype=torch.float64)
        across = each * (z.mT @ (self.x @ v.to(self.work))).double() + own * (self.matrix @ v)
        across += self.rho * torch.outer(mean, self.mean @ v)
        if self.gate is None:
            u = left = torch.linalg.qr(across).Q
        else:
            basis = torch.linalg.qr(self.gate @ across).Q
            u = torch.linalg.solve_triangular(self.gate, basis, upper=True)
            left = self.gate.mT @ basis
        back = each * (self.x.mT @ (z @ left.to(self.work))).double()
        back += own * (self.matrix.mT @ left) + self.rho * torch.outer(self.mean, mean @ left)
        offset = mean if self.with_bias else torch.zeros_like(mean)
        return u, torch.cholesky_solve(back, self.triangle), offset

    def finished(self, u: Tensor, v: Tensor, offset: Tensor) -> tuple[Factors, Tensor | None]:
        """Balanced factors and the bias, in the weight's dtype."""
        factors = balanced(u, v)
        dtype = self.weight.dtype
        return Factors(factors.u.to(dtype), factors.v.to(dtype)), self.intercept(u, v, offset)

    def intercept(self, u: Tensor, v: Tensor, offset: Tensor) -> Tensor | None:
        """That of a layer whose outputs are u v^T x + offset of centred inputs."""
        return (offset - u @ (v.mT @ self.centre)).to(self.weight.dtype) if self.with_bias else None


def auxiliary(t: Tensor, goal: Tensor, penalty: float) -> Tensor:
    """The best z for A x + b = t and the target relu(y).

    Of the two branches of Zhang et al., z <= 0 and z >= 0, the second is the better one exactly
    where t > -(sqrt(1 + 1/L) - 1) relu(y).
    """
    if math.isinf(penalty):
        return torch.where(t > 0.0, goal, t)
    reach = math.sqrt(1.0 + 1.0 / penalty) - 1.0
    return torch.where(t > -reach * goal, torch.lerp(t, goal, 1.0 / (1.0 + penalty)), t)


def gated_form(form: Tensor, targets: Tensor) -> Tensor:
    """(m, m): a form as errors before the ReLU meet it, positive definite like it."""
    passed = (targets > 0.0).float()
    both = (passed.mT @ passed).double() / len(passed)
    return form.detach().double() * (UNGATED + (1.0 - UNGATED) * both)


def outputs_of(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(N, m): W x + b, in the wider of the inputs' and the weight's dtype, at least float32."""
    work = torch.promote_types(torch.promote_types(inputs.dtype, weight.dtype), torch.float32)
    outputs = inputs.detach().to(work) @ weight.detach().to(work).mT
    return outputs if bias is None else outputs + bias.detach().to(work)


def better(layer: LowRankLayer, below: LowRankLayer | None) -> LowRankLayer:
    """The layer, or one of a lower rank if that has less error, with more columns of zeros."""
    if below is None or layer.error <= below.error:
        return layer
    more = layer.factors.rank - below.factors.rank
    wider = Factors(*(torch.nn.functional.pad(factor, (0, more)) for factor in below.factors))
    return LowRankLayer(wider, below.bias, below.error, layer.start)
