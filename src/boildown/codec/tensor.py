"""One tensor as bytes: its representations, the choice among them, and the way back.

The first byte tells the representation; what follows depends on it:

    raw              form of the values in the first byte; the values
    dense            codebook and codes of all elements
    sparse, raw      gaps, form of the values, values of the nonzero elements
    sparse           gaps, codebook and codes of the nonzero elements
    signed zeros     one of the others, of the tensor with 0.0 for -0.0; the signs of the zeros
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from boildown.codec import kernels, values, zeros
from boildown.codec.bytewise import Reader
from boildown.codec.codebook import Codebook, cheapest_code, find_codebook, read_code
from boildown.codec.dtypes import word_count, word_type
from boildown.codec.error import CodecError
from boildown.codec.gaps import GapCode, cheapest_gaps, read_gaps
from boildown.codec.kernels import Words

RAW, DENSE, SPARSE_RAW, SPARSE = range(4)
_PAST_MODE = 2  # the lowest two bits of the first byte tell the representation
SIGNED_ZEROS = DENSE | 1 << _PAST_MODE
_PAST_WIDTH = 5  # the next three bits tell the width of a gap, the last three how gaps are coded

Piece = bytes | memoryview


@dataclass(frozen=True)
class Plan:
    """The cheapest way to write one tensor.

    Attributes:
        size: bytes, exactly.
        write: makes them.
    """

    size: int
    write: Callable[[], list[Piece]]


@dataclass(frozen=True)
class Anatomy:
    """What a tensor's bytes consist of; see `TensorReport`, which repeats the fields."""

    coder: str
    weight_bits: int | None = None
    weight_bits_coded: float | None = None
    position_bits: int | None = None
    position_bits_coded: float | None = None
    fillers: int | None = None


def plan(words: Words, dtype: str) -> Plan:
    """Choose the representation that takes the fewest bytes, all counted.

    Args:
        words: (n,), the bit patterns of a tensor; may be empty. Must not change until written.
        dtype: of the tensor.
    """
    best = _plan(words, dtype)
    unsigned = zeros.unsigned(words, dtype)
    if unsigned is words:
        return best
    signs = zeros.signs(words, dtype)
    rest = _plan(unsigned, dtype)
    size = 1 + rest.size + signs.size
    if size >= best.size:
        return best
    return Plan(size, lambda: [bytes([SIGNED_ZEROS]), *rest.write(), signs.data])


