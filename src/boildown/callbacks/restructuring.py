"""What techniques that change a network's structure have in common."""

from abc import abstractmethod
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import nn

from boildown.callbacks.budget import progress_of
from boildown.callbacks.constraint import Check, Constraint
from boildown.lowrank.factorize import describe, restructure


class Restructuring(Constraint):
    """Base of techniques after whose `end` the network has another structure.

    During a fit nothing is replaced: the fit ends at `end`, `restructure` gives the network of the
    new structure, and another fit goes on with it (`boildown.run.stages`).

    Attributes:
        structure: of the new network as plain data (`boildown.lowrank.factorize.structure`), which
            files and checkpoints hold; None until `restructure` was called.
    """

    def __init__(self, check: Check = "stage", name: str = "") -> None:
        super().__init__(check, name)
        self.structure: dict[str, Any] | None = None
        self.ending = False  # whether the fit has ended

    @abstractmethod
    def restructure(self, model: nn.Module) -> nn.Module:
        """The network in its new structure, with the weights that follow; sets `structure`."""

    def rebuild(self, model: nn.Module) -> nn.Module:
        """A network of the new structure, as `structure` has it, whose weights do not matter."""
        assert self.structure is not None
        return restructure(model, self.structure)

    def describe(self, config: dict[str, Any]) -> dict[str, Any]:
        """The config of the new network, as the file has it, from that of the old one."""
        assert self.structure is not None
        return describe(config, self.structure)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        super().on_train_batch_end(trainer, pl_module, *rest)
        if self.structure is None and progress_of(trainer) >= self.end:
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.ending = True
        super().on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"structure": self.structure}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.structure = state_dict["structure"]
