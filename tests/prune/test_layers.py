"""boildown.prune.layers: networks pruned layer by layer, without training."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.calibrate.batches import CalibrationError
from boildown.calibrate.grams import input_moments, layers_reached
from boildown.calibrate.samples import samples_of
from boildown.prune.criteria import magnitude, wanda
from boildown.prune.layers import prune_oneshot
from boildown.prune.reconstruct import on_support


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
        return self.last(F.relu(self.hidden(x)))


LAYERS = ["conv", "grouped", "hidden", "last"]


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def data() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(200, 4, 1, 1) + torch.randn(200, 4, 7, 7)


def gap(net: nn.Module, other: nn.Module, data: Tensor) -> float:
    with torch.no_grad():
        wanted = net(data)
        return float((other(data) - wanted).square().sum() / wanted.var(0).sum() / len(data))


def weights(net: nn.Module) -> dict[str, Tensor]:
    return {name: net.get_parameter(f"{name}.weight").detach() for name in LAYERS}


def test_layers_in_the_order_in_which_they_compute(net: Net, data: Tensor) -> None:
    assert layers_reached(net, data, ["last", "hidden", "grouped", "conv", "norm"]) == [
        *("conv", "norm", "grouped", "hidden", "last")
    ]


def test_the_moments_are_those_of_all_rows(net: Net, data: Tensor) -> None:
    rows = samples_of(net, data, ["grouped"], rows=10**6, positions=32, seed=0)["grouped"].inputs
    found = input_moments(net, data, "grouped")
    assert len(found) == 2
    for moments, each in zip(found, rows.double(), strict=True):
        assert moments.count == len(each) == 200 * 9
        assert torch.allclose(moments.second(), each.mT @ each / len(each), rtol=1e-8)


def test_fitting_beats_cutting(net: Net, data: Tensor) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    gaps = []
    for method in (magnitude, wanda, "sparsegpt", "alps"):
        made = prune_oneshot(net, data, 0.7, method=method)
        for name, weight in weights(made).items():
            assert int((weight == 0).sum()) == round(0.7 * weight.numel()), (method, name)
        gaps.append(gap(net, made, data))
    assert gaps[3] < gaps[2] < min(gaps[:2])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("method", [magnitude, "sparsegpt"])
def test_by_sensitivity_as_many_go_and_less_is_lost(net: Net, data: Tensor, method: Any) -> None:
    equal = prune_oneshot(net, data, 0.7, method=method)
    for weight in net.parameters():
        weight.requires_grad_(False)
    shared_out = prune_oneshot(net, data, 0.7, method=method, scope="sensitivity")
    counts = [sum(int((w == 0).sum()) for w in weights(m).values()) for m in (equal, shared_out)]
    assert counts[1] == round(0.7 * sum(w.numel() for w in weights(net).values()))
    assert abs(counts[0] - counts[1]) <= len(weights(net))
    if method is magnitude:  # by which the layers are measured
        assert gap(net, shared_out, data) < gap(net, equal, data)
    assert not any(w.requires_grad for w in shared_out.parameters())
    with pytest.raises(
        ValueError, match="scope must be one of global, layer, erk, sensitivity, got 'all'"
    ):
        prune_oneshot(net, data, 0.7, scope="all")  # type: ignore[arg-type]


def test_each_layer_is_fitted_to_what_it_then_gets(net: Net, data: Tensor) -> None:
    made = prune_oneshot(net, data, 0.5, method="alps")
    exact, own = weights(net)["last"].double(), weights(made)["last"].double()
    seen = input_moments(made, data, "last")[0]  # of the pruned layers before it
    second = seen.covariance()
    second = 0.99 * second + 0.01 * second.diagonal().mean() * torch.eye(12)
    best = on_support(exact, second, own != 0).weight
    assert torch.allclose(own, best, atol=1e-5)
    shift = made.last.bias - net.last.bias  # type: ignore[union-attr,operator]
    assert torch.allclose(shift.double(), (exact - own) @ seen.mean, atol=1e-5)


def test_patterns_and_exclusions(net: Net, data: Tensor) -> None:
    made = prune_oneshot(net, data, pattern="2:4", exclude=["grouped"])
    for name, weight in weights(made).items():
        kept = (weight != 0).movedim(1, -1).reshape(-1, 4).sum(1)
        assert (kept == (4 if name == "grouped" else 2)).all()


BAD: list[tuple[dict[str, Any], str]] = [
    ({"sparsity": 1.0}, r"sparsity must be in \[0, 1\), got 1"),
    ({"sparsity": None}, "got None"),
    ({"sparsity": 0.3, "pattern": "2:4"}, r"sparsity must be in \[0\.5, 1\), got 0\.3"),
    (
        {"method": "gpt"},
        "obs, refit or a function that scores, such as boildown.prune.criteria.wanda",
    ),
    ({"pattern": "1x5"}, r"pattern 1x5: last\.weight has 12 inputs.*exclude=\['last\.weight'\]"),
    ({"exclude": ["nothing"]}, "the pattern 'nothing' matches no tensor"),
]


@pytest.mark.parametrize(("given", "says"), BAD)
def test_bad_settings_are_named(given: dict[str, Any], says: str, net: Net, data: Tensor) -> None:
    with pytest.raises(ValueError, match=says):
        prune_oneshot(net, data, **({"sparsity": 0.5} | given))


def test_bad_samples_and_weights_are_named(net: Net, data: Tensor) -> None:
    with pytest.raises(CalibrationError, match=r"layer hidden: 8 rows .* at least 16 samples"):
        prune_oneshot(net, data[:8], 0.5)
    with pytest.raises(CalibrationError, match="inputs of layer conv hold NaN"):
        prune_oneshot(net, torch.full_like(data, torch.nan), 0.5)
    with pytest.raises(CalibrationError, match="set is empty"):
        prune_oneshot(net, data[:0], 0.5)
    other = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"alps fits .* which 0\.weight is not; exclude=\['0"):
        prune_oneshot(other, torch.randint(0, 5, (20, 3)), 0.5)
    made = prune_oneshot(other, torch.randint(0, 5, (20, 3)), 0.5, exclude=["0"])
    assert int((made[1].weight == 0).sum()) == 4  # type: ignore[index,union-attr]
    with torch.no_grad():
        net.hidden.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"hidden\.weight holds NaN or infinity"):
        prune_oneshot(net, data, 0.5)