def _plan(words: Words, dtype: str) -> Plan:
    """The cheapest representation in which -0.0 is a value like any other."""
    nonzero, histograms = kernels.survey(words)
    survivors = words
    if nonzero < words.size:
        survivors = np.empty(nonzero, words.dtype)
        kernels.gather(words, survivors)
    book = find_codebook(survivors)
    form = values.narrowest_form(survivors if book is None else book.words, dtype)

    head = bytes([RAW | form << _PAST_MODE])
    raw_size = 1 + values.stored_size(words.size, words, form)
    best = Plan(raw_size, lambda: [head, values.store(words, dtype, form)])
    if words.size == 0:
        return best
    if book is not None and book.words.size + (nonzero < words.size) <= kernels.DISTINCT_MOST:
        best = _dense(words, book, dtype, form, best)
    if 0 < nonzero < words.size:
        gaps = cheapest_gaps(histograms)
        gap_head = gaps.head()
        start = (gaps.width - 1) << _PAST_MODE | gaps.coder << _PAST_WIDTH
        spent = 1 + len(gap_head) + -(-gaps.bits // 8)
        size = spent + 1 + values.stored_size(nonzero, words, form)
        if size < best.size:
            stored_form = bytes([form])
            sparse_raw = bytes([SPARSE_RAW | start]) + gap_head
            best = Plan(
                size,
                lambda: [
                    sparse_raw,
                    gaps.stream(words),
                    stored_form,
                    values.store(survivors, dtype, form),
                ],
            )
        if book is not None:
            start_bytes = bytes([SPARSE | start]) + gap_head
            best = _sparse(words, book, gaps, start_bytes, dtype, form, best)
    return best


def _sparse(
    words: Words,
    book: Codebook,
    gaps: GapCode,
    start: bytes,
    dtype: str,
    form: int,
    best: Plan,
) -> Plan:
    """Gaps and a codebook over the nonzero elements, if that beats `best`."""
    spent = len(start) + -(-gaps.bits // 8)
    code = cheapest_code(book.words, book.counts, dtype, form, best.size - spent)
    if code is None:
        return best
    return Plan(
        spent + code.size,
        lambda: [start, gaps.stream(words), code.head, code.stream(book.codes)],
    )


def _dense(words: Words, book: Codebook, dtype: str, form: int, best: Plan) -> Plan:
    """A codebook over all elements, zero among them, if that beats `best`."""
    found, counts = book.words, book.counts
    zeros = words.size - book.codes.size
    if zeros:
        found = np.append(found, words.dtype.type(0))
        counts = np.append(counts, zeros)
    code = cheapest_code(found, counts, dtype, form, best.size - 1)
    if code is None:
        return best

    def write() -> list[Piece]:
        codes = book.codes
        if zeros:
            codes = np.full(words.size, found.size - 1, np.uint16)
            codes[words != 0] = book.codes
        return [bytes([DENSE]), code.head, code.stream(codes)]

    return Plan(1 + code.size, write)


def read_tensor(data: bytes, dtype: str, numel: int) -> tuple[Words, Anatomy]:
    """The inverse of `plan`.

    Memory is allocated only once the bytes are known to suffice for it. The exception is a tensor
    of one value throughout, whose codes take no bits: there the caller has bounded `numel`.

    Args:
        data: untrusted.
        dtype: of the tensor.
        numel: elements of the tensor.

    Returns:
        (words,), writable, and what the bytes consist of.

    Raises:
        CodecError: for anything that `plan` does not write.
    """
    read = Reader(data)
    first = read.byte()
    signed = first == SIGNED_ZEROS
    words, anatomy = _read(read, read.byte() if signed else first, dtype, numel)
    if signed:
        signs = np.frombuffer(read.take(zeros.size_of(words, dtype)), np.uint8)
        zeros.sign(words, dtype, signs)
        anatomy = replace(anatomy, coder=f"{anatomy.coder}, signed zeros")
    if read.left:
        raise CodecError(f"{read.left} bytes are left over after the tensor, at its byte {read.at}")
    return words, anatomy


def _read(read: Reader, first: int, dtype: str, numel: int) -> tuple[Words, Anatomy]:
    """Read what follows the first byte, in any representation but that of signed zeros."""
    word = word_type(dtype)
    size = word_count(dtype, numel)
    mode, rest = first & 3, first >> _PAST_MODE
    if mode == RAW:
        stored = read.take(values.size_of(rest, size, dtype, word.itemsize))
        words = values.load(stored, dtype, rest, word)
        return (words if words.flags.writeable else words.copy()), Anatomy("raw")
    if mode == DENSE:
        if rest:
            raise CodecError(f"the first byte, {first}, stands for no way of storing a tensor")
        code = read_code(read, size, dtype, word)
        bits = (code.words.size - 1).bit_length()
        name = f"dense {code.coder}" if bits else "constant"
        return code.words[code.codes], Anatomy(name, bits, 8 * code.size / max(size, 1))
    width, coder = (rest & 7) + 1, first >> _PAST_WIDTH
    symbols, nonzero, taken = read_gaps(read, width, coder, size)
    positions = (width, 8 * taken / symbols.size, symbols.size - nonzero)
    if mode == SPARSE_RAW:
        form = read.byte()
        stored = read.take(values.size_of(form, nonzero, dtype, word.itemsize))
        survivors = values.load(stored, dtype, form, word)
        anatomy = Anatomy("sparse raw", None, None, *positions)
    else:
        code = read_code(read, nonzero, dtype, word)
        survivors = code.words[code.codes]
        bits = (code.words.size - 1).bit_length()
        coded = 8 * code.size / nonzero
        anatomy = Anatomy(f"sparse {code.coder}", bits, coded, *positions)
    words = np.zeros(size, word)
    if not kernels.place(symbols, width, survivors, words):
        raise CodecError(f"the positions lead past the end of its {size} elements")
    return words, anatomy
