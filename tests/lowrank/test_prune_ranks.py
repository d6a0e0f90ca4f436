"""boildown.lowrank.prune_ranks: ranks from calibration samples, within a tolerance."""

import copy
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from draws import draw
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from boildown.calibrate.batches import CalibrationError
from boildown.calibrate.samples import Samples
from boildown.lowrank.factorize import factorize, structure
from boildown.lowrank.fitted_layer import FittedLayer, Way
from boildown.lowrank.gap import relative_gap
from boildown.lowrank.prune_ranks import METHODS, RankPruning, prune_ranks
from boildown.lowrank.rank_search import filled_curve, lower_hull
from boildown.models.transformer import GPT
from boildown.structure.replace import structure_of


def mlp(bias: bool = True) -> nn.Sequential:
    """Inputs in few directions, hidden units that are mostly off."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(20, 24, bias=bias), nn.ReLU(), nn.Linear(24, 16, bias=bias), nn.ReLU(),
        nn.Linear(16, 3, bias=bias),
    )  # fmt: skip
    if bias:
        model[0].bias.data -= 0.5
    return model


def convnet(groups: int = 1) -> nn.Sequential:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, groups=groups), nn.MaxPool2d(2), nn.ReLU(inplace=True),
        nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip
    model(draw(64, 2, 6, 6, seed=5) + 0.3)  # running statistics that are not the initial ones
    model[1].weight.data.uniform_(-1.0, 1.0)
    return model.eval()


def samples(n: int = 60, features: int = 20) -> Tensor:
    return draw(n, 6, seed=2) @ draw(6, features, seed=3) + 0.1 * draw(n, features, seed=4)


def distance(model: nn.Module, inputs: Tensor) -> Callable[[nn.Module], float]:
    """What a network puts out, against what it did at first: relative squared error."""
    with torch.no_grad():
        before = copy.deepcopy(model).eval()(inputs)

    def evaluate(now: nn.Module) -> float:
        assert not any(m.training for m in now.modules())
        with torch.no_grad():
            return float((now(inputs) - before).square().sum() / before.square().sum())

    return evaluate


def size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def check(model: nn.Module, result: RankPruning) -> None:
    """What holds of every result."""
    assert result.parameters == size(result.model)
    assert result.dense_parameters == size(model)
    assert set(result.errors) == set(result.ranks)
    for name, rank in result.ranks.items():
        dense, built = model.get_submodule(name), result.model.get_submodule(name)
        assert built.v.weight.shape[0] == rank * getattr(dense, "groups", 1)
        assert size(built) < size(dense) + built.v.weight.shape[0] + len(dense.weight)
    assert result.flops > 0
    assert structure_of(result.model) == structure(model, result.model)


@pytest.mark.parametrize(
    ("method", "tolerance"), [("relu", 0.01), ("activation", 0.01), ("plain", 0.2)]
)
def test_within_a_tolerance_of_the_metric(method: Any, tolerance: float) -> None:
    model, x = mlp(), samples()
    evaluate = distance(model, samples(200))
    result = prune_ranks(model, x, tolerance, evaluate=evaluate, method=method)
    check(model, result)
    assert result.dense_metric == pytest.approx(0.0, abs=1e-6)
    assert result.metric is not None
    assert result.metric <= tolerance + 1e-6
    assert evaluate(result.model.eval()) == pytest.approx(result.metric)
    assert result.ranks
    assert result.parameters < result.dense_parameters
    accepted = [step for step in result.path if step.accepted]
    assert accepted[-1].ranks == result.ranks
    assert all(
        step.accepted == (step.metric <= tolerance + result.dense_metric) for step in result.path
    )
    assert min(step.parameters for step in accepted) == result.parameters
    # the search ends where no layer went one lower
    refused = [step.ranks for step in result.path if not step.accepted]
    for name, rank in result.ranks.items():
        assert rank == 1 or any(ranks.get(name) == rank - 1 for ranks in refused)


def test_the_relu_and_the_inputs_save_more_than_the_plain_truncation() -> None:
    model, x = mlp(), samples(200)
    evaluate = distance(model, samples(400))
    sizes = [
        prune_ranks(model, x, 0.01, evaluate=evaluate, method=method).parameters
        for method in METHODS
    ]
    assert sizes[0] <= sizes[1] < sizes[2]


@pytest.mark.parametrize("tolerance", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("i", [0, 2, 4])
def test_the_plain_rank_is_the_lowest_within_a_relative_error(tolerance: float, i: int) -> None:
    """Against numpy: every rank's error behind the ReLU."""
    model, x = mlp(), samples(50)
    result = prune_ranks(model, x, tolerance, method="plain", layers=[str(i)])
    check(model, result)
    now = model[:i](x).detach().double().numpy()
    layer = copy.deepcopy(model[i]).double()
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    u, s, v = np.linalg.svd(weight, full_matrices=False)
    act = (lambda a: np.maximum(a, 0)) if i < 4 else (lambda a: a)
    y = act(now @ weight.T + bias)
    spread = np.square(y - y.mean(0)).sum()
    errors = [
        math.sqrt(np.square(act(now @ ((u[:, :r] * s[:r]) @ v[:r]).T + bias) - y).sum() / spread)
        for r in range(1, len(s) + 1)
    ]
    m, n = weight.shape
    useful = [r for r, e in enumerate(errors, 1) if e <= tolerance and r * (m + n) < m * n]
    assert result.ranks.get(str(i)) == (min(useful) if useful else None)
    if useful:
        assert result.errors[str(i)] == pytest.approx(errors[min(useful) - 1], rel=1e-5)


