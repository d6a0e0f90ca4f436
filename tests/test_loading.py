"""From a file to a model that runs, and files that lie about their model."""

import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from torch.nn.utils import prune

import boildown
from boildown.codec import CodecError
from boildown.lowrank.factorize import describe, factorize, structure
from boildown.models import build
from boildown.models.lenet import LeNet5
from boildown.models.mlp import MLP
from boildown.models.transformer import GPT

CONFIG: dict[str, Any] = {
    "_target_": "boildown.models.mlp.MLP",
    "widths": [5, 4],
    "input_shape": [1, 3, 3],
    "num_classes": 2,
}


class Elsewhere(nn.Linear):
    """A model that is not boildown's."""

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


def test_a_model_of_boildowns_comes_back(model: nn.Module, tmp_path: Path) -> None:
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


PACKAGE = """
import os
from subprocess import Popen
from torch import nn
from torch.nn.utils import prune
from {package}.parts import Part

class Net(nn.Linear):
    pass

def net(**sizes):
    return Net(**sizes)

alias = nn.Linear
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = "of_a_user"
    (tmp_path / name).mkdir()
    (tmp_path / name / "parts.py").write_text("from torch import nn\nclass Part(nn.Linear): pass")
    (tmp_path / name / "__init__.py").write_text(PACKAGE.format(package=name))
    (tmp_path / f"{name}_else.py").write_text("raise SystemExit('imported')")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    yield name
    for known in [m for m in sys.modules if m.startswith(name)]:
        sys.modules.pop(known)


SIZES = {"in_features": 3, "out_features": 2}


@pytest.mark.parametrize(
    ("target", "trust"),
    [
        ("Net", ["numpy.nothing", "of_a_user"]),
        ("Net", "of_a_user"),
        ("net", ("of_a_user",)),
        ("Part", ["of_a_user"]),
        ("parts.Part", ["of_a_user.parts"]),
        ("alias", ["of_a_user.alias"]),
    ],
)
def test_a_package_is_trusted_by_its_name(
    target: str, trust: Any, package: str, tmp_path: Path
) -> None:
    model = nn.Linear(3, 2)
    path = packed(model, tmp_path, {"_target_": f"{package}.{target}", **SIZES})
    with pytest.raises(ValueError, match=r"trust_config=\['my_package'\]"):
        boildown.load(path)
    assert same(model, boildown.load(path, trust_config=trust))


@pytest.mark.parametrize(
    ("target", "trust"),
    [
        ("of_a_user.Net", []),
        ("of_a_user.Net", ["of_a", "of_a_user_else", "of_a_user.Ne", ""]),
        ("of_a_user_else.Net", ["of_a_user"]),
        ("of_a_user.Popen", ["of_a_user"]),
        ("of_a_user.alias", ["of_a_user"]),
        ("of_a_user.Part", ["of_a_user.parts"]),
        ("os.system", ["of_a_user"]),
    ],
)
def test_a_trusted_package_lends_its_trust_to_nothing_else(
    target: str, trust: list[str], package: str, tmp_path: Path
) -> None:
    path = packed(nn.Linear(3, 2), tmp_path, {"_target_": target, **SIZES})
    with pytest.raises(ValueError, match="_target_"):
        boildown.load(path, trust_config=trust)
    for known in ("of_a_user.os.system", "of_a_user.nn.Linear", "of_a_user.nothing.Net"):
        path = packed(nn.Linear(3, 2), tmp_path, {"_target_": known, **SIZES})
        with pytest.raises((ImportError, ValueError)):
            boildown.load(path, trust_config=["of_a_user"])


def test_boildowns_models_need_no_entry_in_the_trusted_ones(
    model: nn.Module, tmp_path: Path
) -> None:
    assert same(model, boildown.load(packed(model, tmp_path, CONFIG), trust_config=["of_a_user"]))
    with pytest.raises(CodecError, match="does not fit the model"):
        boildown.load(
            packed(model, tmp_path, CONFIG | {"widths": [5, 5]}), trust_config=["of_a_user"]
        )


def test_a_factorised_model_of_a_trusted_package(package: str, tmp_path: Path) -> None:
    inside = {"_target_": f"{package}.Net", "in_features": 30, "out_features": 20}
    config = {
        "_target_": "boildown.lowrank.factorize.restructure",
        "model": inside,
        "structure": {},
    }
    path = packed(nn.Linear(30, 20), tmp_path, config)
    assert type(boildown.load(path, trust_config=[package])).__name__ == "Net"
    with pytest.raises(ValueError, match="not one of boildown's models"):
        boildown.load(path)


@pytest.mark.parametrize(
    "target", ["os.system", "boildown.models.mlp.nn.Linear", "torch.nn.Linear", "", 3, None]
)
def test_only_boildowns_models_are_built(model: nn.Module, tmp_path: Path, target: object) -> None:
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


LENET: dict[str, Any] = {
    "_target_": "boildown.models.lenet.LeNet5",
    "input_shape": [1, 16, 16],
    "num_classes": 10,
}


def factorised() -> tuple[nn.Module, dict[str, Any]]:
    dense = LeNet5((1, 16, 16), 10)
    small = factorize(
        dense, {"conv2": 7, "fc1": 9, "conv1": 8}, schemes={"conv2": "spatial"}
    ).eval()
    return small, describe(LENET, structure(dense, small))


def test_a_factorised_model_comes_back(tmp_path: Path) -> None:
    small, config = factorised()
    loaded = boildown.load(packed(small, tmp_path, config))
    assert same(small, loaded)
    x = torch.randn(3, 1, 16, 16)
    assert torch.equal(loaded(x), small(x))
    assert all(p.requires_grad for p in loaded.parameters())
    trusted = boildown.load(tmp_path / "model.boil", trust_config=True)
    assert torch.equal(trusted(x), small(x))


def test_tied_tensors_come_back_tied(tmp_path: Path) -> None:
    config = {
        "_target_": "boildown.models.transformer.GPT",
        "input_shape": [8],
        "num_classes": 30,
        "width": 16,
        "depth": 1,
        "heads": None,
        "tied": True,
        "dropout": 0.0,
    }
    dense = GPT((8,), 30, width=16, depth=1, heads=None, tied=True, dropout=0.0)
    small = factorize(dense, {"blocks.0.up": 3})
    loaded = boildown.load(packed(small, tmp_path, describe(config, structure(dense, small))))
    assert loaded.head.weight is loaded.embed.weight
    assert same(small, loaded)


CONF = Path(__file__).parents[1] / "conf" / "model"
TARGETS = {yaml.safe_load(path.read_text())["_target_"] for path in CONF.glob("*.yaml")}


@pytest.mark.parametrize("name", sorted(t for t in TARGETS if t.startswith("boildown.")))
def test_all_that_models_hold_is_in_their_state(name: str) -> None:
    """`load` gives room to the tensors of the state and no others."""
    arguments: dict[str, Any] = {"input_shape": [3, 67, 67], "num_classes": 5}
    optional = {"width": 16, "dropout": 0.0, "depth": 2, "heads": 1, "tied": False}
    if name.endswith(("GPT", "BERT")):
        arguments |= optional | {"input_shape": [8]}
    elif name.endswith(("AlexNet", "VGG16", "SqueezeNet")):
        arguments |= {"dropout": 0.0}
    elif name.endswith("MLP"):
        arguments |= {"widths": [4]}
    elif name.endswith("TabularResNet"):
        arguments |= {"width": 16, "depth": 2, "widening": 2, "dropout": 0.0, "input_shape": [8]}
    elif "resnet" in name:
        arguments |= {"width": 16, "depth": 8}
    with torch.device("meta"):
        model = build({"_target_": name} | arguments)
    held = [n for n, _ in model.named_parameters(remove_duplicate=False)]
    held += [n for n, _ in model.named_buffers(remove_duplicate=False)]
    assert sorted(model.state_dict()) == sorted(held)
    for module in model.modules():
        assert not any(isinstance(value, torch.Tensor) for value in vars(module).values())


@pytest.mark.parametrize(
    "lie",
    [
        {"structure": {}},
        {"structure": {"fc1": {"scheme": "linear", "rank": 8}}},
        {"structure": {"fc1": {"scheme": "linear", "rank": 2**62}}},
        {"structure": {"fc1": {"scheme": "tucker2", "rank": [2**62, 2**62]}}},
        {"structure": {"fc9": {"scheme": "linear", "rank": 8}}},
        {"structure": None},
        {"structure": [1, 2]},
        {"model": None},
        {"model": LENET | {"num_classes": 2**40}},
        {"model": LENET | {"_target_": "os.system"}},
        {"model": LENET | {"_target_": "torch.nn.Linear"}},
        {"model": {"input_shape": [1, 16, 16]}},
        {"model": {"_target_": "boildown.lowrank.factorize.restructure", "model": LENET}},
        {"extra": {"_target_": "os.system", "command": "true"}},
        {"extra": LENET},
    ],
    ids=str,
)
def test_a_structure_that_lies_is_refused(lie: dict[str, Any], tmp_path: Path) -> None:
    small, config = factorised()
    path = packed(small, tmp_path, config | lie)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError):  # noqa: PT011
        boildown.load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_a_model_within_a_model_within_a_model_is_refused(tmp_path: Path) -> None:
    small, config = factorised()
    deep = {"_target_": config["_target_"], "model": config, "structure": {}}
    with pytest.raises(ValueError, match="not one of boildown's models"):
        boildown.load(packed(small, tmp_path, deep))


def test_the_layers_that_were_factorised_are_never_made(tmp_path: Path) -> None:
    """A file of a few kB whose dense model would take 40 GB."""
    side = 10**5
    config = CONFIG | {"widths": [side, side], "input_shape": [1, 1, 1], "num_classes": 1}
    with torch.device("meta"):
        dense = build(config)
    names = [name for name, layer in dense.named_modules() if isinstance(layer, nn.Linear)]
    shape = {names[1]: {"scheme": "linear", "rank": 1}}
    described = describe(config, shape)
    with torch.device("meta"):
        wanted = build(described).state_dict()
    state = {name: torch.zeros(tensor.shape) for name, tensor in wanted.items()}
    boildown.pack(state, tmp_path / "model.boil", config=described)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loaded = boildown.load(tmp_path / "model.boil")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
    assert loaded(torch.ones(1, 1, 1, 1)).shape == (1, 1)


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod.", "net.module."])
def test_a_prefix_of_all_names_may_be_missing_in_the_model(
    model: nn.Module, tmp_path: Path, prefix: str
) -> None:
    state = {f"{prefix}{name}": tensor for name, tensor in model.state_dict().items()}
    boildown.pack(state, tmp_path / "model.boil")
    given = MLP(widths=[5, 4], input_shape=(1, 3, 3), num_classes=2)
    assert same(model, boildown.load(tmp_path / "model.boil", given))
    wrapped = nn.ModuleDict({"model": given})
    boildown.pack(wrapped.state_dict(), tmp_path / "wrapped.boil")
    again = nn.ModuleDict({"model": MLP(widths=[5, 4], input_shape=(1, 3, 3), num_classes=2)})
    assert same(wrapped, boildown.load(tmp_path / "wrapped.boil", again))


def test_of_tied_tensors_one_name_is_enough(tmp_path: Path) -> None:
    """As safetensors' `save_model` leaves them."""

    def tied() -> nn.Sequential:
        model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7))
        model[1].weight = model[0].weight
        return model

    one, other = tied(), tied()
    state = one.state_dict()
    del state["1.weight"]
    boildown.pack(state, tmp_path / "model.boil")
    assert same(one, boildown.load(tmp_path / "model.boil", other))
    assert other[0].weight is other[1].weight
    del state["1.bias"]
    boildown.pack(state, tmp_path / "model.boil")
    with pytest.raises(ValueError, match=r"(?s)another structure.*1\.bias"):
        boildown.load(tmp_path / "model.boil", other)


