"""Second moments that can be decomposed, whatever the inputs are."""

import pytest
import torch

from boildown.calibrate.moments import Moments, damped_second


@pytest.mark.parametrize("spread", [0.0, 1e-12, 1e-9, 1e-6, 1.0])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("n", [3, 300])
def test_inputs_that_hardly_vary_have_a_positive_definite_second_moment(
    spread: float, centred: bool, n: int
) -> None:
    torch.manual_seed(0)
    moments = Moments()
    moments.update(5.0 * torch.rand(n).double() + spread * torch.randn(40, n).double())
    second = damped_second(moments, None, centred=centred)
    torch.linalg.cholesky(second)
    plain = moments.covariance()
    plain = plain if centred else plain + torch.outer(moments.mean, moments.mean)
    if spread == 1.0:  # the mean of the diagonal stays
        assert float(second.trace()) == pytest.approx(float(plain.trace()), rel=1e-9)
