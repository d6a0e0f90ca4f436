"""Tucker-2 of a convolution's kernel: factors for its outputs and inputs around a small core.

Pure functions on tensors.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from boildown.lowrank.svd import DIVERGED

SWEEPS = 10  # at most; each is two eigenvalue problems
CONVERGED = 1e-6  # gain of a sweep, as a fraction of the kernel's energy, below which it was enough


class Tucker(NamedTuple):
    """K ~ core x_1 u x_2 v: K[o, c, ...] = sum over a, b of u[o, a] core[a, b, ...] v[c, b].

    Attributes:
        u: (m, r_out).
        core: (r_out, r_in, *kernel).
        v: (c, r_in).
    """

    u: Tensor
    core: Tensor
    v: Tensor

    @property
    def rank(self) -> tuple[int, int]:
        """(r_out, r_in)."""
        return self.core.shape[0], self.core.shape[1]

    def product(self) -> Tensor:
        """(m, c, *kernel): the kernel."""
        return torch.einsum("oa,ab...,cb->oc...", self.u, self.core, self.v)


def tucker2(kernel: Tensor, rank: tuple[int, int]) -> Tucker:
    """Factors of given ranks: the truncated HOSVD, improved by alternating sweeps (HOOI).

    Computed in float64. The three parts have equal Frobenius norms, so that weight decay shrinks
    them alike.

    Args:
        kernel: (m, c, *size) finite floats.
        rank: (r_out, r_in), 1 <= r_out <= m and 1 <= r_in <= c.

    Returns:
        Factors in the kernel's dtype.

    Raises:
        ValueError: for a kernel that is not finite, or has no elements.

    Source: Kim et al. 2015, section 3, https://arxiv.org/abs/1511.06530; De Lathauwer et al. 2000,
    https://doi.org/10.1137/S0895479898346995
    """
    check_kernel(kernel)
    wide = _flat(kernel)
    r_out, r_in = rank
    v = _leading(wide.transpose(0, 1))[:, :r_in]
    energy, captured = float(wide.square().sum()), -1.0
    for _ in range(SWEEPS):
        u = _leading(torch.einsum("ocx,cb->obx", wide, v))[:, :r_out]
        v = _leading(torch.einsum("ocx,oa->cax", wide, u))[:, :r_in]
        core = torch.einsum("ocx,oa,cb->abx", wide, u, v)
        before, captured = captured, float(core.square().sum())
        if captured - before <= CONVERGED * energy:
            break
    size = float(core.norm())
    if size:
        each = (size * (r_out * r_in) ** 0.5) ** (1 / 3)
        a, b = each / r_out**0.5, each / r_in**0.5
        u, v, core = u * a, v * b, core / (a * b)
    core = core.reshape(r_out, r_in, *kernel.shape[2:])
    return Tucker(u.to(kernel.dtype), core.to(kernel.dtype), v.to(kernel.dtype))


def squared_errors(kernel: Tensor) -> Tensor:
    """What the truncated HOSVD of every pair of ranks loses; HOOI loses no more.

    Args:
        kernel: (m, c, *size) finite floats.

    Returns:
        (m + 1, c + 1) float64: entry (r_out, r_in) is the squared Frobenius error; the last is 0.

    Raises:
        ValueError: for a kernel that is not finite, or has no elements.
    """
    check_kernel(kernel)
    wide = _flat(kernel)
    u, v = _leading(wide), _leading(wide.transpose(0, 1))
    energy = torch.einsum("ocx,oa,cb->abx", wide, u, v).square().sum(2)
    m, c = energy.shape
    lost = energy.new_zeros(m + 1, c + 1)
    lost[:m] = _tails(energy.sum(1))[:m, None]  # rows beyond r_out
    lost[1:] += _tails(energy.T).T.cumsum(0)  # columns beyond r_in of the rows that are left
    return lost


def check_kernel(kernel: Tensor) -> None:
    """Refuse what is no finite kernel.

    Raises:
        ValueError: saying what is wrong.
    """
    if kernel.ndim < 3 or not kernel.is_floating_point() or 0 in kernel.shape:
        raise ValueError(
            "the weight must be a kernel of floats (outputs, inputs, *size), "
            f"got {tuple(kernel.shape)} {kernel.dtype}"
        )
    if not torch.isfinite(kernel).all():
        raise ValueError(f"the weight holds NaN or infinity: {DIVERGED}")


def _flat(kernel: Tensor) -> Tensor:
    return kernel.detach().double().flatten(2)


def _leading(tensor: Tensor) -> Tensor:
    """(n, n): orthonormal, the left singular vectors of (n, ...) laid flat, leading ones first."""
    flat = tensor.flatten(1)
    vectors: Tensor = torch.linalg.eigh(flat @ flat.T).eigenvectors
    return vectors.flip(1)


def _tails(energy: Tensor) -> Tensor:
    """(n + 1, ...): sums of (n, ...) from each entry on."""
    sums = energy.flip(0).cumsum(0).flip(0)
    return torch.cat([sums, torch.zeros_like(sums[:1])])
