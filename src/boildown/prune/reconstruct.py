"""Prune a layer and let the weights that are left make up for it: pure functions on matrices.

Each takes a weight W (m, n), the second moment H (n, n) of its inputs, and says which W' with the
support that `choose` allows changes the outputs least: the mean of ||(W - W') x||^2 is
tr((W - W') H (W - W')^T). All is done in the dtype of H, float64.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Choose = Callable[[Tensor], Tensor]
"""Scores (m, n), of which the largest are worth most, to a mask (m, n), True keeps."""


class Solution(NamedTuple):
    """A pruned weight.

    Attributes:
        weight: (m, n).
        mask: (m, n), True where a weight stays, be it 0 by itself.
        flops: that it took to find, a multiply-add as two.
    """

    weight: Tensor
    mask: Tensor
    flops: int


Method = Callable[[Tensor, Tensor, Choose], Solution]
"""Weight (m, n), second moment (n, n), choose -> solution."""

Named = Literal["sparsegpt", "alps"]


def sparsegpt(weight: Tensor, second: Tensor, choose: Choose, *, columns: int = 128) -> Solution:
    """Cut column after column; the columns to the right make up for each at once.

    The optimal brain surgeon's step for one column, w_j / [H^-1]_jj H^-1 e_j, with H^-1 of the
    columns not yet passed, which the Cholesky factor U of H^-1 = U^T U has in its rows. The support
    is chosen anew before each `columns` columns, by w_j^2 / U_jj^2, for the weights as they are by
    then. Where the paper cuts the same fraction of each such part, a part loses what a ranking of
    the whole matrix gives it, so inputs that say nothing lose all.

    Args:
        weight: (m, n).
        second: (n, n) positive definite.
        choose: see `Choose`.
        columns: after how many the support is chosen anew.

    Source: Frantar & Alistarh 2023, https://arxiv.org/abs/2301.00774, algorithm 1
    """
    now = weight.to(second.dtype, copy=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(second))
    upper = torch.linalg.cholesky(inverse, upper=True)
    sizes = upper.diagonal()
    scores, mask = torch.empty_like(now), now != 0.0
    n = now.shape[1]
    for start in range(0, n, columns):
        end = min(start + columns, n)
        scores[:, start:] = (now[:, start:] / sizes[start:]).square()
        mask = choose(scores)
        kept = mask[:, start:end]
        scores[:, start:end] = torch.where(kept, torch.inf, -torch.inf)  # settled
        errors = torch.zeros_like(now[:, start:end])
        for j in range(start, end):
            gone = ~kept[:, j - start]
            errors[gone, j - start] = now[gone, j] / sizes[j]
            now[:, j:end] -= torch.outer(errors[:, j - start], upper[j, j:end])
            now[gone, j] = 0.0
        now[:, end:] -= errors @ upper[start:end, end:]
    return Solution(now, mask, n * n * (2 * n + 2 * len(now)))


STEPS = 300  # of ADMM at most
EVERY = 3  # steps, after which rho follows the support
RHO = 0.1  # at first, for a second moment whose diagonal is 1
RISES = ((0.1, 1.3), (0.005, 1.2), (0.0, 1.1))  # above such a change of the support, rho times that


def alps(weight: Tensor, second: Tensor, choose: Choose) -> Solution:
    """Find support and weights together by ADMM, then the best weights on that support.

    W <- (W0 H - V + rho D) (H + rho I)^-1, D <- the largest of W + V / rho, V <- V + rho (W - D),
    with rho raised until the support stays as it is; inputs are scaled to a mean square of 1. One
    eigendecomposition of H serves every rho.

    Args:
        weight: (m, n).
        second: (n, n) positive definite.
        choose: see `Choose`.

    Source: Meng et al. 2024, https://arxiv.org/abs/2406.07831, algorithm 1
    """
    scale = second.diagonal().sqrt()
    unit = second / scale / scale[:, None]
    exact = weight.to(second.dtype) * scale
    values, vectors = torch.linalg.eigh(unit)
    target = exact @ unit
    sparse, dual, rho, step = exact, torch.zeros_like(exact), RHO, 0
    mask = choose(exact.square())
    before = mask
    for step in range(1, STEPS + 1):
        dense = ((target - dual + rho * sparse) @ vectors / (values + rho)) @ vectors.mT
        moved = dense + dual / rho
        mask = choose(moved.square())
        sparse = moved * mask
        dual = dual + rho * (dense - sparse)
        if step % EVERY == 0:
            changed = int((mask != before).sum()) / max(int(mask.sum()), 1)
            if changed == 0.0:
                break
            rho *= next(factor for above, factor in RISES if changed > above)
            before = mask
    found = on_support(exact, unit, mask, start=sparse)
    m, n = exact.shape
    flops = found.flops + 9 * n**3 + (4 * step + 2) * m * n * n
    return Solution(found.weight / scale, mask, flops)


TOLERANCE = 1e-8  # of the residual, relative
MOST = 200  # steps of conjugate gradients


def on_support(
    weight: Tensor, second: Tensor, mask: Tensor, *, start: Tensor | None = None
) -> Solution:
    """The best weights on a given support, each row by conjugate gradients.

    Args:
        weight: (m, n).
        second: (n, n) positive definite.
        mask: (m, n), True where a weight may be.
        start: (m, n) to begin at; by default the weight, cut.
    """
    now = (weight if start is None else start) * mask
    residual = ((weight - now) @ second) * mask
    enough = TOLERANCE**2 * (weight @ second).square().sum(1, keepdim=True)
    along, size = residual, residual.square().sum(1, keepdim=True)
    step = 0
    while step < MOST and bool((size > enough).any()):
        step += 1
        curved = (along @ second) * mask
        bend = (along * curved).sum(1, keepdim=True)
        length = torch.where(size > enough, size / bend, 0.0)
        now = now + length * along
        residual = residual - length * curved
        next_size = residual.square().sum(1, keepdim=True)
        along = residual + torch.where(size > enough, next_size / size, 0.0) * along
        size = torch.where(size > enough, next_size, size)
    return Solution(now, mask, 2 * (step + 2) * len(weight) * len(second) ** 2)


METHODS: dict[str, Method] = {"sparsegpt": sparsegpt, "alps": alps}


def method_named(method: Named | Method, where: str) -> Method:
    """What a setting stands for.

    Raises:
        ValueError: if it is neither the name of a method nor a function.
    """
    if callable(method):
        return method
    if method not in METHODS:
        raise ValueError(
            f"{where} must be {', '.join(METHODS)} or a function of weight, second moment and "
            f"choose, got {method!r}"
        )
    return METHODS[method]
