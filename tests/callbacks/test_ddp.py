"""Two processes on the CPU end with the same compressed weights on both ranks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_both_ranks_end_with_the_same_weights(tmp_path: Path, precision: str) -> None:
    script = Path(__file__).with_name("ddp_fit.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(tmp_path), precision],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (torch.load(tmp_path / f"rank{r}.pt", weights_only=True) for r in (0, 1))
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert one.pop("made") == 40
    assert (one.pop("skipped") > 5) == (precision == "fp16")
    weights = [w for w in one.values() if w.ndim > 1]
    zeros, total = sum(int((w == 0).sum()) for w in weights), sum(w.numel() for w in weights)
    assert zeros == round(0.8 * total)
    assert all(len(w[w != 0].unique()) <= 8 for w in weights)
