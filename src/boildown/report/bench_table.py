"""What a model takes as it is and compiled, as a table."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from boildown.report import words

if TYPE_CHECKING:
    from boildown.runtime.report import Line

WIDTH = 110  # without a terminal


def show(lines: Sequence["Line"], title: str) -> None:
    """Print the table.

    Args:
        lines: of a report; those of one layer in a row.
        title: what was measured, and where.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(caption="milliseconds are medians of calls in turns; bytes are of all batches")
    table.add_column("layer", overflow="fold")
    for column in ("batch", "dense, ms", "compiled, ms", "times faster"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("as", no_wrap=True)
    table.add_column("memory", no_wrap=True)
    before: str | None = ""
    for line in lines:
        first = line.layer != before
        if first:
            table.add_section()
        before = line.layer
        sizes = f"{words.size(line.dense_bytes)} -> {words.size(line.compiled_bytes)}"
        table.add_row(
            Text((line.layer or "all") if first else ""),
            f"{line.batch:,}",
            f"{1e3 * line.dense:.3g}",
            f"{1e3 * line.compiled:.3g}",
            f"{line.times:.2f}",
            line.form,
            sizes if first else "",
        )
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    console.print(Text(title))
    console.print(table)
