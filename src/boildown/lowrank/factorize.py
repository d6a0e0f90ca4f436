"""From a network to the same network with factors in place of layers, and that as plain data.

`factorize` is a pure function; `structure` says what it did in terms that a file can hold, and
`restructure` makes an empty network of that structure, into which the tensors load.
"""

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from boildown.lowrank import factored_layer as factored
from boildown.lowrank import scheme as schemes_
from boildown.lowrank.batchnorm import nothing_of, with_bias
from boildown.lowrank.scheme import Scheme
from boildown.lowrank.svd import check_rank
from boildown.quantize import split_layer
from boildown.quantize.activations import KEY, attach_all
from boildown.structure.narrow import KINDS as NARROWABLE
from boildown.structure.narrow import resized, width
from boildown.structure.replace import replaced
from boildown.structure.resize import NUMBERS, SHAPES, restructured

_READ_WEIGHTS = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
_NONE: Mapping[str, Any] = MappingProxyType({})

RESTRUCTURED = "boildown.lowrank.factorize.restructure"  # as files have it, wherever it is


def factorize(
    model: nn.Module,
    ranks: Mapping[str, int | None] = _NONE,
    *,
    schemes: Mapping[str, Scheme] = _NONE,
    layers: Mapping[str, nn.Sequential] = _NONE,
) -> nn.Module:
    """A copy of the network with two smaller layers in place of each one named.

    A layer is left alone where its factors would have no fewer parameters. What takes its place is
    on the same device, of the same dtype, in the same mode and trained or not as it was; hooks on
    the layer are not carried over. The rest of the state dict is the same.

    Args:
        model: any network; it is not touched.
        ranks: layer -> rank; None for one that stays as it is. A layer is named by its dotted path.
        schemes: layer of `ranks` -> scheme; by default linear, embedding or channel.
        layers: layer -> what `boildown.lowrank.factored_layer.layers` made of other factors. A copy
            is put in its place whatever it costs.

    Returns:
        `fc1` becomes `fc1.v` and `fc1.u`.

    Raises:
        ValueError: naming the layer, if there is none of that name, it cannot be factorised, its
            rank is out of range or its weight is not finite; if the network cannot be copied.
    """
    _check_names([name for name, rank in ranks.items() if rank is not None] + [*layers], model)
    for name in schemes:
        if name not in ranks:
            raise ValueError(f"{name}: it has a scheme but no rank; give it one in ranks")
    for name in layers:
        if name in ranks:
            raise ValueError(f"{name}: it has both a rank and layers of its own; give one of them")
    built: dict[str, nn.Module] = {}
    for name, rank in ranks.items():
        if rank is None:
            continue
        layer = model.get_submodule(name)
        scheme = schemes.get(name) or schemes_.SCHEMES[type(layer)][0]
        with _naming(name):
            check_rank(rank, schemes_.full_rank(layer, scheme))
            if schemes_.parameters(layer, scheme, rank) < schemes_.dense_parameters(layer):
                built[name] = factored.factor(layer, scheme, rank)
    for name, replacement in layers.items():
        with _naming(name):
            factored.recognise(model.get_submodule(name), replacement)
        built[name] = copy.deepcopy(replacement)
    return replaced(model, built)


def factorisable(model: nn.Module) -> dict[str, tuple[Scheme, ...]]:
    """The layers that can be factorised, each with its schemes, the default one first."""
    reasons = _reasons(model)
    return {
        name: schemes_.schemes_for(module)
        for name, module in model.named_modules()
        if reasons.get(name, "") is None
    }


def refused(model: nn.Module) -> dict[str, str]:
    """The modules with a matrix or kernel of their own that cannot be factorised -> why."""
    modules = dict(model.named_modules(remove_duplicate=False))
    return {
        name: reason
        for name, reason in _reasons(model).items()
        if reason is not None and any(p.ndim > 1 for p in modules[name].parameters(recurse=False))
    }


def structure(before: nn.Module, after: nn.Module) -> dict[str, dict[str, Any]]:
    """What makes `after` of `before`, as plain data.

    Args:
        before: the network as its class builds it; on the meta device it costs nothing.
        after: the network after `factorize`, and before it batch-norm folding and `narrow` if any.

    Returns:
        layer -> `{"scheme": "linear", "rank": 12}`, with `"outputs": 40` and `"inputs": 20` if it
        was narrowed to that, and `"bias": True` if it gained a bias; the same without scheme and
        rank if that is all; `{"identity": True}` for a batch-norm that was folded.

    Raises:
        ValueError: naming the layer, if `after` is something else.
    """
    found: dict[str, dict[str, Any]] = {}
    now = dict(after.named_modules(remove_duplicate=False))
    for name, layer in before.named_modules(remove_duplicate=False):
        other = now.get(name)
        with _naming(name):
            if other is None:
                raise ValueError("the network after has no such layer")
            entry = _entry(layer, other)
        if entry:
            found[name] = entry
    return found


