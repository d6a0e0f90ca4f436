"""A run on wandb: its axes, its final figures, its weights before and after, its files.

What is logged over time is in `boildown.callbacks.observe`. Nothing here needs a network.
"""

import contextlib
import logging
import math
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import WandbLogger
from safetensors import safe_open
from torch import Tensor

from boildown import codec
from boildown.callbacks.observe import AXES
from boildown.report.metric import headline
from boildown.run.wandb_file import complete

COLUMNS = ("name", "shape", "nonzero", "distinct", "rank", "bits_per_weight", "bytes", "coder")
# Of which the summary has the best value beside the last.
LESS_IS_BETTER = ("train/loss", "val/loss", "val/error", "val/bits_per_byte", "val/mse", "val/mae")
MORE_IS_BETTER = ("val/accuracy", "val/r2")
BINS = 64
PATIENCE = 10.0  # seconds for wandb's service to write the end of a run
_OF = ("model", "data")  # whose names an artifact has
MOST_BARS = 5_000_000  # entries of a weight of which a histogram is made; of more, a part


def begin(logger: WandbLogger) -> None:
    """Start the run, with the axes over which its metrics are drawn."""
    if logger._wandb_init.get("anonymous") is None:
        logger._wandb_init.pop("anonymous", None)  # of which wandb warns, None or not
    run: Any = logger.experiment
    if not hasattr(run, "define_metric"):  # of a process that does not lead
        return
    for axis in AXES:
        run.define_metric(axis, hidden=True)
    run.define_metric("*", step_metric="progress", step_sync=True)
    best = dict.fromkeys(LESS_IS_BETTER, "min") | dict.fromkeys(MORE_IS_BETTER, "max")
    for name, which in best.items():
        run.define_metric(name, step_metric="progress", step_sync=True, summary=f"{which},last")


def place(logger: WandbLogger) -> dict[str, str]:
    """Where the run is: what a link to it is made of."""
    run: Any = logger.experiment
    found = {"id": run.id, "name": run.name, "project": run.project, "entity": run.entity}
    found |= {"group": run.group, "directory": Path(run.dir).parent.name}
    if not run.offline:
        found["url"] = run.url
    return {key: str(value) for key, value in found.items() if value}


def final_figures(result: Mapping[str, Any]) -> dict[str, float]:
    """What a run is compared by.

    `final/tradeoff` is one figure for a search over sizes, less being better: 100 times the last
    validation error (or what the task has in its place) + log2 of the file's bytes. A point of
    error weighs as much as twice the bytes. The test set is not to be searched on.
    """
    figures = {
        "final/ratio": result["ratio"],
        "final/bytes": result["compressed"]["bytes"],
        "final/flops": result["compute"]["flops"],
        "final/seconds": result["compute"]["seconds"],
        "final/nonzero": result["compressed"]["nonzero"],
        "baseline/bytes": result["dense"]["bytes"],
        "baseline/params": result["dense"]["params"],
    }
    for which in ("dense", "compressed"):
        for name, value in result[which]["metrics"].items():
            figures[f"{which}/{name}"] = value
    last = result["curve"][-1] if result["curve"] else {}
    metric = headline(last, "val")
    if metric is not None and isinstance(last.get(f"val/{metric}"), float):
        points = 100.0 * last[f"val/{metric}"]
        figures["final/tradeoff"] = points + math.log2(result["compressed"]["bytes"])
    return figures


def log_result(logger: WandbLogger, result: Mapping[str, Any], directory: Path) -> None:
    """Log a result: figures, the table of layers, weights before and after, and the files."""
    import wandb

    run: Any = logger.experiment
    rows = [[_cell(column, layer[column]) for column in COLUMNS] for layer in result["layers"]]
    logged: dict[str, Any] = {"layers": wandb.Table(columns=[*COLUMNS], data=rows)}
    logged["result"] = wandb.Image(str(directory / "result.png"))
    for name, histogram in _histograms(directory):
        logged[name] = wandb.Histogram(np_histogram=histogram)
    run.log({**logged, "progress": 1.0})
    run.config.update({"compression": result["config"]["compression"]}, allow_val_change=True)
    run.summary.update(final_figures(result))
    _log_files(run, result, directory)


def _cell(column: str, value: Any) -> Any:
    if column == "shape":
        return "x".join(map(str, value)) or "scalar"
    return value