def test_a_model_without_memory_is_refused(model: nn.Module, tmp_path: Path) -> None:
    path = packed(model, tmp_path, CONFIG)
    with torch.device("meta"):
        given = MLP(widths=[5, 4], input_shape=(1, 3, 3), num_classes=2)
    with pytest.raises(ValueError, match=r"is on the meta device.*to_empty"):
        boildown.load(path, given)


def test_a_trusted_description_that_does_not_fit(model: nn.Module, tmp_path: Path) -> None:
    path = packed(model, tmp_path, CONFIG | {"widths": [5, 5]})
    with pytest.raises(CodecError, match="does not fit the model"):
        boildown.load(path, trust_config=True)


def test_a_description_of_far_more_layers_than_tensors_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.boil"
    lie = CONFIG | {"widths": None, "width": 5, "depth": 10**6}
    boildown.pack({"weight": torch.zeros(2 * 10**6, dtype=torch.bool)}, path, config=lie)
    began = time.monotonic()
    with pytest.raises(CodecError, match="more than 104 tensors"):
        boildown.load(path)
    assert time.monotonic() - began < 2.0


def net(seed: int = 0, scale: int = 5) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, scale), nn.BatchNorm1d(scale), nn.Linear(scale, 2))


class Lit(nn.Module):
    """As a LightningModule: a network and a loss with a weight of its own."""

    def __init__(self, seed: int, name: str = "model") -> None:
        super().__init__()
        self.add_module(name, net(seed))
        self.criterion = nn.CrossEntropyLoss(weight=torch.full((2,), float(seed)))


