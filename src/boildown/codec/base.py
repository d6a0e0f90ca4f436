"""A base: the state dict that others are told by their differences to."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from boildown.codec import dtypes
from boildown.codec.bytewise import varint
from boildown.codec.entry import Entry, State, check_item
from boildown.codec.error import CodecError
from boildown.codec.index import BASE_BYTES
from boildown.codec.kernels import Words
from boildown.codec.plain_data import UTF8

if TYPE_CHECKING:
    from torch import Tensor


def digest_of(state: State) -> bytes:
    """16 bytes that tell state dicts apart: names, with dtypes, shapes and every bit.

    The order of the names does not matter, as kinds of checkpoints differ in it.

    Args:
        state: name -> tensor.

    Raises:
        CodecError: for what is no dense tensor of a known dtype.
    """
    if not isinstance(state, Mapping):
        raise CodecError(
            f"the base is a {type(state).__name__}, no state dict: give names -> tensors, such as "
            "base.state_dict() or boildown.unpack(base)"
        )
    digest = hashlib.blake2b(digest_size=BASE_BYTES)
    for name in sorted(state, key=str):  # what is no text is refused below
        tensor = base_tensor(state, name)
        text = name.encode("utf-8", UTF8)
        sides = [dtypes.NAMES.index(dtypes.name_of(tensor)), tensor.dim(), *tensor.shape]
        digest.update(varint(len(text)) + text + b"".join(map(varint, sides)))
        if tensor.numel():
            digest.update(dtypes.to_words(tensor).data)
    return digest.digest()


def base_tensor(base: State, name: str) -> "Tensor":
    """A tensor of a base.

    Raises:
        CodecError: naming it, if it cannot be packed.
    """
    try:
        return check_item((name, base[name]))
    except CodecError as error:
        raise CodecError(f"the base: {error}") from None


def base_words(base: State | None, entry: Entry) -> Words | None:
    """The words of the base's tensor of the same name, dtype and shape; None if it has none.

    Args:
        base: None if there is none.
        entry: not empty.
    """
    if base is None or entry.name not in base:
        return None
    tensor = base[entry.name]
    if tuple(tensor.shape) != entry.shape or dtypes.name_of(tensor) != entry.dtype:
        return None
    return dtypes.to_words(tensor)


def check_base(needed: bytes | None, base: State | None) -> State | None:
    """The base, if it is the one that a file needs; None if it needs none.

    Raises:
        CodecError: if there is none or another.
    """
    if needed is None:
        return None
    if base is None:
        raise CodecError(
            "the file holds the differences to another state dict, the one of digest "
            f"{needed.hex()}: give that as base=, to the command line as --base"
        )
    found = digest_of(base)
    if found != needed:
        raise CodecError(
            f"the file holds the differences to the state dict of digest {needed.hex()}, and the "
            f"base given has {found.hex()}: give the one that the file was packed with"
        )
    return base
