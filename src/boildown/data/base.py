"""What all data sets have: a train, a validation and a test part, and a loader for each."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from boildown.data.loader import SPLIT, TensorLoader, Transform
from boildown.seeds import generator


@dataclass(frozen=True)
class Part:
    """Labelled samples: inputs (N, ...), targets (N,) int64."""

    inputs: Tensor | np.ndarray
    targets: Tensor


class Dataset(ABC):
    """A classification set; each subclass knows how to read its own.

    The validation part is cut from the training part by a permutation that depends on `seed`;
    the test part depends on nothing.

    Args:
        batch_size: training samples per batch and rank; all training batches have this size,
            unless the whole set is smaller.
        eval_batch_size: the same for validation and test, whose last batch may be smaller.
        val_size: samples to validate on: a count, or a fraction in (0, 1) of the training part.
        seed: of the split and of the order; not negative.

    Attributes:
        input_shape: of one sample, without the batch axis.

    Raises:
        ValueError: for a value out of range, naming it.
    """

    input_shape: tuple[int, ...]

    def __init__(
        self, *, batch_size: int, eval_batch_size: int, val_size: int | float, seed: int
    ) -> None:
        check_whole(batch_size=batch_size, eval_batch_size=eval_batch_size)
        check_seed(seed)
        if not (_is_int(val_size) and val_size >= 1) and not (
            isinstance(val_size, float) and 0.0 < val_size < 1.0
        ):
            raise ValueError(
                f"val_size must be a count of at least 1 or a fraction in (0, 1), got {val_size!r}"
            )
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.val_size = val_size
        self.seed = seed
        self.transform: Transform | None = None
        self.eval_transform: Transform | None = None
        self._classes: list[str] = []
        self._train: Part | None = None
        self._test: Part | None = None
        self._train_index = self._val_index = torch.empty(0, dtype=torch.int64)

    @property
    def classes(self) -> list[str]:
        """The names of the classes; position i names target i."""
        if not self._classes:
            self.prepare()
        return self._classes

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @abstractmethod
    def _read(self) -> tuple[Part, Part]:
        """The training part, validation included, and the test part; called once."""

    def prepare(self) -> None:
        """Find, download, verify and decode whatever is needed. A second call does nothing.

        Under several processes, let one finish before the others call it, or each does the work.
        """
        if self._train is None:
            train, test = self._read()
            self._split(len(train.targets))
            self._train, self._test = train, test

    def _split(self, samples: int) -> None:
        count = val_count(self.val_size, samples)
        order = torch.randperm(samples, generator=generator(self.seed, SPLIT))
        # Sorted, so that an unshuffled loader reads a memory map front to back.
        self._val_index, self._train_index = order[:count].sort()[0], order[count:].sort()[0]

    def train_dataloader(self) -> TensorLoader:
        """A new loader, at the start of epoch 0, shuffled."""
        return self._loader("train")

    def val_dataloader(self) -> TensorLoader:
        """A new loader over the validation samples, in a fixed order."""
        return self._loader("val")

    def test_dataloader(self) -> TensorLoader:
        """A new loader over the test samples, in a fixed order."""
        return self._loader("test")

    def _loader(self, which: str) -> TensorLoader:
        self.prepare()
        train = which == "train"
        part = self._test if which == "test" else self._train
        assert part is not None
        return TensorLoader(
            part.inputs,
            part.targets,
            self.batch_size if train else self.eval_batch_size,
            shuffle=train,
            seed=self.seed,
            drop_last=train,
            transform=self.transform if train else self.eval_transform,
            subset={"train": self._train_index, "val": self._val_index, "test": None}[which],
        )


def val_count(val_size: int | float, samples: int) -> int:
    """How many of `samples` training samples to validate on.

    >>> val_count(0.25, 8), val_count(3, 8)
    (2, 3)

    Raises:
        ValueError: if that leaves nothing to validate on, or nothing to train on.
    """
    count = val_size if isinstance(val_size, int) else round(val_size * samples)
    if not 0 < count < samples:
        raise ValueError(
            f"val_size={val_size!r} takes {count} of {samples} training samples; "
            f"it must take at least 1 and at most {samples - 1}"
        )
    return count


def check_whole(**sizes: object) -> None:
    """Refuse what is not a whole number of at least 1.

    Raises:
        ValueError: naming the first such value.
    """
    for key, value in sizes.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{key} must be a whole number of at least 1, got {value!r}")


def check_seed(seed: object) -> None:
    """Refuse what is no seed.

    Raises:
        ValueError: for anything but a whole number that is not negative.
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed must be a whole number, not negative, got {seed!r}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
