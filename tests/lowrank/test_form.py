"""The form of a layer's errors: what it says equals what the outputs do."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from boildown.calibrate.batches import CalibrationError
from boildown.lowrank.form import Form, measure
from boildown.lowrank.svd import decompose


def triangular(size: int, g: torch.Generator) -> Tensor:
    factor = torch.randn(size, size, generator=g, dtype=torch.float64).tril(-1)
    return factor + torch.diag(0.5 + torch.rand(size, generator=g, dtype=torch.float64))


@settings(max_examples=40, deadline=None)
@given(m=st.integers(1, 9), n=st.integers(1, 9), seed=st.integers(0, 10**6))
def test_the_tails_are_the_errors_and_the_least_there_are(m: int, n: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    weight = torch.randn(m, n, generator=g, dtype=torch.float64)
    form = Form(triangular(m, g).mT, triangular(n, g))
    found = form.decompose(weight)

    def error(other: Tensor) -> float:
        return float((form.left @ (weight - other) @ form.right).square().sum())

    for rank in range(1, found.full + 1):
        nearest = found.truncate(rank).product()
        torch.testing.assert_close(error(nearest), float(found.tails()[rank]), rtol=1e-6, atol=1e-9)
        assert error(nearest) <= error(decompose(weight).truncate(rank).product()) + 1e-9
    torch.testing.assert_close(found.truncate(found.full).product(), weight)


def test_a_number_scales_the_errors_and_changes_no_matrix() -> None:
    weight = torch.randn(6, 4, dtype=torch.float64)
    found, plain = Form(3.0, 1.0).decompose(weight), decompose(weight)
    torch.testing.assert_close(found.tails(), 9.0 * plain.tails())
    torch.testing.assert_close(found.truncate(2).product(), plain.truncate(2).product())


@torch.no_grad()
def moved(model: nn.Module, name: str, other: Tensor, inputs: Tensor) -> float:
    """What another weight does to the outputs, but for what they have in common; summed."""
    weight = model.get_parameter(f"{name}.weight")
    before, kept = model(inputs), weight.detach().clone()
    weight.data.copy_(other)
    change = model(inputs) - before
    weight.data.copy_(kept)
    change = change - change.mean(-1, keepdim=True)
    return float(change.double().square().sum() / len(inputs))


def test_of_a_linear_network_the_tails_are_what_the_outputs_do() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 10), nn.Linear(10, 5))
    inputs = torch.randn(4000, 12) @ torch.diag(torch.linspace(0.2, 2.0, 12))
    found = measure(model, inputs, {"0": "linear", "1": "linear"})
    for name in ("0", "1"):
        weight = model.get_parameter(f"{name}.weight").detach()
        spectrum = found[name][0].decompose(weight)
        for rank in (1, 2, 3):
            nearest = spectrum.truncate(rank).product()
            seen = moved(model, name, nearest, inputs)
            assert seen == pytest.approx(float(spectrum.tails()[rank]), rel=0.15)
            assert seen < moved(model, name, decompose(weight).truncate(rank).product(), inputs)


def test_a_layer_that_moves_the_outputs_less_has_smaller_errors() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"loud": nn.Linear(8, 8), "quiet": nn.Linear(8, 8)})
    model["quiet"].load_state_dict(model["loud"].state_dict())
    model.forward = lambda x: model["loud"](x) + 0.1 * model["quiet"](x)  # type: ignore[method-assign]
    found = measure(model, torch.randn(500, 8), {"loud": "linear", "quiet": "linear"})
    tails = {n: found[n][0].decompose(model[n].weight.detach()).tails() for n in found}
    assert float(tails["quiet"][2] / tails["loud"][2]) == pytest.approx(0.01, rel=0.3)


def test_convolutions_groups_and_embeddings_have_one_too() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Embedding(20, 16),
        nn.Unflatten(1, (4, 4)),
        nn.Flatten(1, 2),
        nn.Unflatten(1, (4, 4)),
        nn.Conv2d(4, 8, 3, padding=1, groups=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 3, 3),
        nn.Flatten(),
    )
    symbols = torch.randint(0, 20, (64, 16))
    schemes = {"0": "embedding", "4": "channel", "6": "spatial"}
    found = measure(model, symbols, schemes)
    assert [len(found[n]) for n in schemes] == [1, 2, 1]
    assert isinstance(found["4"][0].left, Tensor)
    assert found["4"][0].left.shape == (4, 4)
    assert found["4"][0].right.shape == (18, 18)
    assert isinstance(found["0"][0].left, float)
    assert isinstance(found["6"][0].left, float)


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model[1].eval()
    measure(model, torch.randn(8, 4), {"0": "linear"})
    assert model.training
    assert model[2].training
    assert not model[1].training
    torch.testing.assert_close(dict(model.state_dict()), before)
    assert all(p.grad is None for p in model.parameters())
    assert not model[0]._forward_hooks


def test_the_same_seed_gives_the_same() -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(4, 3)), torch.randn(16, 4)
    one, two = (measure(model, inputs, {"0": "linear"}, seed=3)["0"][0] for _ in range(2))
    torch.testing.assert_close(one.left, two.left, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.empty(0, 4), "empty"),
        (torch.full((4, 4), torch.nan), "0: .*NaN"),
        (torch.ones(4, 4), "never reach layer 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(inputs: Tensor, message: str) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model.forward = lambda x: model[0](x)  # type: ignore[method-assign]
    with pytest.raises(CalibrationError, match=message):
        measure(model, inputs, {"0": "linear", "1": "linear"})


def test_frozen_layers_are_measured_and_stay_frozen() -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)), torch.randn(8, 4)
    names = {"0": "linear", "1": "linear"}
    free = measure(model, inputs, names)["0"][0]
    model.requires_grad_(False)
    torch.testing.assert_close(measure(model, inputs, names)["0"][0].left, free.left)
    assert not any(p.requires_grad for p in model.parameters())


def test_a_layer_nothing_of_which_comes_out_counts_least() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 3))

    def forward(x: Tensor) -> Tensor:
        model[1](x)
        return model[0](x)

    model.forward = forward  # type: ignore[method-assign]
    found = measure(model, torch.randn(8, 4), {"0": "linear", "1": "linear"})
    tails = [float(found[n][0].decompose(torch.ones(3, 4)).tails()[0]) for n in ("0", "1")]
    assert 0.0 < tails[1] < 1e-3 * tails[0]


def test_an_output_without_tensors_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    model.forward = lambda x: str(model[0](x).sum())  # type: ignore[method-assign]
    with pytest.raises(CalibrationError, match="returns no tensor"):
        measure(model, torch.randn(8, 4), {"0": "linear"})


def test_sparse_gradients_and_half_precision() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Flatten(), nn.Linear(8, 3))
    found = measure(model, torch.randint(0, 9, (16, 2)), {"0": "embedding", "2": "linear"})
    assert found["0"][0].left > 0.0
    weight = torch.randn(6, 4)
    half = Form(1e-6, 1.0).decompose(weight.half()).truncate(4)
    assert half.u.dtype == torch.float16
    torch.testing.assert_close(half.product().float(), weight, rtol=1e-2, atol=1e-2)
