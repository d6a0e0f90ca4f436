"""Configs: their resolvers, what the command line may say, and checks before anything is built.

Imports neither torch nor Lightning, so that a typing error is answered at once.
"""

import difflib
import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from boildown.locate import locate
from boildown.run.errors import ConfigError, no_such_choice, number, perhaps, whole
from boildown.run.recipe import check_recipe, nodes_of

GROUPS = ("compression", "experiment")
KEYS = (
    "data", "model", "task", "trainer", "logger", "budget", "compression", "experiment",
    "name", "seed", "resume", "share_dense", "validations", "learning_rate", "loss_scaling", "run",
    "search", "callbacks",
)  # fmt: skip
OF_DATASETS = ("batch_size", "eval_batch_size", "val_size", "seed")  # that boildown's own data take
UNITS = ("epochs", "steps", "seconds", "flops")  # of a budget
_LEAST, _MOST = sys.float_info.min, sys.float_info.max
RUN_KEYS = {"task": ("base_width",)}  # in a group, but read by the run, not by the target
WANDB_MODES = ("offline", "online", "shared", "disabled", "dryrun", "run")
SET_BY_RUN = {  # keys of `trainer` -> what to say instead, "" where there is nothing
    "max_epochs": "budget.epochs",
    "val_check_interval": "validations",
    "check_val_every_n_epoch": "validations",
    "logger": "logger",
    "default_root_dir": "hydra.run.dir",
    "callbacks": "",
    "num_sanity_val_steps": "",
    "enable_model_summary": "",
    "enable_checkpointing": "",
    "log_every_n_steps": "",
    "use_distributed_sampler": "",
}


def register_resolvers() -> None:
    """Let configs say `${unless:value,a,b}` and `${over:a,b}`.

    The first is value, or null if any of a, b is given; the second a / b, rounded, at least 1.
    """

    def unless(value: Any, *others: Any) -> Any:
        return value if all(other is None for other in others) else None

    def over(a: float, b: float) -> int:
        return max(1, round(a / b))

    OmegaConf.register_new_resolver("unless", unless, replace=True)
    OmegaConf.register_new_resolver("over", over, replace=True)


def sweep_first(arguments: Sequence[str]) -> list[str]:
    """Let `-m` stand anywhere: argparse takes no settings after a flag that settings precede.

    >>> sweep_first(["compression=deep", "-m", "seed=0,1"])
    ['-m', 'compression=deep', 'seed=0,1']
    """
    return sorted(arguments, key=lambda argument: argument not in ("-m", "--multirun"))


def accept_plus(arguments: Sequence[str]) -> list[str]:
    """Let `+compression=deep` and `compression=deep` mean the same, and `+resume=true` too.

    >>> accept_plus(["+compression=deep", "+resume=true", "+model.width=3"])
    ['compression=deep', 'resume=true', '+model.width=3']
    """
    names = "|".join((*GROUPS, "resume", "run.allow"))
    return [re.sub(rf"^\+({names})=", r"\1=", argument) for argument in arguments]


