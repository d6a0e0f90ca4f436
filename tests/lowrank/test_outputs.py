"""boildown.lowrank.outputs: which outputs go when the ranks go too."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from boildown.lowrank.fitted_layer import Dense
from boildown.lowrank.outputs import Dropping, droppings, narrowed, outputs_to_drop
from boildown.lowrank.prune_ranks import prune_ranks
from boildown.lowrank.studied import Studied

CALIBRATION = torch.randn(300, 12, generator=torch.Generator().manual_seed(1))


def redundant(outputs: int = 24, own: int = 8) -> nn.Sequential:
    """Of the first layer's outputs all but some are mixtures of the ones before them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, outputs), nn.Identity(), nn.Linear(outputs, 10))
    with torch.no_grad():
        mix = torch.randn(outputs - own, own) / own**0.5
        model[0].weight[own:] = mix @ model[0].weight[:own]
        model[0].bias[own:] = mix @ model[0].bias[:own]
    return model.eval()


def images() -> nn.Sequential:
    """Channels in pairs that are the same, then flattened."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(16 * 9, 20), nn.ReLU(), nn.Linear(20, 4),
    )  # fmt: skip
    with torch.no_grad():
        model[0].weight[8:] = model[0].weight[:8]
        model[0].bias[8:] = model[0].bias[:8]
    return model.eval()


def studied(model: nn.Module, calibration: Tensor = CALIBRATION) -> Studied:
    return Studied(model, calibration, None, "cheapest", 300, 8, 0)


def quiet(_: int) -> None:
    pass


def distance(model: nn.Module, inputs: Tensor) -> Callable[[nn.Module], float]:
    with torch.no_grad():
        before = copy.deepcopy(model)(inputs)

    def evaluate(now: nn.Module) -> float:
        with torch.no_grad():
            return float((now(inputs) - before).square().sum() / before.square().sum())

    return evaluate


def test_mixtures_of_other_outputs_cost_nothing_and_own_ones_do() -> None:
    found = droppings(studied(redundant()), quiet)
    assert set(found) == {"0"}
    changes = found["0"].changes
    assert changes[0] == 0.0
    assert all(lost < 1e-5 for count, lost in changes.items() if count <= 16)
    assert all(lost > 1e-3 for count, lost in changes.items() if count > 17)
    assert list(changes.values()) == sorted(changes.values())


def test_channels_are_dropped_with_all_their_pixels() -> None:
    model = images()
    x = torch.randn(300, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    net = studied(model, x)
    found = droppings(net, quiet)
    assert set(found) == {"0", "4"}
    assert found["0"].reader.inputs.shape == (16, 9)
    first = found["0"].order[:8] % 8
    assert sorted(first.tolist()) == list(range(8))  # one of each pair
    small, left = narrowed(net, found, {"0": 8, "4": 3})
    assert small[0].weight.shape == (8, 3, 3, 3)
    assert small[4].weight.shape == (17, 8 * 9)
    assert small[6].weight.shape == (4, 17)
    assert len(left["0"]) == 8
    fresh = torch.randn(200, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    assert distance(model, fresh)(narrowed(net, found, {"0": 8})[0]) < 1e-3
    assert distance(model, fresh)(small) < 0.2


def test_a_network_that_counts_its_features_keeps_them() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(12, 8), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.b(self.a(x).reshape(-1, 8))
            return out

    class Scales(Counts):
        def forward(self, x: Tensor) -> Tensor:
            h = self.a(x)
            out: Tensor = self.b(h * h.shape[1])
            return out

    class Splits(Counts):
        def forward(self, x: Tensor) -> Tensor:
            h = self.a(x)
            out: Tensor = self.b(torch.cat([h[:, :-3].relu(), h[:, -3:].sigmoid()], 1))
            return out

    torch.manual_seed(0)
    for net in (Counts(), Scales(), Splits()):
        assert droppings(studied(net.eval()), quiet) == {}


def best(
    net: Studied, curves: Any, found: dict[str, Dropping], change: float
) -> tuple[int, dict[str, int]]:
    """Of all widths and ranks those with the fewest parameters, by trying."""
    ((name, one),) = found.items()
    reader, k = one.reader.layer, one.reader.inputs.shape[1]
    first, second = net.layers[name], net.layers[reader]
    m, n = first.module.weight.shape[:2]
    out, inside = second.module.weight.shape[:2]
    options = []
    for count, lost in one.changes.items():
        for r, a in [(None, 0.0), *curves[name].items()]:
            for q, b in [(None, 0.0), *curves[reader].items()]:
                if lost + a + b <= change:
                    size = first.parameters_of(r, m - count, n)
                    size += second.parameters_of(q, out, inside - k * count)
                    options.append((size, count))
    size, count = min(options)
    return size, {name: count}


@pytest.mark.parametrize("change", [0.001, 0.01, 0.05, 0.2])
def test_widths_and_ranks_are_near_the_best_of_all(change: float) -> None:
    net = studied(redundant())
    found = droppings(net, quiet)
    curves = {
        name: {r: 0.5 ** (r / 2) for r in range(1, layer.highest + 1)}
        for name, layer in net.layers.items()
    }
    counts = outputs_to_drop(net, curves, found, change)
    sizes = {name: list(layer.module.weight.shape) for name, layer in net.layers.items()}
    sizes["0"][0] -= counts.get("0", 0)
    sizes["2"][1] -= counts.get("0", 0)
    left = change - found["0"].changes[counts.get("0", 0)]
    assert left >= 0.0
    a, b = net.layers["0"], net.layers["2"]
    ours = min(
        a.parameters_of(r, *sizes["0"]) + b.parameters_of(q, *sizes["2"])
        for r, x in [(None, 0.0), *curves["0"].items()]
        for q, y in [(None, 0.0), *curves["2"].items()]
        if x + y <= left
    )
    fewest, _ = best(net, curves, found, change)
    assert ours <= 1.25 * fewest


@pytest.mark.parametrize("groups", [1, 4])
def test_a_narrower_layer_s_parameters_are_those_it_has(groups: int) -> None:
    model = images()
    model[1] = nn.Sequential(nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, groups=groups))
    net = studied(model, torch.randn(40, 3, 6, 6))
    for layer in net.layers.values():
        m, n = layer.module.weight.shape[:2]
        assert layer.parameters_of(None, m, n) == layer.dense
        assert layer.parameters_of(2, m, n) == layer.parameters(2)
        less = layer.parameters_of(None, m - 1, n)
        assert layer.dense - less == layer.module.weight[0].numel() + 1


def test_nothing_goes_where_nothing_may_change() -> None:
    net = studied(redundant())
    found = droppings(net, quiet)
    curves = {name: dict.fromkeys(range(1, 5), 1.0) for name in net.layers}
    costly = {n: Dropping(d.reader, d.order, {0: 0.0, 3: 0.5}) for n, d in found.items()}
    assert outputs_to_drop(net, curves, costly, 0.0) == {}
    assert outputs_to_drop(net, curves, {}, 0.1) == {}


def test_a_dense_solution_is_its_weight() -> None:
    layer = studied(redundant()).layers["2"]
    weight = torch.ones_like(layer.module.weight)
    assert layer.product(Dense(weight, None)) is weight


def test_prune_ranks_drops_outputs() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 30), nn.ReLU())
    model.append(nn.Linear(30, 5))
    with torch.no_grad():
        model[0].weight[10:] = model[0].weight[:10].repeat(3, 1)
        model[0].bias[10:] = model[0].bias[:10].repeat(3)
    evaluate = distance(model.eval(), torch.randn(500, 12))
    settings: Any = {"evaluate": evaluate, "evaluations": 14}
    without = prune_ranks(model, CALIBRATION, 0.02, **settings)
    result = prune_ranks(model, CALIBRATION, 0.02, drop_outputs=True, **settings)
    assert without.outputs == {}
    assert len(result.outputs["0"]) <= 12
    assert result.parameters < 0.8 * without.parameters
    assert result.parameters == sum(p.numel() for p in result.model.parameters())
    assert result.metric is not None
    assert evaluate(result.model) == pytest.approx(result.metric, rel=1e-4)
    assert result.metric <= 0.02 + 1e-6
    assert [s.parameters for s in result.path if s.accepted][-1] == result.parameters
    assert result.flops > without.flops
    assert set(result.errors) == set(result.ranks)
    assert all(0.0 <= error < 0.5 for error in result.errors.values())


def copies(outputs: int = 64, own: int = 16) -> nn.Sequential:
    """Of the hidden units all but some are copies."""
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(12, outputs), nn.ReLU(), nn.Linear(outputs, 8))
    with torch.no_grad():
        model[0].weight.copy_(model[0].weight[:own].repeat(outputs // own, 1))
        model[0].bias.copy_(model[0].bias[:own].repeat(outputs // own))
    return model.eval()


def test_outputs_go_where_no_rank_does() -> None:
    model = copies()
    before = torch.get_rng_state()
    evaluate = distance(model, CALIBRATION)
    result = prune_ranks(
        model, CALIBRATION, 1e-4, evaluate=evaluate, evaluations=12, drop_outputs=True
    )
    assert len(result.outputs["0"]) <= 20
    assert result.parameters <= 12 * 20 + 20 + 20 * 8 + 8
    assert torch.equal(torch.get_rng_state(), before)


def test_a_narrower_network_that_loses_too_much_is_tried_smaller_and_counted() -> None:
    model = copies()
    calls = []

    def fussy(network: nn.Module) -> float:
        calls.append(sum(p.numel() for p in network.parameters()))
        return 0.0 if calls[-1] == calls[0] else 1.0

    def result(drop: bool) -> Any:
        calls.clear()
        return prune_ranks(
            model, CALIBRATION, 0.1, evaluate=fussy, evaluations=4,
            drop_outputs=drop,
        )  # fmt: skip

    without, dropped = result(drop=False), result(drop=True)
    assert dropped.outputs == {}
    assert dropped.parameters == without.parameters
    assert len(dropped.path) == len(calls) - 1 > len(without.path)
    assert not any(step.accepted for step in dropped.path)
    assert dropped.flops > without.flops


def test_the_narrower_network_is_kept_where_no_rank_of_it_pays() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    ).eval()
    with torch.no_grad():
        model[0].weight[2:] = model[0].weight[:2].repeat(3, 1, 1, 1)
        model[0].bias[2:] = model[0].bias[:2].repeat(3)
    x = torch.randn(200, 3, 6, 6)
    result, again = (
        prune_ranks(model, x, 0.01, evaluate=distance(model, x), drop_outputs=True)
        for _ in range(2)
    )
    assert (again.outputs, again.ranks) == (result.outputs, result.ranks)
    assert len(result.outputs["0"]) == 2
    assert result.parameters <= sum(p.numel() for p in nn.Conv2d(3, 2, 3).parameters()) + 9


def test_grouped_layers_keep_their_outputs() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4),
    )  # fmt: skip
    x = torch.randn(80, 3, 6, 6)
    evaluate = distance(model.eval(), torch.randn(100, 3, 6, 6))
    result = prune_ranks(
        model, x, 0.2, evaluate=evaluate, evaluations=4, positions=4, drop_outputs=True
    )
    assert set(result.outputs) <= {"5"}
    assert result.parameters == sum(p.numel() for p in result.model.parameters())


def test_never_more_parameters_than_without() -> None:
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 9))
    evaluate = distance(model.eval(), torch.randn(500, 12))
    settings: Any = {"evaluate": evaluate, "evaluations": 8}
    for tolerance in (0.0, 0.01, 0.3):
        without = prune_ranks(model, CALIBRATION, tolerance, **settings)
        result = prune_ranks(model, CALIBRATION, tolerance, drop_outputs=True, **settings)
        assert result.parameters <= without.parameters
        assert result.metric is not None
        assert result.metric <= tolerance + 1e-6


@pytest.mark.parametrize("settings", [{}, {"evaluate": lambda _: 0.0, "method": "plain"}])
def test_dropping_outputs_needs_what_tells_how_much_may_go(settings: Any) -> None:
    with pytest.raises(ValueError, match="drop_outputs needs evaluate"):
        prune_ranks(redundant(), CALIBRATION, 0.1, drop_outputs=True, **settings)
