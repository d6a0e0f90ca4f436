"""What an error of a weight costs: quadratic forms of the rows of a matrix. Pure functions.

The cost of changing W (m, n) by D is the sum over rows of d_i Q_i d_i^T. Where the outputs of the
layer count, Q_i is the second moment of its inputs for every row; where the loss counts too, each
row has a part of its own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

TOGETHER = 1 << 23  # numbers of the rows' own parts that are worked on at once
WIDE = 1 << 27  # numbers that are kept as precise as the second moment
DAMPING = 0.01  # of what only gradients show, in units of the mean of its diagonal


class Elimination(Protocol):
    """The Cholesky factors U of Q_i^-1 = U^T U, for columns that go from left to right.

    Attributes:
        sizes: (1, n) or (m, n), the diagonals of U.
    """

    sizes: Tensor

    def block(self, start: int, end: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """U[start:end, start:end] as (1 or m, b, b); and (m, b) errors -> errors U[.., end:]."""
        ...


@dataclass(frozen=True)
class Shared:
    """One form for every row.

    Attributes:
        second: (n, n) positive definite.
    """

    second: Tensor

    def times(self, change: Tensor) -> Tensor:
        """(m, n): d_i Q_i for each row of the change."""
        return change @ self.second

    def diagonal(self) -> Tensor:
        """(1, n) or (m, n)."""
        return self.second.diagonal()[None]

    def scaled(self, scale: Tensor) -> "Shared":
        """The form for weights that are `scale` (n,) times as large."""
        return Shared(self.second / scale / scale[:, None])

    def within(self, rows: Tensor, columns: Tensor) -> Tensor:
        """(r, w, w): of r rows, the part of Q_i at w columns of its own (r, w) each."""
        return self.second[columns[:, :, None], columns[:, None, :]]

    def inverse_diagonal(self) -> Tensor:
        """(1, n) or (m, n), of Q_i^-1."""
        return torch.cholesky_inverse(torch.linalg.cholesky(self.second)).diagonal()[None]

    def shifted_inverse(self) -> Callable[[float], Callable[[Tensor], Tensor]]:
        """By one eigendecomposition: rho -> ((m, n) b -> b_i (Q_i + rho I)^-1)."""
        values, vectors = torch.linalg.eigh(self.second)
        return lambda rho: lambda given: (given @ vectors / (values + rho)) @ vectors.mT

    def elimination(self, columns: int) -> Elimination:
        """What going from left to right takes, `columns` at a time."""
        return _SharedElimination(self.second)


@dataclass(frozen=True)
class PerRow:
    """A form for each row: Q_i = second + the sum of g g^T over the gradients of row i.

    Attributes:
        second: (n, n) positive definite.
        gradients: (m, k, n); k is small, and no (m, n, n) is ever made.
    """

    second: Tensor
    gradients: Tensor

    def times(self, change: Tensor) -> Tensor:
        found = change @ self.second
        for rows, own in self.parts():
            found[rows] += _weighed(_along(own, change[rows]), own)
        return found

    def diagonal(self) -> Tensor:
        squares = [own.square().sum(1) for _, own in self.parts()]
        return self.second.diagonal() + torch.cat(squares)

    def scaled(self, scale: Tensor) -> "PerRow":
        own = (self.gradients / scale).to(self.gradients.dtype)
        return PerRow(self.second / scale / scale[:, None], own)

    def within(self, rows: Tensor, columns: Tensor) -> Tensor:
        shared = Shared(self.second).within(rows, columns)
        own = self.gradients[rows].take_along_dim(columns[:, None], 2).to(self.second.dtype)
        return shared.baddbmm_(own.mT, own)

    def inverse_diagonal(self) -> Tensor:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(self.second))
        found = []
        for _, own in self.parts():
            seen = own @ inverse
            half = torch.linalg.solve_triangular(_one_and(seen @ own.mT), seen, upper=False)
            found.append(inverse.diagonal() - half.square().sum(1))
        return torch.cat(found)

    def shifted_inverse(self) -> Callable[[float], Callable[[Tensor], Tensor]]:
        values, vectors = torch.linalg.eigh(self.second)
        turned = self.turned(vectors)

        def at(rho: float) -> Callable[[Tensor], Tensor]:
            by = 1.0 / (values + rho)
            factors = [_one_and((own * by) @ own.mT) for _, own in turned.parts()]

            def solve(given: Tensor) -> Tensor:
                found: Tensor = given @ vectors * by
                for (rows, own), factor in zip(turned.parts(), factors, strict=True):
                    found[rows] -= _weighed(_solved(factor, _along(own, found[rows])), own) * by
                back: Tensor = found @ vectors.mT
                return back

            return solve

        return at

    def elimination(self, columns: int) -> Elimination:
        return _RowElimination(self, columns)

    def turned(self, by: Tensor) -> "PerRow":
        """The gradients times a matrix (n, n)."""
        kept = self.gradients.dtype
        return PerRow(self.second, torch.cat([(own @ by).to(kept) for _, own in self.parts()]))

    def parts(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows, and their gradients as precise as `second`; not too many at once."""
        m, k, n = self.gradients.shape
        step = max(TOGETHER // max(k * n, 1), 1)
        for start in range(0, m, step):
            rows = slice(start, start + step)
            yield rows, self.gradients[rows].to(self.second.dtype)


Form = Shared | PerRow


def form_of(second: Tensor | Form) -> Form:
    """The form of a second moment (n, n); a form as it is."""
    return Shared(second) if isinstance(second, Tensor) else second


def mixed(second: Tensor, gradients: Tensor, mix: float) -> Form:
    """What a layer's outputs and the loss say, in one form: Q_i = (1 - mix) H + mix c F_i.

    H is the second moment of the inputs, whose form is the squared error of the outputs; F_i is
    row i's block of the empirical Fisher matrix, whose form is, to second order and near a minimum,
    the rise of the loss. c makes the mean of the F_i as large as H, by their traces, so that `mix`
    means the same for every layer; what is row i's and what row j's, F alone says. F, of few
    samples, is damped.

    Args:
        second: (n, n) H, positive definite.
        gradients: (k, m, n) floats, of which the sum of g_i g_i^T over k is F_i.
        mix: in [0, 1]: 0 for the outputs alone, 1 for the loss alone.

    Raises:
        ValueError: for a mix out of [0, 1], or gradients that do not fit or hold NaN.

    Source: Afriat et al. 2026 (MOONSHOT), https://arxiv.org/abs/2604.13287; the balance by traces
    is boildown's
    """
    check_mix(mix, "mix")
    n = len(second)
    if gradients.ndim != 3 or gradients.shape[2] != n:
        raise ValueError(f"gradients must be (samples, outputs, {n}), got {tuple(gradients.shape)}")
    sums = torch.linalg.vector_norm(gradients, dim=(1, 2), dtype=torch.float64).square()
    squares = float(sums.sum()) / max(gradients.shape[1], 1)
    if not torch.isfinite(torch.tensor(squares)):
        raise ValueError("the gradients of the loss hold NaN or infinity on the calibration data")
    if mix == 0.0 or squares == 0.0:  # what the loss does not notice, it has no say in
        return Shared(second)
    trace = float(second.trace())
    both = (1.0 - mix) * second
    both.diagonal().add_(mix * DAMPING * trace / n)
    own = (gradients * (mix * trace / squares) ** 0.5).transpose(0, 1)
    wide = second.dtype if gradients.numel() <= WIDE else gradients.dtype
    return PerRow(both, own.to(wide).contiguous())


def check_mix(mix: float, where: str) -> None:
    """Refuse what is no part of one.

    Raises:
        ValueError: naming the setting.
    """
    if isinstance(mix, bool) or not isinstance(mix, int | float) or not 0.0 <= mix <= 1.0:
        raise ValueError(
            f"{where} must be a number in [0, 1], from the layers' outputs alone to the loss "
            f"alone, got {mix!r}"
        )


class _SharedElimination:
    def __init__(self, second: Tensor) -> None:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(second))
        self.upper = torch.linalg.cholesky(inverse, upper=True)
        self.sizes = self.upper.diagonal()[None]

    def block(self, start: int, end: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        upper = self.upper
        return upper[None, start:end, start:end], lambda errors: errors @ upper[start:end, end:]


class _RowElimination:
    """For what is left of H from a column on, by Woodbury's identity for each row's own part.

    H^-1 of the columns from s on is U_s^T U_s, with U_s the corner of U, and g U_s^T is the end of
    g U^T: one product serves all columns.

    Source: Singh & Alistarh 2020 (WoodFisher), https://arxiv.org/abs/2004.14340, section 3.2, which
    takes one gradient at a time
    """

    def __init__(self, form: PerRow, columns: int) -> None:
        self.upper = _SharedElimination(form.second).upper
        self.half = form.turned(self.upper.mT)
        n = len(self.upper)
        spans = [(start, min(start + columns, n)) for start in range(0, n, columns)]
        self.sizes = torch.cat([self._sizes(start, end) for start, end in spans], 1)

    def block(self, start: int, end: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        corners, here = self._corners(start, end), self.upper[start:end, start:end]

        def spread(errors: Tensor) -> Tensor:
            solved = torch.linalg.solve_triangular(corners, errors[..., None], upper=True)[..., 0]
            among = torch.zeros(len(errors), len(self.upper) - start).to(errors)
            among[:, : end - start] = solved @ here.mT
            for rows, own in self.half.parts():
                left = own[..., start:]
                along = _along(left, among[rows])
                among[rows] -= _weighed(_solved(_one_and(left @ left.mT), along), left)
            found: Tensor = among @ self.upper[start:, end:]
            return found

        return corners, spread

    def _sizes(self, start: int, end: int) -> Tensor:
        """(m, b), and no view, which would keep all corners."""
        return self._corners(start, end).diagonal(dim1=1, dim2=2).clone()

    def _corners(self, start: int, end: int) -> Tensor:
        """(m, b, b): what the factors of all rows have where the columns meet."""
        here, found = self.upper[start:end, start:end], []
        for _, own in self.half.parts():
            left = own[..., start:]
            factor = _one_and(left @ left.mT)
            seen = torch.linalg.solve_triangular(factor, own[..., start:end] @ here, upper=False)
            found.append(torch.linalg.cholesky(here.mT @ here - seen.mT @ seen, upper=True))
        return torch.cat(found)


def _along(own: Tensor, vectors: Tensor) -> Tensor:
    """(m, k): the products of (m, k, n) with (m, n)."""
    return (own @ vectors[..., None])[..., 0]


def _weighed(weights: Tensor, own: Tensor) -> Tensor:
    """(m, n): the sums of (m, k, n), weighed by (m, k)."""
    return (weights[:, None] @ own)[:, 0]


def _solved(factor: Tensor, given: Tensor) -> Tensor:
    """(m, k): given (m, k), by the matrices whose lower Cholesky factors these are."""
    return torch.cholesky_solve(given[..., None], factor)[..., 0]


def _one_and(products: Tensor) -> Tensor:
    """The lower Cholesky factor of I + products (m, k, k), which are positive semidefinite."""
    products.diagonal(dim1=1, dim2=2).add_(1.0)
    factor: Tensor = torch.linalg.cholesky(products)
    return factor
