"""What a run's file would take if the parameters were others."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor

from boildown import codec
from boildown.callbacks.save import plain_state
from boildown.callbacks.technique import Technique
from boildown.lowrank.factorize import structure_in
from boildown.structure.resize import SHAPES

_MODEL = "model."  # what the names of the packed parameters begin with, in the task


@dataclass
class FileSize:
    """What a run's file would take if the parameters were others.

    Attributes:
        config: of the model as it is now, which the file holds.
        techniques: whose previews the parameters are.
        task: whose submodule `model` is packed.
    """

    config: dict[str, Any]
    techniques: Iterable[Technique]
    task: LightningModule | None = None

    def __call__(self, weights: Mapping[str, Tensor]) -> int:
        """Bytes of the file.

        Args:
            weights: name in the task -> parameter; those that are not the model's are left out.
        """
        assert self.task is not None
        model = self.task.get_submodule("model")
        own = {n.removeprefix(_MODEL): p for n, p in weights.items() if n.startswith(_MODEL)}
        first = {id(p): name for name, p in model.named_parameters()}
        state: dict[str, Tensor] = {}
        for name, tensor in model.state_dict(keep_vars=True).items():
            if id(tensor) not in first:  # a buffer
                state[name] = tensor
            elif first[id(tensor)] in own:  # under each of its names, if it is tied
                state[name] = own[first[id(tensor)]]
        added = {name: p for name, p in own.items() if name not in first.values()}
        config = self.config
        for technique in self.techniques:
            config = technique.preview_config(config, own)
        for layer, entry in structure_in(config).items():  # statistics of channels that are left
            for name, shape in entry.get(SHAPES, {}).items():
                path = f"{layer}.{name}" if layer else name
                if path in state and path not in own:
                    state[path] = state[path][: shape[0]]
        return codec.estimate({n: t.detach() for n, t in (state | added).items()}, config)

    def as_it_is(self) -> int:
        """Bytes of the file of the network as it stands."""
        assert self.task is not None
        return codec.estimate(plain_state(self.task.get_submodule("model")), self.config)
