"""Truncation that minimises the error of a layer's outputs, not of its weight: pure functions.

Of all W_r of rank r, the one with the least mean ||(W - W_r) x||^2 over a layer's inputs x is
P P^T W, where P holds the r leading principal directions of the outputs W x. All it takes are the
inputs' mean and second moment. With a bias, the inputs are centred: what the mean loses, the bias
gives back.

The second moment of few samples shows nothing of most directions, and too much of some. It is
shrunk towards a multiple of the identity, which by itself stands for the plain truncation of W.

Not every output matters alike either. A quadratic form Q (m, m) weighs them: the error is then the
mean of e^T Q e, e = (W - W_r) x. `boildown.lowrank.form.output_form` makes one from gradients.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from boildown.calibrate.checks import (
    check_features,
    check_layer,
    check_samples,
)
from boildown.calibrate.moments import Moments, damped, damped_second, form_root, shrunk
from boildown.lowrank.svd import Factors, balanced, check_rank


@dataclass(frozen=True)
class _Family:
    """One approximation of each rank r: y ~ left_r core_r x.

    Attributes:
        left: (m, k), of which rank r takes the first r columns.
        core: (k, n), of which rank r takes the first r rows.
        tails: (k + 1,) the mean squared error of rank 0, 1, ..., k.
    """

    left: Tensor
    core: Tensor
    tails: Tensor


@dataclass(frozen=True)
class Whitened:
    """A linear layer's approximations of every rank, fitted to its inputs.

    Attributes:
        families: the ways to choose a rank's factors; the one with the least error is taken.
        mean_in: (n,) of the inputs, None for a layer without a bias.
        mean_out: (m,) of the outputs to reproduce, None for a layer without a bias.
        dtype: of the layer, and of what is made from it.
    """

    families: tuple[_Family, ...]
    mean_in: Tensor | None
    mean_out: Tensor | None
    dtype: torch.dtype

    @property
    def full(self) -> int:
        """min(m, n), the highest rank there is."""
        return len(self.families[0].core)

    def tails(self) -> Tensor:
        """(k + 1,) float64: the error of rank 0, 1, ..., k = min(m, n).

        It is what the calibration inputs measure, whatever the damping: the mean over the inputs of
        the squared distance, in the form, of the outputs of `truncate` to those to reproduce.
        """
        return torch.stack([family.tails for family in self.families]).amin(0)

    def truncate(self, rank: int) -> tuple[Factors, Tensor | None]:
        """The factors of a rank, balanced, and the bias that goes with them.

        Returns:
            The factors; the bias (m,), None for a layer without one.

        Raises:
            ValueError: unless 1 <= rank <= min(m, n).
        """
        check_rank(rank, self.full)
        family = min(self.families, key=lambda family: float(family.tails[rank]))
        factors = balanced(family.left[:, :rank], family.core[:rank].mT)
        bias = None
        if self.mean_in is not None and self.mean_out is not None:
            bias = self.mean_out - factors.u @ (factors.v.mT @ self.mean_in)
            bias = bias.to(self.dtype)
        return Factors(factors.u.to(self.dtype), factors.v.to(self.dtype)), bias


def whitened(
    weight: Tensor,
    bias: Tensor | None,
    moments: Moments,
    *,
    damping: float | None = None,
    form: Tensor | None = None,
) -> Whitened:
    """Every rank's best approximation of a linear layer on the inputs it gets.

    For no rank is the error on those inputs above that of the truncated singular value
    decomposition, with its bias adjusted alike. Without damping it is the least there is.

    Args:
        weight: (m, n) floats.
        bias: (m,), or None for a layer without one: then the inputs are not centred.
        moments: of the layer's inputs.
        damping: the fraction in [0, 1] by which the inputs' covariance is shrunk towards a multiple
            of the identity: 0 trusts the inputs, 1 leaves the plain truncation. None takes
            `shrinkage`, which suits the number of inputs.
        form: (m, m) symmetric positive definite, what weighs the outputs' errors; None for the
            identity.

    Raises:
        ValueError: for a weight that is no finite matrix, moments of no inputs or of another
            length, a bias or form that does not fit, or a damping out of range.

    Source: truncation by the inputs' second moment: Chen et al. 2021 (DRONE),
    https://papers.nips.cc/paper/2021/hash/f56de5ef149cf0aedcc8f4797031e229-Abstract.html; Wang et
    al. 2024 (SVD-LLM), https://arxiv.org/abs/2403.07378
    """
    check_layer(weight, bias)
    check_features(len(moments.mean), weight)
    exact = weight.detach().double()
    damp = damped_second(moments, damping, centred=bias is not None)
    true = moments.second() if bias is None else moments.covariance()
    outputs, root = exact @ true @ exact.mT, form_root(form, exact)
    families = (
        _family(exact, damp, outputs, None, root),
        _plain(exact, true, exact @ true, outputs, None, root),
    )
    if bias is None:
        return Whitened(families, None, None, weight.dtype)
    mean_out = exact @ moments.mean + bias.detach().double()
    return Whitened(families, moments.mean, mean_out, weight.dtype)


def regressed(
    weight: Tensor,
    bias: Tensor | None,
    inputs: Tensor,
    targets: Tensor,
    *,
    damping: float | None = None,
    form: Tensor | None = None,
) -> Whitened:
    """Every rank's approximation of given outputs by a linear map of given inputs.

    The asymmetric case: the inputs are those that a layer gets from layers already approximated,
    the targets what it put out in the original network; so it makes up for some of their error.
    Reduced-rank regression, shrunk towards reproducing W x + b.

    Args:
        weight: (m, n) floats.
        bias: (m,), or None for a layer without one: then nothing is centred.
        inputs: (N, n).
        targets: (N, m).
        damping: see `whitened`.
        form: see `whitened`.

    Raises:
        ValueError: for sizes that do not fit, values that are not finite, or a damping out of
            range.

    Source: Izenman 1975, https://doi.org/10.1016/0047-259X(75)90042-1; the asymmetric problem:
    Zhang et al. 2015, section 3.3, https://arxiv.org/abs/1505.06798
    """
    check_layer(weight, bias)
    check_samples(weight, inputs, targets)
    exact, x, y = weight.detach().double(), inputs.detach().double(), targets.detach().double()
    mean_in, mean_out = x.mean(0), y.mean(0)
    inside = x - mean_in
    covariance = inside.mT @ inside / len(x)
    rho, mu = damped(covariance, len(x), damping)
    damp, true = shrunk(covariance, rho, mu), covariance
    cross = (1.0 - rho) * ((y - mean_out).mT @ inside) / len(x) + rho * mu * exact
    if bias is None:
        true, damp = x.mT @ x / len(x), damp + torch.outer(mean_in, mean_in)
        cross = cross + torch.outer(mean_out, mean_in)
    else:
        x, y = inside, y - mean_out
    solved = torch.cholesky_solve(cross.mT, torch.linalg.cholesky(damp)).mT
    outputs, root = y.mT @ y / len(y), form_root(form, exact)
    missed = [_second(y - x @ linear.mT) for linear in (solved, exact)]
    families = (
        _family(solved, damp, outputs, missed[0], root),
        _family(exact, damp, outputs, missed[1], root),
        _plain(exact, true, y.mT @ x / len(x), outputs, missed[1], root),
    )
    if bias is None:
        return Whitened(families, None, None, weight.dtype)
    return Whitened(families, mean_in, mean_out, weight.dtype)


def _second(samples: Tensor) -> Tensor:
    second: Tensor = samples.mT @ samples / len(samples)
    return second


def _directions(linear: Tensor, damp: Tensor | None) -> Tensor:
    """(m, min(m, n)): orthonormal, the directions of B x by falling variance, x as in `damp`."""
    if linear.shape[0] > linear.shape[1]:
        span = torch.linalg.qr(linear)
        tall: Tensor = span.Q @ _directions(span.R, damp)
        return tall
    gram = linear @ linear.mT if damp is None else linear @ damp @ linear.mT
    vectors: Tensor = torch.linalg.eigh(gram).eigenvectors
    return vectors.flip(1)


def _family(
    linear: Tensor,
    damp: Tensor | None,
    outputs: Tensor,
    residual: Tensor | None,
    root: Tensor | None,
) -> _Family:
    """The approximations y ~ P_r P_r^T B x, P_r the leading directions of B x; and their errors.

    The error splits: of y it loses what is outside of P_r, and inside what B x misses.

    Args:
        linear: (m, n) B.
        damp: (n, n) second moment of x for the directions; None for the identity.
        outputs: (m, m) second moment of y.
        residual: (m, m) second moment of y - B x; None if y is B x.
        root: of the form, in which all this is done; None for the identity.
    """
    if root is not None:
        outputs = root @ outputs @ root.mT
        residual = None if residual is None else root @ residual @ root.mT
        family = _family(root @ linear, damp, outputs, residual, None)
        return replace(family, left=torch.linalg.solve_triangular(root, family.left, upper=True))
    basis = _directions(linear, damp)
    outside = ((outputs @ basis) * basis).sum(0).clamp(min=0.0)
    tails = torch.cat([outside.flip(0).cumsum(0).flip(0), outside.new_zeros(1)])
    if residual is not None:
        inside = ((residual @ basis) * basis).sum(0).clamp(min=0.0)
        tails[1:] += inside.cumsum(0)
        tails += (outputs.trace() - outside.sum()).clamp(min=0.0)
    return _Family(basis, basis.mT @ linear, tails)


def _plain(
    weight: Tensor,
    second: Tensor,
    cross: Tensor,
    outputs: Tensor,
    residual: Tensor | None,
    root: Tensor | None,
) -> _Family:
    """The truncations of W itself, and their errors in the form.

    Args:
        weight: (m, n).
        second: (n, n) second moment of x.
        cross: (m, n) mean of y x^T.
        outputs: see `_family`.
        residual: see `_family`.
        root: see `_family`.
    """
    family = _family(weight, None, outputs, residual, None)
    if root is None:
        return family
    left, cross = root @ family.left, root @ cross
    gains = ((cross @ family.core.mT) * left).sum(0).cumsum(0)
    sizes = (left.mT @ left) * (family.core @ second @ family.core.mT)
    none = ((root @ outputs) * root).sum()
    tails = none - 2.0 * gains + sizes.cumsum(0).cumsum(1).diagonal()
    return replace(family, tails=torch.cat([none[None], tails]).clamp(min=0.0))
