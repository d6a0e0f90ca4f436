"""boildown.prune.criteria and the evidence they ask for, against loops over single weights."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.calibrate.evidence import Evidence
from boildown.prune.criteria import magnitude, scored, taylor, wanda


class Net(nn.Module):
    """A convolution in groups, a norm, a linear layer over channels, an embedding that is idle."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 2, groups=2)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.drop(F.relu(self.norm(self.conv(inputs))))
        return self.fc(hidden.flatten(2).transpose(1, 2)).mean(1)


NAMES = ("conv.weight", "fc.weight")


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def batches() -> list[tuple[Tensor, Tensor]]:
    return [(torch.randn(n, 4, 3, 3), torch.randint(0, 3, (n,))) for n in (4, 4)]


def evidence(net: Net, batches: list[Any]) -> Evidence:
    def loss(batch: Any) -> Tensor:
        return F.cross_entropy(net(batch[0]), batch[1])

    return Evidence(net, NAMES, lambda: batches, loss)


def weights(net: Net) -> dict[str, Tensor]:
    return {name: net.get_parameter(name) for name in NAMES}


def test_taylor_is_the_change_of_the_loss_to_first_order(net: Net, batches: list[Any]) -> None:
    net.double()
    batches = [(inputs.double(), targets) for inputs, targets in batches]
    scores = taylor(weights(net), evidence(net, batches))

    def total() -> float:
        with torch.no_grad():
            return sum(float(F.cross_entropy(net(x), y)) for x, y in batches) / len(batches)

    net.eval()
    step = 1e-6
    for name, at in (("conv.weight", (3, 1, 0, 1)), ("fc.weight", (2, 4))):
        weight = net.get_parameter(name)
        with torch.no_grad():
            before, value = total(), float(weight[at])
            weight[at] += step
            slope = (total() - before) / step
            weight[at] = value
        assert float(scores[name][at]) == pytest.approx(abs(value * slope), rel=1e-3)


def test_squared_gradients_are_those_of_batches(net: Net, batches: list[Any]) -> None:
    found = evidence(net, batches).gradients
    net.eval()
    squares = []
    for x, y in batches:
        net.zero_grad()
        F.cross_entropy(net(x), y).backward()
        assert net.fc.weight.grad is not None
        squares.append(net.fc.weight.grad.square())
    assert torch.allclose(found.square["fc.weight"], torch.stack(squares).mean(0), rtol=1e-5)


def test_wanda_weighs_by_the_inputs(net: Net, batches: list[Any]) -> None:
    found = wanda(weights(net), evidence(net, batches))
    net.eval()
    inputs = torch.cat([x for x, _ in batches])
    hidden = F.relu(net.norm(net.conv(inputs))).flatten(2).transpose(1, 2).reshape(-1, 6)
    for out in range(6):
        for i in range(2):
            channel = inputs[:, 2 * (out // 3) + i]
            wanted = net.conv.weight[out, i].abs() * channel.square().mean().sqrt()
            assert torch.allclose(found["conv.weight"][out, i], wanted, rtol=1e-5)
    wanted = net.fc.weight.abs() * hidden.square().mean(0).sqrt()
    assert torch.allclose(found["fc.weight"], wanted, rtol=1e-4)


def test_symbols_count_by_how_often_they_come() -> None:
    net = nn.Embedding(3, 2)
    seen = Evidence(net, ["weight"], lambda: [torch.tensor([[0, 2, 2, 2]])])
    assert seen.input_squares["weight"].flatten().tolist() == [0.25, 0.0, 0.75]


@pytest.mark.parametrize("ask", [lambda e: e.gradients, lambda e: e.input_squares])
def test_a_pass_leaves_no_trace(
    ask: Callable[[Evidence], object], net: Net, batches: list[Any]
) -> None:
    net.drop.eval()  # a mode of its own
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    generator = torch.get_rng_state()
    asked = evidence(net, batches)
    ask(asked)
    flops = asked.flops
    assert flops > 0
    ask(asked)
    assert asked.flops == flops  # once for all who ask
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert [module.training for module in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(p.grad is None for p in net.parameters())
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_what_cannot_be_had_is_said(net: Net, batches: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"no calibration batches.*calibration="):
        taylor(weights(net), Evidence(net, NAMES, None, lambda _: torch.zeros(())))
    with pytest.raises(ValueError, match="no loss"):
        taylor(weights(net), Evidence(net, NAMES, lambda: batches))
    with pytest.raises(ValueError, match=r"norm\.weight is the weight of no linear"):
        wanda({"norm.weight": net.norm.weight}, Evidence(net, ["norm.weight"], lambda: batches))


def changes(weights: Mapping[str, Tensor], _: Evidence) -> dict[str, Tensor]:
    weights["fc.weight"].data.mul_(0.5)
    return {name: weight.abs() for name, weight in weights.items()}


WRONG: list[tuple[Any, str]] = [
    (changes, r"criterion changes changes fc\.weight, which it may only read"),
    (lambda w, _: {n: t > 0 for n, t in w.items()}, r"conv\.weight by floats, not torch\.bool"),
    (lambda w: {n: t.long() for n, t in w.items()}, r"conv\.weight by floats, not torch\.int64"),
    (lambda w, _: {n: t[:1] for n, t in w.items()}, r"conv\.weight.*its shape \(6, 2, 2, 2\)"),
    (lambda w, _: {n: t / 0 for n, t in w.items()}, r"conv\.weight scores that are NaN or inf"),
    (lambda w, _: {"fc.weight": w["fc.weight"]}, r"each of conv\.weight, fc\.weight.*\['fc"),
    (lambda w, _: dict(w) | {"more": w["fc.weight"]}, "'more'"),
    (lambda w, _: list(w.values()), "it gave list"),
    (lambda w, _: dict.fromkeys(w, 1.0), "it gave float"),
]


@pytest.mark.parametrize(("criterion", "says"), WRONG)
def test_scores_are_checked(criterion: Any, says: str, net: Net) -> None:
    with pytest.raises(ValueError, match=says):
        scored(criterion, weights(net), Evidence(net, NAMES))


def test_a_partial_is_called_by_the_name_of_its_function(net: Net) -> None:
    def flat(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: weight.sum() for name, weight in weights.items()}

    with pytest.raises(ValueError, match="the criterion flat must score"):
        scored(partial(flat), weights(net), Evidence(net, NAMES))


def test_diverged_weights_are_named(net: Net) -> None:
    with torch.no_grad():
        net.fc.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"fc\.weight holds NaN or infinity"):
        scored(magnitude, weights(net), Evidence(net, NAMES))


def test_scores_are_told_from_weights(net: Net) -> None:
    def kept(given: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return given  # a criterion of the weights alone

    assert not any(t.requires_grad for t in scored(kept, weights(net), Evidence(net, [])).values())
