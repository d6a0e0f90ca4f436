"""A report as a run of its own in wandb: tables, pictures and the page as an artifact.

The Pareto fronts are computed here: no panel of wandb finds them.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from boildown.report import words
from boildown.report.build import Files
from boildown.report.compare import pareto_front
from boildown.report.dashboard import check_project
from boildown.report.groups import Section
from boildown.report.page import Content
from boildown.report.results import Run
from boildown.report.tables import Row, comparison_rows, run_rows


def log(content: Content, files: Files, project: str) -> str:
    """Log a report.

    Args:
        content: of the report.
        files: that were written.
        project: in which to log it.

    Returns:
        Where it is: the directory of an offline run, or an address.

    Raises:
        ValueError: if wandb refuses, with its reason; the report's files stay.
    """
    import wandb

    check_project(project, "--wandb")
    mode: Any = os.environ.get("WANDB_MODE", "offline")
    try:
        with wandb.init(
            project=project,
            name=files.page.stem,
            job_type="report",
            dir=str(files.page.parent),
            mode=mode,
        ) as run:
            _send(run, content, files)
            return run.url or str(run.dir).removesuffix("/files")
    except (wandb.Error, OSError, ValueError) as error:
        raise ValueError(f"--wandb {project}: {error}; the report's files are written") from error


def _send(run: Any, content: Content, files: Files) -> None:
    import wandb

    sections = [part.section for part in content.parts]
    server = f"{run.settings.base_url}".replace("//api.", "//")
    runs = [
        row | {"wandb": link(made, server, run.entity)}
        for row, made in zip(run_rows(sections), content.runs, strict=True)
    ]
    tables = {
        "runs": runs,
        "comparison": comparison_rows([(p.section, p.verdicts) for p in content.parts]),
    }
    run.log({name: _table(rows) for name, rows in tables.items() if rows})
    for i, section in enumerate(sections):
        number = f"_{i + 1}" if len(sections) > 1 else ""
        front = front_rows(section, server, run.entity)
        title = f"Pareto front: {section.title}"
        drawn = wandb.plot.line(_table(front), "bytes", section.metric, title=title)
        settings = {"data": [coordinates(section)], "layout": {"height": 430}}
        run.log({f"pareto_front{number}": _table(front), f"pareto_front_drawn{number}": drawn})
        run.log({f"settings{number}": wandb.Plotly(_figure(settings))})
    run.log({path.stem: wandb.Image(str(path)) for path in files.pictures})
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", files.page.stem)  # wandb allows no other characters
    artifact = wandb.Artifact(f"{name}-report", type="report")
    for path in files.all:
        artifact.add_file(str(path))
    run.log_artifact(artifact)
    headlines = [f"{p.section.title}: {p.headline.sentence}" for p in content.parts]
    run.summary.update(
        {
            "runs": len(content.runs),
            "left_out": len(content.left_out),
            "headline": " ".join(headlines),
        }
    )


def front_rows(section: Section, server: str, entity: str | None) -> list[Row]:
    """The runs that no other beats in size and in the metric at once, the smallest file first."""
    sign = -1.0 if words.larger_is_better(section.metric) else 1.0
    runs = section.runs
    on_front = pareto_front([(run.bytes, sign * run.compressed[section.metric]) for run in runs])
    return [
        {
            "bytes": run.bytes,
            section.metric: run.compressed[section.metric],
            "ratio": round(run.ratio, 4),
            "run": run.place,
            "seed": run.seed,
            "wandb": link(run, server, entity),
        }
        for run in (runs[i] for i in on_front)
    ]


def coordinates(section: Section) -> dict[str, Any]:
    """Parallel coordinates of a section's runs: what differs, and what came of it, with ranges."""
    runs = section.runs
    columns: dict[str, list[Any]] = {
        key: [run.config.get(key) for run in runs] for key in _differing(runs)
    }
    columns |= {
        "bytes": [run.bytes for run in runs],
        "ratio": [run.ratio for run in runs],
        "FLOPs": [run.flops for run in runs],
        section.metric: [run.compressed[section.metric] for run in runs],
    }
    dimensions = [
        {"label": label.removeprefix("compression."), "values": values, "range": _range(values)}
        for label, values in columns.items()
    ]
    last = dimensions[-1]["values"]
    line = {"color": last, "colorscale": "Viridis", "showscale": True}
    return {"type": "parcoords", "dimensions": dimensions, "line": line}


def _range(values: Sequence[float]) -> list[float]:
    least, most = min(values), max(values)
    return [least, most] if least < most else [least - 0.5, most + 0.5]


_MOST = 12  # settings that parallel coordinates have room for


def _differing(runs: Sequence[Run]) -> list[str]:
    """The settings that are numbers in all runs and differ between them."""
    keys = dict.fromkeys(key for run in runs for key in run.config)
    found = []
    for key in keys:
        values = [run.config.get(key) for run in runs]
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        if numbers and len(set(values)) > 1:
            found.append(key)
    return found[:_MOST]


def _figure(settings: dict[str, Any]) -> Any:
    import plotly.graph_objects

    return plotly.graph_objects.Figure(settings)


def link(run: Run, server: str, entity: str | None) -> str | None:
    """Where wandb has a run: its address, or that of its directory where no owner is known.

    Args:
        run: whose result says what it is called there; None comes of one that was not logged.
        server: address of wandb's app.
        entity: the owner, where the run itself was offline and knows none.
    """
    try:
        place = json.loads((run.directory / "result.json").read_bytes())["loggers"]["wandb"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    if not isinstance(place, Mapping) or not all(isinstance(v, str) for v in place.values()):
        return None
    owner = place.get("entity") or entity
    if owner and "id" in place and "project" in place:
        parts = (owner, place["project"], "runs", place["id"])
        return "/".join([server, *(quote(part, safe="") for part in parts)])
    directory = place.get("directory", "")
    return f"{run.place}/wandb/{directory}" if directory else None


def _table(rows: Sequence[Row]) -> Any:
    import wandb

    columns = list(dict.fromkeys(key for row in rows for key in row))
    kinds = {c: {type(row.get(c)) for row in rows} - {type(None)} for c in columns}

    def cell(row: Row, column: str) -> Any:
        value = row.get(column)
        mixed = len(kinds[column] - {int, float}) > 0 and len(kinds[column]) > 1
        return str(value) if mixed and value is not None else value

    names: list[str | int] = [*columns]
    return wandb.Table(columns=names, data=[[cell(r, c) for c in columns] for r in rows])
