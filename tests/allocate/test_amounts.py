"""boildown.allocate.amounts: anybody's technique by its preview, one layer at a time."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from boildown import codec
from boildown.allocate.amounts import AMOUNTS, Previewed, technique_at
from boildown.allocate.sensitivity import sensitivity

CUT = "boildown.callbacks.prune.Prune"


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 4))


def norms(model: nn.Module) -> dict[str, float]:
    return {"norm": sum(float(p.detach().norm()) for p in model.parameters())}


def test_a_level_is_an_amount_and_its_cost_the_bytes_of_the_layers_file() -> None:
    model = network()
    seen = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        seen.append(model[0].weight.detach().clone())  # type: ignore[index]
        return norms(model)

    points = sensitivity(model, evaluate, technique=technique_at(CUT, {}), layers=["0"])
    assert [p.level for p in points] == [None, *AMOUNTS]
    assert {p.technique for p in points} == {CUT}
    assert [p.cost for p in points] == [codec.estimate({"0.weight": w}) for w in seen]
    assert [int((w == 0).sum()) for w in seen] == [0, *range(16, 161, 16)]
    assert points[-1].cost < points[1].cost


def test_settings_are_arguments_and_part_of_the_name() -> None:
    cut = technique_at(CUT, {"scope": "layer", "begin": 0.1})
    assert cut.name == f"{CUT}(scope='layer', begin=0.1)"
    assert cut.key.startswith(f"{cut.name} ")


def test_levels_are_amounts_above_zero() -> None:
    cut = technique_at(CUT, {})
    for level in (0.0, 1.5):
        with pytest.raises(ValueError, match=rf"an amount must be in \(0, 1\], got {level:g}"):
            sensitivity(network(), norms, technique=cut, levels=[level])


def test_a_technique_that_leaves_all_alone_or_changes_the_structure_says_so() -> None:
    def nothing(weights: Mapping[str, Tensor], amount: float | None = None) -> dict[str, Tensor]:
        return dict(weights)

    def halves(weights: Mapping[str, Tensor], amount: float | None = None) -> dict[str, Tensor]:
        return {f"{name}.u": weight[:1] for name, weight in weights.items()}

    for levels in (None, [0.5]):
        with pytest.raises(ValueError, match="Idle changes no layer; there are 0, 2"):
            sensitivity(network(), norms, technique=Previewed(nothing, "Idle"), levels=levels)
    with pytest.raises(ValueError, match=r"Halves puts other tensors in the place of 0\.weight"):
        sensitivity(network(), norms, technique=Previewed(halves, "Halves"))


def test_only_the_layers_it_changes_are_measured_and_all_come_back() -> None:
    def one(weights: Mapping[str, Tensor], amount: float | None = None) -> dict[str, Tensor]:
        return {n: w * (1 - (amount or 0)) if n == "2.weight" else w for n, w in weights.items()}

    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    points = sensitivity(model, norms, technique=Previewed(one, "One"), levels=[0.5, 1])
    assert [(p.layer, p.level) for p in points] == [("2", None), ("2", 0.5), ("2", 1.0)]
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())


MINE = """
class Mine:
    def __init__(self, step=1.0):
        self.step = step

    def preview(self, weights, amount=None):
        return {name: weight * (1 - self.step * amount) for name, weight in weights.items()}


class Other:
    pass
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "of_my_own.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "of_my_own", raising=False)
    return tmp_path


def test_a_module_of_the_working_directory_is_found(here: Path) -> None:
    points = sensitivity(network(), norms, technique=technique_at("of_my_own.Mine", {"step": 0.5}))
    assert len(points) == 2 * 11
    assert sys.path[-1] == str(here)
    sys.modules.pop("of_my_own")


def test_a_technique_that_was_rewritten_is_measured_anew(here: Path) -> None:
    counted: list[nn.Module] = []
    asked: dict[str, Any] = {"levels": [0.5], "layers": ["0"], "cache": here / "cache.jsonl"}
    model = network()

    def evaluate(model: nn.Module) -> dict[str, float]:
        counted.append(model)
        return norms(model)

    for text, measured in ((MINE, 2), (MINE, 0), (MINE.replace("1 - ", "1 - 2 * "), 1)):
        (here / "of_my_own.py").write_text(text)
        sys.modules.pop("of_my_own", None)
        before = len(counted)
        sensitivity(model, evaluate, technique=technique_at("of_my_own.Mine", {}), **asked)
        assert len(counted) - before == measured
    sys.modules.pop("of_my_own")


@pytest.mark.parametrize(
    ("path", "settings", "says"),
    [
        ("of_my_own.Nothing", {}, "of_my_own.Nothing cannot be found"),
        ("of_nobody.Mine", {}, "of_nobody.Mine cannot be found: no module 'of_nobody'"),
        ("of_my_own.Mine", {"steps": 1}, r"of_my_own.Mine\(steps=1\) cannot be built"),
        ("of_my_own.Other", {}, r"is no technique: it has no preview\(weights, amount\)"),
        (CUT, {"scope": "none"}, "prune.scope must be one of global, layer, erk"),
    ],
)
def test_what_is_no_technique_is_named(
    path: str, settings: dict[str, Any], says: str, here: Path
) -> None:
    with pytest.raises(ValueError, match=says):
        technique_at(path, settings)
    sys.modules.pop("of_my_own", None)
