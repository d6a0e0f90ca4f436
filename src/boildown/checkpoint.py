"""State dicts in the files people have: safetensors, torch.save, Lightning, Hugging Face.

Nothing in a file is executed: torch files are read with `weights_only=True`.
"""

import itertools
import json
import os
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from boildown.codec.container import MAGIC
from boildown.files.atomic import replacing

# How the names of checkpoints end, the longest ending first.
ENDINGS = (
    ".safetensors.index.json",
    ".bin.index.json",
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
)
# Names of checkpoints in a directory that Hugging Face's tools wrote, in order of preference.
_IN_DIRECTORY = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# Keys under which training scripts keep the state dict, in order of preference.
_KEYS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
)
_REMEDY = "save model.state_dict() with torch.save or safetensors instead"


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file.

    Attributes:
        state: name -> tensor on the CPU, in the order of the file.
        left_out: names of entries beside the tensors that are no tensors, with their types.
        key: under which the tensors lie in the file; None if they are all that it holds.
        other_keys: keys of what looks like another state dict.
    """

    state: dict[str, Tensor]
    left_out: list[str]
    key: str | None
    other_keys: list[str]


def load_checkpoint(path: str | os.PathLike[str], key: str | None = None) -> Checkpoint:
    """The tensors of a checkpoint, and the names of what was left out.

    Tensors that are views of one storage in a torch file are so here. A safetensors file has no
    such views.

    Args:
        path: of a .safetensors file, of anything torch.save wrote: a state dict, a Lightning
            checkpoint, or a dict with a state dict in it; of the .index.json of files beside it;
            or of a directory that holds one of these under Hugging Face's name.
        key: under which the state dict lies; keys inside keys are joined by dots. By default the
            one that training scripts use, or the only one with tensors under it.

    Returns:
        The checkpoint. A dict of state dicts is one state dict, whose names are joined by dots.

    Raises:
        ValueError: if the file holds no state dict, or several, with the remedy.
        OSError: if it cannot be read.
    """
    file = find_file(path)
    held = _join(file) if file.suffix == ".json" else _read(file)
    if not isinstance(held, Mapping) or not held:
        raise ValueError(f"{file} holds a {type(held).__name__}, no state dict; {_REMEDY}")
    if key is None:
        key = _choose(held, file)
    inside = held if key is None else _under(held, key)
    state: dict[str, Tensor] = {}
    left_out = []
    for name, value in _entries(inside) if isinstance(inside, Mapping) else ():
        if name in state:
            raise ValueError(f"{file} holds two tensors of the name {name!r}")
        if isinstance(value, Tensor):
            state[name] = value
        else:
            left_out.append(f"{name} ({value})")
    if not state:
        where = "" if key is None else f" under {key!r}"
        raise ValueError(f"{file} holds no named tensors{where}, it has {some(held)}; {_REMEDY}")
    others = [name for name, value in held.items() if name != key and _is_state_dict(value)]
    return Checkpoint(state, left_out, key, [] if key is None else others)


def load_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a checkpoint; the `state` of `load_checkpoint`.

    Args:
        path: as for `load_checkpoint`.

    Raises:
        ValueError: if the file holds no state dict, or several, with the remedy.
        OSError: if it cannot be read.
    """
    return load_checkpoint(path).state


