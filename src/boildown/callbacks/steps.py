"""The steps of grids, learned beside the weights by an Adam of their own on their logarithms."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-12


class Steps:
    """Steps by name, each a tensor of values above 0.

    On logarithms a step stays above 0, and moves by a fraction of itself, whatever its size.

    Args:
        rate: learning rate of the logarithms.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._steps: dict[str, Tensor] = {}
        self._moments: dict[str, tuple[Tensor, Tensor, int]] = {}
        self._gradients: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        return self._steps[name]

    def to(self, devices: Mapping[str, torch.device]) -> None:
        """Move them, by name."""
        for name, device in devices.items():
            if name in self._steps:
                self._steps[name] = self._steps[name].to(device)
            if name in self._moments:
                mean, square, count = self._moments[name]
                self._moments[name] = (mean.to(device), square.to(device), count)

    def begin(self, name: str, steps: Tensor) -> None:
        """Take steps up, unless they are known already, as after a resume."""
        if name not in self._steps:
            self.set(name, steps)

    def set(self, name: str, steps: Tensor) -> None:
        """Begin anew."""
        self._steps[name] = steps.detach().clone()
        self._moments.pop(name, None)
        self._gradients.pop(name, None)

    def gradient(self, name: str, gradient: Tensor) -> None:
        """Of the loss by the steps, for the move to come."""
        self._gradients[name] = gradient

    def move(self, factor: float) -> None:
        """A step of Adam with the gradients there are, which are then forgotten.

        Args:
            factor: on the learning rate.
        """
        for name, gradient in self._gradients.items():
            steps = self._steps[name]
            grad = gradient * steps
            none = torch.zeros_like(grad)
            mean, square, count = self._moments.get(name, (none, none, 0))
            mean = mean.lerp(grad, 1 - BETAS[0])
            square = square.lerp(grad.square(), 1 - BETAS[1])
            count += 1
            down = (square / (1 - BETAS[1] ** count)).sqrt_().add_(EPSILON)
            move = mean / (1 - BETAS[0] ** count) / down
            self._steps[name] = steps * torch.exp(-self.rate * factor * move)
            self._moments[name] = (mean, square, count)
        self.forget()

    def forget(self) -> None:
        """The gradients, of a step that was not made."""
        self._gradients = {}

    def state_dict(self) -> dict[str, Any]:
        moments = {name: list(kept) for name, kept in self._moments.items()}
        return {"steps": self._steps, "moments": moments}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._steps = dict(state["steps"])
        self._moments = {n: (m, s, int(c)) for n, (m, s, c) in state["moments"].items()}
