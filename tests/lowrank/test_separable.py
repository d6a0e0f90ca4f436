"""The spatial scheme fitted to what a convolution sees."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor, nn

from boildown.calibrate.samples import Samples
from boildown.lowrank import scheme as of
from boildown.lowrank.activation import regressed
from boildown.lowrank.fitted_layer import FittedLayer, Method, Way
from boildown.lowrank.prune_ranks import prune_ranks
from boildown.lowrank.relu import LowRankLayer
from boildown.lowrank.separable import separable_form, separable_ranks
from boildown.lowrank.svd import decompose


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def truncated(weight: Tensor, rank: int, groups: int = 1) -> Tensor:
    """The nearest kernel of a rank."""
    split = of.matrices(weight, "spatial", groups)
    parts = [decompose(matrix).truncate(rank).product() for matrix in split]
    return of.fold(torch.stack(parts), "spatial", weight.shape)


def measured(weight: Tensor, nearest: Tensor, patches: Tensor, form: Tensor) -> float:
    errors = patches @ (weight - nearest).flatten(1).mT
    return float(((errors @ form) * errors).sum(1).mean())


@pytest.mark.parametrize("damping", [0.0, 0.3])
@pytest.mark.parametrize("rank", [1, 3, 6])
def test_error_is_the_one_measured_and_below_that_of_plain(rank: int, damping: float) -> None:
    weight, mixed, across = draw(6, 4, 3, 2), draw(12, 12, seed=1), draw(2, 2, seed=2)
    white = draw(5000, 24, seed=3)  # exactly white: its second moment is the identity
    white = white @ torch.linalg.inv(torch.linalg.cholesky(white.mT @ white / 5000)).mT
    patches = torch.einsum("ij,njk,lk->nil", mixed, white.unflatten(1, (12, 2)), across).flatten(1)
    root = draw(6, 6, seed=4)
    form = root @ root.mT + torch.eye(6)
    found = separable_form(patches, 2, 6, damping=damping, form=form, centred=False)
    spectrum = found.decompose(of.matrices(weight, "spatial")[0])
    fitted = of.fold(spectrum.truncate(rank).product()[None], "spatial", weight.shape)
    lost = measured(weight, fitted, patches, form)
    assert lost <= measured(weight, truncated(weight, rank), patches, form)
    if damping == 0.0:
        assert lost == pytest.approx(float(spectrum.tails()[rank]), rel=1e-6)


def test_full_damping_is_the_plain_truncation() -> None:
    weight, patches = draw(6, 4, 3, 3), draw(50, 36, seed=1)
    found = separable_form(patches, 3, 6, damping=1.0)
    spectrum = found.decompose(of.matrices(weight, "spatial")[0])
    nearest = of.fold(spectrum.truncate(4).product()[None], "spatial", weight.shape)
    torch.testing.assert_close(nearest, truncated(weight, 4))


def test_one_patch_and_patches_of_zeros_are_enough_to_run() -> None:
    matrix = of.matrices(draw(6, 4, 3, 3), "spatial")[0]
    for patches in (draw(1, 36), torch.zeros(5, 36)):
        factors = separable_form(patches, 3, 6).decompose(matrix).truncate(3)
        assert torch.isfinite(factors.product()).all()


def test_a_metric_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the form must be \(6, 6\), got \(5, 5\)"):
        separable_form(draw(9, 36), 3, 6, form=torch.eye(5))


def lost_by(
    layer: LowRankLayer, shape: torch.Size, patches: Tensor, targets: Tensor, relu: bool
) -> Tensor:
    """(N, outputs), with the kernel that the factors stand for."""
    kernel = of.fold(layer.factors.product()[None], "spatial", shape).flatten(1).double()
    outputs = patches.double() @ kernel.mT
    if layer.bias is not None:
        outputs = outputs + layer.bias.double()
    return outputs.relu() - targets.double().relu() if relu else outputs - targets


@settings(max_examples=20, deadline=None)
@given(
    st.tuples(*[st.integers(1, 3)] * 4).map(lambda s: (s[0] + 1, *s[1:])),
    st.integers(1, 30),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, 0.0, 0.4, 1.0]),
    st.integers(0, 10**6),
)
def test_errors_are_the_measured_ones_and_never_above_what_it_began_with(
    shape: tuple[int, int, int, int],
    count: int,
    with_bias: bool,
    same: bool,
    weighed: bool,
    damping: float | None,
    seed: int,
) -> None:
    kernel, patches = draw(*shape, seed=seed), draw(count, math.prod(shape[1:]), seed=seed + 1)
    bias = draw(shape[0], seed=seed + 2) if with_bias else None
    targets = patches @ kernel.flatten(1).mT + (0.0 if bias is None else bias)
    patches = patches if same else patches + 0.2 * draw(*patches.shape, seed=seed + 3)
    root = draw(shape[0], shape[0], seed=seed + 4)
    eye = torch.eye(shape[0], dtype=torch.float64)
    weigh = root @ root.mT + eye if weighed else eye
    matrix = of.matrices(kernel, "spatial")[0]
    for rank in {1, min(matrix.shape)}:
        behind: list[float] = []
        for relu in (False, True):
            (layer,) = separable_ranks(
                kernel,
                bias,
                patches,
                [rank],
                relu=relu,
                targets=None if same else targets,
                damping=damping,
                form=weigh if weighed else None,
                iterations=4,
            ).values()
            assert layer.factors.rank == rank
            assert (layer.bias is None) == (bias is None)
            lost = lost_by(layer, kernel.shape, patches, targets, relu)
            mean = float((lost @ weigh * lost).sum()) / count
            assert layer.error == pytest.approx(mean, rel=1e-8, abs=1e-18)
            assert layer.error <= layer.start
            lost = lost_by(layer, kernel.shape, patches, targets, True)
            behind.append(float(lost.square().sum()))
        if not weighed:  # else the ReLU's own gates make it another regression
            assert behind[1] <= behind[0] * (1.0 + 1e-9) + 1e-18


def test_kernels_of_one_column_reach_the_closed_form() -> None:
    kernel, bias, patches = draw(5, 4, 3, 1), draw(5, seed=1), draw(60, 12, seed=2)
    targets = patches @ kernel.flatten(1).mT + bias + 0.5 * draw(60, 5, seed=3)
    for rank in (1, 2, 4):
        exact = float(
            regressed(kernel.flatten(1), bias, patches, targets, damping=0.0).tails()[rank]
        )
        (found,) = separable_ranks(
            kernel, bias, patches, [rank], relu=False, targets=targets, damping=0.0, iterations=400
        ).values()
        assert found.error == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("relu", [False, True])
def test_close_to_the_best_that_a_general_optimiser_finds(relu: bool) -> None:
    kernel, bias, patches = draw(3, 2, 2, 2), draw(3, seed=1), draw(60, 8, seed=2)
    patches = patches @ draw(8, 8, seed=3)  # far from a Kronecker product
    targets = patches @ kernel.flatten(1).mT + bias

    def error(flat: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.from_numpy(flat).clone().requires_grad_()
        u, v, b = at[:6].view(3, 2), at[6:10].view(2, 2), at[10:]
        outputs = patches @ torch.einsum("oc,ir->oirc", u, v).flatten(1).mT + b
        lost = outputs.relu() - targets.relu() if relu else outputs - targets
        value = lost.square().sum(1).mean()
        value.backward()
        assert at.grad is not None
        return float(value.detach()), at.grad.numpy()

    rng = np.random.default_rng(0)
    tries = [minimize(error, rng.normal(size=13), jac=True).fun for _ in range(30)]
    (found,) = separable_ranks(
        kernel, bias, patches, [1], relu=relu, damping=0.0, iterations=300
    ).values()
    assert min(tries) * (1 - 1e-6) <= found.error <= 1.02 * min(tries)
    assert found.error < 0.9 * found.start


def test_through_the_relu_there_is_clearly_less_error_on_patches_not_seen() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 12, 3)
    images = nn.functional.avg_pool2d(torch.rand(300, 8, 12, 12), 3, 1).mul(6).sub(3).relu()
    patches = nn.functional.unfold(images, 3).mT.flatten(0, 1)
    patches = patches[torch.randperm(len(patches))[:9000]]
    seen, held = patches[:2000], patches[2000:]
    kernel, bias = conv.weight.detach(), conv.bias.detach() - 0.1  # type: ignore[union-attr]
    targets = held @ kernel.flatten(1).mT + bias
    errors = []
    for relu in (False, True):
        (found,) = separable_ranks(kernel, bias, seen, [6], relu=relu).values()
        assert found.factors.u.dtype == torch.float32
        lost = lost_by(found, kernel.shape, held, targets, True)
        errors.append(float(lost.square().sum()))
    plain = truncated(kernel, 6)
    bare = (held @ plain.flatten(1).mT + bias).relu() - targets.relu()
    assert errors[0] < 0.9 * float(bare.square().sum())
    assert errors[1] < 0.9 * errors[0]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_tells_nothing_is_enough_to_run(relu: bool, dtype: torch.dtype) -> None:
    kernel, patches = draw(6, 4, 3, 3).to(dtype), draw(50, 36, seed=1).to(dtype)
    dead = patches.clone()
    dead[:, :27] = 0.0
    nothing = torch.zeros(6, dtype=dtype)
    for weight, seen in (
        (kernel, dead),
        (kernel, patches[:1]),
        (kernel, torch.zeros_like(patches)),
        (torch.zeros_like(kernel), patches),
        (kernel[:, :1].expand(-1, 4, -1, -1), patches),
    ):
        for bias in (None, nothing, nothing - 1e3):
            found = separable_ranks(weight, bias, seen, [1, 3, 12], relu=relu, damping=0.0)
            assert all(torch.isfinite(one.factors.product()).all() for one in found.values())
            assert found[12].error == pytest.approx(0.0, abs=1e-6)


def test_what_cannot_be_is_refused() -> None:
    kernel, patches = draw(4, 2, 3, 3), draw(9, 18)
    with pytest.raises(ValueError, match="rank must be"):
        separable_ranks(kernel, None, patches, [7], relu=True)
    with pytest.raises(ValueError, match="inputs have 17 features, but the weight takes 18"):
        separable_ranks(kernel, None, patches[:, :17], [1], relu=True)
    with pytest.raises(ValueError, match="NaN"):
        separable_ranks(kernel, None, patches / 0.0, [1], relu=False)
    with pytest.raises(ValueError, match=r"penalties must be above 0, got -1\.0"):
        separable_ranks(kernel, None, patches, [1], relu=True, penalties=[-1.0])


@pytest.mark.parametrize("seed", range(6))
def test_a_solution_is_never_worse_than_plain_on_what_it_is_fitted_to(seed: int) -> None:
    torch.manual_seed(seed)
    conv = nn.Conv2d(3, 6, 3).double()
    x = draw(8, 27, seed=seed)  # too few and far from a Kronecker product
    y = (x @ conv.weight.flatten(1).mT + conv.bias).detach()
    seen = Samples(x[None], y[None], torch.zeros(len(x)))
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
    conv.weight.data = truncated(conv.weight.data, 2, groups)
    conv.weight.data += 0.02 * torch.randn_like(conv.weight)
    model, x = nn.Sequential(conv, nn.ReLU(), nn.Conv2d(8, 2, 1)), draw(80, 4, 6, 6).float()
    found = prune_ranks(model, x, 0.3, layers=["0"])
    assert found.model[0].v.kernel_size == (3, 1)
    with torch.no_grad():
        before, now = conv(x).relu(), found.model[0](x).relu()
    lost = float((before - now).square().sum() / (before - before.mean(0)).square().sum()) ** 0.5
    assert found.errors["0"] == pytest.approx(lost, rel=1e-4)
    assert lost < 0.4
