"""Search the settings of a run: error on validation data against bytes of the file.

`experiment=search`. Each trial is a run in a directory of its own; the study is an SQLite file, so
a search that was killed goes on. Nothing is chosen by the test data.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from omegaconf import DictConfig, ListConfig, OmegaConf

from boildown.files.atomic import replacing
from boildown.files.lock import locked
from boildown.report.metric import headline, number
from boildown.report.words import larger_is_better
from boildown.run.config import check
from boildown.run.errors import ConfigError, expected, one_line, whole
from boildown.run.sweep import duration

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

STUDY = "boildown"


def search(cfg: DictConfig, directory: Path, overrides: Sequence[str]) -> float:
    """Run trials until there are as many as asked, and show what none of them beats.

    `search.space` is written as a sweep on the command line: `choice`, `range` and `interval`, the
    last in `tag(log, ...)` for orders of magnitude. NSGA-II minimises the validation metric after
    compression and the bytes of the file together.

    Args:
        cfg: as composed, with `search`.
        directory: of the search; trials/NUMBER is that of a trial.
        overrides: of the command line, which each trial has too.

    Returns:
        The least validation error of the trials that none beats.

    Raises:
        ConfigError: for a space that is none, or without Optuna.

    Source: Deb et al. 2002, NSGA-II, https://doi.org/10.1109/4235.996017, as Optuna has it
    """
    _check(cfg)
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory):
        try:
            return _searched(_study(cfg, directory), cfg, directory, overrides)
        except SystemExit:  # a trial was stopped
            print(f"the search: the same command with hydra.run.dir={directory}", flush=True)
            raise


def _searched(study: "Study", cfg: DictConfig, directory: Path, overrides: Sequence[str]) -> float:
    began, before = time.monotonic(), len(_done(study))
    _take_up(study)
    while (done := len(_done(study))) < cfg.search.trials:
        trial = study.ask()
        _attempt(study, trial, cfg, directory, overrides)
        ahead = cfg.search.trials - done - 1
        left = (time.monotonic() - began) / (done + 1 - before) * ahead
        print(f"search: {done + 1} of {cfg.search.trials}, about {duration(left)} left", flush=True)
    if not study.best_trials:
        raise ConfigError(f"search: none of {cfg.search.trials} trials ran to its end; see above")
    front = sorted(study.best_trials, key=lambda trial: trial.values[1])
    _present(front, study, directory)
    return float(min(abs(trial.values[0]) for trial in front))


def _attempt(
    study: "Study", trial: "Trial", cfg: DictConfig, directory: Path, overrides: Sequence[str]
) -> None:
    """Run one trial and tell the study; one that cannot be run is told with its reason."""
    from optuna.trial import TrialState

    from boildown.run import run

    given = [f"{key}={value}" for key, value in _proposed(trial, _space(cfg))]
    known = [t for t in _done(study) if t.params == trial.params and t.values]
    if known:  # children may be like their parents; the result would be the same
        for name, value in known[0].user_attrs.items():
            trial.set_user_attr(name, value)
        study.tell(trial, known[0].values)
        return
    place = trial.user_attrs.get("directory") or f"trials/{trial.number:03d}"
    trial.set_user_attr("directory", place)
    print(f"trial {trial.number}: {' '.join(given)}", flush=True)
    try:
        one = compose("config", [*overrides, "search=null", "resume=true", *given])
        check(one, given)
        run(one, directory / place)
        result = json.loads((directory / place / "result.json").read_text(encoding="utf-8"))
        metric, value = _judged(result)
    except Exception as error:
        if not expected(error):
            raise
        print(f"trial {trial.number}: {one_line(error)}", flush=True)
        trial.set_user_attr("error", one_line(error))
        study.tell(trial, state=TrialState.FAIL)
        return
    trial.set_user_attr("metric", metric)
    cost = -value if larger_is_better(metric) else value
    study.tell(trial, [cost, result["compressed"]["bytes"]])


def _judged(result: Mapping[str, Any]) -> tuple[str, float]:
    """The validation metric after compression: of the last validation, name and value."""
    last = next(row for row in reversed(result["curve"]) if headline(row, "val") is not None)
    metric = f"val/{headline(last, 'val')}"
    return metric, float(last[metric])


def _space(cfg: DictConfig) -> dict[str, Any]:
    """Key -> the sweep that Hydra reads of its text.

    Raises:
        ConfigError: naming the entry.
    """
    given = cfg.search.get("space")
    if not isinstance(given, ListConfig) or not given:
        raise ConfigError(
            "search.space must be a list such as ['compression.ratio=interval(10, 80)'], "
            f"got {given!s}"
        )
    space: dict[str, Any] = {}
    for entry in map(str, given):
        try:
            (parsed,) = OverridesParser.create().parse_overrides([entry])
        except Exception as error:
            raise ConfigError(f"search.space: cannot read {entry!r}: {error}") from error
        missing = object()
        if OmegaConf.select(cfg, parsed.key_or_group, default=missing) is missing:
            raise ConfigError(
                f"search.space: {entry}: the config has no key {parsed.key_or_group}; "
                "--cfg job shows those it has"
            )
        if not parsed.is_sweep_override():
            raise ConfigError(
                f"search.space: {entry}: nothing to search; say choice(a, b), range(1, 9) or "
                "interval(0.1, 0.9), in tag(log, ...) for orders of magnitude"
            )
        space[parsed.key_or_group] = parsed
        _check_ends(parsed.value(), entry)
    return space


def _check_ends(values: Any, entry: str) -> None:
    if isinstance(values, IntervalSweep):
        low, high = _ends(values)
        if not low < high or ("log" in values.tags and not low > 0):
            raise ConfigError(
                f"search.space: {entry}: the first end must lie below the second, and above 0 "
                "where it is tagged log"
            )


def _ends(values: IntervalSweep) -> tuple[float, float]:
    assert values.start is not None
    assert values.end is not None
    return float(values.start), float(values.end)


def _proposed(trial: "Trial", space: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each key of the space with the value that this trial tries."""
    for key, parsed in space.items():
        values = parsed.value()
        if isinstance(values, IntervalSweep):
            log = "log" in values.tags
            yield key, trial.suggest_float(key, *_ends(values), log=log)
        else:  # the texts, for a choice may be anything that Hydra can say
            yield key, trial.suggest_categorical(key, list(parsed.sweep_string_iterator()))


