"""boildown.lowrank.factorize: networks before and after, and structures from untrusted files."""

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from boildown.lowrank import scheme as s
from boildown.lowrank.factored_layer import factor
from boildown.lowrank.factorize import (
    describe,
    factorisable,
    factorize,
    refused,
    restructure,
    structure,
    tied,
)
from boildown.models import build
from boildown.models.lenet import LeNet5
from boildown.models.transformer import GPT

RANKS: dict[str, Any] = {"conv1": 8, "conv2": 9, "fc1": 12}
SCHEMES: dict[str, Any] = {"conv1": "spatial"}
STRUCTURE = {
    "conv1": {"scheme": "spatial", "rank": 8},
    "conv2": {"scheme": "channel", "rank": 9},
    "fc1": {"scheme": "linear", "rank": 12},
}


def lenet() -> nn.Module:
    torch.manual_seed(0)
    return LeNet5((3, 16, 16), 10)


def gpt(tied: bool = False) -> nn.Module:
    return GPT((8,), 50, width=32, depth=2, heads=2, tied=tied, dropout=0.0)


def test_lenet_is_factorised_and_the_model_is_not_touched() -> None:
    model = lenet()
    model.fc1.weight.requires_grad_(False)
    model.conv1.eval()
    before = copy.deepcopy(model.state_dict())
    small = factorize(model, RANKS, schemes=SCHEMES)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.state_dict().keys() == before.keys()
    assert list(small.state_dict()) == [
        "conv1.v.weight", "conv1.u.weight", "conv1.u.bias",
        "conv2.v.weight", "conv2.u.weight", "conv2.u.bias",
        "fc1.v.weight", "fc1.u.weight", "fc1.u.bias", "fc2.weight", "fc2.bias",
    ]  # fmt: skip
    assert torch.equal(small.fc2.weight, model.fc2.weight)
    assert small.fc2.weight is not model.fc2.weight
    assert torch.equal(small.fc1.u.bias, model.fc1.bias)
    assert not small.fc1.u.weight.requires_grad
    assert not small.fc1.v.weight.requires_grad
    assert small.fc1.u.bias.requires_grad
    assert small.conv2.v.weight.requires_grad
    assert (small.conv1.training, small.conv1.v.training, small.fc1.u.training) == (0, 0, 1)
    by_hand = lenet()
    by_hand.conv1 = factor(model.conv1, "spatial", 8)
    by_hand.conv2 = factor(model.conv2, "channel", 9)
    by_hand.fc1 = factor(model.fc1, "linear", 12)
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(small(x), by_hand(x))


@pytest.mark.parametrize("scheme", ["channel", "spatial"])
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, 64, 3),
        nn.Conv2d(8, 12, (3, 1)),
        nn.Conv2d(8, 12, (3, 1), stride=2, padding=(1, 1)),
        nn.Conv2d(8, 12, (3, 1), padding="same", dilation=(1, 2)),
        nn.Conv2d(8, 12, (1, 3), stride=2),
    ],
)
def test_the_structure_of_any_kernel(conv: nn.Conv2d, scheme: Any) -> None:
    model = nn.Sequential(conv)
    rank = 12 if (conv.in_channels, scheme) == (3, "channel") else 2  # spatial has no rank 12
    small = factorize(model, {"0": rank}, schemes={"0": scheme})
    again = restructure(model, structure(model, small))
    assert str(again) == str(small) != str(model)
    again.load_state_dict(small.state_dict())
    x = torch.randn(2, conv.in_channels, 9, 9)
    torch.testing.assert_close(again(x), small(x), rtol=0, atol=0)


def test_the_structure_leads_back() -> None:
    model = lenet()
    small = factorize(model, RANKS, schemes=SCHEMES)
    found = structure(model, small)
    assert found == STRUCTURE
    plain = json.loads(json.dumps(found))
    with torch.device("meta"):
        empty = restructure(LeNet5((3, 16, 16), 10), plain)
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    again = restructure(lenet(), plain)
    assert str(again) == str(small) == str(empty)
    again.load_state_dict(small.state_dict())
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(again(x), small(x))
    assert structure(model, model) == {}
    config = {"_target_": "boildown.models.lenet.LeNet5", "input_shape": [3, 16, 16]}
    config["num_classes"] = 10
    assert describe(config, {}) == config
    assert str(build(describe(config, found))) == str(small)


def test_a_layer_that_would_not_shrink_is_left_alone() -> None:
    model = lenet()
    even = s.break_even(model.fc2, "linear")
    for rank, becomes in ((even, nn.Sequential), (even + 1, nn.Linear)):
        assert type(factorize(model, {"fc2": rank}).fc2) is becomes


