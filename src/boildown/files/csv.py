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
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