def deep(depth: int = 5, width: int = 24) -> nn.Sequential:
    """Layers whose errors add up."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layer = nn.Linear(width, width)
        u, _, v = torch.linalg.svd(layer.weight.detach())
        layer.weight.data = u * 3.0 * torch.exp(-torch.arange(width) / 3.0) @ v
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 5))


@pytest.mark.parametrize("asymmetric", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_a_tolerance_bounds_the_errors_of_the_whole_network(method: Any, asymmetric: bool) -> None:
    model, x = deep(), draw(150, 24, seed=1)
    result = prune_ranks(model, x, 0.2, method=method, asymmetric=asymmetric, positions=4)
    check(model, result)
    assert max(result.errors.values()) <= 0.2
    assert max(result.errors.values()) > 0.1  # what is allowed is used
    assert len(result.ranks) >= 4
    now, before = x, x
    for name, layer in result.model.requires_grad_(False).named_children():
        now, before = layer(now), model.get_submodule(name)(before)
        if name in result.errors and name != "10":  # behind its ReLU
            y = before.detach().relu().double()
            gap = now.relu() - y
            error = math.sqrt(float(gap.square().sum() / (y - y.mean(0)).square().sum()))
            assert result.errors[name] == pytest.approx(error, rel=1e-4)


def test_a_relative_error_bounds_each_layer() -> None:
    model, x = mlp(), samples(200)
    ranks = [prune_ranks(model, x, t, asymmetric=False).ranks for t in (0.05, 0.2, 0.6)]
    for tight, loose in pairwise(ranks):
        assert all(loose[name] <= rank for name, rank in tight.items())
    assert ranks[0] != ranks[2]
    result = prune_ranks(model, x, 0.2, layers=["0"], asymmetric=False)
    assert set(result.ranks) == {"0"}
    assert result.errors["0"] <= 0.2
    assert result.metric is result.dense_metric is None
    assert result.path == []


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("method", ["relu", "activation", "plain"])
def test_convolutions_and_batch_norm(groups: int, method: Any) -> None:
    model = convnet(groups)
    x = draw(40, 2, 6, 6) + 0.3
    evaluate = distance(model, draw(100, 2, 6, 6, seed=9) + 0.3)
    assert evaluate(model) == 0.0
    result = prune_ranks(model, x, 0.1, evaluate=evaluate, method=method)
    assert result.dense_metric == pytest.approx(0.0, abs=1e-10)  # folded
    assert isinstance(result.model[1], nn.Identity)
    assert result.metric is not None
    assert result.metric <= 0.1
    assert result.ranks
    check(model, result)


def test_the_response_that_counts_is_behind_the_batch_norm() -> None:
    """A channel that the batch norm all but switches off needs no rank."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    model[0].weight.data[:5] *= 10.0
    model[1].weight.data[:5] = 1e-4
    result = prune_ranks(model, draw(60, 4, 6, 6), 0.02, method="plain", positions=16)
    assert result.ranks == {"0": 3}


