"""What a run leaves on disk as it trains: its newest states, and the model before compression."""

import io
import math
import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric.plugins import CheckpointIO, TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_warn
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim import Optimizer

from boildown.callbacks.budget import clock_of, progress_of, validates_fit
from boildown.callbacks.newest import damage, newest_sound, previous_of
from boildown.checkpoints.checkpoint import save_safetensors
from boildown.files.atomic import part_beside, remove_parts, replacing
from boildown.files.seal import digest_of, seal


class Stopped(SystemExit):  # no error: it was asked for
    """The training was asked to stop, and its state is saved."""


class SaveNewest(Checkpoint):
    """Keep the newest two checkpoints, taken at each validation, each with its digest.

    They hold the state of the random generators too, so a killed run resumes exactly, if its loader
    has a state (`state_dict`, as `boildown.data.loader` has). Gradients are in no checkpoint: where
    a validation falls between two steps, the checkpoint is taken after the next step.

    The one before lies beside the newest, `newest.previous.ckpt` beside `newest.ckpt`. When the
    loss explodes (infinite, NaN, or far above that of the first batch) a warning says so once, and
    the one before stays what was last saved in order.

    Args:
        path: of the newest checkpoint.
        dense: where to keep a copy of the newest one that was taken before compression began, for
            other runs to start from; None for nowhere.
        begin: progress at which compression begins.
        config: of the run, plain data, to be kept in the checkpoints.
        asked: says whether the training is to stop. All processes then save after the step or
            validation that is in progress, and raise `Stopped`.

    Attributes:
        reused: training FLOPs of the dense checkpoint this run was started from, 0 without one.

    Raises:
        ValueError: for a path that is a directory; when a fit starts, if it has no validation.
    """

    def __init__(
        self,
        path: str | Path,
        dense: str | Path | None = None,
        begin: float = 1.0,
        config: Mapping[str, Any] | None = None,
        asked: Callable[[], bool] = bool,
    ) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            raise ValueError(
                f"SaveNewest: {path} is a directory; name the checkpoint, {self.path}/newest.ckpt"
            )
        self.dense = None if dense is None else Path(dense)
        self.begin = begin
        self.config = None if config is None else dict(config)
        self.asked = asked
        self.reused = 0
        self._starts_dense = False
        self._is_dense = False
        self._between_steps = False  # with gradients that no step has used
        self._is_due = False
        self._newest_is_good = True  # worth being kept as the one before
        self._first_loss: float | None = None
        self._exploded = False
        self._generators: dict[str, Any] = {}

    @property
    def previous(self) -> Path:
        """The path of the checkpoint before the newest."""
        return previous_of(self.path)

    def start(self) -> str | None:
        """A dense checkpoint of another run, for a new run to start from, if there is one."""
        if self.dense is None or not self.dense.exists():
            return None
        why = damage(self.dense)
        if why is not None:
            rank_zero_warn(f"{self.dense} is damaged ({why}): that part is trained anew")
            return None
        self._starts_dense = True
        return str(self.dense)

    def own(self) -> Path | None:
        """The checkpoint that this run goes on from: the newest that is as it was written.

        Raises:
            ValueError: if there are checkpoints and all are damaged.
        """
        found = newest_sound(self.path)
        self._newest_is_good = found != self.previous
        return found

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.enable_validation:
            raise ValueError(
                "SaveNewest takes its checkpoints at validations, and this fit has none: give it a "
                "validation loader and the module a validation_step, or take Lightning's "
                "ModelCheckpoint"
            )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._is_dense = self.dense is not None and progress_of(trainer) < self.begin
        self._between_steps = True

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        self._between_steps = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        if self._first_loss is None:
            loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
            self._first_loss = float(loss) if isinstance(loss, Tensor) else math.nan
        stops = self._stops(trainer)
        if self._between_steps or _validation_follows(trainer):
            return
        if self._is_due or stops:
            self._save(trainer)
        if stops:
            raise Stopped

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not validates_fit(trainer):
            return
        self._look_at_loss(trainer)
        if self._between_steps and not trainer.should_stop:
            self._is_due = True
            return
        self._save(trainer)
        if self._stops(trainer):
            raise Stopped

    def _stops(self, trainer: Trainer) -> bool:
        """Whether any process was asked to stop; they answer alike."""
        asked = self.asked()
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        return asked

    def _look_at_loss(self, trainer: Trainer) -> None:
        loss = trainer.callback_metrics.get("val/loss")
        first = self._first_loss
        if loss is None or first is None:
            return
        limit = EXPLODED * max(1.0, first if math.isfinite(first) else 1.0)
        exploded = not float(loss) <= limit
        if exploded and not self._exploded:
            good = self.path.exists() and self._newest_is_good
            kept = (
                f"the last state before it stays in {self.previous.name}"
                if good
                else ("there is no checkpoint from before it")
            )
            rank_zero_warn(
                f"the loss has exploded: val/loss is {float(loss):.3g} at "
                f"{progress_of(trainer):.0%} of the training, and that of the first batch was "
                f"{first:.3g}; {kept}. Stop, and begin anew in another directory with a lower "
                "task.optimizer.lr, or with trainer.gradient_clip_val=1"
            )
        self._exploded = exploded

    def _save(self, trainer: Trainer) -> None:
        self._is_due = False
        strategy = trainer.strategy
        usual = strategy.checkpoint_io
        strategy.checkpoint_io = _Sealed(usual, self._keep_previous)
        try:
            trainer.save_checkpoint(self.path, weights_only=False)  # it saves all state
        finally:
            strategy.checkpoint_io = usual
        self._newest_is_good = not self._exploded
        if trainer.is_global_zero and self._is_dense and self.dense is not None:
            self.dense.parent.mkdir(parents=True, exist_ok=True)
            remove_parts(self.dense.parent)
            with replacing(self.dense) as copy:
                shutil.copyfile(self.path, copy)

    def _keep_previous(self) -> None:
        """Give the newest checkpoint the name of the one before, too, until it is replaced."""
        if not self._newest_is_good or not self.path.exists():
            return
        if self.previous.exists() and self.previous.samefile(self.path):
            return  # a run was killed before the next one had its name; renaming would do nothing
        link = part_beside(self.path)
        try:
            os.link(self.path, link)
        except OSError:  # a file system without links
            self.path.replace(self.previous)
        else:
            link.replace(self.previous)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        clock = clock_of(trainer)
        if self._starts_dense and clock is not None:
            self.reused = clock.flops
        if self._generators:
            _restore(self._generators)
        self._starts_dense, self._generators = False, {}  # a run may fit again
        self._between_steps = self._is_due = False

    def state_dict(self) -> dict[str, Any]:
        own = {"reused": self.reused, "config": self.config, "first_loss": self._first_loss}
        return _generators() | own | {"exploded": self._exploded}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._generators = state_dict
        self.reused = state_dict["reused"]
        self._first_loss = state_dict.get("first_loss")
        self._exploded = state_dict.get("exploded", False)
        self._newest_is_good = self._newest_is_good and not self._exploded


