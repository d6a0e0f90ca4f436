"""The data of a run: boildown's own, or anybody's LightningDataModule."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from hydra.utils import instantiate
from lightning.pytorch import LightningDataModule
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader

from boildown.data.replayed import Replayed
from boildown.run.errors import ConfigError


def data_of(cfg: DictConfig, data: Any = None) -> Any:
    """The data that a config names, as a run reads it.

    Args:
        cfg: of the run.
        data: what `cfg.data` makes, if that is done.
    """
    made = instantiate(cfg.data) if data is None else data
    if isinstance(made, LightningDataModule):
        return FromDataModule(made, seed=int(cfg.seed))
    return made


class FromDataModule:
    """A LightningDataModule as the data of a run.

    Batches are `(inputs, targets)`. `input_shape`, `num_classes` and `objective` are the module's,
    or found: of the first batch, and of the targets, which are classes where they are whole
    numbers and something to predict (`task=regression`) where they are not.

    Args:
        module: with dataloaders for training, validation and test.
        seed: of the training's order.
    """

    def __init__(self, module: LightningDataModule, seed: int) -> None:
        self.module, self.seed = module, seed
        self._prepared = False

    def prepare(self) -> None:
        """Let the module prepare and set up; a second call does nothing."""
        if not self._prepared:
            self.module.prepare_data()
            for stage in ("fit", "test"):
                self.module.setup(stage)
            for stage in ("train", "val", "test"):
                self._loader(stage)
            self._prepared = True

    def train_dataloader(self) -> Replayed:
        """A new loader, at the start of epoch 0."""
        return Replayed(self._loader("train"), self.seed)

    def val_dataloader(self) -> Any:
        """The module's."""
        return self._loader("val")

    def test_dataloader(self) -> Any:
        """The module's."""
        return self._loader("test")

    def _loader(self, stage: str) -> Any:
        name = f"{stage}_dataloader"
        if not _defines(self.module, name):
            raise ConfigError(
                f"data._target_: {type(self.module).__name__} has no {name}(); a run trains, "
                "chooses by validation data and measures the file on test data"
            )
        loader = getattr(self.module, name)()
        if not isinstance(loader, DataLoader):
            raise ConfigError(
                f"data._target_: {type(self.module).__name__}.{name}() makes a "
                f"{type(loader).__name__}; a run takes one torch DataLoader"
            )
        return loader

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample."""
        told = getattr(self.module, "input_shape", None)
        return tuple(self._first[0].shape[1:]) if told is None else tuple(told)

    @cached_property
    def num_classes(self) -> int:
        """How many outputs a model needs."""
        told = getattr(self.module, "num_classes", None)
        if told is not None:
            return int(told)
        if self.objective == "regression":
            targets = self._first[1]
            return 1 if targets.ndim == 1 else int(targets.shape[1])
        loaders = (self._loader("train"), self._loader("val"))
        return 1 + max(int(targets.max()) for loader in loaders for targets in _targets(loader))

    @cached_property
    def objective(self) -> str | None:
        """None for classes to tell apart."""
        told = getattr(self.module, "objective", None)
        numbers = told is None and self._first[1].is_floating_point()
        return "regression" if numbers else told

    @cached_property
    def _first(self) -> tuple[Tensor, Tensor]:
        with torch.random.fork_rng(devices=[]):
            batch = next(iter(self._loader("val")))
        pair = isinstance(batch, list | tuple) and len(batch) == 2
        if not (pair and all(isinstance(part, Tensor) for part in batch)):
            raise ConfigError(
                f"data._target_: a batch of {type(self.module).__name__} must be two tensors, "
                f"inputs and targets, got a {type(batch).__name__}"
            )
        inputs, targets = batch
        return inputs, targets


def _targets(loader: DataLoader[Any]) -> Iterator[Tensor]:
    with torch.random.fork_rng(devices=[]):
        for _, targets in loader:
            yield targets


def _defines(module: LightningDataModule, name: str) -> bool:
    return getattr(type(module), name) is not getattr(LightningDataModule, name)
