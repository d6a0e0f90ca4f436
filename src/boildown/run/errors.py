"""Errors that are the user's to mend, and what they say on one line.

Imports neither torch nor Lightning.
"""

import re
import traceback
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException


class ConfigError(ValueError):
    """A config that cannot be run: names the key, the value and what would be valid."""


def number(value: Any, key: str, valid: str, low: float, high: float) -> None:
    """Refuse what is no number from `low` to `high`.

    Raises:
        ConfigError: naming the key, the value and `valid`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigError(f"{key} must be a number {valid}, got {value!r}")


def whole(value: Any, key: str, low: int, high: int | None = None) -> None:
    """Refuse what is no whole number from `low` to `high`.

    Raises:
        ConfigError: naming the key and the value.
    """
    if type(value) is not int or value < low or (high is not None and value > high):
        valid = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ConfigError(f"{key} must be a whole number {valid}, got {value!r}")


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
