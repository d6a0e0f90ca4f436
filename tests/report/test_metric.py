"""boildown.report: errors stay errors, bits per byte are bits per byte."""

from pathlib import Path
from typing import Any

import pytest

from boildown.report.metric import headline, in_words, number, unit
from boildown.report.picture import draw
from boildown.report.table import show


@pytest.mark.parametrize(
    ("names", "metric"),
    [
        (["test/loss", "test/error"], "error"),
        (["test/loss", "test/bits_per_byte"], "bits_per_byte"),
        (["test/bits_per_byte", "test/error"], "error"),
        (["val/error", "test/mae"], "mae"),
        (["val/error"], None),
        ([], None),
    ],
)
def test_what_a_run_is_judged_by(names: list[str], metric: str | None) -> None:
    assert headline(names, "test") == metric


def test_how_it_is_written() -> None:
    assert number("test/error", 0.01586) == "1.59%"
    assert number("bits_per_byte", 2.34567) == "2.3457"
    assert in_words("bits_per_byte") == "bits per byte"
    assert (unit("error")[0], unit("bits_per_byte")[0]) == (100.0, 1.0)


def result(metric: str) -> dict[str, Any]:
    layer = {"name": "embed.weight", "shape": [256, 8], "bytes": 900, "coder": "dense huffman"}
    tied = layer | {"name": "head.weight", "bytes": 0, "coder": "tied to embed.weight"}
    phase = {"steps": 3, "flops": 1e9, "seconds": 1.0}
    return {
        "name": "gpt-text",
        "dense": {"params": 2048, "bytes": 8192, "metrics": {f"test/{metric}": 0.25}},
        "compressed": {"bytes": 1024, "nonzero": 99, "metrics": {f"test/{metric}": 0.5}},
        "ratio": 8.0,
        "target": {"ratio": 8.0, "met": True},
        "config": {"compression": {"prune": {"begin": 0.4}}},
        "compute": phase | {"by_phase": {"dense": phase}},
        "layers": [layer, tied],
        "curve": [{"progress": p, f"val/{metric}": 1 - p / 2, "val/loss": 3.0} for p in (0.5, 1)],
    }


@pytest.mark.parametrize(
    ("metric", "title", "axis", "value"),
    [
        ("error", "test error 25.00% -> 50.00%", "validation error, %", 75.0),
        ("bits_per_byte", "test bits per byte 0.2500 -> 0.5000", "validation bits per byte", 0.75),
    ],
)
def test_the_picture_says_which(
    metric: str,
    title: str,
    axis: str,
    value: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from matplotlib import pyplot as plt

    drawn = []
    monkeypatch.setattr(plt, "close", drawn.append)
    draw(result(metric), tmp_path / "result.png")
    monkeypatch.undo()
    (figure,) = drawn
    left, right = figure.axes[:2]
    assert title in figure.get_suptitle()
    assert left.get_ylabel() == axis
    assert left.lines[0].get_ydata()[0] == value
    assert [label.get_text() for label in right.get_yticklabels()] == ["embed.weight"]
    plt.close(figure)
    assert (tmp_path / "result.png").stat().st_size > 1000


def test_the_table_shows_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(result("bits_per_byte"), tmp_path)
    shown = capsys.readouterr().out
    assert "test/bits_per_byte" in shown
    assert "0.2500" in shown
    assert "%" not in shown
