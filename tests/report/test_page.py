"""The page as HTML, the files beside it, and the command."""

import base64
import csv
import hashlib
import io
import json
import math
import os
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from made import BIG_PAYS, family, put, result

from boildown.cli import main
from boildown.report import wandb_run
from boildown.report.build import gather, write
from boildown.report.page import plotly
from boildown.report.results import collect

HOSTILE = '</script><script>alert(1)</script><img src="http://x.example/a" onerror=alert(1)>&'
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Checks that tags match; collects links, scripts, tables and the text that is seen."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.seen: list[str] = []
        self.labels: list[str | None] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        assert not any(name.startswith("on") for name in given)
        self.links += [given[k] or "" for k in ("href", "src") if k in given]
        if "id" in given:
            self.ids.append(given["id"] or "")
        if given.get("role") == "img":
            self.labels.append(given.get("aria-label"))
        if tag == "script":
            self.scripts.append((given.get("type"), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)
        elif self.open[-1:] != ["style"]:
            self.seen.append(data)


def made(directory: Path, *runs: Path) -> tuple[str, Page]:
    files = write(gather(runs or [directory / "runs"]), directory / "report.html")
    text = files.page.read_text(encoding="utf-8")
    return text, Page(text)


def test_the_page_is_whole_and_points_nowhere(tmp_path: Path) -> None:
    family(tmp_path / "runs", BIG_PAYS)
    text, page = made(tmp_path)
    assert re.findall(r'(src|href)="https?://[^"]+"', text) == []
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        elif not link.startswith("data:"):
            assert (tmp_path / unquote(link) / "result.json").is_file()
    words = "".join(page.seen)
    assert "Train big, then compress holds at 2 of 4 file sizes" in words
    assert "33 runs from" in words
    assert page.tags.count("h1") == 1
    assert page.labels
    assert all(page.labels)
    assert page.tags.count("table") == page.tags.count("caption") >= 5


def test_the_policy_allows_the_two_scripts_and_no_other(tmp_path: Path) -> None:
    put(tmp_path / "runs", result())
    text, page = made(tmp_path)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    code = [body for kind, body in page.scripts if kind is None]
    digests = [base64.b64encode(hashlib.sha256(c.encode()).digest()).decode() for c in code]
    assert re.findall(r"'sha256-([^']*)'", policy[1]) == digests
    assert len(digests) == 2
    assert policy[1].startswith("default-src 'none';")


def test_texts_of_results_are_harmless(tmp_path: Path) -> None:
    hostile = {
        "name": HOSTILE,
        "config.model._target_": f"a.{HOSTILE.replace('.', '')}",
        f"environment.{HOSTILE.replace('.', '')}": HOSTILE,
        f"compute.by_phase.{HOSTILE.replace('.', '')}": {"flops": 1, "seconds": 1},
        "config.data._target_": HOSTILE,
        "config.data.path": HOSTILE,
        "config.note": HOSTILE,
        "learning_rates": {HOSTILE: HOSTILE},
    }
    name = "javascript:alert(1)#<script>"
    put(tmp_path / "runs" / name, result(**hostile))
    put(tmp_path / "runs" / "b", result(**hostile | {"config.note": HOSTILE * 2, "seed": 1}))
    (tmp_path / "runs" / "<script>x" / ".hydra").mkdir(parents=True)
    text, page = made(tmp_path)
    assert len(page.scripts) == 3
    assert "img" not in page.tags
    assert "".join(page.seen).count(HOSTILE) >= 4
    assert re.findall(r'(src|href)="https?://[^"]+"', text) == []
    runs = [link for link in page.links if link.startswith("./")]
    assert sorted(map(unquote, runs)) == [f"./runs/{n}/" for n in ("b", name)]
    assert all(":" not in link and "<" not in link for link in runs)
    figures = next(body for kind, body in page.scripts if kind == "application/json")
    assert "<" not in figures
    assert json.loads(figures)["figures"]


def test_what_was_left_out_is_told(tmp_path: Path) -> None:
    family(tmp_path / "runs", {(16, 1000): [0.1]})
    put(tmp_path / "runs/cut", '{"schema": 1, "na')
    put(tmp_path / "runs/new", result(schema=2))
    put(tmp_path / "runs/w16-b1000-s0-again", result(width=16, size=1000, error=0.1))
    (tmp_path / "runs/failed").mkdir()
    (tmp_path / "runs/failed/error.json").write_text('{"error": "budget.flops is too small"}')
    _, page = made(tmp_path)
    words = "".join(page.seen)
    for told in (
        "broken or truncated",
        "this version reads schema 1",
        "repeats the config and seed of w16-b1000-s0, with the same figures",
        "failed: budget.flops is too small",
        "4 left out",
    ):
        assert told in words


def test_sections_are_apart_and_linked(tmp_path: Path) -> None:
    put(tmp_path / "runs/a", result())
    put(tmp_path / "runs/b", result(seed=1, metric="bits_per_byte", error=1.5))
    _, page = made(tmp_path)
    assert {"#section-0", "#section-1"} <= set(page.links)
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert "report-1-size.png" in pictures
    assert "report-2-size.png" in pictures


def test_learning_rates_are_shown_where_they_are_given(tmp_path: Path) -> None:
    put(tmp_path / "runs/a", result(width=16, learning_rates={"hidden": 0.016}))
    put(tmp_path / "runs/b", result(width=64))
    _, page = made(tmp_path)
    words = "".join(page.seen)
    assert "hidden = 0.016" in words
    assert words.count("Learning rates, as the rule gave them") == 1
    put(tmp_path / "runs/a", result(width=16))
    _, page = made(tmp_path)
    assert "Learning rates" not in "".join(page.seen)


def test_the_tables_beside_the_page(tmp_path: Path) -> None:
    family(tmp_path / "runs", BIG_PAYS)
    made(tmp_path)
    with (tmp_path / "report.csv").open(encoding="utf-8") as file:
        runs = list(csv.DictReader(file))
    with (tmp_path / "report-comparison.csv").open(encoding="utf-8") as file:
        compared = list(csv.DictReader(file))
    assert len(runs) == 33
    first = next(row for row in runs if row["run"] == "w64-b2000-s1")
    assert (float(first["value"]), int(first["bytes"])) == (0.121, 2000)
    assert [row["bytes"] for row in compared] == ["1000", "2000", "4000", "8000"]
    assert float(compared[0]["lead_over_rival"]) == pytest.approx(0.049)
    assert compared[0]["claim"] == "holds"


def test_the_same_runs_give_the_same_page(tmp_path: Path) -> None:
    family(tmp_path / "runs", BIG_PAYS)
    assert made(tmp_path)[0] == made(tmp_path)[0]


def test_a_thousand_runs_take_seconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = range(1000, 21_000, 1000)
    widths = (8, 16, 32, 64, 128)
    family(
        tmp_path / "runs",
        {(w, b): [1 / w + s / 999 for s in range(10)] for w in widths for b in sizes},
    )
    began = time.monotonic()
    assert main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "r.html")]) == 0
    assert time.monotonic() - began < 60
    told = capsys.readouterr()
    assert "1,000 runs, 0 left out" in told.out
    assert len((tmp_path / "r.html").read_bytes()) - len(plotly().encode()) < 1_000_000
    assert "reading runs" in told.err


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ("missing", "missing: no such directory"),
        ("empty", "empty: no sound result: empty: an empty directory"),
        ("broken", "no sound result: broken: result.json is empty"),
        ("file", "file: neither a directory nor a result.json"),
    ],
)
def test_errors_are_one_line(
    runs: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("file").touch()
    put(Path("broken"), "")
    assert main(["report", runs]) == 1
    told = capsys.readouterr()
    assert told.err.startswith("boildown: ")
    assert message in told.err
    assert told.err.count("\n") == 1
    assert not Path("report.html").exists()


def test_a_missing_directory_stops_a_report_over_others(tmp_path: Path) -> None:
    put(tmp_path / "a", result())
    assert main(["report", str(tmp_path / "a"), str(tmp_path / "b")]) == 1


def test_a_page_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "a", result())
    assert main(["report", str(tmp_path / "a"), "--out", str(tmp_path)]) == 1
    assert "is a directory; give the page's file" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "a"), "--out", str(tmp_path / "r.csv")]) == 1
    assert "must end in .html" in capsys.readouterr().err
    assert not (tmp_path / "r.csv").exists()


