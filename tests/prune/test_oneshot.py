"""boildown.prune.layers.prune_oneshot on what networks and data there are."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from boildown.calibrate.evidence import Evidence, EvidenceError
from boildown.calibrate.grams import input_moments
from boildown.calibrate.outputs import output_errors
from boildown.prune import criteria
from boildown.prune.layers import prune_oneshot, refit_, settled, weights_to_fit
from boildown.prune.reconstruct import on_support, refit


class Tied(nn.Module):
    """One weight under two names, with a bias each, and a layer that nothing calls."""

    def __init__(self, unused: bool = False) -> None:
        super().__init__()
        self.first, self.between, self.again = (nn.Linear(6, 6) for _ in range(3))
        self.again.weight = self.first.weight
        self.out = nn.Linear(6, 3)
        if unused:
            self.spare, self.other = nn.Linear(6, 6), nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.between(F.relu(self.first(x))))
        out: Tensor = self.out(F.relu(self.again(x)))
        return out


class Images(nn.Module):
    """Convolutions, one of them in groups, and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.grouped = nn.Conv2d(4, 8, 3, groups=2)
        self.out = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.grouped(F.relu(self.norm(self.conv(images)))))
        out: Tensor = self.out(x.mean((2, 3)))
        return out


def inputs(n: int = 64) -> Tensor:
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, 6, generator=g) @ torch.randn(6, 6, generator=g) + 1.0


def labelled(kind: type[nn.Module], n: int = 64) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    torch.manual_seed(0)
    x = inputs(n) if kind is Tied else torch.randn(n, 2, 8, 8)
    return kind().eval(), list(zip(x.split(24), (torch.arange(n) % 3).split(24), strict=True))


def test_a_tied_weight_is_fitted_to_all_layers_that_have_it() -> None:
    torch.manual_seed(0)
    net = Tied().eval()
    assert weights_to_fit(net, inputs()) == {
        "between.weight": ["between"], "first.weight": ["first", "again"], "out.weight": ["out"],
    }  # fmt: skip
    exact = net.first.weight.detach().double()
    mask = torch.rand(6, 6) < 0.5
    x = inputs()
    evidence = Evidence(net, ["first.weight"], lambda: [x])
    seen = [input_moments(net, [x], path)[0] for path in ("first", "again")]
    biases = [layer.bias.detach().clone() for layer in (net.first, net.again)]
    refit_(net, evidence, {"first.weight": settled(mask)}, {"first.weight": mask}, refit)
    assert net.again.weight is net.first.weight
    seconds = []
    for moments in seen:
        covariance = moments.covariance()
        seconds.append(0.99 * covariance)
        seconds[-1].diagonal().add_(0.01 * covariance.diagonal().mean())
    wanted = on_support(exact, (seconds[0] + seconds[1]) / 2, mask).weight
    torch.testing.assert_close(net.first.weight.detach().double(), wanted, rtol=1e-5, atol=1e-6)
    lost = exact - net.first.weight.detach().double()
    for layer, before, moments in zip((net.first, net.again), biases, seen, strict=True):
        shift = (layer.bias.detach() - before).double()
        torch.testing.assert_close(shift, lost @ moments.mean, rtol=1e-4, atol=1e-5)


def test_ties_stay_tied() -> None:
    torch.manual_seed(0)
    for method in ("obs", criteria.magnitude):
        made: Any = prune_oneshot(Tied(), inputs(), 0.5, method=method)  # type: ignore[arg-type]
        assert made.again.weight is made.first.weight
        assert int((made.first.weight == 0).sum()) == 18


def test_a_layer_that_looks_up_what_another_multiplies_is_not_fitted() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 9, bias=False)
            self.embed = nn.Embedding(9, 4)
            self.embed.weight = self.head.weight

        def forward(self, symbols: Tensor) -> Tensor:
            out: Tensor = self.head(self.embed(symbols))
            return out

    with pytest.raises(ValueError, match=r"alps fits .* which head\.weight is not"):
        prune_oneshot(Words(), torch.randint(0, 9, (20, 3)), 0.5)


def test_layers_that_the_data_do_not_reach_are_listed() -> None:
    net = Tied(unused=True)
    with pytest.raises(
        ValueError, match=r"spare\.weight, other\.weight are not; exclude=\['spare\.weight', 'oth"
    ):
        prune_oneshot(net, inputs(), 0.5)
    made = prune_oneshot(net, inputs(), 0.5, exclude=["spare", "other"])
    errors = output_errors(net, made, [inputs()], ["first", "spare", "out"])
    assert errors.keys() == {"first", "out"}
    with pytest.raises(ValueError, match=r"wanda: spare\.weight is the weight of no"):
        prune_oneshot(net, inputs(), 0.5, method=criteria.wanda)


def test_batches_of_any_kind() -> None:
    torch.manual_seed(0)
    net, x = Tied(), inputs(60)
    made = prune_oneshot(net, x, 0.5, samples=40).state_dict()
    pairs = TensorDataset(x, torch.arange(60))
    dicts = [{"x": part, "y": torch.arange(len(part))} for part in x.split(7)]
    for data in (DataLoader(pairs, 16), DataLoader(dicts, None), [(part,) for part in x.split(9)]):
        other = prune_oneshot(net, data, 0.5, samples=40).state_dict()
        torch.testing.assert_close(other, made, rtol=1e-4, atol=1e-5)


