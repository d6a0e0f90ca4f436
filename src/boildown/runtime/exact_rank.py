"""Factors of a matrix whose rank is exactly low, without the singular values of one that is not."""

import torch
from torch import Tensor

WORTH = 1.5  # times fewer multiplications than the matrix has, for factors to be tried
ROUNDING = 1e-6  # of the largest, below which a number is rounding


def exact_factors(matrix: Tensor) -> tuple[Tensor, Tensor] | None:
    """Factors u (m, r) and v (r, n) of a matrix (m, n) with u @ v equal to it but for rounding.

    The LU decomposition of a corner, as large as the highest rank worth having, tells most matrices
    off. Of the others the range is found by random projections of growing width (Halko,
    Martinsson and Tropp, arXiv 0909.4061).

    Args:
        matrix: finite.

    Returns:
        None if the rank is too high to be worth it, or most of the matrix is zeros, which sparse
        forms serve better.
    """
    m, n = matrix.shape
    most = int(m * n / (WORTH * (m + n)))
    if most < 1 or 2 * int(matrix.count_nonzero()) < matrix.numel():
        return None
    exact = matrix.double()
    pivots = torch.linalg.lu_factor(exact[: most + 1, : most + 1])[0].diagonal().abs()
    if pivots.min() > ROUNDING * pivots.max():
        return None
    norm = exact.norm()
    generator = torch.Generator(exact.device).manual_seed(0)
    width = min(32, most)
    while True:
        directions = torch.randn(
            n, width, generator=generator, dtype=exact.dtype, device=exact.device
        )
        u = torch.linalg.qr(exact @ directions)[0]
        v = u.T @ exact
        if (exact - u @ v).norm() <= ROUNDING * norm:
            break
        if width == most:
            return None
        width = min(4 * width, most)
    left, values, right = torch.linalg.svd(v, full_matrices=False)
    rank = max(1, int((values > ROUNDING * values[0]).sum()))
    root = values[:rank].sqrt()
    return (u @ left[:, :rank] * root).to(matrix.dtype), (root[:, None] * right[:rank]).to(
        matrix.dtype
    )
