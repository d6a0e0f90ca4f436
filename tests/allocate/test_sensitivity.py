"""boildown.allocate.sensitivity: one layer at a time, measured, put back, measured once."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from boildown.allocate.sensitivity import Point, measured, sensitivity
from boildown.lowrank.ranks import allocate_ranks


class Counting:
    """The weights a model was evaluated with; raises after a number of calls."""

    def __init__(self, stop_after: int = 10**9, error: type[BaseException] = RuntimeError) -> None:
        self.seen: list[dict[str, Tensor]] = []
        self.modes: list[bool] = []
        self.stop_after, self.error = stop_after, error

    def __call__(self, model: nn.Module) -> dict[str, float]:
        if len(self.seen) == self.stop_after:
            raise self.error
        self.seen.append({name: t.clone() for name, t in model.state_dict().items()})
        self.modes.append(model.training)
        return {"norm": sum(float(p.detach().norm()) for p in model.parameters())}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(24, 5)
    )


def copy_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_only_one_layer_is_changed_and_to_the_best_of_its_rank() -> None:
    model, evaluate = network(), Counting()
    before = copy_of(model)
    points = sensitivity(model, evaluate, technique="rank", levels=[1, 2])
    assert [(p.layer, p.level, p.cost) for p in points] == [
        ("0", None, 6 * 18),
        ("0", 1, 2 * (3 + 18)),
        ("0", 2, 2 * 2 * (3 + 18)),
        ("3", None, 5 * 24),
        ("3", 1, 5 + 24),
        ("3", 2, 2 * (5 + 24)),
    ]
    base, *changed = evaluate.seen
    assert same(base, before)
    for point, state in zip((p for p in points if p.level), changed, strict=True):
        assert point.level is not None
        assert same(
            {k: v for k, v in state.items() if k != f"{point.layer}.weight"},
            {k: v for k, v in before.items() if k != f"{point.layer}.weight"},
        )
        groups = 2 if point.layer == "0" else 1
        now, was = (s[f"{point.layer}.weight"].numpy() for s in (state, before))
        for a, b in zip(np.split(now, groups), np.split(was, groups), strict=True):
            a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
            u, s, vh = np.linalg.svd(b, full_matrices=False)
            r = int(point.level)
            np.testing.assert_allclose(a, u[:, :r] * s[:r] @ vh[:r], atol=1e-6)
    assert evaluate.modes == [False] * 5


def test_sparsity_and_bits() -> None:
    model, evaluate = network(), Counting()
    was = copy_of(model)["3.weight"].flatten()
    points = sensitivity(model, evaluate, technique="sparsity", levels=[0.9, 0.5], layers=["3"])
    assert [(p.level, p.cost) for p in points] == [(None, 120), (0.5, 60), (0.9, 12)]
    for state, zeros in zip(evaluate.seen[1:], (60, 108), strict=True):
        now = state["3.weight"].flatten()
        smallest = was.abs().argsort()[:zeros]
        assert not now[smallest].any()
        now[smallest] = was[smallest]
        assert torch.equal(now, was)
    evaluate = Counting()
    points = sensitivity(model, evaluate, technique="bits", levels=[1, 3], layers=["3"])
    assert [(p.level, p.cost) for p in points] == [
        (None, 480),
        (1, 120 / 8 + 2 * 4),
        (3, 3 * 120 / 8 + 8 * 4),
    ]
    assert [len(s["3.weight"].unique()) for s in evaluate.seen] == [120, 2, 8]


@pytest.mark.parametrize("technique", ["rank", "sparsity", "bits"])
def test_levels_by_default_rise_in_cost_up_to_the_unchanged_layer(technique: Any) -> None:
    points = sensitivity(network(), Counting(), technique=technique)
    for layer in ("0", "3"):
        unchanged, *others = (p for p in points if p.layer == layer)
        assert len(others) >= 2
        assert all(p.cost < unchanged.cost for p in others)
        assert all(a.level < b.level for a, b in pairwise(others))  # type: ignore[operator]


def test_the_highest_rank_that_saves_is_among_the_levels() -> None:
    model = nn.Sequential(nn.Linear(100, 60))
    points = sensitivity(model, Counting(), technique="rank")
    assert [p.level for p in points] == [None, 1, 2, 4, 8, 16, 32, 37]
    assert 37 * 160 < 6000 <= 38 * 160


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("technique", ["rank", "sparsity", "bits"])
def test_the_model_comes_back_whatever_happens(technique: Any, error: type[BaseException]) -> None:
    model = network()
    model[0].eval()
    before, modes = copy_of(model), [m.training for m in model.modules()]

    class Careless(Counting):
        def __call__(self, model: nn.Module) -> dict[str, float]:
            model.train()
            model(torch.randn(8, 4, 4, 4))  # moves the running statistics
            model.eval()
            return super().__call__(model)

    evaluate = Careless(stop_after=3, error=error)
    with pytest.raises(error):
        sensitivity(model, evaluate, technique=technique)
    assert same(copy_of(model), before)
    assert [m.training for m in model.modules()] == modes
    sensitivity(model, Careless(), technique=technique)
    assert same(copy_of(model), before)
    assert [m.training for m in model.modules()] == modes


def test_tied_layers_are_one_and_depthwise_ones_have_no_rank() -> None:
    embed, head = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
    head.weight = embed.weight
    model = nn.ModuleDict({"embed": embed, "depthwise": nn.Conv1d(6, 6, 3, groups=6), "head": head})
    points = sensitivity(model, Counting(), technique="rank")
    assert {p.layer for p in points} == {"embed"}
    points = sensitivity(model, Counting(), technique="sparsity")
    assert list(dict.fromkeys(p.layer for p in points)) == ["embed", "depthwise"]


class Recurrent(nn.Module):
    """Parameters that no plain layer holds."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(1, 5, 8))
        self.gru = nn.GRU(8, 8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.norm = nn.LayerNorm(8)
        self.frozen = nn.Linear(8, 8)
        self.frozen.requires_grad_(False)
        self.again = nn.GRU(8, 8)
        self.again.weight_hh_l0 = self.gru.weight_hh_l0
        self.head = nn.Linear(8, 3)


def test_every_trained_parameter_with_two_axes_is_a_layer() -> None:
    matrices = [
        "place",
        "gru.weight_ih_l0",
        "gru.weight_hh_l0",
        "attention.in_proj_weight",
        "attention.out_proj",
        "again.weight_ih_l0",
        "head",
    ]
    for technique in ("sparsity", "bits"):
        model, evaluate = Recurrent(), Counting()
        before = copy_of(model)
        points = sensitivity(model, evaluate, technique=technique, levels=[1])
        assert [p.layer for p in points if p.level is None] == matrices
        for layer, state in zip(matrices, evaluate.seen[1:], strict=True):
            name = layer if layer in before else f"{layer}.weight"
            changed = [key for key in state if not torch.equal(state[key], before[key])]
            assert changed[0] == name
            tied = ["again.weight_hh_l0"] if layer == "gru.weight_hh_l0" else []
            assert changed[1:] == tied
        assert same(copy_of(model), before)
    points = sensitivity(Recurrent(), Counting(), technique="rank", levels=[1])
    assert [p.layer for p in points if p.level is None] == ["attention.out_proj", "head"]
    with pytest.raises(ValueError, match=r"no layer can have a rank; there are gru\.weight_ih_l0"):
        sensitivity(Recurrent(), Counting(), technique="rank", layers=["gru"])


def test_started_again_it_measures_only_what_is_missing(tmp_path: Path) -> None:
    cache = tmp_path / "cache.jsonl"
    model = network()
    asked: dict[str, Any] = {"technique": "rank", "levels": [1, 2], "cache": cache}
    with pytest.raises(KeyboardInterrupt):
        sensitivity(model, Counting(3, KeyboardInterrupt), **asked)
    with cache.open("a") as file:  # killed while it wrote
        file.write('{"key": "123", "la')
    rest = Counting()
    points = sensitivity(model, rest, **asked)
    assert len(rest.seen) == 2
    assert points == sensitivity(model, Counting(), technique="rank", levels=[1, 2])
    nothing = Counting(0)
    assert sensitivity(model, nothing, **asked) == points
    lines = cache.read_text().splitlines()
    assert len(lines) == 5
    assert all(json.loads(line)["metrics"] for line in lines)
    more = Counting()
    sensitivity(model, more, technique="sparsity", levels=[0.5], layers=["3"], cache=cache)
    assert len(more.seen) == 1  # the unchanged model is known


def test_a_cache_in_a_new_directory_of_a_module_with_state_of_its_own(tmp_path: Path) -> None:
    class Counting(nn.Linear):
        def get_extra_state(self) -> dict[str, int]:
            return {"calls": 3}

    model = nn.Sequential(Counting(6, 6), nn.Linear(6, 6))
    cache = tmp_path / "new" / "measured.jsonl"
    sensitivity(model, lambda _: {"loss": 1.0}, technique="rank", cache=cache)
    assert cache.read_text().count("\n") > 1


def test_what_was_measured_of_other_weights_or_data_is_not_taken(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"technique": "rank", "levels": [1], "cache": tmp_path / "c.jsonl"}
    model = network()
    sensitivity(model, Counting(), **asked)
    for change in ("data", "weights", "statistics"):
        evaluate = Counting()
        if change == "weights":
            with torch.no_grad():
                model[3].bias[0] += 1e-3
        elif change == "statistics":
            model[1].running_var[0] += 1e-3
        sensitivity(model, evaluate, what="other data" if change == "data" else "", **asked)
        assert len(evaluate.seen) == 3


@pytest.mark.parametrize("content", ["no json\n", '{"key": 1}\n', "something else", "[1]\n"])
def test_a_file_that_is_no_cache_is_refused_and_kept(content: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"notes.txt.* give another file"):
        sensitivity(network(), Counting(), technique="rank", cache=path)
    assert path.read_text() == content


class Planted(nn.Module):
    """Two linear maps, one of a steep and one of a flat spectrum."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.steep = self.layer(2.0 ** -torch.arange(16))
        self.flat = self.layer(0.95 ** torch.arange(16))

    @staticmethod
    def layer(spectrum: Tensor) -> nn.Linear:
        layer = nn.Linear(16, 16, bias=False)
        u, v = (torch.linalg.qr(torch.randn(16, 16))[0] for _ in range(2))
        layer.weight.data = u * spectrum @ v.T
        return layer

    def forward(self, x: Tensor) -> Tensor:
        first: Tensor = self.steep(x[:, :16]) + self.flat(x[:, 16:])
        return first


def test_its_points_allocate_better_than_one_rank_for_all() -> None:
    model = Planted()
    x = torch.randn(500, 32)
    with torch.no_grad():
        y = model(x)

    def evaluate(model: nn.Module) -> dict[str, Tensor]:
        with torch.no_grad():
            return {"mse": (model(x) - y).square().mean()}

    points = sensitivity(model, evaluate, technique="rank")
    options = measured(points, "mse")
    budget = 2 * 4 * 32
    found = allocate_ranks(options, budget)
    assert found.cost <= budget
    assert found.levels == {"steep": 1, "flat": 7}  # of the ranks 1, 2, 4 and 7
    assert all(type(rank) is int for rank in found.levels.values())
    uniform = {name: next(o for o in some if o.level == 4) for name, some in options.items()}
    assert found.loss < 0.75 * sum(option.loss for option in uniform.values())

    def together(ranks: dict[str, float | None]) -> float:
        changed = Planted()
        for name, rank in ranks.items():
            layer = changed.get_submodule(name)
            assert isinstance(layer, nn.Linear)
            assert rank is not None
            u, s, vh = torch.linalg.svd(layer.weight.data)
            layer.weight.data = (u[:, : int(rank)] * s[: int(rank)]) @ vh[: int(rank)]
        return float(evaluate(changed)["mse"])

    assert together(found.levels) < 0.75 * together({"steep": 4, "flat": 4})


def test_a_score_is_a_loss_the_other_way_round() -> None:
    points = [Point("a", "rank", 1, 10, {"accuracy": 0.9})]
    assert measured(points, "accuracy", larger_is_better=True)["a"][0].loss == -0.9
    with pytest.raises(ValueError, match="there is no metric loss; there are accuracy"):
        measured(points, "loss")


def broken() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].weight.data[0, 0] = float("nan")
    return model


@pytest.mark.parametrize(
    ("make", "given_", "says"),
    [
        (network, {"technique": "ranks"}, "one of rank, sparsity, bits, got 'ranks'"),
        (network, {"technique": "rank", "layers": ["fc"]}, "'fc' matches no layer; there are 0, 3"),
        (network, {"technique": "rank", "levels": [0]}, "whole number of at least 1, got 0"),
        (network, {"technique": "rank", "levels": [1.5]}, "whole number of at least 1, got 1.5"),
        (network, {"technique": "rank", "levels": [6, 9]}, "no layer can have a rank of 6, 9"),
        (network, {"technique": "sparsity", "levels": [1.5]}, "in [0, 1], got 1.5"),
        (network, {"technique": "bits", "levels": [17]}, "from 1 to 16, got 17"),
        (nn.ReLU, {"technique": "rank"}, "no linear, convolution or embedding layer"),
        (broken, {"technique": "rank"}, "0.weight holds NaN"),
    ],
)
def test_bad_input_is_named(
    make: Callable[[], nn.Module], given_: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        sensitivity(make(), Counting(), **given_)


def test_no_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match="gave no metrics"):
        sensitivity(network(), lambda _: {}, technique="rank")
