"""The file: header, payloads and checks.

    4 bytes   BOIL
    1 byte    format version
    varint    bytes of the header * 2, plus 1 if it is deflated
              header: names, dtypes, shapes, payload lengths, ties, config
              per tensor: payload, and its CRC-32 (little-endian)
              zero bytes until the file has a byte per 2048 elements of all tensors, an element of
              more than 4 bytes counting as several of 4
    16 bytes  BLAKE2b of everything before

The fill bounds what a reader may be asked to allocate: the header tells how long the file must be,
and no file can promise more than 8192 bytes of tensors per byte of its own (2048 elements, where
they are smaller than 4 bytes). Only files of tensors that are constant or
all but empty have any.
"""

import hashlib
import io
import itertools
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from torch import Tensor

from boildown.codec import dtypes
from boildown.codec.blocks import Piece
from boildown.codec.bytewise import VARINT_MOST, Reader, varint
from boildown.codec.coder import Anatomy, Plan
from boildown.codec.error import CodecError
from boildown.codec.header import (
    Entry,
    Header,
    check_shape,
    pack_header,
    plain_config,
    unpack_header,
)
from boildown.codec.kernels import Words
from boildown.codec.tensor import plan, read_tensor
from boildown.files.atomic import replace_file
from boildown.files.regular import open_regular

MAGIC = b"BOIL"
VERSION = 1
BYTES_PER_BYTE = 8192
_LEAST_ITEM = 4  # bytes that an element counts as, at the least
_EARLY_MOST = 1 << 24  # such bytes, in a file whose fill counts elements of any size, as once
CRC_BYTES = 4
_DAMAGED = "it was damaged after it was written; copy it again, or pack the checkpoint again"
_FOREIGN = (
    "the checksum is right, so the file was written like this: by a newer boildown, in which case "
    "update yours, or by something else"
)
_DIGEST_BYTES = 16
_FIXED_BYTES = len(MAGIC) + 1
_CHUNK = 1 << 20

State = Mapping[str, Tensor]
Config = Mapping[str, Any]


def encode(state: State, config: Config | None = None, *, zero_signs: bool = True) -> bytes:
    """A state dict as the bytes of a file.

    Args:
        state: name -> tensor. Tensors that are the same view of one storage are stored once.
        config: plain data to store beside it: dicts with str keys, lists, strings, numbers.
        zero_signs: whether -0.0 stays -0.0. `weight * mask` leaves it wherever a negative weight
            was, and each sign takes a bit; without them it comes back as 0.0, which is equal.

    Raises:
        CodecError: for what is no dense tensor of a known dtype, or a config that is not plain.
    """
    return b"".join(_pieces(state, config, zero_signs))


def pack(
    state: State,
    path: str | os.PathLike[str],
    *,
    config: Config | None = None,
    zero_signs: bool = True,
) -> int:
    """Write a state dict to a file, which appears whole or not at all.

    Args:
        state: name -> tensor, as for `encode`.
        path: of the file; replaced if it exists.
        config: plain data to store beside it.
        zero_signs: as for `encode`.

    Returns:
        Bytes of the file.

    Raises:
        CodecError: as for `encode`.
        OSError: if the file cannot be written.
    """
    return replace_file(path, _pieces(state, config, zero_signs))


def estimate(state: State, config: Config | None = None, *, zero_signs: bool = True) -> int:
    """The bytes `encode` would give, exactly, from counts alone: no stream is written.

    Args:
        state: name -> tensor, as for `encode`.
        config: as for `encode`.
        zero_signs: as for `encode`.

    Raises:
        CodecError: as for `encode`.
    """
    entries = [entry for entry, _ in _planned(state, zero_signs)]
    header = Header(plain_config(config), tuple(entries))
    start = _start(header)
    return len(start) + _payload_bytes(header) + _fill(header, len(start)) + _DIGEST_BYTES


