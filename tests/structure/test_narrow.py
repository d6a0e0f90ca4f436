"""boildown.structure.narrow: networks without some of their layers' inputs and outputs."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import weight_norm

import boildown
from boildown.lowrank.factorize import describe, factorize, restructure, structure
from boildown.models.lenet import LeNet5
from boildown.structure.narrow import narrow, resized, width

CONFIG = {
    "_target_": "boildown.models.lenet.LeNet5",
    "input_shape": [3, 16, 16],
    "num_classes": 10,
}


def lenet() -> nn.Module:
    torch.manual_seed(0)
    return LeNet5((3, 16, 16), 10)


def kept(*indices: int) -> Tensor:
    return torch.tensor(indices)


def narrower() -> nn.Module:
    """Without most of the outputs of conv2 and fc1."""
    outputs = {"conv2": kept(3, 7, 20, 49), "fc1": torch.arange(0, 500, 5)}
    model = lenet()
    pixels = model.fc1.in_features // 50
    inputs = (outputs["conv2"][:, None] * pixels + torch.arange(pixels)).flatten()
    return narrow(model, outputs=outputs, inputs={"fc1": inputs, "fc2": outputs["fc1"]})


def test_a_narrower_network_is_the_network_with_the_others_at_zero() -> None:
    model, small = lenet(), narrower()
    assert small.conv2.weight.shape[0] == 4
    assert small.fc1.out_features == small.fc2.in_features == 100
    gone = torch.ones(50, dtype=torch.bool)
    gone[[3, 7, 20, 49]] = False
    rest = torch.arange(500) % 5 != 0
    with torch.no_grad():
        for layer, which in ((model.conv2, gone), (model.fc1, rest)):
            layer.weight[which] = 0.0
            layer.bias[which] = 0.0
    x = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(small(x), model(x))
    assert model.conv2.weight.shape[0] == 50


def test_the_structure_of_a_narrower_network_leads_back() -> None:
    small = factorize(narrower(), {"fc1": 2, "conv1": 3}, schemes={"conv1": "spatial"})
    found = structure(lenet(), small)
    inputs = lenet().fc1.in_features // 50 * 4
    assert found == {
        "conv1": {"scheme": "spatial", "rank": 3},
        "conv2": {"outputs": 4},
        "fc1": {"outputs": 100, "inputs": inputs, "scheme": "linear", "rank": 2},
        "fc2": {"inputs": 100},
    }
    again = restructure(lenet(), found)
    assert str(again) == str(small)
    again.load_state_dict(small.state_dict())
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(again(x), small(x))


def test_a_narrower_network_goes_through_a_file(tmp_path: Any) -> None:
    small = factorize(narrower(), {"fc1": 2})
    path = tmp_path / "small.boil"
    boildown.pack(small.state_dict(), path, config=describe(CONFIG, structure(lenet(), small)))
    again = boildown.load(path)
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(again.eval()(x), small.eval()(x))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"outputs": 0}, r"fc2: .*outputs must be in \[1, 10\], got 0"),
        ({"outputs": 11}, r"fc2: .*outputs must be in \[1, 10\], got 11"),
        ({"inputs": True}, r"fc2: .*inputs must be in \[1, 500\], got True"),
        ({"inputs": "9"}, r"fc2: .*inputs must be in \[1, 500\], got '9'"),
        ({"inputs": 10**12}, r"fc2: .*inputs must be in \[1, 500\]"),
        ({"inputs": 9, "rank": 3}, "expected a scheme and a rank, or outputs and inputs"),
        ({"inputs": 9, "identity": True}, "expected a scheme and a rank, or outputs and inputs"),
        ({"inputs": 3, "scheme": "linear", "rank": 4}, r"fc2: .*rank"),
    ],
)
def test_widths_that_lie_are_refused(entry: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        restructure(lenet(), {"fc2": entry})


def test_an_embedding_and_groups_have_no_widths() -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.Conv2d(4, 4, 3, groups=2))
    with pytest.raises(ValueError, match="0: a Embedding cannot be narrowed"):
        restructure(model, {"0": {"outputs": 3}})
    with pytest.raises(ValueError, match="1: its 2 groups cannot be narrowed"):
        restructure(model, {"1": {"outputs": 2}})
    with pytest.raises(ValueError, match="2 groups"):
        width(model[1])


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(6, 5, bias=False),
        nn.Conv1d(6, 5, 3, stride=2, padding=1, dilation=2),
        nn.Conv2d(6, 5, (3, 1), padding="same", padding_mode="circular", bias=False),
        nn.Conv3d(6, 5, 2),
        nn.Conv2d(6, 5, 3).double().to(memory_format=torch.channels_last).eval(),
    ],
    ids=str,
)
def test_a_resized_layer_is_like_the_layer(layer: Any) -> None:
    layer.weight.requires_grad_(requires_grad=False)
    new = resized(layer, 3, 4)
    assert width(new) == (3, 4)
    assert str(resized(new, 5, 6)) == str(layer)
    assert new.weight.dtype == layer.weight.dtype
    assert new.training == layer.training
    assert not new.weight.requires_grad
    assert (new.bias is None) == (layer.bias is None)
    if isinstance(layer, nn.Conv2d):
        assert new.weight.is_contiguous() == layer.weight.is_contiguous()


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"fc9": kept(0)}, "no layer 'fc9'"),
        ({"fc2": kept(0, 0)}, r"fc2: the outputs to keep must be different ones of 0 to 9"),
        ({"fc2": kept(10)}, r"fc2: .*0 to 9, got \[10\]"),
        ({"fc2": torch.zeros(0, dtype=torch.long)}, "fc2: .*at least one"),
        ({"fc2": torch.ones(10, dtype=torch.bool)}, r"fc2: .*indices \(long\)"),
    ],
)
def test_bad_outputs_are_refused(names: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        narrow(lenet(), outputs=names, inputs={})


def test_a_wider_layer_is_no_structure() -> None:
    with pytest.raises(ValueError, match=r"0: .*outputs must be in \[1, 4\], got 8"):
        structure(nn.Sequential(nn.Linear(4, 4)), nn.Sequential(nn.Linear(4, 8)))


def test_narrowing_draws_no_random_numbers_and_keeps_the_layout() -> None:
    model = lenet().to(memory_format=torch.channels_last)
    before = torch.get_rng_state()
    small = narrow(model, outputs={"conv2": kept(1, 2)}, inputs={"fc1": torch.arange(2)})
    structure(model, small)
    assert torch.equal(torch.get_rng_state(), before)
    assert small.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(small.conv2.weight, model.conv2.weight[1:3])


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_a_weight_that_is_computed_cannot_be_narrowed() -> None:
    model = nn.Sequential(weight_norm(nn.Linear(4, 4)))
    with pytest.raises(ValueError, match="0: its weight is computed from other tensors"):
        restructure(model, {"0": {"outputs": 2}})


@pytest.mark.parametrize("outputs", [0, -1, 2.0, True])
def test_bad_widths_are_refused(outputs: Any) -> None:
    with pytest.raises(ValueError, match="outputs must be a whole number of at least 1"):
        resized(nn.Linear(3, 3), outputs, 2)
