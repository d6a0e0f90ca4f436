"""boildown.quantize.layers: networks quantized after their training, without any more of it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import boildown
from boildown.calibrate.batches import CalibrationError
from boildown.calibrate.grams import paired_moments
from boildown.calibrate.samples import samples_of
from boildown.quantize.activations import grid_on
from boildown.quantize.layers import Plan, quantize_oneshot, quantized


class Net(nn.Module):
    """Convolutions, one of them in groups, a norm, and linear layers out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(12, 4)
        self.conv = nn.Conv2d(4, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, stride=2, groups=2)
        self.hidden = nn.Linear(8 * 9, 12)

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(inputs)))
        x = F.relu(self.grouped(x)).flatten(1)
        logits: Tensor = self.last(F.relu(self.hidden(x)))
        return logits


LAYERS = ["conv", "grouped", "hidden", "last"]


@pytest.fixture
def data() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(200, 4, 1, 1) + torch.randn(200, 4, 7, 7)


@pytest.fixture
def net(data: Tensor) -> Net:
    torch.manual_seed(0)
    net = Net()
    for _ in range(20):
        net(data)
    return net.eval()


def gap(net: nn.Module, other: nn.Module, data: Tensor) -> float:
    with torch.no_grad():
        wanted = net(data)
        return float((other(data) - wanted).square().sum() / wanted.var(0).sum() / len(data))


def test_fitting_beats_rounding(net: Net, data: Tensor) -> None:
    before = copy.deepcopy(net.state_dict())
    for bits in (4, 3, "ternary"):
        gaps = {
            method: gap(net, quantize_oneshot(net, data, bits, method=method), data)  # type: ignore[arg-type]
            for method in ("nearest", "gptq", "adaround")
        }
        assert max(gaps["gptq"], gaps["adaround"]) < gaps["nearest"], (bits, gaps)
    assert gap(net, quantize_oneshot(net, data, 8, activations=8), data) < 1e-3
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("method", ["nearest", "gptq", "adaround"])
def test_each_channel_lies_on_a_grid(method: Any, net: Net, data: Tensor) -> None:
    made = quantize_oneshot(net, data, {"hidden": "ternary", "*": 3}, method=method)
    for name in LAYERS:
        for row in made.get_parameter(f"{name}.weight").flatten(1):
            values = row.unique()
            assert len(values) <= (3 if name == "hidden" else 8)
            sizes = values.abs()[values != 0]
            codes = values / (sizes.min() if len(sizes) else 1.0)
            assert len(sizes) < 3 or _whole(codes, sizes), name


def _whole(codes: Tensor, sizes: Tensor) -> bool:
    """Whether values are multiples of one step, which the least of them is up to four times."""
    return any(torch.allclose(codes * k, (codes * k).round(), atol=1e-4) for k in range(1, 5))


def test_zeros_of_pruned_weights_stay(net: Net, data: Tensor) -> None:
    with torch.no_grad():
        for name in LAYERS:
            weight = net.get_parameter(f"{name}.weight")
            weight.mul_(torch.rand_like(weight) < 0.4)
        net.hidden.weight[3] = 0.0
    for method in ("nearest", "gptq", "adaround"):
        made = quantize_oneshot(net, data, 4, method=method)  # type: ignore[arg-type]
        for name in LAYERS:
            was, now = (n.get_parameter(f"{name}.weight") for n in (net, made))
            assert (now[was == 0.0] == 0.0).all()


def test_the_file_gives_the_network_back(net: Net, data: Tensor, tmp_path: Path) -> None:
    made = quantize_oneshot(net, data, 4, activations={"conv": 8, "*": 6}, method="gptq")
    assert type(made.norm) is nn.Identity
    boildown.pack(made, tmp_path / "net.boil")
    back = boildown.load(tmp_path / "net.boil", Net())
    with torch.no_grad():
        assert torch.equal(back(data), made(data))
    hook = grid_on(back.get_submodule("hidden"))
    assert hook is not None
    assert (hook.bits, hook.zero) == (6, 0)  # after a ReLU: unsigned


