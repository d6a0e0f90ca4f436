"""Two processes on the CPU end with the same compressed weights on both ranks."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch


def fit_in_two_processes(directory: Path) -> None:
    directory.mkdir()
    script = Path(__file__).with_name("ddp_fit.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(directory)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_both_ranks_end_with_the_same_weights(precision: str, once: Callable[..., Path]) -> None:
    fitted = once("ddp", fit_in_two_processes)
    one, two = (
        torch.load(fitted / f"{precision}-rank{rank}.pt", weights_only=True) for rank in (0, 1)
    )
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert one.pop("made") == 40
    assert (one.pop("skipped") > 5) == (precision == "fp16")
    weights = [w for w in one.values() if w.ndim > 1]
    zeros, total = sum(int((w == 0).sum()) for w in weights), sum(w.numel() for w in weights)
    assert zeros == round(0.8 * total)
    assert all(len(w[w != 0].unique()) <= 8 for w in weights)


def test_both_ranks_end_on_the_same_grids(once: Callable[..., Path]) -> None:
    fitted = once("ddp", fit_in_two_processes)
    one, two = (torch.load(fitted / f"grids-rank{rank}.pt", weights_only=True) for rank in (0, 1))
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert one["2 inputs"] > 0.0
    assert all(len(row.unique()) <= 256 for w in one.values() if w.ndim > 1 for row in w)
