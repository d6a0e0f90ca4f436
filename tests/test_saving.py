"""boildown.pack of a network, and boildown.load into what its class builds: no description."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from draws import draw
from torch import Tensor, nn

import boildown
from boildown import codec
from boildown.lowrank.factorize import describe, factorize, restructure, structure
from boildown.lowrank.prune_ranks import prune_ranks
from boildown.structure.replace import structure_of


class Net(nn.Module):
    """A convolution with a norm to be folded, and a head."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(2, 12, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(12)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(12 * 36, 20), nn.ReLU(), nn.Linear(20, 3))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(torch.relu(self.norm(self.conv(x))))
        return y


class Lit(nn.Module):
    """As a LightningModule holds a network."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model


class Compiled(nn.Module):
    """As torch.compile wraps a module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._orig_mod = model


def images(count: int = 40) -> Tensor:
    return draw(count, 6, seed=1) @ draw(6, 72, seed=2).reshape(6, 72) + 0.1 * draw(
        count, 72, seed=3
    )


def small() -> nn.Module:
    """Low rank, narrower, and without its norm."""
    model, x = Net().eval(), images().reshape(-1, 2, 6, 6)
    with torch.no_grad():
        before = model(x)

    def evaluate(now: nn.Module) -> float:
        with torch.no_grad():
            return float((now(x) - before).square().mean() / before.square().mean())

    found = prune_ranks(model, x, 0.05, evaluate=evaluate, drop_outputs=True, evaluations=8)
    assert found.outputs
    entries = structure_of(found.model)
    assert entries == structure(model, found.model)
    kinds = {key for entry in entries.values() for key in entry}
    assert kinds >= {"rank", "identity", "bias", "outputs"}
    return found.model


@pytest.fixture(scope="module")
def pruned() -> nn.Module:
    return small()


def same(one: nn.Module, other: nn.Module) -> bool:
    x = images(5).reshape(-1, 2, 6, 6)
    return torch.equal(one.eval()(x), other.eval()(x))


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda model: model,
    "lightning": Lit,
    "compiled": Compiled,
    "compiled lightning": lambda model: Compiled(Lit(model)),
}


@pytest.mark.parametrize("into", WRAPPERS)
@pytest.mark.parametrize("source", WRAPPERS)
def test_a_network_comes_back_into_what_its_class_builds(
    source: str, into: str, pruned: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "small.boil"
    size = boildown.pack(WRAPPERS[source](pruned), path)
    assert size == path.stat().st_size < boildown.pack(Net(), tmp_path / "dense.boil")
    given = WRAPPERS[into](Net(seed=1))
    loaded = boildown.load(path, given)
    network = next(one for one in loaded.modules() if isinstance(one, Net))
    assert same(network, pruned)
    assert structure_of(network) == structure_of(pruned)
    assert {name for name, _ in given.named_parameters()} == {
        name for name, _ in WRAPPERS[into](Net()).named_parameters()
    }


def test_what_was_loaded_is_packed_again(pruned: nn.Module, tmp_path: Path) -> None:
    boildown.pack(pruned, tmp_path / "a.boil")
    boildown.pack(boildown.load(tmp_path / "a.boil", Net(1)), tmp_path / "b.boil")
    assert (tmp_path / "a.boil").read_bytes() == (tmp_path / "b.boil").read_bytes()


def test_a_network_of_that_structure_is_filled_as_it_is(pruned: nn.Module, tmp_path: Path) -> None:
    boildown.pack(pruned, tmp_path / "a.boil")
    given = restructure(Net(1), structure_of(pruned))
    assert boildown.load(tmp_path / "a.boil", given) is given
    assert same(given, pruned)


def test_factors_of_factors(tmp_path: Path) -> None:
    once = factorize(Net(), {"head.1": 12})
    twice = factorize(once, {"head.1.v": 4, "head.3": 2})
    boildown.pack(twice, tmp_path / "a.boil")
    assert same(boildown.load(tmp_path / "a.boil", Net(1)), twice)
    assert same(boildown.load(tmp_path / "a.boil", Compiled(Net(1)))._orig_mod, twice)  # type: ignore[arg-type]


def test_a_single_layer(tmp_path: Path) -> None:
    layer = factorize(nn.Linear(20, 30), {"": 3})
    boildown.pack(layer, tmp_path / "a.boil")
    x = draw(4, 20, seed=0)
    assert torch.equal(boildown.load(tmp_path / "a.boil", nn.Linear(20, 30))(x), layer(x))


def test_a_description_is_told_the_structure(pruned: nn.Module, tmp_path: Path) -> None:
    own = {"_target_": f"{__name__}.Net"}
    boildown.pack(pruned, tmp_path / "a.boil", config=own)
    assert codec.read_config(tmp_path / "a.boil") == describe(own, structure_of(pruned))
    assert same(boildown.load(tmp_path / "a.boil", trust_config=[__name__]), pruned)
    boildown.pack(pruned, tmp_path / "b.boil", config=describe(own, structure_of(pruned)))
    assert (tmp_path / "a.boil").read_bytes() == (tmp_path / "b.boil").read_bytes()
    assert same(boildown.load(tmp_path / "a.boil", Net(1)), pruned)


def test_a_dense_network_is_packed_as_its_tensors(tmp_path: Path) -> None:
    boildown.pack(Net(), tmp_path / "a.boil")
    boildown.pack(Net().state_dict(), tmp_path / "b.boil")
    assert (tmp_path / "a.boil").read_bytes() == (tmp_path / "b.boil").read_bytes()


def test_what_cannot_be_so_is_refused(pruned: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "a.boil"
    boildown.pack(pruned, path)
    with pytest.raises(ValueError, match="holds no model's description: pass the model"):
        boildown.load(path)
    for other, why in (
        (nn.Linear(2, 2), "the Linear has no conv"),
        (nn.ModuleDict({"one": Net(1), "two": Net(2)}), "several ways .*pass the part"),
    ):
        with pytest.raises(ValueError, match=f"a.boil .*{why}"):
            boildown.load(path, other)
    other = Net(1)
    other.head[1] = nn.Linear(432, 2)
    with pytest.raises(ValueError, match=r"a.boil holds smaller layers.*head\.1: "):
        boildown.load(path, other)


LIES: list[Any] = [
    {"conv": 3},
    {"conv": {"scheme": "channel", "rank": 10**9}},
    {"norm": {"identity": 1}},
    {"head.1": {"outputs": "x"}},
    {".".join(["head.1", *["v"] * 80]): {"scheme": "linear", "rank": 1},
     "head.1": {"scheme": "linear", "rank": 1}},
]  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_structures_that_lie_are_refused(lie: Any, tmp_path: Path) -> None:
    codec.pack(Net().state_dict(), tmp_path / "a.boil", config={"structure": lie})
    with pytest.raises(ValueError, match=r"a\.boil holds smaller layers"):
        boildown.load(tmp_path / "a.boil", Net())
