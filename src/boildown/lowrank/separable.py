"""What an error of a convolution's separable factors does to its outputs, as a metric.

The spatial scheme's matrix (outputs x columns, inputs x rows) meets the columns of a patch one by
one: with E_j the error of column j and p_j what the patch has there, the outputs are wrong by
sum_j E_j p_j. The second moments of the p_j are taken for a Kronecker product, B between columns
and A within one; then the mean squared error is ||(Q^1/2 x B^1/2) E A^1/2||^2, and the best factors
are a singular value decomposition again.
"""

import torch
from torch import Tensor

from boildown.lowrank.activation import damped, metric_root, shrunk
from boildown.lowrank.metric import Metric


def separable_metric(
    patches: Tensor,
    columns: int,
    outputs: int,
    *,
    damping: float | None = None,
    metric: Tensor | None = None,
    centred: bool = True,
) -> Metric:
    """The metric of the spatial scheme's matrix, from the patches that a convolution sees.

    Exact where the patches' second moment is a Kronecker product of that kind, as it is for kernels
    of one column.

    Args:
        patches: (N, inputs x rows x columns), in the order of the kernel.
        columns: of the kernel.
        outputs: of the convolution, or of one group of it.
        damping: see `boildown.lowrank.activation.whitened`; of both moments.
        metric: (outputs, outputs) symmetric positive definite, Q, what weighs the outputs' errors;
            None for the identity.
        centred: whether a bias takes care of the patches' mean.

    Raises:
        ValueError: for a damping out of range, or a metric that is not positive definite or does
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
    weigh = metric_root(metric, seen.new_zeros(outputs, 1))
    weigh = torch.eye(outputs).to(root) if weigh is None else weigh
    return Metric(torch.kron(weigh, root).contiguous(), right)
