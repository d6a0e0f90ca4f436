"""A sensitivity as picture, table, sentences and CSV."""

import csv
import math
import re
from pathlib import Path

import matplotlib.image
import pytest

from boildown.allocate.sensitivity import Point
from boildown.report.sensitivity_plot import draw
from boildown.report.sensitivity_table import by_layer, harm, in_words, show, write_csv


def curve(layer: str, dense: float, *points: tuple[float, float, float]) -> list[Point]:
    """Points (level, cost, error) of a layer; unchanged the error is 2 %."""
    made = [Point(layer, "rank", None, dense, {"val/error": 0.02, "val/loss": 0.1})]
    made += [Point(layer, "rank", r, c, {"val/error": e, "val/loss": 5 * e}) for r, c, e in points]
    return made


POINTS = [
    *curve("fc1", 1000, (1, 50, 0.5), (8, 400, 0.02)),
    *curve("fc2", 100, (1, 20, 0.9), (4, 80, 0.12)),
    *curve("fc3", 10, (1, 9, 0.03)),
]


def test_harm_is_the_area_between_the_curve_and_the_unchanged_model() -> None:
    layers = by_layer(POINTS)
    assert list(layers) == ["fc1", "fc2", "fc3"]
    # shares 0, 0.2, 0.8, 1: worse by 0.88, 0.88, 0.1, 0
    by_hand = 0.2 * 0.88 + 0.6 * (0.88 + 0.1) / 2 + 0.2 * 0.1 / 2
    assert harm(layers["fc2"], "val/error") == pytest.approx(by_hand)
    score = [Point(p.layer, p.technique, p.level, p.cost, {"acc": 0.9}) for p in layers["fc3"]]
    score[1].metrics["acc"] = 0.7
    assert harm(score, "acc") == pytest.approx(0.9 * 0.2 + 0.1 * 0.2 / 2)
    score[1].metrics["acc"] = math.nan
    assert harm(score, "acc") == math.inf


def test_points_that_cost_more_than_the_layer_do_not_count() -> None:
    some = curve("fc", 100, (1, 50, 0.04))
    more = [*some, Point("fc", "rank", 3, 150, {"val/error": 0.9})]
    assert harm(more, "val/error") == harm(some, "val/error") > 0


def test_the_sentences() -> None:
    unchanged, most, least = in_words(POINTS, "val/error")
    assert unchanged == "validation error, unchanged: 2.00 %"
    assert re.fullmatch(
        r"most sensitive: fc2 \(\+48\.00 points on average, 90\.00 % at rank 1\)", most
    )
    assert least == "least sensitive: fc3 (+0.95 points on average, 3.00 % at rank 1)"
    assert in_words(POINTS[:3], "val/error")[1].startswith("fc1 (+")


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    show(POINTS, "val/error", "[red]a run")
    said = capsys.readouterr().out
    for text in (
        "[red]a run",
        "validation error, %, at each rank:",
        "fc3",
        "1,000",
        "90.00",
        "+48.00",
    ):
        assert text in said


def test_the_csv(tmp_path: Path) -> None:
    write_csv(POINTS, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(POINTS)
    for row, point in zip(rows, POINTS, strict=True):
        assert (row["layer"], row["technique"], row["cost_unit"]) == (
            point.layer,
            "rank",
            "parameters",
        )
        assert (float(row["level"]) if row["level"] else None) == point.level
        assert float(row["cost"]) == point.cost
        assert float(row["val/error"]) == point.metrics["val/error"]


@pytest.mark.parametrize("technique", ["rank", "sparsity", "bits"])
@pytest.mark.parametrize("layers", [1, 3, 30])
def test_the_picture(technique: str, layers: int, tmp_path: Path) -> None:
    levels = [0.5, 1.0] if technique == "sparsity" else [1, 4]
    points = []
    for i in range(layers):
        name = f"$blocks.{i}.a_long_name_of_a_projection"
        points += [Point(name, technique, None, 100, {"val/error": 0.0})]
        points += [
            Point(name, technique, v, 50 * (1 - v / 4), {"val/error": v / 8}) for v in levels
        ]
    path = tmp_path / "a.png"
    draw(points, "val/error", path, "a title")
    pixels = matplotlib.image.imread(path)[..., :3]
    assert pixels.shape[0] > 500
    assert len({tuple(p) for p in pixels[::3, ::3].reshape(-1, 3).tolist()}) > 20
    edge = max((1 - pixels[:, side]).max() for side in (0, 1, -1, -2))
    assert edge < 0.01  # nothing is cut off
