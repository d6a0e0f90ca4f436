"""The command verify: whether a file holds a checkpoint, bit by bit."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from boildown.base_state import load_base
from boildown.checkpoint import find_file, load_checkpoint, some
from boildown.codec import dtypes, zeros
from boildown.codec.container import naming, open_file
from boildown.codec.entry import Entry, Opened, State
from boildown.codec.kernels import Words
from boildown.files.regular import open_regular
from boildown.foreign_masks import fold_masks
from boildown.model_directory import packed_file
from boildown.name_matching import pairs_of
from boildown.printable import printable, say


def verify_file(
    path: Path,
    checkpoint: Path,
    key: str | None,
    fold: bool,
    drop_zero_signs: bool,
    base: Path | None = None,
) -> None:
    """Compare a file with the checkpoint it was packed from, and say that they are the same.

    One tensor of the file is decoded at a time. The names are those of the checkpoint, or match
    without prefixes and wrappers as in `boildown.load`.

    Args:
        path: the .boil file, or a directory with one.
        checkpoint: of any kind that `load_checkpoint` reads.
        key: of the state dict in it.
        fold: whether its masks are part of the weights.
        drop_zero_signs: whether -0.0 and 0.0 are the same.
        base: the checkpoint, directory or .boil file that the file was packed with, if it was.

    Raises:
        ValueError: if they differ, after the first tensors that do were printed.
        OSError: if a file cannot be read.
    """
    source, path = find_file(checkpoint), packed_file(path)
    given = load_base(base)
    with open_regular(path) as file, naming(path):
        opened = open_file(file)
        state = load_checkpoint(source, key).state
        state = fold_masks(state) if fold else state
        pairs = _pairs(opened.entries, state, source, path)
        bare = {ours for ours, _ in pairs.items()}
        differing = [f"{name}: not in {source}" for name in _names(opened.entries) - bare]
        if state.keys() & _names(opened.entries):
            differing += [f"{name}: not in {path}" for name in state.keys() - set(pairs.values())]
        elif aside := [name for name in state if name not in pairs.values()]:
            say(f"beside what is packed, {source} has {some(aside)}")
        differing.sort()
        for name, words, dtype, shape in _stored(opened, given):
            if name in pairs:
                other = state[pairs[name]]
                why = _difference(words, dtype, shape, other, signs=not drop_zero_signs)
                differing += [f"{name}: {why}"] if why else []
    count = len(_names(opened.entries))
    if not differing:
        same = f"{path}: {count} tensors, bit for bit those of {source}"
        print(printable(same))
        return
    for line in differing[:_SHOWN]:
        print(printable(line))
    if len(differing) > _SHOWN:
        print(f"and {len(differing) - _SHOWN} more")
    raise ValueError(f"{path} is not {source}: {len(differing)} of {count} tensors differ")


_SHOWN = 6


def _names(entries: Sequence[Entry]) -> set[str]:
    return {entry.name for entry in entries}


def _pairs(
    entries: Sequence[Entry], state: Mapping[str, Tensor], source: Path, path: Path
) -> dict[str, str]:
    """Name in the file -> name in the checkpoint.

    Raises:
        ValueError: if none match.
    """
    names = _names(entries)
    if names & state.keys():
        return {name: name for name in names if name in state}
    stored: dict[int, Tensor] = {}
    for place, entry in enumerate(entries):
        if entry.tied is None:
            stored[place] = torch.empty(entry.shape, device="meta")
        else:
            stored[place] = stored[entry.tied]
    wanted = {entry.name: stored[place] for place, entry in enumerate(entries)}
    found = pairs_of(state, wanted, source)
    if found is None:
        raise ValueError(
            f"{path} holds other tensors than {source}: {some(sorted(names))}, not "
            f"{some(sorted(state))}; --key chooses another state dict in a checkpoint"
        )
    return {ours: theirs for theirs, ours in found.items()}


def _stored(
    opened: Opened, base: State | None
) -> Iterator[tuple[str, Words, str, tuple[int, ...]]]:
    """Each name with its tensor, those tied to it right behind it."""
    tied: dict[int, list[str]] = {}
    for entry in opened.entries:
        if entry.tied is not None:
            tied.setdefault(entry.tied, []).append(entry.name)
    for one in opened.stored(base=base):
        entry = opened.entries[one.place]
        for name in (entry.name, *tied.get(one.place, [])):
            yield name, one.words, entry.dtype, entry.shape


def _difference(
    words: Words, dtype: str, shape: tuple[int, ...], other: Tensor, *, signs: bool
) -> str:
    """What is not the same; "" if nothing."""
    their_dtype, their_shape = dtypes.name_of(other), tuple(other.shape)
    if (dtype, shape) != (their_dtype, their_shape):
        return f"{dtype} {_by(shape)}, in the checkpoint {their_dtype} {_by(their_shape)}"
    if not other.numel():
        return ""
    theirs = dtypes.to_words(other)
    if not signs:
        words, theirs = zeros.unsigned(words, dtype), zeros.unsigned(theirs, dtype)
    unlike = (words != theirs).reshape(other.numel(), -1).any(1)
    if not unlike.any():
        return ""
    first = int(np.argmax(unlike))
    at = ", ".join(str(int(i)) for i in np.unravel_index(first, shape)) if shape else ""
    one, two = (_value(w, dtype, shape, first) for w in (words, theirs))
    return (
        f"{int(unlike.sum()):,} of {other.numel():,} entries differ, first [{at}]: "
        f"{one}, in the checkpoint {two}"
    )


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _value(words: Words, dtype: str, shape: tuple[int, ...], at: int) -> str:
    return repr(dtypes.to_tensor(words.copy(), dtype, shape).reshape(-1)[at].item())
