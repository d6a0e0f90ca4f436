"""A trained network made smaller in one call: fine-tuned while it is pruned and shared."""

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset

from boildown.allocate.size import DENSE_BYTES, AskedSize
from boildown.callbacks.bar import BudgetBar
from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.learning_rate import ScheduleLearningRate
from boildown.callbacks.prune import Prune
from boildown.callbacks.quiet import quiet
from boildown.callbacks.share import ShareWeights
from boildown.callbacks.technique import is_number
from boildown.data.loader import TensorLoader
from boildown.files.atomic import replacing
from boildown.run.file_size import FileSize
from boildown.saving import pack, structured
from boildown.schedule import Cosine
from boildown.structure.replace import replaced

Loss: TypeAlias = Callable[[Any, Any], Tensor]  # (outputs, targets) -> scalar
CUT, SHARED = 0.6, 0.75  # of the budget: the last cut, and the clustering
BATCH = 64  # samples of tensors that are trained at once


def compress(
    model: nn.Module,
    data: Any,
    ratio: float | None = None,
    *,
    bytes: float | None = None,
    loss: Loss | None = None,
    epochs: float = 20.0,
    lr: float = 1e-3,
    path: str | os.PathLike[str] | None = None,
) -> nn.Module:
    """Make a trained network smaller: prune it and share its weights while it is fine-tuned.

    The same as the callbacks `Prune` and `ShareWeights` in a Trainer of one's own, with the amount
    that the asked size takes: gradually to 0.6 of the epochs, then 5 or fewer bits per weight. For
    other techniques, schedules or optimizers use these.

    Args:
        model: takes a batch of inputs; it is not touched.
        data: to fine-tune on: a DataLoader or another sized iterable of (inputs, targets), a
            Dataset, or a pair of tensors, whose first axis are the samples.
        ratio: bytes of the parameters in fp32 / bytes of the file, above 1; 20 by default.
        bytes: of the file, instead of a ratio.
        loss: (outputs, targets) -> scalar; by default the cross-entropy of a classifier.
        epochs: passes over the data.
        lr: the highest learning rate, of AdamW.
        path: of a file to write the result to, for `boildown.load(path, MyNetwork())`.

    Returns:
        A network of the same class, in evaluation mode, on the device where `model` is.

    Raises:
        UnreachableSizeError: if no pruning makes the file so small.
        ValueError: for a value out of range, or data that do not fit the loss.
        OSError: before the training, if the file cannot be written.
    """
    small = _copied(model)
    loader = _loader(data)
    dense = DENSE_BYTES * sum(p.numel() for p in small.parameters())
    for name, value in (("epochs", epochs), ("lr", lr)):
        if not (is_number(value) and 0.0 < value < math.inf):
            raise ValueError(f"compress: {name} must be a number above 0, got {value!r}")
    size, asked = _asked(ratio, bytes, dense)
    if path is not None:
        _check_writable(path)
    prune, share = Prune(begin=0.0, end=CUT), ShareWeights(begin=SHARED, dtype="float16")
    share.suit(dense / size)
    task = _FineTuning(small, loss or _cross_entropy, lr)
    measure = FileSize(structured(small, None) or {}, [prune, share], task)
    prune.size = AskedSize(size, dense, measure, prune.preview, [share.preview], SHARED, asked)
    prune.size.check_reach(dict(task.named_parameters()))
    device = next(small.parameters()).device
    _fit(task, loader, epochs, [prune, share])
    small = small.to(device).eval()
    if path is not None:
        _write(small, path, dense)
    return small


def _asked(ratio: float | None, size: float | None, dense: int) -> tuple[float, str]:
    """Bytes of the file, and what asks for them.

    Raises:
        ValueError: for sizes that are no smaller than the network, and for two of them.
    """
    if size is None:
        ratio = 20.0 if ratio is None else ratio
        if not (is_number(ratio) and 1.0 < ratio < math.inf):
            raise ValueError(f"compress: ratio must be a number above 1, got {ratio!r}")
        return dense / ratio, f"ratio={ratio!r}"
    if ratio is not None:
        raise ValueError(f"compress: ratio={ratio!r} and bytes={size!r} are two sizes; give one")
    if not (is_number(size) and 0.0 < size < dense):
        raise ValueError(
            f"compress: bytes must be a number above 0 and below {dense}, what the parameters take "
            f"in fp32, got {size!r}"
        )
    return size, f"bytes={size!r}"


