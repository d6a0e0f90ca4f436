"""The singular values of a matrix, and the best factors of every rank: pure functions on tensors.

A matrix W (m, n) of rank r is U V^T with U (m, r) and V (n, r). The two are balanced: each carries
the square root of the singular values, so that weight decay shrinks both alike.
"""

from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple

import torch
from torch import Tensor

from boildown.calibrate.checks import check_matrix

GRAM_FROM = 512  # min(m, n) above which eigenvectors are the faster way


class Factors(NamedTuple):
    """W ~ u v^T.

    Attributes:
        u: (m, r).
        v: (n, r).
    """

    u: Tensor
    v: Tensor

    @property
    def rank(self) -> int:
        """The number of columns."""
        return self.u.shape[1]

    def product(self) -> Tensor:
        """(m, n): u v^T."""
        return self.u @ self.v.T


@dataclass(frozen=True)
class Spectrum:
    """W = u diag(s) v^T, thin: all of W's ranks at once.

    Attributes:
        u: (m, k) orthonormal columns; k = min(m, n).
        s: (k,) singular values, falling.
        v: (n, k) orthonormal columns; those of a singular value of 0 may be zero.
        dtype: of W, and of the factors that are made from it; u, s and v may be more precise.
    """

    u: Tensor
    s: Tensor
    v: Tensor
    dtype: torch.dtype

    @property
    def full(self) -> int:
        """The highest rank there is: min(m, n)."""
        return len(self.s)

    def truncate(self, rank: int) -> Factors:
        """The best factors of a rank in the Frobenius norm, balanced.

        Raises:
            ValueError: unless 1 <= rank <= full.

        Source: Eckart & Young 1936, https://doi.org/10.1007/BF02288367
        """
        check_rank(rank, self.full)
        root = self.s[:rank].sqrt()
        return Factors(
            (self.u[:, :rank] * root).to(self.dtype), (self.v[:, :rank] * root).to(self.dtype)
        )

    def tails(self) -> Tensor:
        """(k + 1,) float64: the squared error of rank 0, 1, ..., k; the last is 0."""
        return tails(self.s)


def decompose(weight: Tensor) -> Spectrum:
    """The singular value decomposition, computed in float64.

    Of a large matrix that is not float64 it is taken from the eigenvectors of the smaller of W W^T
    and W^T W: several times faster. Singular values below 1e-8 of the largest, which such a weight
    does not determine, are then not accurate, and their vectors on the longer side not orthogonal;
    the factors and their errors are exact all the same.

    Args:
        weight: (m, n) floats.

    Raises:
        ValueError: if it is no matrix, or holds NaN or infinity.
    """
    check_matrix(weight)
    exact = weight.detach().double()
    if min(weight.shape) <= GRAM_FROM or weight.dtype == torch.float64:
        u, s, vh = torch.linalg.svd(exact, full_matrices=False)
        return Spectrum(u, s, vh.mT, weight.dtype)
    if weight.shape[0] > weight.shape[1]:
        u, s, v = _gram_svd(exact.mT)
        return Spectrum(v, s, u, weight.dtype)
    return Spectrum(*_gram_svd(exact), weight.dtype)


def _gram_svd(wide: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """u, s and v of a float64 (m, n) with m <= n, from the eigenvectors u of its W W^T.

    Since u is orthonormal, W = sum of u_i (W^T u_i)^T whatever the accuracy of the eigenvalues, and
    the squared error of leaving some out is the sum of their |W^T u_i|^2.
    """
    u = torch.linalg.eigh(wide @ wide.mT).eigenvectors.flip(1)
    v = wide.mT @ u
    s, order = v.norm(dim=0).sort(descending=True, stable=True)
    u, v = u[:, order], v[:, order]
    return u, s, v / torch.where(s > 0, s, 1.0)


def balanced(u: Tensor, v: Tensor) -> Factors:
    """Other factors of the same product, each carrying the square root of its singular values.

    Args:
        u: (m, r), r <= m.
        v: (n, r), r <= n.

    Returns:
        In the dtype of `u` and `v`; beyond the rank of u v^T the columns vanish, up to rounding.
    """
    left, right = torch.linalg.qr(u), torch.linalg.qr(v)
    core_u, s, core_v = torch.linalg.svd(left.R @ right.R.mT)
    root = s.sqrt()
    return Factors(left.Q @ core_u * root, right.Q @ core_v.mT * root)


def tails(s: Tensor) -> Tensor:
    """Squared errors of truncation from singular values.

    Args:
        s: (k,) singular values, falling.

    Returns:
        (k + 1,) float64: entry r is the sum of s_i^2 over i > r.

    >>> tails(torch.tensor([2.0, 1.0])).tolist()
    [5.0, 1.0, 0.0]
    """
    squares = s.double().square().flip(0).cumsum(0).flip(0)
    return torch.cat([squares, squares.new_zeros(1)])


def rank_for_energy(s: Tensor, energy: float) -> int:
    """The lowest rank that keeps a fraction of the energy, the sum of squared singular values.

    Args:
        s: (k,) singular values, falling.
        energy: in (0, 1].

    Returns:
        From 1 to k.

    Raises:
        ValueError: for an energy out of range.

    >>> [rank_for_energy(torch.tensor([2.0, 1.0]), e) for e in (0.5, 0.8, 0.81, 1.0)]
    [1, 1, 2, 2]
    """
    if not 0.0 < energy <= 1.0:
        raise ValueError(f"energy must be in (0, 1], got {energy}")
    lost = tails(s)
    enough = lost <= (1.0 - energy) * lost[0] * (1.0 + 1e-12) + 1e-15 * lost[0]
    return max(1, int(enough.nonzero()[0, 0]))


def svd_flops(m: int, n: int) -> int:
    """What a thin singular value decomposition costs: about 6 m n k + 20 k^3, k = min(m, n).

    Source: Golub & Van Loan, Matrix Computations, 4th edition, figure 8.6.1
    """
    k = min(m, n)
    return 6 * m * n * k + 20 * k**3


def check_rank(rank: int, full: int, name: str = "rank") -> None:
    """Refuse a rank that is not in [1, full].

    Raises:
        ValueError: naming it and the range.
    """
    if isinstance(rank, bool) or not isinstance(rank, Integral) or not 1 <= rank <= full:
        raise ValueError(f"{name} must be a whole number from 1 to {full}, got {rank!r}")
