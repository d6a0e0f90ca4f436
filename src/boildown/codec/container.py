"""The file: a state dict and a config as bytes, and back.

What is written is of version 2 (`boildown.codec.writing`); version 1 is read as well. Byte by byte
both stand in docs/format.md.
"""

import difflib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from boildown.codec.dtypes import to_tensor
from boildown.codec.entry import Config, Opened, Progress, State
from boildown.codec.error import CodecError
from boildown.codec.version1 import open_version1
from boildown.codec.version2 import open_version2
from boildown.codec.writing import MAGIC, dense_bytes, written
from boildown.files.atomic import replace_file
from boildown.files.regular import open_regular

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "MAGIC",
    "decode",
    "dense_bytes",
    "encode",
    "estimate",
    "naming",
    "open_file",
    "pack",
    "read_config",
    "unpack",
]


def encode(
    state: State,
    config: Config | None = None,
    *,
    coder: str = "auto",
    zero_signs: bool = True,
    base: State | None = None,
) -> bytes:
    """A state dict as the bytes of a file.

    Args:
        state: name -> tensor. Tensors that are the same view of one storage are stored once.
        config: plain data to store beside it: dicts with str keys, lists, strings, numbers.
        coder: "best", for the smallest file; "fast"; "huffman", for what Deep Compression has,
            codebooks, gaps and Huffman codes; "auto", for best below 256 MiB and up to
            4,096 tensors, else fast.
        zero_signs: whether -0.0 stays -0.0. `weight * mask` leaves it wherever a negative weight
            was, and each sign takes a bit; without them it comes back as 0.0, which is equal.
        base: a state dict to store the differences to, where a tensor has the same name, dtype and
            shape in it. The file cannot be read without it, and is small where little differs.

    Raises:
        CodecError: for what is no dense tensor of a known dtype, a config that is not plain, or
            another coder.
    """
    return b"".join(written(state, config, coder=coder, zero_signs=zero_signs, base=base))


def pack(
    state: State,
    path: str | os.PathLike[str],
    *,
    config: Config | None = None,
    coder: str = "auto",
    zero_signs: bool = True,
    base: State | None = None,
    progress: Progress | None = None,
) -> int:
    """Write a state dict to a file, which appears whole or not at all.

    Sections are written as they are made, and tensors met one by one: of a mapping that loads each
    tensor when asked for it, few are held at a time.

    Args:
        state: name -> tensor, as for `encode`.
        path: of the file; replaced if it exists.
        config: plain data to store beside it.
        coder: as for `encode`.
        zero_signs: as for `encode`.
        base: as for `encode`.
        progress: called with the bytes of tensors that are done, and of those there are.

    Returns:
        Bytes of the file.

    Raises:
        CodecError: as for `encode`.
        OSError: if the file cannot be written.
    """
    return replace_file(
        path,
        written(state, config, coder=coder, zero_signs=zero_signs, base=base, progress=progress),
    )


def estimate(
    state: State,
    config: Config | None = None,
    *,
    coder: str = "auto",
    zero_signs: bool = True,
    base: State | None = None,
) -> int:
    """The bytes `encode` would give, exactly, without keeping them.

    Args:
        state: name -> tensor, as for `encode`.
        config: as for `encode`.
        coder: as for `encode`.
        zero_signs: as for `encode`.
        base: as for `encode`.

    Raises:
        CodecError: as for `encode`.
    """
    return sum(map(len, written(state, config, coder=coder, zero_signs=zero_signs, base=base)))


def decode(
    data: bytes, *, base: State | None = None
) -> "tuple[dict[str, Tensor], dict[str, Any] | None]":
    """The state dict and the config in the bytes of a file.

    Args:
        data: untrusted.
        base: the state dict that the file tells the differences to, if it does.

    Returns:
        name -> tensor on the CPU, bit for bit as packed, in the same order; tied names have one
        tensor. And the config, None if there is none.

    Raises:
        CodecError: unless this is an intact file, saying what is wrong and where; or if it needs
            another base, saying the digest of that.
    """
    opened = open_file(io.BytesIO(data))
    return _tensors(opened, range(len(opened.entries)), base, None), opened.config


