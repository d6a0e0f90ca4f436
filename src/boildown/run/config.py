"""Configs: their resolvers, what the command line may say, and checks before anything is built.

Imports neither torch nor Lightning, so that a typing error is answered at once.
"""

import inspect
import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from boildown.locate import locate

GROUPS = ("compression", "experiment")
KEYS = (
    "data", "model", "task", "trainer", "logger", "budget", "compression", "experiment",
    "name", "seed", "resume", "share_dense", "validations", "learning_rate", "loss_scaling",
)  # fmt: skip
TECHNIQUES = ("lowrank", "prune", "share", "round")  # in the order in which they act
PHASES = ("dense", "lowrank", "factored", "prune", "share")
PATTERNS = ("keep", "bits", "ranks")  # settings of a recipe that may map patterns to values
RUN_KEYS = {"task": ("base_width",)}  # in a group, but read by the run, not by the target
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
COMPRESSION_KEYS = (
    "ratio", "bytes", "sparsity", "keep", "bits", "factors", "energy", "price", "ranks",
    "dtype", "init",
)  # fmt: skip


class ConfigError(ValueError):
    """A config that cannot be run: names the key, the value and what would be valid."""


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


def accept_plus(arguments: Sequence[str]) -> list[str]:
    """Let `+compression=deep` and `compression=deep` mean the same, and `+resume=true` too.

    >>> accept_plus(["+compression=deep", "+resume=true", "+model.width=3"])
    ['compression=deep', 'resume=true', '+model.width=3']
    """
    names = "|".join((*GROUPS, "resume"))
    return [re.sub(rf"^\+({names})=", r"\1=", argument) for argument in arguments]


