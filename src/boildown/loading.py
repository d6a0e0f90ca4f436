"""From a file to a model that runs."""

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from boildown.checkpoints.base_state import load_base
from boildown.checkpoints.foreign_masks import find_masked
from boildown.checkpoints.model_directory import packed_file
from boildown.checkpoints.name_matching import matched, places
from boildown.codec import CodecError, read_config, unpack
from boildown.codec.entry import State
from boildown.lowrank.factorize import restructure, structure_in
from boildown.models import build, trusts
from boildown.quantize import split_layer
from boildown.quantize.activations import KEY, grid_on
from boildown.structure.resize import NUMBERS, SHAPES, has_sizes

# A description may ask for _MORE times the file's tensors, and _FEW besides: a factorised model is
# first built with its dense layers, and with batch-norms that are folded now.
_MORE, _FEW = 4, 100


def load(
    path: str | Path,
    model: nn.Module | None = None,
    *,
    trust_config: bool | Sequence[str] = False,
    base: State | str | os.PathLike[str] | None = None,
) -> nn.Module:
    """Rebuild the model of a `.boil` file, in evaluation mode, on the CPU.

    Args:
        path: of the file, or of a directory that holds it as model.boil.
        model: a network to put the tensors into, as its class builds it or already of the structure
            that the file has; by default the one that the file describes, if it is one of
            boildown's own.
        trust_config: modules of your own that the file may name a class or function of, such as
            ["my_package"], to be built with the arguments in the file. True: build whatever it
            names. That runs code the file chooses: never for a file of unknown origin.
        base: what the file holds the differences to, if it does: as for `boildown.pack`.

    Returns:
        The model: `model` itself if given, or a copy of it with the smaller layers that the file
        has in place of its own.

    Raises:
        CodecError: if the file is damaged, describes another structure than its tensors have, or
            needs another base.
        ValueError: if it describes no model, or one that needs `trust_config`, or `model` has
            another structure.
        ImportError: if a model that is trusted does not exist.
    """
    path = packed_file(path)
    config = read_config(path)
    if isinstance(model, type):
        raise ValueError(f"load: give a network, {model.__name__}(), and not its class")
    if model is not None:
        state = unpack(path, base=load_base(base))
        return filled(as_packed(model, structure_in(config), path), state, path)
    if config is None or config.keys() <= {"__metadata__", "structure"}:
        raise ValueError(f"{path} holds no model's description: pass the model to load it into")
    trusted = trusts(trust_config, config)
    if not trusted:
        _check_length(config, path)
    state = unpack(path, base=load_base(base))
    if not trusted:
        _check_sizes(config, sum(tensor.numel() for tensor in state.values()), path)
        try:
            # on the meta device a model takes no memory, whatever sizes the file asks for
            with torch.device("meta"), _parameters_at_most(_MORE * len(state) + _FEW, path):
                model = build(config)
        except (RuntimeError, OverflowError) as error:
            raise CodecError(
                f"{path}: cannot build the model the file describes: {error}"
            ) from error
        _compare(model.state_dict(), state, path)
        model = _with_memory(model)
    else:
        model = build(config, trust=trust_config)
        _compare(model.state_dict(), state, path)
    model.load_state_dict(state)
    return model.eval()


def filled(model: nn.Module, state: dict[str, Tensor], path: str | Path) -> nn.Module:
    """A given model with the tensors of a file, in evaluation mode.

    What wrappers put into names, and prefixes, may differ: see
    `boildown.checkpoints.name_matching.matched`.

    Args:
        model: of the structure of the file.
        state: of the file.
        path: of the file, for messages.

    Raises:
        ValueError: if its structure is another, or it is on the meta device.
    """
    wanted = model.state_dict(keep_vars=True)
    meta = [name for name, tensor in wanted.items() if tensor.is_meta]
    if meta:
        raise ValueError(
            f"the model's {meta[0]} is on the meta device, without memory to load {path} into: "
            'call model.to_empty(device="cpu") first'
        )
    filled = matched(state, wanted, path)
    try:
        model.load_state_dict(state if filled is None else filled)
    except RuntimeError as error:
        masked = find_masked(state)
        why = ", and masks beside originals, which pack --fold-masks folds" if masked else ""
        raise ValueError(f"{path} holds another structure than the model{why}: {error}") from error
    return model.eval()


