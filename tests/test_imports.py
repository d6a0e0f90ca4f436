"""What may be imported without what: a config is checked, a file read, without the slow imports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from boildown import codec

GOLDEN = Path(__file__).parent / "codec" / "golden"
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
    "files": {
        "boildown.codec.report": ("torch", "scipy.linalg", "rich", *TRAINING),
        "boildown.commands.inspecting": ("torch", "scipy.linalg", *TRAINING),
        "boildown.commands.packing": TRAINING,
        "boildown.commands.verifying": TRAINING,
    },
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


def test_a_file_is_inspected_without_torch_and_unpacked_without_training(tmp_path: Path) -> None:
    state = {"w": torch.eye(30), "v": torch.randn(40), "grid": torch.arange(90.0) % 7}
    files = [tmp_path / "model.boil"]
    codec.pack(state, files[0], config={"a": 1})
    files += [p for p in sorted(GOLDEN.rglob("grids.boil")) if p.parent.name != "version2_base"]
    code = (
        "import sys\n"
        "from boildown.cli import main\n"
        "for file in sys.argv[2:]:\n"
        "    assert main(['inspect', file]) == 0\n"
        "seen = [m for m in ('torch', 'scipy.linalg') if m in sys.modules]\n"
        "for i, file in enumerate(sys.argv[2:]):\n"
        "    assert main(['unpack', file, '-o', f'{sys.argv[1]}/{i}.pt']) == 0\n"
        f"print(seen, [m for m in {TRAINING} if m in sys.modules])\n"
    )
    line = [sys.executable, "-c", code, str(tmp_path), *map(str, files)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] []"