def test_without_folding_the_structure_stays(net: Net, data: Tensor) -> None:
    made = quantize_oneshot(net, data, 4, method="gptq", fold=False)
    assert made.state_dict().keys() == net.state_dict().keys()
    assert gap(net, made, data) < 0.05


def test_each_layer_is_fitted_to_what_the_unquantized_network_puts_out(
    net: Net, data: Tensor
) -> None:
    bits = {"conv": 2, "grouped": 2, "hidden": 8, "last": 8}
    found = quantized(net, data, Plan(bits, method="gptq"))
    other = copy.deepcopy(found.model)
    with torch.no_grad():  # rounded as if nothing had been lost before it
        exact = quantized(net, data, Plan({"hidden": 8}, method="gptq")).model
        for name in ("weight", "bias"):
            other.get_parameter(f"hidden.{name}").copy_(exact.get_parameter(f"hidden.{name}"))
    outputs = [
        samples_of(model, data, ["hidden"], rows=10**6, positions=None, seed=0)["hidden"].outputs
        for model in (net, found.model, other)
    ]
    lost, without_drift = ((each - outputs[0]).square().mean() for each in outputs[1:])
    assert lost < 0.8 * without_drift


def test_the_error_of_a_layer_is_that_of_its_outputs(net: Net, data: Tensor) -> None:
    found = quantized(net, data, Plan(3, method="gptq"))
    rows = [
        samples_of(model, data, ["last"], rows=10**6, positions=None, seed=0)["last"].outputs
        for model in (net, found.model)
    ]
    lost = (rows[0] - rows[1]).double().square().mean(1).sum()
    size = rows[0].double().var(1, correction=0).sum()
    assert found.weights["last.weight"].error == pytest.approx(float(lost / size), rel=1e-3)


def test_pairs_of_rows_have_the_moments_of_all_at_once(net: Net, data: Tensor) -> None:
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.conv.weight.mul_(1.3)
    (found,) = paired_moments(net, other, data.split(64), "hidden")
    before, now = (
        samples_of(model, data, ["hidden"], rows=10**6, positions=None, seed=0)["hidden"]
        for model in (net, other)
    )
    exact, inputs = before.inputs[0].double(), now.inputs[0].double()
    cross = (exact - exact.mean(0)).mT @ (inputs - inputs.mean(0)) / len(exact)
    assert torch.allclose(found.cross(), cross, atol=1e-9)
    assert torch.allclose(found.now.covariance(), torch.cov(inputs.mT, correction=0), atol=1e-9)
    assert torch.allclose(found.exact_mean, exact.mean(0))
    variance = before.outputs[0].double().var(0, correction=0)
    assert torch.allclose(found.output_variance(), variance)


