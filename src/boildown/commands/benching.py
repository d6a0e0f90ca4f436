"""The command bench: a file's model as it is and compiled, timed on this machine."""

import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from boildown.commands.opening import opened
from boildown.files.progress import progress
from boildown.forward import evaluating
from boildown.report import bench_plot, bench_table
from boildown.runtime import Report, compile
from boildown.runtime.example import called, resized
from boildown.stopwatch import in_turns


def bench_file(
    path: Path,
    batches: str,
    config: Path | None,
    allow: Sequence[str],
    shape: tuple[int, ...] | None,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Time a file's model, print the table and draw the picture.

    Args:
        path: of a .boil file, or of a run's directory.
        batches: numbers of samples, between commas.
        config: of the run; None for config.yaml beside the file, or without one for the model that
            the file describes and inputs of normal values.
        allow: what the config may build beside what any may (`boildown.run.allowed`).
        shape: of one sample, where there is no config; None for what the file says.
        out: the picture; None for bench.png beside the file, or none if `as_json`.
        as_json: whether everything is printed as data instead.

    Raises:
        ValueError: for other arguments, a damaged file, or one whose model cannot be built.
        OSError: if a file cannot be read or written.
    """
    sizes = _sizes(batches)
    file = path / "model.boil" if path.is_dir() else path
    if out is None and not as_json:
        out = file.with_name("bench.png")
    if out is not None and (out.suffix != ".png" or out.is_dir()):
        raise ValueError(f"--out {out}: give the picture's file, whose name ends in .png")
    if not file.exists():
        raise ValueError(f"{path}: there is no such run or file")
    model, example = opened(file, config, allow, shape)
    report = _compiled(model, example, sizes)
    title = f"{file.name}: {report.machine}"
    if out is not None:
        bench_plot.draw(report.lines(), out, title)
    exported = _exported(model, example, sizes)
    if as_json:
        print(json.dumps({"file": str(file), **asdict(report), "exported": exported}, indent=2))
        return
    bench_table.show(report.lines(), title)
    _tell(exported)
    print(out)


def _sizes(text: str) -> list[int]:
    sizes = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if min(sizes) < 1:
        raise ValueError(f"--batches {text}: give numbers of at least 1, such as 1,32,256")
    return sizes


def _compiled(model: nn.Module, example: Any, sizes: Sequence[int]) -> Report:
    """What `compile` measured, with a bar where somebody watches."""
    if not sys.stderr.isatty():
        report = compile(model, example, batches=sizes).report
    else:
        with progress("timing", None, in_bytes=False) as tick:

            def turns(*args: Any, **kwargs: Any) -> dict[str, list[float]]:
                tick(1)
                return in_turns(*args, **kwargs)

            report = compile(model, example, batches=sizes, turns=turns).report
    assert isinstance(report, Report)
    return report


def _exported(model: nn.Module, example: Any, sizes: Sequence[int]) -> dict[str, Any]:
    """What the model takes in onnxruntime, in turns with itself: seconds by batch, or why not."""
    try:
        from boildown.exporting.onnx_file import session_of
    except ModuleNotFoundError:
        return {"left_out": "onnxruntime is not there: pip install 'boildown[onnx]'"}
    from boildown.exporting import export

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "model.onnx"
        try:
            made = export(model, path, example)
        except ValueError as error:
            return {"left_out": str(error)}
        run = session_of(path, torch.get_num_threads())
    found: dict[str, Any] = {"bytes": made.bytes, "totals": []}
    with evaluating(model):
        for size in sizes:
            given = resized(example, size)
            ways = {"dense": partial(called, model, given), "exported": partial(run, given)}
            took = in_turns(ways, torch.device("cpu"), at_least=7, at_most=101, seconds=1.0)
            middle = {way: statistics.median(each) for way, each in took.items()}
            found["totals"].append({"batch": size, **middle})
    return found


def _tell(exported: Mapping[str, Any]) -> None:
    if "left_out" in exported:
        print(f"in onnxruntime: {exported['left_out']}")
        return
    print(f"exported to ONNX it takes {exported['bytes']:,} bytes, and in onnxruntime")
    for total in exported["totals"]:
        times = total["dense"] / total["exported"]
        print(
            f"batch {total['batch']}: {1e3 * total['exported']:.3g} ms, {times:.2f} times as fast "
            "as dense here"
        )
