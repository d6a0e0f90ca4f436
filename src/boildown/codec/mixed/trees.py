"""Codes as trees of decisions: how symbols of known lengths are told apart, and what they say."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from boildown.compiled import compiled

LONGEST = 24  # bits of a code
_WHOLE = 1 << LONGEST


class Tree(NamedTuple):
    """A complete canonical code.

    Attributes:
        children: (nodes, 2), from the root on, level by level and from left to right: a node, or
            -1 - s for symbol s.
        codes: (k,), of each symbol, its first bit the highest.
        lengths: (k,), bits of the codes; 0 for symbols without.
        levels: (k,), 0 to 65520: how many of all symbols are probably below each, times 65536.
    """

    children: NDArray[np.int64]
    codes: NDArray[np.int64]
    lengths: NDArray[np.int64]
    levels: NDArray[np.int64]


def tree_of(lengths: NDArray[np.int64]) -> Tree | None:
    """The tree of canonical codes of these lengths.

    Args:
        lengths: (k,), bits, 0 to 24.

    Returns:
        None unless each way ends at one symbol, and there are two symbols or more.
    """
    used = int(np.count_nonzero(lengths))
    if used < 2 or (_WHOLE >> lengths[lengths > 0]).sum() != _WHOLE:
        return None
    children = np.empty((used - 1, 2), np.int64)
    codes, levels = np.zeros_like(lengths), np.empty_like(lengths)
    _grow(lengths, children, codes, levels)
    return Tree(children, codes, lengths, levels)


def even(size: int) -> NDArray[np.int64]:
    """Lengths that differ by one bit at most, the shorter first.

    Args:
        size: symbols, 1 or more.
    """
    bits = (size - 1).bit_length()
    short = (1 << bits) - size
    return np.where(np.arange(size) < short, bits - 1, bits)


def first_apart(size: int) -> NDArray[np.int64]:
    """One bit for symbol 0, and even lengths for the others.

    Args:
        size: symbols, 2 or more.
    """
    return np.concatenate([[1], 1 + even(size - 1)])


@compiled
def _grow(lengths: Any, children: Any, codes: Any, levels: Any) -> None:
    ranked = np.argsort(lengths, kind="mergesort")
    ranked = ranked[np.count_nonzero(lengths == 0) :]
    node, rank, inner, code = 0, 0, 1, 0  # of one level: its first node, and how many there are
    for depth in range(1, LONGEST + 1):
        code <<= 1
        leaves = 0
        while rank + leaves < ranked.size and lengths[ranked[rank + leaves]] == depth:
            codes[ranked[rank + leaves]] = code + leaves
            leaves += 1
        for slot in range(2 * inner):
            child = -1 - ranked[rank + slot] if slot < leaves else node + inner + slot - leaves
            children[node + slot // 2, slot % 2] = child
        node, rank, code = node + inner, rank + leaves, code + leaves
        inner = 2 * inner - leaves
        if inner == 0:
            break
    below = 0
    for symbol in range(lengths.size):
        part = _WHOLE >> lengths[symbol] if lengths[symbol] else 0
        levels[symbol] = (below + part // 2 >> 12) << 4
        below += part
