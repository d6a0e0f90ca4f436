"""State dicts in the files people have: safetensors, torch.save, Lightning, Hugging Face.

Nothing in a file is executed, see `boildown.checkpoints.unpickling`, and none buys more work than
its size.
"""

import itertools
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from boildown.checkpoints.unpickling import StandIn, unpickle
from boildown.codec.container import MAGIC
from boildown.codec.error import CodecError
from boildown.files.atomic import replacing
from boildown.files.regular import open_regular

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
IN_DIRECTORY = (
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
        not_loaded: names of classes and functions elsewhere in the file, which were not run.
        metadata: texts beside the tensors of a safetensors file.
        files: of safetensors, if all tensors are from such.
    """

    state: dict[str, Tensor]
    left_out: list[str]
    key: str | None
    other_keys: list[str]
    not_loaded: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)


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
    read = _join(file) if file.suffix == ".json" else _read(file)
    held = read.held
    if isinstance(held, StandIn) and not held:
        raise ValueError(_needs_code(file, [held.path]))
    if not isinstance(held, Mapping) or not held:
        raise ValueError(f"{file} holds a {_kind(held)}, no state dict; {_REMEDY}")
    if key is None:
        key = _choose(held, file)
    inside = held if key is None else _under(held, key)
    state: dict[str, Tensor] = {}
    left_out = []
    for name, value in _entries(inside, file) if isinstance(inside, Mapping) else ():
        if name in state:
            raise ValueError(f"{file} holds two tensors of the name {shown(name)!r}")
        if isinstance(value, Tensor):
            state[name] = value
        else:
            left_out.append(f"{shown(name)} ({value})")
    if not state:
        if key is None and read.not_loaded:
            raise ValueError(_needs_code(file, read.not_loaded))
        where = "" if key is None else f" under {key!r}"
        raise ValueError(f"{file} holds no named tensors{where}, it has {some(held)}; {_REMEDY}")
    _check_views(state, read.size, file)
    others = [str(name) for name, value in held.items() if name != key and _is_state_dict(value)]
    others = [] if key is None else others
    return Checkpoint(state, left_out, key, others, read.not_loaded, read.metadata, read.files)


def _needs_code(file: Path, names: Collection[str]) -> str:
    return f"{file} holds {some(names)}, which only running its code could load; {_REMEDY}"


def load_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a checkpoint; the `state` of `load_checkpoint`.

    Args:
        path: as for `load_checkpoint`.

    Raises:
        ValueError: if the file holds no state dict, or several, with the remedy.
        OSError: if it cannot be read.
    """
    return load_checkpoint(path).state


def save_safetensors(
    state: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file that appears whole or not at all.

    Args:
        state: name -> tensor, on any device. Tied tensors are written once for each name, since
            safetensors cannot tie them.
        path: of the file; replaced if it exists.
        metadata: texts to keep beside the tensors.

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
            save_file(alone, part, metadata={"format": "pt"} | dict(metadata or {}))
        except KeyError as error:
            raise ValueError(f"{path}: safetensors cannot hold a tensor of {error}") from None
        except UnicodeEncodeError as error:
            raise ValueError(f"{path}: safetensors cannot hold the name {error.object!r}") from None
        except SafetensorError as error:
            system = re.search(r"\(os error (\d+)\)", str(error))
            if system is None:
                raise ValueError(f"{path}: safetensors cannot hold this: {error}") from None
            raise OSError(int(system[1]), os.strerror(int(system[1]))) from None


def save_torch(state: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Write a file of torch.save that appears whole or not at all; tied tensors stay tied.

    Args:
        state: name -> tensor.
        path: of the file; replaced if it exists.

    Raises:
        OSError: if the file cannot be written.
    """
    with replacing(path) as part, part.open("xb") as file:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:  # which torch makes of a full disk
            reason = error.__context__ or error.__cause__
            raise (reason if isinstance(reason, OSError) else OSError(f"{path}: {error}")) from None


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
    for name in IN_DIRECTORY:
        if (path / name).is_file():
            return path / name
    files = sorted(file.name for file in path.iterdir() if file.name.endswith(ENDINGS))
    there = f"such as {some(files)} in it" if files else "it holds no checkpoint by its name"
    raise ValueError(f"{path} is a directory; give a file, {there}")


@dataclass(frozen=True)
class _Content:
    """What files hold.

    Attributes:
        held: of any type.
        size: bytes.
        not_loaded: as in `Checkpoint`.
        metadata: as in `Checkpoint`.
        files: as in `Checkpoint`.
    """

    held: Any
    size: int
    not_loaded: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)


def _read(file: Path) -> _Content:
    """What a single file holds."""
    with open_regular(file) as opened:
        head = opened.read(32)
        size = opened.seek(0, os.SEEK_END)
        opened.seek(0)
        if head.startswith(MAGIC):
            raise ValueError(f"{file} is packed already; see boildown inspect and boildown unpack")
        if head.startswith(b"version https://git-lfs"):
            raise ValueError(f"{file} is a Git LFS pointer, not the file itself; run git lfs pull")
        if not head:
            raise ValueError(f"{file} is empty: nothing was saved, or the disk was full")
        try:
            if file.suffix == ".safetensors" or head[8:10] == b'{"':
                with safe_open(file, "pt") as tensors:
                    held = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
                    return _Content(held, size, [], dict(tensors.metadata() or {}), [file])
            found = unpickle(opened)
            return _Content(found.held, size, found.left)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # a damaged file can raise any type
            raise ValueError(f"{file} {_what_is_wrong(error, head, file.suffix)}") from None


def _what_is_wrong(error: Exception, head: bytes, ending: str) -> str:
    """Why a file cannot be read."""
    if ending.lower() == ".onnx":
        return "is a file of ONNX: give the PyTorch weights that it was exported from"
    text = str(error)
    if isinstance(error, CodecError):
        return text
    if "TorchScript" in text:
        return f"is a TorchScript archive, which holds code; {_REMEDY}"
    if head.isascii() and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        return f"is a text, which begins {head.decode()!r}: give the file of the weights itself"
    reason = text.split("\n")[0]
    if head[:1] == b"\x80" and "magic number" in text:
        reason = "it is a pickle of something else"
    if not reason or isinstance(error, KeyError | EOFError | RecursionError):
        reason = _REASONS.get(type(error), "it ends too early or was overwritten in the middle")
    kinds = "is no intact checkpoint of torch.save or safetensors"
    return f"{kinds}: {shown(reason, 200)}; copy or save it again"


_REASONS: dict[type[Exception], str] = {RecursionError: "it is nested too deeply"}


def _check_views(state: Mapping[str, Tensor], size: int, file: Path) -> None:
    """Refuse tensors that show the bytes of a file many times, and those that hold none.

    Raises:
        ValueError: naming the first and the remedy.
    """
    total = 0
    for name, tensor in {
        (t.data_ptr(), t.shape, t.stride()): (n, t) for n, t in _dense(state)
    }.values():
        total += tensor.numel() * tensor.itemsize
        if total > _VIEWED_MOST * size + _VIEWED_ANYWAY:
            raise ValueError(
                f"{file} has {size:,} bytes, and its tensors, to {shown(name)} with the shape "
                f"{tuple(tensor.shape)}, would take {total:,}: they show the same values again "
                "and again; save what tensor.expand or as_strided was called on"
            )


def _dense(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    return ((n, t) for n, t in state.items() if t.layout is torch.strided and not t.is_meta)


_VIEWED_MOST, _VIEWED_ANYWAY = 16, 1 << 26  # times the bytes of a file, and bytes besides


def _join(index: Path) -> _Content:
    """The tensors of the files that an index names."""
    files = index_of(index)
    names = list(dict.fromkeys(files.values()))
    state: dict[str, Tensor] = {}
    size, not_loaded = 0, dict[str, None]()
    metadata: dict[str, str] = {}
    parts: list[_Content] = []
    for name in names:
        part = _read(index.with_name(name))
        parts.append(part)
        shard = part.held
        size, metadata = size + part.size, metadata | part.metadata
        not_loaded |= dict.fromkeys(part.not_loaded)
        if not isinstance(shard, Mapping) or shard.keys() & state.keys():
            raise ValueError(f"{index}: {name} is not a part of the checkpoint, or is there twice")
        state |= shard
    missing = [name for name in files if name not in state]
    if missing:
        raise ValueError(f"{index}: {some(missing)} is in none of the files {some(names)}")
    late = [file for part in parts for file in part.files]
    return _Content(
        state, size, list(not_loaded), metadata, late if len(late) == len(parts) else []
    )


def index_of(index: Path) -> dict[str, str]:
    """Name of a tensor -> that of the file it is in, which lies beside the index.

    Raises:
        ValueError: if the file is no index.
        OSError: if it cannot be read.
    """
    try:
        with open_regular(index) as opened:
            files: dict[str, str] = json.load(opened)["weight_map"]
        names = dict.fromkeys(files.values())
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise ValueError(
            f"{index} is no index of a checkpoint's files: it has no weight_map; "
            f"give a file that ends in {', '.join(ENDINGS)}"
        ) from None
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[^/\\:\0]*[^/\\:\0.]", name):
            raise ValueError(f"{index} names {name!r}, which is no file beside it")
    return files


def files_of(file: Path) -> list[Path]:
    """The files of a checkpoint: itself and, of an index, those that it names."""
    named = index_of(file).values() if file.suffix == ".json" else ()
    return [file, *map(file.with_name, dict.fromkeys(named))]


def _choose(held: Mapping[Any, Any], file: Path) -> str | None:
    """The key under which the state dict lies, None if it is `held` itself."""
    keys: list[str] = [
        name
        for name, value in held.items()
        if isinstance(name, str)
        and isinstance(value, Mapping)
        and not _is_extra(name)
        and _has_tensors(value)
    ]
    known = [key for key in _KEYS if key in keys]
    beside = any(isinstance(value, Tensor) for value in held.values())
    if known or not keys:
        return known[0] if known else None
    lost = [what for name, what in held.items() if name in _KEYS and isinstance(what, StandIn)]
    if lost:  # a whole model, beside an optimizer's tensors
        raise ValueError(_needs_code(file, [what.path for what in lost]))
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


def _has_tensors(held: Mapping[Any, Any]) -> bool:
    """Whether a tensor with a name lies in a mapping, or in those inside it; each is met once."""
    seen, waiting = {id(held)}, [held]
    while waiting:
        for name, value in waiting.pop().items():
            if isinstance(name, str) and isinstance(value, Tensor):
                return True
            inner = isinstance(name, str) and isinstance(value, Mapping) and not _is_extra(name)
            if inner and id(value) not in seen:
                seen.add(id(value))
                waiting.append(value)
    return False


def _is_extra(name: str) -> bool:
    """Whether a name is that of what a module's get_extra_state gave, which is not looked into."""
    return name.rpartition(".")[2] == "_extra_state"


def _entries(held: Mapping[Any, Any], file: Path) -> Iterator[tuple[str, Tensor | str]]:
    """Each name, joined by dots where dicts lie in dicts, with its tensor, or with a type's name.

    Raises:
        ValueError: for dicts nested beyond reason, or in each other so that names multiply, and
            for a tensor that is not dense.
    """
    above = [id(held)]  # for dicts that contain themselves, which a pickle can hold
    levels, names, count = [iter(held.items())], [""], 0
    while levels:
        name, value = next(levels[-1], (_END, None))
        if name is _END:
            levels.pop(), names.pop(), above.pop()
            continue
        count += 1
        if count > _NAMES_MOST:
            raise ValueError(f"{file} holds more than {_NAMES_MOST:,} names; {_REMEDY}")
        whole = f"{names[-1]}{name}"
        if not isinstance(name, str):
            yield _told(name), f"{_kind(value)}, its name is no string"
        elif isinstance(value, StandIn) and value.why is not None:
            raise ValueError(f"{file}: {shown(whole)} is {value.why}")
        elif isinstance(value, Tensor):
            yield whole, value
        elif (
            isinstance(value, Mapping)
            and not (isinstance(value, StandIn) and not value)
            and not _is_extra(name)
            and id(value) not in above
        ):
            if len(levels) > _DEPTH_MOST:
                raise ValueError(
                    f"{file} holds dicts nested deeper than {_DEPTH_MOST} levels; {_REMEDY}"
                )
            levels.append(iter(value.items()))
            names.append(f"{whole}.")
            above.append(id(value))
        else:
            yield whole, _kind(value)


_NAMES_MOST, _DEPTH_MOST = 1 << 20, 64
_END = object()


def _kind(value: Any) -> str:
    """The name of a value's type."""
    return value.path if isinstance(value, StandIn) else type(value).__name__


def _told(name: Any) -> str:
    """A name that is no string."""
    short = isinstance(name, float) or (isinstance(name, int) and abs(name) < 1 << 64)
    return repr(name) if short else _kind(name)


def shown(text: str, most: int = 100) -> str:
    """A text cut to what a message may quote."""
    return text if len(text) <= most else f"{text[:most]}..."


def some(names: Collection[Any]) -> str:
    """The first six names and how many more there are, for a message."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    first = itertools.islice(names, _SHOWN)
    return ", ".join(shown(n if isinstance(n, str) else _told(n)) for n in first) + more


_SHOWN = 6
