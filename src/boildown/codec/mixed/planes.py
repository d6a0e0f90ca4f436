"""A matrix of symbols, each decision of its code predicted by six counters that are mixed.

What is known of a symbol before it is read: how often each symbol was in the matrix, in its row and
in its column; what stands to its left and above; how large symbols were on average in the row and
in the column.  Rows and columns are where zeros of pruned networks gather, and what scales weights.

Source: the mixing is that of Mahoney 2005, equations of section 3,
https://cs.fit.edu/~mmahoney/compression/cs200516.pdf
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from boildown.codec.kernels import Bytes
from boildown.codec.mixed.arithmetic import AT, LEFT, UNKNOWN, Counters, State, decide, renewed
from boildown.codec.mixed.tables import COUNTED, MOST, RATE, SQUASH, STRETCH
from boildown.codec.mixed.trees import Tree
from boildown.compiled import compiled

INPUTS = 6
SETS = 64  # of weights: 4 kinds of nodes, 4 ages of a row, 4 of a column
FIRST_WEIGHT = 10486  # 0.16, times 65536
_LEARNING, _SHIFT = 3, 18
_TOP = 4  # nodes that columns have counters of their own for
_KINDS = 8  # of symbols, by their level
_MEANS, _FINE = 16, 32  # of rows and columns, and of both together
_SLOWEST = 100  # symbols that a mean is over
_MIDDLE = 32768
_NEAR, _BOTH, _ALONE = _KINDS * _KINDS, _MEANS * _MEANS, _FINE * _KINDS

Weights = NDArray[np.int64]


def weights() -> Weights:
    """What the mixing starts with, (64, 6)."""
    return np.full((SETS, INPUTS), FIRST_WEIGHT, np.int64)


def code_plane(
    state: State,
    data: Bytes,
    mixing: Weights,
    symbols: NDArray[np.int32],
    columns: int,
    tree: Tree,
    alone: bool,
    reading: bool,
) -> bool:
    """Write or read a matrix.

    Args:
        state: of the coder, changed.
        data: written or read.
        mixing: (64, 6), the weights of the mixing, which learn.
        symbols: (rows * columns,), row by row; written where they are read.
        columns: of the matrix.
        tree: their code.
        alone: whether nothing but how often each symbol was tells of the next.
        reading: whether they are read.

    Returns:
        False where the data is full, or was read to beyond its end.
    """
    nodes = len(tree.children)
    if alone:
        counters = np.full(nodes, UNKNOWN, np.uint32)
        return bool(
            _code_alone(
                state, data, symbols, tree.children, tree.codes, tree.lengths, counters, reading
            )
        )
    single = symbols.size == columns
    own = 0 if single else columns * min(_TOP, nodes)
    counters = np.full(nodes * (3 + _NEAR + _BOTH + _ALONE) + own, UNKNOWN, np.uint32)
    kept = 1 if single else columns
    means, seen = np.full(kept, _MIDDLE, np.int64), np.zeros(kept, np.int64)
    return bool(
        _code(state, data, mixing, symbols, columns, *tree, counters, own, means, seen, reading)
    )


@compiled
def _code(
    state: State,
    data: Bytes,
    mixing: Weights,
    symbols: NDArray[np.int32],
    columns: int,
    children: Any,
    codes: Any,
    lengths: Any,
    levels: Any,
    counters: Counters,
    own: int,
    means: Any,
    seen: Any,
    reading: bool,
) -> bool:
    nodes = len(children)
    starts, steps = np.empty(INPUTS, np.int64), np.ones(INPUTS, np.int64)
    places, inputs = np.empty(INPUTS, np.uint64), np.empty(INPUTS, np.int64)
    steps[3], steps[4], steps[5] = _NEAR, _BOTH, _ALONE
    overall, everything, mean, count = np.int64(_MIDDLE), 0, np.int64(_MIDDLE), 0
    top = min(_TOP, nodes) if own else 0
    column_counters = 2 * nodes
    column = columns - 1
    for at in range(symbols.size):
        column += 1
        if column == columns:
            column = 0
            counters[nodes : 2 * nodes] = UNKNOWN
            mean, count = overall, 0
        kept = column if own else 0
        if state[AT] > data.size - (-4 if reading else LEFT):
            return False
        if seen[kept] == 0:
            means[kept] = overall
        _look(symbols, at, column, columns, levels, mean, means[kept], nodes, own, starts)
        symbol = 0 if reading else symbols[at]
        depth, node = lengths[symbol], 0
        ages = _age(count) * 4 + _age(seen[kept])
        while node >= 0:
            for i in range(INPUTS):
                places[i] = np.uint64(starts[i] + node * steps[i])
            if node < top:
                places[2] = np.uint64(column_counters + column * top + node)
            depth -= 1
            bit = 0 if reading else codes[symbol] >> depth & 1
            which = mixing[min(node, 3) * 16 + ages]
            bit = _mixed(state, data, which, counters, places, inputs, bit, reading)
            node = children[node, bit]
        symbols[at] = -1 - node
        level = levels[-1 - node]
        mean += (level - mean) * RATE[min(count, _SLOWEST)] >> 16
        means[kept] += (level - means[kept]) * RATE[min(seen[kept], _SLOWEST)] >> 16
        overall += (level - overall) * RATE[min(everything, COUNTED)] >> 16
        count, everything = count + 1, everything + 1
        seen[kept] += 1
    return True


@compiled
def _code_alone(
    state: State,
    data: Bytes,
    symbols: NDArray[np.int32],
    children: Any,
    codes: Any,
    lengths: Any,
    counters: Counters,
    reading: bool,
) -> bool:
    for at in range(symbols.size):
        if state[AT] > data.size - (-4 if reading else LEFT):
            return False
        symbol = 0 if reading else symbols[at]
        depth, node = lengths[symbol], 0
        while node >= 0:
            depth -= 1
            bit = 0 if reading else codes[symbol] >> depth & 1
            counter = np.int64(counters[node])
            bit = decide(state, data, max(counter >> 16, 1), bit, reading)
            counters[node] = np.uint32(renewed(counter, bit, COUNTED))
            node = children[node, bit]
        symbols[at] = -1 - node
    return True


@compiled
def _age(count: Any) -> Any:
    return count if count < 2 else 2 if count < 16 else 3


@compiled
def _look(
    symbols: Any,
    at: int,
    column: int,
    columns: int,
    levels: Any,
    mean: Any,
    other: Any,
    nodes: int,
    own: int,
    starts: Any,
) -> None:
    """Where the counters of the root are, by what is known of a symbol."""
    left = levels[symbols[at - 1]] >> 13 if column > 0 else 0
    far = levels[symbols[at - 2]] >> 13 if column > 1 else 0
    above = levels[symbols[at - columns]] >> 13 if at >= columns else 0
    starts[0], starts[1], starts[2] = 0, nodes, 2 * nodes + own
    start = 3 * nodes + own
    starts[3] = start + above * _KINDS + left
    start += nodes * _NEAR
    starts[4] = start + (mean >> 12) * _MEANS + (other >> 12)
    starts[5] = start + nodes * _BOTH + (mean + other >> 12) * _KINDS + far


@compiled
def _mixed(
    state: State,
    data: Bytes,
    which: Any,
    counters: Counters,
    places: Any,
    inputs: Any,
    bit: Any,
    reading: bool,
) -> Any:
    """A decision by the mixture of six counters, all of which learn from it."""
    sum_: Any = np.int64(0)
    for i in range(INPUTS):
        inputs[i] = STRETCH[counters[places[i]] >> np.uint32(20)]
        sum_ += which[i] * inputs[i]
    odds: Any = sum_ >> 16
    odds = MOST if odds > MOST else -MOST if odds < -MOST else odds
    chance = SQUASH[np.uint64(odds + MOST)]
    bit = decide(state, data, chance, bit, reading)
    error = ((bit << 16) - chance) * _LEARNING
    for i in range(INPUTS):
        which[i] += inputs[i] * error + (1 << _SHIFT - 1) >> _SHIFT
        counters[places[i]] = np.uint32(renewed(np.int64(counters[places[i]]), bit, COUNTED))
    return bit
