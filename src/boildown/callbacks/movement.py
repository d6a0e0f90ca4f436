"""How the weights move away from zero, summed up over the steps of a training."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer


class Movement:
    """The sum of -w g over steps that really happened.

    The gradient is the one before it is clipped, at the weight before its step.

    Attributes:
        sums: name -> sum, shaped like the parameter; {} before the first step.
    """

    def __init__(self, sums: Mapping[str, Tensor] | None = None) -> None:
        self.sums = dict(sums or {})
        self._next: dict[str, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def before_step(self, parameters: Mapping[str, Tensor]) -> None:
        """See the gradients of what is about to be trained."""
        self._next = {
            name: (parameter, -(parameter * parameter.grad).float())
            for name, parameter in parameters.items()
            if parameter.grad is not None
        }

    def after_step(self, optimizer: Optimizer) -> None:
        """Take in what was seen of the parameters that have just made a step."""
        stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for name in [n for n, (parameter, _) in self._next.items() if id(parameter) in stepped]:
            _, moved = self._next.pop(name)
            before = self.sums.get(name)
            self.sums[name] = moved if before is None else before.to(moved.device) + moved
