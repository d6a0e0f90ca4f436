"""One run: from a config to a file, proven and reported."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boildown.run.job import run

__all__ = ["run"]


def __getattr__(name: str) -> Any:
    """Import on first use: a config is checked before torch and Lightning are imported."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from boildown.run import job

    return job.run
