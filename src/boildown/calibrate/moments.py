"""Mean and second moment of what streams by, batch by batch."""

import torch
from torch import Tensor

from boildown.calibrate.checks import check_rows

LEAST_DAMPING = 1e-10  # orders the directions that no input shows, and keeps solutions finite
ROUNDING = 1e-13  # of a trace, that the least eigenvalue must be for a decomposition to succeed


class Moments:
    """Count, mean and second moment of a stream of vectors, in float64 on the vectors' device.

    Batches are merged as by Chan, Golub & LeVeque 1979: exact whatever the mean is, where sums of
    squares would cancel.

    Example:
        >>> moments = Moments()
        >>> moments.update(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
        >>> moments.count, moments.mean.tolist(), moments.covariance()[0].tolist()
        (2, [2.0, 0.0], [1.0, 0.0])
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None
        self._scatter: Tensor | None = None

    def update(self, inputs: Tensor) -> None:
        """Take in a batch.

        Args:
            inputs: (N, n) floats; an empty batch changes nothing.

        Raises:
            ValueError: if they are no matrix, hold NaN or infinity, or n is not that of before.
        """
        if len(inputs) == 0:
            return
        check_rows(inputs, "inputs")
        wide = inputs.detach().double()
        mean = wide.mean(0)
        centred = wide - mean
        count, scatter = len(wide), centred.mT @ centred
        if self._mean is None or self._scatter is None:
            self.count, self._mean, self._scatter = count, mean, scatter
            return
        if len(mean) != len(self._mean):
            raise ValueError(
                f"inputs have {len(mean)} features, but those before had {len(self._mean)}"
            )
        total = self.count + count
        step = mean.to(self._mean.device) - self._mean
        self._scatter += scatter.to(self._mean.device)
        self._scatter += torch.outer(step, step) * (self.count * count / total)
        self._mean = self._mean + step * (count / total)
        self.count = total

    @property
    def mean(self) -> Tensor:
        """(n,) float64."""
        if self._mean is None:
            raise ValueError("there are no moments of no inputs: update with a batch first")
        return self._mean

    def covariance(self) -> Tensor:
        """(n, n) float64: mean of (x - mean)(x - mean)^T, over the count, not the count less one.

        Raises:
            ValueError: if there were no inputs.
        """
        mean = self.mean
        assert self._scatter is not None
        return self._scatter.to(mean.device) / self.count

    def second(self) -> Tensor:
        """(n, n) float64: mean of x x^T.

        Raises:
            ValueError: if there were no inputs.
        """
        return self.covariance() + torch.outer(self.mean, self.mean)


class PairedMoments:
    """What a layer sees in a network and in what has become of it, row for row, in float64.

    Attributes:
        now: moments of the inputs that it gets in what the network has become.
    """

    def __init__(self) -> None:
        self.now = Moments()
        self._exact: Tensor | None = None  # means
        self._outputs: Tensor | None = None
        self._cross: Tensor | None = None  # sums of products of deviations
        self._power: Tensor | None = None

    def update(self, exact: Tensor, outputs: Tensor, inputs: Tensor) -> None:
        """Take in a batch of rows that belong together.

        Args:
            exact: (N, n), the inputs in the network.
            outputs: (N, m), what the layer makes of them there.
            inputs: (N, n), those in what it has become.

        Raises:
            ValueError: as `Moments.update`, or if there are not as many of each.
        """
        if not len(exact) == len(outputs) == len(inputs):
            raise ValueError(
                f"{len(exact)} rows in the network, {len(inputs)} in what it has become"
            )
        if len(inputs) == 0:
            return
        before, count = self.now.count, len(inputs)
        mean_before = self.now.mean if before else None
        self.now.update(inputs)
        wide = [each.detach().double() for each in (exact, outputs, inputs)]
        means = [each.mean(0) for each in wide]
        exact, outputs, inputs = (a - mean for a, mean in zip(wide, means, strict=True))
        cross, power = exact.mT @ inputs, outputs.square().sum(0)
        if mean_before is None or self._exact is None or self._outputs is None:
            self._exact, self._outputs, self._cross, self._power = *means[:2], cross, power
            return
        assert self._cross is not None
        assert self._power is not None
        steps = [means[0] - self._exact, means[1] - self._outputs, means[2] - mean_before]
        part = count / (before + count)
        self._cross += cross + torch.outer(steps[0], steps[2]) * (before * part)
        self._power += power + steps[1].square() * (before * part)
        self._exact = self._exact + steps[0] * part
        self._outputs = self._outputs + steps[1] * part

    @property
    def exact_mean(self) -> Tensor:
        """(n,) of the inputs in the network."""
        assert self._exact is not None
        return self._exact

    def cross(self) -> Tensor:
        """(n, n): covariance of the inputs in the network with those in what it has become."""
        assert self._cross is not None
        return self._cross / self.now.count

    def output_variance(self) -> Tensor:
        """(m,) of the layer's outputs in the network."""
        assert self._power is not None
        return self._power / self.now.count


