"""A technique of one's own in a recipe: every matrix held on a uniform grid.

    cd examples/own_technique
    PYTHONPATH=. python ../../train.py +compression.grid._target_=grid.Grid +compression.grid.bits=4
    PYTHONPATH=. python ../../train.py +compression.grid._target_=grid.Grid +compression.ratio=8

The first is told its bits; the second finds those that a file 8 times smaller has room for.
"""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from boildown.callbacks import BrokenConstraintError, Constraint
from boildown.callbacks.technique import trained_like, trained_matrices

MOST = 8  # bits


def on_grid(weight: Tensor, bits: int) -> Tensor:
    """The nearest of 2^bits - 1 evenly spaced values around zero, up to the largest weight.

    With one bit there would be nothing but zero, so that 2 is the least.
    """
    levels = 2 ** (bits - 1) - 1
    step = weight.abs().max() / levels
    return (weight / step).round() * step if step > 0 else weight


class Grid(Constraint):
    """Project the weights onto a grid at `begin`, and again after every step from then on.

    Args:
        bits: of a weight, 2 to 8; None: what the asked size of the file has room for.
        begin: progress at which the projection begins.
    """

    end = 1.0

    def __init__(self, bits: int | None = None, begin: float = 0.7) -> None:
        super().__init__()
        if bits is not None and bits not in range(2, MOST + 1):
            raise ValueError(f"grid.bits must be a whole number from 2 to {MOST}, got {bits!r}")
        self.bits, self.begin = bits, begin
        self.now: int | None = None  # bits, once it holds

    # what the run asks

    @property
    def amounts(self) -> dict[str, Any]:
        return {"bits": self.bits}

    def preview(
        self, weights: Mapping[str, Tensor], amount: float | None = None
    ) -> dict[str, Tensor]:
        bits = self._bits_at(amount)
        held = trained_matrices(weights)
        on = {name: trained_like(on_grid(weights[name], bits), weights[name]) for name in held}
        return {**weights, **on}

    def _bits_at(self, amount: float | None) -> int:
        if amount is None:
            return self.bits or MOST
        return MOST - round(amount * (MOST - 2))

    # what the training asks

    @property
    def reached(self) -> bool:
        return self.now is not None

    def act(self, trainer: Trainer, pl_module: LightningModule, progress: float) -> None:
        if progress < self.begin or self.now is not None:
            return
        amount = None
        if self.size is not None and self.bits is None:
            amount = self.size.amount(dict(pl_module.named_parameters()))
        self.now = self._bits_at(amount)
        self.hold(pl_module)

    def steer(self, pl_module: LightningModule) -> None:
        """The gradients are left alone: the projection is all."""

    @torch.no_grad()
    def hold(self, pl_module: LightningModule, stepped: Optimizer | None = None) -> None:
        if self.now is None:
            return
        parameters = dict(pl_module.named_parameters())
        for name in trained_matrices(parameters):
            parameters[name].copy_(on_grid(parameters[name], self.now))

    def verify(self, pl_module: LightningModule) -> None:
        parameters = dict(pl_module.named_parameters())
        for name in trained_matrices(parameters) if self.now is not None else []:
            distinct = len(parameters[name].detach().unique())
            if distinct > 2**self.now:
                raise BrokenConstraintError(f"{name}: {distinct} values on {self.now} bits")

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"now": self.now}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.now = state_dict["now"]
