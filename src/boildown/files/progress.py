"""A progress bar with the time left, on stderr."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(label: str, total: int | None, *, in_bytes: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs.

    Args:
        label: what is being done.
        total: how much there is to do; None if unknown.
        in_bytes: whether amounts are bytes, or else pieces.

    Yields:
        A function that takes how much more has been done.
    """
    from rich.console import Console  # rich is slow to import
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if in_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)
        yield lambda amount: bar.advance(task, amount)
