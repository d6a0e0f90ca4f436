"""State dicts from the files people have: safetensors, torch.save, Lightning checkpoints.

Nothing in a file is executed: torch files are read with `weights_only=True`.
"""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

_INSIDE = ("state_dict", "model")  # keys under which training scripts keep the state dict
_REMEDY = "save model.state_dict() with torch.save or safetensors instead"


def load_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, on the CPU.

    Tensors that share storage in a torch file share it here; safetensors has no such thing.

    Args:
        path: of a .safetensors file or of anything torch.save wrote: a state dict, a Lightning
            checkpoint, or a dict with a state dict under "state_dict" or "model".

    Returns:
        name -> tensor, in the order of the file.

    Raises:
        ValueError: if the file holds no state dict, with the remedy.
        OSError: if it cannot be read.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise ValueError(f"{path} is no intact safetensors file: {error}") from None
    with path.open("rb") as file:
        try:
            held = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise ValueError(
                f"{path} holds more than tensors and plain data, a whole module perhaps, "
                f"which only running its code could load; {_REMEDY}"
            ) from None
        except (RuntimeError, EOFError, ValueError, KeyError) as error:
            what = (str(error) or type(error).__name__).splitlines()[0]
            raise ValueError(f"{path} is no intact checkpoint: {what}") from None
    for key in _INSIDE:
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            held = held[key]
            break
    return _state_dict(held, path)


def _state_dict(held: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(held, Mapping) or not held:
        raise ValueError(f"{path} holds a {type(held).__name__}, no state dict; {_REMEDY}")
    for name, tensor in held.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            what = f"{name!r} is a {type(tensor).__name__}"
            raise ValueError(f"{path} holds no state dict, as {what}, no tensor; {_REMEDY}")
    return dict(held)
