"""The command bench: a file's model as it is and compiled, timed on this machine."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from boildown.codec import read_config
from boildown.files.progress import progress
from boildown.forward import inputs_of
from boildown.loading import load
from boildown.report import bench_plot, bench_table
from boildown.runtime import Report, compile
from boildown.stopwatch import in_turns

MOST = 1 << 24  # values of a sample that a file may ask for


def bench_file(
    path: Path,
    batches: str,
    config: Path | None,
    allow: Sequence[str],
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
    model, example = _opened(file, config, allow)
    report = _compiled(model, example, sizes)
    title = f"{file.name}: {report.machine}"
    if out is not None:
        bench_plot.draw(report.lines(), out, title)
    if as_json:
        print(json.dumps({"file": str(file), **asdict(report)}, indent=2))
        return
    bench_table.show(report.lines(), title)
    print(out)


def _sizes(text: str) -> list[int]:
    sizes = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if min(sizes) < 1:
        raise ValueError(f"--batches {text}: give numbers of at least 1, such as 1,32,256")
    return sizes


def _opened(file: Path, config: Path | None, allow: Sequence[str]) -> tuple[nn.Module, Any]:
    """The model, and a batch of its inputs."""
    if config is not None or (file.parent / "config.yaml").is_file():
        from boildown.run.reopen import open_run

        run = open_run(file, config, allow)
        return run.model, inputs_of(next(iter(run.data.val_dataloader())))
    described = read_config(file)
    model = load(file)
    return model, _drawn(model, _shape(described, file))


def _shape(config: Mapping[str, Any] | None, file: Path) -> tuple[int, ...]:
    """Of a sample, as the model's description has it."""
    while config is not None and isinstance(config.get("model"), Mapping):
        config = config["model"]
    shape = (config or {}).get("input_shape")
    if not isinstance(shape, list | tuple) or not all(isinstance(n, int) for n in shape):
        raise ValueError(
            f"{file} does not say what its model takes: put the run's config.yaml beside it, or "
            "name it by --config"
        )
    if min(shape, default=0) < 1 or math.prod(shape) > MOST:
        raise ValueError(f"{file} describes a model of inputs {tuple(shape)}, which is no sample")
    return tuple(shape)


def _drawn(model: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """One sample: of normal values, or of the first words of a model that looks words up."""
    words = [part.num_embeddings for part in model.modules() if isinstance(part, nn.Embedding)]
    if words:
        return torch.randint(min(words), (1, *shape))
    return torch.randn(1, *shape)


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
