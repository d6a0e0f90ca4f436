"""What a run builds, tried before the training: two samples through the model, and the optimizer.

Nothing is left of it: no state, no random number, no gradient.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule
from omegaconf import DictConfig
from torch import Tensor, nn

from boildown.data.text import IGNORE
from boildown.run.built import built, refusal
from boildown.run.errors import ConfigError
from boildown.tasks.classification import Classification, Task
from boildown.tasks.language import Language
from boildown.tasks.regression import Regression

_OFFERS = ("prepare", "train_dataloader", "val_dataloader", "test_dataloader")
_OF_DEVICES = re.compile(r"cuda|gpu|device|dtype|half|float16|autocast", re.IGNORECASE)


def check_data(data: Any, cfg: DictConfig) -> None:
    """Refuse what is no data of a run, before it is prepared.

    Raises:
        ConfigError: naming the target, what it lacks and the remedy.
    """
    lacks = [name for name in _OFFERS if not callable(getattr(data, name, None))]
    if lacks:
        raise ConfigError(
            f"data._target_: {cfg.data['_target_']} makes a {type(data).__name__}, which has no "
            f"{lacks[0]}(); a run takes data derived from boildown.data.base.Dataset "
            "(docs/extend.md) or a LightningDataModule, not a torch Dataset or a DataLoader"
        )


def check_described(data: Any, cfg: DictConfig) -> None:
    """Refuse data that, once prepared, does not say what a sample is.

    Raises:
        ConfigError: naming the target, what it lacks and the remedy.
    """
    for name in ("input_shape", "num_classes"):
        if getattr(data, name, None) is None:
            raise ConfigError(
                f"data._target_: {cfg.data['_target_']} has no {name}; a run takes data derived "
                "from boildown.data.base.Dataset (docs/extend.md)"
            )


def check_model(model: Any, cfg: DictConfig) -> None:
    """Refuse what cannot be trained.

    Raises:
        ConfigError: naming the target and what it makes.
    """
    target = cfg.model["_target_"]
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"model._target_: {target} makes a {type(model).__name__}, which is no model; name a "
            "class derived from torch.nn.Module, or a function that returns one"
        )
    if any(isinstance(p, nn.UninitializedParameter) for p in model.parameters()):
        raise ConfigError(
            f"model._target_: {target} has lazy layers, whose sizes are not known yet; call it "
            "once at the end of its constructor, or give the layers their sizes"
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise ConfigError(f"model._target_: {target} has no parameters to train")


def check_optimizer(cfg: DictConfig, task: LightningModule) -> None:
    """Refuse an optimizer that cannot be made of the task's parameters.

    Raises:
        ConfigError: naming the setting.
    """
    if not isinstance(task, Task) or type(task).configure_optimizers is not (
        Task.configure_optimizers
    ):
        return
    try:
        task.configure_optimizers()
    except Exception as error:
        node = cfg.task.get("optimizer")
        if isinstance(node, DictConfig) and node.get("_partial_"):
            whole = node.copy()
            whole["_partial_"] = False
            parameters = [p for p in task.parameters() if p.requires_grad]
            built(whole, "task.optimizer", search=True, params=parameters)
        raise refusal(error, "task.optimizer", str(node)) from error


def check_fit(cfg: DictConfig, data: Any, task: LightningModule, batch: Any) -> None:
    """Refuse a model that cannot read the data, or whose outputs the task cannot use.

    A task of one's own, whose steps are not those of boildown's tasks, may call its model otherwise
    and is left alone.

    Args:
        cfg: of the run.
        data: prepared.
        task: around the model.
        batch: of the training.

    Raises:
        ConfigError: naming the model, the data and what does not fit.
    """
    kinds = (Classification, Language, Regression)
    if not isinstance(task, Task) or type(task).training_step not in [
        kind.training_step for kind in kinds
    ]:
        return
    name = type(data).__name__
    if not (
        isinstance(batch, list | tuple)
        and len(batch) == 2
        and all(isinstance(part, Tensor) for part in batch)
    ):
        raise ConfigError(
            f"data: a batch of {name} must be two tensors, inputs and targets, for "
            f"{type(task).__name__}, got a {type(batch).__name__}"
        )
    inputs, targets = batch
    if isinstance(task, Regression):
        _check_numbers(cfg, name, task, inputs[:2], targets[:2])
        return
    classes = int(data.num_classes)
    wrong = targets[(targets != IGNORE) & ((targets < 0) | (targets >= classes))]
    if len(wrong):
        raise ConfigError(
            f"data: {name} has a target {wrong[0].item()}, and its num_classes is {classes}"
        )
    outputs = _outputs(cfg, name, task, inputs[:2])
    if outputs is not None:
        _check_outputs(cfg, name, task, outputs, targets[:2], classes)


def _outputs(cfg: DictConfig, data: str, task: Task, inputs: Tensor) -> list[Any] | None:
    """What the model makes of a few inputs; None if this cannot be found out here."""
    device = next(task.parameters()).device
    try:
        with _untouched(task):
            return [task(inputs.to(device))]
    except Exception as error:
        if torch.accelerator.is_available() and _OF_DEVICES.search(str(error)):
            return None  # it may run where it is to be trained
        shape = tuple(inputs.shape[1:])
        what = f"{cfg.model['_target_']} cannot take the samples {shape} of data {data}"
        raise refusal(error, "model", what) from error


def _check_numbers(
    cfg: DictConfig, data: str, task: Regression, inputs: Tensor, targets: Tensor
) -> None:
    if _outputs(cfg, data, task, inputs) is None:
        return
    device = next(task.parameters()).device
    try:
        with _untouched(task):
            task.training_step((inputs.to(device), targets.to(device)), 0)
    except ValueError as error:
        raise ConfigError(f"model: {cfg.model['_target_']} on data {data}: {error}") from error


def _check_outputs(
    cfg: DictConfig, data: str, task: Task, outputs: list[Any], targets: Tensor, classes: int
) -> None:
    (logits,) = outputs
    model = f"model: {cfg.model['_target_']}"
    if not isinstance(logits, Tensor):
        got = "None" if logits is None else f"a {type(logits).__name__}"
        raise ConfigError(
            f"{model} returns {got} from forward; {type(task).__name__} needs one tensor of logits"
        )
    shape, wanted = tuple(logits.shape), (len(targets), classes, *targets.shape[1:])
    fits = shape == wanted
    if isinstance(task, Language):
        wanted = (*targets.shape, classes)
        fits = shape[:-1] == wanted[:-1] and shape[-1] >= classes
    if not fits:
        raise ConfigError(
            f"{model} returns outputs of shape {shape} for {len(targets)} samples; data {data} "
            f"with its {classes} classes needs {wanted}"
            + (": give it num_classes" if len(shape) == len(wanted) else "")
        )
    if not logits.is_floating_point():
        raise ConfigError(f"{model} returns {logits.dtype}; logits are floating-point numbers")


@contextmanager
def _untouched(task: nn.Module) -> Iterator[None]:
    """Let a model be called without a trace: no gradient, no random number, no statistics."""
    training = {module: module.training for module in task.modules()}
    task.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        for module, was in training.items():
            module.training = was
