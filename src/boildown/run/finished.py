"""Whether a run is finished: everything is there, and of one training."""

import json
from pathlib import Path
from typing import Any

from boildown.files.atomic import replacing
from boildown.files.csv import write_csv
from boildown.files.seal import digest_of

MEASURED = ("dense.safetensors", "model.boil")  # what the evaluation is of


def finished(directory: Path) -> dict[str, Any] | None:
    """The result of a run that is finished; None if there is work left to do, or none was begun.

    A run whose model.boil or dense.safetensors is missing, or is not what was measured, is not
    finished. For what else may be missing see `complete`.
    """
    try:
        result = json.loads((directory / "result.json").read_text(encoding="utf-8"))
        digests = result.get("files")  # the first version has none
        whole = all((directory / name).exists() for name in MEASURED)
        if whole and digests is not None:
            whole = digests == digests_of(directory)
        elif whole:
            whole = result["compressed"]["bytes"] == (directory / "model.boil").stat().st_size
        _metrics(result)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return dict(result) if whole else None


def complete(directory: Path, result: dict[str, Any]) -> None:
    """Make again, from the result of a finished run, what is missing beside it."""
    made = []
    if not (directory / "metrics.csv").exists():
        write_csv(directory / "metrics.csv", result["curve"])
        made.append("metrics.csv")
    metrics = _metrics(result)
    if json.dumps(evaluation_in(directory)) != json.dumps(metrics):  # NaN equals itself there
        write_evaluation(directory, metrics)
        made.append("evaluation.json")
    if not (directory / "result.png").exists():
        from boildown.report.picture import draw

        draw(result, directory / "result.png")
        made.append("result.png")
    if made:
        print(f"{', '.join(made)}: missing, made again from result.json")


def _metrics(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    return {which: dict(result[which]["metrics"]) for which in ("dense", "compressed")}


def digests_of(directory: Path) -> dict[str, str]:
    """SHA-256 of the two files that are measured."""
    return {name: digest_of(directory / name) for name in MEASURED}


def write_evaluation(directory: Path, metrics: dict[str, Any]) -> None:
    """Write evaluation.json: the metrics, and of which files they are."""
    with replacing(directory / "evaluation.json") as part:
        part.write_text(json.dumps(metrics | {"sha256": digests_of(directory)}))


def evaluation_in(directory: Path) -> dict[str, dict[str, float]] | None:
    """The metrics in evaluation.json, if it is of the files that are there; None otherwise."""
    try:
        held = json.loads((directory / "evaluation.json").read_text(encoding="utf-8"))
        digests = held.pop("sha256", None)
        if digests is None or digests == digests_of(directory):
            return dict(held)
    except (OSError, ValueError, AttributeError):
        pass
    return None
