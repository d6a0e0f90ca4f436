"""Files that appear whole or not at all."""

import contextlib
import os
import re
import shutil
import socket
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
    part = part_beside(target)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(mode)  # some writers, such as safetensors, leave 0600
        appear(part, target)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(part), part):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):  # a file system that cannot be written to
            part.unlink(missing_ok=True)


@contextmanager
def new_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A directory to write into, which is given the name `path` at the end.

    After a failure nothing is left of it.

    Args:
        path: of the directory; may be there if it is empty.

    Raises:
        OSError: if it cannot be made, or `path` is taken.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no directory {path.parent}")
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        what = "holds files already" if path.is_dir() else "is a file"
        raise FileExistsError(f"{path} {what}; name a new directory")
    target = Path(os.path.realpath(path))
    part = part_beside(target)
    try:
        part.mkdir()
        yield part
        appear(part, target)
    except OSError as error:
        if error.errno is None or str(part) not in str(error):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


_NAME_MOST = 30  # characters, up to 120 bytes: file systems allow names of 255 bytes
_PART = re.compile(
    r"newest\.ckpt\.part|\..*\.(?:(?P<host>[^.]*)-(?P<pid>\d+)-)?[0-9a-f]{32}\.part", re.DOTALL
)


def appear(part: Path, target: Path) -> None:
    """Give a file that is flushed to the disk its name, and flush the name."""
    part.replace(target)
    try:
        directory = os.open(target.parent, os.O_RDONLY)
    except OSError:  # a directory that may be written to and not read
        return
    try:
        with contextlib.suppress(OSError):  # file systems that cannot
            os.fsync(directory)
    finally:
        os.close(directory)


def part_beside(target: Path) -> Path:
    """A name beside a file or directory to make it under; `remove_parts` knows it."""
    own = f"{_host()}-{os.getpid()}-{uuid4().hex}"
    return target.with_name(f".{target.name[:_NAME_MOST]}.{own}.part")


def remove_parts(directory: Path, *, alone: bool = False) -> list[str]:
    """Remove what processes that died while writing left beside the files they wrote.

    Args:
        directory: to look in, not below.
        alone: no other process writes there: all that is left is removed. Otherwise only that of
            dead processes of this machine.

    Returns:
        Names of what was removed.
    """
    removed = []
    for path in sorted(directory.glob("*.part")):
        named = _PART.fullmatch(path.name)
        if named is None:
            continue
        of_here = named["pid"] is not None and named["host"] == _host()
        if alone or (of_here and not is_alive(int(named["pid"]))):
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                removed.append(path.name)
    return removed


def is_alive(pid: int) -> bool:
    """Whether this machine has a process of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # there is one, of another user
        return True
    return True


def _host() -> str:
    """A short name of this machine, as parts have it."""
    return re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:16]


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
