"""The best way to cut an ordered sequence into k runs: compiled dynamic programming."""

import numpy as np
from numpy.typing import NDArray

from boildown.compiled import compiled

Floats = NDArray[np.float64]


def best_cuts(counts: Floats, sums: Floats, squares: Floats, k: int) -> NDArray[np.int64]:
    """Where runs 2 to k begin so that the squared distance to the runs' means is least.

    O(k n log n) time by divide and conquer, for the best cut moves one way only; 4 k n bytes.

    Args:
        counts: (n,) members of each item, positive.
        sums: (n,) sums of the members, best measured from near their middle.
        squares: (n,) sums of their squares, or that up to a constant for each item.
        k: runs, 1 <= k <= n.

    Returns:
        (k - 1,) ascending positions.
    """
    totals = [np.concatenate([[0.0], np.cumsum(part)]) for part in (counts, sums, squares)]
    return _cuts(totals[0], totals[1], totals[2], k)


@compiled
def _cost(w: Floats, s: Floats, q: Floats, i: int, j: int) -> float:
    total = s[j] - s[i]
    return float(q[j] - q[i] - total * total / (w[j] - w[i]))


@compiled
def _cuts(w: Floats, s: Floats, q: Floats, k: int) -> NDArray[np.int64]:
    n = len(w) - 1
    last = np.zeros((k, n + 1), np.int32)  # last[c, j]: where run c begins if runs 0 to c end at j
    before = np.empty(n + 1)
    now = np.empty(n + 1)
    before[0] = 0.0
    for j in range(1, n + 1):
        before[j] = _cost(w, s, q, 0, j)
    stack = np.empty((128, 4), np.int64)
    for c in range(1, k):
        top = 0
        stack[0] = c + 1, n, c, n - 1
        top = 1
        while top > 0:
            top -= 1
            low, high, first, final = stack[top]
            if low > high:
                continue
            middle = (low + high) // 2
            best = np.inf
            where = first
            for i in range(max(first, c), min(final, middle - 1) + 1):
                cost = before[i] + _cost(w, s, q, i, middle)
                if cost < best:
                    best = cost
                    where = i
            now[middle] = best
            last[c, middle] = where
            stack[top] = low, middle - 1, first, where
            stack[top + 1] = middle + 1, high, where, final
            top += 2
        before, now = now, before
    cuts = np.empty(k - 1, np.int64)
    end = n
    for c in range(k - 1, 0, -1):
        end = last[c, end]
        cuts[c - 1] = end
    return cuts
