"""Any DataLoader, in an order that can be resumed exactly."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from boildown.data.loader import ORDER, Resumable, rank_and_world
from boildown.seeds import generator


class Replayed(Resumable):
    """The batches of a DataLoader; what it draws for an epoch depends on `(seed, e)` alone.

    That is its order, and the seeds of its workers. To go on in the middle of an epoch the batches
    before are read again and dropped. Random transforms without workers draw from the global
    generators, whose state is left as if nothing had been read. Under `torch.distributed` every
    rank takes each world-size-th batch, unless the loader's sampler is for ranks already.

    Args:
        loader: with a length.
        seed: of the order; not negative.

    Raises:
        ValueError: for a loader that has no length or is empty.
    """

    def __init__(self, loader: DataLoader[Any], seed: int) -> None:
        try:
            batches = len(loader)
        except TypeError as error:
            raise ValueError(
                "a loader of a run needs a length; give its dataset a __len__ (an iterable one "
                "too), so that the budget and the validations can be planned"
            ) from error
        if batches == 0:
            raise ValueError("a loader needs at least one batch, got none")
        super().__init__(loader.batch_size or 1)
        self.loader, self.seed, self.batches = loader, seed, batches

    @property
    def _stride(self) -> tuple[int, int]:
        """This rank's first batch, and the distance to its next."""
        ranked = hasattr(getattr(self.loader, "sampler", None), "num_replicas")
        return (0, 1) if ranked else rank_and_world()

    def __len__(self) -> int:
        return max(1, self.batches // self._stride[1])

    def _read(self, epoch: int, first: int) -> Iterator[Any]:
        rank, world = self._stride
        set_epoch = getattr(getattr(self.loader, "sampler", None), "set_epoch", None)
        if set_epoch is not None:
            set_epoch(epoch)
        with _generators_left_alone():
            drawn = int(torch.randint(2**62, (), generator=generator(self.seed, ORDER, epoch)))
            torch.manual_seed(drawn)
            batches = iter(self.loader)
            _drop(batches, first * world + rank)
            begun = [] if first else [next(batches)]  # the order is drawn at the first that is read
        for batch in range(first, len(self)):
            yield begun.pop() if begun else next(batches)
            if batch + 1 < len(self):
                _drop(batches, world - 1)


def _drop(batches: Iterator[Any], count: int) -> None:
    for _ in range(count):
        next(batches)


@contextlib.contextmanager
def _generators_left_alone() -> Iterator[None]:
    """Put the global generators back as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # transforms use it
    with torch.random.fork_rng(devices=[]):
        yield
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
