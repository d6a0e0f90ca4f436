"""The command line of a run: `python train.py +compression=deep`, or `boildown train` anywhere."""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from boildown.files.atomic import replace_file
from boildown.files.lock import LockedError
from boildown.run.config import (
    KEYS,
    accept_plus,
    check,
    check_choices,
    register_resolvers,
    sweep_first,
)
from boildown.run.errors import expected, one_line
from boildown.run.help import help_text
from boildown.run.leading import ended_at_once

INSIDE = Path(__file__).parents[1] / "conf"  # in a wheel
CONF = INSIDE if INSIDE.is_dir() else Path(__file__).parents[3] / "conf"


class SaidError(Exception):
    """A sweep's job failed, and its line is printed: the other jobs go on."""


class Unannounced:
    """Standard error without the line that Hydra puts before a sweep's first failure."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Pass the text on, unless it is that line."""
        if text.startswith("Error executing job with overrides"):
            return len(text)
        return int(self.stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def job(cfg: DictConfig) -> float:
    """Run one config in its own directory; returns the compressed model's test error."""
    directory = Path(HydraConfig.get().runtime.output_dir)
    try:
        check(
            cfg, HydraConfig.get().overrides.task
        )  # a typing error is answered before the slow import
        if cfg.search is not None:
            from boildown.run.search import search

            return search(cfg, directory, HydraConfig.get().overrides.task)
        from boildown.run import run

        return run(cfg, directory)
    except SystemExit:  # the run was stopped, and has said how it goes on
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            where = HydraConfig.get().sweep.dir
            print(f"the sweep: the same command with resume=true hydra.sweep.dir={where}")
        raise
    except Exception as error:
        if not expected(error) or os.environ.get("BOILDOWN_TRACEBACK"):
            raise
        _leave(directory, error)
        if HydraConfig.get().mode == RunMode.RUN:
            sys.exit(f"boildown: {one_line(error)}")
        print(f"boildown: {directory}: {one_line(error)}", file=sys.stderr)
        raise SaidError(one_line(error)) from None


def _leave(directory: Path, error: Exception) -> None:
    """Write error.json, where it can be and is of use."""
    if isinstance(error, LockedError) or (directory / "result.json").exists():
        return  # the directory is another process's, or a run's that is complete
    with contextlib.suppress(OSError):  # a full disk, which may be what it says
        directory.mkdir(parents=True, exist_ok=True)
        replace_file(directory / "error.json", [json.dumps({"error": one_line(error)}).encode()])


@ended_at_once()
def main(called: str = "python train.py") -> None:
    """Run the command line, which is that of the process.

    Args:
        called: what was typed before the settings, for the examples of the help.
    """
    sys.path.append(str(Path.cwd()))  # where one's own modules are
    register_resolvers()
    OmegaConf.register_new_resolver(
        "help", lambda: help_text(CONF, called).replace("$", "$$"), replace=True
    )
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach us; we say them on one line
    for dashed in (word for word in sys.argv[1:] if word.startswith("--") and "=" in word):
        if dashed[2:].split("=")[0].split(".")[0] in KEYS:
            sys.exit(f"boildown: {dashed}: settings have no dashes; write {dashed[2:]}")
    sys.argv[1:] = sweep_first(accept_plus(sys.argv[1:]))
    sweep = not {"-m", "--multirun"}.isdisjoint(sys.argv)
    try:
        with (
            contextlib.redirect_stderr(Unannounced(sys.stderr))
            if sweep
            else contextlib.nullcontext()
        ):
            check_choices(sys.argv[1:], CONF)
            hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(job)()
    except SaidError:
        sys.exit(1)
    except KeyboardInterrupt:  # before a run begins; during one it says so itself
        print("boildown: stopped", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        system = error.__cause__  # of a log that cannot be opened: logging wraps it in a ValueError
        why = system if isinstance(system, OSError) and not expected(error) else error
        if not expected(why) or os.environ.get("BOILDOWN_TRACEBACK"):
            raise
        sys.exit(f"boildown: {one_line(why)}")