def _study(cfg: DictConfig, directory: Path) -> "Study":
    """The study of this directory, begun or gone on with."""
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("search needs Optuna: pip install 'boildown[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{directory.absolute() / 'study.db'}",
        study_name=STUDY,
        directions=["minimize", "minimize"],
        load_if_exists=True,
    )
    # Another seed after each start: the same would propose again what was tried.
    study.sampler = optuna.samplers.NSGAIISampler(
        population_size=cfg.search.population, seed=cfg.seed + len(study.trials)
    )
    return study


def _take_up(study: "Study") -> None:
    """Try again what was running when an earlier process ended, in the same directory."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        study.enqueue_trial(trial.params, user_attrs=trial.user_attrs | {"again": trial.number})


def _done(study: "Study") -> list["FrozenTrial"]:
    """The trials that ended, well or for a reason of their own."""
    return [t for t in study.trials if t.values is not None or "error" in t.user_attrs]


def _check(cfg: DictConfig) -> None:
    whole(cfg.search.trials, "search.trials", 1)
    whole(cfg.search.population, "search.population", 2)
    _space(cfg)


def _present(front: Sequence["FrozenTrial"], study: "Study", directory: Path) -> None:
    """Write and draw the trials, and print what none of them beats."""
    from rich.console import Console
    from rich.table import Table

    from boildown.report.picture import draw_front

    metric = front[0].user_attrs["metric"]
    rows = [
        {
            "trial": trial.number,
            "directory": trial.user_attrs["directory"],
            metric: -trial.values[0] if larger_is_better(metric) else trial.values[0],
            "bytes": int(trial.values[1]),
            "settings": trial.params,
            "front": trial in front,
        }
        for trial in study.trials
        if trial.values is not None
    ]
    with replacing(directory / "search.json") as part:
        part.write_text(json.dumps(rows, indent=1))
    draw_front(rows, metric, directory / "search.png")
    table = Table(title=f"{metric} against bytes: none of {len(rows)} trials beats these")
    for title in ("bytes", metric, "settings", "directory"):
        table.add_column(title, justify="right" if title in ("bytes", metric) else "left")
    for row in sorted((row for row in rows if row["front"]), key=lambda row: row["bytes"]):
        told = " ".join(f"{key}={_short(value)}" for key, value in row["settings"].items())
        table.add_row(f"{row['bytes']:,}", number(metric, row[metric]), told, row["directory"])
    Console().print(table)
    print(f"{directory / 'search.png'}; boildown report {directory} compares the runs")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
