"""The sensitivity of each layer as a table, in words, and as a CSV file."""

import csv
import math
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from boildown.allocate.amounts import wording
from boildown.files.atomic import replacing
from boildown.files.csv import inert
from boildown.report import words

if TYPE_CHECKING:
    from boildown.allocate.sensitivity import Point

COLUMNS = 8  # levels that the table shows
WIDTH = 160


def by_layer(points: Sequence["Point"]) -> dict[str, list["Point"]]:
    """Each layer's points, in their order: the first is of the unchanged model."""
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(point.layer, []).append(point)
    return found


def harm(points: Sequence["Point"], metric: str) -> float:
    """How much worse a layer makes the metric, averaged over the fraction of its cost that is left.

    The area between the curve and the unchanged model, over fractions from 0 to 1. The curve is
    straight between the points and level below the cheapest, so that layers which were measured at
    different levels can be compared.

    Args:
        points: of one layer, the unchanged model first.
        metric: its name; a score counts the other way round.

    Returns:
        In units of the metric; infinite if a point is not finite.
    """
    base = points[0]
    sign = -1.0 if words.larger_is_better(metric) else 1.0
    worse = [
        (p.cost / base.cost, sign * (p.metrics[metric] - base.metrics[metric])) for p in points
    ]
    curve = sorted(pair for pair in worse if pair[0] <= 1.0)
    if not all(math.isfinite(y) for _, y in curve):
        return math.inf
    curve = [(0.0, curve[0][1]), *curve]
    return sum((x1 - x0) * (y0 + y1) / 2.0 for (x0, y0), (x1, y1) in pairwise(curve))


def show(points: Sequence["Point"], metric: str, title: str) -> None:
    """Print the table, and what it says in words."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    layers = by_layer(points)
    spoken = wording(points[0].technique)
    counts = Counter(p.level for p in points if p.level is not None)
    shown = sorted(level for level, _ in counts.most_common(COLUMNS))
    table = Table(
        caption="harm: how much worse, averaged over the fraction of the layer's cost that is left",
    )
    table.add_column("layer", overflow="fold")
    for column in (spoken.cost_unit, *(f"{level:g}" for level in shown), "harm"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, some in layers.items():
        values = {p.level: _bare(metric, p.metrics[metric]) for p in some}
        cells = [values.get(level, "") for level in shown]
        harmful = _signed(metric, harm(some, metric)).removesuffix(" points")
        table.add_row(Text(name), f"{some[0].cost:,.0f}", *cells, harmful)
    # wide enough for all columns where no terminal sets a width
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    console.print(Text(title))
    console.print(f"{words.axis(metric)}, at each {spoken.level_unit}:", markup=False)
    console.print(table)
    for line in in_words(points, metric):
        console.print(line, highlight=False, markup=False)


def in_words(points: Sequence["Point"], metric: str) -> list[str]:
    """Which layers matter most and least, in a sentence each."""
    layers = by_layer(points)
    base = next(iter(layers.values()))[0].metrics[metric]
    harms = {name: harm(some, metric) for name, some in layers.items()}
    ordered = sorted(layers, key=lambda name: -harms[name])
    count = min(3, max(1, len(ordered) // 2))

    def told(name: str) -> str:
        hardest = min(layers[name][1:], key=lambda p: p.cost)
        assert hardest.level is not None
        return (
            f"{name} ({_signed(metric, harms[name])} on average, "
            f"{words.value(metric, hardest.metrics[metric])} at "
            f"{wording(hardest.technique).said(hardest.level)})"
        )

    unchanged = f"{_name(metric)}, unchanged: {words.value(metric, base)}"
    if len(ordered) == 1:
        return [unchanged, told(ordered[0])]
    most, least = (
        words.listing([told(name) for name in some[:count]]) for some in (ordered, ordered[::-1])
    )
    return [unchanged, f"most sensitive: {most}", f"least sensitive: {least}"]


def write_csv(points: Sequence["Point"], path: Path) -> None:
    """Write all points as a table.

    Args:
        points: of `boildown.allocate.sensitivity.sensitivity`.
        path: of the CSV file; appears whole or not at all.
    """
    metrics, unit = list(points[0].metrics), wording(points[0].technique).cost_unit
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["layer", "technique", "level", "cost", "cost_unit", *map(inert, metrics)])
        for p in points:
            level = "" if p.level is None else f"{p.level:g}"
            row = [inert(p.layer), inert(p.technique), level, f"{p.cost:.12g}", unit]
            writer.writerow([*row, *(p.metrics[name] for name in metrics)])


def _name(metric: str) -> str:
    """A metric's name, without its unit."""
    return words.axis(metric).removesuffix(", %")


def _bare(metric: str, value: float) -> str:
    """A value without its unit."""
    return words.value(metric, value).removesuffix(" %")


def _signed(metric: str, difference: float) -> str:
    """A difference of the metric, with its sign.

    >>> _signed("val/error", 0.0123), _signed("val/loss", -0.5)
    ('+1.23 points', '-0.5000')
    """
    shown = f"{'-' if difference < 0 else '+'}{_bare(metric, abs(difference))}"
    return f"{shown} points" if words.is_fraction(metric) else shown
