"""boildown.allocate.size: a file at or below the asked size, whatever is left open."""

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from boildown.allocate.bits import bits_for_ratio
from boildown.allocate.size import AskedSize, UnreachableSizeError
from boildown.callbacks import LearnRanks, Prune, RoundWeights, ShareWeights
from boildown.codec import encode, estimate


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(100, 80), nn.ReLU(), nn.Linear(80, 10))


def asked(ratio: float, weights: Mapping[str, Tensor], *previews: object) -> AskedSize:
    dense = 4 * sum(p.numel() for p in weights.values())
    first, *then = (technique.preview for technique in previews)  # type: ignore[attr-defined]
    return AskedSize(dense / ratio, dense, estimate, first, then, asked=f"ratio={ratio}")


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("ratio", [8.0, 30.0])
def test_pruning_lands_at_or_below_the_size(ratio: float, scope: str) -> None:
    weights = dict(net().named_parameters())
    prune = Prune(scope=scope)  # type: ignore[arg-type]
    share = ShareWeights(bits=bits_for_ratio(ratio), dtype="float16")
    size = asked(ratio, weights, prune, share)
    made = share.preview(prune.preview(weights, size.amount(weights)))
    bytes_ = len(encode({name: tensor.detach() for name, tensor in made.items()}))
    assert 0.98 * size.bytes <= bytes_ <= size.bytes


def test_ranks_land_at_or_below_the_size() -> None:
    model = net()
    weights = dict(model.named_parameters())
    lowrank = LearnRanks()
    lowrank.look_at(model)  # type: ignore[arg-type]
    size = asked(5.0, weights, lowrank, RoundWeights(dtype="float16"))
    made = RoundWeights(dtype="float16").preview(lowrank.preview(weights, size.amount(weights)))
    assert {"0.u.weight", "0.v.weight", "0.u.bias"} <= set(made)
    bytes_ = len(encode({name: tensor.detach() for name, tensor in made.items()}))
    assert 0.95 * size.bytes <= bytes_ <= size.bytes  # a rank is 180 weights


@given(st.integers(1, 1000), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_the_largest_that_fits_is_found(levels: int, goal: int) -> None:
    """Against a search through all amounts there are, of sizes that fall in steps."""
    weights = {"w": torch.zeros(levels)}

    def preview(found: Mapping[str, Tensor], amount: float | None = None) -> dict[str, Tensor]:
        assert amount is not None
        return {"w": torch.zeros(levels - round(amount * levels))}

    size = AskedSize(float(goal), 4.0 * levels, lambda w: w["w"].numel(), preview)
    got = levels - round(size.amount(weights) * levels)
    assert got <= goal
    assert got >= min(goal * 0.995, levels)


def test_a_size_that_needs_nothing_is_known_at_once() -> None:
    amounts: list[float | None] = []

    def preview(found: Mapping[str, Tensor], amount: float | None = None) -> dict[str, Tensor]:
        amounts.append(amount)
        return dict(found)

    weights = {"w": torch.zeros(1000)}
    assert AskedSize(2000.0, 4000.0, lambda w: w["w"].numel(), preview).amount(weights) == 0.0
    assert amounts == [1.0, 0.5, 0.0]


def test_a_size_out_of_reach_is_refused() -> None:
    weights = {"w": nn.Parameter(torch.randn(20, 20))}
    size = asked(500.0, weights, Prune(), ShareWeights(bits=4))
    with pytest.raises(UnreachableSizeError, match=r"3 bytes \(ratio=500.0\) is out of reach"):
        size.amount(weights)


def test_a_ratio_must_shrink() -> None:
    with pytest.raises(ValueError, match=r"above 1, got 0.5"):
        bits_for_ratio(0.5)
