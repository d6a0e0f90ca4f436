"""A process that does not lead ends without shutting the interpreter down."""

import os
import subprocess
import sys

import pytest

ABORTS = "import atexit, os, sys\natexit.register(os.abort)\n"  # as gloo does at times
ENDS = "from boildown.run.leading import ended_at_once\nwith ended_at_once():\n    "


def ended(what: str, rank: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", ABORTS + ENDS + what],
        env={**os.environ, "LOCAL_RANK": str(rank)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(75)", 75, ""),
        ("sys.exit('boildown: why')", 1, "boildown: why"),
        ("1 / 0", 1, "ZeroDivisionError"),
    ],
)
def test_another_than_the_leading_process_keeps_its_exit_code(
    what: str, code: int, said: str
) -> None:
    done = ended(f"print('to the end', flush=False); {what}", rank=1)
    assert (done.returncode, done.stdout) == (code, "to the end\n")
    assert said in done.stderr


def test_the_leading_process_shuts_down() -> None:
    assert ended("pass", rank=0).returncode < 0
