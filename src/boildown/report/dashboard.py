"""A dashboard on wandb, as code: a workspace and a report that compare the runs of a project.

What no panel of wandb can draw, the Pareto front, `boildown report --wandb` logs.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

NAME = "boildown"
TITLE = "boildown: what size costs"
INSTEAD = "boildown report DIR --out report.html makes a page that needs no server"
_FORBIDDEN = re.compile(r"[/\\#?%:\x00-\x1f]")
_LONGEST = 128


def make(project: str, entity: str | None, metric: str) -> tuple[str, str]:
    """Make the workspace and the report of a project, or bring them up to date.

    Args:
        project: of wandb; made if it is missing.
        entity: the user or team that owns it; None: the user's default.
        metric: that runs are compared by, such as "error" or "bits_per_byte".

    Returns:
        The addresses of the workspace and of the report.

    Raises:
        ValueError: if wandb is offline, refuses or cannot be reached, if its package is missing, or
            the project cannot be called so; says what to do.
    """
    check_project(project, "--project")
    if os.environ.get("WANDB_MODE", "online") in ("offline", "disabled", "dryrun"):
        raise ValueError(
            f"a dashboard is on wandb's server, and WANDB_MODE={os.environ['WANDB_MODE']}; "
            f"{INSTEAD}, or WANDB_MODE=online"
        )
    try:
        reports: Any = import_module("wandb_workspaces.reports.v2")
        workspaces: Any = import_module("wandb_workspaces.workspaces")
    except ImportError as error:
        raise ValueError(
            f"a dashboard needs wandb-workspaces (pip install boildown[dashboard]): {error}"
        ) from error
    import wandb

    with _in_a_line(project):
        api = wandb.Api()
        owner = entity or api.default_entity
        if owner is None:
            raise ValueError("wandb names no user or team; give --entity NAME")
        api.create_project(project, owner)
        workspace: Any = workspaces.Workspace(
            entity=owner,
            project=project,
            name=TITLE,
            sections=_sections(workspaces, reports, metric),
            settings=workspaces.WorkspaceSettings(x_axis="progress", max_runs=50),
        )
        workspace._internal_name = f"nw-{NAME}-v"
        workspace._internal_id = _id_of_view(owner, project)
        workspace.save()
        report = reports.Report(
            project=project,
            entity=owner,
            title=TITLE,
            description="Made by boildown dashboard; made again, it takes the place of this.",
            blocks=_blocks(reports, owner, project, metric),
            width="fluid",
        )
        report.id = next((r.id for r in api.reports(f"{owner}/{project}") if _ours(r)), "")
        report.save()
        return str(workspace.url), str(report.url)


def check_project(project: str, where: str) -> None:
    """Refuse a name that wandb does not take for a project.

    Raises:
        ValueError: naming the characters.
    """
    found = sorted(set(_FORBIDDEN.findall(project)))
    if found:
        raise ValueError(f"{where} {project!r}: wandb allows no {' '.join(map(repr, found))} in it")
    if not project.strip() or len(project) > _LONGEST:
        raise ValueError(f"{where} {project[:40]!r}: give a name of 1 to {_LONGEST} characters")


def _ours(report: Any) -> bool:
    return TITLE in (getattr(report, "title", None), getattr(report, "display_name", None))


def _id_of_view(entity: str, project: str) -> str:
    """The identity of the workspace that an earlier call made; "" if there is none."""
    from wandb_workspaces.workspaces import internal

    try:
        return str(internal.get_view_dict(entity, project, NAME)["id"])
    except ValueError:  # no such view
        return ""


@contextmanager
def _in_a_line(project: str) -> Iterator[None]:
    """Let what wandb raises be an error that says what to do."""
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"--project {project}: {str(error) or type(error).__name__}") from error


def _sections(workspaces: Any, reports: Any, metric: str) -> list[Any]:
    parts = {
        "What size costs": _comparing(reports, metric),
        "Training": _training(reports, metric),
        "Layers": _layers(reports),
        "Differences": [reports.RunComparer(diff_only="split")],
    }
    return [
        workspaces.Section(name=name, panels=panels, is_open=name != "Layers")
        for name, panels in parts.items()
    ]


def _blocks(reports: Any, entity: str, project: str, metric: str) -> list[Any]:
    runs = reports.Runset(entity=entity, project=project, name="runs")
    found = []
    for title, panels in (
        ("What size costs", _comparing(reports, metric)),
        ("Over the budget", _training(reports, metric)),
        ("Layer by layer", _layers(reports)),
    ):
        grid = reports.PanelGrid(runsets=[runs], panels=panels)
        found.extend([reports.H2(text=title), grid])
    return found


def _comparing(reports: Any, metric: str) -> list[Any]:
    after, before = f"compressed/test/{metric}", f"dense/test/{metric}"
    column = reports.ParallelCoordinatesPlotColumn
    return [
        reports.ScatterPlot(
            title=f"{metric} by size",
            x=reports.SummaryMetric("final/bytes"),
            y=reports.SummaryMetric(after),
            log_x=True,
        ),
        reports.ParallelCoordinatesPlot(
            title="which settings go with which result",
            columns=[
                column(metric=reports.Config("seed")),
                column(metric=reports.SummaryMetric("final/ratio"), log=True),
                column(metric=reports.SummaryMetric("final/bytes"), log=True),
                column(metric=reports.SummaryMetric("final/flops"), log=True),
                column(metric=reports.SummaryMetric(before)),
                column(metric=reports.SummaryMetric(after)),
            ],
        ),
        reports.BarPlot(title=f"{metric} of the file", metrics=[reports.SummaryMetric(after)]),
    ]


def _training(reports: Any, metric: str) -> list[Any]:
    names = (f"val/{metric}", "train/loss", "prune/sparsity", "learning_rate")
    return [reports.LinePlot(title=name, x="progress", y=[name]) for name in names]


def _layers(reports: Any) -> list[Any]:
    return [
        reports.LinePlot(title=f"{figure} of each layer", x="progress", metric_regex=f"{figure}/.*")
        for figure in ("sparsity", "distinct", "bits", "rank")
    ]
