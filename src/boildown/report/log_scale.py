"""Logarithmic axes of pictures, whose ticks are words and no formulas."""

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.ticker import NullLocator


def log_scale(axis: Any, ticks: Sequence[float], text: Callable[[float], str]) -> None:
    """Make an axis logarithmic.

    Args:
        axis: of matplotlib's axes.
        ticks: where it has some, such as those of `boildown.report.ticks.log_ticks`.
        text: of a tick.
    """
    getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
    axis.set_ticks(ticks, [text(tick) for tick in ticks])
    axis.set_minor_locator(NullLocator())
