"""boildown.run.recipe: an open, ordered map of techniques, and what they say to a run."""

import inspect
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from runs import choices, composed, refused
from torch import Tensor, nn

from boildown.callbacks import LearnRanks, Prune, ShareWeights, Technique
from boildown.run.errors import ConfigError
from boildown.run.recipe import Recipe, check_recipe, nodes_of

DENSE = 100_000
CONF = [name for name in choices("compression") if name != "none"]


class Late(Technique):
    """A technique with a phase and nothing else."""

    def __init__(self, begin: float = 0.9, end: float = 1.0) -> None:
        self.begin, self.end = begin, end


class Drop(Late):
    """One that is open, and whose preview is known."""

    peak = 0.5

    def __init__(self, amount: float | None = None) -> None:
        super().__init__(0.1, 0.2)
        self.amount = amount

    @property
    def amounts(self) -> dict[str, Any]:
        return {"amount": self.amount}

    def preview(
        self, weights: Mapping[str, Tensor], amount: float | None = None
    ) -> dict[str, Tensor]:
        cut = amount if amount is not None else self.amount or 0.0
        return {n: nn.Parameter(w[: round(len(w) * (1 - cut))]) for n, w in weights.items()}


class Blind(Drop):
    """One that is open, and has no preview."""

    preview = Technique.preview


class Timeless(Technique):
    """One whose author forgot a time."""

    end: Any = None


def node(kind: type, **settings: Any) -> dict[str, Any]:
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **settings}


def recipe(**parts: Any) -> DictConfig:
    return OmegaConf.create({"compression": parts}).compression  # type: ignore[no-any-return]


def built(**parts: Any) -> Recipe:
    check_recipe(recipe(**parts))
    return Recipe.build(recipe(**parts), DENSE)


TOLD_AGAIN = {  # settings that are what a recipe is about
    "lowrank_deep": ("begin", "end"),
    "wanda": ("criterion",),
    "obs": ("criterion",),
    "movement": ("criterion",),
    "sparsegpt": ("reconstruct",),
    "alps": ("reconstruct",),
    "nm24": ("pattern",),
    "ternary": ("begin",),
    "mixed": ("allocation",),
    "deep_mixed": ("allocation",),
    "woodfisher": ("criterion", "reconstruct", "mix"),
}


@pytest.mark.parametrize("name", CONF)
def test_the_yaml_repeats_the_defaults_of_the_signatures(name: str) -> None:
    for key, at in nodes_of(composed(f"compression={name}").compression).items():
        raw = OmegaConf.to_container(at, resolve=False)
        assert isinstance(raw, dict)
        signature = inspect.signature(type(instantiate(at))).parameters
        own = TOLD_AGAIN.get(name, ())
        for setting, value in raw.items():
            if setting == "_target_" or str(value).startswith("${") or setting in own:
                continue
            default = signature[setting].default
            if isinstance(value, dict):
                made = instantiate(OmegaConf.create(value))
                assert getattr(made, "func", made) == default, (key, setting)
            else:
                default = list(default) if isinstance(default, tuple) else default
                assert value == default, (key, setting)


def test_phases_and_peaks_come_from_the_techniques_in_their_order() -> None:
    made = built(first=node(Drop, amount=0.5), last=node(Late))
    assert list(made.techniques) == ["first", "last"]
    assert made.phases == {"dense": 0.0, "first": 0.1, "last": 0.9}
    assert made.peaks == {"first": 0.5}
    assert made.begin == 0.1
    assert built().phases == {}


def test_what_follows_a_technique_that_is_done_is_a_phase() -> None:
    lowrank = node(LearnRanks, factors=0.5)
    assert built(lowrank=lowrank).phases == {"dense": 0.0, "lowrank": 0.2, "factored": 0.3}
    at_once = node(LearnRanks, factors=0.5, begin=0.3)
    assert built(lowrank=at_once).phases == {"dense": 0.0, "factored": 0.3}
    prune = node(Prune, sparsity=0.5, begin=0.3)
    assert built(lowrank=lowrank, prune=prune).phases == {
        "dense": 0.0,
        "lowrank": 0.2,
        "prune": 0.3,
    }


