"""From a file to a model that runs, and files that lie about their model."""

import resource
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import boildown
from boildown.codec import CodecError
from boildown.models.mlp import MLP

CONFIG: dict[str, Any] = {
    "_target_": "boildown.models.mlp.MLP",
    "widths": [5, 4],
    "input_shape": [1, 3, 3],
    "num_classes": 2,
}


class Elsewhere(nn.Linear):
    """A model that is not in the registry."""

    def __init__(self) -> None:
        super().__init__(3, 2)


@pytest.fixture
def model() -> nn.Module:
    return MLP(widths=[5, 4], input_shape=(1, 3, 3), num_classes=2)


def packed(model: nn.Module, path: Path, config: dict[str, Any] | None) -> Path:
    boildown.pack(model.state_dict(), path / "model.boil", config=config)
    return path / "model.boil"


def same(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        tensor.equal(states[1][name]) for name, tensor in states[0].items()
    )


def test_a_model_of_the_registry_comes_back(model: nn.Module, tmp_path: Path) -> None:
    loaded = boildown.load(packed(model, tmp_path, CONFIG))
    assert same(model, loaded)
    assert not loaded.training
    x = torch.randn(7, 1, 3, 3)
    assert loaded(x).equal(model.eval()(x))


@pytest.mark.parametrize("config", [None, CONFIG | {"_target_": "os.system"}])
def test_a_given_model_is_filled_whatever_the_description(
    model: nn.Module, tmp_path: Path, config: dict[str, Any] | None
) -> None:
    given = MLP(widths=[5, 4], input_shape=(1, 3, 3), num_classes=2)
    assert not same(model, given)
    assert boildown.load(packed(model, tmp_path, config), given) is given
    assert same(model, given)
    assert not given.training


def test_without_a_description_a_model_is_needed(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pass the model"):
        boildown.load(packed(model, tmp_path, None))


def test_other_classes_need_trust(tmp_path: Path) -> None:
    model = Elsewhere()
    path = packed(model, tmp_path, {"_target_": f"{__name__}.Elsewhere"})
    with pytest.raises(ValueError, match=r"not one of boildown's models.*trust"):
        boildown.load(path)
    assert same(model, boildown.load(path, trust_config=True))


@pytest.mark.parametrize(
    "target", ["os.system", "boildown.models.mlp.nn.Linear", "torch.nn.Linear", "", 3, None]
)
def test_only_the_registry_is_built(model: nn.Module, tmp_path: Path, target: object) -> None:
    with pytest.raises(ValueError, match="_target_"):
        boildown.load(packed(model, tmp_path, CONFIG | {"_target_": target}))


@pytest.mark.parametrize(
    "lie",
    [
        {"widths": [5, 5]},
        {"widths": [5]},
        {"widths": [5, 4, 4]},
        {"num_classes": 3},
        {"input_shape": [1, 3, 4]},
        {"widths": [10**6, 10**6]},
        {"widths": [2**62, 2**62]},
        {"num_classes": 2**62},
        {"input_shape": [2**31, 2**31, 2**31]},
        {"widths": None, "width": 5, "depth": 10**9},
        {"_target_": "boildown.models.resnet.ResNet20", "widths": 1, "depth": 6 * 10**8 + 2},
    ],
    ids=str,
)
def test_a_description_that_lies_costs_nothing(
    model: nn.Module, tmp_path: Path, lie: dict[str, Any]
) -> None:
    path = packed(model, tmp_path, CONFIG | lie)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(CodecError):
        boildown.load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
    assert time.monotonic() - began < 5.0


def test_arguments_that_do_not_fit_are_refused(model: nn.Module, tmp_path: Path) -> None:
    for lie in ({"colour": "red"}, {"num_classes": -2}):
        with pytest.raises(ValueError, match=r"cannot build|positive"):
            boildown.load(packed(model, tmp_path, CONFIG | lie))


def test_a_given_model_of_other_shapes_is_refused(model: nn.Module, tmp_path: Path) -> None:
    path = packed(model, tmp_path, CONFIG)
    for other in (
        MLP(widths=[5, 5], input_shape=(1, 3, 3), num_classes=2),
        MLP(widths=[5], input_shape=(1, 3, 3), num_classes=2),
    ):
        with pytest.raises(ValueError, match="structure"):
            boildown.load(path, other)


def test_a_damaged_file_is_refused(model: nn.Module, tmp_path: Path) -> None:
    path = packed(model, tmp_path, CONFIG)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CodecError):
        boildown.load(path)
