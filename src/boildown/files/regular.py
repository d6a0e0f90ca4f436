"""Opening what must be a file: a pipe without a writer would be waited for without end."""

import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file, opened to read its bytes.

    Raises:
        OSError: if it cannot be read, or is a directory, a pipe or a device.
    """
    check_regular(path)
    return Path(path).open("rb")


def check_regular(path: str | os.PathLike[str]) -> None:
    """Refuse a pipe, a device or the like; a directory is refused by whoever opens it.

    Raises:
        OSError: naming the path and the remedy.
    """
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(
            f"{os.fspath(path)} is a pipe, a device or the like; write it to a file, and give that"
        )
