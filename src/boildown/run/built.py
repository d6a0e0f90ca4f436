"""A node of a config, built; what goes wrong is said of its settings.

Whatever a constructor raises comes from what the config says: it names a place, and one line tells
which setting it was, if that can be found out. A mistake in boildown's own code stays what it is.
"""

import inspect
import re
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from boildown.locate import locate
from boildown.run.errors import ConfigError, on_one_line
from boildown.run.kinds import misfits

_ANNOTATED = ("boildown", "lightning", "torch")  # whose annotations are what they take
_OURS = Path(__file__).parents[1]
_ON_PURPOSE = ("MisconfigurationException", "ValueError")  # which say what is wrong by themselves
_LONGEST = 400  # characters of what another library says


def built(node: DictConfig | dict[str, Any], key: str, *, search: bool = False, **own: Any) -> Any:
    """What a node of a config describes.

    Args:
        node: with a `_target_`.
        key: its place in the config.
        search: look for the setting that is wrong by building without it.
        own: arguments of the target that are not in the config.

    Raises:
        ConfigError: naming the place, the value and what was wrong with it.
    """
    try:
        made = instantiate(node, **own)
    except Exception as error:
        raise _refusal(error, node, key, search, own) from error
    for place, target, settings in _nodes(_plain(node), key):
        if str(settings["_target_"]).partition(".")[0] in _ANNOTATED:
            _check_kinds(place, target, settings)
    return made


def refusal(error: Exception, place: str, what: str) -> Exception:
    """What to say of an error in a step: one line; a mistake in boildown's code stays as it is.

    Args:
        error: that the step raised.
        place: in the config.
        what: was done, or with what.
    """
    cause = _cause(error)
    if isinstance(cause, ConfigError | OmegaConfBaseException):
        return cause
    if on_purpose(cause):
        return ConfigError(_at(place, on_one_line(str(cause))))
    if _of_boildown(cause):
        return cause
    return ConfigError(f"{place}: {what}: {_said(cause)}")


def on_purpose(error: BaseException) -> bool:
    """Whether a statement of boildown's raised an error that says what would be valid."""
    frames = traceback.extract_tb(error.__traceback__)
    return (
        isinstance(error, ValueError)
        and _of_boildown(error)
        and (frames[-1].line or "").startswith("raise")
    )


def _refusal(
    error: Exception, node: Any, key: str, search: bool, own: Mapping[str, Any]
) -> Exception:
    cause = _cause(error)
    found = re.search(r"full_key: (\S+)", str(error))
    place = found[1] if found and found[1].startswith(key) else key
    inner = [(p, t, s) for p, t, s in _nodes(_plain(node), key) if p == place] or [
        (key, None, _plain(node))
    ]
    _, target, settings = inner[0]
    if isinstance(cause, ConfigError | OmegaConfBaseException) or on_purpose(cause):
        text = on_one_line(str(cause))
        named = re.match(r"(\w+)\b", text)
        within = named is not None and named[1] in settings
        return ConfigError(f"{place}.{text}" if within else _at(place, text))
    try:
        _check_kinds(place, target, settings)
    except ConfigError as misfit:
        return misfit
    for name in settings if search else ():
        if not name.startswith("_") and _works_without(node, name, own):
            remedy = f"without it ({key}.{name}={_default(target, name)}) this is built"
            value = "null" if settings[name] is None else settings[name]
            return ConfigError(f"{key}.{name}={value}: {_said(cause)}; {remedy}")
    if _of_boildown(cause):
        return cause
    given = ", ".join(f"{k}={v}" for k, v in settings.items() if not k.startswith("_"))
    return ConfigError(f"{place}: {settings.get('_target_')}({given}): {_said(cause)}")


def _at(place: str, text: str) -> str:
    """A message with its place in front, unless it says so itself.

    >>> _at("compression.prune", "prune.keep must ..."), _at("model", "LeNet5 needs images")
    ('compression.prune.keep must ...', 'model: LeNet5 needs images')
    """
    above, _, name = place.rpartition(".")
    if above and text.startswith(f"{name}."):
        return f"{above}.{text}"
    return text if re.match(rf"{re.escape(place)}\b", text) else f"{place}: {text}"


def _works_without(node: Any, name: str, own: Mapping[str, Any]) -> bool:
    rest = node.copy()
    if isinstance(rest, DictConfig):
        OmegaConf.set_struct(rest, False)
    rest.pop(name)
    try:
        instantiate(rest, **own)
    except Exception:  # whatever it raises, it does not work
        return False
    return True


def _default(target: Any, name: str) -> Any:
    try:
        value = inspect.signature(target).parameters[name].default
    except (KeyError, TypeError, ValueError):
        return "null"
    return "null" if value in (None, inspect.Parameter.empty) else value


def _check_kinds(place: str, target: Any, settings: Mapping[str, Any]) -> None:
    for name, kind in misfits(target, settings) if target is not None else ():
        raise ConfigError(f"{place}.{name} must be {kind}, got {settings[name]!r}")


def _plain(node: Any) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    return {str(key): value for key, value in plain.items()}


def _nodes(node: Any, place: str) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Each node with a `_target_`: its place, what its target names, and its settings."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield place, locate(str(node["_target_"])), dict(node)
        for key, value in node.items():
            yield from _nodes(value, f"{place}.{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from _nodes(value, f"{place}[{i}]")


def _cause(error: Exception) -> Exception:
    """What Hydra wrapped."""
    cause = error.__cause__
    wrapped = type(error).__module__.startswith("hydra.") and isinstance(cause, Exception)
    return cause if wrapped and isinstance(cause, Exception) else error


def _of_boildown(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and _OURS in Path(frames[-1].filename).parents


def _said(error: BaseException) -> str:
    """What another library, or a class of one's own, says, and where."""
    text = on_one_line(str(error))
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    name = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "site-packages" not in f.filename and _OURS not in
           Path(f.filename).parents and f.filename.endswith(".py")]  # fmt: skip
    at = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    said = text if text and name in _ON_PURPOSE else f"{name}: {text}"
    return said.removesuffix(": ").removesuffix(".") + at
