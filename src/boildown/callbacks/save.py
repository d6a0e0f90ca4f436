"""What a run leaves on disk while it trains: its newest state, and the model before compression."""

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor, nn
from torch.optim import Optimizer

from boildown.callbacks.budget import clock_of, progress_of, validates_fit
from boildown.checkpoint import save_safetensors
from boildown.files.atomic import replacing


class SaveNewest(Checkpoint):
    """Keep one checkpoint, the newest, taken at each validation and replaced atomically.

    It holds the state of the random generators too, so a killed run resumes exactly, if its loader
    has a state (`state_dict`, as `boildown.data.loader` has). Gradients are in no checkpoint: where
    a validation falls between two steps, the checkpoint is taken after the next step.

    Args:
        path: of the checkpoint.
        dense: where to keep a copy of the newest one that was taken before compression began, for
            other runs to start from; None for nowhere.
        begin: progress at which compression begins.

    Attributes:
        reused: training FLOPs of the dense checkpoint this run was started from, 0 without one.
    """

    def __init__(
        self, path: str | Path, dense: str | Path | None = None, begin: float = 1.0
    ) -> None:
        self.path = Path(path)
        self.dense = None if dense is None else Path(dense)
        self.begin = begin
        self.reused = 0
        self._starts_dense = False
        self._is_dense = False
        self._between_steps = False  # with gradients that no step has used
        self._is_due = False
        self._generators: dict[str, Any] = {}

    def start(self) -> str | None:
        """A dense checkpoint of another run, for a new run to start from, if there is one."""
        if self.dense is None or not self.dense.exists():
            return None
        self._starts_dense = True
        return str(self.dense)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._is_dense = self.dense is not None and progress_of(trainer) < self.begin
        self._between_steps = True

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        self._between_steps = False

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self._is_due and not self._between_steps and not _validation_follows(trainer):
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not validates_fit(trainer):
            return
        if self._between_steps and not trainer.should_stop:
            self._is_due = True
        else:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        self._is_due = False
        part = self.path.with_name(self.path.name + ".part")
        trainer.save_checkpoint(part)
        if trainer.is_global_zero:
            part.replace(self.path)
            if self._is_dense and self.dense is not None:
                self.dense.parent.mkdir(parents=True, exist_ok=True)
                with replacing(self.dense) as copy:
                    shutil.copyfile(self.path, copy)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        clock = clock_of(trainer)
        if self._starts_dense and clock is not None:
            self.reused = clock.flops
        if self._generators:
            _restore(self._generators)
        self._starts_dense, self._generators = False, {}  # a run may fit again
        self._between_steps = self._is_due = False

    def state_dict(self) -> dict[str, Any]:
        return _generators() | {"reused": self.reused}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._generators = state_dict
        self.reused = state_dict["reused"]


class SaveDense(Callback):
    """Save the plain model as it is when compression begins.

    Args:
        path: of the safetensors file.
        begin: progress at which compression begins.
        part: the module whose state is saved, an attribute of the LightningModule.

    Raises:
        ValueError: when a fit starts, if there is no such module.
    """

    def __init__(self, path: str | Path, begin: float, part: str = "model") -> None:
        self.path, self.begin, self.part = Path(path), begin, part
        self.saved = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        parts = [name for name, _ in pl_module.named_children()]
        try:
            pl_module.get_submodule(self.part)
        except AttributeError:
            raise ValueError(
                f"SaveDense: {type(pl_module).__name__} has no {self.part!r} to save; give "
                f"part=..., one of {', '.join(parts)}"
            ) from None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if progress_of(trainer) >= self.begin and not self.saved:
            self._save(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.saved:
            self._save(trainer, pl_module)

    def _save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            save_safetensors(plain_state(pl_module.get_submodule(self.part)), self.path)
        self.saved = True

    def state_dict(self) -> dict[str, Any]:
        return {"saved": self.saved}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.saved = state_dict["saved"]
        if self.saved and not self.path.exists():
            raise FileNotFoundError(
                f"{self.path}, the model before compression, is gone, and the checkpoint is from "
                "after it; put the file back, or begin the run anew in another directory"
            )


def _validation_follows(trainer: Trainer) -> bool:
    """Whether the batch that ends is followed by a validation, which a resumed fit would skip."""
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's state_dict, detached and on the CPU; tied tensors stay tied."""
    state: dict[str, Tensor] = {}
    seen: dict[int, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen[id(tensor)] = tensor.detach().cpu()
        state[name] = seen[id(tensor)]
    return state


def _generators() -> dict[str, Any]:
    version, state, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": [version, list(state), gauss],
        "numpy": [
            kind,
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            position,
            has_gauss,
            cached,
        ],
    }


def _restore(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"]:
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
    version, python_state, gauss = state["python"]
    random.setstate((version, tuple(python_state), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
