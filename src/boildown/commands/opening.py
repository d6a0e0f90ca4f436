"""A file's model with inputs that it takes, from what lies beside the file or in it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from boildown.codec import read_config
from boildown.forward import inputs_of
from boildown.loading import load
from boildown.locate import search_here

MOST = 1 << 24  # values of a sample that a file may ask for


def opened(
    file: Path, config: Path | None, allow: Sequence[str], shape: tuple[int, ...] | None
) -> tuple[nn.Module, Any]:
    """The model of a file, and a batch of its inputs.

    Args:
        file: a .boil file.
        config: of the run; None for config.yaml beside the file, or without one for the model that
            the file describes and one sample of normal values.
        allow: what the config, or the file's description, may build beside what any may
            (`boildown.run.allowed`).
        shape: of one sample, where there is no config; None for what the description says.

    Raises:
        ValueError: for a damaged file, or one whose model or inputs are not known.
        OSError: if a file cannot be read.
    """
    if config is not None or (file.parent / "config.yaml").is_file():
        from boildown.run.reopen import open_run

        run = open_run(file, config, allow)
        return run.model, inputs_of(next(iter(run.data.val_dataloader())))
    described = read_config(file)
    if "_target_" not in (described or {}):
        raise ValueError(f"{file}: neither it nor a config.yaml says what network it is of. {_OWN}")
    if allow:
        search_here()
    model = load(file, trust_config=list(allow))
    return model, _drawn(model, shape or _shape(described, file))


_OWN = (
    "For a network of your own: boildown.pack(network, path, config={'_target_': "
    "'my_models.MyNetwork'}), and here --allow my_models --shape 3,32,32; or in Python "
    "boildown.runtime.compile(network, inputs) and boildown.export(network, path, inputs)"
)


def _shape(config: Mapping[str, Any] | None, file: Path) -> tuple[int, ...]:
    """Of a sample, as the model's description has it."""
    while config is not None and isinstance(config.get("model"), Mapping):
        config = config["model"]
    shape = (config or {}).get("input_shape")
    if not isinstance(shape, list | tuple) or not all(isinstance(n, int) for n in shape):
        raise ValueError(
            f"{file} does not say what its model takes: say it by --shape, such as --shape 3,32,32 "
            "for one sample, or put the run's config.yaml beside it, or name it by --config"
        )
    if min(shape, default=0) < 1 or math.prod(shape) > MOST:
        raise ValueError(f"{file} describes a model of inputs {tuple(shape)}, which is no sample")
    return tuple(shape)


def _drawn(model: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """One sample: of normal values, or of the first words of a model that looks words up."""
    words = [part.num_embeddings for part in model.modules() if isinstance(part, nn.Embedding)]
    if words:
        return torch.randint(min(words), (1, *shape))
    return torch.randn(1, *shape)
