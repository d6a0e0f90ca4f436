"""What each tensor takes in a file, in the columns of Deep Compression's tables.

Source: Han, Mao and Dally 2016, tables 2 to 5, https://arxiv.org/abs/1510.00149
"""

import os
from dataclasses import dataclass, replace

import numpy as np

from boildown.codec import grid, zeros
from boildown.codec.blocks import Blocks
from boildown.codec.bytewise import Reader
from boildown.codec.codebook import find_codebook
from boildown.codec.container import naming, open_file
from boildown.codec.entry import Entry, State, Stored
from boildown.codec.kernels import Words
from boildown.codec.mixed.matrices import SIZES_MOST
from boildown.codec.mixed.pieces import weigh
from boildown.codec.piece import Piece
from boildown.codec.steps import codes_of
from boildown.codec.tensor import plan, read_words
from boildown.files.regular import open_regular

_SORTED_MOST = 1 << 24  # words, to count distinct ones of which takes seconds
_MIXED_FEW = ("codebook", "constant", "floats", "grid")

__all__ = ["FileReport", "TensorReport", "inspect", "inspect_file"]


@dataclass(frozen=True)
class TensorReport:
    """One tensor of a file.

    Attributes:
        name: in the state dict.
        shape: of the tensor.
        dtype: its name, such as "float32".
        numel: elements.
        nonzero: elements that are not 0, of either sign.
        distinct: distinct nonzero bit patterns; None for over 65,536 where there are over 2^24
            words.
        coder: the representation: "raw", "constant", "dense huffman", "sparse huffman",
            "sparse raw", "grid dense huffman", ... of plain sections, "codebook", "floats", "grid",
            ... of mixed ones; or "tied to NAME" for a tensor stored under
            another name.
        weight_bits: bits of a code of fixed length, ceil(log2(values in the codebook)); of a grid,
            of its whole numbers.
        weight_bits_coded: average bits of a stored weight's code.
        position_bits: width of a gap.
        position_bits_coded: average bits of a gap.
        fillers: gaps that stand for zeros alone, because one gap could not hold them all. So
            positions take (nonzero + fillers) * position_bits_coded bits in all.
        bytes: codebook and code lengths included; rounded where tensors share a stream.
        fraction: of the bytes of the file, in [0, 1].
        runner_up: the representation that would have taken the next fewest bytes; None unless
            asked for, and where there is no other.
        runner_up_bytes: what it takes in a stream of its own.

    The bits are None where the representation has no such thing.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    numel: int
    nonzero: int
    distinct: int | None
    coder: str
    weight_bits: int | None
    weight_bits_coded: float | None
    position_bits: int | None
    position_bits_coded: float | None
    fillers: int | None
    bytes: int
    fraction: float
    runner_up: str | None = None
    runner_up_bytes: int | None = None


@dataclass(frozen=True)
class FileReport:
    """A whole file.

    Attributes:
        tensors: in the order of the state dict.
        bytes: of the file.
        header: bytes that belong to no tensor: names, shapes, config, checksums.
    """

    tensors: list[TensorReport]
    bytes: int
    header: int

    @property
    def dense_bytes(self) -> int:
        """Bytes of the same elements as dense fp32, tied tensors once."""
        return sum(4 * t.numel for t in self.tensors if not t.coder.startswith("tied"))


def inspect(path: str | os.PathLike[str]) -> list[TensorReport]:
    """What each tensor of a file takes; the `tensors` of `inspect_file`.

    Args:
        path: of the file; its content is untrusted.

    Raises:
        CodecError: unless this is an intact file.
        OSError: if the file cannot be read.
    """
    return inspect_file(path).tensors


def inspect_file(
    path: str | os.PathLike[str], *, base: State | None = None, runner_up: bool = False
) -> FileReport:
    """What a file consists of. Every tensor is decoded, one at a time.

    Args:
        path: of the file; its content is untrusted.
        base: the state dict that the file tells the differences to, if it does.
        runner_up: whether all other representations of each tensor are tried, which takes as long
            as packing it several times.

    Raises:
        CodecError: unless this is an intact file, and the base the one that it needs.
        OSError: if the file cannot be read.
    """
    with open_regular(path) as file, naming(path):
        opened = open_file(file)
        stored = opened.stored(base=base)
        tensors: list[TensorReport] = []
        exact = given = 0.0  # bytes of a stream that tensors share are fractions
        for entry in opened.entries:
            if entry.tied is not None:
                tensors.append(_tied(entry.name, tensors[entry.tied]))
                continue
            one = next(stored)
            exact += one.size
            size = round(exact - given)
            given += size
            report = _report(entry, one, size, opened.size)
            tensors.append(_with_runner_up(report, one.words) if runner_up else report)
    header = opened.size - sum(tensor.bytes for tensor in tensors)
    return FileReport(tensors, opened.size, header)


def _report(entry: Entry, one: Stored, size: int, in_all: int) -> TensorReport:
    nonzero, distinct = _count(one.words, entry)
    return TensorReport(
        name=entry.name,
        shape=entry.shape,
        dtype=entry.dtype,
        numel=entry.numel,
        nonzero=nonzero,
        distinct=distinct,
        coder=one.anatomy.coder,
        weight_bits=_nominal(entry, one, distinct),
        weight_bits_coded=one.anatomy.weight_bits_coded,
        position_bits=one.anatomy.position_bits,
        position_bits_coded=one.anatomy.position_bits_coded,
        fillers=one.anatomy.fillers,
        bytes=size,
        fraction=size / in_all,
    )


def _nominal(entry: Entry, one: Stored, distinct: int | None) -> int | None:
    """Bits of a code of fixed length, which streams of mixed predictions do not tell."""
    form = one.anatomy.coder
    if one.anatomy.weight_bits is not None or not form.startswith(_MIXED_FEW):
        return one.anatomy.weight_bits
    if form.startswith("grid"):
        words = zeros.unsigned(one.words, entry.dtype)
        found = grid.find(Blocks(words, entry.dtype, channel=_channel(entry)))
        if found is not None:
            numbers = words.view(np.float32).reshape(-1, found.length)
            return (len(np.unique(codes_of(numbers, found.steps))) - 1).bit_length()
    if distinct is None:
        return None
    few = form.startswith(("codebook", "constant")) or 2 * distinct <= entry.numel
    return (max(distinct, 1) - 1).bit_length() if few and distinct <= SIZES_MOST else None


def _channel(entry: Entry) -> int:
    return entry.words // entry.shape[0] if len(entry.shape) > 1 else 0


def _with_runner_up(report: TensorReport, words: Words) -> TensorReport:
    """The cheapest representation whose name is another."""
    if not words.size:
        return report
    channel = words.size // report.shape[0] if len(report.shape) > 1 else 0
    plain = b"".join(bytes(part) for part in plan(words, report.dtype, channel=channel).write())
    anatomy = read_words(Reader(plain), report.dtype, words.size)[1]
    ways = [(anatomy.coder, float(len(plain)))]
    ways += weigh(Piece(words, report.dtype, channel or words.size))
    chosen = report.coder.partition(",")[0]
    others = sorted((size, name) for name, size in ways if name.partition(",")[0] != chosen)
    if not others or chosen == "constant":
        return report
    size, name = others[0]
    return replace(report, runner_up=name, runner_up_bytes=round(size))


def _tied(name: str, other: TensorReport) -> TensorReport:
    return TensorReport(
        name=name,
        shape=other.shape,
        dtype=other.dtype,
        numel=other.numel,
        nonzero=other.nonzero,
        distinct=other.distinct,
        coder=f"tied to {other.name}",
        weight_bits=None,
        weight_bits_coded=None,
        position_bits=None,
        position_bits_coded=None,
        fillers=None,
        bytes=0,
        fraction=0.0,
    )


def _count(words: Words, entry: Entry) -> tuple[int, int | None]:
    """Nonzero elements, and distinct ones among them."""
    if words.size > entry.numel:  # two words to an element
        pairs = zeros.unsigned(words, entry.dtype).reshape(entry.numel, -1)
        pairs = pairs[(pairs != 0).any(1)]
        return len(pairs), len(np.unique(pairs, axis=0))
    blocks = Blocks(words, entry.dtype, unsigned=True)
    nonzero = sum(int(np.count_nonzero(block)) for block in blocks)
    book = find_codebook(blocks)
    if book is not None:
        return nonzero, book.words.size
    if words.size > _SORTED_MOST:
        return nonzero, None
    values = np.sort(
        zeros.unsigned(words, entry.dtype)
    )  # np.unique hashes, at a tenth of the speed
    first = np.append([True], values[1:] != values[:-1])
    return nonzero, int(np.count_nonzero(values[first]))
