"""Configs: their resolvers, what the command line may say, and checks before anything is built.

Imports neither torch nor Lightning, so that a typing error is answered at once.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

GROUPS = ("compression", "experiment")
PLAIN = ("budget", "compression", "experiment")  # nodes that may be without a _target_ themselves


class ConfigError(ValueError):
    """A config that cannot be run: names the key, the value and what would be valid."""


def register_resolvers() -> None:
    """`${unless:value,a,b}` is value, or null if any of a, b is given."""

    def unless(value: Any, *others: Any) -> Any:
        return value if all(other is None for other in others) else None

    OmegaConf.register_new_resolver("unless", unless, replace=True)


def accept_plus(arguments: Sequence[str]) -> list[str]:
    """Let `+compression=deep` and `compression=deep` mean the same, and `+resume=true` too.

    >>> accept_plus(["+compression=deep", "+resume=true", "+model.width=3"])
    ['compression=deep', 'resume=true', '+model.width=3']
    """
    names = "|".join((*GROUPS, "resume"))
    return [re.sub(rf"^\+({names})=", r"\1=", argument) for argument in arguments]


def check(cfg: DictConfig, known: Sequence[str]) -> None:
    """Refuse unknown keys, nodes that lack a `_target_`, and arguments a target does not take.

    Args:
        cfg: the composed config.
        known: the top-level keys there are.

    Raises:
        ConfigError: one line, naming the key, the value and what would be valid.
    """
    for key in cfg:
        if key not in known:
            raise ConfigError(f"{key}: unknown key; there are {', '.join(known)}")
    missing = sorted(str(key) for key in OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigError(f"{missing[0]}: a value must be given, {missing[0]}=...")
    for group in ("data", "model", "task", "trainer", "learning_rate", "budget"):
        _check_target(cfg[group], group)
    if cfg.logger:
        _check_target(cfg.logger, "logger")
    for key, node in cfg.compression.items():
        if isinstance(node, DictConfig) and key not in ("keep", "bits"):
            _check_target(node, f"compression.{key}")
        elif key not in COMPRESSION_KEYS:
            raise ConfigError(
                f"compression.{key}: no technique, for it has no _target_, and no setting; "
                f"the settings are {', '.join(COMPRESSION_KEYS)}; is compression=... missing?"
            )


COMPRESSION_KEYS = ("ratio", "bytes", "sparsity", "keep", "bits", "dtype", "init")


def _check_target(node: Any, key: str) -> None:
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
        for name in node:
            if str(name) not in valid and not str(name).startswith("_"):
                value = OmegaConf.to_container(OmegaConf.create({"v": node._get_node(name)}))
                raise ConfigError(
                    f"{key}.{name}: unknown key (value {value['v']!r}); "  # type: ignore[index, call-overload]
                    f"{target.__name__} takes {', '.join(valid)}"
                )
    for name, child in node.items():
        for place, item in _children(child, f"{key}.{name}"):
            if isinstance(item, DictConfig) and "_target_" in item:
                _check_target(item, place)


def _children(node: Any, key: str) -> list[tuple[str, Any]]:
    if isinstance(node, ListConfig):
        return [(f"{key}[{i}]", item) for i, item in enumerate(node)]
    return [(key, node)]


def locate(path: str) -> Callable[..., Any]:
    """The object at a dotted path.

    Raises:
        ImportError, AttributeError, ValueError: if there is none.
    """
    module, _, name = path.rpartition(".")
    if not module:
        raise ValueError("not a dotted path")
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        found = getattr(locate(module), name)
    if not callable(found):
        raise ValueError("not callable")
    return found  # type: ignore[no-any-return]


def one_line(error: BaseException) -> str:
    """What went wrong, on one line: the cause that Hydra wrapped, and where."""
    key = getattr(error, "full_key", None)
    cause = error.__cause__ or error
    if isinstance(error, OmegaConfBaseException) or type(error).__module__.startswith("hydra"):
        text = str(cause)
    else:
        text = str(error)
    where = re.search(r"full_key: (\S+)", str(error))
    where_key = where.group(1) if where else (str(key) if key else "")
    text = re.sub(
        r"\s+", " ", re.sub(r"\s*(full_key|object_type|reference_type)[:=]\s*\S+", "", text)
    )
    text = text.replace(
        " To append to your config use", "; is the name misspelt? To add a new key use"
    )
    return f"{where_key}: {text}" if where_key and not text.startswith(where_key) else text
