"""Ten measurements of a patient and how a year of diabetes went, from scikit-learn: no download."""

from typing import Final

import torch

from boildown.data.base import Dataset, Part, val_count
from boildown.seeds import generator


class Diabetes(Dataset):
    """442 patients, 354 of them for training and validation and always the same 88 for testing.

    Inputs are float32 (10,): age, sex, body mass index, blood pressure and six of blood serum; the
    target is float32 (): the progression of the disease after a year. Both are standardised with
    the means and deviations of the 354, so an error of 1 is 77 of scikit-learn's units.

    Args:
        batch_size: see `boildown.data.base.Dataset`.
        eval_batch_size: see there.
        val_size: see there.
        seed: see there.

    Raises:
        ValueError: for a value out of range, naming it.

    Source: https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_diabetes.html
    """

    TEST: Final = 88
    SAMPLES: Final = 442
    objective: Final = "regression"

    def __init__(
        self, *, batch_size: int, eval_batch_size: int, val_size: int | float, seed: int
    ) -> None:
        super().__init__(
            batch_size=batch_size, eval_batch_size=eval_batch_size, val_size=val_size, seed=seed
        )
        val_count(val_size, self.SAMPLES - self.TEST)
        self.input_shape = (10,)
        self._classes = ["progression"]

    def _read(self) -> tuple[Part, Part]:
        from sklearn.datasets import load_diabetes  # a second of import time

        measured, progression = load_diabetes(return_X_y=True)
        inputs, targets = torch.from_numpy(measured).float(), torch.from_numpy(progression).float()
        order = torch.randperm(self.SAMPLES, generator=generator(0))
        test, train = order[: self.TEST].sort()[0], order[self.TEST :].sort()[0]
        inputs = (inputs - inputs[train].mean(0)) / inputs[train].std(0)
        targets = (targets - targets[train].mean()) / targets[train].std()
        return Part(inputs[train], targets[train]), Part(inputs[test], targets[test])
