"""How many bits each weight's codes get, so that few bytes do little harm."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from boildown import codec
from boildown.allocate.knapsack import choose
from boildown.calibrate.evidence import Evidence, EvidenceError
from boildown.name_patterns import check_patterns, matches

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


Groups = Sequence[Sequence[str]]
"""Names, or patterns of names, of weights that have one width; each weight in one group at most."""


def check_groups(groups: object, where: str) -> None:
    """Refuse what is no list of lists of patterns.

    Args:
        groups: what was given.
        where: the setting's own name, for errors.

    Raises:
        ValueError: naming it.
    """
    lists = isinstance(groups, Sequence) and not isinstance(groups, str)
    for group in groups if lists else [None]:  # type: ignore[attr-defined]
        patterns = [] if isinstance(group, str) or not isinstance(group, Sequence) else group
        if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
            raise ValueError(
                f"{where} must be a list of lists of names or patterns, such as "
                f"[[q_proj, k_proj, v_proj]], got {groups!r}"
            )


def groups_among(groups: Groups, names: Iterable[str], where: str) -> list[list[str]]:
    """The members of each group.

    Args:
        groups: of patterns (`boildown.name_patterns.matches`).
        names: of the weights that there are.
        where: the setting's own name, for errors.

    Raises:
        ValueError: for a pattern that matches nothing, or a weight in two groups, naming it.

    >>> groups_among([["?_proj"]], ["0.q_proj.weight", "0.k_proj.weight", "0.up.weight"], "groups")
    [['0.q_proj.weight', '0.k_proj.weight']]
    """
    names = list(names)
    found: list[list[str]] = []
    taken: dict[str, Sequence[str]] = {}
    for group in groups:
        check_patterns(group, names, where)
        members = [name for name in names if any(matches(pattern, name) for pattern in group)]
        for name in members:
            if name in taken:
                raise ValueError(
                    f"{where}: {name} is in two groups, {list(taken[name])} and {list(group)}; "
                    "leave it out of one"
                )
            taken[name] = group
        found.append(members)
    return found


def _joined(options: Options, groups: Groups) -> dict[tuple[str, ...], dict[int, Option]]:
    """The options of whole groups, and of the weights that are in none: costs and losses add up.

    Raises:
        ValueError: for members that have no width in common, or are not there.
    """
    found: dict[tuple[str, ...], dict[int, Option]] = {}
    of = {name: tuple(group) for group in groups for name in group}
    missing = [name for name in of if name not in options]
    if missing or sum(map(len, groups)) > len(of):
        told = f"{missing[0]} is none of the weights" if missing else "a weight is named twice"
        raise ValueError(f"groups: {told}, {', '.join(options)}")
    for members in dict.fromkeys(of.get(name, (name,)) for name in options):
        each = [options[name] for name in members]
        common = [bits for bits in each[0] if all(bits in one for one in each)]
        if not common:
            raise ValueError(f"groups: {', '.join(members)} have no number of bits in common")
        found[members] = {
            bits: Option(sum(one[bits].cost for one in each), sum(one[bits].loss for one in each))
            for bits in common
        }
    return found


def least_cost(options: Options, groups: Groups = ()) -> float:
    """What the cheapest bits cost, which need not be the fewest."""
    return sum(min(one.cost for one in some.values()) for some in _joined(options, groups).values())


def allocate_bits(options: Options, budget: float, groups: Groups = ()) -> dict[str, int]:
    """The bits of each weight that do the least harm within a budget.

    Args:
        options: of each weight, of which one is taken.
        budget: for the sum of the costs.
        groups: names of weights whose bits are to be the same: one item of the knapsack, whose
            costs and losses are the sums of theirs.

    Returns:
        Weight -> bits.

    Raises:
        ValueError: for a budget below what the fewest bits cost, or groups whose members are not
            there, are named twice, or have no number of bits in common.

    Source: Dong et al. 2020 (HAWQ-V2), https://arxiv.org/abs/1911.03852
    """
    joined = _joined(options, groups)
    costs = [[one.cost for one in some.values()] for some in joined.values()]
    losses = [[one.loss for one in some.values()] for some in joined.values()]
    found = choose(costs, losses, budget, names=[" and ".join(members) for members in joined])
    bits = {
        name: list(some)[pick]
        for (members, some), pick in zip(joined.items(), found.picks, strict=True)
        for name in members
    }
    return {name: bits[name] for name in options}
