"""From a real sweep to its report."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

from boildown.cli import main

ROOT = Path(__file__).parents[2]
SWEEP = (
    "-m", "+compression=deep", "logger=none", "budget.flops=2e7", "model=mlp", "model.width=8,32",
    "compression.bytes=900,2000", "seed=0,1", "validations=8",
)  # fmt: skip


def test_a_sweep_and_its_report(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = [sys.executable, str(ROOT / "train.py"), *SWEEP, f"hydra.sweep.dir={runs}"]
    command.append(f"share_dense={tmp_path / 'dense'}")
    subprocess.run(
        command,
        check=True,
        cwd=ROOT,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    out = tmp_path / "report.html"
    assert main(["report", str(runs), "--out", str(out)]) == 0
    results = [json.loads(p.read_text()) for p in sorted(runs.rglob("result.json"))]
    assert len(results) == 8
    with (tmp_path / "report.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted((int(r["bytes"]), float(r["value"])) for r in rows) == sorted(
        (r["compressed"]["bytes"], r["compressed"]["metrics"]["test/error"]) for r in results
    )
    assert {row["model"] for row in rows} == {"width 8", "width 32"}
    with (tmp_path / "report-comparison.csv").open(encoding="utf-8") as file:
        compared = list(csv.DictReader(file))
    assert [row["bytes"] for row in compared] == ["900", "2000"]
    assert {row["chosen_by"] for row in compared} == {"validation"}
    assert float(compared[0]["flops_max_over_min"]) < 1.02
    assert (tmp_path / "report-learning.png").stat().st_size > 10_000
