"""Rows of figures as a CSV file. Imports neither torch nor Lightning."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from boildown.files.atomic import replacing


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows that need not have the same keys, atomically; columns in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([inert(column) for column in columns])
        writer.writerows([inert(row.get(column, "")) for column in columns] for row in rows)


def inert(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: a text that begins like one gets a quote.

    >>> inert("=1+1"), inert("-0.5"), inert(-0.5), inert("w64")
    ("'=1+1", '-0.5', -0.5, 'w64')
    """
    if not isinstance(cell, str) or not cell.lstrip().startswith(_FORMULAS):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


_FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "|", "%")
