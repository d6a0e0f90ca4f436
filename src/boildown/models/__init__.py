"""The models, and the one table of those that a file may name."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from torch import nn

REGISTRY: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        f"{module}.{name}": (module, name)
        for module, name in (
            ("boildown.models.alexnet", "AlexNet"),
            ("boildown.models.lenet", "LeNet300"),
            ("boildown.models.lenet", "LeNet5"),
            ("boildown.models.mlp", "MLP"),
            ("boildown.models.resnet", "ResNet"),
            ("boildown.models.resnet", "ResNet20"),
            ("boildown.models.squeezenet", "SqueezeNet"),
            ("boildown.models.transformer", "BERT"),
            ("boildown.models.transformer", "GPT"),
            ("boildown.models.vgg", "VGG16"),
        )
    }
)
"""Dotted path -> module and class. Closed: what is not here is never imported for a file."""

ABOVE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"boildown.lowrank.factorize.restructure": ("boildown.lowrank.factorize", "restructure")}
)
"""The same for functions that make a model of the one that their argument `model` describes."""


def build(config: Mapping[str, Any], *, trust: bool = False) -> nn.Module:
    """Build the model that `config` describes.

    Args:
        config: `_target_`, the dotted path of the model, and its keyword arguments.
        trust: import any path, not only those in `REGISTRY` and `ABOVE`. Importing runs code:
            never set it for a config from a file of unknown origin.

    Raises:
        ValueError: if `_target_` is missing or not allowed, or the arguments do not fit it.
        ImportError: for a trusted path that does not exist.
    """
    target = config.get("_target_")
    if not isinstance(target, str) or target not in ABOVE:
        return _create(config, REGISTRY, trust)
    inner = config.get("model")
    if not isinstance(inner, Mapping):
        raise ValueError(f"{target} needs the config of a model, got {inner!r}")
    model = _create(inner, REGISTRY, trust)
    return _create({**config, "model": model}, ABOVE, trust=False)


def _create(
    config: Mapping[str, Any], known: Mapping[str, tuple[str, str]], trust: bool
) -> nn.Module:
    target = config.get("_target_")
    if not isinstance(target, str):
        raise ValueError(f"a model config needs _target_, the path of a model, got {target!r}")
    if target in known:
        module, name = known[target]
    elif trust:
        module, _, name = target.rpartition(".")
        if not module:
            raise ValueError(f"_target_ must be a dotted path, got {target!r}")
    else:
        raise ValueError(
            f"_target_ {target!r} is not one of boildown's models ({', '.join(known)}); "
            "pass the model yourself, or trust the config if you know where it comes from"
        )
    try:
        factory = getattr(import_module(module), name)
    except AttributeError as error:
        raise ImportError(f"{module} has no {name}") from error
    arguments = {key: value for key, value in config.items() if key != "_target_"}
    try:
        model = factory(**arguments)
    except TypeError as error:
        raise ValueError(f"cannot build {target} from {arguments}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"{target} makes a {type(model).__name__}, not a torch.nn.Module")
    return model
