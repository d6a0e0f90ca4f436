"""How many bits each weight's codes get, so that few bytes do little harm."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from boildown import codec
from boildown.allocate.knapsack import choose
from boildown.calibrate.evidence import Evidence, EvidenceError

WIDTHS = range(2, 9)

By = Literal["trace", "measured"]
BYS = get_args(By)


@dataclass(frozen=True)
class Option:
    """What a weight of so many bits is and costs.

    Attributes:
        cost: in the budget's unit.
        loss: how much worse the network is for it, in any unit that is common to all weights.
    """

    cost: float
    loss: float


Options = Mapping[str, Mapping[int, Option]]
"""Weight -> bits -> option."""


def coded_bytes(weight: Tensor) -> float:
    """Bytes that a tensor takes in a file by itself."""
    return float(codec.estimate({"": weight.detach()}))


def harm_by(
    by: By, evidence: Evidence, weights: Mapping[str, Tensor]
) -> Callable[[str, Tensor], float]:
    """How much worse a network is with another weight in place of one.

    Args:
        by: "trace", the mean curvature of the loss times the squared error of the weight, which
            takes one pass for all; or "measured", the loss itself, a pass for each question.
        evidence: of the network, with a loss.
        weights: name -> weight that is to be replaced.

    Returns:
        Name and weight -> harm; raises EvidenceError where the loss is not finite.

    Source: Dong et al. 2020 (HAWQ-V2), eq. 7, https://arxiv.org/abs/1911.03852
    """
    model = evidence.model

    def foreseen(name: str, made: Tensor) -> float:
        error = (made - weights[name].detach()).double().square().sum()
        return _finite(name, max(evidence.traces[name], 0.0) * float(error) / 2)

    def measured(name: str, made: Tensor) -> float:
        weight = model.get_parameter(name)
        before = weight.detach().clone()
        try:
            with torch.no_grad():
                weight.copy_(made)
            return _finite(name, evidence.mean_loss())
        finally:
            with torch.no_grad():
                weight.copy_(before)

    return foreseen if by == "trace" else measured


def _finite(name: str, harm: float) -> float:
    if not math.isfinite(harm):
        raise EvidenceError(
            f"{name}: what fewer bits would do to the loss is {harm}; look at the calibration "
            "data, or begin when the training is stable"
        )
    return harm


def options_of(
    weights: Mapping[str, Tensor],
    rounded: Callable[[str, int], Tensor],
    loss: Callable[[str, Tensor], float],
    *,
    widths: Iterable[int] = WIDTHS,
    cost: Callable[[str, int, Tensor], float] | None = None,
) -> Options:
    """What each weight could be.

    Args:
        weights: name -> weight.
        rounded: name and bits -> the weight of so many bits.
        loss: name and such a weight -> how much worse the network is with it.
        widths: bits.
        cost: name, bits and weight -> cost; by default the bytes of its codes in a file.
    """
    found: dict[str, dict[int, Option]] = {}
    for name in weights:
        found[name] = {}
        for bits in widths:
            made = rounded(name, bits)
            price = coded_bytes(made) if cost is None else cost(name, bits, made)
            found[name][bits] = Option(price, loss(name, made))
    return found


def cost_of(options: Options, bits: Mapping[str, int]) -> float:
    """What given bits cost."""
    return sum(options[name][width].cost for name, width in bits.items())


def allocate_bits(options: Options, budget: float) -> dict[str, int]:
    """The bits of each weight that do the least harm within a budget.

    Args:
        options: of each weight, of which one is taken.
        budget: for the sum of the costs.

    Returns:
        Weight -> bits.

    Raises:
        ValueError: for a budget below what the fewest bits cost.

    Source: Dong et al. 2020 (HAWQ-V2), https://arxiv.org/abs/1911.03852
    """
    names = list(options)
    each = [(name, list(options[name])) for name in names]
    costs = [[options[name][b].cost for b in some] for name, some in each]
    losses = [[options[name][b].loss for b in some] for name, some in each]
    found = choose(costs, losses, budget, names=names)
    return {name: some[i] for (name, some), i in zip(each, found.picks, strict=True)}
