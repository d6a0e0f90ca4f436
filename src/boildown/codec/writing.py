"""Writing files of version 2: sections as they are made, and what they are at the end.

Tensors are met one by one, so they may come from a file while they are packed. Two threads code
sections, little of them ahead of what is written.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgpack

from boildown.codec import dtypes
from boildown.codec.base import base_words, digest_of
from boildown.codec.bytewise import varint
from boildown.codec.entry import Config, Entry, Progress, State, check_item, check_length
from boildown.codec.error import CodecError
from boildown.codec.in_order import in_order
from boildown.codec.index import DIFFERENCE, MIXED, NAMES_MOST, Section, pack_index
from boildown.codec.piece import Piece
from boildown.codec.pieces import BLOCK_LOG, Span, spans_of
from boildown.codec.plain_data import UTF8, packed_config
from boildown.codec.sections import CODERS, encode_section
from boildown.codec.version2 import CRC_BYTES, least_size

if TYPE_CHECKING:
    from torch import Tensor

MAGIC = b"BOIL"
VERSION = 2
_SUMS_FROM = 1 << 16  # bytes of sections from which each has a checksum of its own
_POOL = 1 << 21  # bytes of small tensors that share a section
_BEST_MOST = 1 << 28  # bytes of tensors up to which the coder "auto" is "best"
_BEST_TENSORS = 1 << 12  # and how many there may be, each of which takes a millisecond
_CHUNK = 1 << 20


def written(
    state: State,
    config: Config | None,
    *,
    coder: str = "auto",
    zero_signs: bool = True,
    base: State | None = None,
    progress: Progress | None = None,
) -> Iterator[bytes]:
    """The file of a state dict, in parts; see `boildown.codec.encode`.

    Args:
        state: name -> tensor.
        config: plain data to store beside it.
        coder: one of `CODERS`.
        zero_signs: whether -0.0 stays -0.0.
        base: name -> tensor.
        progress: told of the bytes of tensors that are done, and of those there are.

    Raises:
        CodecError: for what cannot be packed; some of it once tensors have been written.
    """
    packed = packed_config(config)
    check_length(packed, None)
    in_all = _check(state)
    coder = _coder(coder, in_all, len(state), base)
    digest = None if base is None else digest_of(base)
    yield MAGIC + bytes([VERSION])
    source = _Source(state, base)
    sections: list[Section] = []
    done, size, crc = 0, len(MAGIC) + 1, zlib.crc32(MAGIC + bytes([VERSION]))
    encode = partial(encode_section, coder=coder, zero_signs=zero_signs)
    for coded in in_order(encode, source, _room):
        sections.append(coded.section)
        size += len(coded.data)
        if size <= _SUMS_FROM:
            crc = zlib.crc32(coded.data, crc)
        yield coded.data
        done += coded.dense
        if progress is not None:
            progress(done, max(done, in_all))
        del coded
    yield from _end(packed, source.entries, sections, size, crc, digest)


def _room(pieces: Sequence[Piece]) -> int:
    """Bytes that a section takes, as it is and coded."""
    return 2 * sum(piece.words.nbytes for piece in pieces)


def _end(
    config: bytes,
    entries: list[Entry],
    sections: list[Section],
    size: int,
    crc: int,
    digest: bytes | None,
) -> Iterator[bytes]:
    """What follows the sections: fill, index, its length, checksum.

    Args:
        config: packed.
        entries: the names.
        sections: with checksums.
        size: bytes so far.
        crc: of these, if they are so few that sections have none.
        digest: of the base.
    """
    sums = size > _SUMS_FROM
    if sums:
        crc = zlib.crc32(MAGIC + bytes([VERSION]))
    else:
        sections = [Section(one.kind, one.pieces, one.size) for one in sections]
    if all(one.kind != DIFFERENCE for one in sections):
        digest = None
    alone = len(sections) == 1 and sections[0].kind == MIXED and not sums
    index = _index(config, entries, [] if alone else sections, sums, digest)
    least = least_size(entries)
    if alone and size + len(index) + CRC_BYTES < least:  # where a section ends must be told
        index = _index(config, entries, sections, sums, digest)
    fill = max(0, least - size - len(index) - CRC_BYTES)
    for at in range(0, fill, _CHUNK):
        part = bytes(min(_CHUNK, fill - at))
        crc = zlib.crc32(part, crc)
        yield part
    yield index + zlib.crc32(index, crc).to_bytes(CRC_BYTES, "little")


def _index(
    config: bytes, entries: list[Entry], sections: list[Section], sums: bool, digest: bytes | None
) -> bytes:
    """The index, and its length."""
    packed, deflated = pack_index(config, entries, sections, digest)
    return packed + varint(4 * len(packed) + 2 * sums + deflated)[::-1]


def _coder(coder: str, in_all: int, tensors: int, base: State | None) -> str:
    """The coder that one of `CODERS` stands for.

    Raises:
        CodecError: if it is none of these, or none that can tell differences.
    """
    if coder not in CODERS:
        raise CodecError(f"coder {coder!r} is none of {', '.join(CODERS)}")
    if base is not None and coder not in ("auto", "best"):
        raise CodecError(f"coder {coder!r} cannot tell differences to a base; best can")
    if coder != "auto":
        return coder
    small = in_all < _BEST_MOST and tensors <= _BEST_TENSORS
    return "best" if small or base is not None else "fast"


def _check(state: State) -> int:
    """Refuse what is no state dict, before any work; the bytes of its tensors.

    Tensors of a mapping that is no dict may come from a file. Of how many bytes they are it may say
    as `nbytes`; otherwise each is met once more.
    """
    if not isinstance(state, Mapping):
        raise CodecError(
            f"a {type(state).__name__} is no state dict: give model.state_dict(), names -> tensors"
        )
    if isinstance(state, dict):
        return sum({_identity(t): t.nbytes for t in map(check_item, state.items())}.values())
    told = getattr(state, "nbytes", None)
    return told if isinstance(told, int) else sum(check_item(item).nbytes for item in state.items())


def _identity(tensor: "Tensor") -> tuple[Any, ...]:
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


def dense_bytes(state: State) -> int:
    """Bytes of all elements as dense fp32, tied tensors once: what ratios are measured against.

    Args:
        state: name -> tensor.
    """
    return sum(4 * numel for numel in {_identity(t): t.numel() for t in state.values()}.values())


class _Source:
    """The pieces of a state dict, section by section; and None where memory is to be given back.

    Attributes:
        entries: of the tensors met so far.
    """

    def __init__(self, state: State, base: State | None) -> None:
        self._state, self._base = state, base
        self.entries: list[Entry] = []

    def __iter__(self) -> Iterator[list[Piece] | None]:
        pool: list[Piece] = []
        pooled = 0
        for tensor in self._untied():
            place = len(self.entries) - 1
            entry = self.entries[place]
            if tensor.numel() == 0:
                continue
            spans = list(spans_of(entry, place, BLOCK_LOG))
            words = dtypes.to_words(tensor)
            base = base_words(self._base, entry)
            borrowed = isinstance(self._state, dict) and words.ctypes.data == tensor.data_ptr()
            if pool and pooled + words.nbytes > _POOL:
                yield pool
                pool, pooled = [], 0
            pieces = (_piece(span, words, entry, base) for span in spans)
            if len(spans) == 1:
                pool.extend(pieces)
                pooled += words.nbytes
                continue
            for piece in pieces:
                yield [piece]
            del words, base, tensor, pieces, piece
            if not borrowed:
                yield None
        if pool:
            yield pool

    def _untied(self) -> "Iterator[Tensor]":
        """The tensors that have an entry of their own, which is the last."""
        from torch.multiprocessing.reductions import StorageWeakRef

        seen: dict[tuple[Any, ...], tuple[int, Any]] = {}
        for name in self._state:
            tensor = check_item((name, self._state[name]))
            check_length(msgpack.packb(name, unicode_errors=UTF8), name)
            if len(self.entries) >= NAMES_MOST:
                raise CodecError(f"a file holds {NAMES_MOST:,} names at most")
            entry = Entry(name, dtypes.name_of(tensor), tuple(tensor.shape))
            identity = _identity(tensor)
            other, storage = seen.get(identity, (0, None))
            # One that is gone may have left its place in memory to this.
            if tensor.numel() and storage is not None and not storage.expired():
                self.entries.append(Entry(entry.name, entry.dtype, entry.shape, other))
                continue
            seen[identity] = len(self.entries), StorageWeakRef(tensor.untyped_storage())
            self.entries.append(entry)
            yield tensor
            del tensor


def _piece(span: Span, words: Any, entry: Entry, base: Any) -> Piece:
    part = slice(span.start, span.start + span.size)
    channel = entry.words // entry.shape[0] if len(entry.shape) > 1 else 0
    if not span.whole and span.columns == span.size:  # a part of a row
        channel = 0
    return Piece(
        words[part], entry.dtype, span.columns, channel, None if base is None else base[part]
    )