def _histograms(directory: Path) -> Iterator[tuple[str, Any]]:
    """Of the nonzero entries of each weight, before and after, over one range of values."""
    dense: dict[str, Tensor] = {}
    with safe_open(directory / "dense.safetensors", framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  # it is no mapping
            dense[name] = file.get_tensor(name)
    compressed = codec.unpack(directory / "model.boil")
    weights = {
        which: {name: _values(tensor) for name, tensor in state.items() if tensor.ndim > 1}
        for which, state in (("dense", dense), ("compressed", compressed))
    }
    for which, entries in weights.items():
        for name, values in entries.items():
            alike = [w[name] for w in weights.values() if name in w and w[name].size]
            if values.size and alike:
                ends = min(float(v.min()) for v in alike), max(float(v.max()) for v in alike)
                yield f"weights_{which}/{name}", np.histogram(values, BINS, range=ends)


def _values(tensor: Tensor) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """The nonzero finite entries, evenly thinned out where there are very many."""
    flat = tensor.detach().flatten()[:: 1 + tensor.numel() // MOST_BARS].float().numpy()
    kept: np.ndarray[Any, np.dtype[np.float32]] = flat[np.isfinite(flat) & (flat != 0)]
    return kept


def _log_files(run: Any, result: Mapping[str, Any], directory: Path) -> None:
    """The files as versions of three artifacts of the project, the small model made of the dense.

    They are not copied: an offline run's directory has to stay where it is until it is uploaded.
    """
    import wandb

    parts = [str(result["config"][key]["_target_"]).rpartition(".")[2].lower() for key in _OF]
    kind = re.sub(r"[^A-Za-z0-9_.-]", "-", "-".join([*parts, run.job_type or "run"]))
    digests = result.get("files", {})
    before = {**result["dense"], "sha256": digests.get("dense.safetensors")}
    dense = wandb.Artifact(f"{kind}-before", type="model", metadata=before)
    dense.add_file(str(directory / "dense.safetensors"), policy="immutable")
    _use(run, dense)
    figures = final_figures(result)
    made_of = {"made_of": dense.name, "made_of_digest": dense.digest}
    packed = wandb.Artifact(
        kind, type="model",
        metadata={**figures, **made_of, "sha256": digests.get("model.boil")},
    )  # fmt: skip
    packed.add_file(str(directory / "model.boil"), policy="immutable")
    aliases = ["latest", f"run-{run.id}"]
    run.log_artifact(packed, aliases=aliases)
    report = wandb.Artifact(f"{kind}-result", type="result", metadata=figures)
    for name in ("result.json", "result.png"):
        report.add_file(str(directory / name), policy="immutable")
    run.log_artifact(report, aliases=aliases)


def _use(run: Any, artifact: Any) -> None:
    """Make an artifact that nobody has logged yet an input of the run.

    `use_artifact` does the same and then waits for the server, so it refuses offline.
    """
    log = getattr(run, "_log_artifact", None)
    if log is None:
        run.log_artifact(artifact)
    else:
        log(artifact, aliases=["latest"], is_user_created=True, use_after_commit=True)


def end(logger: WandbLogger, exit_code: int) -> None:
    """Finish the run.

    Raises:
        OSError: if what it kept is not whole, which wandb itself does not say.
    """
    run: Any = logger.experiment
    directory, offline = Path(run.dir).parent, bool(getattr(run, "offline", False))
    run.finish(exit_code=exit_code)
    for file in directory.glob("run-*.wandb") if offline else ():
        until = time.monotonic() + PATIENCE  # its service may still be writing
        while not complete(file) and time.monotonic() < until:
            time.sleep(0.1)
        if not complete(file):
            raise OSError(f"{file} is cut, as on a full disk: `wandb sync` uploads what is there")


def forget() -> None:
    """Leave a run that has failed, so that neither the end nor another run stumbles over it."""
    with contextlib.suppress(ImportError):
        import wandb

        run: Any = wandb.run
        with contextlib.suppress(Exception):  # else all that is printed would go to it
            run._restore()
        with contextlib.suppress(Exception, SystemExit):
            wandb.teardown()
        wandb.run = None
        log = logging.getLogger("wandb")  # into a file, on what may be a full disk
        for handler in list(log.handlers):
            log.removeHandler(handler)
        log.addHandler(logging.NullHandler())
