"""The report as one HTML page that needs no network."""

import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import quote

from boildown.report import words
from boildown.report.answers import Answer
from boildown.report.chart import Chart
from boildown.report.colours import THEMES, colour, names
from boildown.report.compare import pareto_front, spread
from boildown.report.groups import Section, Setting
from boildown.report.ledger import ledger
from boildown.report.plotly_chart import figure
from boildown.report.results import LeftOut, Run
from boildown.report.sentences import Headline, amount, missed, sentence
from boildown.report.tables import ledger_cells
from boildown.report.verdict import QUARTER, Verdict

LONG = 60  # rows of a table that is folded


@dataclass(frozen=True)
class Part:
    """A section with all that was found out about it."""

    section: Section
    verdicts: Sequence[Verdict]
    headline: Headline
    answers: Sequence[Answer]
    charts: Sequence[Chart]


@dataclass(frozen=True)
class Content:
    """All that a page shows.

    Attributes:
        parts: by section.
        differing: settings that differ between the runs.
        common: settings that are the same in all runs.
        left_out: what is not shown, and why.
        searched: the directories, for people.
    """

    parts: Sequence[Part]
    differing: Sequence[Setting]
    common: Sequence[Setting]
    left_out: Sequence[LeftOut]
    searched: Sequence[str]

    @property
    def runs(self) -> list[Run]:
        """All runs that are shown."""
        return [run for part in self.parts for run in part.section.runs]


