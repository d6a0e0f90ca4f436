"""A convolution's separable factors, fitted to what it sees and to what its ReLU passes.

The spatial scheme's matrix (outputs x columns, inputs x rows) meets the columns of a patch one by
one: with E_j the error of column j and p_j what the patch has there, the outputs are wrong by
sum_j E_j p_j. If the second moments of the p_j are a Kronecker product, B between columns and A
within one, the mean squared error is ||(Q^1/2 x B^1/2) E A^1/2||^2, and the best factors are a
singular value decomposition again. That is where the search begins; from there on the two factors
are solved for in turn, each in the patches' second moment as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from boildown.calibrate.checks import check_layer, check_samples
from boildown.calibrate.moments import LEAST_DAMPING, damped, form_root, shrunk
from boildown.lowrank import scheme as of
from boildown.lowrank.form import Form
from boildown.lowrank.relu import (
    PENALTIES,
    LowRankLayer,
    Problem,
    better,
    check_phases,
    output_error,
    outputs_of,
)
from boildown.lowrank.svd import Factors, balanced, check_rank, decompose

ITERATIONS = 15  # of each phase
INNER = 4  # steps of conjugate gradients for the first factor


def separable_form(
    patches: Tensor,
    columns: int,
    outputs: int,
    *,
    damping: float | None = None,
    form: Tensor | None = None,
    centred: bool = True,
) -> Form:
    """The form of the spatial scheme's matrix, from the patches that a convolution sees.

    Exact where the patches' second moment is a Kronecker product of that kind, as it is for kernels
    of one column.

    Args:
        patches: (N, inputs x rows x columns), in the order of the kernel.
        columns: of the kernel.
        outputs: of the convolution, or of one group of it.
        damping: see `boildown.lowrank.activation.whitened`; of both moments.
        form: (outputs, outputs) symmetric positive definite, Q, what weighs the outputs' errors;
            None for the identity.
        centred: whether a bias takes care of the patches' mean.

    Raises:
        ValueError: for a damping out of range, or a form that is not positive definite or does
            not fit.

    Source: the matrix: Tai et al. 2015, https://arxiv.org/abs/1511.06067; the Kronecker product:
    Martens & Grosse 2015, https://arxiv.org/abs/1503.05671
    """
    seen = patches.detach().double()
    if centred:
        seen = seen - seen.mean(0)
    split = seen.unflatten(1, (-1, columns))
    within = torch.einsum("nik,njk->ij", split, split) / (len(split) * columns)
    between = torch.einsum("nik,nil->kl", split, split) / (len(split) * split.shape[1])
    rho, size = damped(within, len(seen), damping)
    right = torch.linalg.cholesky(shrunk(within, rho, size))
    size = float(between.trace()) / columns
    between = shrunk(between, rho, size) / size if size > 0.0 else torch.eye(columns).to(between)
    root = torch.linalg.cholesky(between).mT
    weigh = form_root(form, seen.new_zeros(outputs, 1))
    weigh = torch.eye(outputs).to(root) if weigh is None else weigh
    return Form(torch.kron(weigh, root).contiguous(), right)


def separable_ranks(
    kernel: Tensor,
    bias: Tensor | None,
    patches: Tensor,
    ranks: Sequence[int],
    *,
    relu: bool,
    targets: Tensor | None = None,
    damping: float | None = None,
    form: Tensor | None = None,
    penalties: Sequence[float] = PENALTIES,
    iterations: int = ITERATIONS,
) -> dict[int, LowRankLayer]:
    """Approximations of a convolution by rows x 1 and 1 x columns, of several ranks.

    Starts at the better of the truncated decompositions of the kernel, bare and in
    `separable_form`, and keeps the best iterate, so it is never worse than either; nor is a rank
    worse than a lower one of `ranks`. With `relu`, phase 1 ignores the ReLU; later phases start
    from it, so without a form the result is never worse behind the ReLU than that of phase 1.

    Args:
        kernel: (outputs, inputs, rows, columns) floats, of one group.
        bias: (outputs,), or None.
        patches: (N, inputs x rows x columns), in the order of the kernel.
        ranks: each from 1 to min(outputs x columns, inputs x rows).
        relu: whether a ReLU follows; the error is that behind it.
        targets: (N, outputs), see `boildown.lowrank.relu.through_relu_ranks`.
        damping: see `boildown.lowrank.activation.whitened`.
        form: (outputs, outputs), see `through_relu_ranks`.
        penalties: see there; without `relu` there is but one phase.
        iterations: of each phase, at least 0.

    Returns:
        rank -> layer, of factors of the spatial scheme's matrix, in the kernel's dtype.

    Raises:
        ValueError: for sizes that do not fit, values that are not finite or out of range.

    Source: Jaderberg et al. 2014, https://arxiv.org/abs/1405.3866 (scheme); Zhang et al. 2015,
    sections 3.2 and 3.3, https://arxiv.org/abs/1505.06798 (through the ReLU)
    """
    flat, columns = kernel.detach().flatten(1), kernel.shape[3]
    check_layer(flat, bias)
    check_samples(flat, patches, targets)
    matrix = of.matrices(kernel.detach(), "spatial")[0]
    for rank in ranks:
        check_rank(rank, min(matrix.shape))
    check_phases(penalties, iterations)
    targets = outputs_of(patches, flat, bias) if targets is None else targets
    problem = _Separable(flat, bias, patches, targets, damping, form, relu, columns)
    own = separable_form(
        patches, columns, len(kernel), damping=damping, form=problem.gated, centred=bias is not None
    )
    spectra = own.decompose(matrix), decompose(matrix)
    phases = (None, *penalties) if relu else (None,)
    layers, below = dict[int, LowRankLayer](), None
    for rank in sorted(set(ranks)):
        starts = [problem.truncated(spectrum.truncate(rank)) for spectrum in spectra]
        layers[rank] = below = better(problem.best_from(starts, phases, iterations), below)
    return layers


@dataclass
class _Separable(Problem):
    """A `Problem` whose factors are the kernel's as (outputs, patch), of rank times columns.

    Their v is the rows x 1 kernel, at each of the columns; their u is the 1 x columns kernel.

    Args:
        columns: of the kernel.
    """

    columns: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        columns = self.columns
        split = self.second.unflatten(1, (-1, columns)).unflatten(0, (-1, columns))
        blocks = split.permute(1, 3, 0, 2)  # (columns, columns, n, n) of n = inputs x rows
        self.within = torch.linalg.cholesky(blocks.diagonal().mean(-1))
        self.blocks = blocks.contiguous()
        self.rough = self.blocks.to(self.work)
        self.weigh = None if self.gated is None else self.gated.detach().double()

    def wide(self, factors: Factors) -> Factors:
        """The matrix's factors as those of (outputs, patch)."""
        u, v = factors
        own = torch.eye(self.columns, dtype=v.dtype, device=v.device)
        u = u.unflatten(0, (-1, self.columns)).mT.flatten(1)
        return Factors(u, torch.einsum("nr,jk->njrk", v, own).flatten(2).flatten(0, 1))

    def truncated(self, factors: Factors) -> LowRankLayer:
        """The layer of the matrix's factors, with the best bias for them."""
        u, v = self.wide(factors)
        mean = self.targets.mean(0, dtype=torch.float64)
        return self._measured(factors, self.intercept(u.double(), v.double(), mean))

    def best_from(
        self, starts: Sequence[LowRankLayer], phases: Sequence[float | None], iterations: int
    ) -> LowRankLayer:
        """The best of all that are found from the best start, which ignores the ReLU."""
        first = min(starts, key=lambda layer: self._lost(layer, relu=False))
        solved = self.solve(self.wide(first.factors), first.bias, phases, iterations)
        found = [*starts, *(self._measured(*one) for one in solved)]
        best = min(found, key=lambda layer: layer.error)
        return replace(best, start=min(layer.error for layer in starts))

    def _measured(self, factors: Factors, bias: Tensor | None) -> LowRankLayer:
        error = self._lost(LowRankLayer(factors, bias, 0.0, 0.0), relu=self.relu)
        return LowRankLayer(factors, bias, error, error)

    def _lost(self, layer: LowRankLayer, *, relu: bool) -> float:
        wide = self.wide(layer.factors)
        return output_error(wide, layer.bias, self.inputs, self.targets, self.form, relu=relu)

    def _narrow(self, factors: Factors) -> Factors:
        u, v = factors
        u = u.unflatten(1, (-1, self.columns)).mT.flatten(0, 1)
        return Factors(u, v[:: self.columns, :: self.columns])

    def regress(self, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best u for v, then a better v for u: quadratic in either."""
        mean = z.mean(0, dtype=torch.float64)
        across = (1.0 - self.rho) / len(z) * (z.mT @ self.x).double()
        across += self.rho * self.variance * self.matrix + self.rho * torch.outer(mean, self.mean)
        across = across.unflatten(1, (-1, self.columns))  # (m, n, columns)
        v = torch.linalg.qr(v[:: self.columns, :: self.columns]).Q
        u = self._best_u(across, v)
        v = self._better_v(across, u, v)
        offset = mean if self.with_bias else torch.zeros_like(mean)
        return *self.wide(Factors(u.mT.flatten(0, 1), v)), offset

    def _best_u(self, across: Tensor, v: Tensor) -> Tensor:
        """(m, r, columns)."""
        gram = torch.einsum("nr,jkns->rjsk", v, self.blocks @ v).flatten(2).flatten(0, 1)
        gram.diagonal().add_(LEAST_DAMPING * float(gram.diagonal().mean()))
        right = torch.einsum("mnj,nr->mrj", across, v).flatten(1)
        solved = torch.cholesky_solve(right.mT, torch.linalg.cholesky(gram)).mT
        split: Tensor = solved.unflatten(1, (-1, self.columns))
        return split

    def _better_v(self, across: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """(n, r), by conjugate gradients from v, preconditioned by a Kronecker product."""
        weighed = u if self.weigh is None else torch.einsum("ml,lrj->mrj", self.weigh, u)
        between = torch.einsum("mrk,msj->jkrs", u, weighed)

        def image(of: Tensor) -> Tensor:
            seen: Tensor = (self.rough @ of.to(self.work)) @ between.to(self.work)
            return seen.sum((0, 1)).double()

        total = between.diagonal().sum(-1)
        total.diagonal().add_(LEAST_DAMPING * (float(total.diagonal().mean()) or 1.0))
        outside = torch.linalg.cholesky(total)
        residue = torch.einsum("mnj,mrj->nr", across, weighed) - image(v)
        along, size = torch.zeros_like(v), 0.0
        for _ in range(INNER):
            eased = torch.cholesky_solve(torch.cholesky_solve(residue, self.within).mT, outside).mT
            before, size = size, float((residue * eased).sum())
            along = eased + (size / before if before else 0.0) * along
            moved = image(along)
            curved = float((along * moved).sum())
            if not curved > 0.0:
                break
            v, residue = v + size / curved * along, residue - size / curved * moved
        return v

    def finished(self, u: Tensor, v: Tensor, offset: Tensor) -> tuple[Factors, Tensor | None]:
        """Of the spatial scheme's matrix."""
        factors = balanced(*self._narrow(Factors(u, v)))
        dtype = self.weight.dtype
        return Factors(factors.u.to(dtype), factors.v.to(dtype)), self.intercept(u, v, offset)
