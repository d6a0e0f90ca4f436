"""Tables of the page: cells are HTML already, and sort by their values."""

from collections.abc import Sequence
from html import escape
from statistics import fmean

from boildown.report import words
from boildown.report.compare import spread

LONG = 60  # rows of a table that is folded


def table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    wide: Sequence[int] = (),
    sortable: bool = False,
    name: str = "",
    marks_of_rows: Sequence[str] = (),
) -> str:
    """A table of cells that are HTML already; folded if it is long.

    Args:
        caption: what it shows.
        columns: their names.
        rows: of cells; one that begins like a td is one.
        numbers: columns that are right-aligned.
        wide: columns of running text.
        sortable: whether a click on a heading sorts.
        name: an id; none by default.
        marks_of_rows: an attribute for each row, none by default.
    """
    if not rows:
        return ""
    kinds = ["n" if c in numbers else "words" if c in wide else "" for c in range(len(columns))]
    marks = [f' class="{kind}"' if kind else "" for kind in kinds]
    head = "".join(
        f'<th scope="col"{mark if "n" in mark.split(chr(34)) else ""}>{escape(name)}</th>'
        for mark, name in zip(marks, columns, strict=True)
    )
    body = "".join(
        f"<tr{own}>"
        + "".join(
            cell if cell.startswith("<td") else f"<td{mark}>{cell}</td>"
            for mark, cell in zip(marks, row, strict=True)
        )
        + "</tr>\n"
        for own, row in zip(marks_of_rows or [""] * len(rows), rows, strict=True)
    )
    kind = ' class="sortable"' if sortable else ""
    own_id = f' id="{name}"' if name else ""
    made = f"""<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">
<table{kind}{own_id}><caption>{escape(caption)}</caption>
<thead><tr>{head}</tr></thead>
<tbody>
{body}</tbody></table></div>"""
    if len(rows) > LONG:
        return f"<details><summary>{escape(caption)}: {len(rows):,} rows</summary>{made}</details>"
    return made


def number_cell(value: float | None, text: str) -> str:
    """A cell that is sorted by its value."""
    return '<td class="n"></td>' if value is None else f'<td class="n" data-v="{value}">{text}</td>'


def mean_text(metric: str, values: Sequence[float]) -> str:
    """A mean, and where they vary one standard deviation of the values."""
    deviation = spread(values)
    scale = words.scale(metric)
    if deviation is None or deviation == 0.0:
        return escape(words.value(metric, fmean(values)))
    text = words.plus_minus(scale * fmean(values), scale * deviation)
    return f"{text} %" if words.is_fraction(metric) else text
