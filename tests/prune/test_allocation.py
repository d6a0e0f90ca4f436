"""Densities from measured sensitivities: within the budget, the best there are, never rising."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from boildown.prune.allocation import (
    LADDER,
    Budget,
    _loss_at,
    allocated_densities,
    fewest_cut,
    measured_curves,
)
from boildown.prune.criteria import magnitude
from boildown.prune.patterns import pattern_named


@st.composite
def layers(draw: st.DrawFn, most: int = 4, size: int = 400) -> tuple[dict[str, list[float]], dict]:
    """Curves that rise ever faster over -ln(density), and the sizes of their layers."""
    curves, sizes = {}, {}
    for i in range(draw(st.integers(1, most))):
        slopes = sorted(draw(st.lists(st.floats(0, 3), min_size=9, max_size=9)))
        depths = [0.0, *(-math.log(1 - level) for level in LADDER)]
        steps = [b - a for a, b in itertools.pairwise(depths)]
        rises = [slope * step for slope, step in zip(slopes, steps, strict=True)]
        curves[str(i)] = list(itertools.accumulate(rises))
        sizes[str(i)] = draw(st.integers(1, size))
    return curves, sizes


def spent(budget: Budget, densities: dict[str, float], sizes: dict[str, int]) -> float:
    return sum(budget.price[n] * density * sizes[n] for n, density in densities.items())


def lost(curves: dict, sizes: dict, densities: dict[str, float]) -> float:
    return sum(
        float(_loss_at(torch.tensor([densities[n] * sizes[n]]).double().numpy(), sizes[n], c)[0])
        for n, c in curves.items()
    )


@settings(deadline=None)
@given(layers(), st.floats(0, 1))
def test_nonzeros_are_met_exactly(net: tuple, kept: float) -> None:
    curves, sizes = net
    most = round(kept * sum(sizes.values()))
    budget = Budget(dict.fromkeys(sizes, 1.0), most)
    found = allocated_densities(curves, sizes, [budget])
    counts = {name: density * sizes[name] for name, density in found.items()}
    assert all(math.isclose(c, round(c), abs_tol=1e-6) for c in counts.values())
    assert all(0.0 <= density <= 1.0 for density in found.values())
    assert round(sum(counts.values())) == most


@settings(deadline=None)
@given(layers(), st.floats(0.01, 1), st.floats(0.01, 1), st.data())
def test_two_budgets_are_met_from_below(
    net: tuple, kept: float, flops: float, data: st.DataObject
) -> None:
    curves, sizes = net
    price = {name: data.draw(st.sampled_from([0.0, 1.0, 8.0, 64.0])) for name in sizes}
    total = sum(price[name] * sizes[name] for name in sizes)
    budgets = [
        Budget(dict.fromkeys(sizes, 1.0), math.floor(kept * sum(sizes.values()))),
        Budget(price, flops * total),
    ]
    found = allocated_densities(curves, sizes, budgets)
    for budget in budgets:
        assert spent(budget, found, sizes) <= budget.most * (1 + 1e-9) + 1e-9
    more = {n: d + 1 / sizes[n] for n, d in found.items() if d * sizes[n] + 1 <= sizes[n] + 1e-9}
    for name, density in more.items():  # no weight more could stay anywhere
        raised = found | {name: density}
        assert any(spent(b, raised, sizes) > b.most * (1 + 1e-12) for b in budgets)


@settings(deadline=None, max_examples=40)
@given(layers(most=3, size=12), st.floats(0.05, 1))
def test_it_is_the_best_there_is(net: tuple, kept: float) -> None:
    """Against all ways to keep so many of some small layers, above their floors."""
    curves, sizes = net
    most = round(kept * sum(sizes.values()))
    budget = Budget(dict.fromkeys(sizes, 1.0), most)
    found = allocated_densities(curves, sizes, [budget])
    share = min(most / sum(sizes.values()), 1.0)
    floors = [math.ceil(0.1 * share * size - 1e-9) for size in sizes.values()]
    if sum(floors) > most:
        floors = [0] * len(sizes)
    ways = itertools.product(
        *(range(f, s + 1) for f, s in zip(floors, sizes.values(), strict=True))
    )
    best = min(
        lost(curves, sizes, {n: c / sizes[n] for n, c in zip(sizes, way, strict=True)})
        for way in ways
        if sum(way) <= most
    )
    assert lost(curves, sizes, found) == pytest.approx(best, abs=1e-6)


@settings(deadline=None)
@given(layers(), st.floats(0, 1), st.floats(0, 1))
def test_more_room_is_never_worse(net: tuple, one: float, other: float) -> None:
    curves, sizes = net
    price = dict.fromkeys(sizes, 1.0)
    losses = [
        lost(
            curves,
            sizes,
            allocated_densities(curves, sizes, [Budget(price, round(kept * sum(sizes.values())))]),
        )
        for kept in sorted((one, other))
    ]
    # floors rise with the budget, and they may cost a little of what a small one leaves free
    assert losses[1] <= losses[0] * 1.05 + 0.05


@settings(deadline=None)
@given(st.floats(0.01, 1), st.floats(0, 1))
def test_bisection_meets_a_budget_from_below(budget: float, least: float) -> None:
    found = fewest_cut(lambda sparsity: 1.0 - sparsity, budget, least)
    assert least <= found <= 1.0
    assert 1.0 - found <= budget
    assert found == least or 1.0 - found >= 0.998 * budget


class Net(nn.Module):
    """A layer that nothing depends on, one that all does, and one of a second branch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.idle = nn.Linear(16, 6)
        self.last = nn.Linear(16, 6)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.conv(x).amax(3).flatten(1)
        return {"logits": self.last(x) + 0.0 * self.idle(x)}