def test_the_command_tells_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family(tmp_path / "runs", BIG_PAYS)
    out = tmp_path / "new" / "page.html"
    assert main(["report", str(tmp_path / "runs"), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "training big pays" in " ".join(told.split())
    paths = [line for line in told.splitlines() if line.startswith(str(out.parent))]
    assert [Path(p).name for p in paths[:3]] == ["page.html", "page.csv", "page-comparison.csv"]
    assert all(Path(p).is_file() for p in paths)


def test_nothing_sound_names_the_first_reason(tmp_path: Path) -> None:
    put(tmp_path / "a", "")
    put(tmp_path / "b", "")
    with pytest.raises(ValueError, match=r"a: result.json is empty \(and 1 more"):
        gather([tmp_path])


def test_wandb_gets_the_tables_the_pictures_and_the_page(tmp_path: Path) -> None:
    family(tmp_path / "runs", {(16, 1000): [0.2, 0.21], (256, 1000): [0.1, 0.11]})
    out = tmp_path / "my report.html"
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from boildown.cli import main; sys.exit(main())",
         "report", str(tmp_path / "runs"), "--out", str(out), "--wandb", "some-project"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"WANDB_MODE": "offline"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    assert str(run) in done.stdout
    media = {path.name.partition("_")[0] for path in run.glob("files/media/**/*") if path.is_file()}
    assert {"runs", "comparison", "my report-size", "my report-lead"} <= media
    assert "settings" in media  # parallel coordinates
    (front,) = run.glob("files/media/table/pareto*front_[0-9]*.json")
    table = json.loads(front.read_text())
    found = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [(row["bytes"], row["test/error"]) for row in found] == [(1000, 0.1)]
    (coordinates,) = run.glob("files/media/plotly/*.json")
    (drawn,) = json.loads(coordinates.read_text())["data"]
    ranges = {d["label"]: d["range"] for d in drawn["dimensions"]}
    assert ranges["model.width"] == [16, 256]
    assert ranges["test/error"] == [0.1, 0.21]
    (log,) = run.glob("*.wandb")
    record = log.read_bytes()
    assert b"my-report-report" in record
    assert b"headline" in record


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ({"id": "abc", "project": "p", "entity": "me"}, "https://wandb.ai/me/p/runs/abc"),
        ({"id": "a/b", "project": "p q", "entity": "me"}, "https://wandb.ai/me/p%20q/runs/a%2Fb"),
        ({"id": "abc", "project": "p", "directory": "offline-run-1"}, "a/wandb/offline-run-1"),
        ({"id": 1, "project": {}}, None),
        (["a"], None),
    ],
)
def test_a_report_on_wandb_links_its_runs(place: Any, found: str | None, tmp_path: Path) -> None:
    put(tmp_path / "a", json.dumps(result(loggers={"wandb": place})))
    (run,) = collect([tmp_path])[0]
    assert wandb_run.link(run, "https://wandb.ai", None) == found


