"""The tensors of safetensors files, each loaded when it is asked for."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from boildown.checkpoints.checkpoint import Checkpoint

_KEPT_MOST = 1 << 26  # bytes read before a file is let go, as what was read of it stays in memory


class TensorFile(Mapping[str, Tensor]):
    """A state dict that stays on the disk: what is not held any more takes no memory.

    Args:
        files: of safetensors, which have been read once and found sound; names of later ones count.
        names: of the tensors, in the order in which they are gone through.
        nbytes: bytes of all tensors.

    Raises:
        OSError: when a tensor is asked for, if its file is not there any more, or another one is,
            of which some tensors would be.
    """

    def __init__(self, files: Sequence[Path], names: Sequence[str], nbytes: int) -> None:
        self._names, self.nbytes = list(names), nbytes
        self._files: dict[str, Path] = {}
        self._first = {file: _written(file) for file in files}
        for file in files:
            with safe_open(file, "pt") as opened:
                self._files |= dict.fromkeys(opened.keys(), file)
        self._open: tuple[Path, Any] | None = None
        self._read = 0

    def __getitem__(self, name: str) -> Tensor:
        file = self._files[name]
        if self._open is None or self._open[0] != file or self._read > _KEPT_MOST:
            self._open = None  # before the next, which would keep what both have read
            if _written(file) != self._first[file]:
                raise OSError(f"{file} was written anew while it was read: begin again")
            self._open, self._read = (file, safe_open(file, "pt")), 0
        tensor: Tensor = self._open[1].get_tensor(name)
        self._read += tensor.nbytes
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _written(file: Path) -> tuple[int, int, int]:
    """What changes when a file is written or replaced."""
    now = file.stat()
    return now.st_ino, now.st_size, now.st_mtime_ns


def late(found: Checkpoint) -> Mapping[str, Tensor]:
    """The tensors of a checkpoint, loaded one by one where its files allow it."""
    if not found.files:
        return found.state
    return TensorFile(found.files, list(found.state), tensor_bytes(found.state))


def tensor_bytes(state: Mapping[str, Tensor]) -> int:
    """Bytes of all elements in their own dtypes, tied tensors once."""
    stored = {(t.data_ptr(), t.shape, t.stride(), t.dtype): t.nbytes for t in state.values()}
    return sum(stored.values())
