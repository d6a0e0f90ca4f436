"""What may be imported without what, each in a process of its own."""

import subprocess
import sys

import pytest

TRAINING = ("lightning", "hydra", "wandb")


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("boildown", ("torch", "numba", *TRAINING)),
        ("boildown.cli", ("torch", "numba", *TRAINING)),
        ("boildown.run.config", ("torch", "lightning", "wandb")),
        ("boildown.codec", TRAINING),
        ("boildown.loading", TRAINING),
        ("boildown.prune.masks", TRAINING),
        ("boildown.share.kmeans", TRAINING),
        ("boildown.schedule", ("torch", *TRAINING)),
        ("boildown.allocate.size", TRAINING),
        ("boildown.flops", TRAINING),
        ("boildown.amp.flushing", TRAINING),
        ("boildown.calibrate.gradients", TRAINING),
        ("boildown.allocate.knapsack", ("torch", *TRAINING)),
        ("boildown.lowrank.prune_ranks", TRAINING),
        ("boildown.lowrank.ranks", TRAINING),
        ("boildown.lowrank.timing", TRAINING),
        ("boildown.tasks.width", TRAINING),
        ("boildown.models.transformer", TRAINING),
        ("boildown.report.picture", ("torch", *TRAINING)),
        ("boildown.report.metric", ("torch", "matplotlib", *TRAINING)),
        ("boildown.report.table", ("torch", *TRAINING)),
        ("boildown.report.build", ("torch", "plotly", "matplotlib", *TRAINING)),
        ("boildown.report.png", ("torch", *TRAINING)),
        ("boildown.report.wandb_run", ("torch", *TRAINING)),
    ],
)
def test_imports_stay_apart(module: str, without: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([m for m in {without} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_machine_code_needs_no_place_on_disk() -> None:
    """As on a read-only system without a home directory, where numba finds no place for it."""
    code = """
import torch
from numba.core import caching
caching.FunctionCache.__init__ = lambda self, function: (_ for _ in ()).throw(
    RuntimeError("cannot cache function: no locator available")
)
from boildown import codec
from boildown.share import segments as cuts
print(len(codec.encode({"weight": torch.eye(3)})) > 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