def test_small_outputs_beside_large_ones_are_solved_through_the_relu() -> None:
    """Little is lost of the variance before the ReLU, and yet the ReLU hides much of that."""
    module = nn.Linear(16, 24)
    with torch.no_grad():
        module.weight.copy_(torch.cat([30.0 * draw(4, 16), draw(20, 16, seed=1)]))
        module.bias.copy_(torch.cat([torch.full((4,), 1000.0), torch.full((20,), -6.0)]))
        x = draw(400, 16, seed=2)
        seen = Samples(x[None], module(x)[None], torch.zeros(len(x)))
    layer = FittedLayer(module, "linear", seen, relu=True)
    gaps = []
    for method in METHODS[:2]:
        found = layer.solve(method, [8], seen, Way(0.0), asymmetric=False)[8]
        gaps.append(relative_gap(seen.outputs, layer.outputs(found, seen.inputs), relu=True))
    assert gaps[0] < 0.85 * gaps[1] < 0.1


def test_later_layers_make_up_for_earlier_ones() -> None:
    model, x = mlp(), samples(150)
    evaluate = distance(model, samples(200))
    ranks = prune_ranks(model, x, 0.3).ranks
    for other in ("relu", "activation"):
        symmetric, asymmetric = (
            prune_ranks(model, x, 0.3, method=other, asymmetric=a) for a in (False, True)
        )
        assert symmetric.ranks == asymmetric.ranks
        assert evaluate(asymmetric.model.eval()) < evaluate(symmetric.model.eval())
    assert len(ranks) > 1


def state_of(model: nn.Module) -> tuple[Any, ...]:
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    tensors = [t.clone() for t in model.state_dict().values()]
    grads = [p.grad for p in model.parameters()], [p.requires_grad for p in model.parameters()]
    return [m.training for m in model.modules()], hooks, tensors, grads, torch.get_rng_state()


def test_the_model_and_the_random_state_stay_as_they_are() -> None:
    model = convnet()
    model[1].train()
    model[0].weight.requires_grad_(False)
    x = draw(30, 2, 6, 6)
    before = state_of(model)

    def interrupt(_: nn.Module) -> float:
        raise KeyboardInterrupt

    results = [
        prune_ranks(model, x, 0.3, evaluate=distance(model, x), evaluations=6) for _ in range(2)
    ]
    with pytest.raises(KeyboardInterrupt):
        prune_ranks(model, x, 0.3, evaluate=interrupt)
    after = state_of(model)
    assert before[:2] == after[:2]
    assert all(torch.equal(a, b) for a, b in zip(before[2], after[2], strict=True))
    assert before[3] == after[3]
    assert torch.equal(before[4], after[4])
    one, two = results
    assert (one.ranks, one.path) == (two.ranks, two.path)
    for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.equal(a, b)
    first = one.model[0]
    assert not any(p.requires_grad for p in first.parameters() if p.ndim > 1)
    assert [m.training for m in one.model][:3] == [False, True, False]
    shared = {p.data_ptr() for p in model.parameters()} & {
        p.data_ptr() for p in one.model.parameters()
    }
    assert not shared


