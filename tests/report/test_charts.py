"""What the charts hold, and that plotly and matplotlib take it."""

import contextlib
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import BIG_PAYS, PARAMS, family, result
from PIL import Image

from boildown.report import png
from boildown.report.chart import Chart
from boildown.report.charts import charts
from boildown.report.colours import THEMES, colour, names
from boildown.report.groups import Section, sections
from boildown.report.ledger import ledger
from boildown.report.plotly_chart import figure
from boildown.report.results import UnsoundError, collect, parse
from boildown.report.sentences import headline
from boildown.report.tables import comparison_rows, ledger_cells, run_rows
from boildown.report.ticks import linear_ticks, log_ticks
from boildown.report.verdict import verdicts


def drawn(section: Section) -> dict[str, Chart]:
    return {chart.name: chart for chart in charts(section, verdicts(section))}


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> Section:
    directory = family(tmp_path_factory.mktemp("runs"), BIG_PAYS)
    ((section,), _) = sections(collect([directory])[0])
    return section


def one_section(*results: dict[str, Any]) -> Section:
    made = [parse(data, Path(f"run{i}"), f"run{i}") for i, data in enumerate(results)]
    ((section,), _) = sections(made)
    return section


def test_error_against_size(section: Section) -> None:
    chart = drawn(section)["size"]
    front, *lines, dense = chart.series
    assert (dense.kind, dense.x) == ("points", [4 * PARAMS[w] for w in (16, 64, 256)])
    assert [s.label for s in lines] == ["width 16", "width 64", "width 256"]
    assert [s.shade for s in lines] == [0.0, 0.5, 1.0]
    assert lines[2].x == [1000, 2000, 4000, 8000]
    assert lines[2].y[0] == pytest.approx(10.3)
    assert lines[2].high[0] == pytest.approx(10.5)
    assert list(zip(front.x, front.y, strict=True)) == [
        (1000, pytest.approx(10.3)),
        (2000, pytest.approx(6.1)),
        (8000, pytest.approx(3.1)),
    ]
    assert chart.title == (
        "Best by file size: width 256 at 1 kB, width 256 at 2 kB, width 256 at 4 kB and "
        "width 64 at 8 kB"
    )


def test_one_model_has_a_band_of_the_test_sets_own_error() -> None:
    runs = [result(seed=s, size=b, error=0.05) for s in (0, 1) for b in (1000, 9000)]
    chart = drawn(one_section(*runs))["size"]
    (band,) = [s for s in chart.series if s.kind == "band"]
    assert band.label == "dense ± sampling error of the test"
    assert band.low[0] == pytest.approx(100 * (0.055 - (0.055 * 0.945 / 360) ** 0.5))
    assert band.x == [1000, 4 * PARAMS[64]]
    assert "sampling error of 360 test samples" in chart.caption
    for run in runs:
        run["test_samples"] = None
    assert not [s for s in drawn(one_section(*runs))["size"].series if s.kind == "band"]


def test_dense_runs_alone_have_no_dense_points() -> None:
    chart = drawn(one_section(result(**{"config.compression": {}})))["size"]
    assert [s.kind for s in chart.series] == ["line"]


def test_curves_run_through_compression_to_the_file() -> None:
    runs = [result(seed=s, size=b, error=0.05) for s in (0, 1) for b in (1000, 9000)]
    charts = drawn(one_section(*runs))
    sparsity, size = charts["through-sparsity"], charts["through-bytes"]
    assert [s.label for s in size.series] == ["4.0x", "36x"]
    assert [s.y[-1] for s in size.series] == [9000, 1000]
    assert size.series[0].y[0] == 4 * PARAMS[64]
    assert sparsity.series[0].x[-1] == 1.0
    assert max(sparsity.series[0].y) == pytest.approx(90)
    assert sparsity.marks == ((0.35, "prune"),)
    assert charts["through-error"].y_label == "validation error, %"


def test_of_very_many_settings_some_curves_are_drawn_and_it_says_so() -> None:
    runs = [result(size=b, asked=None) for b in range(1000, 5000, 100)]
    chart = drawn(one_section(*runs))["through-error"]
    assert len(chart.series) == 10
    assert "10 of 40 settings, spread over the ratios" in chart.caption
    assert [chart.series[i].label for i in (0, -1)] == ["7.3x", "36x"]


def test_learning_stops_where_compression_begins(section: Section) -> None:
    chart = drawn(section)["learning"]
    bands = [s for s in chart.series if s.kind == "band"]
    lines = [s for s in chart.series if s.kind == "line"]
    assert len(bands) == len(lines) == 3
    assert max(lines[0].x) == pytest.approx(0.35e9)
    assert len(lines[0].x) == 7
    # of each seed the first run: those at the smallest file
    assert lines[0].y[-1] == pytest.approx(100 * (0.202 * (1 + 13 / 10)))
    assert chart.title == "After 3.5e8 FLOPs of dense training width 256 leads: 23.69 %"


def test_curves_without_common_flops_crown_nobody() -> None:
    small = result(width=16, flops=1e6, **{"compute.budget": {"epochs": 3}})
    large = result(width=256, flops=1e9, **{"compute.budget": {"epochs": 3}})
    title = drawn(one_section(small, large))["learning"].title
    assert title == "Validation error while training dense"


def test_runs_without_a_curve_have_no_learning_chart() -> None:
    both = result(width=16, curve=[]), result(width=64, curve=[])
    assert not {"learning", "through-error"} & set(drawn(one_section(*both)))


