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
    """Refuse what is there but no regular file.

    Raises:
        OSError: if it is a directory, a pipe or a device, or is not there.
    """
    mode = Path(path).stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{os.fspath(path)} is a directory; give the name of a file")
    if not stat.S_ISREG(mode):
        raise OSError(
            f"{os.fspath(path)} is a pipe, a device or the like; write it to a file, and give that"
        )
