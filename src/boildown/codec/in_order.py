"""Work for two threads whose results come in order, with little of it waiting."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

THREADS = 2
AHEAD = 3  # items taken whose results have not been given yet
ROOM = 40 << 20  # bytes that these may take, unless it is one


def in_order(
    function: Callable[[T], R], items: Iterable[T | None], size: Callable[[T], int]
) -> Iterator[R]:
    """Apply a function to each item in threads of its own, and give the results in order.

    Items are taken in the calling thread, few of them ahead of the results. An item of None is no
    work: what precedes it is finished, and its result given, before the next item is taken. A
    single item is worked on in the calling thread.

    Args:
        function: should spend its time in code that lets other threads run.
        items: taken one by one.
        size: bytes that an item and its result take.

    Raises:
        Exception: what the function raised, in place of its result.
    """
    left = iter(items)
    first = list(islice(left, 2))
    if len(first) < 2:
        yield from (function(item) for item in first if item is not None)
        return
    waiting: deque[tuple[Future[R], int]] = deque()
    taken = 0
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for item in _all(first, left):
                own, most = (0, 0) if item is None else (size(item), AHEAD - 1)
                while waiting and (len(waiting) > most or taken + own > ROOM):
                    future, freed = waiting.popleft()
                    yield future.result()
                    taken -= freed
                    del future
                if item is not None:
                    waiting.append((pool.submit(function, item), own))
                    taken += own
                del item  # which may be large
            while waiting:
                yield waiting.popleft()[0].result()
        finally:
            for future, _ in waiting:
                future.cancel()


def _all(first: list[T], left: Iterator[T]) -> Iterator[T]:
    """Some items and those after them; the list of the first is left empty."""
    while first:
        yield first.pop(0)
    yield from left