def check(cfg: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Refuse unknown keys, nodes that lack a `_target_`, and arguments a target does not take.

    Args:
        cfg: the composed config.
        overrides: of the command line, such as "+compression.ratio=8".

    Raises:
        ConfigError: one line, naming the key, the value and what would be valid.
    """
    for key in map(str, cfg):
        if key not in KEYS:
            hint = perhaps(cfg, key, str(cfg[key]))
            raise ConfigError(f"{key}: unknown key; {hint}there are {', '.join(KEYS)}")
    _check_mappings(cfg)
    missing = sorted(str(key) for key in OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigError(f"{missing[0]}: a value must be given, {missing[0]}=...")
    whole(cfg.seed, "seed", 0, 2**32 - 1)
    whole(cfg.validations, "validations", 1)
    if not isinstance(cfg.resume, bool):
        raise ConfigError(f"resume must be true or false, got {cfg.resume!r}")
    if isinstance(cfg.name, DictConfig | ListConfig):
        raise ConfigError(f"name must be a text or null, got {cfg.name}")
    if not isinstance(cfg.share_dense, str | None):
        raise ConfigError(f"share_dense must be a directory or null, got {cfg.share_dense}")
    _check_allow(cfg.run)
    for unit in UNITS:
        if cfg.budget.get(unit) is not None:
            number(cfg.budget[unit], f"budget.{unit}", "that is positive and finite", _LEAST, _MOST)
    _check_trainer(cfg.trainer)
    for key in ("task.optimizer.lr", "task.optimizer.weight_decay"):
        value = OmegaConf.select(cfg, key)
        if value is not None:
            number(value, key, "of at least 0", 0.0, float("inf"))
    for phase, peak in (OmegaConf.select(cfg, "learning_rate.peaks") or {}).items():
        number(peak, f"learning_rate.peaks.{phase}", "of at least 0", 0.0, float("inf"))
    check_recipe(cfg.compression, overrides)
    base_width = OmegaConf.select(cfg, "task.base_width")
    if base_width is not None and (type(base_width) is not int or base_width < 1):
        raise ConfigError(
            f"task.base_width must be null or a whole number of at least 1, got {base_width!r}"
        )
    _leave_out_defaults(cfg, overrides)
    for group in ("data", "model", "task", "trainer", "learning_rate", "budget"):
        _check_target(cfg[group], group, RUN_KEYS.get(group, ()))
    if "shape" in cfg.learning_rate:
        _check_target(cfg.learning_rate.shape, "learning_rate.shape")
    for key, node in loggers_in(cfg.logger).items():
        _check_target(node, f"logger.{key}".removesuffix("."))
    if cfg.get("loss_scaling") is not None:
        _check_target(cfg.loss_scaling, "loss_scaling")
    for key in map(str, cfg.get("callbacks") or {}):
        _check_target(cfg.callbacks[key], f"callbacks.{key}")
    for key, node in nodes_of(cfg.compression).items():
        _check_target(node, f"compression.{key}")


def _leave_out_defaults(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Leave out what the default data has and a LightningDataModule put in its place does not take.

    What the command line says by itself stays, to be refused by name.
    """
    node = cfg.get("data")
    if not isinstance(node, DictConfig) or "_target_" not in node:
        return
    try:
        target = locate(str(node["_target_"]))
        takes = inspect.signature(target).parameters
    except (ImportError, AttributeError, ValueError, TypeError):  # which is said later
        return
    if not hasattr(target, "prepare_data") or any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        return
    told = {override.lstrip("+").partition("=")[0] for override in overrides}
    with open_dict(node):
        for key in [key for key in map(str, node) if key not in takes]:
            if key in OF_DATASETS and f"data.{key}" not in told:
                del node[key]


def check_choices(arguments: Sequence[str], conf: Path) -> None:
    """Refuse a choice that cannot be the name of one, which Hydra answers without the group's name.

    Args:
        arguments: of the command line.
        conf: the directory of the configs.

    Raises:
        ConfigError: naming the group and its choices.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import QuotedString

    groups = {path.name: path for path in conf.iterdir() if path.is_dir() and path.name != "hydra"}
    for argument in arguments:
        group, equals, given = argument.lstrip("+").partition("=")
        if not equals or group not in groups or (group == "experiment" and given == "null"):
            continue
        override = OverridesParser.create().parse_override(argument)
        value = None if override.is_sweep_override() else override.value()
        names = value if isinstance(value, list) else [value]
        if override.is_sweep_override() or isinstance(value, dict):
            continue  # Hydra says what is wrong with what is none
        if not all(isinstance(name, str | QuotedString) for name in names):
            options = sorted(path.stem for path in groups[group].glob("*.yaml"))
            raise ConfigError(no_such_choice(group, given, options))


def _check_mappings(cfg: DictConfig) -> None:
    """Refuse a single value where there are settings, such as learning_rate=0.1."""
    settings = {"compression": "ratio", "learning_rate": "peaks", "run": "allow"}
    for key in ("data", "model", "task", "trainer", "budget", *settings):
        if not isinstance(cfg.get(key), DictConfig):
            hint = "; the rate is task.optimizer.lr" if key == "learning_rate" else ""
            inside = f"{key}.{settings.get(key, '_target_')}"
            raise ConfigError(
                f"{key} must hold settings, such as {inside}, got {cfg.get(key)!r}{hint}"
            )
    peaks = cfg.learning_rate.get("peaks")
    if not isinstance(peaks, DictConfig | None):
        raise ConfigError(
            f"learning_rate.peaks must map phases to numbers, such as {{share: 0.3}}, got {peaks!r}"
        )


def _check_allow(run: DictConfig) -> None:
    for key in map(str, run):
        if key != "allow":
            raise ConfigError(f"run.{key}: unknown key (value {run[key]!r}); there is allow")
    allow = run.get("allow")
    if not isinstance(allow, ListConfig) or not all(isinstance(name, str) for name in allow):
        raise ConfigError(
            f"run.allow must be a list of modules, such as [my_package], got {allow!r}"
        )


def loggers_in(loggers: Any) -> dict[str, DictConfig]:
    """The loggers of a config by their keys; {} if there are none, "" for one without a key.

    Raises:
        ConfigError: for a knob that no logger reads, or a mode that wandb does not have.
    """
    if not loggers:
        return {}
    if "_target_" in loggers:
        return {"": loggers}
    nodes = nodes_of(loggers)
    text = str(OmegaConf.to_container(loggers, resolve=False))
    for key in map(str, loggers):
        if key not in nodes and f"${{logger.{key}}}" not in text:
            raise ConfigError(f"logger.{key}={loggers[key]}: no logger reads it")
    mode = loggers.get("mode")
    if mode is not None and mode not in WANDB_MODES:
        raise ConfigError(f"logger.mode={mode}: there are {', '.join(WANDB_MODES)}")
    return nodes


def _check_trainer(trainer: DictConfig) -> None:
    for key in map(str, trainer):
        if key in SET_BY_RUN:
            instead = SET_BY_RUN[key]
            raise ConfigError(
                f"trainer.{key}={trainer[key]}: the run sets this itself; "
                + (f"say {instead}=..." if instead else "a script of your own can (README)")
            )
    whole(trainer.get("accumulate_grad_batches", 1), "trainer.accumulate_grad_batches", 1)
    if str(trainer.get("precision")) in ("16", "16-mixed"):
        raise ConfigError(
            f"trainer.precision={trainer.precision}: say trainer=amp, which scales the loss "
            "on the CPU too (Lightning alone would train in bf16 there), or trainer=bf16"
        )


def _check_target(node: Any, key: str, others: Sequence[str] = ()) -> None:
    if not isinstance(node, DictConfig) or "_target_" not in node:
        got = "" if isinstance(node, DictConfig) else f", got {node!r}"
        raise ConfigError(f"{key}: needs a _target_, the dotted path of what to build{got}")
    partial = node.get("_partial_", False)
    if not isinstance(partial, bool):
        raise ConfigError(f"{key}._partial_ must be true or false, got {partial!r}")
    try:
        target = locate(str(node["_target_"]))
    except (ImportError, AttributeError, ValueError) as error:
        hint = _like(str(node["_target_"]))
        raise ConfigError(
            f"{key}._target_: cannot find {node['_target_']!r} ({error}){hint}"
        ) from error
    try:
        parameters = inspect.signature(target).parameters
    except ValueError:
        return
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        valid = [name for name, p in parameters.items() if p.kind is not p.VAR_POSITIONAL]
        valid += others
        for name in map(str, node):
            if name not in valid and not name.startswith("_"):
                value = OmegaConf.to_container(OmegaConf.create({"v": node._get_node(name)}))
                raise ConfigError(
                    f"{key}.{name}: unknown key (value {value['v']!r}); "  # type: ignore[index, call-overload]
                    f"{target.__name__} takes {', '.join(valid) or 'none'}; ~{key}.{name} leaves "
                    "it out"
                )
    for part, child in node.items():
        for place, item in _children(child, f"{key}.{part!s}"):
            if isinstance(item, DictConfig) and "_target_" in item:
                _check_target(item, place)


def _like(path: str) -> str:
    """A question after the name in the same module that is most like one that is not there."""
    module, _, name = path.rpartition(".")
    names = [n for n in dir(sys.modules.get(module)) if not n.startswith("_")]
    like = difflib.get_close_matches(name, names, 1) if module in sys.modules else []
    return f"; do you mean {module}.{like[0]}?" if like else ""


def _children(node: Any, key: str) -> list[tuple[str, Any]]:
    if isinstance(node, ListConfig):
        return [(f"{key}[{i}]", item) for i, item in enumerate(node)]
    return [(key, node)]
