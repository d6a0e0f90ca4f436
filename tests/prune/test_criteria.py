"""boildown.prune.criteria and the evidence they ask for, against loops over single weights."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.calibrate.evidence import Evidence
from boildown.prune.criteria import (
    apoz,
    lamp,
    magnitude,
    mean_activation,
    movement,
    obd,
    obs,
    random,
    scored,
    snip,
    taylor,
    wanda,
)
from boildown.prune.masks import global_masks


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


def test_lamp_is_the_fraction_of_the_squares_that_are_left(net: Net) -> None:
    with torch.no_grad():
        net.fc.weight[0] = 0.0
    for name, scores in lamp(weights(net), evidence(net, [])).items():
        w = net.get_parameter(name).detach().double().flatten()
        for each, score in zip(w, scores.flatten(), strict=True):
            rest = w.square()[w.abs() >= each.abs()].sum()
            assert float(score) == pytest.approx(float(each.square() / rest), rel=1e-9)


def test_chance_is_the_same_each_time_and_its_own_for_each_tensor(net: Net) -> None:
    same = {"a": torch.zeros(50, 4), "b": torch.ones(50, 4)}
    first, again = random(same, evidence(net, [])), random(same, evidence(net, []))
    assert all(torch.equal(first[name], again[name]) for name in same)
    others = [first["b"], random(same, evidence(net, []), seed=1)["a"]]
    assert not any(torch.equal(first["a"], other) for other in others)
    assert 0.4 < float(first["a"].mean()) < 0.6


def test_snip_ranks_as_taylor_and_sums_to_one(net: Net, batches: list[Any]) -> None:
    found, first = (score(weights(net), evidence(net, batches)) for score in (snip, taylor))
    total = sum(float(each.sum()) for each in first.values())
    for name, scores in found.items():
        assert torch.allclose(scores, first[name] / total, rtol=1e-5)


def single_gradients(net: Net, batches: list[Any], name: str, few: int) -> Tensor:
    """(parts, weights): the mean gradient of each few samples."""
    net.eval()
    rows = []
    for inputs, targets in batches:
        for x, y in zip(inputs.split(few), targets.split(few), strict=True):
            net.zero_grad()
            F.cross_entropy(net(x), y).backward()
            grad = net.get_parameter(name).grad
            assert grad is not None
            rows.append(grad.flatten().clone())
    return torch.stack(rows)


@pytest.mark.parametrize("criterion", [obd, obs])
def test_the_order_in_memory_does_not_matter(criterion: Any, net: Net, batches: list[Any]) -> None:
    before = criterion(weights(net), evidence(net, batches))
    net.to(memory_format=torch.channels_last)
    after = criterion(weights(net), evidence(net, batches))
    for name in NAMES:
        torch.testing.assert_close(after[name], before[name], rtol=1e-2, atol=1e-7)


def test_obd_is_half_the_fisher_diagonal_times_the_square(net: Net) -> None:
    many = [(torch.randn(12, 4, 3, 3), torch.randint(0, 3, (12,))) for _ in range(2)]
    found = obd(weights(net), evidence(net, many))
    for name in NAMES:  # parts of 8 and 4 samples
        g = single_gradients(net, many, name, 8).double()
        counts = torch.tensor([8.0, 4.0, 8.0, 4.0], dtype=torch.float64)[:, None]
        h = ((counts * g).square().sum(0) / 24).float()
        wanted = h * net.get_parameter(name).detach().flatten().square() / 2
        assert torch.allclose(found[name].flatten(), wanted, rtol=1e-4)


def test_the_fisher_matrix_comes_in_bounded_pieces(
    net: Net, batches: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {name: blocks for name, _, blocks in evidence(net, batches).fisher(5)}
    monkeypatch.setattr("boildown.calibrate.evidence.FISHER_BYTES", 200)  # 2 blocks of 5
    pieces = list(evidence(net, batches).fisher(5))
    spans = [(name, span.start, span.stop) for name, span, _ in pieces]
    assert spans[:2] == [("conv.weight", 0, 10), ("conv.weight", 10, 20)]
    assert spans[-1] == ("fc.weight", 10, 18)
    for name in NAMES:
        found = torch.cat([blocks for one, _, blocks in pieces if one == name])
        assert torch.equal(found, whole[name])


class Quadratic(nn.Module):
    """Half the squares of a w - b: with residuals of -1 and 1 at its minimum."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, rows.shape[1], dtype=torch.float64))
        self.rows = rows

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.weight[0]