class Words(nn.Module):
    """An embedding tied to the output, attention, recurrence, a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.attend = nn.MultiheadAttention(16, 2, batch_first=True)
        self.lstm = nn.LSTM(16, 16, batch_first=True)
        self.conv = nn.Conv1d(16, 16, 3, padding=1)
        self.up = nn.ConvTranspose1d(16, 16, 3, padding=1)
        self.mix = nn.utils.parametrizations.weight_norm(nn.Linear(16, 16))
        self.free = nn.Linear(16, 16)
        self.head = nn.Linear(16, 20, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, symbols: Tensor) -> Tensor:
        x = self.embed(symbols)
        x = x + self.attend(x, x, x)[0]
        x = x + self.lstm(x)[0]
        x = x + self.up(self.conv(x.mT)).mT
        logits: Tensor = self.head(self.free(self.mix(x)))
        return logits


def test_what_is_not_by_the_method_is_listed_with_the_reason() -> None:
    torch.manual_seed(0)
    symbols = torch.randint(0, 20, (32, 8))
    found = quantized(Words(), symbols, Plan(4, 8, "gptq", exclude=["lstm.weight_hh_l0"]))
    assert {name for name, one in found.weights.items() if not one.why} == {"free.weight"}
    why = {name: one.why for name, one in found.weights.items() if one.why}
    assert "embed and head have it in common" in why["embed.weight"]
    assert "only Linear and Conv2d are fitted, no Conv1d" in why["conv.weight"]
    assert "no weight of a linear or convolution layer" in why["attend.in_proj_weight"]
    assert "do not reach its layer" in why["attend.out_proj.weight"]
    assert found.left["lstm.weight_hh_l0"] == "excluded"
    mix = next(name for name in found.left if name.startswith("mix"))
    assert "parametrization" in found.left[mix]
    assert "inputs of embed" in found.left
    assert "inputs of up" in found.left
    assert len(found.told) == len(why) + len(found.left) - 1  # what was asked for is not told
    for name in found.weights:
        rows = found.model.get_parameter(name).detach().flatten(1)
        assert all(len(row.unique()) <= 16 for row in rows), name


def test_a_warning_lists_it_too() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4))
    with pytest.warns(UserWarning, match=r"0\.weight: rounded to its nearest values: only Linear"):
        quantize_oneshot(net, torch.randint(0, 9, (20, 3)), 4, method="gptq")


def test_networks_in_half_precision(net: Net, data: Tensor) -> None:
    half = copy.deepcopy(net).bfloat16()
    made = quantize_oneshot(half, data.bfloat16(), 4, activations=8, method="gptq")
    assert made.hidden.weight.dtype == torch.bfloat16  # type: ignore[union-attr]
    assert all(len(row.unique()) <= 16 for row in made.hidden.weight)  # type: ignore[union-attr]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"bits": 9}, "bits must be a whole number from 2 to 8, got 9"),
    ({"bits": True}, "bits must be a whole number from 2 to 8, got True"),
    ({"bits": {"conv": 1}}, r"bits\['conv'\] must be a whole number from 2 to 8, got 1"),
    ({"bits": {}}, "bits must name at least one tensor"),
    ({"bits": {"nothing": 4}}, "bits: the pattern 'nothing' matches no tensor"),
    ({"activations": 16}, "activations must be a whole number from 2 to 8, got 16"),
    ({"activations": {"nothing": 4}}, "activations: the pattern 'nothing' matches"),
    ({"method": "best"}, "method must be one of nearest, gptq, adaround, got 'best'"),
    ({"granularity": "row"}, "granularity must be tensor, channel"),
    ({"granularity": 5}, r"granularity=5: last\.weight has 12 inputs.*exclude=\['last\.weight'\]"),
    ({"observer": "guess"}, "observer must be one of"),
    ({"exclude": ["nothing"]}, "exclude: the pattern 'nothing' matches no tensor"),
    ({"exclude": "*"}, "no weight is left to quantize"),
    ({"samples": 0}, "samples must be at least 1"),
]


@pytest.mark.parametrize(("given", "says"), BAD)
def test_bad_settings_are_named(given: dict[str, Any], says: str, net: Net, data: Tensor) -> None:
    with pytest.raises(ValueError, match=says):
        quantize_oneshot(net, data, **given)


@pytest.mark.parametrize("method", ["nearest", "gptq"])
def test_bad_samples_and_weights_are_named(method: Any, net: Net, data: Tensor) -> None:
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(CalibrationError, match=r"layer hidden: 8 rows .* at least 16 samples"):
        quantize_oneshot(net, data[:8], 4, method=method)
    with pytest.raises(CalibrationError, match="inputs of layer conv hold NaN"):
        quantize_oneshot(net, torch.full_like(data, torch.nan), 4, activations=8, method=method)
    with pytest.raises(CalibrationError, match="set is empty"):
        quantize_oneshot(net, data[:0], 4, method=method)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with torch.no_grad():
        net.hidden.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"hidden\.weight holds NaN or infinity"):
        quantize_oneshot(net, data, 4, method=method)
