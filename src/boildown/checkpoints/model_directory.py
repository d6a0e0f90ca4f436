"""Directories as Hugging Face's tools write them, in which the weights are one .boil file.

What lies beside the weights (config, tokenizer, texts) is copied as it is, and never run.
"""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from boildown.files.atomic import new_directory
from boildown.files.regular import check_regular

WEIGHTS = "model.boil"  # in a directory
_NOT_COPIED = frozenset((".git", ".cache"))  # what git and huggingface_hub keep for themselves


def packed_file(path: str | os.PathLike[str]) -> Path:
    """The .boil file that a path means.

    Args:
        path: of a file, which is given back, or of a directory.

    Raises:
        ValueError: if the directory holds none.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    if not (path / WEIGHTS).exists():
        raise ValueError(
            f"{path} holds no {WEIGHTS}: boildown pack makes a directory with one of a checkpoint's"
        )
    return path / WEIGHTS


@contextmanager
def copied_around(source: Path, out: Path) -> Iterator[tuple[Path, list[str]]]:
    """A new directory with all that lies beside the weights of another, to put weights into.

    It appears when the block ends, or not at all.

    Args:
        source: to copy from, with the directories in it. Of links, what they lead to is copied.
        out: the directory to make; may be there if it is empty.

    Yields:
        The directory under the name that it has in the meantime, and the names of the files of
        weights in `source`, which are not copied.

    Raises:
        ValueError: if `out` is taken or lies in `source`, or a link leads out of `source`.
        OSError: if a file cannot be read or written.
    """
    here, there = source.resolve(), Path(os.path.realpath(out))
    if there == here or here in there.parents:
        raise ValueError(f"{out} lies in {source}, the directory to read: name another with -o")
    weights = _weight_files(source)
    files = _files(source, {WEIGHTS, *weights})
    for name in weights:
        if os.path.lexists(source / name):
            _check_place(source / name, source)
    with new_directory(out) as made:
        for file in files:
            target = made / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, target)
        yield made, weights


def _weight_files(directory: Path) -> list[str]:
    """Names of the files in a directory that hold weights, or an index of such files.

    Raises:
        ValueError: if an index is none.
        OSError: if an index cannot be read.
    """
    from boildown.checkpoints.checkpoint import (  # a path alone needs no torch
        IN_DIRECTORY,
        index_of,
    )

    found = [name for name in IN_DIRECTORY if os.path.lexists(directory / name)]
    indices = [name for name in found if name.endswith(".json")]
    return [*found, *(name for index in indices for name in index_of(directory / index).values())]


def _files(source: Path, without: Collection[str]) -> list[Path]:
    """What is to be copied, seen from the directory.

    Raises:
        ValueError: for a link that leads out of it, or to a directory.
        OSError: for a pipe, a device or the like, and a directory that cannot be read.
    """
    found = []
    for place, directories, names in _walk(source):
        directories[:] = sorted(name for name in directories if name not in _NOT_COPIED)
        for name in directories:
            if (place / name).is_symlink():
                raise ValueError(
                    f"{place / name} is a link to a directory, which is not followed: put the "
                    "directory itself there"
                )
        for name in sorted(names):
            file = (place / name).relative_to(source)
            if str(file) not in without:
                _check_place(place / name, source)
                check_regular(place / name)
                found.append(file)
    return found


def _walk(source: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    for place, directories, names in os.walk(source, onerror=_fail):  # it passes them over
        yield Path(place), directories, names


def _fail(error: OSError) -> NoReturn:
    raise error


def _check_place(file: Path, source: Path) -> None:
    """Refuse a link that leads out of a directory.

    A directory of huggingface_hub's cache has nothing but links, to what lies beside it in `blobs`.
    """
    if not file.is_symlink():
        return
    here, there = source.resolve(), Path(os.path.realpath(file))
    roots = [here]
    if here.parent.name == "snapshots":
        roots.append(here.parent.parent / "blobs")
    if not there.exists():
        raise ValueError(f"{file} is a link to {there}, which is not there: download it again")
    if not any(root in there.parents for root in roots):
        raise ValueError(
            f"{file} is a link that leads out of {source}, to {there}: put the file itself there"
        )