def decode(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The state dict and the config in the bytes of a file.

    Args:
        data: untrusted.

    Returns:
        name -> tensor on the CPU, bit for bit as packed, in the same order; tied names have one
        tensor. And the config, None if there is none.

    Raises:
        CodecError: unless this is an intact file, saying what is wrong and where.
    """
    opened = open_file(io.BytesIO(data))
    return _tensors(opened), opened.header.config


def unpack(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The state dict in a file, as `decode` gives it.

    Args:
        path: of the file; its content is untrusted.

    Raises:
        CodecError: unless this is an intact file, saying what is wrong and where.
        OSError: if the file cannot be read.
    """
    with open_regular(path) as file, naming(path):
        return _tensors(open_file(file))


def read_config(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The config stored in a file, None if there is none.

    Args:
        path: of the file; its content is untrusted.

    Raises:
        CodecError: unless this is an intact file, saying what is wrong and where.
        OSError: if the file cannot be read.
    """
    with open_regular(path) as file, naming(path):
        return open_file(file).header.config


def dense_bytes(state: State) -> int:
    """Bytes of all elements as dense fp32, tied tensors once: what ratios are measured against.

    Args:
        state: name -> tensor.
    """
    return sum(4 * tensor.numel() for tensor in {_identity(t): t for t in state.values()}.values())


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Put the path before the message of a CodecError."""
    try:
        yield
    except CodecError as error:
        raise CodecError(f"{os.fspath(path)}: {error}") from None


@dataclass(frozen=True)
class Opened:
    """A file whose header and digest have been checked.

    Attributes:
        file: to read from.
        size: bytes of the file.
        header: what it holds.
        start: byte at which the payloads begin.
    """

    file: BinaryIO
    size: int
    header: Header
    start: int

    def payloads(self) -> Iterator[tuple[Entry, Words, Anatomy]]:
        """The stored tensors one by one, decoded.

        Raises:
            CodecError: if a payload does not hold what the header says.
        """
        for entry, at in _offsets(self.header, self.start):
            payload = _payload(self.file, entry, at)
            try:
                words, anatomy = read_tensor(payload, entry.dtype, entry.numel)
            except CodecError as error:
                raise CodecError(
                    f"tensor {entry.name!r} at byte {at}: {error} ({_FOREIGN})"
                ) from None
            yield entry, words, anatomy


def open_file(file: BinaryIO) -> Opened:
    """Read the header and check the whole file against its digest.

    Nothing the header promises is allocated here.

    Args:
        file: at its start; untrusted.

    Raises:
        CodecError: unless this is an intact file, saying what is wrong and where.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    read = Reader(file.read(_FIXED_BYTES + VARINT_MOST))
    if bytes(read.data[: len(MAGIC)]) != MAGIC:
        raise CodecError(
            "this is not a boil file: it does not begin with BOIL; boildown pack makes one of a "
            "checkpoint"
        )
    read.take(len(MAGIC))
    version = read.byte()
    if version != VERSION:
        raise CodecError(
            f"the file is of format version {version}; this boildown reads version {VERSION}: "
            "update boildown, or pack the checkpoint with this one"
        )
    length, deflated = divmod(read.varint(), 2)
    if length > size - read.at - _DIGEST_BYTES:
        raise CodecError(
            f"the file is cut short: its header has {length} bytes from byte {read.at} on, and the "
            f"file ends at {size}; copy it again"
        )
    file.seek(read.at)
    header = unpack_header(file.read(length), bool(deflated))
    start = read.at + length
    fill = _fill(header, start)
    expected = start + _payload_bytes(header) + fill + _DIGEST_BYTES
    if size < expected and _promised(header) <= _EARLY_MOST:
        fill = _early_fill(header, start)
        expected = start + _payload_bytes(header) + fill + _DIGEST_BYTES
    if size != expected:
        what = "cut short" if size < expected else "followed by something else"
        raise CodecError(
            f"the file is {what}: it has {size} bytes, its header asks for {expected}; "
            "copy it again"
        )
    if _digest(file, size - _DIGEST_BYTES) != file.read(_DIGEST_BYTES):
        for entry, at in _offsets(header, start):
            _payload(file, entry, at)
        raise CodecError(f"the digest is wrong, though each tensor's checksum is right: {_DAMAGED}")
    file.seek(start + _payload_bytes(header))
    if any(file.read(fill)):
        raise CodecError("the bytes that fill the file are not zero")
    return Opened(file, size, header, start)


def _planned(state: State, zero_signs: bool) -> Iterator[tuple[Entry, Plan | None]]:
    """Each name with the cheapest way to write its tensor; None where it is tied to another."""
    if not isinstance(state, Mapping):
        raise CodecError(
            f"a {type(state).__name__} is no state dict: give model.state_dict(), names -> tensors"
        )
    seen: dict[tuple[Any, ...], tuple[int, Entry]] = {}
    for place, (name, tensor) in enumerate(state.items()):
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            kind = type(tensor).__name__
            raise CodecError(
                f"{name!r} is a {kind}; only named tensors can be packed: leave it out"
            )
        try:
            dtype = dtypes.name_of(tensor)
            check_shape(tensor.shape)
        except CodecError as error:
            raise CodecError(f"tensor {name!r}: {error}") from None
        identity = _identity(tensor)
        if tensor.numel() and identity in seen:
            other, first = seen[identity]
            yield Entry(name, first.dtype, first.shape, 0, other), None
            continue
        words = dtypes.to_words(tensor)
        channel = words.size // len(tensor) if tensor.dim() > 1 and words.size else 0
        chosen = plan(words, dtype, zero_signs=zero_signs, channel=channel)
        entry = Entry(name, dtype, tuple(tensor.shape), chosen.size)
        seen[identity] = place, entry
        yield entry, chosen


def _identity(tensor: Tensor) -> tuple[Any, ...]:
    """Equal for views that show the same elements of one storage in the same order."""
    return (
        tensor.device,
        tensor.untyped_storage().data_ptr(),
        tensor.storage_offset(),
        tuple(tensor.shape),
        tensor.stride(),
        tensor.dtype,
        tensor.is_conj(),
        tensor.is_neg(),
    )


def _pieces(state: State, config: Config | None, zero_signs: bool) -> Iterator[Piece]:
    """The file, piece by piece."""
    plain = plain_config(config)
    planned = list(_planned(state, zero_signs))
    header = Header(plain, tuple(entry for entry, _ in planned))
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    start = _start(header)
    fill = bytes(_fill(header, len(start)))
    for piece in itertools.chain([start], _checked(planned), [fill]):
        digest.update(piece)
        yield piece
    yield digest.digest()


def _checked(planned: list[tuple[Entry, Plan | None]]) -> Iterator[Piece]:
    """The payloads, each followed by its CRC."""
    for _, chosen in planned:
        if chosen is None:
            continue
        crc = 0
        for piece in chosen.write():
            crc = zlib.crc32(piece, crc)
            yield piece
        yield crc.to_bytes(CRC_BYTES, "little")


def _start(header: Header) -> bytes:
    """Everything before the payloads."""
    packed, deflated = pack_header(header)
    return MAGIC + bytes([VERSION]) + varint(len(packed) * 2 + deflated) + packed


def _payload_bytes(header: Header) -> int:
    return sum(entry.size + CRC_BYTES for entry in header.stored)


def _promised(header: Header) -> int:
    """Bytes of all tensors, small elements counting as larger ones."""
    return sum(e.numel * max(dtypes.itemsize(e.dtype), _LEAST_ITEM) for e in header.stored)


def _fill(header: Header, start: int, promised: int | None = None) -> int:
    """How many zero bytes stand before the digest."""
    promised = _promised(header) if promised is None else promised
    least = -(-promised // BYTES_PER_BYTE)
    return max(0, least - start - _payload_bytes(header) - _DIGEST_BYTES)


def _early_fill(header: Header, start: int) -> int:
    """The same in files from before elements of 8 and 16 bytes counted as several."""
    return _fill(header, start, _LEAST_ITEM * sum(entry.numel for entry in header.stored))


def _offsets(header: Header, start: int) -> Iterator[tuple[Entry, int]]:
    for entry in header.stored:
        yield entry, start
        start += entry.size + CRC_BYTES


def _payload(file: BinaryIO, entry: Entry, at: int) -> memoryview:
    """The bytes of a tensor, placed so that raw values, from the second byte on, are aligned."""
    file.seek(at)
    payload = np.empty(_ALIGNED - 1 + entry.size, np.uint8)[_ALIGNED - 1 :].data
    file.readinto(payload)  # type: ignore[attr-defined]
    if zlib.crc32(payload).to_bytes(CRC_BYTES, "little") != file.read(CRC_BYTES):
        raise CodecError(f"tensor {entry.name!r} at byte {at}: the checksum is wrong: {_DAMAGED}")
    return payload


_ALIGNED = 16  # bytes


def _digest(file: BinaryIO, size: int) -> bytes:
    """Digest of the first `size` bytes, after which the file is positioned."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    file.seek(0)
    for at in range(0, size, _CHUNK):
        digest.update(file.read(min(_CHUNK, size - at)))
    return digest.digest()


def _tensors(opened: Opened) -> dict[str, Tensor]:
    stored = (
        dtypes.to_tensor(words, entry.dtype, entry.shape) for entry, words, _ in opened.payloads()
    )
    state: dict[str, Tensor] = {}
    for entry in opened.header.entries:
        tied = entry.tied
        state[entry.name] = (
            next(stored) if tied is None else state[opened.header.entries[tied].name]
        )
    return state
