"""The steps of grids, learned beside the weights by an Adam of their own on their logarithms."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

EPSILON = 1e-12  # gradients by a step are small, and Adam is to divide by nothing else than them


class Steps:
    """Steps by name, each a tensor of values above 0.

    On logarithms a step stays above 0, and moves by a fraction of itself, whatever its size.

    Args:
        rate: learning rate of the logarithms.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._logarithms: dict[str, nn.Parameter] = {}
        self._steps: dict[str, Tensor] = {}
        self._adam: torch.optim.Adam | None = None

    def __getitem__(self, name: str) -> Tensor:
        return self._steps[name]

    def begin(self, name: str, steps: Tensor) -> None:
        """Take steps up, unless they are known already, as after a resume."""
        if name not in self._logarithms:
            self.set(name, steps)

    def set(self, name: str, steps: Tensor) -> None:
        """Begin anew."""
        self._know({name: steps.detach().log()})

    def _know(self, logarithms: Mapping[str, Tensor]) -> None:
        for name, value in logarithms.items():
            self._logarithms[name] = nn.Parameter(value.clone())
            self._steps[name] = value.exp()
        if not self._logarithms:
            return
        before = {} if self._adam is None else self._adam.state
        own = list(self._logarithms.values())
        fused = all(logarithm.device.type == "cpu" for logarithm in own)  # many, and all small
        self._adam = torch.optim.Adam(own, self.rate, eps=EPSILON, fused=fused)
        kept: dict[Tensor, Any] = {p: before[p] for p in self._logarithms.values() if p in before}
        self._adam.state.update(kept)

    def to(self, devices: Mapping[str, torch.device]) -> None:
        """Move them, by name."""
        moving = [n for n in devices if n in self._steps and self._steps[n].device != devices[n]]
        if moving:
            state = self.state_dict()
            for name in moving:
                state["logarithms"][name] = state["logarithms"][name].to(devices[name])
            self.load_state_dict(state)

    def gradient(self, name: str, gradient: Tensor) -> None:
        """Of the loss by the steps, for the move to come."""
        self._logarithms[name].grad = gradient * self._steps[name]

    def move(self, factor: float) -> None:
        """A step of Adam with the gradients there are, which are then forgotten.

        Args:
            factor: on the learning rate.
        """
        if self._adam is None:
            return
        self._adam.param_groups[0]["lr"] = self.rate * factor
        self._adam.step()
        self._steps = {n: p.detach().exp() for n, p in self._logarithms.items()}
        self.forget()

    def forget(self) -> None:
        """The gradients, of a step that was not made."""
        for logarithm in self._logarithms.values():
            logarithm.grad = None

    def state_dict(self) -> dict[str, Any]:
        state = {} if self._adam is None else self._adam.state
        return {
            "logarithms": {name: p.detach() for name, p in self._logarithms.items()},
            "moments": {n: dict(state[p]) for n, p in self._logarithms.items() if p in state},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._logarithms, self._adam = {}, None
        self._know(state["logarithms"])
        for name, moments in state["moments"].items():
            parameter = self._logarithms[name]
            own = {k: v if k == "step" else v.to(parameter.device) for k, v in moments.items()}
            assert self._adam is not None
            self._adam.state[parameter].update({k: v.clone() for k, v in own.items()})


def relative_rate(optimizer: torch.optim.Optimizer) -> float:
    """The learning rate, as a fraction of what it is without a schedule."""
    group = optimizer.param_groups[0]
    return float(group["lr"]) / float(group.get("initial_lr", group["lr"]) or 1.0)
