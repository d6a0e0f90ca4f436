"""The spatial scheme fitted to what a convolution sees."""

import pytest
import torch
from torch import Tensor, nn

from boildown.calibrate import Samples
from boildown.lowrank import scheme as of
from boildown.lowrank.fitted_layer import FittedLayer, Method, Way
from boildown.lowrank.prune_ranks import prune_ranks
from boildown.lowrank.separable import separable_metric


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def measured(weight: Tensor, nearest: Tensor, patches: Tensor, metric: Tensor) -> float:
    errors = patches @ (weight - nearest).flatten(1).mT
    return float(((errors @ metric) * errors).sum(1).mean())


@pytest.mark.parametrize("damping", [0.0, 0.3])
@pytest.mark.parametrize("rank", [1, 3, 6])
def test_error_is_the_one_measured_and_below_that_of_plain(rank: int, damping: float) -> None:
    weight, mixed, across = draw(6, 4, 3, 2), draw(12, 12, seed=1), draw(2, 2, seed=2)
    white = draw(5000, 24, seed=3)  # exactly white: its second moment is the identity
    white = white @ torch.linalg.inv(torch.linalg.cholesky(white.mT @ white / 5000)).mT
    patches = torch.einsum("ij,njk,lk->nil", mixed, white.unflatten(1, (12, 2)), across).flatten(1)
    root = draw(6, 6, seed=4)
    metric = root @ root.mT + torch.eye(6)
    found = separable_metric(patches, 2, 6, damping=damping, metric=metric, centred=False)
    spectrum = found.decompose(of.matrices(weight, "spatial")[0])
    fitted = of.fold(spectrum.truncate(rank).product()[None], "spatial", weight.shape)
    lost = measured(weight, fitted, patches, metric)
    assert lost <= measured(weight, of.approximate(weight, "spatial", rank), patches, metric)
    if damping == 0.0:
        assert lost == pytest.approx(float(spectrum.tails()[rank]), rel=1e-6)


def test_full_damping_is_the_plain_truncation() -> None:
    weight, patches = draw(6, 4, 3, 3), draw(50, 36, seed=1)
    found = separable_metric(patches, 3, 6, damping=1.0)
    spectrum = found.decompose(of.matrices(weight, "spatial")[0])
    nearest = of.fold(spectrum.truncate(4).product()[None], "spatial", weight.shape)
    torch.testing.assert_close(nearest, of.approximate(weight, "spatial", 4))


def test_one_patch_and_patches_of_zeros_are_enough_to_run() -> None:
    matrix = of.matrices(draw(6, 4, 3, 3), "spatial")[0]
    for patches in (draw(1, 36), torch.zeros(5, 36)):
        factors = separable_metric(patches, 3, 6).decompose(matrix).truncate(3)
        assert torch.isfinite(factors.product()).all()


def test_a_metric_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the metric must be \(6, 6\), got \(5, 5\)"):
        separable_metric(draw(9, 36), 3, 6, metric=torch.eye(5))


@pytest.mark.parametrize("seed", range(6))
def test_a_solution_is_never_worse_than_plain_on_what_it_is_fitted_to(seed: int) -> None:
    torch.manual_seed(seed)
    conv = nn.Conv2d(3, 6, 3).double()
    x = draw(8, 27, seed=seed)  # too few and far from a Kronecker product
    seen = Samples(x[None], (x @ conv.weight.flatten(1).mT + conv.bias)[None].detach())
    layer = FittedLayer(conv, "spatial", seen, relu=False)

    def lost(method: Method, rank: int) -> float:
        (found,) = layer.solve(method, [rank], seen, Way(0.0), asymmetric=False).values()
        gap = (seen.outputs - layer.outputs(found, seen.inputs))[0].detach()
        return float((gap - gap.mean(0)).square().sum())

    for rank in (1, 2, 4, 8):
        assert lost("activation", rank) <= lost("plain", rank) * (1 + 1e-9)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_rank_pruning_reports_what_its_separable_layers_lose(groups: int, bias: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, 3, groups=groups, bias=bias)
    conv.weight.data = of.approximate(conv.weight.data, "spatial", 2, groups)
    conv.weight.data += 0.02 * torch.randn_like(conv.weight)
    model, x = nn.Sequential(conv, nn.ReLU(), nn.Conv2d(8, 2, 1)), draw(80, 4, 6, 6).float()
    found = prune_ranks(model, x, 0.3, layers=["0"], compare=False)
    assert found.model[0].v.kernel_size == (3, 1)
    with torch.no_grad():
        before, now = conv(x).relu(), found.model[0](x).relu()
    lost = float((before - now).square().sum() / (before - before.mean(0)).square().sum()) ** 0.5
    assert found.errors["0"] == pytest.approx(lost, rel=1e-4)
    assert lost < 0.4
