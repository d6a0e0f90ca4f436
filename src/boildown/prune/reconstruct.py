"""Prune a layer and let the weights that are left make up for it: pure functions on matrices.

Each takes a weight W (m, n), the second moment H (n, n) of its inputs, and says which W' with the
support that `choose` allows changes the outputs least: the mean of ||(W - W') x||^2 is
tr((W - W') H (W - W')^T). In the place of H a form may stand that the rows do not share
(`boildown.prune.forms`), such as what the loss says. All is done in the dtype of H, float64.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from boildown.prune.forms import Form, form_of

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


Method = Callable[[Tensor, Any, Choose], Solution]
"""Weight (m, n), second moment (n, n), or a form where the loss counts too, choose -> solution."""

Named = Literal["sparsegpt", "alps", "obs", "refit"]


def sparsegpt(
    weight: Tensor, second: Tensor | Form, choose: Choose, *, columns: int = 128
) -> Solution:
    """Cut column after column; the columns to the right make up for each at once.

    The optimal brain surgeon's step for one column, w_j / [H^-1]_jj H^-1 e_j, with H^-1 of the
    columns not yet passed, which the Cholesky factor U of H^-1 = U^T U has in its rows. The support
    is chosen anew before each `columns` columns, by w_j^2 / U_jj^2, for the weights as they are by
    then. Where the paper cuts the same fraction of each such part, a part loses what a ranking of
    the whole matrix gives it, so inputs that say nothing lose all.

    Args:
        weight: (m, n).
        second: (n, n) positive definite, or a form.
        choose: see `Choose`.
        columns: after how many the support is chosen anew.

    Source: Frantar & Alistarh 2023, https://arxiv.org/abs/2301.00774, algorithm 1
    """
    form = form_of(second)
    now = weight.to(form.second.dtype, copy=True)
    elimination = form.elimination(columns)
    sizes = elimination.sizes.expand_as(now)
    scores, mask = torch.empty_like(now), now != 0.0
    n = now.shape[1]
    for start in range(0, n, columns):
        end = min(start + columns, n)
        scores[:, start:] = (now[:, start:] / sizes[:, start:]).square()
        mask = choose(scores)
        kept = mask[:, start:end]
        scores[:, start:end] = torch.where(kept, torch.inf, -torch.inf)  # settled
        corner, spread = elimination.block(start, end)
        errors = torch.zeros_like(now[:, start:end])
        for j in range(start, end):
            gone = ~kept[:, j - start]
            errors[gone, j - start] = now[gone, j] / sizes[gone, j]
            now[:, j:end] -= errors[:, j - start, None] * corner[:, j - start, j - start :]
            now[gone, j] = 0.0
        if end < n:
            now[:, end:] -= spread(errors)
    return Solution(now, mask, n * n * (2 * n + 2 * len(now)))


def obs(weight: Tensor, second: Tensor | Form, choose: Choose) -> Solution:
    """Choose once, by what each weight costs if the others of its row make up for it; then do so.

    The score is w_j^2 / (2 [H^-1]_jj); the weights that stay move together, by
    -w_C [H^-1]_CC^-1 [H^-1]_C for the cut C of a row, to the least of the form on the support.
    With the loss alone for the form it is WoodFisher, whose blocks are the rows.

    Args:
        weight: (m, n).
        second: (n, n) positive definite, or a form.
        choose: see `Choose`.

    Source: Hassibi & Stork 1993 (optimal brain surgeon); Singh & Alistarh 2020 (WoodFisher),
    https://arxiv.org/abs/2004.14340, eq. 9 and 10
    """
    form = form_of(second)
    exact = weight.to(form.second.dtype)
    mask = choose(exact.square() / (2.0 * form.inverse_diagonal()))
    found = on_support(exact, form, mask)
    return found._replace(flops=found.flops + 2 * len(form.second) ** 3)


def refit(weight: Tensor, second: Tensor | Form, choose: Choose) -> Solution:
    """Let what stays make up for what goes, by |w_j| sqrt(H_jj) or as `choose` has settled it.

    Args:
        weight: (m, n).
        second: (n, n) positive definite, or a form.
        choose: see `Choose`; one that heeds no scores keeps what a criterion chose.
    """
    form = form_of(second)
    exact = weight.to(form.second.dtype)
    return on_support(exact, form, choose(exact.square() * form.diagonal()))


STEPS = 300  # of ADMM at most
EVERY = 3  # steps, after which rho follows the support
RHO = 0.1  # at first, for a second moment whose diagonal is 1
RISES = ((0.1, 1.3), (0.005, 1.2), (0.0, 1.1))  # above such a change of the support, rho times that


def alps(weight: Tensor, second: Tensor | Form, choose: Choose) -> Solution:
    """Find support and weights together by ADMM, then the best weights on that support.

    W <- (W0 H - V + rho D) (H + rho I)^-1, D <- the largest of W + V / rho, V <- V + rho (W - D),
    with rho raised until the support stays as it is; inputs are scaled to a mean square of 1. One
    eigendecomposition of H serves every rho.

    Args:
        weight: (m, n).
        second: (n, n) positive definite, or a form.
        choose: see `Choose`.

    Source: Meng et al. 2024, https://arxiv.org/abs/2406.07831, algorithm 1
    """
    form = form_of(second)
    scale = form.diagonal().mean(0).sqrt()
    unit = form.scaled(scale)
    exact = weight.to(form.second.dtype) * scale
    inverse, target = unit.shifted_inverse(), unit.times(exact)
    solve = inverse(RHO)
    sparse, dual, rho, step = exact, torch.zeros_like(exact), RHO, 0
    mask = choose(exact.square())
    before = mask
    for step in range(1, STEPS + 1):
        dense = solve(target - dual + rho * sparse)
        moved = dense + dual / rho
        mask = choose(moved.square())
        sparse = moved * mask
        dual = dual + rho * (dense - sparse)
        if step % EVERY == 0:
            changed = int((mask != before).sum()) / max(int(mask.sum()), 1)
            if changed == 0.0:
                break
            rho *= next(factor for above, factor in RISES if changed > above)
            solve, before = inverse(rho), mask
    found = on_support(exact, unit, mask, start=sparse)
    m, n = exact.shape
    flops = found.flops + 9 * n**3 + (4 * step + 2) * m * n * n
    return Solution(found.weight / scale, mask, flops)


TOLERANCE = 1e-8  # of the residual, relative
MOST = 200  # steps of conjugate gradients
TOGETHER = 1 << 23  # numbers of the systems that are solved at once


def on_support(
    weight: Tensor, second: Tensor | Form, mask: Tensor, *, start: Tensor | None = None
) -> Solution:
    """The best weights on a given support, each row by its normal equations.

    Rows that keep too many for that are solved by conjugate gradients.

    Args:
        weight: (m, n).
        second: (n, n) positive definite, or a form.
        mask: (m, n), True where a weight may be.
        start: (m, n) to begin conjugate gradients at; by default the weight, cut.
    """
    form, (m, n) = form_of(second), weight.shape
    counts = mask.sum(1)
    exact = 2 * int((counts.double() ** 3).sum()) // 3 + 2 * m * n * n
    if exact <= 2 * MOST * m * n * n:
        return Solution(_by_rows(weight, form, mask, counts), mask, exact)
    return _by_gradients(weight, form, mask, weight if start is None else start)


def _by_rows(weight: Tensor, form: Form, mask: Tensor, counts: Tensor) -> Tensor:
    """The normal equations of rows that keep about as many, together."""
    found, wanted = torch.zeros_like(weight), form.times(weight)
    order = counts.argsort(descending=True)
    columns = mask.to(torch.int8).argsort(dim=1, descending=True, stable=True)
    done, most = 0, int(counts.max()) if len(counts) else 0
    while done < len(order) and most:
        rows = order[done : done + max(TOGETHER // most**2, 1)]
        own = columns[rows, :most]
        there = torch.arange(most, device=own.device) < counts[rows, None]
        system = form.within(rows, own) * (there[:, :, None] & there[:, None, :])
        system.diagonal(dim1=1, dim2=2).add_((~there).to(system.dtype))
        given = wanted[rows].gather(1, own) * there
        solved = torch.cholesky_solve(given[..., None], torch.linalg.cholesky(system))[..., 0]
        found[rows] = torch.zeros_like(found[rows]).scatter_(1, own, solved * there)
        done += len(rows)
        most = int(counts[order[done]]) if done < len(order) else 0
    return found


def _by_gradients(weight: Tensor, form: Form, mask: Tensor, start: Tensor) -> Solution:
    """Conjugate gradients, all rows in step."""
    now = start * mask
    residual = form.times(weight - now) * mask
    enough = TOLERANCE**2 * form.times(weight).square().sum(1, keepdim=True)
    along, size = residual, residual.square().sum(1, keepdim=True)
    step = 0
    while step < MOST and bool((size > enough).any()):
        step += 1
        curved = form.times(along) * mask
        bend = (along * curved).sum(1, keepdim=True)
        length = torch.where(size > enough, size / bend, 0.0)
        now = now + length * along
        residual = residual - length * curved
        next_size = residual.square().sum(1, keepdim=True)
        along = residual + torch.where(size > enough, next_size / size, 0.0) * along
        size = torch.where(size > enough, next_size, size)
    return Solution(now, mask, 2 * (step + 2) * len(weight) * len(form.second) ** 2)


METHODS: dict[str, Method] = {"sparsegpt": sparsegpt, "alps": alps, "obs": obs, "refit": refit}


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