class _FineTuning(LightningModule):
    """A network, its loss, and AdamW."""

    def __init__(self, model: nn.Module, loss: Loss, lr: float) -> None:
        super().__init__()
        self.model, self.loss, self.lr = model, loss, lr

    def forward(self, inputs: Tensor) -> Any:
        return self.model(inputs)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if not isinstance(batch, list | tuple) or len(batch) != 2:
            raise ValueError(
                f"compress: a batch must be (inputs, targets), got a {type(batch).__name__}; wrap "
                "the loader, or use boildown.callbacks in a LightningModule of your own"
            )
        inputs, targets = batch
        loss = self.loss(self(inputs), targets)
        if not isinstance(loss, Tensor) or loss.ndim:
            told = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"compress: loss must give a single number, got {told}")
        self.log("loss", loss.detach())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            [p for p in self.model.parameters() if p.requires_grad], lr=self.lr
        )


def _cross_entropy(outputs: Any, targets: Tensor) -> Tensor:
    if not isinstance(outputs, Tensor) or (
        targets.is_floating_point() and targets.shape != outputs.shape
    ):
        told = "no tensor" if not isinstance(outputs, Tensor) else f"targets of {targets.dtype}"
        raise ValueError(
            "compress: the default loss, cross-entropy, needs logits and classes that are whole "
            f"numbers, got {told}: give loss, such as torch.nn.functional.mse_loss"
        )
    return F.cross_entropy(outputs, targets)


def _copied(model: nn.Module) -> nn.Module:
    """A copy to be trained.

    Raises:
        ValueError: for what is no network, or one of which nothing is trained.
    """
    if isinstance(model, LightningModule) or not isinstance(model, nn.Module):
        raise ValueError(
            f"compress: expected a network, got a {type(model).__name__}"
            + ("; give the network in it" if isinstance(model, LightningModule) else "")
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            "compress: no parameter of the model is trained; set requires_grad where it may change"
        )
    return replaced(model, {}).train()


def _loader(data: Any) -> Any:
    """Batches of (inputs, targets).

    Raises:
        ValueError: for data that are no such thing, or have no length.
    """
    pair = isinstance(data, tuple | list) and len(data) == 2
    if pair and all(isinstance(part, Tensor) for part in data):
        inputs, targets = data
        if len(inputs) != len(targets):
            raise ValueError(
                f"compress: data has {len(inputs)} inputs and {len(targets)} targets; give one "
                "target for each input"
            )
        return TensorLoader(inputs, targets, BATCH, shuffle=True, seed=0, drop_last=True)
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        return DataLoader(data, BATCH, shuffle=True)
    try:
        length = len(data)
    except TypeError:
        raise ValueError(
            f"compress: the length of the data, a {type(data).__name__}, is not known, nor so when "
            "an epoch ends; give a DataLoader over a data set with a length, or (inputs, targets)"
        ) from None
    if not length:
        raise ValueError("compress: data is empty; give at least one batch")
    return _Batches(data) if isinstance(data, tuple | list) else data


class _Batches:
    """A list of batches, which Lightning would take for several loaders."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def _fit(task: LightningModule, loader: Any, epochs: float, techniques: list[Callback]) -> None:
    callbacks = [
        ComputeBudget(epochs=epochs, phases={"prune": 0.0, "share": SHARED}),
        ScheduleLearningRate(
            shape=Cosine(floor=0.01, warmup=0.02), peaks={"share": ShareWeights.peak}
        ),
        *techniques,
        BudgetBar(),
    ]
    with quiet():
        trainer = Trainer(
            max_epochs=-1,
            devices=1,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        trainer.fit(task, loader)


def _check_writable(path: str | os.PathLike[str]) -> None:
    """Refuse, before the training, a file that cannot be written."""

    class _CanBeError(Exception):
        pass

    with contextlib.suppress(_CanBeError), replacing(path) as part:
        part.touch()
        raise _CanBeError


def _write(model: nn.Module, path: str | os.PathLike[str], dense: int) -> None:
    """Write the file and say its size, or say why not: the network is returned anyway."""
    try:
        size = pack(model, path)
        print(f"{os.fspath(path)}: {size:,} bytes, {dense / size:.1f} times smaller", flush=True)
    except OSError as error:
        warnings.warn(
            f"{os.fspath(path)} was not written: {error}; pack the network that compress returns",
            stacklevel=3,
        )
