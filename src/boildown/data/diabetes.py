"""Ten measurements of a patient and how a year of diabetes went, from scikit-learn: no download."""

from typing import ClassVar, Final

import torch

from boildown.data.base import Part
from boildown.data.embedded import Embedded


class Diabetes(Embedded):
    """442 patients, 354 of them for training and validation and always the same 88 for testing.

    Inputs are float32 (10,): age, sex, body mass index, blood pressure and six of blood serum; the
    target is float32 (): the progression of the disease after a year. Both are standardised with
    the means and deviations of the 354, so an error of 1 is 77 of scikit-learn's units.

    Its arguments are those of `boildown.data.embedded.Embedded`.

    Source: https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_diabetes.html
    """

    SAMPLES = 442
    TEST = 88
    NAMES: ClassVar = ["progression"]
    input_shape = (10,)
    objective: Final = "regression"

    def _read(self) -> tuple[Part, Part]:
        from sklearn.datasets import load_diabetes  # a second of import time

        measured, progression = load_diabetes(return_X_y=True)
        inputs, targets = torch.from_numpy(measured).float(), torch.from_numpy(progression).float()
        train, _ = self._numbers()
        inputs = (inputs - inputs[train].mean(0)) / inputs[train].std(0)
        targets = (targets - targets[train].mean()) / targets[train].std()
        return self._parted(inputs, targets)
