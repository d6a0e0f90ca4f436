"""What the terminal shows at the end of a run, and of a report."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from boildown.report.content import Content

from boildown.report.metric import number


def show(result: dict[str, Any], directory: Path) -> None:
    """Print what a run cost and gained.

    Args:
        result: the content of its result.json.
        directory: where its files are.
    """
    console = Console()
    console.print(Text(result["name"], style="italic"), soft_wrap=True)
    table = Table()
    for column in ("", "dense", "compressed"):
        table.add_column(column, justify="left" if not column else "right")
    dense, small = result["dense"], result["compressed"]
    for name, value in dense["metrics"].items():
        table.add_row(name, number(name, value), number(name, small["metrics"][name]))
    table.add_row("bytes", f"{dense['bytes']:,}", f"{small['bytes']:,}")
    table.add_row("ratio", "1.0", f"{result['ratio']:.1f}")
    table.add_row("nonzero", f"{dense['params']:,}", f"{small['nonzero']:,}")
    console.print(table)
    compute = result["compute"]
    console.print(Text(_heading(compute), style="italic"), soft_wrap=True)
    costs = Table()
    for column in ("phase", "steps", "FLOPs", "seconds"):
        costs.add_column(column, justify="left" if column == "phase" else "right")
    for phase, cost in result["compute"]["by_phase"].items():
        costs.add_row(phase, f"{cost['steps']:,}", f"{cost['flops']:.3g}", f"{cost['seconds']:.1f}")
    costs.add_row(
        "all", f"{compute['steps']:,}", f"{compute['flops']:.3g}", f"{compute['seconds']:.1f}"
    )
    console.print(costs)
    for line in _remarks(compute):
        console.print(line, highlight=False)
    target = result["target"]
    if not target["met"]:
        console.print(
            f"The file is {result['ratio']:.1f} times smaller, not {target['ratio']:.1f} as asked: "
            "the weights moved after the last cut, or with these bits there is nothing left to "
            "trade; try other compression.bits or a longer budget."
        )
    console.print(Text(str(directory / "model.boil")), soft_wrap=True)


def _heading(compute: dict[str, Any]) -> str:
    """What the costs are of: the precision, and how long its FLOPs took."""
    parts = ["training cost"]
    if compute.get("precision"):
        parts.append(compute["precision"])
    if compute.get("seconds_per_tflop"):
        parts.append(f"{compute['seconds_per_tflop']:.3g} s per 1e12 FLOPs")
    return ", ".join(parts)


def _remarks(compute: dict[str, Any]) -> list[str]:
    """What the table of costs does not show."""
    lines = []
    flops, wasted = compute["flops"], compute.get("wasted_flops", 0)
    if compute.get("skipped_steps"):
        lines.append(
            f"The loss scaler skipped {compute['skipped_steps']:,} steps besides: {wasted:.3g} "
            f"FLOPs wasted, {wasted / flops:.1%} of all."
        )
    if compute.get("flops_credited", flops) < flops:
        lines.append(
            f"{compute['flops_credited']:.3g} FLOPs if weights held at zero cost nothing, which "
            "dense kernels do not offer."
        )
    return lines


def summarise(content: "Content", files: Sequence[Path]) -> None:
    """Print what a report found, and where its files are.

    Args:
        content: of the report.
        files: that were written.
    """
    # here, since it imports scipy, which the table of a run does not need
    from boildown.report.sentences import sentence

    console = Console()
    for part in content.parts:
        table = Table(title=Text(part.section.title), title_justify="left", show_header=False)
        table.add_column(no_wrap=True)
        table.add_column()
        for answer in part.answers:
            table.add_row(answer.about, Text(answer.text))
        for verdict in part.verdicts:
            table.add_row(verdict.outcome, Text(sentence(verdict)))
        console.print(table)
    runs, left = len(content.runs), len(content.left_out)
    console.print(f"{runs:,} run{'s' if runs != 1 else ''}, {left:,} left out", highlight=False)
    for item in content.left_out[:SHOWN]:
        console.print(Text(f"  {item.place}: {item.why}"))
    if left > SHOWN:
        console.print(f"  and {left - SHOWN:,} more, in the report")
    for path in files:
        console.print(Text(str(path)), soft_wrap=True)


SHOWN = 10  # runs that were left out are listed, the rest counted
