"""A run in one picture: metric and sparsity over the budget, bytes per layer before and after."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from boildown.files.atomic import replacing
from boildown.report import words
from boildown.report.log_scale import log_scale
from boildown.report.metric import headline, in_words, number, unit
from boildown.report.ticks import log_ticks

INK, COPPER, STEAM, GRID = "#22303c", "#b5541c", "#5b8aa6", "#d9dee2"


def draw(result: dict[str, Any], path: Path) -> None:
    """Write the picture of a result.

    Args:
        result: the content of a result.json.
        path: of the PNG file.
    """
    with mpl.rc_context({"text.parse_math": False}):  # a $ in a name starts no formula
        _draw(result, path)


def _draw(result: dict[str, Any], path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(3, 2))
    _curve(left, result)
    _layers(right, result["layers"])
    dense, small = result["dense"], result["compressed"]
    metric = headline(dense["metrics"], "test")
    title = f"{result['name']}: {dense['bytes']:,} -> {small['bytes']:,} bytes"
    title += f" ({result['ratio']:.1f}x)"
    if metric is not None:
        before, after = (number(metric, p["metrics"][f"test/{metric}"]) for p in (dense, small))
        title += f", test {in_words(metric)} {before} -> {after}"
    figure.suptitle(title, color=INK, fontsize=11)
    figure.tight_layout()
    with replacing(path) as part:
        figure.savefig(part, dpi=110, format="png")
    plt.close(figure)


def draw_front(rows: Sequence[Mapping[str, Any]], metric: str, path: Path) -> None:
    """Write the picture of a search: each trial, and the line of those that none beats.

    Args:
        rows: trials with `bytes`, the metric by its name, and whether they are on the `front`.
        metric: such as "val/error".
        path: of the PNG file.
    """
    factor, sign = unit(metric)
    figure, axes = plt.subplots(figsize=(7, 4.2))
    front = sorted((row for row in rows if row["front"]), key=lambda row: row["bytes"])
    beaten = [row for row in rows if not row["front"]]
    for group, colour, line in ((beaten, STEAM, ""), (front, COPPER, "-")):
        axes.plot(
            [row["bytes"] for row in group],
            [factor * row[metric] for row in group],
            marker="o",
            markersize=4,
            drawstyle="steps-post",
            color=colour,
            linestyle=line,
        )
    _logarithmic(axes.xaxis, [row["bytes"] for row in rows], words.size)
    axes.set_xlabel("bytes of the file")
    stage, _, name = metric.rpartition("/")
    axes.set_ylabel(f"{'validation' if stage == 'val' else stage} {in_words(name)}{sign}")
    axes.grid(color=GRID, linewidth=0.6)
    figure.tight_layout()
    with replacing(path) as part:
        figure.savefig(part, dpi=110, format="png")
    plt.close(figure)


def _curve(axes: Any, result: dict[str, Any]) -> None:
    metric = headline(dict.fromkeys(key for row in result["curve"] for key in row), "val") or "loss"
    factor, sign = unit(metric)
    rows = [row for row in result["curve"] if f"val/{metric}" in row]
    axes.plot(
        [row["progress"] for row in rows],
        [factor * row[f"val/{metric}"] for row in rows],
        color=INK,
        marker="o",
        markersize=3,
        label=f"validation {in_words(metric)}",
    )
    _logarithmic(axes.yaxis, [factor * row[f"val/{metric}"] for row in rows], "{:g}".format)
    axes.set_xlabel("fraction of the budget")
    axes.set_ylabel(f"validation {in_words(metric)}{sign}")
    axes.grid(color=GRID, linewidth=0.6)
    cut = [row for row in rows if "prune/sparsity" in row]
    if cut:
        other = axes.twinx()
        other.plot(
            [row["progress"] for row in cut],
            [100 * row["prune/sparsity"] for row in cut],
            color=COPPER,
            linestyle="--",
            label="sparsity",
        )
        other.set_ylabel("weights that are zero, %", color=COPPER)
        other.set_ylim(0, 102)
    phases = result["config"].get("compression") or {}
    for name, node in phases.items():
        if isinstance(node, dict) and "begin" in node:
            axes.axvline(node["begin"], color=STEAM, linewidth=0.8)
            axes.text(node["begin"], 1.01, name, color=STEAM, transform=axes.get_xaxis_transform())


def _layers(axes: Any, layers: list[dict[str, Any]]) -> None:
    layers = [layer for layer in layers if not layer["coder"].startswith("tied")]
    numel = {layer["name"]: _product(layer["shape"]) for layer in layers}
    largest = sorted(layers, key=lambda layer: -numel[layer["name"]])[:12]
    shown = [layer for layer in layers if layer in largest][::-1]
    names = [layer["name"] for layer in shown]
    dense, packed = [4 * numel[name] for name in names], [layer["bytes"] for layer in shown]
    axes.barh(names, dense, color=GRID, label="dense fp32")
    axes.barh(names, packed, color=COPPER, height=0.5, label="file")
    _logarithmic(axes.xaxis, [*dense, *packed], words.size, most=5)
    axes.legend(loc="lower right", frameon=False, fontsize=8)


def _logarithmic(
    axis: Any, values: Sequence[float], text: Callable[[float], str], most: int = 8
) -> None:
    """Make an axis logarithmic, if there is anything positive on it."""
    positive = [value for value in values if value > 0.0]
    if positive:
        log_scale(axis, log_ticks(min(positive), max(positive), most), text)


def _product(shape: list[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
