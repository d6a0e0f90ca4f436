"""experiment=search: trials that none beats, found by validation data, gone on with when killed."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from runs import call_here, result_of

from boildown.tasks.classification import Classification

TINY = (
    "experiment=search", "model=mlp", "model.width=16", "budget.epochs=4", "validations=4",
    "search.population=2",
    "search.space=['compression.ratio=tag(log, interval(4, 12))','compression.bits=4,5']",
)  # fmt: skip


def rows(directory: Path) -> list[dict[str, Any]]:
    return list(json.loads((directory / "search.json").read_text()))


def test_a_search_that_was_killed_goes_on_and_finds_what_none_beats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, steps = Classification.training_step, 0

    def training_step(self: Classification, *args: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 120:  # in the second trial
            os.kill(os.getpid(), signal.SIGTERM)
        return usual(self, *args)

    with monkeypatch.context() as patched:
        patched.setattr(Classification, "training_step", training_step)
        stopped = call_here(*TINY, "search.trials=3", f"hydra.run.dir={tmp_path}")
    assert stopped.returncode == 75
    assert f"the same command with hydra.run.dir={tmp_path}" in stopped.stdout
    assert not (tmp_path / "search.json").exists()
    done = call_here(*TINY, "search.trials=3", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "resuming in" in done.stdout
    assert "search: 3 of 3" in done.stdout
    found = rows(tmp_path)
    assert len(found) == 3
    for row in found:
        result = result_of(tmp_path / row["directory"])
        assert row["bytes"] == result["compressed"]["bytes"]
        last = [r for r in result["curve"] if "val/error" in r][-1]
        assert row["val/error"] == last["val/error"]
        assert str(result["config"]["compression"]["bits"]) == row["settings"]["compression.bits"]
        beaten = [
            o for o in found
            if o["bytes"] <= row["bytes"] and o["val/error"] <= row["val/error"]
            and (o["bytes"], o["val/error"]) != (row["bytes"], row["val/error"])
        ]  # fmt: skip
        assert row["front"] == (not beaten)
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")
    again = call_here(*TINY, "search.trials=3", f"hydra.run.dir={tmp_path}")
    assert "trial " not in again.stdout.replace("trials", "")


def test_a_trial_that_cannot_be_run_is_said_and_left_out(tmp_path: Path) -> None:
    space = "search.space=['compression.ratio=choice(5,5000)']"
    done = call_here(*TINY[:-1], space, "search.trials=4", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "is out of reach" in done.stdout
    assert {row["settings"]["compression.ratio"] for row in rows(tmp_path)} == {"5"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("search.trials=0", "search.trials must be a whole number of at least 1, got 0"),
        ("search.population=1", "search.population must be a whole number of at least 2"),
        ("search.space=null", "search.space must be a list such as"),
        ("search.space=['nothing.here=interval(1,2)']", "the config has no key nothing.here"),
        ("search.space=['compression.ratio=5']", "compression.ratio=5: nothing to search"),
        ("search.space=['compression.ratio=interval(9,3)']", "must lie below the second"),
        ("search.space=['compression.ratio=tag(log, interval(0,3))']", "above 0 where it is"),
        ("search.space=['compression.ratio=interval(a']", "cannot read 'compression.ratio=inter"),
    ],
)
def test_bad_spaces_are_named(given: str, says: str, tmp_path: Path) -> None:
    done = call_here("experiment=search", given, f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_optuna_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = call_here("experiment=search", f"hydra.run.dir={tmp_path}")
    assert "pip install 'boildown[search]'" in done.stderr
