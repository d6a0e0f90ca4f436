"""The state dict that others are told by their differences to, from whatever file holds it."""

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from boildown.checkpoints.checkpoint import files_of, find_file, load_checkpoint
from boildown.checkpoints.model_directory import WEIGHTS, packed_file
from boildown.checkpoints.tensor_file import late
from boildown.codec import unpack
from boildown.codec.base import base_tensor
from boildown.codec.container import MAGIC, naming, open_file
from boildown.codec.entry import State, check_item
from boildown.files.regular import open_regular


def load_base(
    base: State | str | os.PathLike[str] | None, out: str | os.PathLike[str] | None = None
) -> State | None:
    """The state dict of a base.

    Args:
        base: name -> tensor, which is given back; or the path of a checkpoint of any kind that
            `load_checkpoint` reads, of a .boil file, or of a directory that holds one of these.
            None for no base.
        out: a file to be written.

    Raises:
        ValueError: if the file holds no state dict, is damaged or would be replaced, with the
            remedy.
        OSError: if it cannot be read.
    """
    if base is None or isinstance(base, Mapping):
        return base
    if not isinstance(base, str | os.PathLike):
        raise ValueError(
            f"the base is a {type(base).__name__}, no state dict: give base.state_dict(), or the "
            "path of a file that holds one"
        )
    path = Path(base)
    if path.is_dir() and (path / WEIGHTS).exists():
        path = packed_file(path)
    file = find_file(path)
    if out is not None and os.path.realpath(out) in map(os.path.realpath, files_of(file)):
        raise ValueError(f"{out} is the base, which is needed to read the file: name another")
    with open_regular(file) as opened, naming(file):
        packed = opened.read(len(MAGIC)) == MAGIC
        if packed and open_file(opened).base is not None:
            raise ValueError(
                f"{file} holds the differences to a base of its own: unpack it with that, and give "
                "what comes out"
            )
    return unpack(file) if packed else late(load_checkpoint(file))


def check_shared(
    state: Mapping[str, Tensor], base: State | None, names: tuple[object, object]
) -> None:
    """Refuse a base that no tensor can be told by.

    Args:
        state: to be packed.
        base: to tell the differences to; None for no base.
        names: of what these were read from, for the message.

    Raises:
        ValueError: if they have no tensor of the same name, dtype and shape.
    """
    if base is None:
        return
    for name in state.keys() & base.keys():
        one, other = check_item((name, state[name])), base_tensor(base, name)
        if one.dtype == other.dtype and one.shape == other.shape:
            return
    raise ValueError(
        f"{names[1]} is no base for {names[0]}: they have no tensor of the same name, dtype and "
        "shape; give what it was fine-tuned from, or pack it without a base"
    )
