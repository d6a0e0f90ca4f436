"""Plain data beside the tensors: what may be in it, and msgpack from untrusted bytes."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgpack

from boildown.codec.error import CodecError

UTF8 = "surrogatepass"
_DEPTH_MOST = 64  # levels of dicts and lists in a config


def plain_config(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A copy of plain data: dicts with str keys, lists, strings, numbers, bools, bytes, None.

    Raises:
        CodecError: for anything else, or nesting beyond 64 levels.
    """
    if config is None:
        return None
    copy = _plain(config, 0)
    if not isinstance(copy, dict):
        raise CodecError(f"the config is a {type(config).__name__}, not a mapping")
    return copy


def _plain(value: Any, depth: int) -> Any:
    if depth > _DEPTH_MOST:
        raise CodecError(f"the config is nested deeper than {_DEPTH_MOST} levels")
    kind = type(value)
    if value is None or kind in (str, int, float, bool, bytes):
        return value
    if kind in (list, tuple):  # not msgpack's ExtType, which is a tuple
        return [_plain(item, depth + 1) for item in value]
    if kind is dict or isinstance(value, Mapping):
        for key in value:
            if type(key) is not str:
                raise CodecError(f"the config has the key {key!r:.99}; keys must be strings")
        return {key: _plain(item, depth + 1) for key, item in value.items()}
    raise CodecError(f"the config holds a {kind.__name__}, which is not plain data")


def packed_config(config: Mapping[str, Any] | None) -> bytes:
    """A config as msgpack.

    Raises:
        CodecError: as for `plain_config`, and for an integer beyond 64 bits.
    """
    try:
        packed: bytes = msgpack.packb(plain_config(config), unicode_errors=UTF8)
    except OverflowError as error:
        raise CodecError(f"config: {error}") from None
    return packed


def unpacked_config(packed: bytes) -> dict[str, Any] | None:
    """The inverse of `packed_config`.

    Args:
        packed: untrusted, of at most 1 MiB.

    Raises:
        CodecError: for anything that `packed_config` does not write.
    """
    with no_collection():
        return plain_config(unpacked(packed))


def unpacked(packed: bytes) -> Any:
    """Any msgpack.

    Args:
        packed: untrusted, of at most 1 MiB.

    Raises:
        CodecError: if it is none.
    """
    try:
        return msgpack.unpackb(packed, unicode_errors=UTF8, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise CodecError(f"the index is no msgpack: {error}") from None


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep Python from looking for garbage, where there is none, each time that lists are made.

    It looks through all objects of the process, and 200,000 empty lists took a second.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
