"""What precedes the payloads: names, dtypes, shapes, lengths, ties and the model's config.

Msgpack, deflated where that is smaller: `[config, entry, ...]` in the order of the state dict. An
entry is `[name, dtype, bytes of the payload, *shape]`, or `[name, -1 - i]` for a tensor tied to
entry i.
"""

import gc
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgpack

from boildown.codec.dtypes import NAMES
from boildown.codec.error import CodecError

EXPANSION = 64  # times a deflated header may grow; beyond that it is stored as it is
_ITEM_MOST = 1 << 20  # bytes of the config, and of an entry; in memory up to 150 times as many
_DEPTH_MOST = 64  # levels of dicts and lists in a config
_DIMENSIONS_MOST = 64
_NUMEL_MOST = 1 << 48
_SHOWN = 40  # characters of a name that a message quotes
_UTF8 = "surrogatepass"


@dataclass(frozen=True)
class Entry:
    """One name of the state dict.

    Attributes:
        name: unique.
        dtype: one of `boildown.codec.dtypes.NAMES`.
        shape: each side 0 or above.
        size: bytes of the payload.
        tied: the entry whose tensor this is, if it has no payload of its own.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    tied: int | None = None

    @property
    def numel(self) -> int:
        """Elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """Everything but the payloads."""

    config: dict[str, Any] | None
    entries: tuple[Entry, ...]

    @property
    def stored(self) -> list[Entry]:
        """The entries that have a payload."""
        return [entry for entry in self.entries if entry.tied is None]


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


def pack_header(header: Header) -> tuple[bytes, bool]:
    """Header as bytes, and whether they are deflated.

    Raises:
        CodecError: for an integer of the config beyond 64 bits; a config or name of over 1 MiB.
    """
    rows: list[Any] = [header.config]
    for entry in header.entries:
        if entry.tied is None:
            rows.append([entry.name, NAMES.index(entry.dtype), entry.size, *entry.shape])
        else:
            rows.append([entry.name, -1 - entry.tied])
    try:
        items: list[bytes] = [msgpack.packb(row, unicode_errors=_UTF8) for row in rows]
    except OverflowError as error:
        raise CodecError(f"config: {error}") from None
    for i, item in enumerate(items):
        if len(item) > _ITEM_MOST:
            long = f"the name {header.entries[i - 1].name[:_SHOWN]!r}..." if i else "the config"
            raise CodecError(
                f"{long} takes {len(item):,} bytes, a header {_ITEM_MOST:,} at most: shorten it"
            )
    plain = msgpack.Packer().pack_array_header(len(items)) + b"".join(items)
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = compress.compress(plain) + compress.flush()
    if len(deflated) < len(plain) <= EXPANSION * len(deflated):
        return deflated, True
    return plain, False


def unpack_header(data: bytes, deflated: bool) -> Header:
    """The inverse of `pack_header`.

    Args:
        data: untrusted.
        deflated: whether `data` is.

    Raises:
        CodecError: for anything that `pack_header` does not write.
    """
    config, *rows = _items(_inflate(data) if deflated else data)
    entries: list[Entry] = []
    names: set[str] = set()
    with _no_collection():
        for row in rows:
            entry = _entry(_unpacked(row), entries)
            if entry.name in names:
                raise CodecError(f"two tensors are called {entry.name!r}")
            names.add(entry.name)
            entries.append(entry)
        return Header(plain_config(_unpacked(config)), tuple(entries))


@contextmanager
def _no_collection() -> Iterator[None]:
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


def _items(plain: bytes) -> list[bytes]:
    """The items of the header's list, at least one, still packed.

    They are unpacked one at a time, since in memory a list of one byte of msgpack takes 64.
    """
    reader = msgpack.Unpacker(max_buffer_size=max(1, len(plain)))
    reader.feed(plain)
    try:
        ends = [reader.read_array_header(), reader.tell()]
        for _ in range(ends.pop(0)):
            reader.skip()
            ends.append(reader.tell())
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise CodecError(
            f"the header is not a list in msgpack: {str(error) or 'it is nested too deeply'}"
        ) from None
    if len(ends) == 1 or ends[-1] != len(plain):
        raise CodecError("the header is not a list in msgpack: it is empty, or more follows it")
    items = [plain[start:end] for start, end in pairwise(ends)]
    if len(max(items, key=len)) > _ITEM_MOST:
        raise CodecError(f"the header has a part of over {_ITEM_MOST:,} bytes")
    return items


def _unpacked(item: bytes) -> Any:
    try:
        return msgpack.unpackb(item, unicode_errors=_UTF8, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise CodecError(f"the header is no msgpack: {error}") from None


def check_shape(shape: Sequence[int]) -> None:
    """Refuse shapes with too many sides or elements, or with negative sides.

    Raises:
        CodecError: beyond 64 sides or 2^48 elements.
    """
    # Sides beside a 0 count as well: torch multiplies them when it computes strides.
    fits = len(shape) <= _DIMENSIONS_MOST and all(0 <= side <= _NUMEL_MOST for side in shape)
    if not fits or math.prod(max(side, 1) for side in shape) > _NUMEL_MOST:
        raise CodecError(f"the shape {str(list(shape))[:_SHOWN]} is beyond what a file can hold")


def _inflate(data: bytes) -> bytes:
    limit = EXPANSION * len(data)
    inflate = zlib.decompressobj(-15)
    try:
        plain = inflate.decompress(data, limit + 1)
    except zlib.error as error:
        raise CodecError(f"the header does not inflate: {error}") from None
    if len(plain) > limit:
        raise CodecError(f"the header inflates to over {EXPANSION} times its size")
    if not inflate.eof or inflate.unused_data:
        raise CodecError("the header does not end where it should")
    return plain


def _entry(row: Any, before: Sequence[Entry]) -> Entry:
    if type(row) is not list or len(row) < 2 or type(row[0]) is not str:
        raise CodecError(f"tensor {len(before)}: the entry is not a list of a name and numbers")
    name, numbers = row[0], row[1:]
    if not all(type(number) is int for number in numbers):
        raise CodecError(f"tensor {name!r}: the entry holds something other than integers")
    if numbers[0] < 0:
        other = -1 - numbers[0]
        if other >= len(before) or before[other].tied is not None or len(numbers) > 1:
            raise CodecError(f"tensor {name!r} is tied to entry {other}, which it cannot be")
        return Entry(name, before[other].dtype, before[other].shape, 0, other)
    if numbers[0] >= len(NAMES):
        raise CodecError(
            f"tensor {name!r} has dtype {numbers[0]}, which this version does not know"
        )
    if len(numbers) < 2 or numbers[1] < 1:
        raise CodecError(f"tensor {name!r} has no payload")
    shape = tuple(numbers[2:])
    try:
        check_shape(shape)
    except CodecError as error:
        raise CodecError(f"tensor {name!r}: {error}") from None
    return Entry(name, NAMES[numbers[0]], shape, numbers[1])
