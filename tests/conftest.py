"""What all tests stand on: one thread for each process, fixed seeds, nothing left behind."""

# ruff: noqa: E402
import os

# Before torch and numba are imported: two test processes on two cores are fastest with a thread
# each, and processes that tests start add up in the same order as they, to the same bits.
for _library in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"

import fcntl
import logging
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import settings

if TYPE_CHECKING:
    from runs import Once

settings.register_profile("fixed", derandomize=True)  # the same examples each time
settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """Each test begins with the same seeds, and leaves no seed, level or filter to the next."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  # what libraries draw from
    random.seed(0)
    log, threads = logging.getLogger("lightning.pytorch"), torch.get_num_threads()
    level, environment = log.level, dict(os.environ)
    with warnings.catch_warnings():
        yield
    log.setLevel(level)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def once(
    tmp_path_factory: pytest.TempPathFactory,
) -> "Once":
    """Fill a directory once for all test processes: those that come second wait for the first."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def filled(name: str, fill: Callable[[Path], object]) -> Path:
        directory = base / "once" / name
        directory.parent.mkdir(exist_ok=True)
        done = directory.with_suffix(".done")
        with directory.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(directory, ignore_errors=True)  # what another began and did not end
                fill(directory)
                done.touch()
        return directory

    return filled
