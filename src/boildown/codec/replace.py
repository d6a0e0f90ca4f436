"""Files that appear whole or not at all."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside `path` to write to; flushed to the disk and given that name at the end.

    After a failure `path` is as it was and nothing is left beside it.

    Args:
        path: of the file; replaced if it exists.

    Raises:
        OSError: if it cannot be replaced.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; give the name of a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no directory {path.parent}")
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())  # some writers, such as safetensors, leave 0600
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


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
