"""From a model to a file that `boildown.load` reads back into what the model's class builds."""

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from boildown import codec
from boildown.checkpoints.base_state import check_shared, load_base
from boildown.codec.entry import State
from boildown.lowrank.factorize import describe, structure_in
from boildown.quantize.activations import input_grids
from boildown.structure.replace import structure_of


def pack(
    model: nn.Module | Mapping[str, Tensor],
    path: str | os.PathLike[str],
    *,
    config: Mapping[str, Any] | None = None,
    coder: str = "auto",
    zero_signs: bool = True,
    base: State | str | os.PathLike[str] | None = None,
) -> int:
    """Write a model to a file, which appears whole or not at all.

    Args:
        model: any network, a LightningModule too, or a state dict. Of a network whose structure
            boildown has changed (low rank, folded batch-norms, narrower layers) the file tells how,
            so that `boildown.load(path, MyNetwork())` makes it anew; of a state dict it does not.
        path: of the file; replaced if it exists.
        config: plain data to store beside it, such as the `_target_` and arguments of the model as
            its class builds it (`boildown.load`).
        coder: "auto", "best", "fast" or "huffman", see `boildown.codec.encode`.
        zero_signs: whether -0.0 stays -0.0, see `boildown.codec.encode`.
        base: what to store the differences to, such as what the model was fine-tuned from: a state
            dict, or the path of a checkpoint, a .boil file or a directory with either. The file
            cannot be read without it.

    Returns:
        Bytes of the file.

    Raises:
        CodecError: for what is no dense tensor of a known dtype, or a config that is not plain.
        ValueError: for a base that has no tensor in common with it, or would be replaced.
        OSError: if the file cannot be written.
    """
    state = model.state_dict() if isinstance(model, nn.Module) else model
    if isinstance(model, nn.Module):
        config = structured(model, config)
    given = load_base(base, path)
    check_shared(state, given, (path, "the base"))
    return codec.pack(state, path, config=config, coder=coder, zero_signs=zero_signs, base=given)


def structured(model: nn.Module, config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The config of a model's file: what is to be stored, and what of its structure was changed.

    Args:
        model: any network.
        config: of the model as its class builds it, or as `describe` has made it already.
    """
    own = {} if config is None else dict(config)
    if structure_in(own):
        return describe(own, input_grids(model))
    return describe(own, structure_of(model)) or None
