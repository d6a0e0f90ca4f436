"""Linear layers as two products: quantized so, in files, and refused."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import boildown
from boildown.codec import CodecError, inspect_file
from boildown.flops import forward_flops
from boildown.lowrank.factorize import RESTRUCTURED, restructure
from boildown.models import build as described
from boildown.quantize.layers import Plan, quantize_oneshot, quantized
from boildown.quantize.split_layer import SplitLinear, split
from boildown.structure.replace import structure_of

INPUTS = 20


def build() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(1, 1, 1), nn.Flatten(), nn.Linear(INPUTS, 16), nn.ReLU(), nn.Linear(16, 4)
    )


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    net = build().eval()
    with torch.no_grad():
        net.get_parameter("2.weight")[:, 7] *= 30  # makes the grid wide
    return net


@pytest.fixture
def data() -> Tensor:
    torch.manual_seed(1)
    data = torch.randn(200, 1, INPUTS)
    data[:, :, 3] *= 10  # a feature whose rounding costs most
    return data


def gap(net: nn.Module, other: nn.Module, data: Tensor) -> float:
    with torch.no_grad():
        wanted = net(data)
        return float((other(data) - wanted).square().sum() / wanted.var(0).sum() / len(data))


def test_a_split_computes_the_same(net: nn.Sequential, data: Tensor) -> None:
    made = split(net, {"2": [3, 7]})
    assert isinstance(made[2], SplitLinear)
    with torch.no_grad():
        torch.testing.assert_close(made(data), net(data))
        x = torch.randn(2, 3, INPUTS)
        others = [j for j in range(INPUTS) if j not in (3, 7)]
        both = made[2].rest(x[..., others]) + made[2].outliers(x[..., [3, 7]])
        assert torch.equal(made[2](x), both)
        exported = torch.export.export(made, (data,)).module()
        assert torch.equal(exported(data), made(data))
        assert torch.equal(copy.deepcopy(made)(data), made(data))
    x = torch.randn(5, 1, INPUTS, requires_grad=True)
    grads = [torch.autograd.grad(one(x).square().sum(), x)[0] for one in (net, made)]
    torch.testing.assert_close(*grads)
    assert forward_flops(made, data) == forward_flops(net, data)
    assert structure_of(made) == {"2": {"outliers": [3, 7]}}
    assert type(net[2]) is nn.Linear
    assert split(net, {}) is net


def test_a_network_that_is_one_layer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer, data = nn.Linear(6, 3), torch.randn(50, 6)
    made = quantize_oneshot(layer, data, 2, outliers=0.2)
    assert isinstance(made, SplitLinear)
    boildown.pack(made, tmp_path / "net.boil")
    back = boildown.load(tmp_path / "net.boil", nn.Linear(6, 3))
    with torch.no_grad():
        assert torch.equal(back(data), made(data))


@pytest.mark.filterwarnings("ignore:quantize_oneshot")
@pytest.mark.parametrize("method", ["nearest", "gptq", "adaround"])
def test_the_columns_that_cost_most_are_apart(
    method: Any, net: nn.Sequential, data: Tensor, tmp_path: Path
) -> None:
    plain = quantize_oneshot(net, data, 3, method=method)
    made = quantize_oneshot(net, data, 3, method=method, outliers=0.1)
    layer = made.get_submodule("2")
    assert isinstance(layer, SplitLinear)
    assert layer.columns == (3, 7)
    assert gap(net, made, data) < 0.5 * gap(net, plain, data)
    assert all(len(row.unique()) <= 8 for row in layer.rest.weight)
    size = boildown.pack(made, tmp_path / "net.boil")
    back = boildown.load(tmp_path / "net.boil", build())
    with torch.no_grad():
        assert torch.equal(back(data), made(data))
    again = boildown.load(tmp_path / "net.boil", back)
    assert again is back
    assert boildown.pack(again, tmp_path / "again.boil") == size
    tensors = {one.name: one for one in inspect_file(tmp_path / "net.boil").tensors}
    few = tensors["2.outliers.weight"]
    assert few.bytes <= 2 * few.numel + 10
    assert "grid" in tensors["2.rest.weight"].coder


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), outlier=st.sampled_from([1.0, 30.0]))
def test_outputs_are_no_further_off_than_with_all_on_the_grid(seed: int, outlier: float) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(12, 6))
    with torch.no_grad():
        net.get_parameter("0.weight")[:, 2] *= outlier
    data = torch.randn(100, 12) @ torch.randn(12, 12)
    for bits in (2, 4):
        plain, apart = (quantized(net, data, Plan(bits, outliers=part)) for part in (0.0, 0.2))
        errors = [found.weights["0.weight"].error for found in (plain, apart)]
        assert errors[0] is not None
        assert errors[1] is not None
        assert errors[1] <= 1.01 * errors[0] + 1e-5  # fitted to damped inputs


def test_what_has_no_such_columns_is_listed(net: nn.Sequential, data: Tensor) -> None:
    found = quantized(net, data, Plan(4, outliers=0.1))
    assert any(line.startswith("outliers of 0.weight: none: only") for line in found.told)
    assert set(found.outliers) <= {"2", "4"}
    few = quantized(net, data, Plan(4, outliers=0.001))
    assert few.outliers == {}
    assert any("as small as 0.001" in line for line in few.told)
    only = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    with pytest.raises(ValueError, match=r"outliers=0.1: .*0.weight: only a Linear"):
        quantized(only, torch.randn(64, 1, 5, 5), Plan(4, outliers=0.1))


def test_a_transformer_layer_that_reads_weights_stays(data: Tensor) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            out: Tensor = self.head(self.block(inputs))
            return out

    found = quantized(Net().eval(), torch.randn(32, 5, 8), Plan(4, outliers=0.2))
    assert set(found.outliers) == {"head"}


@pytest.mark.parametrize("fraction", [-0.1, 0.5, True, "1", float("nan")])
def test_bad_fractions_are_refused(fraction: Any) -> None:
    with pytest.raises(ValueError, match="outliers must be a fraction"):
        Plan(4, outliers=fraction)


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ValueError, match=r"outliers=0.1 does not go with activations=8"):
        Plan(4, 8, outliers=0.1)
    with pytest.raises(ValueError, match=r"outliers=0.1 does not go with granularity=4"):
        Plan(4, granularity=4, outliers=0.1)


@pytest.mark.parametrize("columns", [[], [7, 3], [3, 3], [-1], [INPUTS], [True], [1.0], 3, "3"])
def test_columns_of_a_file_are_checked(columns: Any, net: nn.Sequential) -> None:
    with pytest.raises(ValueError, match=r"2: columns of outliers must be some of 0 to 19"):
        restructure(net, {"2": {"outliers": columns}})


def test_layers_of_a_file_are_checked(net: nn.Sequential) -> None:
    with pytest.raises(ValueError, match=r"0: only a Linear layer has columns of outliers"):
        restructure(net, {"0": {"outliers": [0]}})
    with pytest.raises(ValueError, match="there is no layer 'x'"):
        restructure(net, {"x": {"outliers": [0]}})


def test_a_file_that_describes_its_model_builds_it(tmp_path: Path) -> None:
    config = {"_target_": "boildown.models.lenet.LeNet300", "input_shape": [1, 4, 4],
              "num_classes": 3}  # fmt: skip
    torch.manual_seed(0)
    net = described(config).eval()
    data = torch.randn(64, 1, 4, 4)
    made = quantize_oneshot(net, data, 4, outliers=0.02)
    boildown.pack(made, tmp_path / "net.boil", config=config)
    back = boildown.load(tmp_path / "net.boil")
    with torch.no_grad():
        assert torch.equal(back(data), made(data))
    entry = {n: {"outliers": [10**6]} for n in structure_of(made)}
    wrong = {"_target_": RESTRUCTURED, "model": config, "structure": entry}
    boildown.pack(made.state_dict(), tmp_path / "wrong.boil", config=wrong)
    with pytest.raises((ValueError, CodecError)):
        boildown.load(tmp_path / "wrong.boil")