def test_ranks_of_numpy_and_none_for_a_layer_that_stays() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20), nn.Conv2d(8, 8, 3))
    built = factorize(
        model,
        {"0": np.int64(3), "1": None, "2": np.int64(2)},
    )
    assert structure(model, built) == {
        "0": {"scheme": "linear", "rank": 3},
        "2": {"scheme": "channel", "rank": 2},
    }
    assert type(structure(model, built)["0"]["rank"]) is int


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_a_network_that_cannot_be_copied_says_why() -> None:
    model = nn.Sequential(nn.Linear(20, 20), weight_norm(nn.Linear(20, 20)))
    model(torch.zeros(1, 20))
    with pytest.raises(ValueError, match=r"Sequential cannot be copied: .*remove_weight_norm"):
        factorize(model, {"0": 3})


def test_layers_of_other_factors_take_the_place() -> None:
    model = lenet()
    built = factor(model.fc2, "linear", 10)  # dearer than the layer
    small = factorize(model, {"fc1": 5}, layers={"fc2": built})
    assert torch.equal(small.fc2.v.weight, built.v.weight)
    assert small.fc2.v.weight is not built.v.weight
    assert list(structure(model, small)) == ["fc1", "fc2"]
    for wrong in (nn.Linear(500, 10), factor(nn.Linear(500, 9), "linear", 4)):
        with pytest.raises(ValueError, match=r"^fc2: expected"):
            factorize(model, layers={"fc2": wrong})
    with pytest.raises(ValueError, match=r"^fc2: it has both"):
        factorize(model, {"fc2": 5}, layers={"fc2": built})


def test_a_transformer() -> None:
    model = gpt()
    names = ["embed", "blocks.0.qkv", "blocks.0.out", "blocks.1.up", "blocks.1.down", "head"]
    assert set(names) < set(factorisable(model))
    small = factorize(model, dict.fromkeys(names, 8))
    assert small.state_dict()["blocks.0.qkv.v.weight"].shape == (8, 32)
    assert small.state_dict()["embed.v.weight"].shape == (50, 8)
    symbols = torch.randint(50, (2, 8))
    assert small(symbols).shape == (2, 8, 50)
    full = factorize(
        model, layers={name: factor(model.get_submodule(name), *how) for name, how in FULL}
    )
    torch.testing.assert_close(full(symbols), model(symbols), rtol=1e-4, atol=1e-4)
    again = restructure(model, structure(model, small))
    again.load_state_dict(small.state_dict())
    assert torch.equal(again(symbols), small(symbols))


FULL = [
    ("embed", ("embedding", 32)),
    ("blocks.0.qkv", ("linear", 32)),
    ("blocks.1.down", ("linear", 32)),
]


def test_the_network_may_be_a_layer() -> None:
    small = factorize(nn.Linear(20, 20), {"": 2})
    assert list(small.state_dict()) == ["v.weight", "u.weight", "u.bias"]


def test_tied_weights_are_refused_when_named_and_left_out_otherwise() -> None:
    model = gpt(tied=True)
    assert tied(model) == dict.fromkeys(["embed", "head"], "embed.weight and head.weight")
    assert not {"embed", "head"} & set(factorisable(model))
    assert "one tensor" in refused(model)["head"]
    for name in ("embed", "head"):
        with pytest.raises(ValueError, match=rf"^{name}: .*embed.weight and head.weight are one"):
            factorize(model, {name: 3})
        with pytest.raises(ValueError, match="one tensor"):
            restructure(model, {name: {"scheme": "linear", "rank": 3}})
    small = factorize(model, {"blocks.0.up": 3})
    assert small.head.weight is small.embed.weight
    shared = nn.Sequential(nn.Linear(9, 9), nn.ReLU())
    shared.append(shared[0])
    with pytest.raises(ValueError, match="one tensor"):
        factorize(shared, {"2": 1})


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.attend = nn.MultiheadAttention(8, 2)
        self.fc = nn.Linear(8, 8)
        self.computed = weight_norm(nn.Linear(8, 8))
        self.bound = parametrizations.spectral_norm(nn.Linear(8, 8, bias=False))
        self.relu = nn.ReLU()


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("layer.linear1", "TransformerEncoderLayer reads its weight"),
        ("layer.self_attn", "uses its weights directly"),
        ("attend", "write its projections as nn.Linear"),
        ("attend.out_proj", "out_proj of a MultiheadAttention"),
        ("computed", "weight_norm"),
        ("bound", "remove_parametrizations"),
        ("relu", "ReLU is not one of"),
        ("fc3", r"no layer 'fc3'; those that can be factorised: fc$"),
        ("fc.weight", "no layer 'fc.weight'"),
    ],
)
def test_what_cannot_be_factorised_says_why(name: str, says: str) -> None:
    model = Attends()
    assert list(factorisable(model)) == ["fc"]
    assert {"attend", "layer.linear1", "layer.linear2"} < set(refused(model))
    assert "layer.norm1" not in refused(model)
    with pytest.raises(ValueError, match=says) as error:
        factorize(model, {name: 2})
    assert name in str(error.value)


