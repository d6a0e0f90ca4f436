"""Whole runs, for the tests: in this process, or from the command line."""

import csv
import io
import json
import logging
import os
import runpy
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from hydra import compose, initialize_config_dir
from hydra.core.singleton import Singleton
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file
from torch import Tensor

from boildown.models.mlp import MLP
from boildown.run import run
from boildown.run.config import accept_plus, check_choices, register_resolvers
from boildown.run.errors import expected, one_line

Once = Callable[[str, Callable[[Path], object]], Path]  # the type of the fixture
ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"


def composed(*overrides: str) -> DictConfig:
    """The config that `train.py` makes of a command line."""
    register_resolvers()
    check_choices(overrides, CONF)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", accept_plus(overrides))


def config_of_a_run(widths: list[int]) -> dict[str, Any]:
    """What config.yaml of a run needs to be built from: an MLP on digits."""
    return {
        "data": {
            "_target_": "boildown.data.digits.Digits",
            "batch_size": 64,
            "eval_batch_size": 100,
            "val_size": 200,
            "seed": 0,
        },
        "model": {"_target_": "boildown.models.mlp.MLP", "widths": widths},
        "task": {
            "_target_": "boildown.tasks.classification.Classification",
            "base_width": None,
            "label_smoothing": 0.0,
            "optimizer": {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1},
        },
        "trainer": {"_target_": "lightning.pytorch.Trainer", "accelerator": "cpu"},
    }


def leave_a_run(directory: Path, widths: list[int]) -> dict[str, Tensor]:
    """Fill a directory as a run leaves it, of a net that was not trained; returns its state."""
    directory.mkdir()
    torch.manual_seed(0)
    state = MLP((1, 8, 8), 10, widths).state_dict()
    save_file(state, directory / "dense.safetensors")
    OmegaConf.save(OmegaConf.create(config_of_a_run(widths)), directory / "config.yaml")
    return state


def choices(group: str) -> list[str]:
    """The files there are in a group of conf/."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def train(directory: Path, *overrides: str, proof: str = "here") -> str:
    """Run a config in this process, without a logger unless one is named; returns what it said.

    Args:
        directory: of the run.
        overrides: as on the command line of `train.py`.
        proof: "here" measures the file in this process too; "process" as a run does, in a new one.
    """
    logger = [] if any(o.startswith("logger") for o in overrides) else ["logger=none"]
    cfg = composed(*logger, *overrides)
    with _alone(), redirect_stdout(io.StringIO()) as said:
        if proof == "process":
            run(cfg, directory)
        else:
            with proved_here():
                run(cfg, directory)
    return said.getvalue()


@contextmanager
def _alone() -> Iterator[None]:
    """Leave this process as it was: runs are made for one of their own."""
    log = logging.getLogger("lightning.pytorch")
    level, environment = log.level, os.environ.copy()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        log.setLevel(level)
        os.environ.clear()
        os.environ.update(environment)


@contextmanager
def proved_here() -> Iterator[None]:
    """Let runs measure their file in this process: the same function, without the start of a new.

    Everything else that is started is started.
    """
    start = subprocess.run

    def run_or_prove(command: Any, *args: Any, **options: Any) -> Any:
        if isinstance(command, str) or list(command[1:3]) != ["-m", "boildown.run.prove"]:
            return start(command, *args, **options)
        from boildown.run import prove

        try:
            with _alone(), mock.patch.object(sys, "argv", list(command[2:])):
                prove.main()
        except Exception as error:
            return subprocess.CompletedProcess(command, 1, "", f"{type(error).__name__}: {error}")
        return subprocess.CompletedProcess(command, 0, "", "")

    with mock.patch.object(subprocess, "run", run_or_prove):
        yield


def refused(error: BaseException, says: Sequence[str]) -> None:
    """Assert that an error is the user's to mend and says these parts on its one line."""
    assert expected(error)
    line = one_line(error)
    assert "\n" not in line
    assert [part for part in says if part not in line] == [], line


class InterruptedHereError(BaseException):  # no failure of a logger, which a run survives
    """A run was stopped on purpose."""


class StopIn(Logger):
    """A logger that stops the run at the second validation of a phase.

    The newest checkpoint is then of the phase's first, so that work is lost and done again, as when
    a run is killed.
    """

    version = 0
    name = "stop"

    def __init__(self, save_dir: str, name: str, phase: str) -> None:
        super().__init__()
        self.directory, self.phase = Path(save_dir), phase

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        pass

    def log_metrics(self, *_: Any, **__: Any) -> None:
        rows = rows_of(self.directory)
        if rows and rows[-1]["phase"] == self.phase:
            raise InterruptedHereError


def stop_in(phase: str, directory: Path, *overrides: str) -> None:
    """Run a config in this process until the middle of a phase."""
    own = ("logger=none", "+logger._target_=runs.StopIn", f"+logger.phase={phase}")
    try:
        train(directory, *overrides, *own)
    except InterruptedHereError:
        assert rows_of(directory)[-1]["phase"] == phase
        assert (directory / "newest.ckpt").exists()
        assert not (directory / "model.boil").exists()
    else:
        raise AssertionError(f"the run had fewer than two validations in {phase}")


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), *arguments]


def call(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """`python train.py`, as a user calls it."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=300, check=False
    )


@dataclass(frozen=True)
class Called:
    """What a command line left: as of `subprocess.run`."""

    returncode: int
    stdout: str
    stderr: str


def call_here(*arguments: str) -> Called:
    """`python train.py` in this process, with Hydra and all, but for the start of another."""
    root, hydra = logging.getLogger(), Singleton.get_state()
    handlers, level = list(root.handlers), root.level
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    try:
        with (
            _alone(),
            proved_here(),
            redirect_stdout(out),
            redirect_stderr(err),
            mock.patch.object(sys, "argv", [str(ROOT / "train.py"), *arguments]),
        ):
            try:
                runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
            except SystemExit as left:
                code = left.code
                if isinstance(code, str):
                    print(code, file=err)
                    code = 1
    finally:
        Singleton.set_state(hydra)
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
    return Called(code or 0, out.getvalue(), err.getvalue())


def result_of(directory: Path) -> dict[str, Any]:
    return dict(json.loads((directory / "result.json").read_text()))


def rows_of(directory: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv, without the time they took."""
    if not (directory / "metrics.csv").exists():
        return []
    with (directory / "metrics.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def kill_in(
    phase: str,
    directory: Path,
    *arguments: str,
    ready: Callable[[Path], bool] = lambda checkpoint: True,
) -> None:
    """Start a run and kill it as soon as it has a checkpoint from a phase that is ready."""
    log = directory.with_suffix(".log")
    own = f"hydra.run.dir={directory}"
    with log.open("w") as out:
        process = subprocess.Popen(command(own, *arguments), stdout=out, stderr=out)
    end = time.monotonic() + 250
    while time.monotonic() < end and process.poll() is None:
        rows = rows_of(directory)
        newest = directory / "newest.ckpt"
        if rows and rows[-1]["phase"] == phase and newest.exists() and ready(newest):
            break
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert rows_of(directory)[-1]["phase"] == phase, log.read_text()
    assert not (directory / "model.boil").exists()
