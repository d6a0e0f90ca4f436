"""boildown.lowrank.gap: how far a layer's outputs are from what they were."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from boildown.lowrank.gap import relative_gap, relative_gaps


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Dropout(), nn.Linear(30, 5))


def expected(y: Tensor, z: Tensor) -> float:
    return math.sqrt(float((y - z).square().sum() / (y - y.mean(0)).square().sum()))


@pytest.mark.parametrize("relu", [True, False])
def test_behind_a_layer(relu: bool) -> None:
    model, x = mlp(), torch.randn(50, 20, generator=torch.Generator().manual_seed(1)) + 3.0
    other = copy.deepcopy(model)
    other[0].weight.data *= 0.9
    with torch.no_grad():
        y, z = (net[0](x).double() for net in (model, other))
    found = relative_gaps(model, other, x.split(20), {"0": relu})
    y, z = (y.relu(), z.relu()) if relu else (y, z)
    assert found == {"0": pytest.approx(expected(y, z), rel=1e-5)}
    assert model.training
    assert other.training


def test_samples_of_several_shapes_each_have_their_mean() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    other = copy.deepcopy(model)
    other[0].weight.data *= 1.1
    g = torch.Generator().manual_seed(2)
    batches = [torch.randn(8, 1, size, size, generator=g) for size in (5, 7, 5)]
    alike = [torch.cat([batches[0], batches[2]]), batches[1]]
    missed = spread = 0.0
    with torch.no_grad():
        for batch in alike:
            y, z = model(batch).double(), other(batch).double()
            missed += float((y - z).square().sum())
            spread += float((y - y.mean(0)).square().sum())
    found = relative_gaps(model, other, batches, {"0": False})
    assert found["0"] == pytest.approx(math.sqrt(missed / spread), rel=1e-6)


def test_groups_each_have_their_mean() -> None:
    g = torch.Generator().manual_seed(3)
    y = torch.randn(2, 40, 3, generator=g) + torch.tensor([0.0, 9.0])[:, None, None]
    z = y + 0.1 * torch.randn(2, 40, 3, generator=g)
    assert relative_gap(y, z, relu=False) == pytest.approx(
        expected(y.transpose(0, 1).double(), z.transpose(0, 1).double()), rel=1e-6
    )


def test_what_never_varies() -> None:
    y = torch.full((1, 5, 3), 0.1)
    assert relative_gap(y, y, relu=False) == 0.0
    assert relative_gap(y, y + 1.0, relu=False) == math.inf
    assert relative_gap(-y, -2.0 * y, relu=True) == 0.0


class Twice(nn.Module):
    """A layer that is called on two inputs of different size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(x) + self.fc(0.01 * x.flip(1))
        return y


def test_every_call_of_a_layer_counts() -> None:
    model, x = Twice(), torch.randn(50, 20, generator=torch.Generator().manual_seed(4))
    other = copy.deepcopy(model)
    other.fc.weight.data *= 0.9
    both = torch.cat([x, 0.01 * x.flip(1)])
    with torch.no_grad():
        wanted = expected(model.fc(both).double(), other.fc(both).double())
    found = relative_gaps(model, other, x.split(20), {"fc": False})
    assert found == {"fc": pytest.approx(wanted, rel=1e-5)}
