"""The picture of a run, as a reader sees it."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from boildown.report import picture

LAYERS = [
    {"name": name, "shape": shape, "coder": "mixed", "bytes": size}
    for name, shape, size in (("$fc1.weight$", [300, 784], 18_000), ("fc1.bias", [300], 520))
]


def result(curve: list[float]) -> dict[str, Any]:
    errors = [{"progress": i / len(curve), "val/error": e} for i, e in enumerate(curve)]
    return {
        "name": "a $ and another $",
        "curve": [row | {"prune/sparsity": 0.9} for row in errors],
        "layers": LAYERS,
        "dense": {"bytes": 940_000, "metrics": {"test/error": 0.02}},
        "compressed": {"bytes": 18_600, "metrics": {"test/error": 0.02}},
        "ratio": 50.5,
        "config": {"compression": {"prune": {"begin": 0.3}}},
    }


@pytest.mark.parametrize("curve", [[0.3, 0.02, 0.011], [0.1, 0.0], [0.0, 0.0], [0.05]])
def test_the_axes_are_in_words_and_do_not_overlap(
    curve: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(picture.plt, "close", drawn.append)
    picture.draw(result(curve), tmp_path / "result.png")
    (figure,) = drawn
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]
    assert not [text.get_text() for text in texts if "mathdefault" in text.get_text()]
    bytes_axis = figure.axes[1].xaxis
    told = [label.get_text() for label in bytes_axis.get_ticklabels()]
    assert {"1 kB", "10 kB", "100 kB"} <= set(told)
    boxes = [label.get_window_extent() for label in bytes_axis.get_ticklabels()]
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


def test_the_front_of_a_search_is_drawn_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(picture.plt, "close", drawn.append)
    rows = [{"bytes": 10**i, "val/error": 0.1 / i, "front": i < 5} for i in range(3, 7)]
    picture.draw_front(rows, "val/error", tmp_path / "front.png")
    told = [label.get_text() for label in drawn[0].axes[0].xaxis.get_ticklabels()]
    assert told[0] == "1 kB"
