"""The singular values of a matrix, and the best factors of every rank: pure functions on tensors.

A matrix W (m, n) of rank r is U V^T with U (m, r) and V (n, r). The two are balanced: each carries
the square root of the singular values, so that weight decay shrinks both alike.
"""

import math
from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple

import torch
from torch import Tensor

DIVERGED = "the training has diverged; take weights from before that"

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
        u: (m, k) orthonormal columns; k = min(m, n), fewer from `randomized`.
        s: (k,) singular values, falling.
        v: (n, k) orthonormal columns; those of a singular value of 0 may be zero.
        dtype: of W, and of the factors that are made from it; u, s and v may be more precise.
        rest: the squared Frobenius norm of W - u diag(s) v^T; 0 unless from `randomized`.
    """

    u: Tensor
    s: Tensor
    v: Tensor
    dtype: torch.dtype
    rest: float = 0.0

    @property
    def full(self) -> int:
        """The highest rank there is: min(m, n), fewer from `randomized`."""
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
        """(k + 1,) float64: the squared error of rank 0, 1, ..., k; the last is `rest`."""
        return tails(self.s) + self.rest


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
    if not _by_gram(weight):
        u, s, vh = torch.linalg.svd(exact, full_matrices=False)
        return Spectrum(u, s, vh.mT, weight.dtype)
    if weight.shape[0] > weight.shape[1]:
        u, s, v = _gram_svd(exact.mT)
        return Spectrum(v, s, u, weight.dtype)
    return Spectrum(*_gram_svd(exact), weight.dtype)


def _by_gram(weight: Tensor) -> bool:
    return min(weight.shape) > GRAM_FROM and weight.dtype != torch.float64


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


def singular_values(weight: Tensor) -> Tensor:
    """The singular values alone: `decompose(weight).s` at a part of its cost.

    Args:
        weight: (m, n) floats.

    Returns:
        (min(m, n),) float64, falling; of a large matrix, as `decompose` says, those below 1e-8 of
        the largest are not accurate.

    Raises:
        ValueError: if it is no matrix, or holds NaN or infinity.
    """
    check_matrix(weight)
    exact = weight.detach().double()
    if not _by_gram(weight):
        values: Tensor = torch.linalg.svdvals(exact)
        return values
    gram = exact @ exact.mT if exact.shape[0] <= exact.shape[1] else exact.mT @ exact
    squares: Tensor = torch.linalg.eigvalsh(gram)
    return squares.flip(0).clamp(min=0.0).sqrt()


def randomized(
    weight: Tensor, rank: int, *, oversample: int = 10, power: int = 2, seed: int = 0
) -> tuple[Spectrum, float]:
    """The leading singular values and vectors, from products with a few random vectors.

    Costs about (2 power + 3) 2 m n (rank + oversample) operations: much less than `decompose` for a
    rank far below min(m, n).

    Args:
        weight: (m, n) floats.
        rank: 1 <= rank <= min(m, n).
        oversample: directions beyond `rank`, at least 0: more of them, a smaller bound.
        power: subspace iterations, at least 0: the slower the singular values fall, the more.
        seed: of the random vectors; the same on every device.

    Returns:
        The spectrum of the min(rank + oversample, m, n) directions found, whose `tails` are the
        exact errors of its truncations; and a bound in the Frobenius norm: ||W - W_rank|| of its
        truncation to `rank` is at most this much above the least that rank allows. (What was not
        captured, E = W - Q Q^T W, lifts the sum of the r largest squared singular values by at most
        ||E||^2, by Ky Fan's inequality.)

    Raises:
        ValueError: for a rank out of range, a weight that is no finite matrix, or a negative
            `oversample` or `power`.

    Source: Halko, Martinsson & Tropp 2011, algorithms 4.4 and 5.1, https://arxiv.org/abs/0909.4061
    """
    check_matrix(weight)
    check_rank(rank, min(weight.shape))
    if oversample < 0 or power < 0:
        raise ValueError(
            f"oversample and power must be at least 0, got {oversample!r} and {power!r}"
        )
    exact = weight.detach().double()
    columns = min(rank + oversample, *weight.shape)
    start = torch.randn(
        weight.shape[1], columns, dtype=exact.dtype, generator=torch.Generator().manual_seed(seed)
    )
    basis = torch.linalg.qr(exact @ start.to(exact.device)).Q
    for _ in range(power):
        across = torch.linalg.qr(exact.mT @ basis).Q
        basis = torch.linalg.qr(exact @ across).Q
    inside = basis.mT @ exact
    u, s, vh = torch.linalg.svd(inside, full_matrices=False)
    rest = float((exact - basis @ inside).square().sum())
    spectrum = Spectrum(basis @ u, s, vh.mT, weight.dtype, rest)
    error = float(spectrum.tails()[rank])
    return spectrum, math.sqrt(error) - math.sqrt(max(error - rest, 0.0))


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


def truncate(weight: Tensor, rank: int) -> Factors:
    """The best factors of a rank: `decompose(weight).truncate(rank)`.

    Args:
        weight: (m, n) floats.
        rank: 1 <= rank <= min(m, n).

    Raises:
        ValueError: for a rank out of range, or a weight that is no finite matrix.
    """
    check_matrix(weight)
    check_rank(rank, min(weight.shape))
    return decompose(weight).truncate(rank)


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
    return _lowest(s, 1.0 - energy)


def rank_for_error(s: Tensor, error: float) -> int:
    """The lowest rank whose relative error, see `relative_error`, is within a bound.

    Args:
        s: (k,) singular values, falling.
        error: at least 0.

    Returns:
        From 1 to k.

    Raises:
        ValueError: for an error out of range.

    >>> [rank_for_error(torch.tensor([2.0, 1.0]), e) for e in (0.0, 0.44, 0.45, 1.0)]
    [2, 2, 1, 1]
    """
    if not error >= 0.0:
        raise ValueError(f"error must be at least 0, got {error}")
    return _lowest(s, error**2)


def _lowest(s: Tensor, fraction: float) -> int:
    """The lowest rank that loses no more than a fraction of the energy."""
    lost = tails(s)
    enough = lost <= fraction * lost[0] * (1.0 + 1e-12) + 1e-15 * lost[0]
    return max(1, int(enough.nonzero()[0, 0]))


def relative_error(weight: Tensor, approximation: Tensor) -> float:
    """||W - A|| / ||W|| in the Frobenius norm, in float64; 0 for two zeros."""
    size = float(weight.double().norm())
    error = float((weight.double() - approximation.double()).norm())
    return error / size if size else math.inf if error else 0.0


def svd_flops(m: int, n: int) -> int:
    """What a thin singular value decomposition costs: about 6 m n k + 20 k^3, k = min(m, n).

    Source: Golub & Van Loan, Matrix Computations, 4th edition, figure 8.6.1
    """
    k = min(m, n)
    return 6 * m * n * k + 20 * k**3


def check_matrix(weight: Tensor, name: str = "the weight") -> None:
    """Refuse what is no finite matrix.

    Raises:
        ValueError: naming it and what is wrong.
    """
    if weight.ndim != 2 or not weight.is_floating_point() or 0 in weight.shape:
        raise ValueError(
            f"{name} must be a matrix of floats, got {tuple(weight.shape)} {weight.dtype}"
        )
    if not torch.isfinite(weight).all():
        raise ValueError(f"{name} holds NaN or infinity: {DIVERGED}")


def check_rank(rank: int, full: int, name: str = "rank") -> None:
    """Refuse a rank that is not in [1, full].

    Raises:
        ValueError: naming it and the range.
    """
    if isinstance(rank, bool) or not isinstance(rank, Integral) or not 1 <= rank <= full:
        raise ValueError(f"{name} must be a whole number from 1 to {full}, got {rank!r}")
