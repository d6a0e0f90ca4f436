"""Work for two threads whose results come in order, with little of it waiting."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

THREADS = 2
AHEAD = 3  # items taken whose results have not been given yet, beside the one that is taken now


def in_order(function: Callable[[T], R], items: Iterable[T | None]) -> Iterator[R]:
    """Apply a function to each item in threads of its own, and give the results in order.

    Items are taken in the calling thread, few of them ahead of the results. An item of None is no
    work: what precedes it is finished, and its result given, before the next item is taken. A
    single item is worked on in the calling thread.

    Args:
        function: should spend its time in code that lets other threads run.
        items: taken one by one.

    Raises:
        Exception: what the function raised, in place of its result.
    """
    left = iter(items)
    first = list(islice(left, 2))
    if len(first) < 2:
        yield from (function(item) for item in first if item is not None)
        return
    waiting: deque[Future[R]] = deque()
    everything = chain(first, left)
    del first
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for item in everything:
                if item is not None:
                    waiting.append(pool.submit(function, item))
                most = AHEAD if item is not None else 0
                del item  # which may be large
                while len(waiting) > most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
