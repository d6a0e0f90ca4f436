"""boildown.files.lock: one process at a time, however it ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from boildown.files.lock import LockedError, locked

HOLD = """
import sys, time
from pathlib import Path
from boildown.files.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_dies(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        for _ in range(2):  # the refusal changes nothing
            with pytest.raises(LockedError, match=f"in use by process {first.pid} on "):  # noqa: SIM117
                with locked(tmp_path):
                    pass
        first.send_signal(signal.SIGKILL)
    with locked(tmp_path), pytest.raises(LockedError, match="in use by process"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
