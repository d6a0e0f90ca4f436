"""Whole low-rank runs on the embedded digits: two fits, factors, and what they save."""

from pathlib import Path

import pytest
import torch
from runs import Once, refused, result_of, rows_of, train
from safetensors.torch import load_file

import boildown
from boildown.callbacks.learn_ranks import LearnRanks

LOWRANK = ("+compression=lowrank", "budget.steps=120")
DEEP = ("+compression=lowrank_deep", "budget.steps=160", "compression.ratio=25")


@pytest.fixture(scope="module")
def lowrank(once: Once) -> Path:
    return once("lowrank", lambda directory: train(directory, *LOWRANK))


def test_the_file_holds_the_factors_and_has_the_asked_size(lowrank: Path) -> None:
    result = result_of(lowrank)
    assert result["target"] == {"ratio": 4, "met": True}
    assert (lowrank / "model.boil").stat().st_size == result["compressed"]["bytes"]
    model = boildown.load(lowrank / "model.boil")
    ranks = {row["name"]: row["rank"] for row in result["ranks"] if row["rank"] is not None}
    assert ranks
    for name, rank in ranks.items():
        u, v = (model.get_submodule(f"{name}.{part}").weight for part in "uv")
        assert (u.shape[1], v.shape[0]) == (rank, rank)
        rows = {row["name"]: row["rank"] for row in result["layers"]}
        assert rows[f"{name}.u.weight"] == rows[f"{name}.v.weight"] == rank
        assert rows[f"{name}.u.bias"] is None
    dense = load_file(lowrank / "dense.safetensors")
    assert dense["fc1.weight"].shape == (300, 64)  # what came before has its own structure


def test_the_report_compares_with_one_threshold(lowrank: Path) -> None:
    for row in result_of(lowrank)["ranks"]:
        assert row["rank"] is None or 1 <= row["rank"] <= row["full_rank"]
        assert row["rank_by_energy"] is None or 1 <= row["rank_by_energy"] <= row["full_rank"]
        assert row["cost"] <= row["dense_cost"]


def test_factors_cost_less_per_step(lowrank: Path) -> None:
    phases = result_of(lowrank)["compute"]["by_phase"]
    assert list(phases) == ["dense", "lowrank", "factored"]
    per_step = {name: cost["flops"] / cost["steps"] for name, cost in phases.items()}
    assert per_step["factored"] < 0.7 * per_step["dense"]
    assert per_step["lowrank"] > per_step["dense"]  # C steps are charged
    rows = rows_of(lowrank)
    assert [int(row["steps"]) for row in rows] == sorted(int(row["steps"]) for row in rows)
    assert [int(row["epoch"]) for row in rows] == sorted(int(row["epoch"]) for row in rows)


class CutOffError(Exception):
    """The run ended between its fits."""


def test_a_run_cut_off_between_its_fits_resumes_to_the_same_bytes(
    lowrank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest checkpoint is then from the very end of the first fit."""

    def cut_off(*_: object) -> None:
        raise CutOffError

    with monkeypatch.context() as patched:
        patched.setattr(LearnRanks, "restructure", cut_off)
        with pytest.raises(CutOffError):
            train(tmp_path / "run", *LOWRANK)
    train(tmp_path / "run", *LOWRANK, "resume=true")
    assert (tmp_path / "run/model.boil").read_bytes() == (lowrank / "model.boil").read_bytes()
    assert rows_of(tmp_path / "run") == rows_of(lowrank)


def test_the_shared_dense_training_is_reused_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = (*LOWRANK, f"share_dense={tmp_path / 'dense'}")
    for name in ("first", "second"):
        train(tmp_path / name, *shared, "model=mlp", "model.width=32")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    train(tmp_path / "third", *shared, "model=mlp", "model.width=32")
    assert result_of(tmp_path / "third")["compute"]["reused"] == 0  # sums in another order
    first, second = (result_of(tmp_path / name)["compute"] for name in ("first", "second"))
    assert first["reused"] == 0
    assert 0 < second["reused"] <= first["by_phase"]["dense"]["flops"]
    files = [(tmp_path / name / "model.boil").read_bytes() for name in ("first", "second")]
    assert files[0] == files[1]


def test_the_factors_are_pruned_and_shared(tmp_path: Path) -> None:
    train(tmp_path / "run", *DEEP)
    result = result_of(tmp_path / "run")
    assert result["target"]["met"]
    assert [row["rank"] for row in result["ranks"] if row["rank"]]
    weights = [p for p in boildown.load(tmp_path / "run" / "model.boil").parameters() if p.ndim > 1]
    assert all(len(p[p != 0].unique()) <= 64 for p in weights)
    assert sum(int((p == 0).sum()) for p in weights) > 0
    assert all(torch.equal(p, p.half().float()) for p in weights)


def test_ranks_may_be_given(tmp_path: Path) -> None:
    train(tmp_path / "run", "+compression=lowrank", "budget.steps=20", "compression.ranks={fc1: 8}")
    ranks = {row["name"]: row["rank"] for row in result_of(tmp_path / "run")["ranks"]}
    assert ranks == {"fc1": 8}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("compression.ratio=120",), ("compression.ratio=120", "out of reach", "a ratio of")),
        (("compression.lowrank.exclude=[fc9]",), ("lowrank.exclude", "fc9", "fc1")),
        (("compression.ranks={fc1: 0}",), ("fc1", "rank", "0")),
        (("compression.ranks={fc1: 60}",), ("fc1", "60", "save nothing")),
        (("compression.factors=1.5",), ("lowrank.factors", "1.5")),
        (("compression.factors=0.001",), ("rank 1", "fc1")),
        (("compression.ratio=null",), ("give ratio", "factors", "bytes")),
        (("compression.price=-1",), ("lowrank.price", "-1")),
        (("compression.price=1", "compression.energy=0.5"), ("give one of", "got price, energy")),
    ],
)
def test_bad_input_is_answered_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], says: tuple[str, ...]
) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # Hydra's and ours
        train(tmp_path / "run", *LOWRANK, *arguments)
    refused(caught.value, says)