def test_a_size_is_met_by_what_is_open_and_what_follows_it() -> None:
    made = built(ratio=8, drop=node(Drop), late=node(Late))
    made.ask(lambda weights: 4 * sum(w.numel() for w in weights.values()))
    size = made.techniques["drop"].size
    assert size is not None
    assert size.settled_at == 0.9
    weights = {"w": nn.Parameter(torch.zeros(DENSE // 4))}
    amount = size.amount(weights)
    assert 4 * len(made.techniques["drop"].preview(weights, amount)["w"]) >= 0.995 * DENSE / 8
    assert 1 - amount <= 1 / 8
    assert made.techniques["late"].size is None
    assert made.asked is not None
    assert made.asked.ratio == 8


def test_bits_are_chosen_for_the_asked_ratio() -> None:
    made = built(ratio=20, prune=node(Prune), share=node(ShareWeights))
    assert made.chosen == {"prune": {}, "share": {"bits": 6}}
    told = built(prune=node(Prune, sparsity=0.5), share=node(ShareWeights))
    assert told.chosen["share"] == {"bits": 5}


def test_a_node_of_null_is_left_out() -> None:
    assert list(built(drop=node(Drop, amount=0.1), late=None).techniques) == ["drop"]


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"ratio": 8}, ["compression.ratio=8", "no technique of this recipe", "deep"]),
    ({"ratio": 8, "late": node(Late)}, ["compression.ratio=8", "no technique", "late"]),
    ({"ratio": 8, "drop": node(Drop, amount=0.1)}, ["ratio and drop.amount", "ratio=null"]),
    (
        {"ratio": 8, "cut": "${compression.mine}", "mine": 0.1, "drop": node(Drop, amount=0.1)},
        ["compression.cut", "no technique reads it", "mine"],
    ),
    (
        {"ratio": 8, "cut": 0.1, "drop": node(Drop, amount="${compression.cut}")},
        ["ratio and cut are given"],
    ),
    ({"ratio": 8, "a": node(Drop), "b": node(LearnRanks)}, ["a and b leave it open", "b.ranks"]),
    ({"ratio": 8, "blind": node(Blind)}, ["compression.blind", "Blind has no preview"]),
    ({"drop": node(Drop)}, ["give ratio, or one of bytes, drop.amount"]),
    ({"ratio": 8, "bytes": 10}, ["ratio and bytes are given"]),
    ({"bytes": 1e9, "drop": node(Drop)}, ["compression.bytes", "100000", "1000000000"]),
    ({"ratio": 1, "drop": node(Drop)}, ["compression.ratio", "above 1", "got 1"]),
    (
        {"a": node(Late), "b": node(Late, begin=0.5)},
        ["compression.b.begin = 0.5", "overlap", "b comes after a"],
    ),
    ({"a": node(Late, begin=0.9, end=0.1)}, ["compression.a.begin = 0.9", "compression.a.end"]),
    ({"a": node(nn.Identity)}, ["compression.a._target_", "Identity", "is no technique"]),
    (
        {"a": node(Prune, sparsity=0.5), "b": node(Prune, sparsity=0.5, begin=0.7, end=0.8)},
        ["compression.b", "kept under 'Prune'", "compression.a", "compression.b.name=b"],
    ),
    (
        {"a": node(LearnRanks, energy=0.5), "b": node(LearnRanks, energy=0.5, begin=0.5, end=0.6)},
        ["compression.b", "'LearnRanks'", "a state_key of its own"],
    ),
    ({"dense": node(Late)}, ["compression.dense", "another name"]),
    (
        {"a": node(LearnRanks, energy=0.5), "factored": node(Late)},
        ["compression.factored", "compression.a", "another key"],
    ),
    ({"a": node(Late, begin="0.3")}, ["compression.a.begin", "a number from 0 to 1", "'0.3'"]),
    ({"a": node(Timeless)}, ["compression.a.end", "a number from 0 to 1", "None"]),
    ({"a": {"begin": 0.5}}, ["compression.a.begin=0.5", "no _target_"]),
]


@pytest.mark.parametrize(("parts", "says"), WRONG, ids=lambda value: str(value)[:50])
def test_what_does_not_go_together_is_one_line(parts: dict[str, Any], says: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        built(**parts)
    refused(caught.value, says)
