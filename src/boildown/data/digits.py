"""Handwritten digits of 8x8 pixels, from scikit-learn: no download, seconds to train."""

from typing import Final

import torch

from boildown.data.base import Dataset, Part, val_count
from boildown.seeds import generator


class Digits(Dataset):
    """1797 digits, 1437 of them for training and validation and always the same 360 for testing.

    Inputs are float32 (1, 8, 8), standardised with the mean and deviation of the 1437.

    Args:
        batch_size: see `boildown.data.base.Dataset`.
        eval_batch_size: see there.
        val_size: see there.
        seed: see there.

    Raises:
        ValueError: for a value out of range, naming it.

    Source: https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_digits.html
    """

    TEST: Final = 360
    SAMPLES: Final = 1797
    MEAN: Final = 4.8734  # of pixels in 0..16
    STD: Final = 6.0072

    def __init__(
        self, *, batch_size: int, eval_batch_size: int, val_size: int | float, seed: int
    ) -> None:
        super().__init__(
            batch_size=batch_size, eval_batch_size=eval_batch_size, val_size=val_size, seed=seed
        )
        val_count(val_size, self.SAMPLES - self.TEST)
        self.input_shape = (1, 8, 8)
        self._classes = [str(digit) for digit in range(10)]

    def _read(self) -> tuple[Part, Part]:
        from sklearn.datasets import load_digits  # a second of import time

        pixels, labels = load_digits(return_X_y=True)
        inputs = torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8)
        inputs = (inputs - self.MEAN) / self.STD
        targets = torch.from_numpy(labels).long()
        order = torch.randperm(self.SAMPLES, generator=generator(0))
        test, train = order[: self.TEST].sort()[0], order[self.TEST :].sort()[0]
        return Part(inputs[train], targets[train]), Part(inputs[test], targets[test])
