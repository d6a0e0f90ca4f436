"""The models, and the door through which a file may ask for one of them.

A new model is a new module here; nothing else has to name it.
"""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from torch import nn

from boildown.locate import current, defined_in, within

OF_A_MODEL = ("boildown.lowrank.factorize.restructure",)
"""Functions that a file may name besides models: they change the model that their argument `model`
describes. Closed, as their modules hold much that no file has any business to call."""

_REMEDY = (
    "pass the model yourself, or trust the package that defines it, trust_config=['my_package'] "
    "(on the command line --allow my_package), or the whole config if you know where it comes from"
)


def build(config: Mapping[str, Any], *, trust: bool | Sequence[str] = False) -> nn.Module:
    """Build the model that `config` describes.

    Args:
        config: `_target_`, the dotted path of the model, and its keyword arguments.
        trust: modules, or dotted paths in them, that may be imported too, not only boildown's own
            models and `OF_A_MODEL`; True: any path. Importing runs code: never say True of a config
            from a file of unknown origin. Of a module what it defines itself may be called, and not
            what it has imported from elsewhere.

    Raises:
        ValueError: if `_target_` is missing or not allowed, or the arguments do not fit it.
        ImportError: for a trusted path that does not exist.
    """
    path, inner = _path(config), _inner(config)
    inner_path = _path(inner)
    model = _call(_found(inner_path, trust), inner_path, inner)
    return model if inner is config else _call(_imported(path), path, {**config, "model": model})


def trusts(trust: bool | Sequence[str], config: Mapping[str, Any]) -> bool:
    """Whether a model that a config describes is one that is only built for being trusted.

    Raises:
        ValueError: if there is no `_target_`.
    """
    if isinstance(trust, bool):
        return trust
    return within(_path(_inner(config)), _names(trust))


def model_class(path: str) -> type[nn.Module]:
    """The model of boildown's that a dotted path names.

    That is a subclass of `nn.Module` whose class statement stands in a module directly in this
    package. What such a module imports is none of its models, and nothing outside this package is
    imported to find out.

    Args:
        path: untrusted.

    Raises:
        ValueError: if the path names anything else, with the models that there are.
    """
    module, _, name = path.rpartition(".")
    package, _, stem = module.rpartition(".")
    stems = [found.name for found in pkgutil.iter_modules(__path__) if not found.ispkg]
    if package != __name__ or stem not in stems:
        raise ValueError(
            f"_target_ {_short(path)} is not one of boildown's models, the classes in "
            f"{__name__}.{{{','.join(stems)}}}; {_REMEDY}"
        )
    models = {
        key: value
        for key, value in vars(import_module(module)).items()
        if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == module
    }
    if name not in models:
        there = ", ".join(models) or "none"
        raise ValueError(
            f"_target_ {_short(path)} is not one of boildown's models ({module} has {there}); "
            f"{_REMEDY}"
        )
    return models[name]


def _path(config: Mapping[str, Any]) -> str:
    """The `_target_` of a config, as it is called today."""
    target = config.get("_target_")
    if not isinstance(target, str):
        raise ValueError(
            f"a model config needs _target_, the path of a model, got {_short(target)}"
        )
    return current(target)


def _inner(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config of the model itself, which one of `OF_A_MODEL` may be called with."""
    path = _path(config)
    if path not in map(current, OF_A_MODEL):
        return config
    inner = config.get("model")
    if not isinstance(inner, Mapping):
        raise ValueError(f"{path} needs the config of a model, got {_short(inner)}")
    return inner


def _short(value: Any, told: Callable[[Any], str] = repr) -> str:
    """A value of a file for a message, cut to a line or two."""
    text = told(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


_SHOWN = 300


def _names(trust: Sequence[str]) -> list[str]:
    return [trust] if isinstance(trust, str) else list(trust)


def _found(path: str, trust: bool | Sequence[str]) -> Any:
    if isinstance(trust, bool):
        return _imported(path) if trust else model_class(path)
    names = _names(trust)
    if not within(path, names):
        return model_class(path)
    found = _imported(path)
    if path not in names and not defined_in(found, names):
        raise ValueError(f"_target_ {_short(path)} is defined elsewhere than in {', '.join(names)}")
    return found


def _imported(path: str) -> Any:
    """What a trusted path names."""
    module, _, name = path.rpartition(".")
    if not module:
        raise ValueError(f"_target_ must be a dotted path, got {_short(path)}")
    try:
        return getattr(import_module(module), name)
    except AttributeError as error:
        raise ImportError(f"{module} has no {name}") from error


def _call(factory: Any, path: str, config: Mapping[str, Any]) -> nn.Module:
    """The model that `factory`, found at `path`, makes of the config's arguments."""
    arguments = {key: value for key, value in config.items() if key != "_target_"}
    try:
        model = factory(**arguments)
    except (TypeError, AttributeError) as error:  # the latter from a class that is only a base
        raise ValueError(
            f"cannot build {path} from {_short(arguments)}: {_short(error, str)}"
        ) from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"{path} makes a {type(model).__name__}, not a torch.nn.Module")
    return model
