"""MNIST-1D: ten classes of noisy curves of 40 points, made on the spot, as many as wanted."""

import contextlib
import hashlib
import json
import random
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from boildown.data.base import Dataset, Part, val_count
from boildown.data.cache import cache_dir
from boildown.files.atomic import replacing

Arrays = dict[str, np.ndarray]


class MNIST1D(Dataset):
    """Curves of ten kinds, four fifths of them for training and validation, the rest for testing.

    Inputs are float32 (40,). They are made by the package `mnist1d` with its own settings and seed,
    which takes a few seconds for every ten thousand, and kept in the user's cache. Each number of
    samples is a set of its own, with its own test part.

    Args:
        samples: in all, a multiple of 10; the usual set has 5000.
        batch_size: see `boildown.data.base.Dataset`.
        eval_batch_size: see there.
        val_size: see there.
        seed: see there; not of the curves.

    Raises:
        ValueError: for a value out of range, naming it; in `prepare` if the package is missing.

    Source: Greydanus & Kobak 2020, https://arxiv.org/abs/2011.14439
    """

    SPLIT: Final = 0.8

    def __init__(
        self,
        *,
        samples: int,
        batch_size: int,
        eval_batch_size: int,
        val_size: int | float,
        seed: int,
    ) -> None:
        super().__init__(
            batch_size=batch_size, eval_batch_size=eval_batch_size, val_size=val_size, seed=seed
        )
        if not isinstance(samples, int) or samples < 10 or samples % 10:
            raise ValueError(f"samples must be a multiple of 10, got {samples!r}")
        val_count(val_size, int(samples * self.SPLIT))
        self.samples = samples
        self.input_shape = (40,)
        self._classes = [str(digit) for digit in range(10)]

    def _read(self) -> tuple[Part, Part]:
        arrays = made(self.samples, self.SPLIT)
        train, test = (
            Part(torch.from_numpy(arrays[x]).float(), torch.from_numpy(arrays[y]).long())
            for x, y in (("x", "y"), ("x_test", "y_test"))
        )
        return train, test


def made(samples: int, split: float) -> Arrays:
    """The curves, from the cache or else made now and kept there.

    Args:
        samples: in all.
        split: fraction of them that is for training.

    Returns:
        "x" (N, 40) and "y" (N,) to train, "x_test" and "y_test" to test.

    Raises:
        ValueError: if the package `mnist1d` is not installed.
    """
    try:
        version = metadata.version("mnist1d")
        from mnist1d.data import get_dataset_args  # a second of import time
    except ImportError as error:
        raise ValueError(
            f'data=mnist1d needs the package mnist1d ({error}): pip install "boildown[mnist1d]"'
        ) from error
    settings = get_dataset_args(as_dict=True) | {"num_samples": samples, "train_split": split}
    key = json.dumps(settings | {"version": version}, sort_keys=True)
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    path = cache_dir() / "mnist1d" / f"{samples}-{digest}.npz"
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile):
        return _load(path)
    arrays = _make(settings)
    with contextlib.suppress(OSError):  # without a writable cache the curves are made each time
        _keep(arrays, path)
    return arrays


def _load(path: Path) -> Arrays:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
        return {name: kept[name] for name in ("x", "y", "x_test", "y_test")}


def _keep(arrays: Arrays, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # no array is a keyword


def _make(settings: dict[str, Any]) -> Arrays:
    """The curves of these settings; the generators that the package seeds are restored."""
    from mnist1d.data import make_dataset
    from mnist1d.utils import ObjectView

    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        made = make_dataset(ObjectView(settings))
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
    return {
        "x": made["x"].astype(np.float32),
        "y": made["y"],
        "x_test": made["x_test"].astype(np.float32),
        "y_test": made["y_test"],
    }
