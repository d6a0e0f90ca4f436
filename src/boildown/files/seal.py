"""A digest inside a zip archive, which a checkpoint of torch is: in the archive's comment.

Every reader of zip archives skips the comment, so a sealed checkpoint is read as any other.
"""

import hashlib
import os
from pathlib import Path

_BEGINS = b"boildown sha256 "
_LENGTH = len(_BEGINS) + 64
_END = (
    b"PK\x05\x06"  # of the record that ends an archive: 22 bytes, the last 2 the comment's length
)


def digest_of(path: str | os.PathLike[str], until: int | None = None) -> str:
    """SHA-256 of a file, or of its first `until` bytes, in hexadecimal."""
    sha = hashlib.sha256()
    left = Path(path).stat().st_size if until is None else until
    with Path(path).open("rb") as file:
        while left > 0 and (block := file.read(min(1 << 20, left))):
            sha.update(block)
            left -= len(block)
    return sha.hexdigest()


def seal(path: str | os.PathLike[str]) -> None:
    """Write the digest of an archive into its comment, which must be empty.

    Raises:
        ValueError: if the file does not end as an archive without a comment does.
    """
    with Path(path).open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 22, 0))
        if (end := file.read(22))[:4] != _END or end[20:] != b"\0\0":
            raise ValueError(f"{path} is no zip archive without a comment")
        file.seek(size - 2)
        file.write(_LENGTH.to_bytes(2, "little"))
        file.flush()
        file.seek(size)
        file.write(_BEGINS + digest_of(path, size).encode())


def is_sound(path: str | os.PathLike[str]) -> bool | None:
    """Whether a file is as it was sealed; None if it has no seal."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        file.seek(max(size - _LENGTH, 0))
        comment = file.read(_LENGTH)
    if not comment.startswith(_BEGINS):
        return None
    return digest_of(path, size - _LENGTH).encode() == comment[len(_BEGINS) :]