def page(content: Content, directory: Path) -> str:
    """The page.

    Args:
        content: what it shows.
        directory: where it will lie; links to runs are relative to it.

    Returns:
        HTML. Nothing in it points outside, and its policy lets no script run but its own two.
    """
    figures = {
        f"chart-{i}-{chart.name}": figure(chart)
        for i, part in enumerate(content.parts)
        for chart in part.charts
    }
    palette = {n: {t: colour(n, t) for t in THEMES} for n in sorted(set(names(figures)))}
    scripts = (_plotly(), _asset("page.js"))
    style = _asset("page.css")
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_hash, scripts))}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    data = _json({"figures": figures, "colours": palette})
    body = "\n".join(
        [
            _header(content),
            *(
                _part(i, part, len(content.parts) == 1, any(p.verdicts for p in content.parts[:i]))
                for i, part in enumerate(content.parts)
            ),
            _settings(content),
            _runs(content, directory),
            _left_out(content.left_out),
        ]
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>boildown report</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#main">To the findings</a>
{body}
<noscript><p>The charts need JavaScript; all their figures are in the tables.</p></noscript>
<script type="application/json" id="figures">{data}</script>
<script>{scripts[0]}</script>
<script>{scripts[1]}</script>
</body>
</html>
"""


def _asset(name: str) -> str:
    return (files("boildown.report") / name).read_text(encoding="utf-8")


def _plotly() -> str:
    """plotly.js without the links in its credits for maps, none of which are drawn here."""
    from plotly.offline import get_plotlyjs

    return re.sub(r'\b(src|href)="https?://[^"]*"', r'\1="#"', str(get_plotlyjs()))


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _json(data: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _header(content: Content) -> str:
    count = len(content.runs)
    where = words.listing([f"<code>{escape(place)}</code>" for place in content.searched])
    told = f"{count:,} run{'s' if count != 1 else ''} from {where}"
    if content.left_out:
        told += f'; <a href="#left-out">{len(content.left_out):,} left out</a>'
    lines = []
    for i, part in enumerate(content.parts):
        title = escape(part.section.title)
        head = escape(part.headline.sentence)
        if len(content.parts) > 1:
            head = f'<a href="#section-{i}">{title}</a>: {head}'
        lines.append(f'<p class="headline">{head}</p>')
    return f"""<header><h1>Size, quality and compute</h1>
<p class="muted">{told}.</p></header>
<main id="main">
{"".join(lines)}"""


def _part(i: int, part: Part, alone: bool, explained: bool) -> str:
    section = part.section
    by_name = {chart.name: _figure(f"chart-{i}-{chart.name}", chart) for chart in part.charts}
    pieces = [
        f'<section aria-labelledby="section-{i}"><h2 id="section-{i}">{escape(section.title)}</h2>',
        _summary(part, alone),
        by_name.get("size", ""),
        _cells(section),
        _comparison(part, explained),
        by_name.get("lead", ""),
        _learning(section, by_name),
        "<h3>What it cost</h3>",
        by_name.get("ledger-flops", ""),
        by_name.get("ledger-seconds", ""),
        _ledger(section),
        "</section>",
    ]
    return "\n".join(piece for piece in pieces if piece)


def _summary(part: Part, alone: bool) -> str:
    items = []
    for verdict in part.verdicts:
        kind = {"holds": "holds", "does not hold": "not"}.get(verdict.outcome, "open")
        tag = f'<span class="tag">{verdict.outcome}</span>'
        items.append(f'<li class="{kind}">{tag} {escape(sentence(verdict))}</li>')
    verdicts = f'<ul class="verdicts">{"".join(items)}</ul>' if items else ""
    head = "" if alone else f"<p><strong>{escape(part.headline.sentence)}</strong></p>"
    return head + verdicts


def _figure(key: str, chart: Chart) -> str:
    label = escape(f"{chart.title}. {chart.caption} The figures are in the tables of this page.")
    return f"""<figure aria-labelledby="{key}-title"><h3 id="{key}-title">{escape(chart.title)}</h3>
<div class="chart" id="{key}" role="img" aria-label="{label}"></div>
<figcaption>{escape(chart.caption)}</figcaption></figure>"""


def _table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    wide: Sequence[int] = (),
    sortable: bool = False,
) -> str:
    """A table of cells that are HTML already; folded if it is long."""
    if not rows:
        return ""
    kinds = ["n" if c in numbers else "words" if c in wide else "" for c in range(len(columns))]
    marks = [f' class="{kind}"' if kind else "" for kind in kinds]
    head = "".join(
        f'<th scope="col"{mark if "n" in mark.split(chr(34)) else ""}>{escape(name)}</th>'
        for mark, name in zip(marks, columns, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            cell if cell.startswith("<td") else f"<td{mark}>{cell}</td>"
            for mark, cell in zip(marks, row, strict=True)
        )
        + "</tr>\n"
        for row in rows
    )
    kind = ' class="sortable"' if sortable else ""
    table = f"""<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">
<table{kind}><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>
<tbody>
{body}</tbody></table></div>"""
    if len(rows) > LONG:
        return f"<details><summary>{escape(caption)}: {len(rows):,} rows</summary>{table}</details>"
    return table


def _number(value: float | None, text: str) -> str:
    """A cell that is sorted by its value."""
    return '<td class="n"></td>' if value is None else f'<td class="n" data-v="{value}">{text}</td>'


def _mean(metric: str, values: Sequence[float]) -> str:
    deviation = spread(values)
    scale = words.scale(metric)
    if deviation is None or deviation == 0.0:
        return escape(words.value(metric, fmean(values)))
    text = words.plus_minus(scale * fmean(values), scale * deviation)
    return f"{text} %" if words.is_fraction(metric) else text


def _cells(section: Section) -> str:
    metric = section.metric
    sign = -1.0 if words.larger_is_better(metric) else 1.0
    cells = [cell for line in section.lines for cell in line.cells]
    cells.sort(key=lambda cell: (cell.bytes, cell.params))
    front = pareto_front([(c.bytes, sign * fmean(c.values(metric))) for c in cells])
    rows = []
    for i, cell in enumerate(cells):
        before = [run.dense[metric] for run in cell.runs if metric in run.dense]
        validation = cell.validation(metric)
        values = cell.values(metric)
        rows.append(
            [
                escape(cell.label),
                _number(cell.params, f"{cell.params:,}"),
                _number(cell.bytes, f"{cell.bytes:,.0f}"),
                _number(cell.ratio, words.ratio(cell.ratio)),
                _number(fmean(values), _mean(metric, values)),
                _number(validation, escape(words.value(metric, validation))),
                _number(fmean(before) if before else None, _mean(metric, before) if before else ""),
                _number(len(cell.runs), str(len(cell.runs))),
                "yes" if i in front else "",
            ]
        )
    name = words.leaf(metric)
    direction = "more" if words.larger_is_better(metric) else "less"
    return _table(
        f"Models by file size: mean over seeds ± one standard deviation ({direction} is better)",
        ["model", "parameters", "file bytes", "ratio", f"test {name}", f"validation {name}",
         f"test {name} before compression", "seeds", "Pareto front"],
        rows,
        numbers=range(1, 8),
        sortable=True,
    )  # fmt: skip


def _comparison(part: Part, explained: bool) -> str:
    metric = part.section.metric
    rows = []
    for verdict in part.verdicts:
        winner, rival, stored = verdict.winner, verdict.rival, verdict.stored
        rows.append(
            [
                _number(verdict.bytes, words.size(verdict.bytes)),
                verdict.outcome,
                escape(f"{winner.label}, {words.ratio(winner.ratio)}"),
                "validation" if verdict.by_validation else "test",
                _number(fmean(winner.values(metric)), _mean(metric, winner.values(metric))),
                escape(f"{rival.label}, {words.ratio(rival.ratio)}")
                + ("" if verdict.rival_is_small else "; over a quarter"),
                _number(fmean(rival.values(metric)), _mean(metric, rival.values(metric))),
                _number(verdict.lead.mean, escape(amount(verdict.lead, metric))),
                _number(verdict.lead.p, _p(verdict.lead.p)),
                _number(verdict.storable, f"{verdict.storable:,.0f} at {verdict.bits:g} bits"),
                escape(
                    "none trained"
                    if stored is None
                    else f"{stored.label}, {words.size(stored.bytes)}"
                    + (" (the winner)" if stored is winner else "")
                ),
                _number(
                    verdict.stored_lead.mean if verdict.stored_lead else None,
                    escape(amount(verdict.stored_lead, metric)) if verdict.stored_lead else "",
                ),
            ]
        )
    name = words.leaf(metric)
    table = _table(
        "The winner at each file size",
        ["file size", "claim", "winner", "chosen by", f"its test {name}", "rival",
         f"its test {name}", "lead ± 95 %", "p", "parameters that fit unpruned",
         "largest such model trained", "lead over it"],
        rows,
        numbers=(0, 4, 6, 7, 8, 9, 11),
    )  # fmt: skip
    late = missed(part.section)
    notes = ""
    if late:
        notes = (
            f"<p>Not compared, for the file is over 10 % too large: {escape('; '.join(late))}.</p>"
        )
    if not rows:
        return notes
    if explained:
        meaning = '<p><a href="#meaning">How this is meant</a></p>'
    else:
        meaning = _asset("verdicts.html").format(times=QUARTER)
    return f"<h3>Which model wins at each file size</h3>\n{table}{notes}\n{meaning}"


def _p(p: float | None) -> str:
    if p is None:
        return ""
    return f"{p:.1g}" if p >= 0.001 else "&lt;0.001"


def _learning(section: Section, by_name: dict[str, str]) -> str:
    drawn = by_name.get("learning")
    if drawn is None:
        return "<p>No run recorded a validation before compression began: no learning curve.</p>"
    return drawn


def _ledger(section: Section) -> str:
    costs = ledger(section)
    columns, rows = ledger_cells(costs)
    table = _table(
        "Cost of a run, mean over the runs of a model",
        columns,
        [[escape(cell) for cell in row] for row in rows],
        numbers=range(2, len(columns)),
    )
    note = (
        "<p class='muted'>Reused: FLOPs of a dense training that another run had done; they are "
        "charged to each run in full."
    )
    if any("wasted_flops" in cost.extras for cost in costs):
        note += " Wasted: FLOPs of steps that the loss scaler skipped; charged too."
    if any("flops_credited" in cost.extras for cost in costs):
        note += " If zeros were free: what a kernel that skips zeros would have spent; not charged."
    return f"{table}{note}</p>"


def _settings(content: Content) -> str:
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
    differing = _table(
        "Settings that differ, each value with its number of runs", ["key", "values"], rows,
        wide=(0, 1),
    )  # fmt: skip
    common = _table(
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


def _rates(content: Content) -> str:
    told: dict[tuple[str, str], None] = {}
    for part in content.parts:
        for line in part.section.lines:
            for run in line.runs:
                rule = ", ".join(f"{k} = {_rate(v)}" for k, v in run.learning_rates.items())
                if rule:
                    told[line.label, rule] = None
    return _table(
        "Learning rates, as the rule gave them to each model",
        ["model", "learning rates"],
        [[escape(label), escape(rule)] for label, rule in told],
        wide=(1,),
    )


def _rate(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _runs(content: Content, directory: Path) -> str:
    rows = []
    for part in content.parts:
        section = part.section
        metric = section.metric
        for line in section.lines:
            for run in line.runs:
                validation = run.at_end(f"val/{metric.rpartition('/')[2]}")
                before = run.dense.get(metric)
                link = escape(_link(run.directory, directory))
                row = [
                    f'<a href="{link}">{escape(run.place)}</a>',
                    escape(run.name),
                    escape(line.label),
                    _number(run.seed, str(run.seed)),
                    _number(run.bytes, f"{run.bytes:,}"),
                    _number(run.ratio, words.ratio(run.ratio)),
                    {True: "yes", False: "no", None: ""}[run.met],
                    _number(run.compressed[metric], words.value(metric, run.compressed[metric])),
                    _number(before, words.value(metric, before)),
                    _number(validation, words.value(metric, validation)),
                    _number(run.flops, words.flops(run.flops)),
                    _number(run.seconds, words.seconds(run.seconds)),
                ]
                if len(content.parts) > 1:
                    row.insert(2, escape(section.title))
                rows.append(row)
    columns = ["run", "name", "model", "seed", "file bytes", "ratio", "size as asked", "test",
               "before compression", "validation", "FLOPs", "time"]  # fmt: skip
    if len(content.parts) > 1:
        columns.insert(2, "section")
    first = columns.index("seed")
    table = _table(
        "All runs; a heading sorts",
        columns,
        rows,
        numbers=[i for i in range(first, len(columns)) if columns[i] != "size as asked"],
        sortable=True,
    )
    return f"<section><h2>Runs</h2>{table}</section>"


def _link(target: Path, directory: Path) -> str:
    """A relative link to a run's directory, which no name can turn into one of another kind."""
    relative = os.path.relpath(target, directory.resolve())
    return "./" + quote(os.fsencode(relative), safe="/") + "/"


def _left_out(left_out: Sequence[LeftOut]) -> str:
    if not left_out:
        return '<section><h2 id="left-out">Left out</h2><p>Nothing.</p></section></main>'
    table = _table(
        "What was found but is not shown",
        ["place", "why"],
        [[f"<code>{escape(item.place)}</code>", escape(item.why)] for item in left_out],
        wide=(0, 1),
    )
    return f'<section><h2 id="left-out">Left out</h2>{table}</section></main>'
