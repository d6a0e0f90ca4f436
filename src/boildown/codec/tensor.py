"""One tensor as bytes: the table of coders, the choice among them, and the way back.

The first byte tells the coder; what follows is the coder's own:

    raw              the values; the first byte also tells their form
    dense            codebook and codes of all elements
    sparse, raw      gaps, form of the values, values of the nonzero elements
    sparse           gaps, codebook and codes of the nonzero elements
    signed zeros     one of the others, of the tensor with 0.0 for -0.0; the signs of the zeros
    grid             steps of blocks; whole numbers, int8 or int16, by one of the first four
    planes           the lowest bytes of all words, then the next, each by one of the first four

Three of the four values of its low two bits are coders that tell something in the other six. Where
the low bits are 01, the whole byte is the number of a coder: 1, 5, 9, ... 253.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain

import numpy as np

from boildown.codec import dense, grid, planes, raw, sparse, zeros
from boildown.codec.blocks import Blocks
from boildown.codec.bytewise import Reader
from boildown.codec.coder import Anatomy, Coder, Plan, Survey, survey_of
from boildown.codec.dtypes import word_count
from boildown.codec.error import CodecError
from boildown.codec.kernels import Words

RAW, DENSE, SPARSE_RAW, SPARSE = range(4)
SIGNED_ZEROS, GRID, PLANES = 5, 9, 13
_MODE_BITS = 2


def plan(
    words: Words, dtype: str, *, zero_signs: bool = True, channel: int = 0, paper: bool = False
) -> Plan:
    """Choose the coder that takes the fewest bytes, all counted.

    Args:
        words: (n,), the bit patterns of a tensor; may be empty. Must not change until written.
        dtype: of the tensor.
        zero_signs: whether -0.0 stays -0.0.
        channel: words to each place along the tensor's first axis; 0 if it has no other.
        paper: whether only what Deep Compression has may be used: codebooks, gaps, Huffman codes.
    """
    coders = _within(PLANES) if paper else CODERS
    return _cheapest(Blocks(words, dtype, not zero_signs, channel), coders, paper)


def _cheapest(blocks: Blocks, coders: Mapping[int, Coder], paper: bool) -> Plan:
    survey = survey_of(blocks, paper=paper)
    chosen, best = RAW, raw.plan(survey, 0)  # which stores anything, empty tensors too
    for number, coder in coders.items() if blocks.size else ():
        found = coder.plan(survey, best.size)
        if found is not None and found.size < best.size:
            chosen, best = number, found
    first = bytes([chosen | best.extra << _MODE_BITS])
    return Plan(1 + best.size, lambda: chain([first], best.write()))


def read_tensor(data: bytes | memoryview, dtype: str, numel: int) -> tuple[Words, Anatomy]:
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
    source = Reader(data)
    words, anatomy = read_words(source, dtype, word_count(dtype, numel))
    if source.left:
        raise CodecError(
            f"{source.left} bytes are left over after the tensor, at its byte {source.at}"
        )
    return words, anatomy


def read_words(source: Reader, dtype: str, size: int) -> tuple[Words, Anatomy]:
    """The next tensor of several; as `read_tensor`, of so many words."""
    return _read(source, dtype, size, CODERS)


def _read(
    source: Reader, dtype: str, size: int, coders: Mapping[int, Coder]
) -> tuple[Words, Anatomy]:
    first = source.byte()
    number, extra = first & (1 << _MODE_BITS) - 1, first >> _MODE_BITS
    if number == DENSE:
        number, extra = first, 0
    if number not in coders:
        raise CodecError(
            f"the first byte, {first}, stands for no way of storing a tensor, "
            "none that this version knows"
        )
    return coders[number].read(source, dtype, size, extra)


def _plan_signed(survey: Survey, limit: int) -> Plan | None:
    blocks, dtype = survey.blocks, survey.dtype
    size = zeros.signs_size(blocks, dtype)
    if size == 0:
        return None
    within = _within(SIGNED_ZEROS, PLANES) if survey.paper else _within(SIGNED_ZEROS)
    rest = _cheapest(replace(blocks, unsigned=True), within, survey.paper)
    return Plan(rest.size + size, lambda: chain(rest.write(), zeros.signs(blocks, dtype)))


def _read_signed(source: Reader, dtype: str, size: int, extra: int) -> tuple[Words, Anatomy]:
    words, anatomy = _read(source, dtype, size, _within(SIGNED_ZEROS))
    signs = np.frombuffer(source.take(zeros.size_of(words, dtype)), np.uint8)
    zeros.sign(words, dtype, signs)
    return words, replace(anatomy, coder=f"{anatomy.coder}, signed zeros")


def _plan_grid(survey: Survey, limit: int) -> Plan | None:
    return grid.plan(survey, limit, lambda b: _cheapest(b, _simple(), survey.paper))


def _read_grid(source: Reader, dtype: str, size: int, extra: int) -> tuple[Words, Anatomy]:
    return grid.read(source, dtype, size, lambda d, n: _read(source, d, n, _simple()))


def _plan_planes(survey: Survey, limit: int) -> Plan | None:
    return planes.plan(survey, limit, lambda b: _cheapest(b, _simple(), survey.paper))


def _read_planes(source: Reader, dtype: str, size: int, extra: int) -> tuple[Words, Anatomy]:
    return planes.read(source, dtype, size, lambda d, n: _read(source, d, n, _simple()))


def _simple() -> dict[int, Coder]:
    """The coders that enclose no other."""
    return _within(SIGNED_ZEROS, GRID, PLANES)


def _within(*outside: int) -> dict[int, Coder]:
    """The coders that another may enclose: a file must not nest them without end."""
    return {number: coder for number, coder in CODERS.items() if number not in outside}


# Closed: a file must never name code to import. A new coder takes the next free number (17, 21, ...
# 253) and keeps it for ever, as files hold it. Of two that take as many bytes the first is chosen.
CODERS: dict[int, Coder] = {
    RAW: Coder(raw.plan, raw.read),
    DENSE: Coder(dense.plan, dense.read),
    SPARSE_RAW: Coder(sparse.plan_raw, sparse.read_raw),
    SPARSE: Coder(sparse.plan, sparse.read),
    SIGNED_ZEROS: Coder(_plan_signed, _read_signed),
    GRID: Coder(_plan_grid, _read_grid),
    PLANES: Coder(_plan_planes, _read_planes),
}