EXPLODED = 1000.0  # times the loss of the first batch, or 1 where that is less


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    """`torch.save`, whose errors are the system's: a full disk is one, whatever torch makes of it.

    Raises:
        OSError: if the file cannot be written.
    """
    failed: list[OSError] = []

    class Noting(io.FileIO):
        def write(self, data: Any) -> int:
            try:
                rest = memoryview(data).cast("B")
                while rest:  # a disk that is almost full takes a part
                    rest = rest[super().write(rest) :]
            except OSError as error:
                failed.append(error)
                raise
            return memoryview(data).nbytes

    try:
        with Noting(path, "wb") as file:
            torch.save(checkpoint, file)
    except RuntimeError:
        if failed:
            raise OSError(failed[0].errno, failed[0].strerror, str(path)) from None
        raise


class _Sealed(TorchCheckpointIO):
    """Write a checkpoint with its digest, flushed to the disk before it has its name.

    Lightning's own goes by way of the directory for temporary files.
    """

    def __init__(self, usual: CheckpointIO, before: Callable[[], None]) -> None:
        self.usual, self.before = usual, before

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            _write(checkpoint, part)
            seal(part)
            self.before()

    def load_checkpoint(self, *args: Any, **options: Any) -> dict[str, Any]:
        return self.usual.load_checkpoint(*args, **options)


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
        self.digest: str | None = None

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
            self.digest = digest_of(self.path)
        self.saved = True

    def state_dict(self) -> dict[str, Any]:
        return {"saved": self.saved, "sha256": self.digest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.saved = state_dict["saved"]
        self.digest = state_dict.get("sha256")
        why = _damage_of_dense(self.path, self.digest) if self.saved else None
        if why is not None:
            raise (ValueError if self.path.exists() else FileNotFoundError)(
                f"{self.path}, the model before compression, {why}, and the checkpoint is from "
                "after it; put the file back, or begin the run anew in another directory"
            )


def _damage_of_dense(path: Path, digest: str | None) -> str | None:
    """What is wrong with a safetensors file, by its digest or, without one, by its header."""
    if not path.exists():
        return "is gone"
    if digest is not None:
        return None if digest_of(path) == digest else "is damaged"
    try:
        with safe_open(path, framework="pt"):
            return None
    except (SafetensorError, OSError) as error:
        return f"is damaged ({error})"


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
