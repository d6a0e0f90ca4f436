"""A progress bar with the time left, on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic

_PATIENCE = 1.0  # seconds


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


@contextmanager
def later_progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar of bytes on a terminal if the block takes longer than a second.

    Args:
        label: what is being done.

    Yields:
        A function that takes how many bytes are done, and how many there are.
    """
    began, shown = monotonic(), 0
    advance: Callable[[int], None] | None = None
    with ExitStack() as bar:

        def tell(done: int, in_all: int) -> None:
            nonlocal advance, shown
            if advance is None:
                if monotonic() - began < _PATIENCE or not sys.stderr.isatty():
                    return
                advance = bar.enter_context(progress(label, in_all, in_bytes=True))
            advance(done - shown)
            shown = done

        yield tell
