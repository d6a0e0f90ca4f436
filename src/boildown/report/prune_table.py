"""What pruning a trained network left of its layers, as a table."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from boildown.report.metric import number

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


@dataclass(frozen=True)
class Pruned:
    """A network and its file, before and after.

    Attributes:
        dense: metrics of the network as it was, by their names.
        pruned: those of the file.
        dense_bytes: of the parameters in fp32.
        bytes: of the file.
    """

    dense: Mapping[str, float]
    pruned: Mapping[str, float]
    dense_bytes: int
    bytes: int


def show(rows: Sequence[Row], made: Pruned, title: str) -> None:
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
    figures = Table()
    for column in ("", "dense", "pruned"):
        figures.add_column(column, justify="right" if column else "left")
    for name, value in made.dense.items():
        figures.add_row(name, number(name, value), number(name, made.pruned[name]))
    figures.add_row("bytes", f"{made.dense_bytes:,}", f"{made.bytes:,}")
    figures.add_row("ratio", "1.0", f"{made.dense_bytes / made.bytes:.1f}")
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    console.print(Text(title))
    console.print(layers)
    console.print(figures)
