"""How dense each layer is, from what cutting it does to the network's outputs.

Each layer is cut alone, at a ladder of sparsities, and what comes out is compared with what the
network said before (`measured_curves`); the knapsack then finds the densities that move the outputs
least within a budget (`allocated_densities`). No Lightning.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from boildown.allocate.knapsack import choose
from boildown.allocate.sensitivity import Evaluate, measured, sensitivity
from boildown.forward import evaluating, run, tensors_of
from boildown.prune.levels import SparsityByScore
from boildown.prune.masks import FLOOR
from boildown.prune.patterns import SINGLE, Pattern

LADDER = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998)  # sparsities that are measured
DEPTHS = -np.log1p(-np.array([0.0, *LADDER]))  # of no cut and of these: -ln(density)
OPTIONS = 120  # densities of a layer to choose from
LEAST = 0.001  # of the outputs, that counts as left where less is
MIXTURES = 24  # of two budgets, that are tried to meet both

Floats = NDArray[np.float64]
Curves = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Budget:
    """What all layers together may cost.

    Attributes:
        price: name -> what one unit of the layer that stays costs, at least 0.
        most: what the units that stay may cost, at least 0.
    """

    price: Mapping[str, float]
    most: float


def densities_by_sensitivity(
    model: nn.Module,
    inputs: Sequence[Tensor],
    scores: Mapping[str, Tensor],
    sparsity: float,
    pattern: Pattern = SINGLE,
) -> dict[str, float]:
    """How dense each layer is where `sparsity` of all goes, by what cutting it does.

    Args:
        model: takes a batch of inputs alone; its weights are trained from here on.
        inputs: calibration batches.
        scores: name of a weight -> scores, of its shape; the smallest go first.
        sparsity: fraction of all entries to cut, in [0, 1].
        pattern: what is cut as one.

    Returns:
        name -> fraction that stays.

    Raises:
        ValueError: see `measured_curves`.
    """
    for name in scores:
        model.get_parameter(name).requires_grad_(True)
    curves = measured_curves(model, inputs, scores, pattern)
    units = units_of(scores, pattern)
    return allocated_densities(
        curves, units, [nonzeros(scores, units, sparsity)], 1.0 - pattern.least
    )


def units_of(scores: Mapping[str, Tensor], pattern: Pattern) -> dict[str, int]:
    """How many of what is cut as one there are."""
    return {name: pattern.condense(each, 0.0).numel() for name, each in scores.items()}


def nonzeros(scores: Mapping[str, Tensor], units: Mapping[str, int], sparsity: float) -> Budget:
    """The entries that may stay of a sparsity over all."""
    total = sum(each.numel() for each in scores.values())
    price = {name: each.numel() / units[name] for name, each in scores.items()}
    return Budget(price, total - round(sparsity * total))


def measured_curves(
    model: nn.Module,
    inputs: Sequence[Tensor],
    scores: Mapping[str, Tensor],
    pattern: Pattern = SINGLE,
) -> dict[str, list[float]]:
    """How far the outputs move when one layer alone is cut, at the sparsities of `LADDER`.

    The distance is -ln(1 - e), e the squared change of all outputs over their squares. Near a
    minimum the loss grows in proportion to e, which needs no targets. What several cuts leave of
    the outputs is about the product of what each leaves, so the logarithms add up. Over the
    logarithm of the density the distance is made convex: outputs of which little is left cannot
    lose much more, which says nothing of what a training could save. The model is evaluated, not
    trained, and comes back as it was.

    Args:
        model: takes a batch of inputs alone.
        inputs: calibration batches; what the network says of them is kept.
        scores: name of a trained weight -> scores, of its shape; the smallest go first.
        pattern: what is cut as one.

    Returns:
        name -> distances, one for each sparsity of `LADDER`, never falling, ever faster rising.

    Raises:
        ValueError: if a name is no trained weight of the model, or outputs are not finite.
    """
    how = SparsityByScore(scores, pattern)
    with evaluating(model):
        moved = _moved_from(model, inputs)
    points = sensitivity(model, moved, technique=how, levels=LADDER)
    found = measured([point for point in points if point.level is not None], "moved")
    curves = {}
    for name in scores:
        measurements = found.get(name.removesuffix(".weight"))
        if measurements is None:
            raise ValueError(f"{name} is no trained weight of the network: it cannot be measured")
        curves[name] = _convex([each.loss for each in measurements])
    return curves


def _convex(distances: Sequence[float]) -> list[float]:
    """The distances, raised so that their slope over -ln(density) never falls."""
    steps = np.diff(DEPTHS)
    slopes = np.maximum.accumulate(np.maximum(np.diff([0.0, *distances]) / steps, 0.0))
    raised: list[float] = np.cumsum(slopes * steps).tolist()
    return raised


def _moved_from(model: nn.Module, inputs: Sequence[Tensor]) -> Evaluate:
    """The distance of a model's outputs from what they are now."""

    def says(model: nn.Module, batch: Tensor) -> list[Tensor]:
        return [t.double() for t in tensors_of(run(model, batch)) if t.is_floating_point()]

    before = [[t.to(torch.float32) for t in says(model, batch)] for batch in inputs]
    size = sum(float(t.double().square().sum()) for each in before for t in each)
    if not math.isfinite(size):
        raise ValueError("the outputs of the network hold NaN or infinity: the training diverged")

    def evaluate(model: nn.Module) -> dict[str, float]:
        moved = sum(
            float((now - then).square().sum())
            for batch, kept in zip(inputs, before, strict=True)
            for now, then in zip(says(model, batch), kept, strict=True)
        )
        return {"moved": -math.log(max(1.0 - (moved / size if size else 0.0), LEAST))}

    return evaluate


