"""Files that appear whole or not at all."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside `path` to write to; flushed to the disk and given that name at the end.

    After a failure `path` is as it was and nothing is left beside it.

    Args:
        path: of the file; replaced if it exists, with the same permissions. A link stays, and what
            it points to is replaced.

    Raises:
        OSError: if it cannot be written or replaced, or is a device, a pipe or a directory.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no directory {path.parent}")
    mode = _mode(path)
    target = Path(os.path.realpath(path))
    part = target.with_name(f".{target.name[:_NAME_MOST]}.{uuid4().hex}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(mode)  # some writers, such as safetensors, leave 0600
        part.replace(target)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(part), part):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        part.unlink(missing_ok=True)


_NAME_MOST = 40  # characters, up to 160 bytes: file systems allow names of 255 bytes


def _mode(path: Path) -> int:
    """Permissions of the file that replaces `path`: its own, or those of a new file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return 0o666 & ~_umask()
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a directory; give the name of a file")
    if not stat.S_ISREG(mode):
        raise FileExistsError(f"{path} is a device or the like; give the name of a file")
    return stat.S_IMODE(mode)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def replace_file(path: str | os.PathLike[str], pieces: Iterable[bytes | memoryview]) -> int:
    """Write pieces to a file that appears whole or not at all.

    Args:
        path: of the file; replaced if it exists.
        pieces: its content, in order.

    Returns:
        Bytes of the file.

    Raises:
        OSError: if it cannot be written.
    """
    with replacing(path) as part, part.open("xb") as file:
        return sum(file.write(piece) for piece in pieces)