def save_safetensors(state: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Write a safetensors file that appears whole or not at all.

    Args:
        state: name -> tensor, on any device. Tied tensors are written once for each name, since
            safetensors cannot tie them.
        path: of the file; replaced if it exists.

    Raises:
        ValueError: for a name or a dtype that safetensors cannot hold.
        OSError: if the file cannot be written.
    """
    if "__metadata__" in state:
        raise ValueError(f"{path}: safetensors cannot hold a tensor of the name __metadata__")
    alone: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        own = tensor.detach().cpu().contiguous()
        storage = own.untyped_storage().data_ptr()
        alone[name] = own.clone() if storage in seen else own
        seen.add(storage)
    with replacing(path) as part:
        try:
            # transformers refuses files without this format
            save_file(alone, part, metadata={"format": "pt"})
        except KeyError as error:
            raise ValueError(f"{path}: safetensors cannot hold a tensor of {error}") from None
        except UnicodeEncodeError as error:
            raise ValueError(f"{path}: safetensors cannot hold the name {error.object!r}") from None
        except SafetensorError as error:
            system = re.search(r"\(os error (\d+)\)", str(error))
            if system is None:
                raise ValueError(f"{path}: safetensors cannot hold this: {error}") from None
            raise OSError(int(system[1]), os.strerror(int(system[1]))) from None


def find_file(path: str | os.PathLike[str]) -> Path:
    """The file of a checkpoint that may be a directory.

    Args:
        path: of a file, which is given back, or of a directory.

    Raises:
        ValueError: if the directory holds no checkpoint under Hugging Face's names.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    for name in _IN_DIRECTORY:
        if (path / name).is_file():
            return path / name
    files = sorted(file.name for file in path.iterdir() if file.name.endswith(ENDINGS))
    there = f"such as {some(files)} in it" if files else "it holds no checkpoint by its name"
    raise ValueError(f"{path} is a directory; give a file, {there}")


def _read(file: Path) -> Any:
    """What a single file holds."""
    with file.open("rb") as opened:
        head = opened.read(32)
        opened.seek(0)
        if head.startswith(MAGIC):
            raise ValueError(f"{file} is packed already; see boildown inspect and boildown unpack")
        if head.startswith(b"version https://git-lfs"):
            raise ValueError(f"{file} is a Git LFS pointer, not the file itself; run git lfs pull")
        try:
            if file.suffix == ".safetensors" or head[8:10] == b'{"':
                return load_file(file)
            with warnings.catch_warnings(action="ignore"):
                return torch.load(opened, map_location="cpu", weights_only=True)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # a damaged file can raise any type
            raise ValueError(f"{file} {_what_is_wrong(error)}") from None


def _what_is_wrong(error: Exception) -> str:
    """Why a file cannot be read, without torch's advice to run the code in it."""
    text = str(error)
    code = re.search(r"GLOBAL (\S+)", text)
    if code is not None:
        return f"holds {code[1]}, which only running its code could load; {_REMEDY}"
    if "TorchScript" in text:
        return f"is a TorchScript archive, which holds code; {_REMEDY}"
    reason = text.rpartition("WeightsUnpickler error:")[2].strip() or type(error).__name__
    reason = re.split(r"\.? In PyTorch 2|\n", reason)[0]
    return f"is no intact checkpoint of torch.save or safetensors: {reason}"


def _join(index: Path) -> dict[str, Tensor]:
    """The tensors of the files that an index names, all in its own directory."""
    try:
        files = json.loads(index.read_bytes())["weight_map"]
        names = list(dict.fromkeys(files.values()))
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise ValueError(
            f"{index} is no index of a checkpoint's files: it has no weight_map; "
            f"give a file that ends in {', '.join(ENDINGS)}"
        ) from None
    state: dict[str, Tensor] = {}
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[^/\\:\0]*[^/\\:\0.]", name):
            raise ValueError(f"{index} names {name!r}, which is no file beside it")
        shard = _read(index.with_name(name))
        if not isinstance(shard, Mapping) or shard.keys() & state.keys():
            raise ValueError(f"{index}: {name} is not a part of the checkpoint, or is there twice")
        state |= shard
    missing = [name for name in files if name not in state]
    if missing:
        raise ValueError(f"{index}: {some(missing)} is in none of the files {some(names)}")
    return state


def _choose(held: Mapping[Any, Any], file: Path) -> str | None:
    """The key under which the state dict lies, None if it is `held` itself."""
    keys: list[str] = [
        name
        for name, value in held.items()
        if isinstance(value, Mapping)
        and any(isinstance(what, Tensor) for _, what in _entries({name: value}))
    ]
    known = [key for key in _KEYS if key in keys]
    beside = any(isinstance(value, Tensor) for value in held.values())
    if known or not keys:
        return known[0] if known else None
    if len(keys) > 1 or beside:
        also = " and tensors beside them" if beside else ""
        raise ValueError(f"{file} holds tensors under {some(keys)}{also}; choose one with --key")
    return keys[0]


def _is_state_dict(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(v, Tensor) for v in value.values())


def _under(held: Mapping[Any, Any], key: str) -> Any:
    """What lies under a key, or under keys inside keys, joined by dots; None if nothing does."""
    if key in held:
        return held[key]
    for dot in re.finditer(r"\.", key):
        inside = held.get(key[: dot.start()])
        found = _under(inside, key[dot.end() :]) if isinstance(inside, Mapping) else None
        if found is not None:
            return found
    return None


def _entries(
    held: Mapping[Any, Any], above: tuple[Any, ...] = ()
) -> Iterator[tuple[str, Tensor | str]]:
    """Each name, joined by dots where dicts lie in dicts, with its tensor, or with a type's name.

    What a module's get_extra_state gave is not looked into.
    """
    above = (*above, held)  # for dicts that contain themselves, which a pickle can hold
    for name, value in held.items():
        if not isinstance(name, str):
            yield repr(name), f"{type(value).__name__}, its name is no string"
        elif isinstance(value, Tensor):
            yield name, value
        elif (
            isinstance(value, Mapping)
            and name.rpartition(".")[2] != "_extra_state"
            and not any(value is one for one in above)
        ):
            for inner, what in _entries(value, above):
                yield f"{name}.{inner}", what
        else:
            yield name, type(value).__name__


def some(names: Collection[Any]) -> str:
    """The first six names and how many more there are, for a message."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(str, itertools.islice(names, _SHOWN))) + more


_SHOWN = 6
