"""boildown.models: the sizes of the literature, clear errors, and a closed table."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from boildown.models import REGISTRY, build

CONF = Path(__file__).parents[2] / "conf" / "model"


def config(name: str, **changes: Any) -> dict[str, Any]:
    return yaml.safe_load((CONF / f"{name}.yaml").read_text()) | changes


@pytest.mark.parametrize(
    ("name", "shape", "classes", "params"),
    [
        ("lenet300", (1, 28, 28), 10, 266_610),
        ("lenet5", (1, 28, 28), 10, 431_080),
        ("resnet20", (3, 32, 32), 10, 269_722),
        ("alexnet", (3, 227, 227), 1000, 60_965_224),
        ("squeezenet", (3, 224, 224), 1000, 1_248_424),
        ("vgg16", (3, 224, 224), 1000, 138_357_544),
        ("resnet", (1, 8, 8), 10, 75_002),
        ("mlp", (1, 8, 8), 10, 64 * 256 + 256 + 256 * 256 + 256 + 2570),
    ],
)
def test_parameters_and_output_shape(
    name: str, shape: tuple[int, ...], classes: int, params: int
) -> None:
    with torch.device("meta"):
        model = build(config(name, input_shape=shape, num_classes=classes))
        assert model(torch.zeros(2, *shape)).shape == (2, classes)
    assert sum(p.numel() for p in model.parameters()) == params


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("mlp", (7,)),
        ("lenet300", (3, 5)),
        ("lenet5", (3, 16, 21)),
        ("resnet20", (1, 8, 8)),
        ("resnet20", (3, 5, 4)),
        ("alexnet", (3, 67, 70)),
        ("squeezenet", (3, 32, 32)),
        ("squeezenet", (1, 21, 22)),
        ("vgg16", (3, 32, 63)),
    ],
)
def test_other_input_shapes(name: str, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = build(config(name, input_shape=list(shape), num_classes=3))
        assert model(torch.zeros(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "shape", "smallest"),
    [
        ("lenet5", (1, 8, 8), 16),
        ("lenet5", (1, 15, 28), 16),
        ("resnet20", (1, 3, 3), 4),
        ("alexnet", (3, 32, 32), 67),
        ("squeezenet", (3, 20, 32), 21),
        ("vgg16", (3, 28, 28), 32),
        ("vgg16", (784,), 32),
    ],
)
def test_too_small_an_image_is_refused(name: str, shape: tuple[int, ...], smallest: int) -> None:
    with pytest.raises(
        ValueError, match=rf"at least {smallest}x{smallest} pixels, got input_shape"
    ):
        build(config(name, input_shape=shape, num_classes=10))


@pytest.mark.parametrize("name", ["mlp", "lenet300", "lenet5", "resnet20", "squeezenet"])
def test_a_seed_gives_one_initialisation_and_gradients_reach_every_weight(name: str) -> None:
    models = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        models.append(build(config(name, input_shape=(1, 28, 28), num_classes=10)))
    states = [list(model.state_dict().values()) for model in models]
    assert all(map(torch.equal, states[0], states[1]))
    assert not all(map(torch.equal, states[0], states[2]))
    models[0](torch.randn(4, 1, 28, 28)).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in models[0].parameters())


def test_resnet_shortcut_has_no_parameters_and_passes_the_input_on() -> None:
    block = build(
        config("resnet20", input_shape=(3, 8, 8), num_classes=2, width=4, depth=8)
    ).get_submodule("layer2.0")
    for p in block.parameters():
        nn.init.zeros_(p)
    x = torch.rand(1, 4, 8, 8)
    y = block(x)
    assert y.shape == (1, 8, 4, 4)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert not y[:, :2].any()
    assert not y[:, 6:].any()


@pytest.mark.parametrize(
    ("widths", "layers"), [([5], [(5, 4), (3, 5)]), ([], [(3, 4)]), (None, [(2, 4), (3, 2)])]
)
def test_mlp_layers(widths: list[int] | None, layers: list[tuple[int, int]]) -> None:
    model = build(config("mlp", input_shape=(4,), num_classes=3, widths=widths, width=2, depth=1))
    assert {n: tuple(p.shape) for n, p in model.named_parameters() if p.ndim == 2} == {
        f"fc{i}.weight": shape for i, shape in enumerate(layers, 1)
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": None}, "width=None"),
        ({"depth": -1}, "depth=-1"),
        ({"widths": [3, 0]}, r"must be positive, got \(4,\), \[3, 0\] and 3"),
        ({"wdith": 3}, "cannot build boildown.models.mlp.MLP .* 'wdith'"),
    ],
)
def test_bad_mlp(changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(config("mlp", input_shape=(4,), num_classes=3, **changes))


def test_bad_knobs() -> None:
    image = {"input_shape": (3, 32, 32), "num_classes": 3}
    with pytest.raises(ValueError, match=r"depth must be 6n \+ 2 .* got 18"):
        build(config("resnet20", **image, depth=18))
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\), got 1.5"):
        build(config("vgg16", **image, dropout=1.5))


@pytest.mark.parametrize("target", ["os.system", "boildown.models.build", "torch.nn.Linear", "mlp"])
def test_an_unlisted_target_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match=f"_target_ '{target}' is not one of boildown's models"):
        build({"_target_": target})


def test_trust_allows_any_module() -> None:
    linear = {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}
    assert isinstance(build(linear, trust=True), nn.Linear)
    with pytest.raises(ValueError, match=r"makes a OrderedDict, not a torch\.nn\.Module"):
        build({"_target_": "collections.OrderedDict"}, trust=True)
    with pytest.raises(ImportError, match=r"torch\.nn has no Liner"):
        build({"_target_": "torch.nn.Liner"}, trust=True)


@pytest.mark.parametrize("target", [None, 3, ["os"]])
def test_a_target_is_needed(target: object) -> None:
    with pytest.raises(ValueError, match="needs _target_"):
        build({"_target_": target})


def test_the_table_and_the_configs_agree() -> None:
    configs = [yaml.safe_load(path.read_text()) for path in CONF.glob("*.yaml")]
    assert {c["_target_"] for c in configs if c["_target_"].startswith("boildown.")} == set(
        REGISTRY
    )
    for c in configs:
        if c["_target_"] in REGISTRY:
            module, name = REGISTRY[c["_target_"]]
            model = getattr(__import__(module, fromlist=[name]), name)
            needed = set(inspect.signature(model).parameters) - {"input_shape", "num_classes"}
            assert set(c) - {"_target_"} == needed
