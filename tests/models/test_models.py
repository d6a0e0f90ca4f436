"""boildown.models: the sizes of the literature, clear errors, and which of them a file may name."""

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

import boildown.models
from boildown.locate import RENAMED
from boildown.models import build, model_class

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
        ("tabular", (10,), 1, 704 + 2 * (128 + 64 * 128 + 128 + 128 * 64 + 64) + 128 + 65),
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
        ("tabular", (3, 5)),
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


@pytest.mark.parametrize("name", ["mlp", "lenet300", "lenet5", "resnet20", "squeezenet", "tabular"])
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


@pytest.mark.parametrize(
    "target",
    [
        "",
        ".",
        "mlp",
        "MLP",
        "os.system",
        "torch.nn.Linear",
        "boildown.models",
        "boildown.models.build",
        "boildown.models.nn.Module",
        "boildown.models.mlp",
        "boildown.models..MLP",
        ".boildown.models.mlp.MLP",
        "boildown.models.mlp.MLP.forward",
        "boildown.models.mlp.nn.Linear",
        "boildown.models.mlp.nn",
        "boildown.models.mlp.Tensor",
        "boildown.models.mlp.__builtins__",
        "boildown.models.mlp.__class__",
        "boildown.models.mlp.__name__",
        "boildown.models.__init__.nn",
        "boildown.models.__path__.clear",
        "boildown.models.lenet.MLP",
        "boildown.models.lenet.image_shape",
        "boildown.models.shape.image_shape",
        "boildown.models.resnet.nn",
        "boildown.models.os.system",
        "boildown.models/mlp.MLP",
        "boildown.models.mlp.MLP\n",
        "boildown.models.\x00.MLP",
        "boildown.models.../../setup.MLP",
        "boildown.lowrank.factorize.factorize",
        "boildown.cli.main",
    ],
)
def test_what_is_no_model_of_boildowns_is_refused(target: str) -> None:
    before = set(sys.modules)
    with pytest.raises(ValueError, match="is not one of boildown's models"):
        build({"_target_": target})
    new = set(sys.modules) - before
    assert all(name.startswith("boildown.models.") for name in new)


def test_a_refusal_says_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"boildown\.models\.\{alexnet,lenet,mlp,.*pass the model"):
        build({"_target_": "boildown.models.perceptron.MLP"})
    with pytest.raises(ValueError, match=r"boildown\.models\.mlp has MLP\).*pass the model"):
        build({"_target_": "boildown.models.mlp.PLM"})


def test_a_new_module_is_all_that_a_new_model_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
import subprocess
from torch import nn
from torch.nn import Linear
from boildown.models.mlp import MLP
class Affine(nn.Linear):
    def __init__(self, input_shape, num_classes):
        super().__init__(input_shape[0], num_classes)
class Options(dict): ...
def affine(): ...
"""
    (tmp_path / "affine.py").write_text(text)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "__init__.py").write_text("raise RuntimeError('it was imported')")
    monkeypatch.setattr(boildown.models, "__path__", [*boildown.models.__path__, str(tmp_path)])
    try:
        path = "boildown.models.affine.Affine"
        assert isinstance(
            build({"_target_": path, "input_shape": [3], "num_classes": 2}), nn.Linear
        )
        for name in ("Linear", "MLP", "Options", "affine", "subprocess.Popen", "subprocess"):
            with pytest.raises(ValueError, match="is not one of boildown's models"):
                build({"_target_": f"boildown.models.affine.{name}"})
        with pytest.raises(ValueError, match="is not one of boildown's models"):
            build({"_target_": "boildown.models.inner.Model"})
    finally:
        sys.modules.pop("boildown.models.affine", None)


def test_a_base_alone_is_no_model() -> None:
    arguments = {"width": 8, "depth": 1, "heads": 1, "tied": False, "dropout": 0.0}
    config = {"input_shape": [4], "num_classes": 3} | arguments
    with pytest.raises(ValueError, match=r"cannot build .*Transformer"):
        build({"_target_": "boildown.models.transformer.Transformer"} | config)


def test_a_model_is_found_under_the_name_that_an_earlier_version_wrote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RENAMED, "boildown.perceptron", "boildown.models.mlp")
    old = {"_target_": "boildown.perceptron.MLP", "widths": [2]}
    assert build(old | {"input_shape": [3], "num_classes": 2}).names == ["fc1", "fc2"]


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


def test_configs_give_models_their_arguments() -> None:
    configs = [yaml.safe_load(path.read_text()) for path in CONF.glob("*.yaml")]
    ours = [c for c in configs if c["_target_"].startswith("boildown.")]
    assert len(ours) >= 10
    for c in ours:
        needed = set(inspect.signature(model_class(c["_target_"])).parameters)
        assert set(c) - {"_target_"} == needed - {"input_shape", "num_classes"}
