"""How a matrix of symbols is coded: which rows and columns are empty, which way it is gone through.

All that is chosen is chosen by what it takes.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from boildown.codec.error import CodecError
from boildown.codec.huffman import code_lengths
from boildown.codec.mixed import stream as places
from boildown.codec.mixed import trees
from boildown.codec.mixed.stream import Stream

SIZES_MOST = 1 << 10  # symbols, so many different ones
_EVEN, _FIRST_APART, _GIVEN = range(3)
_FEW = 1 << 12  # symbols, for which even codes are tried as well
_MANY = 1 << 19  # symbols, beyond which a part tells how all are gone through
_PART = 1 << 15

Symbols = NDArray[np.int32]


@dataclass(frozen=True)
class _Way:
    """How a matrix is coded.

    Attributes:
        shape: which lengths its codes have.
        live: whether rows and columns of nothing but symbol 0 are told first.
        turn: whether it is gone through column by column.
        alone: whether each symbol is coded by how often it was, and by nothing else.
    """

    shape: int
    live: bool = False
    turn: bool = False
    alone: bool = False


def code_matrix(stream: Stream, symbols: Symbols, columns: int, size: int) -> None:
    """Write or read a matrix.

    Args:
        stream: to write to or to read from.
        symbols: (rows * columns,), row by row, below `size`; written where they are read.
        columns: of the matrix; 1 or more.
        size: different symbols, 1 to 1024.

    Raises:
        CodecError: for anything that is not written.
        Full: if there is no room.
    """
    if size < 2 or symbols.size == 0:
        symbols[:] = 0
        return
    way = _Way(_EVEN) if stream.reading else _chosen(stream, symbols, columns, size)
    _code(stream, symbols, columns, size, way)


def _chosen(stream: Stream, symbols: Symbols, columns: int, size: int) -> _Way:
    """What takes the fewest bits, chosen one after another."""
    rows = symbols.size // columns
    ways = [_Way(_GIVEN if size > 2 else _EVEN)]
    if symbols.size <= _FEW and size > 2:
        ways += [_Way(_EVEN), _Way(_FIRST_APART)]
    changes = []
    used = symbols.reshape(rows, columns) != 0
    if rows > 1 and not (used.any(0).all() and used.any(1).all()):
        changes.append("live")
    if rows > 1 < columns:
        changes.append("turn")
    changes.append("alone")
    part = symbols
    if symbols.size > _MANY:
        part = symbols[: max(_PART // columns, 1) * columns]

    def bits(way: _Way) -> float:
        return stream.cost(lambda: _code(stream, part.copy(), columns, size, way))

    least, best = min(((bits(way), way) for way in ways), key=lambda found: found[0])
    for change in changes:
        way = replace(best, **{change: True})
        found = bits(way)
        if found < least:
            least, best = found, way
    return best


def _code(stream: Stream, symbols: Symbols, columns: int, size: int, way: _Way) -> None:
    rows = symbols.size // columns
    matrix = symbols.reshape(rows, columns)
    alive: tuple[NDArray[np.bool_], ...] = ()
    if rows > 1 and stream.small(places.LIVE, int(way.live), 1):
        alive = _alive(stream, matrix)
        matrix = matrix[np.ix_(*alive)]
    turn = min(matrix.shape) > 1 and bool(stream.small(places.TURNED, int(way.turn), 1))
    inner = np.ascontiguousarray(matrix.T if turn else matrix).reshape(-1)
    if inner.size:
        alone = bool(stream.small(places.ALONE, int(way.alone), 1))
        tree = _tree(stream, inner, size, way.shape)
        stream.plane(inner, matrix.shape[0 if turn else 1], tree, alone)
    if not stream.reading:
        return
    found = inner.reshape(matrix.shape[::-1]).T if turn else inner.reshape(matrix.shape)
    whole = np.zeros((rows, columns), np.int32) if alive else found
    if alive:
        whole[np.ix_(*alive)] = found
    symbols.reshape(rows, columns)[:] = whole


def _alive(stream: Stream, matrix: NDArray[np.int32]) -> tuple[NDArray[np.bool_], ...]:
    """Which rows and columns are not all symbol 0."""
    found = []
    for place, axis in ((places.ALIVE, 1), (places.ALIVE + 8, 0)):
        flags = (matrix != 0).any(axis).astype(np.int64)
        stream.flags(place, flags)
        found.append(flags == 1)
    return tuple(found)


def _tree(stream: Stream, symbols: Symbols, size: int, shape: int) -> trees.Tree:
    shape = stream.small(places.SHAPE, shape, 2) if size > 2 else _EVEN
    if shape == _EVEN:
        lengths = trees.even(size)
    elif shape == _FIRST_APART:
        lengths = trees.first_apart(size)
    else:
        lengths = np.zeros(size, np.int64)
        if not stream.reading:
            lengths = code_lengths(np.bincount(symbols, minlength=size))
            if np.count_nonzero(lengths) < 2:  # a code of two, one of which is all there is
                lengths[:] = 0
                lengths[[int(symbols[0]), int(symbols[0] == 0)]] = 1
        stream.lengths(lengths)
    tree = trees.tree_of(lengths) if lengths.max() <= trees.LONGEST else None
    if tree is None:
        raise CodecError("the lengths of its codes belong to no code")
    return tree
