"""Bits spread over a trained network: within the budget, and better than alike everywhere."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.allocate.widths import coded_bytes
from boildown.quantize.layers import Plan, quantize_oneshot
from boildown.quantize.mixed import UNITS, spread_bits

Pairs = list[tuple[Tensor, Tensor]]


class Uneven(nn.Module):
    """Two layers of one size, of which one hardly matters."""

    def __init__(self) -> None:
        super().__init__()
        self.much, self.little = nn.Linear(32, 64), nn.Linear(32, 64)
        self.head = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head((self.much(x) + 0.02 * self.little(x)).relu())
        return out


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return Uneven().eval()


@pytest.fixture
def pairs(net: nn.Module) -> Pairs:
    inputs = torch.randn(256, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return list(zip(inputs.split(64), net(inputs).split(64), strict=True))


def lost(net: nn.Module, small: nn.Module, pairs: Pairs) -> float:
    with torch.no_grad():
        return sum(float(F.mse_loss(small(x), net(x))) for x, _ in pairs)


@pytest.mark.parametrize("by", ["trace", "measured"])
@pytest.mark.parametrize("unit", UNITS)
def test_the_budget_is_kept_and_less_is_lost(
    net: nn.Module, pairs: Pairs, by: Any, unit: Any
) -> None:
    plan = Plan(bits=3)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    bits = spread_bits(net, pairs, plan, F.mse_loss, by=by, unit=unit)
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())
    assert max(bits.values()) > 3 > bits["little.weight"]
    data = [x for x, _ in pairs]
    alike, mixed = (quantize_oneshot(net, data, b) for b in (3, bits))
    costs = []
    for made, width in ((alike, dict.fromkeys(bits, 3)), (mixed, bits)):
        weights = {n: made.get_parameter(n) for n in bits}
        if unit == "bytes":
            costs.append(sum(coded_bytes(w) for w in weights.values()))
        else:  # linear layers: as many products as weights
            costs.append(float(sum(w.numel() * width[n] for n, w in weights.items())))
    assert costs[1] <= costs[0]
    assert lost(net, mixed, pairs) < lost(net, alike, pairs)


@pytest.mark.parametrize("unit", UNITS)
def test_members_of_a_group_get_one_width(net: nn.Module, pairs: Pairs, unit: Any) -> None:
    apart = spread_bits(net, pairs, Plan(bits=3), F.mse_loss, unit=unit)
    assert apart["much.weight"] != apart["little.weight"]
    groups = [["much", "little"]]
    bits = spread_bits(net, pairs, Plan(bits=3), F.mse_loss, unit=unit, groups=groups)
    assert bits["much.weight"] == bits["little.weight"]
    for bad, said in (([["much"], ["m*"]], "in two groups"), ([["q"]], "'q' matches no tensor")):
        with pytest.raises(ValueError, match=said):
            spread_bits(net, pairs, Plan(bits=3), F.mse_loss, groups=bad)


@pytest.mark.parametrize("unit", UNITS)
def test_columns_of_outliers_count_in_the_budget(net: nn.Module, pairs: Pairs, unit: Any) -> None:
    with torch.no_grad():
        net.much.weight[:, :3] *= 20.0  # type: ignore[index, operator]
    data = [x for x, _ in pairs]
    plan = Plan(bits=3, outliers=0.06)
    bits = spread_bits(net, pairs, plan, F.mse_loss, unit=unit)
    alike = quantize_oneshot(net, data, 3, outliers=0.06)
    mixed = quantize_oneshot(net, data, bits, outliers=0.06)
    assert sum(".outliers" in name for name, _ in mixed.named_parameters()) > 0

    def cost(model: nn.Module, width: Any) -> float:
        total = 0.0
        for name, p in model.named_parameters():
            layer = name.split(".")[0]
            if name.endswith("weight") and unit == "bytes":
                total += coded_bytes(p)
            elif name.endswith("weight"):
                total += p.numel() * (16 if "outliers" in name else width(f"{layer}.weight"))
        return 32 * total if unit == "operations" else total  # inputs are not rounded

    budget = cost(alike, lambda name: 3)
    assert cost(mixed, bits.__getitem__) <= 1.02 * budget  # the columns follow the bits
    without = spread_bits(net, pairs, Plan(bits=3), F.mse_loss, unit=unit, budget=budget)
    tight = spread_bits(net, pairs, plan, F.mse_loss, unit=unit, budget=budget)
    assert tight == bits
    assert sum(without.values()) >= sum(bits.values())


def test_what_cannot_be_is_named(net: nn.Module, pairs: Pairs) -> None:
    with pytest.raises(ValueError, match="leave out ternary"):
        spread_bits(net, pairs, Plan(bits="ternary"), F.mse_loss)
    with pytest.raises(ValueError, match="by must be one of trace, measured, got 'hessian'"):
        spread_bits(net, pairs, Plan(), F.mse_loss, by="hessian")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unit must be one of bytes, bits, operations"):
        spread_bits(net, pairs, Plan(), F.mse_loss, unit="kilobytes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="below"):
        spread_bits(net, pairs, Plan(), F.mse_loss, budget=10.0)
    with pytest.raises(ValueError, match="pairs"):
        spread_bits(net, [x for x, _ in pairs], Plan(), F.mse_loss)


def test_names_that_end_alike_are_told_apart(net: nn.Module, pairs: Pairs) -> None:
    both = nn.ModuleDict({"inner": net})
    both.much, both.little, both.head = (nn.Linear(32, 64), nn.Linear(32, 64), nn.Linear(64, 4))
    both.forward = lambda x: both["inner"](x) + both.head(both.much(x)) + both.little(x)[:, :4]  # type: ignore[method-assign]
    plan = Plan(bits=4)
    bits = spread_bits(both, pairs, plan, F.mse_loss)
    assert Plan(bits=bits).bits_of(bits) == bits
    assert len(set(bits.values())) > 1