@pytest.mark.parametrize(
    ("ranks", "schemes", "says"),
    [
        ({"fc1": 0}, {}, "^fc1: rank must be a whole number from 1 to 50, got 0"),
        ({"fc1": 501}, {}, "^fc1: rank must be a whole number from 1 to 50, got 501"),
        ({"fc1": 2.0}, {}, r"^fc1: .*got 2\.0"),
        ({"conv2": 51}, {}, "^conv2: rank must be a whole number from 1 to 50, got 51"),
        ({"conv2": (3, 2)}, {}, "^conv2: rank must be a whole number"),
        ({"conv2": 3}, {"conv2": "linear"}, "^conv2: a Conv2d has no scheme 'linear'"),
        ({"fc1": 3}, {"fc2": "linear"}, "^fc2: it has a scheme but no rank"),
        ({"fc1": (3, 3)}, {}, "^fc1: rank must be a whole number"),
    ],
    ids=str,
)
def test_bad_ranks_name_the_layer(ranks: Any, schemes: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        factorize(lenet(), ranks, schemes=schemes)


def test_a_weight_that_is_not_finite_names_the_layer() -> None:
    model = lenet()
    with torch.no_grad():
        model.fc1.weight[3, 3] = torch.nan
        model.conv2.weight[3, 3] = torch.inf
    for ranks in ({"fc1": 3}, {"conv2": 3}):
        with pytest.raises(ValueError, match=rf"^{next(iter(ranks))}: .*NaN or infinity"):
            factorize(model, ranks)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_dtype_is_kept(dtype: torch.dtype) -> None:
    small = factorize(lenet().to(dtype), RANKS, schemes=SCHEMES)
    assert {tensor.dtype for tensor in small.state_dict().values()} == {dtype}


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        ({"fc9": {"scheme": "linear", "rank": 1}}, "no layer 'fc9'"),
        ({"fc9": {"bias": True}}, "no layer 'fc9'"),
        ({3: {"scheme": "linear", "rank": 1}}, "no layer 3"),
        ({"fc1": {"scheme": "linear", "rank": 51}}, "fc1: rank .* 1 to 50"),
        ({"fc1": {"scheme": "linear", "rank": -1}}, "fc1: rank"),
        ({"fc1": {"scheme": "linear", "rank": "1"}}, "fc1: rank"),
        ({"fc1": {"scheme": "linear", "rank": None}}, "fc1: rank"),
        ({"fc1": {"scheme": "linear", "rank": {"a": 1}}}, "fc1: rank"),
        ({"fc1": {"scheme": "linear", "rank": True}}, "fc1: rank"),
        ({"fc1": {"scheme": "linear", "rank": [1, 1]}}, "fc1: rank"),
        ({"fc1": {"scheme": "spatial", "rank": 1}}, "no scheme 'spatial'"),
        ({"fc1": {"scheme": ["linear"], "rank": 1}}, "name of a scheme"),
        ({"fc1": {"scheme": "linear"}}, "a scheme and a rank"),
        ({"fc1": {"rank": 1}}, "a scheme and a rank"),
        ({"fc1": {}}, "a scheme and a rank"),
        ({"fc1": {"scheme": "linear", "rank": 1, "bias": False}}, "only be true"),
        ({"fc1": {"scheme": "linear", "rank": 1, "device": True}}, "a scheme and a rank"),
        ({"fc1": {"scheme": "linear", "rank": 1, "device": "cuda"}}, "a scheme and a rank"),
        ({"fc1": 7}, "a scheme and a rank"),
        ({"fc1": {"identity": True}}, "no batch-norm"),
        ({"": {"bias": True}}, "cannot take a bias"),
        ({"conv2": {"scheme": "tucker2", "rank": [9, 7]}}, "conv2: .*no scheme 'tucker2'"),
        ({"conv2": {"scheme": "channel", "rank": [1, 2]}}, "conv2: rank must be a whole number"),
        ({"conv2": {"scheme": "channel", "rank": "12"}}, "conv2: rank must be a whole number"),
        ([], "got LeNet5 and list"),
        (None, "got LeNet5 and NoneType"),
    ],
    ids=str,
)
def test_structures_that_lie_are_refused(lie: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        restructure(lenet(), lie)


def test_a_network_that_is_no_factorisation_has_no_structure() -> None:
    model = lenet()
    other = copy.deepcopy(model)
    other.fc2 = nn.ReLU()
    with pytest.raises(ValueError, match="fc2: a Linear became a ReLU"):
        structure(model, other)
    with pytest.raises(ValueError, match="the network: a LeNet5 became a Identity"):
        structure(model, nn.Identity())
    del other.fc2
    with pytest.raises(ValueError, match="fc2: the network after has no such layer"):
        structure(model, other)
