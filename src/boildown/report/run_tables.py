"""The page's tables of runs, settings, and what was left out."""

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from boildown.report import words
from boildown.report.content import Content
from boildown.report.groups import Section
from boildown.report.html_table import LONG, number_cell, table
from boildown.report.results import LeftOut, Run


def settings_tables(content: Content) -> str:
    """Which settings differ, and which are the same."""
    rows = []
    for setting in content.differing:
        shown = [f"{value} ({count})" for value, count in setting.values[:12]]
        if len(setting.values) > 12:
            shown.append(f"and {len(setting.values) - 12} more")
        also = f" <span class='muted'>also {escape(', '.join(setting.also))}</span>"
        rows.append(
            [
                f"<code>{escape(setting.key)}</code>{also if setting.also else ''}",
                escape(", ".join(shown)),
            ]
        )
    differing = table(
        "Settings that differ, each value with its number of runs", ["key", "values"], rows,
        wide=(0, 1),
    )  # fmt: skip
    if _FEW < len(rows) <= LONG:
        differing = (
            f"<details><summary>Settings that differ: {len(rows)}</summary>{differing}</details>"
        )
    common = table(
        "Settings and environment that are the same in all runs",
        ["key", "value"],
        [[f"<code>{escape(s.key)}</code>", escape(s.values[0][0])] for s in content.common],
        wide=(0, 1),
    )
    if len(content.common) <= LONG:
        common = (
            f"<details><summary>The same in all runs: {len(content.common)} settings</summary>"
            f"{common}</details>"
        )
    none = "" if rows else "<p>No setting differs between the runs.</p>"
    return f"<section><h2>Settings</h2>{differing}{none}{common}{_rates(content)}</section>"


_FEW = 12  # settings that are not folded


def _rates(content: Content) -> str:
    told: dict[tuple[str, str], None] = {}
    for part in content.parts:
        for line in part.section.lines:
            for run in line.runs:
                given = {k: v for k, v in run.learning_rates.items() if v is not None}
                rule = ", ".join(f"{k} = {_rate(v)}" for k, v in given.items())
                if rule:
                    told[line.label, rule] = None
    return table(
        "Learning rates, as the rule gave them to each model",
        ["model", "learning rates"],
        [[escape(label), escape(rule)] for label, rule in told],
        wide=(1,),
    )


def _rate(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def run_table(content: Content, directory: Path | None, places: Mapping[int, int]) -> str:
    """All runs, with a box to filter them.

    Args:
        content: of the page.
        directory: where the page lies, for links; None for none.
        places: id of a run -> its place among those that can be looked into.
    """
    several = len(content.parts) > 1
    rows, marks = [], []
    for part in content.parts:
        for line in part.section.lines:
            for run in line.runs:
                rows.append(_run_row(part.section, line.label, run, directory, several))
                place = places.get(id(run))
                marks.append("" if place is None else f' data-i="{place}"')
    columns = ["run", "name", "model", "seed", "file bytes", "ratio", "size as asked", "test",
               "before compression", "validation", "FLOPs", "time"]  # fmt: skip
    if several:
        columns.insert(2, "section")
    first = columns.index("seed")
    made = table(
        "All runs; a heading sorts",
        columns,
        rows,
        numbers=[i for i in range(first, len(columns)) if columns[i] != "size as asked"],
        sortable=True,
        name="runs",
        marks_of_rows=marks,
    )
    return f'<section><h2>Runs</h2><div id="filter"></div>{made}<div id="look"></div></section>'


def _run_row(
    section: Section, label: str, run: Run, directory: Path | None, several: bool
) -> list[str]:
    metric = section.metric
    validation = run.at_end(f"val/{metric.rpartition('/')[2]}")
    before = run.dense.get(metric)
    place = escape(run.place)
    if directory is not None:
        place = f'<a href="{escape(_link(run.directory, directory))}">{place}</a>'
    row = [
        place,
        escape(run.name),
        escape(label),
        number_cell(run.seed, str(run.seed)),
        number_cell(run.bytes, f"{run.bytes:,}"),
        number_cell(run.ratio, words.ratio(run.ratio)),
        {True: "yes", False: "no", None: ""}[run.met],
        number_cell(run.compressed[metric], words.value(metric, run.compressed[metric])),
        number_cell(before, words.value(metric, before)),
        number_cell(validation, words.value(metric, validation)),
        number_cell(run.flops, words.flops(run.flops)),
        number_cell(run.seconds, words.seconds(run.seconds)),
    ]
    if several:
        row.insert(2, escape(section.title))
    return row


def _link(target: Path, directory: Path) -> str:
    """A relative link to a run's directory, which no name can turn into one of another kind."""
    relative = os.path.relpath(target, directory.resolve())
    return "./" + quote(os.fsencode(relative), safe="/") + "/"


def left_out_table(left_out: Sequence[LeftOut]) -> str:
    """What is not shown, and why."""
    if not left_out:
        return '<section><h2 id="left-out">Left out</h2><p>Nothing.</p></section>'
    made = table(
        "What was found but is not shown",
        ["place", "why"],
        [[f"<code>{escape(item.place)}</code>", escape(item.why)] for item in left_out],
        wide=(0, 1),
    )
    return f'<section><h2 id="left-out">Left out</h2>{made}</section>'
