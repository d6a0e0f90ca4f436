"""Every recipe there is, at its own settings on a small net: a new one is tested by existing."""

import os
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import CONF, Once, call, choices, composed, result_of, rows_of, stop_in, train

import boildown
from boildown.run.recipe import nodes_of

RECIPES = choices("compression")


def one_of_each_kind() -> list[str]:
    """The recipes, but of those with the same techniques at other settings the plainest alone."""
    kinds: dict[tuple[str, ...], list[str]] = {}
    for recipe in RECIPES:
        nodes = nodes_of(composed(f"compression={recipe}").compression)
        kinds.setdefault(tuple(node["_target_"] for node in nodes.values()), []).append(recipe)
    files = {r: (CONF / "compression" / f"{r}.yaml").read_text() for r in RECIPES}
    return [min(same, key=lambda r: "defaults:" in files[r]) for same in kinds.values()]


def quick(recipes: Iterable[str], among: Iterable[str] = RECIPES) -> list[Any]:
    """All of those among, the others than `recipes` as slow tests."""
    chosen = set(recipes)
    return [pytest.param(r, marks=() if r in chosen else pytest.mark.slow) for r in among]


KINDS = one_of_each_kind()
SMALL = ("model=mlp", "model.width=64", "budget.epochs=6", "validations=40")


def of(recipe: str) -> tuple[str, ...]:
    return (f"compression={recipe}", *SMALL)


def straight(once: Once, recipe: str) -> Path:
    """The uninterrupted run of a recipe."""
    return once(f"recipe-{recipe}", lambda directory: train(directory, *of(recipe)))


def assert_whole(run: Path) -> None:
    """A run left a file, and its figures are of the file."""
    result = result_of(run)
    assert result["compressed"]["bytes"] == (run / "model.boil").stat().st_size
    phases = result["compute"]["by_phase"]
    assert sum(phase["flops"] for phase in phases.values()) == result["compute"]["flops"] > 0
    for which in ("dense", "compressed"):
        assert 0.0 <= result[which]["metrics"]["test/error"] <= 1.0
    model = boildown.load(run / "model.boil")
    weights = boildown.unpack(run / "model.boil")
    assert {name: t.shape for name, t in model.state_dict().items()} == {
        name: t.shape for name, t in weights.items()
    }
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    logits = model(torch.zeros(2, 1, 8, 8))
    assert logits.shape == (2, 10)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_trains_and_its_file_is_a_model(recipe: str, once: Once) -> None:
    run = straight(once, recipe)
    assert_whole(run)
    rows = rows_of(run)
    assert float(rows[-1]["progress"]) == 1.0
    assert all(float(a["progress"]) < float(b["progress"]) for a, b in pairwise(rows))
    result = result_of(run)
    learnt = "dense" if "dense" in result["compute"]["by_phase"] else "compressed"
    assert result[learnt if recipe != "none" else "dense"]["metrics"]["test/error"] < 0.5
    if recipe != "none":
        assert result_of(run)["ratio"] > 2.0


@pytest.mark.parametrize("recipe", quick([*KINDS, "alps", "mixed"]))
def test_it_resumes_to_the_same_bytes_from_each_phase(
    recipe: str, once: Once, tmp_path: Path
) -> None:
    run = straight(once, recipe)
    for phase in result_of(run)["compute"]["by_phase"]:
        stopped = tmp_path / phase
        stop_in(phase, stopped, *of(recipe))
        train(stopped, *of(recipe), "resume=true")
        assert (stopped / "model.boil").read_bytes() == (run / "model.boil").read_bytes()
        assert rows_of(stopped) == rows_of(run)
        now, then = result_of(stopped), result_of(run)
        assert now["compute"]["flops"] == then["compute"]["flops"]
        for key in ("dense", "compressed", "ranks", "layers", "ratio"):
            assert now[key] == then[key], (phase, key)


@pytest.mark.filterwarnings("ignore:.*steps in a row were skipped")
@pytest.mark.parametrize("recipe", quick([*KINDS, "alps"]))
def test_it_trains_in_half_precision(recipe: str, tmp_path: Path) -> None:
    train(tmp_path / "run", *of(recipe), "trainer=amp", "loss_scaling.initial_scale=1e12")
    assert_whole(tmp_path / "run")
    compute = result_of(tmp_path / "run")["compute"]
    assert compute["precision"] == "16-mixed"
    assert compute["skipped_steps"] > 0  # so that a technique has met one


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs a core for each process")
@pytest.mark.parametrize("recipe", quick(["deep", "structured"], among=KINDS))
def test_it_trains_in_two_processes_from_the_command_line(recipe: str, tmp_path: Path) -> None:
    two = ("trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp", "logger=none")
    done = call(f"hydra.run.dir={tmp_path / 'run'}", *of(recipe), *two)
    assert done.returncode == 0, done.stderr
    assert_whole(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"result.png", "newest.ckpt"}