def unpack(
    path: str | os.PathLike[str],
    keys: Iterable[str] | None = None,
    *,
    base: State | None = None,
    progress: Progress | None = None,
) -> "dict[str, Tensor]":
    """The state dict in a file, as `decode` gives it.

    Args:
        path: of the file; its content is untrusted.
        keys: names of the tensors to give, in this order; by default all. What others alone take
            is neither read nor checked.
        base: as for `decode`.
        progress: called with the bytes of tensors that are done, and of those to be given.

    Raises:
        CodecError: as for `decode`, and for a key that the file does not have.
        OSError: if the file cannot be read.
    """
    with open_regular(path) as file, naming(path):
        opened = open_file(file)
        return _tensors(opened, _places(opened, keys), base, progress)


def read_config(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The config stored in a file, None if there is none.

    Of a file of over 64 KiB its tensors are not read, and so not checked.

    Args:
        path: of the file; its content is untrusted.

    Raises:
        CodecError: unless this is an intact file, saying what is wrong and where.
        OSError: if the file cannot be read.
    """
    with open_regular(path) as file, naming(path):
        return open_file(file).config


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Put the path before the message of a CodecError."""
    try:
        yield
    except CodecError as error:
        raise CodecError(f"{os.fspath(path)}: {error}") from None


def open_file(file: BinaryIO) -> Opened:
    """Read what a file tells of itself, and check it.

    Nothing that it promises is allocated here. Tensors of version 2 in a file of over 64 KiB are
    checked when they are read.

    Args:
        file: untrusted.

    Raises:
        CodecError: unless this is an intact file, saying what is wrong and where.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(len(MAGIC) + 1)
    if start[: len(MAGIC)] != MAGIC:
        raise CodecError(
            "this is not a boil file: it does not begin with BOIL; boildown pack makes one of a "
            "checkpoint"
        )
    version = start[len(MAGIC) :]
    if version not in _VERSIONS:
        raise CodecError(
            f"the file is of format version {version[0]}; this boildown reads versions 1 and 2: "
            "update boildown, or pack the checkpoint with this one"
            if version
            else "the file is cut short after BOIL; copy it again"
        )
    return _VERSIONS[version](file, size)


_VERSIONS: dict[bytes, Callable[[BinaryIO, int], Opened]] = {
    b"\1": open_version1,
    b"\2": open_version2,
}


def _places(opened: Opened, keys: Iterable[str] | None) -> Sequence[int]:
    """Places of entries, by their names.

    Raises:
        CodecError: for a name that there is none of, with the nearest that there are.
    """
    if keys is None:
        return range(len(opened.entries))
    if isinstance(keys, str):
        raise CodecError(f"keys are the text {keys!r}; give a list of names, [{keys!r}]")
    places = {entry.name: place for place, entry in enumerate(opened.entries)}
    found = []
    for key in keys:
        if key not in places:
            near = difflib.get_close_matches(str(key), places, n=3, cutoff=0.5)
            near = near or list(places)[:3]
            there = f"there is {', '.join(near)}" if near else "it holds no tensors"
            raise CodecError(f"it has no tensor {key!r}: {there}")
        found.append(places[key])
    return list(dict.fromkeys(found))


def _tensors(
    opened: Opened, places: Sequence[int], base: State | None, progress: Progress | None
) -> "dict[str, Tensor]":
    entries = opened.entries
    stored: dict[int, int] = {place: _of(opened, place) for place in places}
    wanted = set(stored.values())
    in_all = sum(entries[place].bytes for place in wanted) if progress is not None else 0
    made: dict[int, Tensor] = {}
    done = 0
    for one in opened.stored(None if len(wanted) == len(entries) else wanted, base):
        entry = entries[one.place]
        made[one.place] = to_tensor(one.words, entry.dtype, entry.shape)
        if progress is not None:
            done += entry.bytes
            progress(done, in_all)
    return {entries[place].name: made[stored[place]] for place in places}


def _of(opened: Opened, place: int) -> int:
    """The place of the tensor that an entry has."""
    tied = opened.entries[place].tied
    return place if tied is None else tied
