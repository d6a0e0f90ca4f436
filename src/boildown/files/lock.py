"""A lock on a directory that dies with the process that took it."""

import contextlib
import fcntl
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = ".lock"


class LockedError(OSError):
    """Another process works in the directory."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a directory alone while the block runs.

    The system releases the lock when the process ends, however it ends; the file stays.

    Raises:
        LockedError: if another process holds it, naming the process.
        OSError: if the lock cannot be written.
    """
    path = directory / NAME
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    held = False
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 200, 0).decode(errors="replace").strip() or "another process"
            raise LockedError(
                f"{directory} is in use by {holder}; wait for it to end, stop it, or "
                "take another directory"
            ) from None
        except OSError as error:  # file systems without locks
            warnings.warn(
                f"{directory} cannot be locked ({error.strerror}): see that one process alone "
                "works in it",
                stacklevel=3,
            )
        else:
            held = True
            os.ftruncate(file, 0)
            os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        if held:
            with contextlib.suppress(OSError):
                os.ftruncate(file, 0)
        os.close(file)