def allocated_densities(
    curves: Curves,
    units: Mapping[str, int],
    budgets: Sequence[Budget],
    highest: float = 1.0,
) -> dict[str, float]:
    """The density of each layer at which the outputs move least, all budgets met from below.

    The distances of the layers are added up, and between two sparsities of the ladder they are
    interpolated over the logarithm of the density. The multiple-choice knapsack picks among 120
    densities of each layer (`boildown.allocate.knapsack.choose`), and what is left of the budget is
    then spent where it helps most. A layer keeps at least a tenth of the fraction that all keep, as
    far as the budgets allow. Two budgets are met by a mixture of both that is found by bisection.

    Args:
        curves: name -> distances at `LADDER`, of `measured_curves`.
        units: name -> how many weights, or blocks of them, there are to keep or to cut.
        budgets: at least one.
        highest: the density that no layer exceeds, in (0, 1].

    Returns:
        name -> density in [0, `highest`], a whole number of units.
    """
    total = [sum(b.price[name] * units[name] for name in curves) for b in budgets]
    kept = min(b.most / t if t else 1.0 for b, t in zip(budgets, total, strict=True))
    options = _options(units, curves, min(kept, 1.0), highest)
    if not _fits(budgets, {name: int(counts[0]) for name, counts in options.items()}):
        options = _options(units, curves, 0.0, highest)
    losses = {name: _loss_at(counts, units[name], curves[name]) for name, counts in options.items()}
    counts = _within(options, losses, budgets)
    _spend(counts, options, losses, budgets)
    return {name: count / units[name] for name, count in counts.items()}


def _options(
    units: Mapping[str, int], curves: Curves, kept: float, highest: float
) -> dict[str, Floats]:
    """How many units of each layer may stay, rising."""
    found = {}
    for name in curves:
        most = max(math.floor(highest * units[name] + 1e-9), 1)
        least = min(math.ceil(FLOOR * kept * units[name] - 1e-9), most)
        counts = np.round(np.geomspace(max(least, 1), most, OPTIONS))
        found[name] = np.unique(np.append(counts, least))
    return found


def _loss_at(counts: Floats, units: int, curve: Sequence[float]) -> Floats:
    """The distance when so many units of a layer stay; none counts as a tenth of one."""
    depth = -np.log(np.maximum(counts, 0.1) / units)
    slope = (curve[-1] - curve[-2]) / (DEPTHS[-1] - DEPTHS[-2])
    beyond = slope * np.maximum(depth - DEPTHS[-1], 0.0)
    found: Floats = np.interp(depth, DEPTHS, [0.0, *curve]) + beyond
    return found


