"""boildown.calibrate.tracing: what follows each layer, and who reads its weight."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from draws import draw
from networks import Net
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.calibrate.samples import feed
from boildown.calibrate.tracing import Following, follows, read_elsewhere
from boildown.models.lenet import LeNet5
from boildown.models.resnet import ResNet
from boildown.models.vgg import VGG16


def conv() -> nn.Conv2d:
    return nn.Conv2d(3, 3, 3, padding=1)


YES, NO = Following(True, None), Following(False, None)
CASES: list[tuple[str, Callable[[Any, Tensor], Any], Following]] = [
    ("torch.relu", lambda m, x: torch.relu(m.a(x)), YES),
    ("method", lambda m, x: m.a(x).relu(), YES),
    ("method in place", lambda m, x: m.a(x).relu_() + 1, YES),
    ("F.relu", lambda m, x: F.relu(m.a(x)), YES),
    ("F.relu in place", lambda m, x: F.relu(m.a(x), inplace=True) + 1, YES),
    ("F.relu_", lambda m, x: F.relu_(m.a(x)), YES),
    ("module", lambda m, x: m.act(m.a(x)) + 1, YES),
    ("module in place", lambda m, x: m.inplace(m.a(x)) + 1, YES),
    ("pool", lambda m, x: F.max_pool2d(m.a(x), 2).relu(), YES),
    ("pool with indices", lambda m, x: F.max_pool2d(m.a(x), 2, return_indices=True)[0].relu(), YES),
    ("torch pool", lambda m, x: torch.max_pool2d(m.a(x), 2).relu(), YES),
    ("pool module", lambda m, x: m.pool(m.a(x)).relu(), YES),
    ("adaptive pool", lambda m, x: F.adaptive_max_pool2d(m.a(x), 2).relu(), YES),
    ("flatten", lambda m, x: m.a(x).flatten(1).relu(), YES),
    ("dropout", lambda m, x: m.drop(m.a(x)).relu(), YES),
    ("batch norm", lambda m, x: m.bn(m.a(x)).relu(), Following(True, "bn")),
    ("batch norm, pool", lambda m, x: m.pool(m.bn(m.a(x))).relu(), Following(True, "bn")),
    ("batch norm alone", lambda m, x: m.bn(m.a(x)).sigmoid(), Following(False, "bn")),
    ("batch norm at the end", lambda m, x: m.bn(m.a(x)), Following(False, "bn")),
    ("pool, batch norm", lambda m, x: m.bn(m.pool(m.a(x))).relu(), NO),
    ("relu, batch norm", lambda m, x: m.bn(m.a(x).relu()), YES),
    ("in place, batch norm", lambda m, x: m.bn(m.a(x).relu_()), YES),
    ("functional norm", lambda m, x: F.batch_norm(m.a(x), None, None, training=True).relu(), NO),
    ("skip", lambda m, x: (y := m.a(x)).relu() + y, NO),
    ("skip from the norm", lambda m, x: (y := m.bn(m.a(x))).relu() + y, Following(False, "bn")),
    ("skip around the norm", lambda m, x: m.bn(y := m.a(x)).relu() + y, NO),
    ("added first", lambda m, x: (m.a(x) + x).relu(), NO),
    ("returned too", lambda m, x: (y := m.a(x), y.relu()), NO),
    ("returned pooled", lambda m, x: {"y": m.pool(y := m.a(x)), "z": y.relu()}, NO),
    ("average pool", lambda m, x: F.avg_pool2d(m.a(x), 2).relu(), NO),
    ("other activation", lambda m, x: F.leaky_relu(m.a(x)), NO),
    ("relu6", lambda m, x: F.relu6(m.a(x)), NO),
    ("concatenated", lambda m, x: torch.cat([m.a(x), x]).relu(), NO),
    ("shape read", lambda m, x: (y := m.a(x)).view(y.shape[0], -1).relu(), YES),
    ("view taken", lambda m, x: (y := m.a(x)).relu() + y.view(-1)[0], NO),
]


@pytest.mark.parametrize(("forward", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_follows(forward: Callable[[Any, Tensor], Any], expected: Following) -> None:
    model = Net(
        forward,
        a=conv(),
        act=nn.ReLU(),
        inplace=nn.ReLU(inplace=True),
        pool=nn.MaxPool2d(2),
        drop=nn.Dropout(0.5),
        bn=nn.BatchNorm2d(3),
    )
    assert follows(model, (draw(2, 3, 8, 8), torch.zeros(2))) == {"a": expected}


def test_what_follows_in_known_models() -> None:
    found = follows(LeNet5((1, 28, 28), 10), draw(2, 1, 28, 28))
    assert found == {"conv1": NO, "conv2": NO, "fc1": YES, "fc2": NO}
    vgg = follows(VGG16((3, 32, 32), 10, 0.5), draw(2, 3, 32, 32))
    assert vgg.pop("fc8") == NO
    assert len(vgg) == 15
    assert all(f == YES for f in vgg.values())
    resnet = follows(ResNet((3, 32, 32), 10, width=4, depth=20), draw(2, 3, 32, 32))
    firsts = [f for name, f in resnet.items() if name.endswith("conv1")]
    assert len(firsts) > 8
    assert all(f.relu and f.batchnorm is not None for f in firsts)
    seconds = [f for name, f in resnet.items() if name.endswith("conv2")]
    assert all(not f.relu and f.batchnorm is not None for f in seconds)


def test_a_norm_over_another_axis_is_no_norm_of_the_layer() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())
    assert follows(model, draw(5, 3))["0"] == Following(True, "1")
    assert follows(model, draw(5, 4, 3))["0"] == NO


def test_a_layer_used_twice() -> None:
    same = Net(lambda m, x: m.a(m.a(x).relu()).relu(), a=conv())
    assert follows(same, draw(1, 3, 8, 8)) == {"a": YES}
    mixed = Net(lambda m, x: m.a(m.a(x).relu()), a=conv())
    assert follows(mixed, draw(1, 3, 8, 8)) == {"a": NO}
    calls: list[str] = []
    take = lambda name, x, y: calls.append(name)  # noqa: E731
    feed(same, draw(1, 3, 8, 8), ["a"], take, positions=2, seed=0)
    assert calls == ["a", "a"]


@pytest.mark.parametrize(
    ("forward", "found"),
    [
        (lambda m, x: F.linear(m.a(x), m.a.weight.T), {"a"}),
        (lambda m, x: F.linear(m.b(m.a(x)), m.a.weight), {"a"}),
        (lambda m, x: m.b(m.a(x)) + m.a.weight.sum(), {"a"}),
        (lambda m, x: m.b(m.a(x.to(m.a.weight.device, next(m.parameters()).dtype))), set()),
        (lambda m, x: m.b(m.a(m.a(x))), set()),
    ],
)
def test_weights_that_are_read_elsewhere(
    forward: Callable[[Any, Tensor], Any], found: set[str]
) -> None:
    model = Net(forward, a=nn.Linear(3, 3), b=nn.Linear(3, 3)).train()
    assert read_elsewhere(model, draw(2, 3)) == found
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
