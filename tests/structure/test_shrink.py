"""boildown.structure.shrink: networks without some of their channels, units and heads."""

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from shrinkable import CASES, Densely, case
from torch import Tensor, nn
from torch.nn import functional as F

import boildown
from boildown.flops import forward_flops
from boildown.forward import evaluating, tensors_of
from boildown.lowrank.factorize import describe, factorize, restructure
from boildown.models.resnet import ResNet
from boildown.structure.dependencies import Group, UntraceableError, call
from boildown.structure.resize import structure
from boildown.structure.shrink import UnshrinkableError, groups_of, masked, shrink


def outputs(model: nn.Module, example: Any) -> list[Tensor]:
    with evaluating(model):
        return tensors_of(call(model, example))


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def some(groups: list[Group], seed: int) -> dict[str, list[int]]:
    """Any units of each group, but for one that stays."""
    draw = random.Random(seed)
    return {g.name: draw.sample(range(len(g)), draw.randrange(len(g))) for g in groups}


def assert_same(one: nn.Module, other: nn.Module, example: Any) -> None:
    said, expected = outputs(one, example), outputs(other, example)
    assert len(said) == len(expected)
    for a, b in zip(said, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0.0, atol=1e-5 * float(b.abs().max()))


@pytest.mark.parametrize("name", CASES)
def test_the_smaller_network_says_what_the_masked_one_says(name: str) -> None:
    model, example, expected = case(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    groups, _ = groups_of(model, example)
    assert {g.name: len(g) for g in groups}.items() >= expected.items()
    for seed in range(1 if name in ("vgg", "alexnet") else 3):
        plan = some(groups, seed)
        smaller = shrink(model, plan, example, groups)
        assert_same(smaller, masked(model, plan, groups), example)
        assert parameters(smaller) < parameters(model)
        for key, value in model.state_dict().items():
            assert torch.equal(value, before[key])
    inputs = example if isinstance(example, Tensor) else None
    assert forward_flops(smaller, inputs) < forward_flops(model, inputs)


@pytest.mark.parametrize("name", ["resnet20", "gpt", "vision", "mobile", "unet", "encoder"])
def test_its_file_is_read_into_a_network_as_its_class_builds_it(name: str, tmp_path: Path) -> None:
    model, example, _ = case(name)
    smaller = model
    for seed in (1, 2):  # a second time too
        groups, _ = groups_of(smaller, example)
        smaller = shrink(smaller, some(groups, seed), example, groups)
    boildown.pack(copy.deepcopy(smaller), tmp_path / "small.boil")
    read = boildown.load(tmp_path / "small.boil", case(name).model)
    for one, other in zip(outputs(read, example), outputs(smaller, example), strict=True):
        assert torch.equal(one, other)


def test_so_is_that_of_one_whose_factors_got_smaller(tmp_path: Path) -> None:
    model, example, _ = case("vision")
    groups, _ = groups_of(model, example)
    name = next(n for n, layer in model.named_modules() if isinstance(layer, nn.Linear))
    made = factorize(shrink(model, some(groups, 1), example, groups), {name: 4})
    groups, _ = groups_of(made, example)
    assert any(group.name.startswith(f"{name}.") for group in groups)
    smaller = shrink(made, some(groups, 2), example, groups)
    boildown.pack(smaller, tmp_path / "small.boil")
    read = boildown.load(tmp_path / "small.boil", case("vision").model)
    for one, other in zip(outputs(read, example), outputs(smaller, example), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["resnet20", "gpt", "vision", "mobile", "unet", "encoder"])
def test_a_smaller_network_is_rebuilt_from_plain_data(name: str) -> None:
    model, example, _ = case(name)
    groups, _ = groups_of(model, example)
    smaller = shrink(model, some(groups, 1), example, groups)
    rebuilt = restructure(case(name).model, structure(model, smaller))
    rebuilt.load_state_dict(smaller.state_dict())
    for one, other in zip(outputs(rebuilt, example), outputs(smaller, example), strict=True):
        assert torch.equal(one, other)
    said = tensors_of(call(rebuilt.train(), example))
    sum((tensor.sum() for tensor in said), torch.tensor(0.0)).backward()  # it can be trained


@pytest.mark.parametrize(
    ("name", "config"),
    [
        (
            "resnet20",
            {
                "_target_": "boildown.models.resnet.ResNet",
                "input_shape": [3, 16, 16],
                "num_classes": 4,
                "width": 16,
                "depth": 20,
            },
        ),
        (
            "gpt",
            {
                "_target_": "boildown.models.transformer.GPT",
                "input_shape": [16],
                "num_classes": 40,
                "width": 64,
                "depth": 2,
                "heads": 4,
                "tied": True,
                "dropout": 0.0,
            },
        ),
    ],
)
def test_a_file_holds_the_smaller_network(name: str, config: dict[str, Any], tmp_path: Any) -> None:
    model, example, _ = case(name)
    groups, _ = groups_of(model, example)
    smaller = shrink(model, some(groups, 2), example, groups)
    boildown.pack(
        smaller.state_dict(),
        tmp_path / "m.boil",
        config=describe(config, structure(model, smaller)),
    )
    loaded = boildown.load(tmp_path / "m.boil")
    for one, other in zip(outputs(loaded, example), outputs(smaller, example), strict=True):
        assert torch.equal(one, other)
    if name == "gpt":
        assert loaded.head.weight is loaded.embed.weight
        assert loaded.head.weight.shape[1] < 64


def test_a_smaller_network_gets_smaller_again() -> None:
    model, example, _ = case("gpt")
    groups, _ = groups_of(model, example)
    once = shrink(model, some(groups, 3), example, groups)
    again, _ = groups_of(once, example)
    plan = some(again, 4)
    twice = shrink(once, plan, example, again)
    assert parameters(twice) < parameters(once) < parameters(model)
    assert_same(twice, masked(once, plan, again), example)


class Counting(nn.Module):
    """Code that counts on the width, as a number of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.fc = nn.Linear(6 * 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.adaptive_max_pool2d(self.conv(x), 2).view(-1, 24))


class Mixing(nn.Module):
    """A softmax over channels, which says something else when there are fewer."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.one = nn.Linear(4, 6)
        self.two = nn.Linear(6, 6)
        self.out = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        if self.how == "softmax":
            return self.out(x.softmax(-1))
        if self.how == "mean":
            return self.out(x - x.mean(-1, keepdim=True))
        if self.how == "fft":
            return self.out(torch.fft.fft(x).real)
        if self.how == "constant":
            return self.out(x * torch.arange(6.0))
        return x.relu() if self.how == "output" else self.out(x.flip(-1).relu())


def test_code_that_counts_on_a_width_is_found_by_trying() -> None:
    model, example = Counting(), torch.randn(2, 3, 8, 8)
    groups, left = groups_of(model, example)
    assert groups == []
    assert "does not run: RuntimeError: mat1 and mat2 shapes" in left["conv"]
    with pytest.raises(UnshrinkableError, match="conv: without some of its units the network does"):
        shrink(model, {"conv": [0]}, example)


@pytest.mark.parametrize("how", ["softmax", "mean", "fft", "constant", "output"])
def test_what_counts_or_fixes_its_inputs_loses_none(how: str) -> None:
    assert groups_of(Mixing(how), torch.randn(2, 4)) == ([], {})


class Recurrent(nn.Module):
    """A recurrent layer between two that are not, and a local response norm."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 8, 3)
        self.norm = nn.LocalResponseNorm(3)
        self.cell = getattr(nn, kind)(8, 12, batch_first=True)
        self.mid = nn.Linear(12, 10)
        self.out = nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x).relu()).transpose(1, 2)
        return self.out(self.mid(self.cell(x)[0][:, -1]).relu())


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_what_is_not_followed_is_named(kind: str) -> None:
    model, example = Recurrent(kind), torch.randn(2, 3, 9)
    groups, left = groups_of(model, example)
    assert [group.name for group in groups] == ["mid"]
    assert f"recurrent layer ({kind}) is not looked into, so its 12 hidden" in left["cell"]
    assert "local response norm mixes neighbouring channels" in left["norm"]
    assert_same(
        shrink(model, {"mid": [0, 4]}, example, groups),
        masked(model, {"mid": [0, 4]}, groups),
        example,
    )
    with pytest.raises(ValueError, match="cell"):
        shrink(model, {"cell": [0]}, example)


def test_channels_are_followed_to_where_they_are_moved() -> None:
    model, example = Mixing("flipped"), torch.randn(2, 4)
    (group,) = groups_of(model, example)[0]
    assert [int(unit["out.weight", 1]) for unit in group.units] == [5, 4, 3, 2, 1, 0]
    assert_same(
        shrink(model, {"one": [0, 4]}, example), masked(model, {"one": [0, 4]}, [group]), example
    )


def test_a_network_with_hidden_statistics_keeps_its_modes_weights_and_gradients() -> None:
    model, example, _ = case("mobile")
    model.train()
    call(model, example).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    means = model.blocks[0].bn1.running_mean.clone()
    smaller = shrink(model, {"stem": [0, 1]}, example)
    assert smaller.training
    assert model.blocks[0].bn1.running_mean.equal(means)
    assert all(torch.equal(p.grad, gradients[name]) for name, p in model.named_parameters())


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"fc9": [0]}, "there is no group 'fc9'; there are fc1, fc2"),
        ({"fc1": [20]}, "fc1: the units that go must be different ones of 0 to 19, got 20"),
        ({"fc1": [1, 1]}, r"fc1: .* got \[1, 1\]"),
        ({"fc2": list(range(12))}, "fc2: all 12 of its units would go; one must stay"),
    ],
)
def test_plans_that_cannot_be_are_refused(plan: dict[str, list[int]], message: str) -> None:
    model, example, _ = case("mlp")
    with pytest.raises(ValueError, match=message):
        shrink(model, plan, example)
    with pytest.raises(ValueError, match=message):
        masked(model, plan, groups_of(model, example)[0])


def test_a_forward_pass_that_cannot_be_followed_is_named() -> None:
    with pytest.raises(UntraceableError, match=r"the forward pass of Densely .* RuntimeError"):
        groups_of(Densely(), torch.randn(2, 5))
    with pytest.raises(UntraceableError, match="no operation of Flatten's forward pass reads"):
        groups_of(nn.Flatten(), torch.randn(2, 5))


def test_groups_of_another_network_are_found_out() -> None:
    example = torch.randn(2, 3, 16, 16)
    groups, _ = groups_of(ResNet((3, 16, 16), 4, 16, 20), example)
    with pytest.raises((UnshrinkableError, KeyError, IndexError)):
        shrink(ResNet((3, 16, 16), 4, 8, 8), some(groups, 0), example, groups)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"shapes": {"weight": [99, 3, 3, 3]}}, "weight must be of at most"),
        ({"shapes": {"weight": [0, 3, 3, 3]}}, "weight must be of at most"),
        ({"shapes": {"weight": [8, 3]}}, "it has no tensor 'weight' of"),
        ({"shapes": {"forward": [8]}}, "it has no tensor 'forward'"),
        ({"shapes": [8]}, "it has no tensor"),
        ({"numbers": {"groups": 2}}, "'groups' cannot be 2"),
        ({"numbers": {"forward": 1}}, "'forward' cannot be 1"),
        ({"numbers": {"training": 0}}, "'training' cannot be 0"),
        ({"numbers": {"in_channels": True}}, "'in_channels' cannot be True"),
        ({"numbers": 3}, "cannot be 3"),
    ],
)
def test_a_structure_from_a_file_that_cannot_be_is_refused(
    entry: dict[str, Any], message: str
) -> None:
    model, _, _ = case("resnet20")
    with pytest.raises(ValueError, match=f"conv1: structure: .*{message}"):
        restructure(model, {"conv1": entry})
    with pytest.raises(ValueError, match="there is no layer 'conv9'"):
        restructure(model, {"conv9": entry})


@pytest.mark.filterwarnings("ignore")  # of torch-pruning's
@pytest.mark.parametrize(
    "name", ["mlp", "lenet5", "bottlenecks", "squeezenet", "mobile", "densely"]
)
def test_it_removes_what_torch_pruning_removes(name: str) -> None:
    """Differential test: one unit of each group; the peer's network is as large, and says as much.

    The peer follows no padding of channels and no heads, and its group norms mix other channels
    than before, so only some networks are compared.
    """
    peer = pytest.importorskip("torch_pruning")
    model, example, _ = case(name)
    model.eval()
    groups, _ = groups_of(model, example)
    for group in groups[:6]:
        smaller = shrink(model, {group.name: [1]}, example, groups)
        other = copy.deepcopy(model)
        graph = peer.DependencyGraph().build_dependency(other, example)
        layer = other.get_submodule(group.name)
        rows = group.units[1][f"{group.name}.weight", int(isinstance(layer, nn.ConvTranspose2d))]
        prune = {
            nn.Linear: peer.prune_linear_out_channels,
            nn.Conv2d: peer.prune_conv_out_channels,
            nn.ConvTranspose2d: peer.prune_conv_out_channels,
        }[type(layer)]
        graph.get_pruning_group(layer, prune, idxs=rows.tolist()).prune()
        assert parameters(other) == parameters(smaller), group.name
        assert_same(smaller, other, example)
