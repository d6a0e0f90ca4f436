from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.structure.consumers import readers

Forward = Callable[[Any, Tensor], Tensor]


class Net(nn.Module):
    def __init__(self, forward: Forward, **layers: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


IMAGES = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1))
ROWS = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))


def lenet(flatten: Callable[[Tensor], Tensor]) -> Net:
    def forward(net: Any, x: Tensor) -> Tensor:
        x = F.max_pool2d(net.conv1(x).relu(), 2)
        return net.fc2(torch.tanh(net.norm(net.fc1(flatten(x)))))

    return Net(
        forward,
        conv1=nn.Conv2d(2, 5, 3, padding=1),
        fc1=nn.Linear(5 * 16, 7),
        norm=nn.BatchNorm1d(7),
        fc2=nn.Linear(7, 3),
    )


def test_a_channel_reaches_its_pixels_behind_pooling_and_flattening() -> None:
    found = readers(lenet(lambda x: x.flatten(1)), IMAGES, ["conv1", "fc1", "fc2"])
    assert set(found) == {"conv1", "fc1"}  # the last layer's outputs are the model's
    assert found["conv1"].layer == "fc1"
    assert torch.equal(found["conv1"].inputs, torch.arange(80).view(5, 16))
    assert found["fc1"].layer == "fc2"
    assert torch.equal(found["fc1"].inputs, torch.arange(7).view(7, 1))


def test_a_channel_that_comes_last_reaches_every_fifth_feature() -> None:
    found = readers(lenet(lambda x: x.permute(0, 2, 3, 1).flatten(1)), IMAGES, ["conv1"])
    assert torch.equal(found["conv1"].inputs, torch.arange(80).view(16, 5).T)


def test_outputs_may_be_shuffled_and_changed_in_place() -> None:
    order = torch.tensor([3, 0, 2, 1])

    def forward(net: Any, x: Tensor) -> Tensor:
        return net.b(F.relu_(net.a(x))[:, order])

    net = Net(forward, a=nn.Linear(6, 4), b=nn.Linear(4, 2))
    found = readers(net, ROWS, ["a"])
    assert found["a"].inputs[:, 0].tolist() == order.argsort().tolist()


def test_a_reader_may_have_inputs_from_elsewhere() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.c(torch.cat([net.a(x).relu(), x, net.b(x).tanh()], 1))

    net = Net(forward, a=nn.Linear(6, 3), b=nn.Linear(6, 2), c=nn.Linear(11, 2))
    found = readers(net, ROWS, ["a", "b"])
    assert found["a"].inputs[:, 0].tolist() == [0, 1, 2]
    assert found["b"].inputs[:, 0].tolist() == [9, 10]


def test_a_sequence_is_read_along_its_last_axis() -> None:
    net = Net(lambda net, x: net.b(net.a(x).relu()), a=nn.Linear(6, 4), b=nn.Linear(4, 2))
    assert readers(net, ROWS[:, None].expand(5, 3, 6), ["a"])["a"].layer == "b"


def skip(net: Any, x: Tensor) -> Tensor:
    h = net.a(x)
    return net.b(h.relu()) + h


def several(net: Any, x: Tensor) -> Tensor:
    h = net.a(x).relu()
    return net.b(h) + net.c(h)


def twice(net: Any, x: Tensor) -> Tensor:
    return net.b(net.a(net.a(x)).relu())


def read_twice(net: Any, x: Tensor) -> Tensor:
    h = net.a(x)
    return net.b(h.relu()) + net.b(h.tanh())


def mixed(net: Any, x: Tensor) -> Tensor:
    return net.b(net.a(x).softmax(1))


def pairs(net: Any, x: Tensor) -> Tensor:
    h = net.a(x)
    return net.b(h + h.roll(1, 1))


@pytest.mark.parametrize("forward", [skip, several, twice, read_twice, mixed, pairs])
def test_outputs_that_do_not_go_to_one_layer_one_by_one_have_no_reader(forward: Forward) -> None:
    net = Net(forward, a=nn.Linear(6, 6), b=nn.Linear(6, 6), c=nn.Linear(6, 6))
    assert readers(net, ROWS, ["a"]) == {}


def test_a_model_that_then_does_something_else_has_no_reader() -> None:
    def early(net: Any, x: Tensor) -> Tensor:
        h = net.a(x)
        return net.b(h) if h.mean() > 0.2 else net.c(h)

    net = Net(early, **{name: nn.Linear(6, 6) for name in "abc"})
    assert readers(net, ROWS / 100.0, ["a"]) == {}


def test_a_layer_called_twice_elsewhere_is_nobody_s_concern() -> None:
    net = Net(
        lambda net, x: net.s(net.s(net.b(net.a(x).relu()))),
        a=nn.Linear(6, 4), b=nn.Linear(4, 6), s=nn.Linear(6, 6),
    )  # fmt: skip
    assert readers(net, ROWS, ["a", "b", "s"]).keys() == {"a"}


def test_a_vector_may_go_through_a_layer() -> None:
    net = Net(
        lambda net, x: net.b(net.a(x).relu()) + net.d(net.c(x[0]).relu()),
        a=nn.Linear(6, 4), b=nn.Linear(4, 6), c=nn.Linear(6, 3), d=nn.Linear(3, 6),
    )  # fmt: skip
    found = readers(net, ROWS, ["a", "c"])
    assert {name: one.layer for name, one in found.items()} == {"a": "b", "c": "d"}


def test_a_layer_norm_mixes() -> None:
    net = Net(
        lambda net, x: net.b(net.norm(net.a(x))),
        a=nn.Linear(6, 6),
        norm=nn.LayerNorm(6),
        b=nn.Linear(6, 6),
    )
    assert readers(net, ROWS, ["a"]) == {}


@pytest.mark.parametrize("groups", [(2, 1), (1, 2)])
def test_grouped_convolutions_have_no_reader(groups: tuple[int, int]) -> None:
    first, second = (nn.Conv2d(c, 4, 3, groups=g) for c, g in zip((2, 4), groups, strict=True))
    net = Net(lambda net, x: net.b(net.a(x)), a=first, b=second)
    assert readers(net, IMAGES, ["a"]) == {}


def test_what_is_not_called_or_has_one_output_has_no_reader() -> None:
    net = Net(
        lambda net, x: net.b(net.a(x)), a=nn.Linear(6, 1), b=nn.Linear(1, 2), c=nn.Linear(6, 6)
    )
    assert readers(net, ROWS, ["a", "c"]) == {}


def test_the_model_is_left_as_it_was() -> None:
    net = lenet(lambda x: x.flatten(1)).train()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    random = torch.get_rng_state()
    readers(net, IMAGES, ["conv1"])
    assert net.training
    assert net.norm.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


def test_bad_names_and_batches_are_refused() -> None:
    net = lenet(lambda x: x.flatten(1))
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        readers(net, IMAGES, ["conv9"])
    with pytest.raises(ValueError, match="no tensor in a batch"):
        readers(net, [3], ["conv1"])