def test_curves_say_what_a_layer_matters_and_leave_the_model_alone() -> None:
    torch.manual_seed(0)
    net, inputs = Net().train(), [torch.randn(8, 1, 6, 6), torch.randn(3, 1, 6, 6)]
    weights = {n: p for n, p in net.named_parameters() if p.ndim > 1}
    before = {name: value.clone() for name, value in net.state_dict().items()}
    curves = measured_curves(net, inputs, magnitude(weights, None))  # type: ignore[arg-type]
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert curves["idle.weight"] == [0.0] * len(LADDER)
    for name in ("conv.weight", "last.weight"):
        assert all(a <= b for a, b in itertools.pairwise(curves[name]))
        assert curves[name][0] > 0.0
    with torch.no_grad():  # half of the last layer, by hand
        outputs = torch.cat([net(x)["logits"] for x in inputs]).double()
        least = weights["last.weight"].abs().flatten().argsort()[:48]
        weights["last.weight"].view(-1)[least] = 0.0
        after = torch.cat([net(x)["logits"] for x in inputs]).double()
    moved = float((after - outputs).square().sum() / outputs.square().sum())
    assert curves["last.weight"][0] == pytest.approx(-math.log(1 - moved), rel=1e-5)


def test_patterns_are_measured_as_they_are_cut() -> None:
    torch.manual_seed(0)
    net, inputs = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)), [torch.randn(32, 8)]
    scores = {n: p.detach().abs() for n, p in net.named_parameters() if p.ndim > 1}
    single = measured_curves(net, inputs, scores)
    blocks = measured_curves(net, inputs, scores, pattern_named("4x4", "pattern"))
    assert blocks["0.weight"] != single["0.weight"]


def test_what_cannot_be_measured_is_named() -> None:
    net = nn.Sequential(nn.Linear(4, 4))
    scores = {"0.weight": net[0].weight.detach().abs()}
    with pytest.raises(ValueError, match="outputs of the network hold NaN"):
        measured_curves(net, [torch.full((2, 4), torch.nan)], scores)
    net[0].weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"no linear|0\.weight is no trained weight"):
        measured_curves(net, [torch.randn(2, 4)], scores)
