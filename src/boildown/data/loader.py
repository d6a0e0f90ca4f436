"""Batches from tensors in memory, in an order that can be resumed exactly."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from boildown.seeds import generator

Transform = Callable[[Tensor, torch.Generator], Tensor]  # raw inputs (B, ...) -> inputs (B, ...)

UNHEARD = -1  # stands for the epoch that was announced, before any was
SPLIT, ORDER, AUGMENT, MASK = range(4)  # one stream of random numbers for each purpose


class Resumable(ABC):
    """Batches in an order that resumes exactly: the order of epoch e depends on e alone.

    The position is state: `state_dict` names the next batch, and the first iteration after
    `load_state_dict` goes on from there. Any other `iter()` begins an epoch: the next one when the
    last was left half way. Lightning saves and restores the position by itself, and announces each
    epoch through `set_epoch`.

    Args:
        batch_size: samples per batch and rank.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self._epoch = 0
        self._batch = 0
        self._restored = False
        self._announced = UNHEARD

    @abstractmethod
    def __len__(self) -> int:
        """Batches per epoch, the same on every rank."""

    @abstractmethod
    def _read(self, epoch: int, first: int) -> Iterator[Any]:
        """The batches of an epoch from number `first` on."""

    def __iter__(self) -> Iterator[Any]:
        if self._batch and not self._restored:
            self._epoch, self._batch = self._epoch + 1, 0
        return self._batches()

    def _batches(self) -> Iterator[Any]:
        # The epoch is read at the first `next`, since Lightning may call set_epoch after iter().
        epoch, length, first = self._epoch, len(self), self._batch
        for batch, read in enumerate(self._read(epoch, first), first):
            self._restored = False
            last = batch + 1 == length
            self._epoch, self._batch = (epoch + 1, 0) if last else (epoch, batch + 1)
            yield read

    @property
    def batch_sampler(self) -> "_Announced":
        """Where Lightning looks for a sampler whose epoch to set."""
        return _Announced(sampler=self, batch_size=self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Hear from the Trainer that its epoch number `epoch` begins, or goes on after a resume.

        A loader without a past takes the number over: Lightning restores no loader after a
        checkpoint from an epoch's end, and this call is all that tells. Later the loader counts by
        itself, as Lightning's count runs ahead: with `max_steps`, resuming from an epoch's end
        makes it announce one epoch without a batch.
        """
        fresh = self._announced == UNHEARD and not self._restored
        if fresh or epoch < self._announced:
            self._epoch, self._batch = epoch, 0
        elif self._batch and self._announced not in (UNHEARD, epoch):
            self._epoch, self._batch = self._epoch + 1, 0
        self._announced = epoch

    def state_dict(self) -> dict[str, int]:
        """The position: `epoch` and `batch` of the batch that comes next."""
        return {"epoch": self._epoch, "batch": self._batch, "announced": self._announced}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from `state`.

        Raises:
            ValueError: if this loader has no such batch: the data or the batch size changed.
        """
        epoch, batch = state["epoch"], state["batch"]
        if epoch < 0 or not 0 <= batch < len(self):
            raise ValueError(
                f"cannot resume at batch {batch} of epoch {epoch}: this loader has {len(self)} "
                "batches per epoch; resume with the same data and batch_size"
            )
        self._epoch, self._batch, self._restored = epoch, batch, True
        self._announced = state.get("announced", UNHEARD)


class Loader(Resumable):
    """Batches of `(inputs, targets)` in an order that resumes exactly, without workers.

    The order of epoch e depends on `(seed, e)` alone. Under `torch.distributed` every rank takes
    each world-size-th entry of the one global order, in batches of `batch_size` per rank, and all
    ranks get equally many batches. With `drop_last` the entries that do not fill a batch on every
    rank sit the epoch out; without it the first entries are repeated until all ranks have equally
    many, so a metric over ranks may count up to world size - 1 samples twice.

    Args:
        samples: how many there are in an epoch.
        batch_size: samples per batch and rank.
        shuffle: a new order each epoch; otherwise the order given.
        seed: of all randomness; not negative.
        drop_last: leave out an incomplete last batch, so that all batches have one shape. A set
            smaller than one batch is then one batch.
        subset: (samples,) int64, the numbers of the samples to use; all by default.

    Raises:
        ValueError: if there are no samples, `batch_size` is below 1, or ranks outnumber samples.
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int,
        drop_last: bool,
        subset: Tensor | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if samples == 0:
            raise ValueError("a loader needs at least one sample, got none")
        super().__init__(batch_size)
        self.samples = samples
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.subset = subset

    @abstractmethod
    def _pick(self, index: slice | Tensor, key: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The inputs and targets of the samples with these numbers.

        Args:
            index: (B,) int64, or a slice of all samples.
            key: for `generator`, different for every seed, epoch, batch and rank.
        """

    def __len__(self) -> int:
        """Batches per epoch, the same on every rank."""
        samples = self._samples_per_rank()
        whole = samples // self.batch_size
        return max(1, whole if self.drop_last else math.ceil(samples / self.batch_size))

    def _read(self, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = self._order(epoch)
        rank, _ = rank_and_world()
        for batch in range(first, len(self)):
            picked = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            index: slice | Tensor = picked if order is None else order[picked]
            yield self._pick(index, (self.seed, AUGMENT, epoch, batch, rank))

    def _order(self, epoch: int) -> Tensor | None:
        """This rank's indices, in the order of `epoch`; None for all of them as they lie."""
        rank, world = rank_and_world()
        if not self.shuffle and self.subset is None and world == 1:
            return None
        if self.shuffle:
            order = torch.randperm(self.samples, generator=generator(self.seed, ORDER, epoch))
        else:
            order = torch.arange(self.samples)
        if self.subset is not None:
            order = self.subset[order]
        total = self._samples_per_rank() * world
        return torch.cat([order, order[: max(0, total - len(order))]])[rank:total:world]

    def _samples_per_rank(self) -> int:
        world = rank_and_world()[1]
        if world > self.samples:
            raise ValueError(
                f"{world} ranks cannot each have one of {self.samples} samples; train with fewer "
                "processes (trainer.devices)"
            )
        return self.samples // world if self.drop_last else math.ceil(self.samples / world)


class TensorLoader(Loader):
    """Batches sliced from tensors in memory; the order is that of `Loader`.

    Args:
        inputs: (N, ...), a tensor, or a numpy array such as a memory map; read only.
        targets: (N, ...), int64.
        batch_size: see `Loader`, as all that follow but `transform`.
        shuffle: see there.
        seed: see there.
        drop_last: see there.
        transform: applied to each batch's inputs, with a generator that depends on
            `(seed, epoch, batch, rank)` alone.
        subset: see there.

    Raises:
        ValueError: if inputs and targets differ in number, or as `Loader` says.
    """

    def __init__(
        self,
        inputs: Tensor | np.ndarray,
        targets: Tensor,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int,
        drop_last: bool,
        transform: Transform | None = None,
        subset: Tensor | None = None,
    ) -> None:
        if len(inputs) != len(targets):
            raise ValueError(f"{len(inputs)} inputs but {len(targets)} targets")
        super().__init__(
            len(targets) if subset is None else len(subset),
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
            subset=subset,
        )
        self.inputs, self.targets, self.transform = inputs, targets, transform

    def _pick(self, index: slice | Tensor, key: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        inputs = self._take(index)
        if self.transform is not None:
            inputs = self.transform(inputs, generator(*key))
        return inputs, self.targets[index]

    def _take(self, index: slice | Tensor) -> Tensor:
        if isinstance(self.inputs, Tensor):
            if isinstance(index, Tensor):
                return self.inputs.index_select(0, index)  # half the time of self.inputs[index]
            return self.inputs[index]
        chosen = self.inputs[index.numpy() if isinstance(index, Tensor) else index]
        return torch.from_numpy(np.array(chosen))  # a copy, as a map may be read-only


class _Announced(NamedTuple):
    """The part of a batch sampler that Lightning asks for."""

    sampler: Resumable
    batch_size: int


def rank_and_world() -> tuple[int, int]:
    """Which process of how many this is."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
