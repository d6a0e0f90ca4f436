"""The closing table of a run, for the terminal."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from boildown.report.metric import number


def show(result: dict[str, Any], directory: Path) -> None:
    """Print what a run cost and gained.

    Args:
        result: the content of its result.json.
        directory: where its files are.
    """
    console = Console()
    table = Table(title=result["name"], title_justify="left")
    for column in ("", "dense", "compressed"):
        table.add_column(column, justify="left" if not column else "right")
    dense, small = result["dense"], result["compressed"]
    for name, value in dense["metrics"].items():
        table.add_row(name, number(name, value), number(name, small["metrics"][name]))
    table.add_row("bytes", f"{dense['bytes']:,}", f"{small['bytes']:,}")
    table.add_row("ratio", "1.0", f"{result['ratio']:.1f}")
    table.add_row("nonzero", f"{dense['params']:,}", f"{small['nonzero']:,}")
    console.print(table)
    costs = Table(title="training cost", title_justify="left")
    for column in ("phase", "steps", "FLOPs", "seconds"):
        costs.add_column(column, justify="left" if column == "phase" else "right")
    for phase, cost in result["compute"]["by_phase"].items():
        costs.add_row(phase, f"{cost['steps']:,}", f"{cost['flops']:.3g}", f"{cost['seconds']:.1f}")
    compute = result["compute"]
    costs.add_row(
        "all", f"{compute['steps']:,}", f"{compute['flops']:.3g}", f"{compute['seconds']:.1f}"
    )
    console.print(costs)
    target = result["target"]
    if not target["met"]:
        console.print(
            f"The file is {result['ratio']:.1f} times smaller, not {target['ratio']:.1f} as asked: "
            "the weights moved after the last cut, or with these bits there is nothing left to "
            "trade; try other compression.bits or a longer budget."
        )
    console.print(f"{directory / 'model.boil'}", highlight=False)
