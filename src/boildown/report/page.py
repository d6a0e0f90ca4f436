"""The report as one HTML page that needs no network."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from boildown.report import words
from boildown.report.chart import Chart
from boildown.report.colours import THEMES, colour, names
from boildown.report.content import Content as Content
from boildown.report.content import Part
from boildown.report.details import details
from boildown.report.plotly_chart import figure
from boildown.report.run_tables import left_out_table, run_table, settings_tables
from boildown.report.sentences import sentence
from boildown.report.size_tables import cost_table, size_table, winner_table

_SCRIPTS = ("page.js", "details.js")  # one script on the page


def page(content: Content, directory: Path) -> str:
    """The page as a file.

    Args:
        content: what it shows.
        directory: where it will lie; links to runs are relative to it.

    Returns:
        HTML. Nothing in it points outside, and its policy lets no script run but its own two.
    """
    scripts = (plotly(), _script())
    tags = "\n".join(f"<script>{script}</script>" for script in scripts)
    return _document(_body(content, directory), tags, " ".join(map(_hash, scripts)), "'none'")


def live_page(content: Content | None, waiting: str, version: str) -> str:
    """The page as it is served while a sweep runs; it asks for newer ones by itself.

    Args:
        content: what it shows; None while there is nothing.
        waiting: why there is nothing yet.
        version: of the results, which the page compares.

    Returns:
        HTML that takes the plotting library from `plotly.js` beside it, once for all refreshes.
    """
    if content is None:
        note = f'<main id="main"><h1>Size, quality and compute</h1><p>{escape(waiting)}</p></main>'
        empty = _json({"figures": {}, "colours": {}, "details": None})
        body = f'{note}<script type="application/json" id="figures">{empty}</script>'
    else:
        body = _body(content, None)
    script = _script()
    tags = f'<script src="plotly.js"></script>\n<script>{script}</script>'
    body = f'<div id="live" data-version="{escape(version)}"></div>{body}'
    return _document(body, tags, f"'self' {_hash(script)}", "'self'")


def _document(body: str, tags: str, scripts: str, connect: str) -> str:
    policy = (
        f"default-src 'none'; script-src {scripts}; connect-src {connect}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
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
{_asset("page.css")}</style>
</head>
<body>
<a class="skip" href="#main">To the findings</a>
<div id="page">
{body}
</div>
<noscript><p>The charts need JavaScript; all their figures are in the tables.</p></noscript>
{tags}
</body>
</html>
"""


def _body(content: Content, directory: Path | None) -> str:
    """Header, findings, tables, and the data of the charts."""
    figures = {
        f"chart-{i}-{chart.name}": figure(chart)
        for i, part in enumerate(content.parts)
        for chart in part.charts
    }
    used = {*names(figures), *_LOOK}
    palette = {n: {t: colour(n, t) for t in THEMES} for n in sorted(used)}
    alone = len(content.parts) == 1
    judged = [bool(part.verdicts) for part in content.parts]
    before = [
        _header(content),
        *(_part(i, part, alone, any(judged[:i])) for i, part in enumerate(content.parts)),
    ]
    after = [settings_tables(content), left_out_table(content.left_out), "</main>"]
    rest = run_table(content, directory, {}), *before, *after, _json([figures, palette])
    shown, places = details(content, _LETTERS - sum(map(len, rest)))
    data = _json({"figures": figures, "colours": palette, "details": shown})
    return "\n".join(
        [
            *before,
            run_table(content, directory, places),
            *after,
            f'<script type="application/json" id="figures">{data}</script>',
        ]
    )


_LETTERS = 900_000  # of a page beside the plotting library, where its tables leave room
# What the script draws of single runs in.
_LOOK = ("@ink", "@muted", "@grid", "@paper", "@phase:0", "@phase:1")


def _script() -> str:
    return "\n".join(_asset(name) for name in _SCRIPTS)


def _asset(name: str) -> str:
    return (files("boildown.report") / name).read_text(encoding="utf-8")


def plotly() -> str:
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
        _answers(part, alone),
        _verdicts(part),
        f'<div class="duo">{by_name.get("size", "")}<div>{size_table(section)}</div></div>',
        winner_table(section, part.verdicts, explained),
        by_name.get("lead", ""),
        _side_by_side(by_name, ("through-error", "through-sparsity", "through-bytes", "learning")),
        "<h3>What it cost</h3>",
        _side_by_side(by_name, ("ledger-flops", "ledger-seconds")),
        cost_table(section),
        "</section>",
    ]
    return "\n".join(piece for piece in pieces if piece)


def _side_by_side(by_name: Mapping[str, str], wanted: Sequence[str]) -> str:
    found = [by_name[name] for name in wanted if name in by_name]
    return f'<div class="charts">{"".join(found)}</div>' if found else ""


def _answers(part: Part, alone: bool) -> str:
    """What the section answers; what stands on top of a page with one section is not repeated."""
    told = [a for a in part.answers if not (alone and a.text == part.headline.sentence)]
    items = [f"<dt>{escape(a.about)}</dt><dd>{escape(a.text)}</dd>" for a in told]
    return f'<dl class="answers">{"".join(items)}</dl>'


def _verdicts(part: Part) -> str:
    items = []
    for verdict in part.verdicts:
        kind = {"holds": "holds", "does not hold": "not"}.get(verdict.outcome, "open")
        tag = f'<span class="tag">{verdict.outcome}</span>'
        items.append(f'<li class="{kind}">{tag} {escape(sentence(verdict))}</li>')
    return f'<ul class="verdicts">{"".join(items)}</ul>' if items else ""


def _figure(key: str, chart: Chart) -> str:
    label = escape(f"{chart.title}. {chart.caption} The figures are in the tables of this page.")
    return f"""<figure aria-labelledby="{key}-title"><h3 id="{key}-title">{escape(chart.title)}</h3>
<div class="chart" id="{key}" role="img" aria-label="{label}"></div>
<figcaption>{escape(chart.caption)}</figcaption></figure>"""
