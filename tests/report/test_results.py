"""Reading results: what is sound, and what is left out with the reason."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import put, result

from boildown.report.groups import differences, identity, sections
from boildown.report.results import (
    UnsoundError,
    collect,
    flatten,
    parse,
    printable,
    read,
    without_repeats,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
KEYS = ["schema", "name", "seed", "config", "dense", "compressed", "compute", "curve", "target",
        "environment", "learning_rates", "dense.params", "dense.metrics", "compressed.bytes",
        "compressed.metrics", "compute.flops", "compute.seconds", "compute.by_phase",
        "compute.budget", "compute.reused", "config.compression"]  # fmt: skip


def why(directory: Path) -> str:
    with pytest.raises(UnsoundError) as told:
        read(directory, "here")
    assert "\n" not in str(told.value)
    return str(told.value)


def test_a_sound_result(tmp_path: Path) -> None:
    run = read(put(tmp_path, result(width=16, size=1482, seed=3)), "here")
    assert (run.params, run.bytes, run.seed, run.ratio) == (1482, 1482, 3, 4.0)
    assert run.techniques == ("prune", "share")
    assert run.begin == 0.35
    assert run.at_end("val/error") == 0.05
    assert run.at_end("val/loss") is None
    assert run.config["model.width"] == 16
    assert run.met is True


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "result.json is empty"),
        ('{"schema": 1, "name": "x', "broken or truncated"),
        (b"\xff\xfe\x00", "cannot be read"),
        ("[1, 2]", "holds no object"),
        ("[" * 100_000, "broken or truncated"),
        ("{}", "lacks schema"),
        ('{"schema": 1}', "lacks name, seed, config, dense.params"),
        (result(schema=2), "schema 2; this version reads schema 1"),
        (result(schema=True), "schema True"),
        (result(**{"dense.params": ...}), "lacks dense.params"),
        (result(**{"dense": 3}), "lacks dense.params, dense.metrics"),
        (result(**{"compressed.bytes": 0}), "compressed.bytes makes no sense: 0"),
        (result(**{"compressed.bytes": "12"}), "compressed.bytes makes no sense: '12'"),
        (result(**{"dense.params": 1e400}), "dense.params makes no sense: inf"),
        (result(**{"dense.params": 10**400}), "dense.params makes no sense"),
        (result(**{"compute.flops": -1}), "compute.flops makes no sense: -1"),
        (result(**{"compute.by_phase": {"dense": 3}}), "compute.by_phase.dense makes no sense"),
        (result(seed=0) | {"seed": "zero"}, "seed makes no sense: 'zero'"),
        (
            result(**{"compressed.metrics": {"test/error": float("nan")}}),
            "test/error = nan: no number to compare",
        ),
    ],
)
def test_an_unsound_result_says_why(content: Any, message: str, tmp_path: Path) -> None:
    assert message in why(put(tmp_path, content))


@settings(deadline=None)
@given(st.sampled_from(KEYS), JSON)
def test_whatever_a_key_holds_is_used_or_refused(key: str, value: Any) -> None:
    made = json.loads(json.dumps(result(**{key: value})))
    with contextlib.suppress(UnsoundError):
        run = parse(made, Path("here"), "here")
        identity(run)
        run.at_end("val/error")
        assert all(key.isprintable() for key in run.config)
        made_sections, left_out = sections([run])
        assert len(made_sections) + len(left_out) == 1
        differences([run])


def test_runs_without_a_result_say_what_happened(tmp_path: Path) -> None:
    for name in ("failed", "broken", "unfinished", "started", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "failed/error.json").write_text(json.dumps({"error": "budget:\ntoo \x1bsmall"}))
    (tmp_path / "broken/error.json").write_text("[")
    (tmp_path / "unfinished/newest.ckpt").touch()
    (tmp_path / "started/.hydra").mkdir()
    (tmp_path / "running").mkdir()
    (tmp_path / "running/newest.ckpt").touch()
    (tmp_path / "running/metrics.csv").write_text("progress,val/error\n0.3,0.1\n0.45,0.1\n")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/newest.ckpt").touch()
    (tmp_path / "odd/metrics.csv").write_text("progress\n=1+1\n")
    runs, left_out = collect([tmp_path])
    assert runs == []
    more = "a checkpoint but no result.json; it runs, or resume=true goes on with it"
    assert {item.place: item.why for item in left_out} == {
        "failed": r"failed: budget: too \x1bsmall",
        "broken": "no result.json: stopped before its first checkpoint",
        "unfinished": f"unfinished: {more}",
        "odd": f"unfinished: {more}",
        "running": f"unfinished at 45% of its budget: {more}",
        "started": "no result.json: stopped before its first checkpoint",
    }


def test_directories_that_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    put(tmp_path / "b/c", result())
    (tmp_path / "d").mkdir()
    (tmp_path / "d/notes.txt").touch()
    runs, left_out = collect([tmp_path / "a", tmp_path / "b", tmp_path / "d"])
    assert [run.place for run in runs] == [str(Path("b/c"))]
    assert [item.why for item in left_out] == [
        "an empty directory",
        "no result.json in it or below it",
    ]


def test_the_order_is_that_of_numbers_and_nothing_counts_twice(tmp_path: Path) -> None:
    for i in (10, 9, 2, 100):
        put(tmp_path / "sweep" / str(i), result(seed=i))
    (tmp_path / "link").symlink_to(tmp_path / "sweep")
    found = [tmp_path / "sweep", tmp_path, tmp_path / "link", tmp_path / "sweep/2/result.json"]
    runs, left_out = collect(found)
    assert [run.seed for run in runs] == [2, 9, 10, 100]
    assert left_out == []


def test_paths_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing: no such directory"):
        collect([tmp_path / "missing"])
    (tmp_path / "page.html").touch()
    with pytest.raises(NotADirectoryError, match="neither a directory nor a result"):
        collect([tmp_path / "page.html"])


def test_an_unreadable_result_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "run/result.json").mkdir(parents=True)
    _, (item,) = collect([tmp_path])
    assert item.why.startswith("result.json cannot be read")


def test_repeats_are_left_out(tmp_path: Path) -> None:
    put(tmp_path / "1", result())
    put(tmp_path / "2", result() | {"name": "another name"})
    put(tmp_path / "3", result(error=0.06))
    put(tmp_path / "4", result(seed=1))
    runs, repeats = without_repeats(collect([tmp_path])[0], identity)
    assert [run.place for run in runs] == ["1", "4"]
    assert [(item.place, item.why) for item in repeats] == [
        ("2", "repeats the config and seed of 1, with the same figures"),
        ("3", "repeats the config and seed of 1, but with other figures"),
    ]


def test_flat_keys_and_texts_are_printable() -> None:
    flat = flatten({"a\n": {"b": "\ud800", "c": [{"d": 1}]}, "e": {}})
    assert flat == {r"a\n.b": r"\ud800", r"a\n.c": '[{"d": 1}]', "e": "{}"}
    assert flatten({}) == flatten(None) == {}
    assert printable("plain text") == "plain text"
