"""What a model takes as it is and compiled, in one picture: latency and memory, layer by layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

from boildown.files.atomic import replacing
from boildown.report import words
from boildown.report.colours import colour

if TYPE_CHECKING:
    from boildown.runtime.report import Line

MOST = 12  # layers shown, those that take longest


def draw(lines: Sequence["Line"], path: Path, title: str) -> None:
    """Write the picture.

    Args:
        lines: of a report.
        path: of the PNG file; appears whole or not at all.
        title: what was measured, and where.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = _shown(lines)
    shown = [line for line in lines if line.layer in names]
    batches = sorted({line.batch for line in shown})
    with mpl.rc_context({"text.parse_math": False}):  # a layer's name is no formula
        height = 1.8 + 0.19 * len(names) * (len(batches) + 1)
        figure = Figure(figsize=(11.5, max(3.6, height)), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, sharey=True)
        _latency(left, shown, names, batches)
        _memory(right, shown, names)
        labels = [words.shorten(name or "all", 32) for name in names]
        left.set_yticks(np.arange(len(names)), labels)
        left.invert_yaxis()
        figure.suptitle(words.shorten(title, 130), color=colour("@ink", "light"), fontsize=11)
        with replacing(path) as part:
            figure.savefig(part, dpi=130, format="png")


def _shown(lines: Sequence["Line"]) -> list[str | None]:
    """The layers that take longest, in their order, and the whole network."""
    longest: dict[str | None, float] = {}
    for line in lines:
        longest[line.layer] = longest.get(line.layer, 0.0) + line.dense
    most = sorted((name for name in longest if name is not None), key=lambda n: -longest[n])[:MOST]
    return [name for name in longest if name in most or name is None]


def _latency(
    axes: Any, lines: Sequence["Line"], names: Sequence[str | None], batches: Sequence[int]
) -> None:
    thick = 0.8 / len(batches)
    for i, batch in enumerate(batches):
        found = [line for line in lines if line.batch == batch]
        at = [names.index(line.layer) + (i - (len(batches) - 1) / 2) * thick for line in found]
        shade = colour(f"@shade:{i / max(len(batches) - 1, 1)}", "light")
        bars = axes.barh(
            at, [line.times for line in found], 0.9 * thick, color=shade, label=f"batch {batch:,}"
        )
        told = [f"{line.times:.2f} {line.form}" for line in found]
        axes.bar_label(bars, told, padding=3, fontsize=7, color=colour("@ink", "light"))
    axes.axvline(1.0, color=colour("@muted", "light"), linewidth=1.0, linestyle=":")
    axes.set_xlabel("times faster than dense")
    axes.margins(x=0.18)
    _finish(axes)


def _memory(axes: Any, lines: Sequence["Line"], names: Sequence[str | None]) -> None:
    sizes = {line.layer: (line.dense_bytes, line.compiled_bytes) for line in lines}
    for i, (label, name) in enumerate((("dense", "@muted"), ("compiled", "@shade:0.5"))):
        at = [place + (i - 0.5) * 0.4 for place in range(len(names))]
        values = [sizes[name][i] for name in names]
        shade = colour(name, "light")
        bars = axes.barh(at, [v / 1e6 for v in values], 0.36, color=shade, label=label)
        told = [words.size(v) for v in values]
        axes.bar_label(bars, told, padding=3, fontsize=7, color=colour("@ink", "light"))
    axes.set_xlabel("memory of the weights, MB")
    axes.margins(x=0.18)
    _finish(axes)


def _finish(axes: Any) -> None:
    above = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": 6}
    axes.legend(frameon=False, fontsize=8, **above)
    axes.grid(axis="x", color=colour("@grid", "light"), linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=colour("@muted", "light"))
    for side in axes.spines.values():
        side.set_visible(False)