def restructure(model: nn.Module, structure: Mapping[str, Any]) -> nn.Module:
    """A copy of the network with the structure that `structure` describes, to load tensors into.

    Nothing is decomposed: the new layers have PyTorch's initial values. On the meta device it
    takes no memory.

    Args:
        model: the network as its class builds it; it is not touched.
        structure: as the function `structure` returns it, and with `"input_grid"` and `"outliers"`
            (`boildown.quantize`); may come from an untrusted file.

    Raises:
        ValueError: naming the layer, if there is none of that name or it cannot be so.
    """
    if not isinstance(model, nn.Module) or not isinstance(structure, Mapping):
        raise ValueError(
            "a factorised model needs a model and a structure, "
            f"got {type(model).__name__} and {type(structure).__name__}"
        )
    grids, rest = _taken_out(structure, KEY)
    if grids:  # on the layers that are there in the end
        made = restructure(model, rest)
        attach_all(made, grids)
        return made
    columns, rest = _taken_out(structure, split_layer.KEY)
    if columns:  # of the layers as they are otherwise
        return split_layer.split_again(restructure(model, rest), columns)
    smaller = _sizes(structure)
    if smaller:  # what was removed before anything was factorised
        model = restructured(model, smaller)
        structure = {
            name: {k: v for k, v in entry.items() if k not in (SHAPES, NUMBERS)}
            if name in smaller
            else entry
            for name, entry in structure.items()
            if name not in smaller or entry.keys() - {SHAPES, NUMBERS}
        }
    built: dict[str, nn.Module] = {}
    later = {n: e for n, e in structure.items() if any(p in structure for p in _parents(str(n)))}
    structure = {name: entry for name, entry in structure.items() if name not in later}
    factors = [n for n, e in structure.items() if isinstance(e, Mapping) and "scheme" in e]
    _check_names(factors, model)
    modules, shared = dict(model.named_modules()), tied(model)
    for name, entry in structure.items():
        if name not in modules:
            raise ValueError(f"structure: there is no layer {name!r}")
        with _naming(name):
            if name in shared:
                raise ValueError(f"structure: {shared[name]} are one tensor")
            built[name] = _from_entry(modules[name], entry)
    new = replaced(model, built)
    if not later:
        return new
    if any(name.count(".") > _DEPTH_MOST for name in later):
        raise ValueError(f"structure: factors of factors, beyond {_DEPTH_MOST} levels of modules")
    return restructure(new, later)


def _taken_out(structure: Mapping[str, Any], key: str) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """What entries of a structure have under a key, and the structure without."""
    found = {n: e[key] for n, e in structure.items() if isinstance(e, Mapping) and key in e}
    if not found:
        return {}, structure
    rest = {n: {k: v for k, v in e.items() if k != key} if n in found else e
            for n, e in structure.items()}  # fmt: skip
    return found, {n: e for n, e in rest.items() if e or n not in found}


_DEPTH_MOST = 64


