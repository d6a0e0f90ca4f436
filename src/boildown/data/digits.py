"""Handwritten digits of 8x8 pixels, from scikit-learn: no download, seconds to train."""

from typing import ClassVar, Final

import torch

from boildown.data.base import Part
from boildown.data.embedded import Embedded


class Digits(Embedded):
    """1797 digits, 1437 of them for training and validation and always the same 360 for testing.

    Inputs are float32 (1, 8, 8), standardised with the mean and deviation of the 1437.

    Its arguments are those of `boildown.data.embedded.Embedded`.

    Source: https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_digits.html
    """

    SAMPLES = 1797
    TEST = 360
    NAMES: ClassVar = [str(digit) for digit in range(10)]
    input_shape = (1, 8, 8)
    MEAN: Final = 4.8734  # of pixels in 0..16
    STD: Final = 6.0072

    def _read(self) -> tuple[Part, Part]:
        from sklearn.datasets import load_digits  # a second of import time

        pixels, labels = load_digits(return_X_y=True)
        inputs = torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8)
        inputs = (inputs - self.MEAN) / self.STD
        targets = torch.from_numpy(labels).long()
        return self._parted(inputs, targets)
