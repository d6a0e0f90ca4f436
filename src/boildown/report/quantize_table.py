"""What quantizing a trained network made of its layers, as a table."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from boildown.report.before_after import BeforeAfter

WIDTH = 110  # without a terminal


@dataclass(frozen=True)
class Row:
    """A weight on its grid.

    Attributes:
        name: of the weight.
        weights: how many there are.
        bits: of each, or "ternary".
        input_bits: of what its layer gets; None: as it is.
        error: squared, of its layer's outputs, relative to their variance; None where it cannot be
            had.
        bytes: in the file.
    """

    name: str
    weights: int
    bits: int | str
    input_bits: int | None
    error: float | None
    bytes: int


def show(rows: Sequence[Row], told: Sequence[str], made: BeforeAfter, title: str) -> None:
    """Print the tables, and what is not as it was asked for.

    Args:
        rows: in the order of computation.
        told: lines.
        made: the network and its file.
        title: what was done.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    layers = Table(caption="error: squared, of the layer's outputs on calibration data, / variance")
    layers.add_column("weight", overflow="fold")
    for column in ("weights", "bits", "inputs", "output error", "bytes", "bits each"):
        layers.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        error = "-" if row.error is None else f"{row.error:.3g}"
        inputs = "-" if row.input_bits is None else str(row.input_bits)
        each = f"{8 * row.bytes / row.weights:.2f}"
        layers.add_row(
            Text(row.name), f"{row.weights:,}", str(row.bits), inputs, error, f"{row.bytes:,}", each
        )
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    console.print(Text(title))
    console.print(layers)
    for line in told:
        console.print(Text(line))
    console.print(made.table("quantized"))