def test_the_lead_is_what_the_verdict_says(section: Section) -> None:
    chart = drawn(section)["lead"]
    assert chart.title == "The winner's lead is outside the seeds' spread at 3 of 4 file sizes"
    assert chart.series[0].y == ["1 kB: width 256\nover width 64"]
    assert chart.series[0].x == [pytest.approx(4.9)]


def test_the_ledger_adds_up(section: Section) -> None:
    chart = drawn(section)["ledger-flops"]
    assert [s.label for s in chart.series] == ["dense", "prune", "share"]
    assert [sum(s.x[i] for s in chart.series) for i in range(3)] == [pytest.approx(1e9)] * 3
    assert chart.title == "Every run spent 1e9 training FLOPs"


def test_the_ledger_shows_precision_and_what_steps_were_wasted() -> None:
    half = {"config.trainer.precision": "16-mixed"}
    half |= {"compute.skipped_steps": 3, "compute.wasted_flops": 4e6, "compute.reused": 1e8}
    costs = ledger(one_section(result(), result(**half), result(seed=1, **half)))
    columns, rows = ledger_cells(costs)
    table = [dict(zip(columns, row, strict=True)) for row in rows]
    assert [(row["precision"], row["runs"]) for row in table] == [
        ("16-mixed", "2"),
        ("32-true", "1"),
    ]
    assert table[0]["steps skipped"] == "3"
    assert table[0]["FLOPs wasted on them"] == "4e6"
    assert table[0]["of these reused"] == "1e8"
    assert table[1]["steps skipped"] == ""
    assert table[0]["seconds per 1e12 FLOPs"] == "2,500"


def test_every_figure_is_valid_and_every_colour_known(section: Section) -> None:
    for chart in drawn(section).values():
        made = figure(chart)
        for theme in THEMES:
            painted = repaint(made, theme)
            go.Figure(painted)
            assert not list(names(painted))


def repaint(node: Any, theme: str) -> Any:
    if isinstance(node, dict):
        return {k: repaint(v, theme) for k, v in node.items()}
    if isinstance(node, list):
        return [repaint(v, theme) for v in node]
    return colour(node, theme) if isinstance(node, str) and node.startswith("@") else node


def test_every_chart_becomes_a_picture(section: Section, tmp_path: Path) -> None:
    for chart in drawn(section).values():
        path = tmp_path / f"{chart.name}.png"
        png.draw(chart, path)
        with Image.open(path) as image:
            assert image.width > 900
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 10


def test_names_with_markup_and_formulas_are_drawn_as_they_are(tmp_path: Path) -> None:
    made = result(**{"config.model._target_": "a.<b>$x_{$</b>"})
    chart = drawn(one_section(made))["size"]
    png.draw(chart, tmp_path / "a.png")
    drawn_names = [trace.get("name") for trace in figure(chart)["data"]]
    assert "&lt;b&gt;$x_{$&lt;/b&gt;" in drawn_names


def test_very_many_lines_share_a_legend() -> None:
    runs = [
        result(width=w, **{"config.task.lr": lr / 1000}) for w in (16, 64) for lr in range(1, 31)
    ]
    made = one_section(*runs)
    chart = drawn(made)["size"]
    labels = [s.label for s in chart.series if s.kind == "line" and s.label]
    assert labels == ["1,482 parameters", "8,970 parameters"]
    assert len(ledger(made)) == 2


@settings(deadline=None)
@given(st.floats(1e-6, 1e15), st.floats(1.0, 1e9))
def test_ticks_of_a_logarithmic_axis(low: float, factor: float) -> None:
    high = low * factor
    ticks = log_ticks(low, high)
    assert ticks == sorted(set(ticks))
    assert 1 <= len(ticks) <= 8
    assert all(0.94 * low <= tick <= 1.06 * high for tick in ticks)


@settings(deadline=None)
@given(st.floats(1e-6, 1e15))
def test_ticks_of_a_linear_axis(high: float) -> None:
    ticks = linear_ticks(high)
    assert ticks[0] == 0.0
    assert 2 <= len(ticks) <= 7
    assert high / 2 < ticks[-1] <= high * (1 + 1e-9)


def test_ranges_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot span 0 to 1"):
        log_ticks(0, 1)
    with pytest.raises(ValueError, match="cannot end at 0"):
        linear_ticks(0)


NUMBERS = st.sampled_from([0, 0.0, -1, 1e-300, 1e300, 3, 0.5, 2**62])
PLACES = ["compressed.metrics.test/error", "dense.metrics.test/error", "compute.flops",
          "compute.seconds", "compute.reused", "compute.by_phase.dense.flops", "dense.params",
          "compressed.bytes", "config.compression.bytes", "config.compression.bits",
          "config.compression.prune.begin", "curve"]  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(st.lists(st.dictionaries(st.sampled_from(PLACES), NUMBERS, max_size=4), max_size=4))
def test_whatever_the_figures_are_they_can_be_drawn(changes: list[dict[str, Any]]) -> None:
    runs = []
    for i, change in enumerate([{}, *changes]):
        with contextlib.suppress(UnsoundError):
            made = result(seed=i % 2, width=(16, 256)[i // 2 % 2], **change)
            runs.append(parse(made, Path(f"run{i}"), f"run{i}"))
    found, left_out = sections(runs)
    assert sum(len(s.runs) for s in found) + len(left_out) == len(runs)
    for section in found:
        judged = verdicts(section)
        headline(section, judged)
        run_rows([section])
        comparison_rows([(section, judged)])
        ledger_cells(ledger(section))
        for chart in charts(section, judged):
            go.Figure(repaint(figure(chart), "light"))
