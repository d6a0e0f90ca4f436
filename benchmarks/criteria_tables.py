"""The figures of criteria.py in Markdown, and its plots."""

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from criteria_jobs import AT_ONCE, ERRORS_AT, GRADUALLY, METHODS, NETS, SPARSITIES

from boildown.report.chart import Chart, Series, log_axis
from boildown.report.png import draw

Found = dict[tuple[str, str, str, float], list[dict[str, Any]]]  # a job without its seed
TITLES = {"lenet300": "LeNet-300-100", "lenet5": "LeNet-5", "resnet20": "ResNet-20"}
HOW = {"once": "cut at once, not trained", "gradual": "cut gradually"}
ORDER = (*reversed(METHODS), "wanda", "magnitude")  # the best first


def show(out: Path) -> None:
    """Print tables and draw plots of all that a directory holds."""
    found: Found = defaultdict(list)
    for file in sorted(out.glob("*-*-*.json")):
        one = json.loads(file.read_text())
        found[one["net"], one["how"], one["criterion"], one["sparsity"]].append(one)
    for net in NETS:
        dense = found.get((net, "dense", "none", 0.0), [])
        if not dense:
            continue
        print(
            f"\n### {TITLES[net]}\n\ndense: test error {spread(dense, error)} %, {machine(dense)}"
        )
        layers(found.get((net, "errors", "none", 0.0), []))
        for how, names in (("once", AT_ONCE), ("gradual", GRADUALLY)):
            if any(key[:2] == (net, how) for key in found):
                tables(found, net, how, names)
                for what, x in (("compression", compression), ("speed-up", speed_up)):
                    draw(chart(found, net, how, names, what, x), out / f"{net}-{how}-{what}.png")


def error(one: dict[str, Any]) -> float:
    return float(one["test"])


def compression(one: dict[str, Any]) -> float:
    """How many times smaller the file is than the dense values; without files, by values left."""
    if one["bytes"] is not None:
        return float(one["dense_bytes"] / one["bytes"])
    return float(one["weights"] / one["nonzero"])


def speed_up(one: dict[str, Any]) -> float:
    """How many times fewer operations the nonzero weights take, layer by layer."""
    return float(one["dense_flops"] / one["flops"])


def machine(jobs: Sequence[dict[str, Any]]) -> str:
    return f"{jobs[0]['epochs']} epochs, " + ", ".join(sorted({one["device"] for one in jobs}))


def spread(jobs: Sequence[dict[str, Any]], what: Callable[[dict[str, Any]], float]) -> str:
    """Mean and standard deviation over the seeds, and how many of these if not three."""
    values = [what(one) for one in jobs]
    if not values:
        return "-"
    text = f"{statistics.mean(values):.2f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.2f}"
    return text if len(values) == 3 else f"{text} ({len(values)})"


def layers(jobs: Sequence[dict[str, Any]]) -> None:
    """The relative errors of layers' outputs, and in how many the methods are in their order."""
    if not jobs:
        return
    print(f"\nRelative squared error of a layer's outputs, {ERRORS_AT:.0%} of it cut at once:\n")
    print(f"| layer | {' | '.join(ORDER)} |\n|---|{'---|' * len(ORDER)}")
    each = {
        layer: [statistics.mean(one["layers"][m][layer] for one in jobs) for m in ORDER]
        for layer in jobs[0]["layers"]["magnitude"]
    }
    for layer, values in each.items():
        print(f"| {layer} | " + " | ".join(f"{value:.4f}" for value in values) + " |")
    means = [statistics.mean(values) for values in zip(*each.values(), strict=True)]
    print("| mean | " + " | ".join(f"{value:.4f}" for value in means) + " |")
    for one in jobs:
        own = [[one["layers"][m][layer] for m in ORDER] for layer in each]
        right = sum(values == sorted(values) for values in own)
        print(
            f"\nseed {one['seed']}: {right} of {len(own)} layers in the order {' < '.join(ORDER)}"
        )


def tables(found: Found, net: str, how: str, names: Sequence[str]) -> None:
    """Test errors, compression and speed-up: a row for each criterion."""
    for what, value in (
        ("test error in %", error),
        ("times smaller", compression),
        ("theoretical speed-up", speed_up),
    ):
        print(f"\n| {HOW[how]}: {what} | {' | '.join(f'{s:g}' for s in SPARSITIES)} |")
        print(f"|---|{'---|' * len(SPARSITIES)}")
        for name in names:
            cells = [spread(found.get((net, how, name, s), []), value) for s in SPARSITIES]
            print(f"| {name} | {' | '.join(cells)} |")


def chart(
    found: Found,
    net: str,
    how: str,
    names: Sequence[str],
    what: str,
    x: Callable[[dict[str, Any]], float],
) -> Chart:
    """Accuracy against compression or speed-up: a line for each criterion, and dense."""
    dense = found[net, "dense", "none", 0.0]
    lines = [("dense", [dense], None)]
    for i, name in enumerate(names):
        jobs = [found.get((net, how, name, s), []) for s in SPARSITIES]
        lines.append((name, [each for each in jobs if each], i / (len(names) - 1)))
    series, places = [], []
    for i, (name, points, shade) in enumerate(lines):
        if points:
            across = [statistics.mean(map(x, jobs)) for jobs in points]
            accuracy = [[100.0 - error(one) for one in jobs] for jobs in points]
            places += across
            series.append(
                Series(
                    label=name,
                    x=across,
                    y=[statistics.mean(each) for each in accuracy],
                    low=[min(each) for each in accuracy],
                    high=[max(each) for each in accuracy],
                    shade=shade,
                    kind="points" if shade is None else "line",
                    style=i,
                )
            )
    return Chart(
        name=f"{net}-{how}-{what}",
        title=f"{TITLES[net]}, {HOW[how]}",
        caption="means over the seeds, and from the least to the most",
        x_label="times smaller" if what == "compression" else "theoretical speed-up",
        y_label="test accuracy in %",
        series=tuple(series),
        x_log=True,
        x_ticks=log_axis(places, lambda value: f"{value:g}"),
    )
