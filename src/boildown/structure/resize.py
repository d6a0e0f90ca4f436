"""The same network with smaller tensors: as a function on networks, and as plain data.

Whatever its class, a module whose parameters got smaller is the module it was with other tensors,
and where it keeps lengths as numbers, with other numbers.
"""

import copy
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from boildown.structure.narrow_norms import is_narrow, narrowed
from boildown.structure.replace import note_of, noted
from boildown.structure.rules import whole_groups

SHAPES, NUMBERS = "shapes", "numbers"  # of a module, in a structure


def tensors_in(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers, tied ones under each of their names."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return parameters | dict(model.named_buffers(remove_duplicate=False))


def resized(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    numbers: Mapping[tuple[str, str], int],
    *,
    share: bool = False,
) -> nn.Module:
    """A copy of the network with other tensors in place of some, and the numbers that follow.

    Args:
        model: is not touched.
        tensors: parameter or buffer -> what takes its place, of the same dtype and number of axes;
            under each of its names if it is tied.
        numbers: (module, attribute) -> what it is to be, beside those of PyTorch's layers.
        share: whether the other tensors are the model's own, for a copy that is soon dropped.

    Raises:
        ValueError: if the network cannot be copied.
    """
    there = tensors_in(model)
    memo: dict[int, Any] = {id(t): t for t in there.values()} if share else {}
    for name, tensor in tensors.items():
        own = there[name]
        new = tensor.detach()
        if isinstance(own, nn.Parameter):
            new = nn.Parameter(new, requires_grad=own.requires_grad)
        memo[id(own)] = memo[id(own)] if _placed(memo, own) else new
    try:
        made = copy.deepcopy(model, memo)
    except RuntimeError as error:  # torch copies no tensor that was computed from others
        raise ValueError(
            f"the {type(model).__name__} cannot be copied: {error}; undo weight_norm and the like "
            "first, with torch.nn.utils.remove_weight_norm"
        ) from error
    old = dict(model.named_modules())
    for path in dict.fromkeys(name.rpartition(".")[0] for name in tensors):
        _follow(old[path] if path in old else model.get_submodule(path), made.get_submodule(path))
    for (path, attribute), value in numbers.items():
        setattr(made.get_submodule(path), attribute, value)
    for module in made.modules():
        if isinstance(module, nn.TransformerEncoderLayer) and any(
            map(is_narrow, module.children())
        ):
            module.activation_relu_or_gelu = 0  # else its fast path computes the norms by itself
    return made


def _placed(memo: Mapping[int, Any], own: Tensor) -> bool:
    """Whether something else already takes a tensor's place, under another of its names."""
    return memo.get(id(own), own) is not own


def _follow(old: nn.Module, new: nn.Module) -> None:
    """Let the numbers of a layer of PyTorch's follow its tensors."""
    module = cast("Any", new)
    if isinstance(old, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(old, _ConvTransposeNd):
        module.groups = module.weight.shape[0] if old.groups > 1 else 1
        module.in_channels = module.weight.shape[0]
        module.out_channels = module.weight.shape[1] * module.groups
    elif isinstance(old, _ConvNd):
        outputs, inputs = module.weight.shape[:2]
        if old.groups > 1 and whole_groups(old.weight, old.groups):
            module.groups = outputs // (old.out_channels // old.groups)
        module.out_channels, module.in_channels = outputs, inputs * module.groups
    elif isinstance(old, _NormBase):
        vector = next(t for t in (module.weight, module.running_mean) if t is not None)
        module.num_features = len(vector)
    elif isinstance(old, nn.GroupNorm):
        module.num_groups = len(module.weight) // (old.num_channels // old.num_groups)
        module.num_channels = len(module.weight)
    elif isinstance(old, nn.Embedding):
        module.embedding_dim = module.weight.shape[1]
    elif isinstance(old, nn.MultiheadAttention):
        module.embed_dim = module.kdim = module.vdim = module.in_proj_weight.shape[1]
        module.num_heads = module.embed_dim // old.head_dim
    elif isinstance(old, nn.LayerNorm | nn.RMSNorm):
        narrowed(module, old.normalized_shape[0])


def structure(before: nn.Module, after: nn.Module) -> dict[str, dict[str, Any]]:
    """What makes `after` of `before`, as plain data.

    Args:
        before: the network.
        after: what `resized` made of it.

    Returns:
        module -> `{"shapes": {"weight": [12, 3, 3, 3]}}` for the tensors that have other shapes,
        with `"numbers": {"heads": 2}` for numbers that have changed and do not follow from these.
    """
    found: dict[str, dict[str, Any]] = {}
    modules = dict(after.named_modules(remove_duplicate=False))
    for path, old in before.named_modules(remove_duplicate=False):
        new = modules[path]
        shapes = {
            name: list(tensor.shape)
            for name, tensor in _own(new).items()
            if tensor.shape != _own(old)[name].shape
        }
        entry: dict[str, Any] = {SHAPES: shapes} if shapes else {}
        numbers = {
            name: value
            for name, value in vars(new).items()
            if _is_count(value) and vars(old).get(name) not in (None, value)
        }
        if numbers and not (shapes and type(old).__module__.startswith("torch.nn.modules.")):
            entry[NUMBERS] = numbers
        if entry:
            found[path] = entry
    return found


def note_sizes(before: nn.Module, after: nn.Module) -> None:
    """Keep note, on the modules that got smaller, of the sizes that they have now.

    Args:
        before: the network, which may have notes.
        after: what `resized` made of it; a copy, so with the same notes.
    """
    for path, entry in structure(before, after).items():
        old = before.get_submodule(path)
        known = note_of(old)
        merged = {key: {**known.get(key, {}), **sizes} for key, sizes in entry.items()}
        noted(after.get_submodule(path), old, **merged)


def restructured(model: nn.Module, structure: Mapping[str, Any]) -> nn.Module:
    """A copy of the network with tensors of other shapes, whose values do not matter.

    Args:
        model: is not touched; on the meta device nothing takes memory.
        structure: as the function `structure` returns it; may come from an untrusted file.

    Raises:
        ValueError: naming the module, if there is none of that name or it cannot be so.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    tensors: dict[str, Tensor] = {}
    made: dict[int, Tensor] = {}
    numbers: dict[tuple[str, str], int] = {}
    for path, entry in structure.items():
        if path not in modules:
            raise ValueError(f"structure: there is no layer {path!r}")
        _check_entry(path, modules[path], entry)
        for name, shape in entry.get(SHAPES, {}).items():
            own = _own(modules[path])[name]
            if id(own) not in made or list(made[id(own)].shape) != shape:
                made[id(own)] = torch.zeros(shape, dtype=own.dtype, device=own.device)
            tensors[f"{path}.{name}" if path else name] = made[id(own)]
        numbers |= {(path, name): value for name, value in entry.get(NUMBERS, {}).items()}
    try:
        return resized(model, tensors, numbers)
    except (ZeroDivisionError, AttributeError, StopIteration, TypeError) as error:
        raise ValueError(f"structure: the network cannot be so: {error}") from error


def has_sizes(module: nn.Module, entry: Mapping[str, Any]) -> bool:
    """Whether a module already has the sizes of an entry, which may be anything."""
    shapes, numbers = entry.get(SHAPES, {}), entry.get(NUMBERS, {})
    if not isinstance(shapes, Mapping) or not isinstance(numbers, Mapping):
        return False
    now = {name: list(tensor.shape) for name, tensor in _own(module).items()}
    return all(now.get(name) == shape for name, shape in shapes.items()) and all(
        vars(module).get(name) == value for name, value in numbers.items()
    )


def _check_entry(path: str, module: nn.Module, entry: Any) -> None:
    """Refuse what makes no smaller module of this one.

    Raises:
        ValueError: naming the module and what is wrong.
    """
    where = path or "the network"
    if not isinstance(entry, Mapping) or not entry.keys() <= {SHAPES, NUMBERS}:
        raise ValueError(f"{where}: structure: expected shapes and numbers, got {entry!r}")
    shapes, numbers = entry.get(SHAPES, {}), entry.get(NUMBERS, {})
    own = _own(module)
    for name, shape in shapes.items() if isinstance(shapes, Mapping) else [("", shapes)]:
        if name not in own or not isinstance(shape, list) or len(shape) != own[name].ndim:
            raise ValueError(f"{where}: structure: it has no tensor {name!r} of {shape!r}")
        most = own[name].shape
        if not all(_is_count(n) and 1 <= n <= m for n, m in zip(shape, most, strict=True)):
            raise ValueError(
                f"{where}: structure: {name} must be of at most {list(most)}, got {shape!r}"
            )
    for name, value in numbers.items() if isinstance(numbers, Mapping) else [("", numbers)]:
        most_of = vars(module).get(name) if isinstance(name, str) else None
        if not _is_count(most_of) or not _is_count(value) or not 0 <= value <= most_of:
            raise ValueError(f"{where}: structure: {name!r} cannot be {value!r}")


def _own(module: nn.Module) -> dict[str, Tensor]:
    """A module's own parameters and buffers."""
    found = {**module._parameters, **module._buffers}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
