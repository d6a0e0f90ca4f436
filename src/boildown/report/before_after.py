"""What a network and its file were and have become, as a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boildown.report.metric import number

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class BeforeAfter:
    """A network and its file, before and after.

    Attributes:
        before: metrics of the network as it was, by their names.
        after: those of the file.
        dense_bytes: of the parameters in fp32.
        bytes: of the file.
    """

    before: Mapping[str, float]
    after: Mapping[str, float]
    dense_bytes: int
    bytes: int

    def table(self, done: str) -> "Table":
        """The figures.

        Args:
            done: what was done, for the head of the second column.
        """
        from rich.table import Table

        figures = Table()
        for column in ("", "dense", done):
            figures.add_column(column, justify="right" if column else "left")
        for name, value in self.before.items():
            figures.add_row(name, number(name, value), number(name, self.after[name]))
        figures.add_row("bytes", f"{self.dense_bytes:,}", f"{self.bytes:,}")
        figures.add_row("ratio", "1.0", f"{self.dense_bytes / self.bytes:.1f}")
        return figures