def as_packed(model: nn.Module, structure: Mapping[str, Any], path: str | Path) -> nn.Module:
    """A given model with the structure of a file: itself if it is so, else a copy.

    Args:
        model: as its class builds it, or of that structure.
        structure: of the file, which may be anything.
        path: of the file, for messages.

    Raises:
        ValueError: if it has no such layers, or they cannot be so.
    """
    if not structure:
        return model
    modules = dict(model.named_modules(remove_duplicate=False))
    ways = [
        {ours: structure[name] for name, ours in way.items()} for way in places(structure, modules)
    ]
    as_they_are = [way for way in ways if all(_is_so(modules.get(n), way[n]) for n in way)]
    if as_they_are:
        return model
    made: dict[int, nn.Module] = {}
    problem = f"the {type(model).__name__} has no {min(structure, key=len)}"
    for place, way in enumerate(ways):
        left = {n: entry for n, entry in way.items() if not _is_so(modules.get(n), entry)}
        try:
            made[place] = restructure(model, left)
        except ValueError as error:
            problem = str(error)
    if not made:
        raise ValueError(
            f"{path} holds smaller layers than the model can have: {problem}; pass a network as "
            "its class builds it"
        )
    if len(made) > 1:
        raise ValueError(
            f"{path} fits the model in several ways ({', '.join(min(ways[i]) for i in made)}): "
            "pass the part of the model"
        )
    return next(iter(made.values()))


def _is_so(module: nn.Module | None, entry: Any) -> bool:
    """Whether a module is already what an entry of a structure, which may be anything, makes it."""
    if module is None or not isinstance(entry, Mapping):
        return False
    if KEY in entry:
        grid = grid_on(module)
        rest = {key: value for key, value in entry.items() if key != KEY}
        so = grid is not None and grid.entry == entry[KEY]
        return so and (not rest or _is_so(module, rest))
    if split_layer.KEY in entry:
        now = module.columns if isinstance(module, split_layer.SplitLinear) else ()
        return bool(list(now) == entry[split_layer.KEY])
    if "scheme" in entry:
        return [name for name, _ in module.named_children()] == ["v", "u"]
    if "identity" in entry:
        return type(module) is nn.Identity
    if sizes := {key: entry[key] for key in (SHAPES, NUMBERS) if key in entry}:
        rest = {key: value for key, value in entry.items() if key not in sizes}
        return has_sizes(module, sizes) and (not rest or _is_so(module, rest))
    weight = getattr(module, "weight", None)
    widths = [(entry[key], axis) for axis, key in enumerate(("outputs", "inputs")) if key in entry]
    return (
        isinstance(weight, Tensor)
        and weight.ndim > 1
        and all(weight.shape[axis] == wide for wide, axis in widths)
        and ("bias" not in entry or getattr(module, "bias", None) is not None)
    )


@contextmanager
def _parameters_at_most(most: int, path: str | Path) -> Iterator[None]:
    """Refuse, inside the block, to build a model of more than `most` parameters."""
    left = most

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal left
        left -= parameter is not None
        if left < 0:
            raise CodecError(
                f"{path}: the model's description asks for more than {most} tensors, many more "
                "than the file holds"
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _check_length(config: Any, path: str | Path) -> None:
    """Refuse what is longer than any model needs, before it is looked at more closely."""
    waiting, count = [config], 0
    while waiting:
        value = waiting.pop()
        longest = _SIDE_MOST
        if isinstance(value, Mapping):
            value, longest = [*value, *value.values()], _VALUES_MOST
        several = isinstance(value, list | tuple)
        if several or isinstance(value, str | bytes):
            count += len(value) if several else 0
            if len(value) > longest or count > _VALUES_MOST:
                raise CodecError(
                    f"{path}: the model's description has a part of {len(value):,} values or "
                    "letters, more than any model of boildown's needs: pass the model yourself"
                )
        if several:
            waiting.extend(value)


_SIDE_MOST, _VALUES_MOST = 1000, 20_000  # values in a list, or letters; values in all


def _check_sizes(value: Any, most: int, path: str | Path) -> None:
    """Refuse a number, such as a width, above the number of entries of all tensors in the file."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            _check_sizes(item, most, path)
    elif isinstance(value, int) and abs(value) > most:
        raise CodecError(
            f"{path}: the model's description asks for {value}; its tensors have {most} entries"
        )


def _compare(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], path: str | Path) -> None:
    for name in wanted.keys() | state.keys():
        one, other = wanted.get(name), state.get(name)
        if one is None or other is None or one.shape != other.shape:
            raise CodecError(
                f"{path}: the tensor {name} does not fit the model the file describes: the file is "
                "not boildown's, or the model's class has changed; pass the model yourself"
            )


def _with_memory(model: nn.Module) -> nn.Module:
    """A copy on the CPU of a model on the meta device, tied tensors still tied.

    The layers that a factorised model no longer has are never made: they may be of any size.
    """
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        room = torch.empty_like(parameter, device="cpu")
        memo[id(parameter)] = nn.Parameter(room, parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="cpu")
    return copy.deepcopy(model, memo)
