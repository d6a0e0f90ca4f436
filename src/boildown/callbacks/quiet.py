"""Silence about what a user can do nothing about, of a Trainer that the user did not make."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MESSAGES = ("LeafSpec", "does not have many workers", "GPU available", "logging interval")
_PACKAGE = Path(__file__).parents[1]


@contextmanager
def quiet(tell: Callable[[str], None] | None = None, *, warn: bool = True) -> Iterator[None]:
    """No word from Lightning while the block runs.

    Args:
        tell: is given what boildown has to say; None: nobody is.
        warn: whether warnings are shown, but for Lightning's on its own affairs.
    """
    lightning = logging.getLogger("lightning.pytorch")
    told = logging.getLogger("lightning.pytorch.utilities.rank_zero")  # of boildown's words too
    levels = lightning.level, told.level

    def hear(record: logging.LogRecord) -> bool:
        if tell is not None and _PACKAGE in Path(record.pathname).parents:
            tell(record.getMessage())
        return False

    lightning.setLevel(logging.ERROR)
    told.setLevel(logging.INFO)
    before, told.filters = told.filters, [hear]
    try:
        with warnings.catch_warnings():
            if not warn:
                warnings.simplefilter("ignore")
            for message in MESSAGES:
                warnings.filterwarnings("ignore", f".*{message}.*")
            yield
    finally:
        told.filters = before
        lightning.setLevel(levels[0])
        told.setLevel(levels[1])
