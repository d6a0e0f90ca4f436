"""A report as a run of its own in wandb: tables, pictures and the page as an artifact."""

import os
import re
from collections.abc import Sequence
from typing import Any

from boildown.report.build import Files
from boildown.report.page import Content
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

    tables = {
        "runs": run_rows([part.section for part in content.parts]),
        "comparison": comparison_rows([(p.section, p.verdicts) for p in content.parts]),
    }
    run.log({name: _table(rows) for name, rows in tables.items() if rows})
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