class Compiled(nn.Module):
    """As torch.compile wraps a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module


def partly_compiled(seed: int) -> nn.Module:
    model = net(seed)
    assert isinstance(model, nn.Sequential)
    model[0] = Compiled(model[0])
    return model


WRAPPED: dict[str, Any] = {
    "plain": net,
    "compiled": lambda seed: Compiled(net(seed)),
    "parallel": lambda seed: nn.DataParallel(net(seed)),
    "both": lambda seed: nn.DataParallel(Compiled(net(seed))),
    "the other way": lambda seed: Compiled(nn.DataParallel(net(seed))),
    "inside": partly_compiled,
    "inside of parallel": lambda seed: nn.DataParallel(partly_compiled(seed)),
    "average": lambda seed: torch.optim.swa_utils.AveragedModel(net(seed)),
    "lightning": Lit,
    "compiled lightning": lambda seed: Compiled(Lit(seed)),
    "lightning of another name": lambda seed: Lit(seed, "net"),
}


@pytest.mark.filterwarnings("ignore:.*is not used|.*stays as it is")
@pytest.mark.parametrize("into", WRAPPED)
@pytest.mark.parametrize("source", WRAPPED)
def test_wrappers_and_prefixes_on_either_side(source: str, into: str, tmp_path: Path) -> None:
    beside = ("average", "lightning", "compiled lightning", "lightning of another name")
    if source in beside and into in beside and source != into:
        return  # which have other tensors beside the network, of other names
    saved, given = WRAPPED[source](0), WRAPPED[into](1)
    loaded = boildown.load(packed(saved, tmp_path, None), given)
    assert loaded is given

    def weights(model: nn.Module) -> list[torch.Tensor]:
        names = ("criterion", "n_averaged")
        return [t for n, t in model.state_dict().items() if not any(part in n for part in names)]

    assert len(weights(saved)) == len(weights(given)) == 9
    assert all(map(torch.equal, weights(saved), weights(given)))


def test_what_is_not_used_is_told(tmp_path: Path) -> None:
    path = packed(Lit(0), tmp_path, None)
    with pytest.warns(UserWarning, match=r"^criterion\.weight of .*model\.boil is not used$"):
        boildown.load(path, net(1))
    given = Lit(7)
    path = packed(net(), tmp_path, None)
    with pytest.warns(UserWarning, match=r"^criterion\.weight of the model stays as it is$"):
        boildown.load(path, given)
    assert given.criterion.weight is not None
    assert given.criterion.weight.tolist() == [7, 7]


def test_two_parts_that_fit_are_not_chosen_between(tmp_path: Path) -> None:
    both = nn.ModuleDict({"student": net(0), "teacher": net(1)})
    with pytest.raises(ValueError, match=r"several ways \(student\..* as .*, teacher\..* as "):
        boildown.load(packed(both, tmp_path, None), net(2))
    other = nn.ModuleDict({"student": net(0), "teacher": net(1, scale=6)})
    with pytest.warns(UserWarning, match=r"^teacher\."):
        assert same(boildown.load(packed(other, tmp_path, None), net(2)), net(0))


def test_more_or_fewer_tensors_than_the_model_has_are_refused(tmp_path: Path) -> None:
    deeper = nn.Sequential(*net(), nn.Linear(2, 2))  # type: ignore[misc]
    with pytest.raises(ValueError, match="another structure"):
        boildown.load(packed(deeper, tmp_path, None), net())
    with pytest.raises(ValueError, match="another structure"):
        boildown.load(packed(net(), tmp_path, None), deeper)


def test_a_part_of_a_model_is_not_taken_for_all_of_it(tmp_path: Path) -> None:
    def both() -> nn.Module:
        return nn.ModuleDict({"encoder": net(0), "decoder": nn.Linear(9, 9)})

    encoder = {name: t for name, t in both().state_dict().items() if name.startswith("encoder")}
    boildown.pack(encoder, tmp_path / "model.boil")
    with pytest.raises(ValueError, match="another structure"):
        boildown.load(tmp_path / "model.boil", both())
    with pytest.raises(ValueError, match="another structure"):
        boildown.load(packed(net(), tmp_path, None), both())


def test_masks_that_were_never_folded_are_told(tmp_path: Path) -> None:
    model = net()
    assert isinstance(model, nn.Sequential)
    prune.l1_unstructured(model[0], "weight", 0.5)
    with pytest.raises(ValueError, match="masks beside originals, which pack --fold-masks folds"):
        boildown.load(packed(model, tmp_path, None), net())


def test_metadata_are_no_description(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pass the model"):
        boildown.load(packed(model, tmp_path, {"__metadata__": {"license": "mit"}}))


@pytest.mark.parametrize(
    "part",
    [
        {"widths": [[] for _ in range(200_000)]},
        {"input_shape": [1] * 100_000},
        {"input_shape": "x" * 1_000_000},
        {"_target_": "x" * 1_000_000},
        {str(i): 1 for i in range(50_000)},
        {"widths": [[1] * 900 for _ in range(100)]},
        {"x" * 500_000: 1},
    ],
    ids=lambda part: min(part)[:12],
)
def test_a_long_description_is_refused_at_once_and_not_quoted(
    model: nn.Module, tmp_path: Path, part: dict[str, Any]
) -> None:
    path = packed(model, tmp_path, CONFIG | part)
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"model\.boil|_target_") as told:
        boildown.load(path)
    assert time.monotonic() - began < 1.5
    assert len(str(told.value)) < 900