def test_obs_is_the_exact_loss_change_on_a_quadratic() -> None:
    rows = torch.randn(40, 6, dtype=torch.float64).repeat_interleave(2, 0)
    net = Quadratic(rows)
    signs = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(40)
    targets = (rows @ net.weight[0]).detach() + signs
    single = [(rows[i : i + 1], targets[i : i + 1]) for i in range(80)]

    def loss(batch: Any) -> Tensor:
        return (net(batch[0]) - batch[1]).square().mean() / 2

    asked = Evidence(net, ["weight"], lambda: single, loss)
    scores = obs({"weight": net.weight}, asked, block=6, damping=1e-9)["weight"][0]
    at_minimum = (targets - rows @ net.weight[0].detach()).square().mean() / 2
    for q in range(6):
        others = [i for i in range(6) if i != q]
        best = torch.linalg.lstsq(rows[:, others], targets).solution
        least = (targets - rows[:, others] @ best).square().mean() / 2
        assert float(scores[q]) == pytest.approx(float(least - at_minimum), rel=1e-4)


def test_units_by_their_activity(net: Net, batches: list[Any]) -> None:
    zeros = apoz(weights(net), evidence(net, batches))
    means = mean_activation(weights(net), evidence(net, batches))
    net.eval()
    x = torch.cat([x for x, _ in batches])
    with torch.no_grad():
        hidden = F.relu(net.norm(net.conv(x)))
        out = net.fc(hidden.flatten(2).transpose(1, 2)).reshape(-1, 3).mT
    relu = hidden.transpose(0, 1).flatten(1)
    for name, seen in (("conv.weight", relu), ("fc.weight", out)):
        for unit, activations in enumerate(seen):
            active = float((activations != 0).float().mean())
            assert zeros[name][unit].flatten().tolist() == pytest.approx(
                [active] * zeros[name][unit].numel()
            )
            mean = float(activations.abs().mean())
            assert float(means[name][unit].flatten()[0]) == pytest.approx(mean, rel=1e-5)
    assert zeros["conv.weight"].unique().numel() > 1


CRITERIA: list[Any] = [
    apoz,
    lamp,
    magnitude,
    mean_activation,
    obd,
    obs,
    random,
    snip,
    taylor,
    wanda,
]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_serves_a_ranking_of_all(
    criterion: Any, net: Net, batches: list[Any]
) -> None:
    scores = scored(criterion, weights(net), evidence(net, batches))
    masks = global_masks(scores, 0.5)
    assert sum(int((~m).sum()) for m in masks.values()) == (6 * 2 * 4 + 3 * 6) // 2


def test_symbols_count_by_how_often_they_come() -> None:
    net = nn.Embedding(3, 2)
    seen = Evidence(net, ["weight"], lambda: [torch.tensor([[0, 2, 2, 2]])])
    assert seen.input_squares["weight"].flatten().tolist() == [0.25, 0.0, 0.75]


@pytest.mark.parametrize(
    "ask",
    [
        lambda e: e.gradients,
        lambda e: e.input_squares,
        lambda e: e.activity,
    ],
)
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
    with pytest.raises(ValueError, match=r"nothing is trained here: prune in training"):
        movement(weights(net), evidence(net, batches))
    for wrong, says in (({"block": 0}, "block must be"), ({"damping": 0.0}, "damping must be")):
        with pytest.raises(ValueError, match=says):
            obs(weights(net), evidence(net, batches), **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"apoz: norm\.weight is the weight of no linear or conv"):
        apoz({"norm.weight": net.norm.weight}, Evidence(net, ["norm.weight"], lambda: batches))
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
