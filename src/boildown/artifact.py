"""From a file to a model that runs."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from boildown.codec import CodecError, read_config, unpack
from boildown.models import build


def load(
    path: str | Path, model: nn.Module | None = None, *, trust_config: bool = False
) -> nn.Module:
    """Rebuild the model of a `.boil` file, in evaluation mode, on the CPU.

    Args:
        path: of the file.
        model: a network of the right structure to put the tensors into; by default the one that
            the file describes, if it is one of boildown's own.
        trust_config: build whatever class the file names. That runs code the file chooses: never
            for a file of unknown origin.

    Returns:
        The model, `model` itself if given.

    Raises:
        CodecError: if the file is damaged or describes another structure than its tensors have.
        ValueError: if it describes no model, or one that needs `trust_config`, or `model` has
            another structure.
    """
    state = unpack(path)
    if model is not None:
        model.load_state_dict(state)
        return model.eval()
    config = read_config(path)
    if config is None:
        raise ValueError(f"{path} holds no model's description: pass the model to load it into")
    if not trust_config:
        with torch.device("meta"):  # costs nothing, whatever sizes the file asks for
            _compare(build(config).state_dict(), state, path)
    model = build(config, trust=trust_config)
    model.load_state_dict(state)
    return model.eval()


def _compare(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], path: str | Path) -> None:
    for name in wanted.keys() | state.keys():
        one, other = wanted.get(name), state.get(name)
        if one is None or other is None or one.shape != other.shape:
            raise CodecError(f"{path}: the tensor {name} does not fit the model the file describes")
