"""From a file to a state dict."""

import os
from collections.abc import Iterable

from torch import Tensor

from boildown import codec
from boildown.checkpoints.base_state import load_base
from boildown.checkpoints.model_directory import packed_file
from boildown.codec.entry import State


def unpack(
    path: str | os.PathLike[str],
    keys: Iterable[str] | None = None,
    *,
    base: State | str | os.PathLike[str] | None = None,
) -> dict[str, Tensor]:
    """The state dict in a `.boil` file, bit by bit as it was packed.

    Args:
        path: of the file, or of a directory that holds it as model.boil; its content is untrusted.
        keys: names of the tensors to give, in this order; by default all. What others alone take
            is neither read nor checked.
        base: what the file holds the differences to, if it does: as for `boildown.pack`.

    Raises:
        CodecError: if the file is damaged, has no tensor of a key, or needs another base.
        ValueError: if the base cannot be read, with the remedy.
        OSError: if a file cannot be read.
    """
    return codec.unpack(packed_file(path), keys, base=load_base(base))
