"""What a config describes, built: the model's own config, the task around a model."""

import inspect
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning.pytorch import LightningModule
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from boildown.locate import locate, with_current_targets
from boildown.run.built import built
from boildown.run.config import RUN_KEYS
from boildown.run.errors import ConfigError
from boildown.tasks.language import Language
from boildown.tasks.width import width_factors


def config_in(path: Path) -> DictConfig:
    """The config in a file, which may be of an earlier version.

    Raises:
        Exception: whatever YAML and OmegaConf say of a file that is none.
    """
    cfg = OmegaConf.create(
        with_current_targets(OmegaConf.to_container(OmegaConf.load(path), resolve=True))
    )
    assert isinstance(cfg, DictConfig)
    return cfg


def model_config(cfg: DictConfig, data: Any) -> dict[str, Any]:
    """The model's config as plain data, with the shapes that its target asks for."""
    config = OmegaConf.to_container(cfg.model, resolve=True)
    assert isinstance(config, dict)
    takes = _arguments(str(config["_target_"]))
    shapes = {"input_shape": list(data.input_shape), "num_classes": int(data.num_classes)}
    return {str(k): v for k, v in config.items()} | {k: v for k, v in shapes.items() if k in takes}


def _arguments(target: str) -> Collection[str]:
    """The names of a target's arguments; none where Python does not know them."""
    try:
        return inspect.signature(locate(target)).parameters
    except ValueError:  # of a function that is written in C
        return ()


def build_task(cfg: DictConfig, data: Any, model: nn.Module) -> LightningModule:
    """The task around a model.

    Raises:
        ConfigError: if data, model and task do not belong together, or `task.base_width` is given
            to a model that has no width.
    """
    takes = _arguments(str(cfg.task["_target_"]))
    given: dict[str, Any] = {"num_classes": data.num_classes} if "num_classes" in takes else {}
    factors = _rate_factors(cfg, data)
    if factors is not None:
        if "factors" not in takes:
            raise ConfigError(f"task.base_width: {cfg.task['_target_']} takes no factors on rates")
        given["factors"] = {name: _factor(factors, name) for name, _ in model.named_parameters()}
    _check_objective(data, model, locate(str(cfg.task["_target_"])))
    own = cfg.task.copy()
    with open_dict(own):
        for key in RUN_KEYS["task"]:
            own.pop(key, None)
    task = built(own, "task", model=model, **given)
    if not isinstance(task, LightningModule):
        raise ConfigError(f"task._target_: {cfg.task['_target_']} does not make a LightningModule")
    return task


def _rate_factors(cfg: DictConfig, data: Any) -> dict[str, float] | None:
    """Parameter -> factor on its learning rate by the width rule; None without it."""
    base_width = cfg.task.get("base_width")
    if base_width is None:
        return None
    config = model_config(cfg, data)
    name = str(config["_target_"])
    if "width" not in _arguments(name):
        raise ConfigError(
            f"task.base_width={base_width}: {name} has no width for the learning rates to follow; "
            "task.base_width=null"
        )

    def build(width: int) -> nn.Module:
        made: nn.Module = instantiate(config | {"width": width})
        return made

    return width_factors(build, cfg.model.width, base_width)


def _factor(factors: Mapping[str, float], name: str) -> float:
    """A parameter's factor; that of `fc1.weight` for the weights of its factors, `fc1.u.weight`."""
    layer, _, own = name.rpartition(".")
    return factors.get(name, factors.get(f"{layer.rpartition('.')[0]}.{own}", 1.0))


def _check_objective(data: Any, model: nn.Module, task: Any) -> None:
    """Refuse a model or a task for other data: text, numbers to predict, or classes."""
    offered = getattr(data, "objective", None)
    wanted = getattr(model, "objective", None)
    kind, name = type(getattr(data, "module", data)).__name__, type(model).__name__
    text = offered in Language.objectives
    if wanted is not None and not text:
        raise ConfigError(f"model: {name} reads text, which data {kind} is not; data=text")
    if text and wanted is None and type(model).__module__.startswith("boildown."):
        raise ConfigError(f"model: {name} cannot read text, data {kind}; model=gpt or model=bert")
    if text and wanted is not None and offered != wanted:
        raise ConfigError(
            f"data.objective={offered}: {name} is trained with data.objective={wanted}"
        )
    if (meant := getattr(task, "objectives", ())) and offered not in meant:
        right = "language" if text else offered or "classification"
        raise ConfigError(f"task: {task.__name__} is not for data {kind}; task={right}")
