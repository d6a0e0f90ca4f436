"""What may be imported without what: a config is checked, a file read, without the slow imports."""

import json
import subprocess
import sys

import pytest

TRAINING = ("lightning", "hydra", "wandb")
LISTS = {  # each in a process of its own, in this order: module -> what must not have come by then
    "command line and report": {
        "boildown": ("torch", "numba", *TRAINING),
        "boildown.cli": ("torch", "numba", *TRAINING),
        "boildown.allocate.knapsack": ("torch", "matplotlib", "rich", *TRAINING),
        "boildown.report.sensitivity_table": ("torch", "matplotlib", "rich", *TRAINING),
        "boildown.report.build": ("torch", "plotly", "matplotlib", *TRAINING),
        "boildown.report.metric": ("torch", "matplotlib", *TRAINING),
        "boildown.report.png": ("torch", *TRAINING),
        "boildown.report.sensitivity_plot": ("torch", "rich", *TRAINING),
        "boildown.report.wandb_run": ("torch", *TRAINING),
        "boildown.report.table": ("torch", *TRAINING),
        "boildown.report.picture": ("torch", *TRAINING),
        "boildown.schedule": ("torch", *TRAINING),
    },
    "configs": {"boildown.run.config": ("torch", "lightning", "wandb")},
    "files and mathematics": {
        "boildown.codec": ("sklearn", "matplotlib", "rich", *TRAINING),
        "boildown.loading": TRAINING,
        "boildown.data.digits": ("sklearn", "PIL", "rich", *TRAINING),
        "boildown.data.mnist": ("sklearn", "PIL", "rich", *TRAINING),
        "boildown.data.imagefolder": ("sklearn", "PIL", "rich", *TRAINING),
        "boildown.data.text": ("sklearn", "PIL", "rich", *TRAINING),
        "boildown.data.mnist1d": ("sklearn", "PIL", "rich", *TRAINING),
        "boildown.lowrank.ranks": ("rich", *TRAINING),
        "boildown.allocate.sensitivity": ("rich", *TRAINING),
        "boildown.prune.masks": TRAINING,
        "boildown.share.kmeans": TRAINING,
        "boildown.allocate.size": TRAINING,
        "boildown.flops": TRAINING,
        "boildown.amp.flushing": TRAINING,
        "boildown.calibrate": TRAINING,
        "boildown.lowrank.prune_ranks": TRAINING,
        "boildown.lowrank.timing": TRAINING,
        "boildown.tasks.width": TRAINING,
        "boildown.runtime": ("matplotlib", "rich", *TRAINING),
        "boildown.models.transformer": TRAINING,
    },
}


@pytest.mark.parametrize("apart", LISTS.values(), ids=LISTS.keys())
def test_imports_stay_apart(apart: dict[str, tuple[str, ...]]) -> None:
    code = (
        "import importlib, json, sys\n"
        f"for name, without in {apart}.items():\n"
        "    importlib.import_module(name)\n"
        "    print(json.dumps([name, [m for m in without if m in sys.modules]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert dict(map(json.loads, done.stdout.splitlines())) == {name: [] for name in apart}


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
