"""What all tests stand on: one thread for each process, fixed seeds, nothing left behind."""

# ruff: noqa: E402
import os

# Before torch and numba are imported: two test processes on two cores are fastest with a thread
# each, and processes that tests start add up in the same order as they, to the same bits.
for _library in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"

import logging
import random
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import settings

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
