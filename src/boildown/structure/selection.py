"""Which units of dependency groups go: scored together, in one order, until enough is saved."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from boildown.structure.dependencies import Group, Place
from boildown.structure.shrink import Plan, removed

Scope = Literal["global", "group"]
FLOOR = 0.1  # of a group's units, what stays at least
Step = tuple[str, tuple[int, ...]]
Order = Sequence[Step]


def unit_scores(groups: Sequence[Group], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The score of each unit: the sum of those of its weights.

    Args:
        groups: dependency groups.
        scores: weight -> scores, of any criterion; parameters that have none count nothing.

    Returns:
        group -> (units,) float64.
    """
    sums: dict[Place, Tensor] = {}
    found = {}
    for group in groups:
        total = torch.zeros(len(group), dtype=torch.float64)
        for name, axis in group.places:
            if name in scores:
                if (name, axis) not in sums:
                    each = scores[name].double().movedim(axis, 0).flatten(1).sum(1)
                    sums[name, axis] = each.cpu()
                at = torch.stack([unit[name, axis] for unit in group.units])
                total += sums[name, axis][at].sum(1)
        found[group.name] = total
    return found


def order(
    groups: Sequence[Group], scores: Mapping[str, Tensor], scope: Scope, multiple: int = 1
) -> Order:
    """The units in the order in which they go, but for a tenth of each group, which stays.

    Args:
        groups: dependency groups.
        scores: weight -> scores of a criterion.
        scope: "group": all groups get shorter by the same fraction, each by its smallest scores.
            "global": all units are ranked together by their score per weight, which is what is
            saved.
        multiple: the channels that a group makes stay a multiple of it, so that many units go
            together. At 8 or 16 kernels with vectors of that length are fastest.

    Returns:
        (group, units that go together), the first to go first.
    """
    ranked: list[tuple[float, int, int, Step]] = []
    for position, group in enumerate(groups):
        of_units = unit_scores([group], scores)[group.name]
        count = len(group)
        stays = max(1, math.ceil(FLOOR * count - 1e-9))
        weights = sum(
            len(group.units[0][place]) * scores[place[0]].numel() / scores[place[0]].shape[place[1]]
            for place in group.places
            if place[0] in scores
        )
        going = of_units.argsort(stable=True).tolist()
        together = math.ceil(multiple / min(map(len, group.units[0].values())))
        left = count
        while (after := (left - 1) // together * together) >= stays:
            units = going[count - left : count - after]
            each = float(of_units[units].mean()) / max(weights, 1.0)
            key = 1.0 - after / count if scope == "group" else each
            ranked.append((key, position, -after, (group.name, tuple(units))))
            left = after
    return [step for *_, step in sorted(ranked)]


def first(ordered: Order, count: int) -> dict[str, list[int]]:
    """The plan of the first steps of an order."""
    plan: dict[str, list[int]] = defaultdict(list)
    for name, units in ordered[:count]:
        plan[name] += units
    return {name: sorted(units) for name, units in plan.items()}


def parameters_left(
    plan: Plan, groups: Sequence[Group], shapes: Mapping[str, Sequence[int]]
) -> int:
    """How many parameters a network has without some units.

    Args:
        plan: group -> the units.
        groups: dependency groups.
        shapes: of all parameters by their names, tied ones once.
    """
    left = {name: list(shape) for name, shape in shapes.items()}
    for (name, axis), gone in removed(plan, groups).items():
        if name in left:
            left[name][axis] -= len(gone)
    return sum(math.prod(shape) for shape in left.values())


def fewest(ordered: Order, cost: Callable[[Plan], float], most: float) -> dict[str, list[int]]:
    """The shortest plan along an order whose network costs at most so much.

    Args:
        ordered: see `order`.
        cost: of the network without the units of a plan; the more go, the less.
        most: what it may cost.

    Raises:
        ValueError: if all of the order is not enough, naming what is within reach.
    """
    low, high = 0, len(ordered)
    least = cost(first(ordered, high))
    if least > most:
        raise ValueError(
            f"{most:.0f} is out of reach: with all that can go, {least:.0f} is left, for a tenth "
            "of each group stays, and so does what no group holds"
        )
    while low < high:
        middle = (low + high) // 2
        if cost(first(ordered, middle)) <= most:
            high = middle
        else:
            low = middle + 1
    return first(ordered, low)
