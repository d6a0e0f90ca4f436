"""What pruning a trained network left of its layers, as a table."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from boildown.report.before_after import BeforeAfter

WIDTH = 110  # without a terminal


@dataclass(frozen=True)
class Row:
    """A weight that was asked for.

    Attributes:
        name: of the weight.
        weights: how many there are.
        kept: how many are not zero.
        error: relative squared error of its layer's outputs; None where no data reaches it.
    """

    name: str
    weights: int
    kept: int
    error: float | None


def show(rows: Sequence[Row], made: BeforeAfter, title: str) -> None:
    """Print the tables.

    Args:
        rows: in the order of the network.
        made: the network and its file.
        title: what was done.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    layers = Table(
        caption="error: ||y' - y||^2 / ||y||^2 of the layer's outputs on calibration data"
    )
    layers.add_column("weight", overflow="fold")
    for column in ("weights", "kept", "kept, %", "output error"):
        layers.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        part = f"{100 * row.kept / row.weights:.2f}" if row.weights else "-"
        error = "not reached" if row.error is None else f"{row.error:.3g}"
        layers.add_row(Text(row.name), f"{row.weights:,}", f"{row.kept:,}", part, error)
    whole, kept = sum(row.weights for row in rows), sum(row.kept for row in rows)
    layers.add_section()
    layers.add_row("all", f"{whole:,}", f"{kept:,}", f"{100 * kept / whole:.2f}", "")
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    console.print(Text(title))
    console.print(layers)
    console.print(made.table("pruned"))