def moments_of(inputs: Tensor) -> Moments:
    """Of one batch (N, n); see `Moments.update`."""
    moments = Moments()
    moments.update(inputs)
    return moments


def shrinkage(covariance: Tensor, count: int) -> float:
    """How far to shrink a sample covariance towards a multiple of the identity.

    The oracle approximating shrinkage: nearly the least expected squared error for Gaussian samples
    of unknown covariance. It falls with 1 / count and rises as the covariance nears the identity.

    Args:
        covariance: (n, n), of the samples.
        count: how many samples, at least 1.

    Returns:
        In (0, 1]; 1 where the covariance is a multiple of the identity already.

    Source: Chen, Wiesel, Eldar & Hero 2010, eq. 23, https://arxiv.org/abs/0907.4698
    """
    n = len(covariance)
    trace, squares = float(covariance.trace()), float(covariance.square().sum())
    above = (1.0 - 2.0 / n) * squares + trace**2
    below = (count + 1.0 - 2.0 / n) * (squares - trace**2 / n)
    return 1.0 if below <= above else above / below


def damped(covariance: Tensor, count: int, damping: float | None) -> tuple[float, float]:
    """The shrinkage to use, and the variance to shrink towards.

    Raises:
        ValueError: for a damping out of [0, 1].
    """
    if damping is not None and not 0.0 <= damping <= 1.0:
        raise ValueError(f"damping must be in [0, 1], or None to choose it, got {damping!r}")
    rho = shrinkage(covariance, count) if damping is None else damping
    variance = float(covariance.trace()) / len(covariance)
    return max(rho, LEAST_DAMPING), variance if variance > 0.0 else 1.0


def shrunk(covariance: Tensor, rho: float, variance: float) -> Tensor:
    """(n, n): (1 - rho) covariance + rho variance I."""
    second = (1.0 - rho) * covariance
    second.diagonal().add_(rho * variance)
    return second


def damped_second(moments: Moments, damping: float | None, *, centred: bool) -> Tensor:
    """The second moment of inputs, shrunk so that it is positive definite.

    Args:
        moments: of the inputs.
        damping: how far their covariance is shrunk towards a multiple of the identity, in [0, 1];
            None for `shrinkage`.
        centred: whether what the mean does is left out: a bias makes up for it.

    Returns:
        (n, n) float64.

    Raises:
        ValueError: for a damping out of range, or if there were no inputs.
    """
    covariance = moments.covariance()
    rho, variance = damped(covariance, moments.count, damping)
    second = shrunk(covariance, rho, variance)
    if not centred:
        second += torch.outer(moments.mean, moments.mean)
        lacking = ROUNDING * float(second.trace()) - rho * variance
        if lacking > 0.0:  # inputs that hardly vary: their mean alone has rank one
            second.diagonal().add_(lacking)
    return second


def form_root(form: Tensor | None, weight: Tensor) -> Tensor | None:
    """R, upper triangular, of a form Q = R^T R: y^T Q y = ||R y||^2.

    Args:
        form: (m, m) Q; None for the identity, whose root is None.
        weight: (m, n), whose outputs it weighs.

    Raises:
        ValueError: for a form that is not symmetric positive definite, or does not fit.
    """
    if form is None:
        return None
    m = len(weight)
    if form.shape != (m, m):
        raise ValueError(f"the form must be {(m, m)}, got {tuple(form.shape)}")
    factor, failed = torch.linalg.cholesky_ex(form.detach().double())
    if failed or not torch.isfinite(factor).all():
        raise ValueError("the form is not positive definite: make one with output_form")
    root: Tensor = factor.mT
    return root
