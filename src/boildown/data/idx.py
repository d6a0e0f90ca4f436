"""The IDX format of the MNIST files: unsigned bytes of any shape, gzipped or not."""

import gzip
import io
import math
import zlib
from pathlib import Path

import numpy as np

from boildown.files.regular import check_regular

UNSIGNED_BYTE = 0x08
GZIP_MAGIC = b"\x1f\x8b"
BYTES_MOST = 1 << 30


def read_idx(path: str | Path, *, bytes_most: int = BYTES_MOST) -> np.ndarray:
    """Read one IDX file of unsigned bytes.

    The layout is two zero bytes, a type byte, the number of axes, each axis's length as a big
    endian 32-bit integer, then the values in C order. Gzip is told by its magic, not by the name.

    Args:
        path: the file.
        bytes_most: the most bytes its header may promise; looked at before a gzip is inflated.

    Returns:
        A read-only uint8 array of the shape in the header.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or of another format, naming it and what was expected.

    Source: "The IDX file format" in https://yann.lecun.com/exdb/mnist/
    """
    path = Path(path)
    check_regular(path)
    raw = path.read_bytes()
    zipped = raw[:2] == GZIP_MAGIC
    if zipped:
        try:
            raw = _inflated(raw, bytes_most)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: damaged gzip file: {error}") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != UNSIGNED_BYTE or raw[3] == 0:
        raise ValueError(
            f"{path}: expected an IDX file of unsigned bytes, which begins 00 00 08 and the "
            f"number of axes, got {raw[:4].hex(' ') or 'an empty file'}"
        )
    begin = 4 + 4 * raw[3]
    if len(raw) < begin:
        raise ValueError(f"{path}: expected a header of {begin} bytes, the file has {len(raw)}")
    shape = tuple(int(n) for n in np.frombuffer(raw, ">u4", count=raw[3], offset=4))
    expected = begin + math.prod(shape)
    if len(raw) != expected:
        kind = "truncated" if len(raw) < expected else "trailing bytes"
        more = " or more" if zipped and len(raw) > expected else ""
        raise ValueError(
            f"{path}: {kind}: shape {str(shape)[:100]} takes {expected} bytes with the header, "
            f"the file has {len(raw)}{more}"
        )
    return np.frombuffer(raw, np.uint8, offset=begin).reshape(shape)


def _inflated(raw: bytes, most: int) -> bytes:
    """What a gzip holds, up to one byte more than the IDX header in it promises."""
    with gzip.open(io.BytesIO(raw)) as file:
        head = file.read(4)
        if len(head) == 4:
            head += file.read(4 * head[3])
        promised = len(head)
        if head[:3] == bytes([0, 0, UNSIGNED_BYTE]) and head[3] and len(head) == 4 + 4 * head[3]:
            promised += math.prod(int(n) for n in np.frombuffer(head, ">u4", offset=4))
        if promised > most:
            raise OSError(
                f"its header promises {promised:,} bytes, {most:,} at most; allow more with "
                "bytes_most"
            )
        parts = [head]
        left = promised + 1 - len(head)
        while left > 0:  # in pieces, as the header too may promise more than there is
            part = file.read(min(left, _PIECE))
            if not part:
                break
            parts.append(part)
            left -= len(part)
    return b"".join(parts)


_PIECE = 1 << 24