def describe(
    config: Mapping[str, Any], structure: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The config of a factorised model, for `boildown.pack` and `boildown.models.build`.

    Args:
        config: of the model as its class builds it, with `_target_`. Without one, as {}, the result
            tells the structure alone, for a model that is given.
        structure: as `structure` returns it; if it is empty, the config is `config`.
    """
    if not structure:
        return dict(config)
    held = {name: dict(entry) for name, entry in structure.items()}
    if "_target_" not in config:
        return {**config, "structure": held}
    before = structure_in(config)
    if before:
        both = {name: {**before.get(name, {}), **held.get(name, {})} for name in {**before, **held}}
        return describe(config["model"], both)
    return {"_target_": RESTRUCTURED, "model": dict(config), "structure": held}


def structure_in(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The structure in a config that `describe` made; {} in any other."""
    if config is None or config.get("_target_", RESTRUCTURED) != RESTRUCTURED:
        return {}
    found = config.get("structure")
    return dict(found) if isinstance(found, Mapping) else {}


def tied(model: nn.Module) -> dict[str, str]:
    """Each layer that shares a parameter with others -> the names of that parameter."""
    names: dict[int, list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    return {
        name.rpartition(".")[0]: " and ".join(shared)
        for shared in names.values()
        if len(shared) > 1
        for name in shared
    }


def _check_names(names: Sequence[str], model: nn.Module) -> None:
    """Refuse layers that are not there or cannot be factorised by any scheme.

    Raises:
        ValueError: naming the layer, with the layers there are or the reason.
    """
    if not names:
        return
    reasons = _reasons(model)
    for name in names:
        if name not in reasons:
            there = ", ".join(factorisable(model)) or "none"
            raise ValueError(f"there is no layer {name!r}; those that can be factorised: {there}")
        if reasons[name] is not None:
            raise ValueError(f"{name}: cannot be factorised: {reasons[name]}")


def _reasons(model: nn.Module) -> dict[str, str | None]:
    """Each module -> why it cannot be factorised, None if it can."""
    shared = tied(model)
    found: dict[str, str | None] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        reason = schemes_.why_not(module)
        if reason is None and name in shared:
            reason = f"{shared[name]} are one tensor; untie them, or leave it out of the layers"
        for parent in _parents(name) if reason is None else ():
            above = type(model.get_submodule(parent))
            if issubclass(above, _READ_WEIGHTS):
                reason = (
                    f"{above.__name__} reads its weight directly; "
                    "leave it out of the layers or write that block with plain layers"
                )
        found[name] = reason
    return found


def _sizes(structure: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What got smaller before anything was factorised; not what factors were narrowed to since."""
    factored = {n for n, e in structure.items() if isinstance(e, Mapping) and "scheme" in e}
    return {
        name: {key: entry[key] for key in (SHAPES, NUMBERS) if key in entry}
        for name, entry in structure.items()
        if isinstance(entry, Mapping) and entry.keys() & {SHAPES, NUMBERS}
        if factored.isdisjoint(_parents(str(name)))
    }


def _parents(name: str) -> list[str]:
    """The modules that hold a module, the outermost first."""
    parts = name.split(".") if name else []
    return [".".join(parts[:end]) for end in range(len(parts))]


def _entry(layer: nn.Module, now: nn.Module) -> dict[str, Any]:
    """What became of a layer; {} if nothing did."""
    gained = getattr(layer, "bias", None) is None
    if type(now) is nn.Sequential and type(layer) in schemes_.SCHEMES:
        ends = [getattr(now, "u", None), getattr(now, "v", None)]
        entry: dict[str, Any] = _narrowed(layer, [getattr(end, "weight", None) for end in ends])
        entry["scheme"], entry["rank"] = factored.recognise(_as_wide(layer, entry, "meta"), now)
        if gained and now.get_submodule("u").bias is not None:
            entry["bias"] = True
        return entry
    if type(now) is nn.Identity and isinstance(layer, _BatchNorm):
        return {"identity": True}
    if type(now) is not type(layer):
        raise ValueError(
            f"a {type(layer).__name__} became a {type(now).__name__}, which is no factorisation"
        )
    entry = _narrowed(layer, [getattr(now, "weight", None)] * 2)
    _as_wide(layer, entry, "meta")
    if gained and getattr(now, "bias", None) is not None:
        entry["bias"] = True
    return entry


def _narrowed(layer: nn.Module, ends: Sequence[Any]) -> dict[str, Any]:
    """The widths of a layer that have changed, by the weights at its output and its input."""
    if type(layer) not in NARROWABLE or not all(isinstance(end, Tensor) for end in ends):
        return {}
    widths = {"outputs": ends[0].shape[0], "inputs": ends[1].shape[1]}
    own = layer.get_parameter("weight").shape
    return {
        key: int(now) for (key, now), was in zip(widths.items(), own, strict=False) if now != was
    }


def _as_wide(layer: nn.Module, entry: Mapping[str, Any], device: str | None = None) -> nn.Module:
    """The layer with the widths of an entry, if it has any, there or where it was.

    Raises:
        ValueError: if it cannot have them.
    """
    if not {"outputs", "inputs"} & set(entry):
        return layer
    outputs, inputs = width(layer)
    for key, most in (("outputs", outputs), ("inputs", inputs)):
        now = entry.get(key, most)
        if not isinstance(now, int) or isinstance(now, bool) or not 1 <= now <= most:
            raise ValueError(f"structure: {key} must be in [1, {most}], got {now!r}")
    return resized(layer, entry.get("outputs", outputs), entry.get("inputs", inputs), device)


def _from_entry(layer: nn.Module, entry: Any) -> nn.Module:
    """What an entry of a structure makes of a layer. The entry may be anything."""
    expected = "structure: expected a scheme and a rank, or outputs and inputs"
    if not isinstance(entry, Mapping):
        raise ValueError(f"{expected}, got {entry!r}")
    keys = set(entry)
    if any(entry[key] is not True for key in keys & {"bias", "identity"}):
        raise ValueError(f"structure: bias and identity can only be true, got {dict(entry)!r}")
    if keys == {"identity"}:
        if not isinstance(layer, _BatchNorm):
            raise ValueError(f"structure: a {type(layer).__name__} is no batch-norm to be folded")
        return nothing_of(layer)
    own, kind = keys - {"outputs", "inputs", "bias"}, {"scheme", "rank"}
    if not keys or own not in (set(), kind):
        raise ValueError(f"{expected}, got {dict(entry)!r}")
    layer = _as_wide(layer, entry)
    if not own:
        return with_bias(layer) if "bias" in keys else layer
    scheme, rank = entry["scheme"], entry["rank"]
    if not isinstance(scheme, str):
        raise ValueError(f"structure: expected the name of a scheme, got {scheme!r}")
    bias = True if "bias" in entry else None
    return factored.blank(layer, cast("Scheme", scheme), rank, bias=bias)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put the layer's name before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name or 'the network'}: {error}") from None
