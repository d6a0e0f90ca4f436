"""How far a sweep is: a line after each of its runs."""

import time
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepProgress(Callback):
    """Count the runs that are done, and say how long the others will take.

    Works across launchers: it counts the result.json and error.json in the sweep's directory. Runs
    that an earlier start of the same sweep has finished do not enter the estimate.
    """

    def __init__(self) -> None:
        self.total = 0

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        params = config.hydra.sweeper.get("params") or {}
        given = [f"{key!s}={value}" for key, value in params.items()]
        overrides = OverridesParser.create().parse_overrides([*given, *config.hydra.overrides.task])
        self.total = sum(map(len, BasicSweeper.split_arguments(overrides, None)))
        self.began = time.time()
        self.before = self._done(Path(config.hydra.sweep.dir))

    def on_job_end(self, config: DictConfig, job_return: Any, **_: Any) -> None:
        if not self.total:  # no sweep
            return
        done = self._done(Path(config.hydra.sweep.dir))
        now = done - self.before
        left = ""
        if now > 0 and done < self.total:
            seconds = (time.time() - self.began) / now * (self.total - done)
            left = f", about {duration(seconds)} left"
        print(f"sweep: {done} of {self.total} runs done{left}", flush=True)

    def _done(self, directory: Path) -> int:
        results = {path.parent for path in directory.rglob("result.json")}
        errors = {
            path.parent
            for path in directory.rglob("error.json")
            if path.stat().st_mtime >= self.began
        }
        return len(results | errors)


def duration(seconds: float) -> str:
    """Seconds in words of the next larger unit.

    >>> [duration(s) for s in (5, 100, 5400, 10000)]
    ['5 s', '2 min', '90 min', '2.8 h']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds <= 7200 else f"{seconds / 3600:.1f} h"