def _costs(budgets: Sequence[Budget], counts: Mapping[str, float]) -> list[float]:
    return [sum(b.price[name] * count for name, count in counts.items()) for b in budgets]


def _fits(budgets: Sequence[Budget], counts: Mapping[str, float]) -> bool:
    costs = _costs(budgets, counts)
    return all(cost <= b.most + 1e-9 * b.most for b, cost in zip(budgets, costs, strict=True))


def _within(
    options: Mapping[str, Floats], losses: Mapping[str, Floats], budgets: Sequence[Budget]
) -> dict[str, int]:
    """The least sum of losses within a budget; within both of two, nearly the least.

    A mixture of two budgets is one that holds wherever both do. The weight of the one that is
    exceeded grows until both hold; where the options lie too far apart for that, less is spent.
    """
    names = list(options)

    def picked(prices: Mapping[str, float], most: float) -> dict[str, int]:
        costs = [prices[name] * options[name] for name in names]
        found = choose(costs, [losses[name] for name in names], most, names=names)
        return {n: int(options[n][pick]) for n, pick in zip(names, found.picks, strict=True)}

    if len(budgets) == 1:
        return picked(budgets[0].price, budgets[0].most)
    first, second = ({n: b.price[n] / max(b.most, 1e-300) for n in names} for b in budgets)
    low, high, best = 0.0, 1.0, {name: int(options[name][0]) for name in names}
    lost = math.inf
    for turn in range(MIXTURES):
        weight = (0.0, 1.0)[turn] if turn < 2 else (low + high) / 2
        mixed = {n: weight * first[n] + (1.0 - weight) * second[n] for n in names}
        counts = picked(mixed, 1.0)
        if _fits(budgets, counts):
            loss = sum(float(losses[n][np.searchsorted(options[n], counts[n])]) for n in names)
            best, lost = (counts, loss) if loss < lost else (best, lost)
        if turn >= 2:
            exceeded = sum(first[n] * counts[n] for n in names) > 1.0
            low, high = (weight, high) if exceeded else (low, weight)
    return best


def _spend(
    counts: dict[str, int],
    options: Mapping[str, Floats],
    losses: Mapping[str, Floats],
    budgets: Sequence[Budget],
) -> None:
    """Add units, in place, while a budget has room for one, those first that help most for it."""
    left = [b.most - cost for b, cost in zip(budgets, _costs(budgets, counts), strict=True)]

    def helps(name: str) -> float:
        now = int(np.searchsorted(options[name], counts[name]))
        after = min(now + 1, len(options[name]) - 1)
        gain = float(losses[name][now] - losses[name][after])
        added = max(float(options[name][after]) - counts[name], 1.0)
        price = sum(b.price[name] / b.most for b in budgets if b.most)
        return gain / (added * price) if price else math.inf

    for name in sorted(counts, key=helps, reverse=True):
        room = int(options[name][-1]) - counts[name]
        for budget, rest in zip(budgets, left, strict=True):
            if budget.price[name]:
                room = min(room, math.floor(max(rest, 0.0) / budget.price[name] + 1e-9))
        counts[name] += room
        left = [rest - room * b.price[name] for b, rest in zip(budgets, left, strict=True)]


def fewest_cut(cost: Callable[[float], float], budget: float, least: float) -> float:
    """The smallest sparsity whose cost is within a budget, by bisection.

    Args:
        cost: of a sparsity in [0, 1]; falls where more is cut.
        budget: for the cost.
        least: the sparsity to begin with.

    Returns:
        A sparsity in [`least`, 1], at which the cost is at most the budget and, where there are
        sparsities so close to each other, within a thousandth of it.
    """
    if cost(least) <= budget:
        return least
    low, high = least, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        spent = cost(middle)
        low, high = (middle, high) if spent > budget else (low, middle)
        if 0.999 * budget <= spent <= budget:
            break
    return high
