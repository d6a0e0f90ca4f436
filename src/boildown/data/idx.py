"""The IDX format of the MNIST files: unsigned bytes of any shape, gzipped or not."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

UNSIGNED_BYTE = 0x08
GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | Path) -> np.ndarray:
    """Read one IDX file of unsigned bytes.

    The layout is two zero bytes, a type byte, the number of axes, each axis's length as a big
    endian 32-bit integer, then the values in C order. Gzip is told by its magic, not by the name.

    Args:
        path: the file.

    Returns:
        A read-only uint8 array of the shape in the header.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or of another format, naming it and what was expected.

    Source: "The IDX file format" in https://yann.lecun.com/exdb/mnist/
    """
    path = Path(path)
    raw = path.read_bytes()
    if raw[:2] == GZIP_MAGIC:
        try:
            raw = gzip.decompress(raw)
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
        raise ValueError(
            f"{path}: {kind}: shape {shape} takes {expected} bytes with the header, "
            f"the file has {len(raw)}"
        )
    return np.frombuffer(raw, np.uint8, offset=begin).reshape(shape)
