"""Pull weights towards few nonzero ones while they are trained: ADMM with a top-k projection."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from boildown.lowrank.learning_compression import pull


class SupportPull:
    """L(W) + mu/2 ||W - Z + U||^2, in turns: W by training, Z by a projection, U += W - Z.

    The pull is a proximal step of its own after each of the optimizer's, so Adam does not rescale
    it. mu grows by a constant factor over the steps of Z, and U, which is Y / mu, shrinks with it.

    Args:
        mu: the first and the last, above 0.

    Raises:
        ValueError: for other numbers.

    Source: Lee et al. 2025 (ELSA), https://arxiv.org/abs/2510.01650; Boyd et al. 2011,
    https://doi.org/10.1561/2200000016
    """

    def __init__(self, mu: Sequence[float]) -> None:
        if len(mu) != 2 or not 0.0 < mu[0] <= mu[1] < float("inf"):
            raise ValueError(
                f"prune.mu must be two numbers, 0 < first <= last, such as [10, 30], got {mu}"
            )
        self.first, self.last = float(mu[0]), float(mu[1])
        self.now = self.first
        self.nearest: dict[str, Tensor] = {}
        self.owed: dict[str, Tensor] = {}

    def shifted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """W + U, as Z is a projection of it; U with W - Z added, where there is a Z."""
        found = {}
        for name, weight in weights.items():
            owed = self.owed.get(name, torch.zeros_like(weight)).to(weight.device)
            if name in self.nearest:
                owed = owed + weight.detach() - self.nearest[name].to(weight.device)
            found[name] = weight.detach() + owed
        return found

    def renew(self, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], u: float) -> None:
        """Project anew.

        Args:
            weights: name -> weight.
            masks: name -> mask of what may stay.
            u: time of the window, in [0, 1].
        """
        grown = self.first * (self.last / self.first) ** u
        for name, shifted in self.shifted(weights).items():
            self.owed[name] = (shifted - weights[name].detach()) * (self.now / grown)
            self.nearest[name] = shifted * masks[name]
        self.now = grown

    def after_step(
        self, optimizer: Optimizer, weights: Mapping[str, Tensor], rates: Mapping[str, float]
    ) -> None:
        """Pull what has just made a step.

        Args:
            optimizer: that made it.
            weights: name -> weight.
            rates: name -> learning rate before any schedule.
        """
        moved = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for name, nearest in self.nearest.items():
            weight = weights[name]
            if id(weight) in moved:
                target = nearest.to(weight.device) - self.owed[name].to(weight.device)
                pull(weight, target, rates[name], self.now)

    def state_dict(self) -> dict[str, Any]:
        return {"mu": self.now, "nearest": self.nearest, "owed": self.owed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.now, self.nearest, self.owed = state["mu"], state["nearest"], state["owed"]