class Normed(nn.Module):
    """A batch-norm behind a layer that normalises something else as well, or what was changed."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.a, self.o, self.norm = nn.Linear(16, 16), nn.Linear(16, 4), nn.BatchNorm1d(16)
        self.norm.running_var.uniform_(0.2, 3.0)  # type: ignore[union-attr, operator]
        self.norm.running_mean.normal_()  # type: ignore[union-attr, operator]

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        if self.how == "changed":
            h[:, :4] = 1.0
        y = self.norm(h).relu()
        if self.how == "inputs too":
            y = y + self.norm(x)
        logits: Tensor = self.o(y)
        return logits


@pytest.mark.parametrize("how", ["inputs too", "changed", "alone"])
def test_a_batchnorm_is_folded_only_where_it_serves_one_layer(how: str) -> None:
    model, x = Normed(how).eval(), samples(100, 16)
    evaluate = distance(model, x)
    result = prune_ranks(model, x, 0.0, evaluate=evaluate, evaluations=4)
    assert result.dense_metric == 0.0
    assert isinstance(result.model.norm, nn.Identity) == (how == "alone")
    torch.testing.assert_close(result.model.eval()(x), model(x))


class Plain(nn.Module):
    """A forward pass that makes tensors, keeps a constant and reads a value; a frozen counter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(20, 20)
        self.constant = torch.full((20,), 0.5)
        self.calls = nn.Parameter(torch.zeros(1, dtype=torch.int64), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x * torch.ones(20) + self.constant
        y: Tensor = self.fc(x) if x.abs().max().item() > 0.0 else x
        return y


def test_any_forward_pass_will_do() -> None:
    result = prune_ranks(Plain(), samples(100), 0.5)
    assert result.ranks
    assert result.flops > 0


def test_nothing_within_a_tolerance_leaves_the_network_alone() -> None:
    model, x = mlp(), draw(100, 20)
    result = prune_ranks(
        model, x, 0.0, evaluations=20, evaluate=lambda m: float(size(m) < size(model))
    )
    assert result.ranks == {}
    assert result.parameters == result.dense_parameters
    assert not any(step.accepted for step in result.path)
    torch.testing.assert_close(result.model(x), model(x))
    everything = prune_ranks(model, x, 1.0, evaluate=lambda m: float(size(m) < size(model)))
    assert everything.ranks == {"0": 1, "2": 1, "4": 1}


@pytest.mark.parametrize("method", ["relu", "activation", "plain"])
def test_a_kernel_takes_the_scheme_that_costs_least(method: Any) -> None:
    """The same row in every kernel row: rows x 1 and 1 x columns lose nothing at rank 1."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 12, 5), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)).eval()
    down, across = draw(3, 5, seed=7), draw(12, 5, seed=8)
    model[0].weight.data = torch.einsum("cr,ok->ocrk", down, across)
    x = draw(80, 3, 5, 5)
    given: dict[str, Any] = {"evaluate": distance(model, x), "layers": ["0"], "method": method}
    cheap = prune_ranks(model, x, 1e-6, **given)
    assert cheap.ranks == {"0": 1}
    assert cheap.model[0].v.kernel_size == (5, 1)
    assert cheap.parameters == size(model) - 12 * 75 + 15 + 60
    usual = prune_ranks(model, x, 1e-6, schemes="default", **given)
    assert usual.ranks["0"] > 1
    assert usual.parameters > cheap.parameters


def test_few_evaluations() -> None:
    model, x = mlp(), samples()
    calls: list[int] = []

    def evaluate(now: nn.Module) -> float:
        calls.append(size(now))
        return distance(model, x)(now)

    result = prune_ranks(model, x, 0.01, evaluate=evaluate, evaluations=4)
    assert len(calls) == 1 + len(result.path) == 5


@pytest.mark.parametrize("unlucky", [2, 3, 4])
def test_one_unlucky_network_does_not_end_the_search(unlucky: int) -> None:
    torch.manual_seed(0)
    wide = [nn.Linear(40, 60), nn.ReLU(), nn.Linear(60, 60), nn.ReLU(), nn.Linear(60, 4)]
    model, x = nn.Sequential(*wide), draw(200, 40)
    calls: list[float] = []

    def evaluate(now: nn.Module) -> float:
        calls.append(distance(model, x)(now))
        return 1.0 if len(calls) == unlucky else calls[-1]

    given: dict[str, Any] = {"method": "plain"}
    clean = prune_ranks(model, x, 0.5, evaluate=distance(model, x), **given)
    found = prune_ranks(model, x, 0.5, evaluate=evaluate, **given)
    assert found.path[unlucky - 2].metric == 1.0
    assert found.parameters == clean.parameters


def test_layers_without_a_bias_get_none() -> None:
    model, x = mlp(bias=False), samples()
    result = prune_ranks(model, x, 0.2)
    assert result.ranks
    assert not any("bias" in name for name in result.model.state_dict())


def test_one_sample_is_enough_to_run() -> None:
    result = prune_ranks(mlp(), draw(1, 20), 0.5)
    check(mlp(), result)


def test_outputs_that_are_no_logits() -> None:
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            y = self.a(x).relu()
            return {"fine": y, "coarse": self.b(y)}

    model, x = Pyramid(), draw(20, 2, 6, 6)
    with torch.no_grad():
        before = model(x)["coarse"]

    def evaluate(now: nn.Module) -> float:
        with torch.no_grad():
            return float((now(x)["coarse"] - before).square().mean() / before.var())

    result = prune_ranks(model, x, 0.1, evaluate=evaluate)
    assert result.metric is not None
    assert 0.0 < result.metric <= 0.1
    check(model, result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tolerance": 0.0}, r"tolerance must be in \(0, 1\) without evaluate, got 0.0"),
        ({"tolerance": 1.0}, r"tolerance must be in \(0, 1\) without evaluate, got 1.0"),
        ({"tolerance": math.nan}, "tolerance must be"),
        ({"tolerance": -0.1, "evaluate": size}, "at least 0 with evaluate, got -0.1"),
        ({"method": "svd"}, "method must be one of relu, activation, plain, got 'svd'"),
        ({"schemes": "tucker"}, "schemes must be 'cheapest' or 'default', got 'tucker'"),
        ({"evaluations": 1}, "evaluations must be at least 2, got 1"),
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"positions": 0}, "positions must be at least 1, got 0"),
        ({"layers": ["7"]}, "no layer '7'"),
        ({"layers": []}, "nothing can be factorised"),
        ({"evaluate": lambda m: math.nan}, "evaluate must return a finite number, got nan"),
        ({"calibration": []}, "the calibration set is empty"),
        ({"calibration": torch.full((4, 20), math.inf)}, "inputs of layer 0 hold NaN or infinity"),
        ({"model": nn.Sequential(nn.Linear(2, 2)), "calibration": draw(4, 2)},
         "nothing can be factorised: the factors of any rank have no fewer parameters than 0"),
        ({"model": nn.Sequential(nn.ReLU())}, "nothing can be factorised: the model has no"),
    ],
)  # fmt: skip
def test_refused(arguments: dict[str, Any], message: str) -> None:
    given = {"model": mlp(), "calibration": samples(), "tolerance": 0.1} | arguments
    with pytest.raises(ValueError, match=message):
        prune_ranks(**given)


def test_a_layer_that_the_data_never_reach() -> None:
    model = nn.Sequential(nn.Linear(20, 20))
    model[0].register_module("spare", nn.Linear(20, 20))
    with pytest.raises(CalibrationError, match=r"never reach layer 0\.spare"):
        prune_ranks(model, samples(), 0.1, layers=["0.spare"])


@given(st.dictionaries(st.integers(1, 40), st.floats(0.0, 1e3), min_size=1))
@settings(max_examples=50, deadline=None)
def test_curves_rise_towards_low_ranks(changes: dict[int, float]) -> None:
    curve = filled_curve(changes)
    ranks = list(curve)
    assert ranks == list(range(max(changes), min(changes) - 1, -1))
    losses = list(curve.values())
    assert all(b >= a * (1 - 1e-12) for a, b in pairwise(losses))
    assert all(curve[rank] >= lost for rank, lost in changes.items())


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(0.0, 10.0)), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_the_hull_is_convex_and_below_all_points(drawn: list[tuple[int, float]]) -> None:
    sizes = sorted({size for size, _ in drawn}, reverse=True)
    losses = sorted(lost for _, lost in drawn)[: len(sizes)]
    points = [(s, lost, i) for i, (s, lost) in enumerate(zip(sizes, losses, strict=True))]
    hull = lower_hull(points)
    assert hull[0] == points[0]
    assert hull[-1] == points[-1]
    slopes = [(b[1] - a[1]) / (a[0] - b[0]) for a, b in pairwise(hull)]
    assert all(b >= a - 1e-9 for a, b in pairwise(slopes))
    at = np.interp([p[0] for p in points], [h[0] for h in hull][::-1], [h[1] for h in hull][::-1])
    assert all(low <= p[1] + 1e-9 for low, p in zip(at, points, strict=True))


def test_attention() -> None:
    torch.manual_seed(0)
    model = GPT((8,), 16, width=16, depth=1, heads=2, tied=False, dropout=0.0)
    x = torch.randint(0, 16, (16, 8))
    evaluate = distance(model, x)
    found = prune_ranks(model, x, 0.3, evaluate=evaluate, evaluations=6)
    assert found.ranks
    assert found.metric is not None
    assert found.metric <= 0.3
    assert evaluate(found.model.eval()) == pytest.approx(found.metric)


def test_images_of_several_sizes() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    batches = [torch.randn(8, 3, 8, 8), torch.randn(8, 3, 10, 10)]
    assert prune_ranks(model, batches, 0.5).errors


class Detector(nn.Module):
    """Wants targets while it is trained, and normalises single samples."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.fc = nn.BatchNorm1d(20), nn.Linear(20, 20)

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Tensor:
        if self.training and targets is None:
            raise ValueError("in training mode, targets should be passed")
        y: Tensor = self.fc(self.norm(x))
        return y


def test_a_network_straight_from_its_training() -> None:
    model = Detector().train()
    assert prune_ranks(model, draw(257, 20), 0.5).ranks  # batches of 256 and 1
    assert all(module.training for module in model.modules())


class Twice(nn.Module):
    """A layer on the outputs of others and on its own inputs, in one order or the other."""

    def __init__(self, swapped: bool) -> None:
        super().__init__()
        self.swapped, self.trunk, self.o = swapped, mlp()[:2], nn.Linear(12, 3)
        self.fc = nn.Linear(24, 12)
        self.wide = nn.Linear(20, 24)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.trunk(x), 0.1 * self.wide(x)
        calls = [self.fc(b), self.fc(a)] if self.swapped else [self.fc(a), self.fc(b)]
        y: Tensor = self.o(calls[0] + calls[1])
        return y


def test_the_order_of_a_layers_calls_does_not_matter() -> None:
    results = []
    for swapped in (False, True):
        torch.manual_seed(1)
        model = Twice(swapped)
        results.append(prune_ranks(model, draw(60, 20), 0.3, positions=1000))
    assert results[0].ranks == results[1].ranks
    assert results[0].errors == pytest.approx(results[1].errors, rel=1e-3)


class Tied(nn.Module):
    """A decoder that computes with the encoder's weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.code, self.fc = nn.Linear(20, 16), nn.Linear(20, 20)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = nn.functional.linear(self.code(x), self.code.weight.T)
        y: Tensor = self.fc(h)
        return y


def test_a_layer_whose_weight_is_read_elsewhere() -> None:
    assert list(prune_ranks(Tied(), samples(), 0.5).ranks) == ["fc"]
    with pytest.raises(ValueError, match=r"code: .* reads its weight; call the layer instead"):
        prune_ranks(Tied(), samples(), 0.5, layers=["code"])


def test_a_network_that_says_nothing_to_judge_by() -> None:
    class Labels(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).argmax(1)

    with pytest.raises(CalibrationError, match="returns no floating-point tensor"):
        prune_ranks(Labels(*mlp()), samples(), 0.5)


@pytest.mark.parametrize("layers", [None, ["0"]])
def test_a_network_that_has_diverged(layers: list[str] | None) -> None:
    model = mlp()
    model[2].weight.data[0, 0] = math.nan
    with pytest.raises(CalibrationError, match=r"2\.weight holds NaN or infinity"):
        prune_ranks(model, samples(), 0.5, layers=layers)
    mask = torch.full((3,), -math.inf)
    model = mlp()
    model.register_buffer("mask", mask)
    assert prune_ranks(model, samples(), 0.5).ranks


def test_what_a_search_found_can_be_built_anew() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 12, 5), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 4, 3)).eval()
    x = draw(80, 3, 6, 6)
    result = prune_ranks(model, x, 0.5, method="plain")
    assert result.schemes.keys() == result.ranks.keys()
    again = factorize(model, result.ranks, schemes=result.schemes)
    torch.testing.assert_close(again(x), result.model.eval()(x))