def check(cfg: DictConfig, known: Sequence[str] = KEYS) -> None:
    """Refuse unknown keys, nodes that lack a `_target_`, and arguments a target does not take.

    Args:
        cfg: the composed config.
        known: the top-level keys there are.

    Raises:
        ConfigError: one line, naming the key, the value and what would be valid.
    """
    for key in cfg:
        if key not in known:
            raise ConfigError(f"{key!s}: unknown key; there are {', '.join(known)}")
    missing = sorted(str(key) for key in OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigError(f"{missing[0]}: a value must be given, {missing[0]}=...")
    _whole(cfg.seed, "seed", 0, 2**32 - 1)
    _whole(cfg.validations, "validations", 1)
    if not isinstance(cfg.resume, bool):
        raise ConfigError(f"resume must be true or false, got {cfg.resume!r}")
    if isinstance(cfg.name, DictConfig | ListConfig):
        raise ConfigError(f"name must be a text or null, got {cfg.name}")
    for key in map(str, cfg.trainer):
        if key in SET_BY_RUN:
            instead = SET_BY_RUN[key]
            raise ConfigError(
                f"trainer.{key}={cfg.trainer[key]}: the run sets this itself; "
                + (f"say {instead}=..." if instead else "a script of your own can (README)")
            )
    accumulate = OmegaConf.select(cfg, "trainer.accumulate_grad_batches")
    if accumulate is not None and (type(accumulate) is not int or accumulate < 1):
        raise ConfigError(
            "trainer.accumulate_grad_batches must be a whole number of at least 1, "
            f"got {accumulate!r}"
        )
    for key in ("task.optimizer.lr", "task.optimizer.weight_decay"):
        value = OmegaConf.select(cfg, key)
        if value is not None:
            _number(value, key, "of at least 0", 0.0, float("inf"))
    for phase, peak in (OmegaConf.select(cfg, "learning_rate.peaks") or {}).items():
        if phase not in PHASES:
            raise ConfigError(
                f"learning_rate.peaks.{phase}: there is no such phase (value {peak!r}); "
                f"the phases are {', '.join(PHASES)}"
            )
        _number(peak, f"learning_rate.peaks.{phase}", "of at least 0", 0.0, float("inf"))
    techniques = _check_compression(cfg.compression)
    base_width = OmegaConf.select(cfg, "task.base_width")
    if base_width is not None and (type(base_width) is not int or base_width < 1):
        raise ConfigError(
            f"task.base_width must be null or a whole number of at least 1, got {base_width!r}"
        )
    for group in ("data", "model", "task", "trainer", "learning_rate", "budget"):
        _check_target(cfg[group], group, RUN_KEYS.get(group, ()))
    if "shape" in cfg.learning_rate:
        _check_target(cfg.learning_rate.shape, "learning_rate.shape")
    if cfg.logger:
        _check_target(cfg.logger, "logger")
    if cfg.get("loss_scaling") is not None:
        _check_target(cfg.loss_scaling, "loss_scaling")
    if str(cfg.trainer.get("precision")) in ("16", "16-mixed"):
        raise ConfigError(
            f"trainer.precision={cfg.trainer.precision}: say trainer=amp, which scales the loss "
            "on the CPU too (Lightning alone would train in bf16 there), or trainer=bf16"
        )
    for key in techniques:
        _check_target(cfg.compression[key], f"compression.{key}")


def _check_compression(recipe: DictConfig) -> list[str]:
    """Check the values of a recipe, which needs no import; returns its techniques."""
    techniques = []
    for key in map(str, recipe):
        node = recipe[key]
        if isinstance(node, DictConfig) and key not in PATTERNS:
            if "_target_" not in node:
                hint = "" if len(recipe) > 1 else "; is compression=deep missing?"
                inside = ", ".join(f"compression.{key}.{k!s}={v}" for k, v in node.items())
                raise ConfigError(f"{inside}: compression.{key} has no _target_{hint}")
            techniques.append(key)
            for end in ("begin", "end"):
                if end in node:
                    _number(node[end], f"compression.{key}.{end}", "from 0 to 1", 0.0, 1.0)
        elif key not in COMPRESSION_KEYS:
            raise ConfigError(
                f"compression.{key}: unknown key (value {node!r}); it is no technique, for it has "
                f"no _target_, and the settings are {', '.join(COMPRESSION_KEYS)}; "
                f"~compression.{key} leaves it out"
            )
    for key, valid, low, high in (
        ("ratio", "above 1", 1.0, float("inf")),
        ("bytes", "above 0", 0.0, float("inf")),
        ("sparsity", "in [0, 1)", -1e-300, 1.0),
        ("factors", "in (0, 1)", 0.0, 1.0),
        ("price", "of at least 0", -1e-300, float("inf")),
        ("energy", "in (0, 1]", 0.0, 1.0 + 1e-12),
    ):
        value = recipe.get(key)
        if value is not None:
            _number(value, f"compression.{key}", valid, low, high)
            if not low < value < high:
                raise ConfigError(f"compression.{key} must be {valid}, got {value}")
    for key in PATTERNS:
        if isinstance(recipe.get(key), DictConfig) and not recipe[key]:
            raise ConfigError(f"compression.{key} must name at least one layer, got {{}}")
    bits = recipe.get("bits")
    for key, value in (
        {f"compression.bits[{pattern!r}]": value for pattern, value in bits.items()}
        if isinstance(bits, DictConfig)
        else {"compression.bits": bits}
    ).items():
        if value is not None:
            _whole(value, key, 1, 16)
    for pattern, kept in (recipe.get("keep") or {}).items():
        _number(kept, f"compression.keep[{pattern!r}]", "in (0, 1]", 1e-300, 1.0)
    return techniques


def _number(value: Any, key: str, valid: str, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigError(f"{key} must be a number {valid}, got {value!r}")


def _whole(value: Any, key: str, low: int, high: int | None = None) -> None:
    if type(value) is not int or value < low or (high is not None and value > high):
        valid = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ConfigError(f"{key} must be a whole number {valid}, got {value!r}")


def _check_target(node: Any, key: str, others: Sequence[str] = ()) -> None:
    if not isinstance(node, DictConfig) or "_target_" not in node:
        raise ConfigError(f"{key}: needs a _target_, the dotted path of what to build")
    try:
        target = locate(str(node["_target_"]))
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{key}._target_: cannot find {node['_target_']!r} ({error})") from error
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
                    f"{target.__name__} takes {', '.join(valid)}"
                )
    for part, child in node.items():
        for place, item in _children(child, f"{key}.{part!s}"):
            if isinstance(item, DictConfig) and "_target_" in item:
                _check_target(item, place)


def _children(node: Any, key: str) -> list[tuple[str, Any]]:
    if isinstance(node, ListConfig):
        return [(f"{key}[{i}]", item) for i, item in enumerate(node)]
    return [(key, node)]


def expected(error: BaseException) -> bool:
    """Whether an error is the user's to mend, so that one line says it all.

    True of what Hydra, OmegaConf and boildown's own code raise on purpose; an error that comes up
    from elsewhere is a mistake in a program and needs its traceback.
    """
    if isinstance(error, ConfigError | OmegaConfBaseException | OSError):
        return True
    if isinstance(error, HydraException):
        cause = error.__cause__
        return not isinstance(cause, Exception) or isinstance(
            cause, ValueError | TypeError | ImportError | OSError | OmegaConfBaseException
        )
    if not isinstance(error, ValueError | RuntimeError):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    ours = (Path(__file__).parents[1], Path(hydra.__file__).parent)
    return bool(frames) and any(place in Path(frames[-1].filename).parents for place in ours)


def one_line(error: BaseException) -> str:
    """What went wrong, on one line: the cause that Hydra wrapped, and where."""
    cause = error.__cause__ or error
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        options = ", ".join(error.options)
        return f"{group}={choice}: there is no such choice; there are {options}"
    override = re.match(
        r"Could not override '(.+)'\.\s*To append to your config use \+(.+)", str(error)
    )
    if override and isinstance(error, HydraException):
        parent = getattr(cause, "parent_node", None)
        keys = [str(k) for k in parent] if isinstance(parent, DictConfig) else []
        where = str(parent._get_full_key(None)) if isinstance(parent, DictConfig) else ""
        there = f"there are {', '.join(keys)}" if keys else "there are none"
        hint = "; is compression=deep missing?" if where == "compression" and not keys else ""
        return (
            f"{override.group(2)}: there is no such key; "
            f"{f'under {where} ' if where else ''}{there}{hint}"
        )
    hydra_said = isinstance(error, OmegaConfBaseException | HydraException)
    text = str(cause if hydra_said else error) or type(cause).__name__
    found = re.search(r"full_key: (\S+)", str(error))
    key = found.group(1) if found else str(getattr(error, "full_key", None) or "")
    text = re.sub(r"\s*(full_key|object_type|reference_type)[:=]\s*\S+", "", text)
    text = re.sub(r"\s+", " ", text).strip()
    return f"{key}: {text}" if key and not text.startswith(key) else text
