"""Small data sets that come with scikit-learn: no download, and always the same test part."""

from typing import ClassVar

import torch
from torch import Tensor

from boildown.data.base import Dataset, Part, val_count
from boildown.seeds import generator


class Embedded(Dataset):
    """A data set of `SAMPLES`, of which always the same `TEST` are for testing.

    Args:
        batch_size: see `boildown.data.base.Dataset`.
        eval_batch_size: see there.
        val_size: see there.
        seed: see there.

    Raises:
        ValueError: for a value out of range, naming it.
    """

    SAMPLES: ClassVar[int]
    TEST: ClassVar[int]
    NAMES: ClassVar[list[str]]

    def __init__(
        self, *, batch_size: int, eval_batch_size: int, val_size: int | float, seed: int
    ) -> None:
        super().__init__(
            batch_size=batch_size, eval_batch_size=eval_batch_size, val_size=val_size, seed=seed
        )
        val_count(val_size, self.SAMPLES - self.TEST)
        self._classes = list(self.NAMES)

    def _numbers(self) -> tuple[Tensor, Tensor]:
        """The numbers of the samples for training and validation, and of those for testing."""
        order = torch.randperm(self.SAMPLES, generator=generator(0))
        return order[self.TEST :].sort()[0], order[: self.TEST].sort()[0]

    def _parted(self, inputs: Tensor, targets: Tensor) -> tuple[Part, Part]:
        train, test = self._numbers()
        return Part(inputs[train], targets[train]), Part(inputs[test], targets[test])
