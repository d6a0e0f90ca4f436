"""Errors that are the user's to mend, and what they say on one line.

Imports neither torch nor Lightning.
"""

import difflib
import math
import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from boildown.run.places import meant


class ConfigError(ValueError):
    """A config that cannot be run: names the key, the value and what would be valid."""


def number(value: Any, key: str, valid: str, low: float, high: float) -> None:
    """Refuse what is no finite number from `low` to `high`.

    Raises:
        ConfigError: naming the key, the value and `valid`.
    """
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not (plain and math.isfinite(value) and low <= value <= high):
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
        return no_such_choice(group, choice, error.options)
    if isinstance(error, HydraException):
        override = re.match(
            r"Could not override '(.+)'\.\s*To append to your config use \+(.+)", str(error)
        )
        if override:
            return _no_such_key(override.group(2), getattr(cause, "parent_node", None))
    hydra_said = isinstance(error, OmegaConfBaseException | HydraException)
    text = str(cause if hydra_said else error) or type(cause).__name__
    found = re.search(r"full_key: (\S+)", str(error))
    key = found.group(1) if found else str(getattr(error, "full_key", None) or "")
    text = re.sub(r"\s*(full_key|object_type|reference_type)[:=]\s*\S+", "", text)
    text = on_one_line(text)
    merged = re.search(r"Error merging override (.+)", str(error)) if hydra_said else None
    if merged:
        if "ListConfig" in text:
            text = "a list where settings stand, or settings where a list stands"
        return f"{merged.group(1).strip()}: {text}"
    typed = getattr(error, "override", None)  # what Hydra's grammar does not know
    if isinstance(typed, str) and typed not in text:
        text = f"{typed}: {text}"
    return f"{key}: {text}" if key and not text.startswith(key) else text


def on_one_line(text: str) -> str:
    """A text without line breaks."""
    return re.sub(r"\s+", " ", text).strip()


def no_such_choice(group: str, choice: str, options: Sequence[str]) -> str:
    """That a group of configs has no such choice, and which it has."""
    like = difflib.get_close_matches(choice, options, 1)
    hint = f"do you mean {group}={like[0]}? " if like else ""
    return f"{group}={choice}: there is no such choice; {hint}there are {', '.join(options)}"


def _no_such_key(override: str, parent: Any) -> str:
    """That there is no key that was to be set, which may have been meant, and which there are."""
    node = parent if isinstance(parent, DictConfig) else DictConfig({})
    where = str(node._get_full_key(None) or "")
    keys = [str(k) for k in node if where or k != "hydra"]
    under = f"under {where} " if where else ""
    there = f"{under}there are {', '.join(keys) or 'none'}"
    hint = "; is compression=deep missing?" if where == "compression" and not keys else ""
    root: Any = node._get_root()
    name, _, value = override.partition("=")
    return f"{override}: there is no such key; {perhaps(root, name, value)}{there}{hint}"


def perhaps(cfg: DictConfig, name: str, value: str) -> str:
    """Which keys may have been meant by one that there is not, as a question; "" for none."""
    keys = meant(cfg, name)
    return f"do you mean {' or '.join(f'{key}={value}' for key in keys)}? " if keys else ""