def test_modes_stay_and_a_failure_leaves_the_network_as_it_was() -> None:
    torch.manual_seed(0)
    net, images = Images(), torch.randn(40, 2, 8, 8)
    net.train()
    net.norm.eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    made = prune_oneshot(net, images, 0.5)
    assert [m.training for m in made.modules()] == [m.training for m in net.modules()]
    assert net.training
    assert not net.norm.training
    images[-1] = torch.nan
    with pytest.raises(ValueError, match="inputs of layer conv hold NaN"):
        prune_oneshot(net, images, 0.5)
    net.norm.running_var.fill_(torch.nan)
    with pytest.raises(ValueError, match="inputs of layer grouped hold NaN"):
        prune_oneshot(net, images[:-1], 0.5)
    net.norm.running_var.copy_(before["norm.running_var"])
    assert net.training
    assert not net.norm.training
    assert not any(p.grad is not None for p in net.parameters())
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [Tied, Images])
@pytest.mark.parametrize("method", ["sparsegpt", "alps", "obs", "refit"])
def test_the_loss_has_its_say(kind: type[nn.Module], method: Any) -> None:
    net, batches = labelled(kind)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    made = [
        prune_oneshot(net, batches, 0.6, method=method, mix=mix, loss=F.cross_entropy)
        for mix in (0.0, 0.5, 1.0)
    ]
    states = [dict(each.named_parameters()) for each in made]
    for name, weight in net.named_parameters():
        if weight.ndim > 1:
            gone = round(0.6 * weight.numel())
            assert [int((state[name] == 0).sum()) for state in states] == [gone] * 3
    assert not torch.equal(states[0]["out.weight"], states[1]["out.weight"])
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    again = prune_oneshot(net, batches, 0.6, method=method, mix=0.5, loss=F.cross_entropy)
    torch.testing.assert_close(again.state_dict(), made[1].state_dict(), rtol=0, atol=0)


def test_gradients_are_of_the_weight_with_the_bias_that_follows_it() -> None:
    """The rows give the loss's first-order change when the bias makes up for the mean."""
    net, batches = labelled(Tied, 8)
    evidence = Evidence(net, [], lambda: batches, lambda b: F.cross_entropy(net(b[0]), b[1]))
    rows = evidence.fisher_rows(["out.weight", "out.bias"])
    assert rows["out.weight"].shape == (1, 3, 6)
    loss = F.cross_entropy(net(batches[0][0]), batches[0][1])
    exact = torch.autograd.grad(loss, net.get_parameter("out.weight"))[0]
    torch.testing.assert_close(rows["out.weight"][0], exact * 8**0.5)
    blocks = Evidence(
        net, ["out.weight"], lambda: batches, lambda b: F.cross_entropy(net(b[0]), b[1])
    ).fisher(6)
    for _, _, fisher in blocks:  # a row of the weight is a block
        own = rows["out.weight"][0]
        torch.testing.assert_close(fisher, own[:, :, None] * own[:, None, :])


@pytest.mark.parametrize("scope", ["layer", "global", "erk"])
def test_scopes_cut_as_much_of_all(scope: Any) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 4))
    for method in ("alps", criteria.wanda):
        made = prune_oneshot(net, inputs(), 0.7, method=method, scope=scope)  # type: ignore[arg-type]
        gone = [int((p == 0).sum()) for p in made.parameters() if p.ndim > 1]
        assert sum(gone) == pytest.approx(0.7 * 400, abs=1)
        assert (gone == [168, 112]) == (scope == "layer")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"mix": 0.5}, "mix = 0.5 counts the loss, and there is none: give loss, such as"),
    ({"mix": 1.5, "loss": F.cross_entropy}, r"mix must be a number in \[0, 1\].*got 1\.5"),
    ({"mix": 0.5, "loss": F.cross_entropy, "method": criteria.wanda}, "a criterion fits none"),
    ({"mix": 0.5, "loss": F.cross_entropy}, r"batches of \(inputs, targets\), got a Tensor"),
    ({"scope": "all"}, "scope must be one of global, layer, erk, sensitivity, got 'all'"),
    ({"exclude": ["*"]}, r"nothing to prune: exclude=\['\*'\] leaves no weight"),
]


@pytest.mark.parametrize(("given", "says"), BAD)
def test_bad_settings_are_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        prune_oneshot(Tied(), inputs(), 0.5, **given)


def test_a_loss_that_is_no_number_and_criteria_without_one() -> None:
    net, batches = labelled(Tied)
    with pytest.raises(ValueError, match=r"loss must give a single number, got \(8,\)"):
        prune_oneshot(net, batches, 0.5, mix=0.5, loss=lambda o, t: o.sum(1))
    with pytest.raises(EvidenceError, match="there is no loss"):
        prune_oneshot(net, batches, 0.5, method=criteria.taylor)
    made = prune_oneshot(net, batches, 0.5, method=criteria.taylor, loss=F.cross_entropy)
    assert int((made.get_parameter("out.weight") == 0).sum()) == 9