def hostile() -> dict[str, Any]:
    """Results that are sound but for one thing, by its name."""
    deep: Any = 1
    for _ in range(500):
        deep = {"a": deep}
    long = "x" * 1_000_000
    values: dict[str, Any] = {}
    figures = (1e308, -1e308, 1e-320, 5e-324, 10**400, -(10**400), math.nan, math.inf, 2**53, -1.0)
    for key in ("compressed.metrics", "dense.metrics"):
        values |= {f"{key} {v!r:.9}": result(seed=99, **{key: {"test/error": v}}) for v in figures}
        values |= {
            f"{key} {name!r:.9}": result(seed=99, **{key: {f"test/{name}": 0.1, name: 0.1}})
            for name in (
                "$$",
                "$\\frac$",
                "",
                " ",
                "\n",
                long,
                "=1",
                "<b>",
                "\ud800",
                "a/b/c",
                "{}",
            )
        }
    for key in ("compute.flops", "compute.seconds", "compute.reused", "seed", "dense.params",
                "compressed.bytes", "config.model.width", "config.compression.bytes",
                "config.compression.prune.begin", "target.ratio", "ratio", "compute.budget.flops",
                "compute.by_phase.dense.flops", "environment.torch"):  # fmt: skip
        values |= {
            f"{key} {v!r:.9}": result(**{"seed": 99, key: v})
            for v in (*figures, deep, long, "$$", [])
        }
    for v in figures:
        values[f"curve {v!r:.9}"] = result(
            seed=99, curve=[{"progress": v, "val/error": v, "flops": v}] * 3
        )
        values[f"curve's values {v!r:.9}"] = result(
            seed=99, curve=[{"progress": i / 9, "val/error": v, "flops": v} for i in range(10)]
        )
    layers: tuple[Any, ...] = (
        {}, [{}], [7], "x", deep, [{"name": long}], [{"name": "a", "shape": deep}],
        [{"name": HOSTILE, "shape": [2, 2], "bytes": 10**400}],
        [{"name": HOSTILE, "shape": [2, 2], "bytes": 3, "rank": -1}],
        [{"name": "a", "shape": [2**52, 2**52], "bytes": 3}],
        [{"name": "a", "shape": [], "bytes": math.nan}],
        [{"name": f"{HOSTILE}{i}", "shape": [i + 1], "bytes": i} for i in range(5000)],
    )  # fmt: skip
    values |= {f"layers {i}": result(seed=99, layers=v) for i, v in enumerate(layers)}
    values |= {
        f"samples {v!r:.9}": result(seed=99, test_samples=v)
        for v in (*figures, deep, long, 0, True)
    }
    values["name $$"] = result(seed=99, name="$$" * 99)
    values["a long name"] = result(seed=99, name=long)
    values["metrics"] = result(
        seed=99, **{"compressed.metrics": {f"m{i}": 0.1 for i in range(5000)}}
    )
    values["phases"] = result(
        **{"compute.by_phase": {f"$p{i}": {"flops": 1e308} for i in range(9)}}
    )
    return values


