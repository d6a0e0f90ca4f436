"""boildown.lowrank.scheme: factors against the weights and the layers they stand for."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.utils.flop_counter import FlopCounterMode

from boildown.lowrank import scheme as s
from boildown.lowrank.factored_layer import blank, factor, layers, recognise
from boildown.lowrank.svd import Factors, decompose

CASES: list[tuple[nn.Module, str]] = [
    (nn.Linear(7, 5), "linear"),
    (nn.Linear(4, 9, bias=False), "linear"),
    (nn.Embedding(11, 6), "embedding"),
    (nn.Conv1d(6, 8, 3, stride=2, padding=1), "channel"),
    (nn.Conv2d(6, 8, 3, padding=1), "channel"),
    (nn.Conv2d(6, 8, (3, 2), stride=(2, 1), padding=(1, 0)), "spatial"),
    (nn.Conv2d(6, 8, 1, stride=2), "channel"),
    (nn.Conv2d(6, 8, (1, 3)), "spatial"),
    (nn.Conv2d(6, 8, 3, padding=2, dilation=(1, 2), groups=2), "channel"),
    (nn.Conv2d(6, 8, 3, stride=2, groups=2, bias=False), "spatial"),
    (nn.Conv2d(6, 12, 3, padding="same", padding_mode="reflect", groups=6), "spatial"),
    (nn.Conv2d(6, 8, (2, 4), padding="same"), "spatial"),
    (nn.Conv2d(6, 8, 3, stride=(1, 2), padding=1, padding_mode="replicate"), "spatial"),
    (nn.Conv3d(4, 5, 2, padding=1), "channel"),
]
IDS = [f"{i}-{type(m).__name__}-{scheme}" for i, (m, scheme) in enumerate(CASES)]
CASE = pytest.mark.parametrize(("module", "scheme"), CASES, ids=IDS)
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def seeded(module: nn.Module, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    made = torch.Generator().manual_seed(seed)
    module = module.to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=made, dtype=torch.float64))
    return module


def inputs(module: nn.Module) -> Tensor:
    if isinstance(module, nn.Embedding):
        return torch.arange(module.num_embeddings)[None]
    if isinstance(module, nn.Linear):
        return torch.randn(2, 3, module.in_features, dtype=module.weight.dtype)
    size = (9, 8, 7)[: module.weight.ndim - 2]
    return torch.randn(2, module.in_channels, *size, dtype=module.weight.dtype)


def some_rank(module: nn.Module, scheme: Any, part: float = 0.6) -> int:
    return max(1, int(s.full_rank(module, scheme) * part))


def kernel(module: nn.Module, built: nn.Sequential) -> Tensor:
    """The weight that layers apply, read off their responses to unit impulses."""
    weight = module.weight
    with torch.no_grad():
        bias = built.u.bias
        if isinstance(module, nn.Embedding):
            return built(torch.arange(module.num_embeddings))
        if isinstance(module, nn.Linear):
            out = built(torch.eye(module.in_features, dtype=weight.dtype))
            return (out - (0 if bias is None else bias)).T
    convolve: Any = [nn.functional.conv1d, nn.functional.conv2d, nn.functional.conv3d]
    convolve = convolve[weight.ndim - 3]
    parts = [part.weight.detach() for part in built]
    found = torch.zeros_like(weight)
    groups, inputs_ = module.groups, weight.shape[1]
    for i in range(inputs_):  # one impulse in channel i of each group
        x = torch.zeros(1, module.in_channels, *(2 * k - 1 for k in weight.shape[2:]))
        x = x.to(weight.dtype)
        for g in range(groups):
            x[(0, g * inputs_ + i, *(k - 1 for k in weight.shape[2:]))] = 1
        for part, layer in zip(parts, built, strict=True):
            x = convolve(x, part, groups=layer.groups)
        found[:, i] = x[0].flip(tuple(range(1, weight.ndim - 1)))
    return found


@CASE
def test_matrices_are_inverted_by_fold(module: nn.Module, scheme: str) -> None:
    weight, groups = module.weight.detach(), getattr(module, "groups", 1)
    split = s.matrices(weight, scheme, groups)
    assert split.ndim == 3
    assert len(split) == groups
    assert torch.equal(s.fold(split, scheme, weight.shape), weight)
    assert min(split.shape[1:]) == s.full_rank(module, scheme)


@CASE
def test_at_full_rank_the_layers_are_the_layer(module: nn.Module, scheme: str) -> None:
    module = seeded(module)
    built = factor(module, scheme, s.full_rank(module, scheme))
    x = inputs(module)
    torch.testing.assert_close(built(x), module(x), rtol=1e-8, atol=1e-8)


@CASE
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_squared_error_is_that_of_the_layers_kernel(
    module: nn.Module, scheme: Any, dtype: torch.dtype
) -> None:
    module = seeded(module, 1, dtype)
    rank = some_rank(module, scheme)
    missed = kernel(module, factor(module, scheme, rank)) - module.weight.detach()
    said = s.squared_errors(module.weight, scheme, s.groups_of(module))[rank]
    measured = float(missed.double().square().sum())
    assert float(said) == pytest.approx(measured, rel=1e-4, abs=1e-9)


@CASE
def test_the_layers_are_the_convolution_with_their_kernel(module: nn.Module, scheme: str) -> None:
    module = seeded(module, 2)
    built = factor(module, scheme, some_rank(module, scheme))
    x = inputs(module)
    low = seeded(module, 2)
    with torch.no_grad():
        low.weight.copy_(kernel(module, built))
    torch.testing.assert_close(built(x), low(x), rtol=1e-8, atol=1e-8)


@CASE
def test_the_cost_is_that_of_the_layers(module: nn.Module, scheme: str) -> None:
    rank = some_rank(module, scheme)
    built = factor(module, scheme, rank)
    assert s.parameters(module, scheme, rank) == sum(p.numel() for p in built.parameters())
    assert s.dense_parameters(module) == sum(p.numel() for p in module.parameters())
    even = s.break_even(module, scheme)
    if even:
        assert s.parameters(module, scheme, even) < s.dense_parameters(module)
    if even < s.full_rank(module, scheme):
        assert s.parameters(module, scheme, even + 1) >= s.dense_parameters(module)


@CASE
def test_a_blank_is_recognised(module: nn.Module, scheme: str) -> None:
    rank = some_rank(module, scheme)
    for bias in (False, True):
        built = blank(module, scheme, rank, bias=bias, device="meta")
        assert all(p.is_meta for p in built.parameters())
        assert recognise(module, built) == (scheme, rank)
    assert str(blank(module, scheme, rank)) == str(factor(module, scheme, rank))


@pytest.mark.parametrize(
    ("module", "scheme", "x", "positions"),
    [
        (nn.Linear(30, 20), "linear", torch.randn(1, 30), 1),
        (nn.Embedding(30, 20), "embedding", torch.arange(5)[None], 5),
        (nn.Conv2d(8, 12, 3, padding=1, groups=2), "channel", torch.randn(1, 8, 6, 6), 36),
        (nn.Conv2d(8, 12, 3, padding=1), "spatial", torch.randn(1, 8, 6, 6), 36),
        (nn.Conv2d(8, 12, (2, 1), stride=(2, 3)), "spatial", torch.randn(1, 8, 6, 6), 6),
    ],
)
def test_flops_are_what_torch_counts(
    module: nn.Module, scheme: str, x: Tensor, positions: int
) -> None:
    rank = some_rank(module, scheme, 0.4)
    for layer, said in (
        (module, s.dense_flops(module, positions)),
        (blank(module, scheme, rank), s.flops(module, scheme, rank, positions)),
    ):
        with FlopCounterMode(display=False) as counter:
            if isinstance(layer, nn.Conv2d) and layer.stride == (2, 3):
                layer(x[..., :6])
            else:
                layer(x)
        counted = counter.get_total_flops()
        assert said == counted


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(0, 99),
)
def test_spatial_is_the_sum_of_separable_kernels(
    m: int, c: int, rows: int, columns: int, groups: int, seed: int
) -> None:
    made = torch.Generator().manual_seed(seed)
    rank = 2
    h = torch.randn(groups, m, rank, columns, generator=made, dtype=torch.float64)
    v = torch.randn(groups, rank, c, rows, generator=made, dtype=torch.float64)
    weight = torch.einsum("gork,grci->gocik", h, v).flatten(0, 1)
    lost = s.squared_errors(weight, "spatial", groups)
    assert (lost.diff() <= 1e-9).all()
    if len(lost) > rank:
        assert lost[rank] <= 1e-20 * lost[0] + 1e-20
        parts = [
            decompose(m).truncate(rank).product() for m in s.matrices(weight, "spatial", groups)
        ]
        near = s.fold(torch.stack(parts), "spatial", weight.shape)
        torch.testing.assert_close(near, weight, rtol=1e-8, atol=1e-8)


def test_cheapest_is_the_cheapest_of_all_that_are_near_enough() -> None:
    torch.manual_seed(0)
    down, across = torch.randn(3, 6, 3), torch.randn(8, 3, 3)
    conv = nn.Conv2d(6, 8, 3, stride=2)
    with torch.no_grad():
        conv.weight.mul_(0.05).add_(torch.einsum("rik,orl->oikl", down, across))
    for error in (0.5, 0.2, 0.05):
        counts = {}
        for scheme in ("channel", "spatial"):
            lost = s.squared_errors(conv.weight, scheme).sqrt()
            near = [r for r in range(1, len(lost)) if lost[r] <= error * lost[0]]
            counts[scheme] = min(s.parameters(conv, scheme, r) for r in near)
        assert s.cheapest(conv, error) == min(counts, key=lambda scheme: counts[scheme])
    assert s.cheapest(conv, 0.05) == "spatial"
    assert s.cheapest(nn.Conv2d(6, 8, 3), 1e-3) == "channel"  # where dense is cheaper
    with pytest.raises(ValueError, match="error must be"):
        s.cheapest(conv, 0.0)


def test_bytes_are_those_of_the_parameters() -> None:
    for dtype, size in ((torch.float32, 4), (torch.bfloat16, 2)):
        conv = nn.Conv2d(6, 8, 3).to(dtype)
        built = factor(conv, "spatial", 3)
        assert s.cost_of(conv, "spatial", 3, "bytes") == sum(p.nbytes for p in built.parameters())
        assert s.cost_of(conv, None, None, "bytes") == size * s.dense_parameters(conv)
        assert s.cost_of(conv, "channel", 3, "bytes", itemsize=1) == s.parameters(
            conv, "channel", 3
        )


@pytest.mark.parametrize(
    ("module", "schemes", "says"),
    [
        (nn.Linear(3, 2), ("linear",), None),
        (nn.Embedding(3, 2), ("embedding",), None),
        (nn.Conv2d(3, 2, 1), ("channel",), None),
        (nn.Conv2d(4, 4, 3, groups=2), ("channel", "spatial"), None),
        (nn.Conv2d(4, 4, 3), ("channel", "spatial"), None),
        (nn.Embedding(3, 2, max_norm=1.0), (), "max_norm"),
        (nn.MultiheadAttention(4, 2), (), "projections as nn.Linear"),
        (nn.MultiheadAttention(4, 2).out_proj, (), "out_proj of a MultiheadAttention"),
        (prune.identity(nn.Linear(3, 2), "weight"), (), "prune.remove"),
        (nn.ConvTranspose2d(3, 3, 3), (), "transposed"),
        (nn.LayerNorm(3), (), "LayerNorm is not one of Linear"),
        (parametrizations.weight_norm(nn.Linear(3, 2)), (), "remove_parametrizations"),
        (parametrizations.spectral_norm(nn.Conv2d(3, 2, 3)), (), "remove_parametrizations"),
    ],
    ids=str,
)
def test_what_can_be_factorised(
    module: nn.Module, schemes: tuple[str, ...], says: str | None
) -> None:
    assert s.schemes_for(module) == schemes
    reason = s.why_not(module)
    assert reason is None if says is None else says in str(reason)


@pytest.mark.parametrize(
    ("module", "scheme", "rank", "says"),
    [
        (nn.Linear(3, 2), "linear", 0, "from 1 to 2, got 0"),
        (nn.Linear(3, 2), "linear", 3, "from 1 to 2, got 3"),
        (nn.Linear(3, 2), "linear", True, "got True"),
        (nn.Linear(3, 2), "linear", (1, 1), r"whole number from 1 to 2, got \(1, 1\)"),
        (nn.Linear(3, 2), "channel", 1, "a Linear has no scheme 'channel', only linear"),
        (nn.Conv2d(3, 2, 1), "spatial", 1, "use channel"),
        (nn.LayerNorm(3), "linear", 1, "LayerNorm"),
    ],
    ids=str,
)
def test_bad_ranks_are_named(module: nn.Module, scheme: str, rank: Any, says: str) -> None:
    for way in (factor, blank):
        with pytest.raises(ValueError, match=says):
            way(module, scheme, rank)  # type: ignore[operator]


@pytest.mark.parametrize("scheme", ["channel", "spatial"])
def test_a_weight_that_is_not_finite_is_refused(scheme: str) -> None:
    conv = nn.Conv2d(3, 4, 3)
    with torch.no_grad():
        conv.weight[1, 1, 1, 1] = math.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        factor(conv, scheme, 2)
    with pytest.raises(ValueError, match="NaN or infinity"):
        s.squared_errors(conv.weight, scheme)


def test_layers_of_given_factors_and_bias() -> None:
    linear = nn.Linear(4, 3, bias=False).eval()
    linear.weight.requires_grad_(False)
    parts, bias = Factors(torch.randn(3, 2), torch.randn(4, 2)), torch.randn(3)
    built = layers(linear, "linear", [parts], bias)
    assert list(built.state_dict()) == ["v.weight", "u.weight", "u.bias"]
    assert torch.equal(built.v.weight, parts.v.T)
    assert torch.equal(built.u.weight, parts.u)
    assert torch.equal(built.u.bias, bias)
    assert not built.training
    assert not any(p.requires_grad for p in built.parameters())
    conv = nn.Conv2d(4, 6, 3, groups=2, dtype=torch.bfloat16)
    each = [Factors(torch.randn(3, 2), torch.randn(18, 2)) for _ in range(2)]
    built = layers(conv, "channel", each, None)
    assert list(built.state_dict()) == ["v.weight", "u.weight"]
    assert built.v.weight.dtype == torch.bfloat16
    with pytest.raises(ValueError, match="one rank"):
        layers(conv, "channel", [each[0], Factors(torch.randn(3, 1), torch.randn(18, 1))], None)
    with pytest.raises(ValueError, match="do not fit"):
        layers(conv, "channel", each[:1], None)


def test_what_layers_did_not_make_is_not_recognised() -> None:
    linear, conv = nn.Linear(4, 3), nn.Conv2d(4, 3, 3)
    good = factor(conv, "channel", 2)
    good.v.stride = (2, 2)
    for module, built, says in (
        (linear, nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 3)), "Sequential of v and u"),
        (linear, nn.Linear(4, 3), "Sequential of v and u"),
        (linear, factor(nn.Linear(5, 3), "linear", 2), "expected"),
        (nn.Embedding(4, 3), factor(linear, "linear", 2), "no scheme"),
        (conv, good, "expected"),
        (linear, nn.Sequential(), "Sequential of v and u"),
        (linear, factor(conv, "channel", 2), "does not stand for a Linear"),
    ):
        with pytest.raises(ValueError, match=says):
            recognise(module, built)


def test_the_padding_symbol_and_the_memory_format_are_kept() -> None:
    embedding = nn.Embedding(9, 6, padding_idx=2)
    built = factor(embedding, "embedding", 3)
    assert built.v.padding_idx == 2
    assert not built(torch.tensor([2])).any()
    nn.init.ones_(embedding.weight)
    assert factor(embedding, "embedding", 3)(torch.tensor([2])).any()
    conv = nn.Conv2d(8, 8, 3).to(memory_format=torch.channels_last)
    built = factor(conv, "spatial", 4)
    assert built.v.weight.is_contiguous(memory_format=torch.channels_last)
    x = torch.randn(1, 8, 6, 6).to(memory_format=torch.channels_last)
    assert built(x).is_contiguous(memory_format=torch.channels_last)


def test_nothing_random_is_drawn() -> None:
    linear = nn.Linear(30, 20)
    before = torch.get_rng_state()
    factor(linear, "linear", 3)
    assert torch.equal(torch.get_rng_state(), before)
