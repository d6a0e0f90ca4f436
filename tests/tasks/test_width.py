"""boildown.tasks.width: which tensors the rule is for, and that it does what it is for."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.models import build
from boildown.tasks.classification import Classification
from boildown.tasks.width import fan_in, rates_of, scale_rates, width_factors

Build = Callable[[int], nn.Module]


def mlp(width: int) -> nn.Module:
    return build(
        {
            "_target_": "boildown.models.mlp.MLP",
            "input_shape": (40,),
            "num_classes": 10,
            "widths": None,
            "width": width,
            "depth": 3,
        }
    )


def resnet(width: int) -> nn.Module:
    return build(
        {
            "_target_": "boildown.models.resnet.ResNet",
            "input_shape": (1, 8, 8),
            "num_classes": 10,
            "width": width,
            "depth": 8,
        }
    )


def transformer(name: str, tied: bool = False) -> Build:
    def make(width: int) -> nn.Module:
        return build(
            {
                "_target_": f"boildown.models.transformer.{name}",
                "input_shape": (16,),
                "num_classes": 256,
                "width": width,
                "depth": 2,
                "heads": None,
                "tied": tied,
                "dropout": 0.0,
            }
        )

    return make


def scaled(factors: dict[str, float]) -> set[str]:
    return {name for name, factor in factors.items() if factor != 1.0}


def test_which_tensors_of_an_mlp() -> None:
    factors = width_factors(mlp, 64, 16)
    assert factors == {
        "fc1.weight": 1.0, "fc1.bias": 1.0, "fc2.weight": 0.25, "fc2.bias": 1.0,
        "fc3.weight": 0.25, "fc3.bias": 1.0, "fc4.weight": 0.25, "fc4.bias": 1.0,
    }  # fmt: skip


def test_which_tensors_of_a_convolutional_net() -> None:
    factors = width_factors(resnet, 8, 16)
    matrices = {n for n, p in resnet(8).named_parameters() if p.ndim > 1}
    assert scaled(factors) == matrices - {"conv1.weight"}
    assert set(factors.values()) == {1.0, 2.0}


@pytest.mark.parametrize("make", [mlp, resnet, transformer("GPT", tied=True)])
def test_finding_out_draws_no_random_numbers(make: Build) -> None:
    before = torch.get_rng_state()
    width_factors(make, 64, 32)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["GPT", "BERT"])
def test_which_tensors_of_a_transformer(name: str) -> None:
    layers = {f"blocks.{i}.{n}.weight" for i in (0, 1) for n in ("qkv", "out", "up", "down")}
    assert scaled(width_factors(transformer(name), 64, 32)) == layers | {"head.weight"}
    tied = width_factors(transformer(name, tied=True), 64, 32)
    assert scaled(tied) == layers | {"embed.weight"}
    assert "head.weight" not in tied


def test_fan_in_of_layers() -> None:
    assert fan_in(nn.Linear(3, 5), torch.empty(5, 3)) == 3
    assert fan_in(nn.Conv2d(4, 6, 3, groups=2), torch.empty(6, 2, 3, 3)) == 18
    assert fan_in(nn.ConvTranspose2d(4, 6, 3), torch.empty(4, 6, 3, 3)) == 36
    assert fan_in(nn.Embedding(7, 5), torch.empty(7, 5)) == 1
    assert fan_in(nn.Linear(3, 5), torch.empty(5)) == 1


def test_a_depthwise_convolution_keeps_its_rate() -> None:
    def make(width: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, width, 1), nn.Conv2d(width, width, 3, groups=width))

    assert scaled(width_factors(make, 8, 4)) == set()


@given(width=st.integers(1, 64), base=st.integers(1, 64))
@settings(max_examples=20, deadline=None)
def test_factors_are_the_ratio_of_widths_or_one(width: int, base: int) -> None:
    factors = width_factors(mlp, width, base)
    assert set(factors.values()) <= {1.0, base / width}
    assert factors.keys() == dict(mlp(width).named_parameters()).keys()


@pytest.mark.parametrize(
    ("make", "width", "base", "says"),
    [
        (lambda width: nn.Linear(3, 4), 8, 4, "the same at width 8 and 16"),
        (mlp, 0, 4, "width must be a whole number of at least 1, got 0"),
        (mlp, None, 4, "width must be a whole number of at least 1, got None"),
        (mlp, 4, 2.5, "base_width must be .* got 2.5"),
    ],
)
def test_bad_widths_are_refused(make: Build, width: Any, base: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        width_factors(make, width, base)


def adamw(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1)


def test_groups_have_scaled_rates_and_decay_alike() -> None:
    model = mlp(64)
    optimizer = scale_rates(adamw, dict(model.named_parameters()), width_factors(mlp, 64, 16))
    rates = rates_of(optimizer, model.named_parameters())
    assert [group["lr"] for group in rates] == [0.01, 0.0025]
    assert rates[1]["tensors"] == ["fc2.weight", "fc3.weight", "fc4.weight"]
    named = [name for group in rates for name in group["tensors"]]
    assert sorted(named) == sorted(dict(model.named_parameters()))
    decay = [group["lr"] * group["weight_decay"] for group in optimizer.param_groups]
    assert decay == pytest.approx([0.001, 0.001])


def test_sgd_and_unknown_names_are_refused() -> None:
    parameters = dict(mlp(4).named_parameters())
    with pytest.raises(ValueError, match=r"task\.base_width: .* task\.optimizer is SGD"):
        scale_rates(lambda p: torch.optim.SGD(p, lr=0.1), parameters, {})
    with pytest.raises(ValueError, match=r"no trained parameter fc9\.weight"):
        scale_rates(adamw, parameters, {"fc9.weight": 0.5})


def trained(base_width: int | None) -> dict[str, Tensor]:
    torch.manual_seed(0)
    model, factors = mlp(32), None
    if base_width is not None:
        factors = width_factors(mlp, 32, base_width)
    task = Classification(model, optimizer=adamw, num_classes=10, factors=factors)
    optimizer = task.configure_optimizers()
    for _ in range(5):
        optimizer.zero_grad()
        task.training_step((torch.randn(8, 40), torch.randint(0, 10, (8,))), 0).backward()
        optimizer.step()
    return model.state_dict()


def test_at_the_base_width_the_rule_changes_nothing() -> None:
    off = trained(None)
    torch.testing.assert_close(trained(32), off, rtol=0, atol=0)
    assert not torch.equal(trained(16)["fc2.weight"], off["fc2.weight"])


def change(make: Build, width: int, base: int | None, inputs: Tensor, layer: str) -> float:
    """Root mean square of how far the outputs of a layer move in four steps of Adam."""
    torch.manual_seed(0)
    model = make(width)
    factors: dict[str, float] = {}
    if base is not None:
        factors = width_factors(make, width, base)
    seen: list[Tensor] = []
    model.get_submodule(layer).register_forward_hook(lambda _m, _i, out: seen.append(out.detach()))
    optimizer = scale_rates(
        lambda groups: torch.optim.Adam(groups, lr=0.001), dict(model.named_parameters()), factors
    )
    for _ in range(4):
        optimizer.zero_grad()
        logits = model(inputs)
        logits = logits.reshape(-1, logits.shape[-1])
        F.cross_entropy(logits, torch.arange(len(logits)) % 10).backward()
        optimizer.step()
    with torch.no_grad():
        model(inputs)
    return float((seen[-1] - seen[0]).square().mean().sqrt())


CURVES = torch.randn(16, 40, generator=torch.Generator().manual_seed(1))
BYTES = torch.randint(0, 256, (2, 16), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("make", "inputs", "layer"),
    [(mlp, CURVES, "fc3"), (transformer("GPT"), BYTES, "blocks.1")],
    ids=["mlp", "gpt"],
)
def test_coordinate_check_of_hidden_layers(make: Build, inputs: Tensor, layer: str) -> None:
    """Yang et al. 2022, figure 5: with the rule no layer moves more in a wider net."""
    widths = (64, 256, 1024)
    without = [change(make, width, None, inputs, layer) for width in widths]
    ruled = [change(make, width, 64, inputs, layer) for width in widths]
    assert ruled[0] == without[0]
    assert max(ruled) < 1.5 * min(ruled)
    assert without[0] < without[1] < without[2]
    assert without[2] > 4.0 * without[0]


@pytest.mark.parametrize(
    ("make", "inputs", "layer"),
    [(mlp, CURVES, "fc4"), (transformer("GPT"), BYTES, "head")],
    ids=["mlp", "gpt"],
)
def test_coordinate_check_of_output_layers(make: Build, inputs: Tensor, layer: str) -> None:
    """Their random start adds a part that grows by the square root of the width at most."""
    widths = (64, 256, 1024)
    without = [change(make, width, None, inputs, layer) for width in widths]
    ruled = [change(make, width, 64, inputs, layer) for width in widths]
    assert ruled[0] == without[0]
    assert all(one < other for one, other in zip(ruled[1:], without[1:], strict=True))
    assert ruled[2] < 4.0 * ruled[0]  # sqrt(1024 / 64)