def test_a_hostile_result_never_sinks_the_report(tmp_path: Path) -> None:
    """Each alone beside sound ones in memory, and all of them on one page with its pictures."""
    for i, (width, size) in enumerate(((16, 1000), (64, 1000), (256, 1000), (64, 3000))):
        put(tmp_path / f"sound{i}", result(width=width, size=size))
    for i, (name, content) in enumerate(hostile().items()):
        put(tmp_path / "all" / f"hostile{i}", content)
        alone = put(tmp_path / "one" / "hostile", content)
        content = gather([*sorted(tmp_path.glob("sound*")), alone])
        places = {run.place for part in content.parts for run in part.section.runs}
        assert len(places & {f"sound{i}" for i in range(4)}) == 4, name
        assert all(len(left.why) < 700 for left in content.left_out), name
    put(tmp_path / "all" / "text", "[" * 100_000)
    put(tmp_path / "all" / "wide", "[" + "1," * 2_000_000 + "1]")
    (tmp_path / "all" / "pipe").mkdir()
    os.mkfifo(tmp_path / "all" / "pipe" / "result.json")
    out = tmp_path / "report.html"
    files = write(gather([tmp_path]), out)
    assert all(file.stat().st_size for file in files.all)


def test_cells_are_no_formulas(tmp_path: Path) -> None:
    put(tmp_path / "=a", result(name="=cmd|' /C calc'!A0"))
    put(tmp_path / "+b", result(name="@SUM(1)", seed=1, **{"config.model.=x": "-1+1"}))
    write(gather([tmp_path]), tmp_path / "report.html")
    text = (tmp_path / "report.csv").read_text(encoding="utf-8")
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert any("cmd|" in cell for cell in cells)
    assert not [c for c in cells if c.startswith(("=", "+", "@")) or c[:2] in ("-1", "-c")]
