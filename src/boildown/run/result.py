"""What a run leaves behind: result.json, its picture, its table, what its loggers keep."""

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from boildown import codec
from boildown.allocate.size import DENSE_BYTES
from boildown.callbacks.budget import ComputeBudget
from boildown.files.atomic import replacing
from boildown.report.metric import NEAR, headline
from boildown.run.finished import digests_of
from boildown.run.loggers import close, log_result, places
from boildown.run.recipe import Recipe
from boildown.tasks.width import RULE, rates_of


def make_result(
    directory: Path,
    *,
    cfg: DictConfig,
    name: str,
    params: int,
    recipe: Recipe,
    samples: int | None,
    metrics: Mapping[str, Mapping[str, float]],
    compute: Mapping[str, Any],
    rates: Mapping[str, Any],
    curve: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The content of result.json, of the files that are there.

    Args:
        directory: of the run.
        cfg: of the run; in the result, what the techniques chose by themselves is filled in.
        name: of the run.
        params: of the dense model.
        recipe: of the run, whose techniques add what they have to say.
        samples: in the test set, which bound how finely it measures; None where it does not say.
        metrics: "dense" and "compressed" -> test metrics, measured from the files.
        compute: from `compute_of`.
        rates: from `rates_of_run`.
        curve: rows at the validations.
    """
    file = directory / "model.boil"
    size, report = file.stat().st_size, codec.inspect(file)
    dense_bytes = DENSE_BYTES * params
    added = _added(recipe)
    own = {
        "schema": 1,
        "name": name,
        "seed": cfg.seed,
        "config": _config(cfg, recipe),
        "dense": {"params": params, "bytes": dense_bytes, "metrics": metrics["dense"]},
        "compressed": {
            "bytes": size,
            "metrics": metrics["compressed"],
            "nonzero": sum(t.nonzero for t in report if not t.coder.startswith("tied")),
            "file": file.name,
        },
        "ratio": dense_bytes / size,
        "test_samples": samples,
        "target": target(recipe.asked.ratio if recipe.asked else None, dense_bytes, size),
        "compute": compute,
        "learning_rates": rates,
        "ranks": added["ranks"],
        "layers": _layers(report, added["ranks"]),
        "curve": list(curve),
        "environment": _environment(),
        "files": digests_of(directory),
    }
    return added | own  # a technique takes no key of the run's own


def _added(recipe: Recipe) -> dict[str, Any]:
    """What the techniques have to say; lists under one key are joined."""
    added: dict[str, Any] = {"ranks": []}
    for technique in recipe.techniques.values():
        for key, value in technique.results.items():
            joined = isinstance(value, list) and isinstance(added.get(key, []), list)
            added[key] = [*added.get(key, []), *value] if joined else value
    return added


def _config(cfg: DictConfig, recipe: Recipe) -> Any:
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    for key, settings in recipe.chosen.items():
        config["compression"][key].update(settings)
    return config


def _layers(
    report: Sequence[codec.TensorReport], ranks: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    rank_of = {layer["name"]: layer["rank"] for layer in ranks}
    return [
        {
            "name": t.name,
            "shape": list(t.shape),
            "nonzero": t.nonzero,
            "distinct": t.distinct,
            "rank": _rank(t.name, len(t.shape), rank_of),
            "bits_per_weight": 8 * t.bytes / t.numel if t.numel else 0.0,
            "bytes": t.bytes,
            "coder": t.coder,
        }
        for t in report
    ]


def _environment() -> dict[str, Any]:
    return {
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "python": platform.python_version(),
        "device": _device(),
        "git": _git(),
    }


def target(asked: float | None, dense_bytes: int, size: int) -> dict[str, Any]:
    """The ratio that was asked for, and whether the file has the size that it means, within 10 %.

    >>> target(10.0, 1000, 110), target(10.0, 1000, 111)["met"], target(None, 1000, 5)["met"]
    ({'ratio': 10.0, 'met': True}, False, True)
    """
    met = asked is None or 1.0 / NEAR <= size * asked / dense_bytes <= NEAR
    return {"ratio": asked, "met": met}


def _rank(tensor: str, axes: int, rank_of: Mapping[str, Any]) -> Any:
    """The rank of the layer that a matrix or kernel is a factor of."""
    layer = tensor.rpartition(".")[0].rpartition(".")[0]
    return rank_of.get(layer) if axes > 1 else None


def compute_of(budget: ComputeBudget, reused: int, precision: str) -> dict[str, Any]:
    """The ledger as the result has it."""
    return {
        "flops": budget.flops,
        "flops_credited": budget.flops_credited,  # if weights held at zero cost nothing
        "wasted_flops": budget.wasted_flops,  # of the FLOPs, on steps the loss scaler skipped
        "reused": reused,  # of the FLOPs, what another run spent on the same dense trajectory
        "budget": {budget.unit: budget.total},
        "steps": budget.steps,
        "skipped_steps": budget.skipped_steps,
        "seconds": budget.seconds,
        "seconds_per_tflop": budget.seconds / budget.flops * 1e12 if budget.flops else None,
        "precision": precision,
        "by_phase": budget.by_phase,
    }


def rates_of_run(cfg: DictConfig, trainer: Trainer) -> dict[str, Any]:
    """What each tensor's learning rate was before the schedule, and by which rule."""
    base_width = cfg.task.get("base_width")
    names = list(trainer.lightning_module.named_parameters())
    return {
        "rule": None if base_width is None else RULE,
        "base_width": base_width,
        "width": None if base_width is None else cfg.model.width,
        "groups": [group for o in trainer.optimizers for group in rates_of(o, names)],
    }


def present(result: dict[str, Any], directory: Path, loggers: Sequence[Logger]) -> None:
    """Draw a result, write it, tell the run's loggers, and print it.

    result.json comes last of the files: where it is, the others are.
    """
    from boildown.report.picture import draw
    from boildown.report.table import show

    draw(result, directory / "result.png")
    result["loggers"] = places(loggers)
    with replacing(directory / "result.json") as part:
        part.write_text(json.dumps(result, indent=1))
    (directory / "error.json").unlink(missing_ok=True)  # of an earlier try
    log_result(loggers, result, directory)
    close(loggers)
    show(result, directory)
    found = result["loggers"].get("wandb", {})
    if "url" in found:
        print(f"wandb: {found['url']}")
    elif found:
        place = directory / "wandb" / found["directory"]
        print(f"wandb sync {place}    # uploads the run, if you want it online")


def headline_figure(result: Mapping[str, Any]) -> float:
    """The compressed model's test error, or bits per byte, or first test metric."""
    metrics = result["compressed"]["metrics"]
    return float(metrics.get(f"test/{headline(metrics, 'test')}", float("nan")))


def _device() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _git() -> str | None:
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return done.stdout.strip() or None
