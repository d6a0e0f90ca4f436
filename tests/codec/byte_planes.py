"""A coder of one's own: float32 as four planes of bytes, each compressed by zlib.

The signs and exponents of trained weights differ little, so their plane gets smaller; those of the
lower bits of the mantissa are noise and stay as they are.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

from boildown.codec.bytewise import Reader, varint
from boildown.codec.coder import Anatomy, Plan, Survey
from boildown.codec.error import CodecError
from boildown.codec.kernels import Words


def plan(survey: Survey, limit: int) -> Plan | None:
    """Four times a length and a plane. Only zlib itself can tell the size, so it is run here."""
    if survey.dtype != "float32":
        return None
    planes = survey.words.view(np.uint8).reshape(-1, 4).T
    packed = [zlib.compress(plane.tobytes(), 9) for plane in planes]
    pieces = [piece for plane in packed for piece in (varint(len(plane)), plane)]
    return Plan(sum(map(len, pieces)), lambda: pieces)


def read(source: Reader, dtype: str, size: int, extra: int) -> tuple[Words, Anatomy]:
    """The inverse of `plan`, for bytes that anybody may have written."""
    if dtype != "float32":
        raise CodecError(f"byte planes hold float32, not {dtype}")
    planes = [_inflate(source.take(source.varint()), size) for _ in range(4)]
    words = np.stack(planes, axis=1).view(np.uint32).reshape(-1)
    return words, Anatomy("byte planes")


def _inflate(packed: memoryview, size: int) -> NDArray[np.uint8]:
    inflate = zlib.decompressobj()
    try:
        plane = inflate.decompress(packed, size + 1)  # however much more there may be in it
    except zlib.error as error:
        raise CodecError(f"a byte plane does not inflate: {error}") from None
    if len(plane) != size or not inflate.eof or inflate.unused_data:
        raise CodecError(f"a byte plane does not hold {size} bytes")
    return np.frombuffer(plane, np.uint8)
