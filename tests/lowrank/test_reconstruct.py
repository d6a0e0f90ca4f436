"""boildown.lowrank.reconstruct: factors fitted to what the dense network says."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from boildown.lowrank.factorize import factorize
from boildown.lowrank.reconstruct import missed, reconstruct, references


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(20, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 3)
    )


LAYERS = {"0": True, "2": True}


def distance(a: nn.Module, b: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        return float((a(x).softmax(1) - b(x).softmax(1)).square().sum())


def test_the_network_says_more_nearly_what_the_dense_one_does() -> None:
    model = mlp()
    seen, unseen = draw(300, 20).split(100)[:2], draw(500, 20, seed=1)
    small = factorize(model, {"0": 6, "2": 5})
    before = copy.deepcopy(small.state_dict())
    fitted, passes = reconstruct(small, LAYERS, references(model, seen, LAYERS))
    assert distance(fitted, model, torch.cat(seen)) < 0.5 * distance(small, model, torch.cat(seen))
    assert distance(fitted, model, unseen) < distance(small, model, unseen)
    assert passes > 0
    for name, tensor in fitted.state_dict().items():
        assert torch.equal(small.state_dict()[name], before[name])
        assert torch.equal(tensor, before[name]) == name.startswith("4.")
    assert all(p.requires_grad and p.grad is None for p in fitted.parameters())


def test_the_curvature_of_some_samples_does_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    model, small = mlp(), factorize(mlp(), {"0": 6, "2": 5})
    same, others = [draw(100, 20)] * 4, list(draw(400, 20).split(100))
    for seen, alike in ((same, True), (others, False)):
        reference = references(model, seen, LAYERS)
        monkeypatch.setattr("boildown.lowrank.reconstruct.CURVATURE", 1000)
        full, passes = reconstruct(small, LAYERS, reference)
        monkeypatch.setattr("boildown.lowrank.reconstruct.CURVATURE", 100)
        part, fewer = reconstruct(small, LAYERS, reference)
        assert fewer < 0.5 * passes
        x = torch.cat(seen)
        assert distance(part, model, x) < 0.5 * distance(small, model, x)
        if alike:
            with torch.no_grad():
                torch.testing.assert_close(part(x), full(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scheme", ["channel", "spatial", "tucker2"])
def test_every_scheme_of_a_convolution(scheme: str) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(32, 4)
    ).eval()
    x, layers = draw(60, 3, 6, 6), {"0": True}
    rank = (3, 2) if scheme == "tucker2" else 2
    small = factorize(model, {"0": rank}, schemes={"0": scheme})  # type: ignore[dict-item]
    fitted, _ = reconstruct(small, layers, references(model, [x], layers))
    assert distance(fitted, model, x) < 0.5 * distance(small, model, x)


def test_what_fits_already_stays() -> None:
    model, x = mlp(), draw(50, 20)
    reference = references(model, [x], LAYERS)
    fitted, _ = reconstruct(model, LAYERS, reference)
    for a, b in zip(fitted.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert missed(model, LAYERS, reference) == {"0": 0.0, "2": 0.0}
    untouched, _ = reconstruct(factorize(model, {"0": 3}), LAYERS, reference, steps=0)
    for a, b in zip(untouched.parameters(), factorize(model, {"0": 3}).parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_error_behind_a_layer() -> None:
    model, x = mlp(), draw(50, 20)
    other = copy.deepcopy(model)
    other[0].weight.data *= 0.9
    with torch.no_grad():
        y, z = (net[:2](x).double() for net in (model, other))
    expected = math.sqrt(float((y - z).square().sum() / (y - y.mean(0)).square().sum()))
    errors = missed(other, {"0": True}, references(model, x.split(20), {"0": True}))
    assert errors["0"] == pytest.approx(expected, rel=1e-5)


def test_outputs_that_are_no_logits() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(12, 12)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"one": self.a(x).tanh(), "sum": self.a(x).sum(1)}

    torch.manual_seed(0)
    model, x = Two(), draw(80, 12)
    small, layers = factorize(model, {"a": 4}), {"a": False}
    fitted, _ = reconstruct(small, layers, references(model, [x], layers))
    lost = []
    with torch.no_grad():
        said = model(x)
        for net in (fitted, small):
            gaps = {k: (net(x)[k] - t).square().sum() for k, t in said.items()}
            lost.append(
                sum(float(g / (said[k] - said[k].mean(0)).square().sum()) for k, g in gaps.items())
            )
    assert lost[0] < 0.9 * lost[1]


def test_refused() -> None:
    model = mlp()
    reference = references(model, [draw(5, 20)], LAYERS)
    with pytest.raises(ValueError, match="steps must be at least 0, got -1"):
        reconstruct(model, LAYERS, reference, steps=-1)
    with pytest.raises(ValueError, match="iterations must be at least 1, got 0"):
        reconstruct(model, LAYERS, reference, iterations=0)
    with pytest.raises(ValueError, match="nothing to reproduce"):
        reconstruct(model, LAYERS, [])
