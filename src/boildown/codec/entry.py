"""What a file tells of a tensor before any of it is decoded, and what it gives of it."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from boildown.codec.coder import Anatomy
from boildown.codec.dtypes import itemsize, name_of, word_count
from boildown.codec.error import CodecError
from boildown.codec.kernels import Words

if TYPE_CHECKING:
    from torch import Tensor

ITEM_MOST = 1 << 20  # bytes of a config, and of a name; in memory up to 150 times as many
_DIMENSIONS_MOST = 64
_NUMEL_MOST = 1 << 48
_SHOWN = 40  # characters of a name or shape that a message quotes

Config = Mapping[str, Any]
State = Mapping[str, "Tensor"]
Progress = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass(frozen=True, slots=True)
class Entry:
    """One name of the state dict.

    Attributes:
        name: unique.
        dtype: one of `boildown.codec.dtypes.NAMES`.
        shape: each side 0 or above.
        tied: the place of the entry whose tensor this is, if it has none of its own.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    tied: int | None = None

    @property
    def numel(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def words(self) -> int:
        """Words of the tensor."""
        return word_count(self.dtype, self.numel)

    @property
    def bytes(self) -> int:
        """Bytes of the tensor."""
        return itemsize(self.dtype) * self.numel


@dataclass(frozen=True)
class Stored:
    """One tensor of a file, decoded.

    Attributes:
        place: of its entry.
        words: (entry.words,), writable.
        anatomy: what its bytes consist of.
        size: these bytes; a fraction where tensors share a stream.
    """

    place: int
    words: Words
    anatomy: Anatomy
    size: float


class Opened(Protocol):
    """A file whose index has been checked. It is read while its file is open."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    @property
    def config(self) -> dict[str, Any] | None:
        """What is stored beside the tensors."""

    @property
    def entries(self) -> Sequence[Entry]:
        """The names, in order."""

    @property
    def base(self) -> bytes | None:
        """The digest of the state dict without which the tensors cannot be decoded."""

    def stored(
        self, wanted: Collection[int] | None = None, base: State | None = None
    ) -> Iterator[Stored]:
        """The tensors that are not tied to others, one by one, in order.

        Args:
            wanted: places of the entries to give; by default all. What others alone take is not
                read.
            base: as for `boildown.codec.unpack`.

        Raises:
            CodecError: if the file does not hold what its index says, or needs another base.
        """


def check_item(item: "tuple[str, Tensor]") -> "Tensor":
    """The tensor of an item of a state dict.

    Raises:
        CodecError: naming it, if it cannot be packed.
    """
    from torch import Tensor

    name, tensor = item
    if not isinstance(name, str) or not isinstance(tensor, Tensor):
        kind = type(tensor).__name__
        raise CodecError(f"{name!r} is a {kind}; only named tensors can be packed: leave it out")
    try:
        name_of(tensor)
        check_shape(tensor.shape)
    except CodecError as error:
        raise CodecError(f"tensor {name!r}: {error}") from None
    return tensor


def check_shape(shape: Sequence[int]) -> None:
    """Refuse shapes with too many sides or elements, or with negative sides.

    Raises:
        CodecError: beyond 64 sides or 2^48 elements.
    """
    # Sides beside a 0 count as well: torch multiplies them when it computes strides.
    fits = len(shape) <= _DIMENSIONS_MOST and all(0 <= side <= _NUMEL_MOST for side in shape)
    if not fits or math.prod(max(side, 1) for side in shape) > _NUMEL_MOST:
        raise CodecError(f"the shape {str(list(shape))[:_SHOWN]} is beyond what a file can hold")


def check_length(packed: bytes, name: str | None) -> None:
    """Refuse a config (a name of None) or a name that takes more than a file can hold.

    Raises:
        CodecError: beyond 1 MiB.
    """
    if len(packed) > ITEM_MOST:
        what = "the config" if name is None else f"the name {name[:_SHOWN]!r}..."
        raise CodecError(
            f"{what} takes {len(packed):,} bytes, a file holds {ITEM_MOST:,} at most: shorten it"
        )
