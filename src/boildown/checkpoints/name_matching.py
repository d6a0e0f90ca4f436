"""Which tensors of a file are which of a model, whose names may have other prefixes."""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

_WRAPPERS = frozenset(("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
"""What DataParallel, torch.compile and their kind put into names, at any depth."""
_KEPT_MOST = 0.05  # parameters of the model that the file lacks, to those that it fills


def matched(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str | Path
) -> dict[str, Tensor] | None:
    """The tensors of a file under the names of a model.

    Names match when they are the same without what wrappers put into them, and without a prefix of
    whole modules on either side. Tensors beside the prefix (a loss's own weight in a
    LightningModule) are left aside with a warning, those of the model kept as they are. Of tied
    tensors one name is enough.

    Args:
        state: of the file.
        wanted: the model's, its tied tensors being one object.
        path: of the file, for messages.

    Returns:
        For all names of the model; None if the structures differ.

    Raises:
        ValueError: if several parts of the file or of the model match, naming them.
    """
    pairs = pairs_of(state, wanted, path)
    if pairs is None:
        return None
    aside = [name for name in state if name not in pairs]
    filled = {model_name: state[name] for name, model_name in pairs.items()}
    there = {id(wanted[name]): tensor for name, tensor in filled.items()}
    kept = [name for name in wanted if name not in filled and id(wanted[name]) not in there]
    if aside or kept:
        told = [f"{', '.join(aside)} of {path} is not used"] if aside else []
        told += [f"{', '.join(kept)} of the model stays as it is"] if kept else []
        warnings.warn("; ".join(told), stacklevel=4)
    rest = {n: there.get(id(t), t) for n, t in wanted.items() if n not in filled}
    return filled | rest


def pairs_of(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str | Path
) -> dict[str, str] | None:
    """Name in a file -> name in a model, for those that match as in `matched`.

    Args:
        state: of the file.
        wanted: the model's.
        path: of the file, for messages.

    Raises:
        ValueError: if several parts match.
    """
    found = _candidates(state, wanted)
    fitting = [pairs for pairs in found if _same_shapes(pairs, state, wanted)] or found
    if len(fitting) > 1:
        first = [f"{min(pairs)} as {pairs[min(pairs)]}" for pairs in fitting]
        raise ValueError(
            f"{path} fits the model in several ways ({', '.join(first)}): pass the part of the "
            "model, or load boildown.unpack's tensors by their names"
        )
    return fitting[0] if fitting else None


def places(wanted: Iterable[str], there: Iterable[str]) -> list[dict[str, str]]:
    """Which of a model's modules a file's may be: the closest kind of matches that there is.

    Names match as in `matched`. Those within another that is wanted, which a model has only once
    that one is replaced, follow it.

    Args:
        wanted: dotted paths in the file.
        there: dotted paths of all modules of the model.

    Returns:
        Ways to match, each for all names; [] if there is none.
    """
    names = {_path(name) for name in wanted}
    own = {_path(name): name for name in there}
    outer = [n for n in names if not any(n != other and n.startswith(other) for other in names)]
    starts = _common(outer)
    for pairs in ([("", "")], [(start, "") for start in starts[1:]],
                  [("", other) for other in own if other]):  # fmt: skip
        found = []
        for start, other in pairs:
            way = {name: own.get(other + name.removeprefix(start)) for name in outer}
            if all(value is not None for value in way.values()):
                found.append({n: w for n, w in way.items() if w is not None})
        if found:
            return [_with_inner(way, wanted) for way in found]
    return []


def _with_inner(way: Mapping[str, str], wanted: Iterable[str]) -> dict[str, str]:
    """A match of the outermost modules, and what lies in them."""
    full: dict[str, str] = {}
    for name in wanted:
        outer = next(one for one in way if _path(name).startswith(one))
        rest = _path(name).removeprefix(outer).removesuffix(".")
        full[name] = ".".join(part for part in (way[outer], rest) if part)
    return full


def _path(name: str) -> str:
    """A module's path without wrappers, as the names of its tensors begin."""
    return _unwrapped(f"{name}.") if name else ""


def _candidates(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[dict[str, str]]:
    """Ways to match, name in the file -> name in the model: the closest kind that there is."""
    for plain in (False, True):
        for start in _common(state):
            for other in _common(wanted):
                ours, theirs = _under(state, start, plain), _under(wanted, other, plain)
                pairs = _match(ours, theirs, wanted)
                if pairs is not None:
                    return [pairs]
    fewest = len({id(tensor) for tensor in wanted.values()})
    starts = _prefixes(state, fewest, len(wanted))
    others = _prefixes(wanted, len(state), len(wanted))
    whole = [(start, other) for other in _common(wanted) for start in starts]
    parts = [(start, other) for start in _common(state) for other in others if start != other]
    for plain in (False, True):
        found: dict[tuple[str, ...], dict[str, str]] = {}
        for start, other in whole + parts:
            ours, theirs = _under(state, start, plain), _under(wanted, other, plain)
            pairs = _match(ours, theirs, wanted)
            if pairs is not None and _little_is_kept(pairs, wanted):
                found[*pairs, *pairs.values()] = pairs
        if found:
            return list(found.values())
    return []


def _match(
    ours: Mapping[str, str], theirs: Mapping[str, str], wanted: Mapping[str, Tensor]
) -> dict[str, str] | None:
    """Names in full of the file and of the model, from those without a prefix; None if not."""
    if not ours or not ours.keys() <= theirs.keys():
        return None
    there = {id(wanted[theirs[name]]) for name in ours}
    missing = theirs.keys() - ours.keys()
    if any(id(wanted[theirs[name]]) not in there for name in missing):
        return None
    return {ours[name]: theirs[name] for name in ours}


def _little_is_kept(pairs: Mapping[str, str], wanted: Mapping[str, Tensor]) -> bool:
    """Whether what of the model has no tensor in the file is buffers, or next to nothing."""
    filled = {id(wanted[name]): wanted[name].numel() for name in pairs.values()}
    kept = {
        id(tensor): tensor.numel()
        for tensor in wanted.values()
        if id(tensor) not in filled and isinstance(tensor, nn.Parameter)
    }
    return sum(kept.values()) <= _KEPT_MOST * sum(filled.values())


def _under(names: Iterable[str], start: str, plain: bool) -> dict[str, str]:
    """Name without a prefix, and without wrappers' if `plain`, -> name in full; {} if two are one.

    Only names with the prefix are there.
    """
    whole = [name for name in names if name.startswith(start)]
    short = [name.removeprefix(start) for name in whole]
    if plain:
        short = [_unwrapped(name) for name in short]
    under = dict(zip(short, whole, strict=True))
    return under if len(under) == len(whole) else {}


def _unwrapped(name: str) -> str:
    *modules, last = name.split(".")
    return ".".join([*(part for part in modules if part not in _WRAPPERS), last])


def _common(names: Iterable[str]) -> list[str]:
    """The prefixes, in whole modules, that all names have: the empty one first."""
    prefixes = [""]
    for parts in zip(*(name.split(".")[:-1] for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        prefixes.append(f"{prefixes[-1]}{parts[0]}.")
    return prefixes


def _prefixes(names: Iterable[str], least: int, most: int) -> list[str]:
    """The prefixes, in whole modules, that so many names have."""
    counts: Counter[str] = Counter()
    for name in names:
        at = name.find(".")
        while at >= 0:
            counts[name[: at + 1]] += 1
            at = name.find(".", at + 1)
    return [prefix for prefix, count in counts.items() if least <= count <= most]


def _same_shapes(
    pairs: Mapping[str, str], state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> bool:
    return all(state[name].shape == wanted[other].shape for name, other in pairs.items())
