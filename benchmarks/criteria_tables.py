"""Tables and plots."""

from pathlib import Path


def show(out: Path) -> None: ...
