"""From a directory of a config and packed weights to a model of the library that it is for."""

import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from boildown.checkpoints.base_state import load_base
from boildown.checkpoints.model_directory import packed_file
from boildown.codec import read_config, unpack
from boildown.codec.entry import State
from boildown.files.regular import open_regular
from boildown.loading import as_packed, filled
from boildown.lowrank.factorize import structure_in

CONFIG = "config.json"


def from_pretrained(
    path: str | os.PathLike[str],
    cls: Callable[..., Any],
    *,
    base: State | str | os.PathLike[str] | None = None,
    **kwargs: Any,
) -> Any:
    """Load the model of a directory that `boildown pack DIR -o PACKED` made, in evaluation mode.

    Nothing is downloaded, and no code of the directory is run: its config.json is given to the
    class, as data.

    Args:
        path: of the directory, with config.json and model.boil in it, or of a .boil file that has
            config.json beside it.
        cls: what to build. A class of transformers, also AutoModel and its kind: its own loading
            gets the config and the tensors. `timm.create_model`, or a class of a timm model. Any
            other nn.Module's class: it is built by its `from_config`, or of the config's entries
            as arguments, of which those that begin with _ are none.
        base: what the file holds the differences to, if it does: a state dict, or the path of a
            checkpoint, a .boil file or a directory with either.
        kwargs: what the library's own `from_pretrained` or `create_model` takes, or, for other
            classes, arguments that come before the config's.

    Returns:
        The model, in the dtypes of the file unless transformers was told another; what transformers
        gives if `output_loading_info` is among the arguments.

    Raises:
        ValueError: if the file is damaged, or the class is not one for the config or the tensors,
            naming the file and the remedy.
        OSError: if a file is not there or cannot be read.
    """
    file = packed_file(path)
    if not file.exists():
        raise FileNotFoundError(
            f"{path}: there is no such directory or file; boildown downloads nothing, "
            f"huggingface_hub.snapshot_download({str(path)!r}) gives a directory"
        )
    libraries = _libraries(cls)
    if "transformers" in libraries and hasattr(cls, "from_pretrained"):
        return _of_transformers(cls, file, load_base(base), kwargs)
    if "timm" in libraries:
        model = _of_timm(cls, file, kwargs)
    elif isinstance(cls, type) and issubclass(cls, nn.Module):
        model = _of_config(cls, file, kwargs)
    else:
        raise ValueError(
            f"from_pretrained: {cls!r} is no class of a network: give one of transformers, "
            "timm.create_model, or an nn.Module's class"
        )
    return _filled(model, file, load_base(base))


def _libraries(cls: Any) -> set[str]:
    """Packages that define a class, those it inherits from, or a function."""
    defined = cls.__mro__ if isinstance(cls, type) else (cls,)
    return {getattr(one, "__module__", "").partition(".")[0] for one in defined}


def _of_transformers(cls: Any, file: Path, base: State | None, kwargs: dict[str, Any]) -> Any:
    """The model as transformers' own loading makes it."""
    if kwargs.pop("trust_remote_code", None):
        raise ValueError(
            f"trust_remote_code: boildown runs no code of {file.parent}: import the class yourself "
            "and give that"
        )
    library = import_module("transformers")
    direct = {name: kwargs.pop(name) for name in _NOT_THE_CONFIGS if name in kwargs}
    config = kwargs.pop("config", file.parent)
    if isinstance(config, str | os.PathLike):
        own = getattr(cls, "config_class", None)
        never = {} if own else {"trust_remote_code": False}  # by default it asks on the terminal
        config, kwargs = (own or library.AutoConfig).from_pretrained(
            config, return_unused_kwargs=True, **never, **kwargs
        )
    if not issubclass(cls, nn.Module):  # AutoModel or its kind
        cls, config = _chosen(cls, config)
    if structure_in(read_config(file) or {}):  # which the library cannot build
        return _filled(cls(config), file, base)
    generation = file.parent / "generation_config.json"
    if "generation_config" not in kwargs and generation.is_file():
        kwargs["generation_config"] = library.GenerationConfig.from_pretrained(file.parent)
    state = unpack(file, base=base)
    try:
        made = cls.from_pretrained(None, config=config, state_dict=state, **direct, **kwargs)
    except RuntimeError as error:
        raise ValueError(f"{file} does not fit {cls.__name__}: {error}") from error
    model = made[0] if isinstance(made, tuple) else made
    model.name_or_path = model.config.name_or_path = str(file.parent)
    return made


_NOT_THE_CONFIGS = ("dtype", "torch_dtype", "quantization_config")  # but would be taken for its


def _chosen(auto: Any, config: Any) -> tuple[Any, Any]:
    """The class of networks that a class of transformers' chooses for a config, and its config."""
    with torch.device("meta"):  # without memory: the network is not used
        made = auto.from_config(config, trust_remote_code=False)
    cls = type(made)
    return cls, config if isinstance(config, cls.config_class) else made.config


def _of_timm(cls: Any, file: Path, kwargs: dict[str, Any]) -> nn.Module:
    """The architecture that config.json names, as timm builds it."""
    config = _config(file)
    if config is None or not isinstance(config.get("architecture"), str):
        raise ValueError(
            f"{file.parent / CONFIG} names no architecture, as timm's do: build the network "
            f"yourself and call boildown.load({str(file)!r}, network)"
        )
    try:
        model: nn.Module = import_module("timm").create_model(
            f"local-dir:{file.parent}", pretrained=False, **kwargs
        )
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{file.parent / CONFIG}: timm cannot build it: {error}") from error
    if isinstance(cls, type) and not isinstance(model, cls):
        raise ValueError(
            f"{file.parent / CONFIG} describes a {type(model).__name__}, no {cls.__name__}: give "
            "that, or timm.create_model"
        )
    return model


def _of_config(cls: type[nn.Module], file: Path, kwargs: dict[str, Any]) -> nn.Module:
    """A network of any class, built from what config.json holds."""
    given = (_config(file) or {}) | kwargs
    build = getattr(cls, "from_config", None)
    arguments = {name: value for name, value in given.items() if not name.startswith("_")}
    try:
        model: nn.Module = cls(**arguments) if build is None else build(given)
    except TypeError as error:
        raise ValueError(
            f"{file.parent / CONFIG} is not what {cls.__name__} is built from: {error}; build the "
            f"network yourself and call boildown.load({str(file)!r}, network)"
        ) from error
    return model


def _config(file: Path) -> dict[str, Any] | None:
    """What config.json beside a file holds; None if there is none."""
    path = file.parent / CONFIG
    if not path.exists():
        return None
    try:
        with open_regular(path) as opened:
            config = json.load(opened)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}; copy it again") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds a {type(config).__name__}, no names with values")
    return config


def _filled(model: nn.Module, file: Path, base: State | None) -> nn.Module:
    """A network with the tensors of a file, in their dtypes."""
    state = unpack(file, base=base)
    model = as_packed(model, structure_in(read_config(file) or {}), file)
    for name, tensor in model.state_dict(keep_vars=True).items():
        stored = state.get(name)
        if stored is not None and stored.is_floating_point() and tensor.is_floating_point():
            _recast(tensor, stored)
    return filled(model, state, file)


def _recast(tensor: Tensor, like: Tensor) -> None:
    """Give a parameter or buffer the dtype of another, where it is; its values are replaced."""
    if tensor.dtype != like.dtype:
        tensor.data = tensor.data.to(like.dtype)
