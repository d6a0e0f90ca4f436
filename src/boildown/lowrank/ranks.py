"""Which rank each layer gets: all layers at once, for a budget or for a price of its unit.

A cost is a number of parameters, FLOPs or bytes: whatever list of numbers is handed in. A layer may
also stay as it is, which loses nothing and costs what the dense layer costs; its rank is then None.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from boildown.allocate.knapsack import TOLERANCE, choose, lagrangian, listed
from boildown.allocate.levels import Measured
from boildown.lowrank.svd import rank_for_energy
from boildown.lowrank.svd import tails as tails_of

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class JointRanks:
    """The ranks that were chosen.

    Attributes:
        ranks: layer -> rank, or None for a layer that stays dense.
        cost: of all layers.
        error: the sum of their squared errors.
        gap: how far the error may be above the least the budget allows; 0 if it is the least.
    """

    ranks: dict[str, int | None]
    cost: float
    error: float
    gap: float


def joint_ranks(
    tails: Mapping[str, Tensor],
    costs: Mapping[str, ArrayLike],
    *,
    dense: Mapping[str, float] | None = None,
    budget: float | None = None,
    price: float | None = None,
    mu: float = 1.0,
) -> JointRanks:
    """The C step of the learning-compression algorithm: the best ranks of all layers together.

    E_l(r) is layer l's squared error at rank r, C_l(r) its cost. For a price the ranks minimise
    mu/2 sum_l E_l(r_l) + price sum_l C_l(r_l), which each layer does by itself; for a budget
    sum_l E_l(r_l) within sum_l C_l(r_l) <= budget, which mu does not change.

    Args:
        tails: layer -> (k + 1,) squared errors of rank 0, 1, ..., k: `boildown.lowrank.svd.tails`,
            in the algorithm those of the weight minus its multipliers / mu.
        costs: layer -> costs of rank 1, 2, ..., R with R <= k, never falling.
        dense: layer -> what it costs as it is; layers without an entry must be factorised.
        budget: for the sum of the costs; this or `price`.
        price: of one unit of cost, at least 0: lambda in the paper.
        mu: of the quadratic penalty, above 0.

    Raises:
        ValueError: for a budget below what rank 1 everywhere costs (or dense where that is
            cheaper), not one of budget and price, or layers and numbers that do not fit; by name.

    Source: Idelbayev & Carreira-Perpinan, CVPR 2020, section 4,
    https://openaccess.thecvf.com/content_CVPR_2020/html/Idelbayev_Low-Rank_Compression_of_Neural_Nets_Learning_the_Rank_of_Each_Layer_CVPR_2020_paper.html
    """
    if (budget is None) == (price is None):
        raise ValueError(f"give a budget or a price, one of them; got {budget} and {price}")
    if not mu > 0.0:
        raise ValueError(f"mu must be above 0, got {mu}")
    may_stay = dense or {}
    found = {name: tail.detach().double().cpu().numpy() for name, tail in tails.items()}
    options = _options(found, costs, may_stay)
    offered = {name: _offered(name, options, may_stay) for name in found}
    errors = [_lost(tail, offered[name], len(options[name])) for name, tail in found.items()]
    spent, gap = list(options.values()), 0.0
    if price is not None:
        picks = lagrangian(spent, [mu / 2.0 * error for error in errors], price)
    else:
        assert budget is not None
        _check_affordable(budget, options, bool(dense))
        choice = choose(spent, errors, budget, names=list(found))
        picks, gap = choice.picks, choice.gap
    ranks = {
        name: pick + 1 if pick < offered[name] else None
        for name, pick in zip(found, picks, strict=True)
    }
    return JointRanks(
        ranks,
        cost=float(sum(c[i] for c, i in zip(spent, picks, strict=True))),
        error=float(sum(e[i] for e, i in zip(errors, picks, strict=True))),
        gap=gap,
    )


def _lost(tail: Floats, offered: int, options: int) -> Floats:
    """The squared errors of rank 1, 2, ..., and of what stays dense: 0."""
    errors = np.zeros(options)
    errors[:offered] = tail[1 : offered + 1]
    return errors


@dataclass(frozen=True, slots=True)
class Allocation:
    """The levels that were chosen.

    Attributes:
        levels: layer -> its rank, sparsity or bits, or None for a layer that stays as it is.
        cost: of all layers.
        loss: the sum of the measured losses.
        gap: how far that sum may be above the least the budget allows; 0 if it is the least.
    """

    levels: dict[str, float | None]
    cost: float
    loss: float
    gap: float


def allocate_ranks(points: Mapping[str, Sequence[Measured]], budget: float) -> Allocation:
    """The measured levels that meet a budget with the least sum of losses.

    For ranks, sparsities and bits alike. Losses are taken to add up, as they do while each of them
    is small: measure the result.

    Args:
        points: layer -> what was measured of it (`boildown.allocate.sensitivity.measured`).
        budget: for the sum of the costs.

    Raises:
        ValueError: if the budget is below the sum of the cheapest points, naming the layers, or a
            layer has no points, or one whose loss is not finite.
    """
    for name, layer in points.items():
        if not layer:
            raise ValueError(f"{name}: nothing was measured of it; measure it or leave it out")
        for point in layer:
            if not math.isfinite(point.loss):
                raise ValueError(
                    f"{name}: its loss at level {point.level} is {point.loss}; leave this point "
                    "out, so that the level is not chosen"
                )
    choice = choose(
        [[point.cost for point in layer] for layer in points.values()],
        [[point.loss for point in layer] for layer in points.values()],
        budget,
        names=list(points),
    )
    named = zip(points.items(), choice.picks, strict=True)
    levels = {name: layer[pick].level for (name, layer), pick in named}
    return Allocation(levels, choice.cost, choice.loss, choice.gap)


def energy_ranks(
    spectra: Mapping[str, Tensor],
    costs: Mapping[str, ArrayLike],
    budget: float | None = None,
    *,
    energy: float | None = None,
    dense: Mapping[str, float] | None = None,
) -> dict[str, int | None]:
    """Ranks from one energy threshold for all layers: what jointly chosen ranks have to beat.

    Each layer gets the lowest rank that keeps a fraction of its energy, the sum of its squared
    singular values. A layer stays dense where its rank would cost as much or more.

    Args:
        spectra: layer -> (k,) singular values, falling.
        costs: layer -> costs of rank 1, 2, ..., R with R <= k, never falling. A layer that would
            need a rank above R stays dense, or gets rank R where it may not.
        budget: for the costs, whose highest threshold is taken; this or `energy`.
        energy: the threshold, in (0, 1].
        dense: layer -> what it costs to leave it as it is; its rank is then None.

    Raises:
        ValueError: as `joint_ranks`.
    """
    if (budget is None) == (energy is None):
        raise ValueError(f"give a budget or an energy, one of them; got {budget} and {energy}")
    tails = {name: tails_of(s.detach().cpu()).numpy() for name, s in spectra.items()}
    options = _options(tails, costs, dense or {})
    highest = {name: _offered(name, options, dense or {}) for name in tails}
    lost = {name: tail / tail[0] if tail[0] > 0.0 else tail for name, tail in tails.items()}

    def chosen(ranks: Mapping[str, int]) -> tuple[dict[str, int | None], float]:
        found, cost = dict[str, int | None](), 0.0
        for name, rank in ranks.items():
            spent, last = options[name], highest[name]
            stays = len(spent) > last and (rank > last or spent[rank - 1] >= spent[last])
            found[name] = None if stays else min(rank, last)
            cost += float(spent[last] if stays else spent[min(rank, last) - 1])
        return found, cost

    def at(loss: float) -> dict[str, int]:  # the lowest that lose no more of a layer's energy
        return {name: max(1, int((lost[name] > loss).sum())) for name in lost}

    if energy is not None:
        wanted = {n: rank_for_energy(s.detach().cpu(), energy) for n, s in spectra.items()}
    else:
        assert budget is not None
        _check_affordable(budget, options, bool(dense))
        steps = np.unique(np.concatenate([np.zeros(1), *lost.values()]))
        low, high = 0, len(steps) - 1  # the cost falls with the loss; the last one is affordable
        while low < high:
            middle = (low + high) // 2
            if chosen(at(float(steps[middle])))[1] <= budget:
                high = middle
            else:
                low = middle + 1
        wanted = at(float(steps[low]))
    return chosen(wanted)[0]


def _options(
    tails: Mapping[str, Floats], costs: Mapping[str, ArrayLike], dense: Mapping[str, float]
) -> dict[str, Floats]:
    """For each layer the costs of rank 1, 2, ..., R and, where it may stay dense, of that."""
    for what, given in (("costs", costs), ("dense", dense)):
        unknown = sorted(given.keys() - tails.keys())
        if unknown:
            raise ValueError(f"{what}: there is no layer {unknown[0]}; there are {list(tails)}")
    found = {}
    for name, tail in tails.items():
        if name not in costs:
            raise ValueError(f"{name}: its ranks have no costs")
        cost = np.asarray(costs[name], dtype=np.float64)
        if cost.ndim != 1 or not 1 <= len(cost) <= len(tail) - 1:
            raise ValueError(
                f"{name}: costs must be a list of 1 to {len(tail) - 1}, one for each rank, "
                f"got shape {cost.shape}"
            )
        if not np.isfinite(tail).all() or not (np.diff(tail) <= 0.0).all():
            raise ValueError(f"{name}: squared errors must be finite and fall with the rank")
        if (np.diff(cost) < 0.0).any():
            raise ValueError(f"{name}: costs must not fall with the rank")
        found[name] = np.append(cost, dense[name]) if name in dense else cost
    return found


def _offered(name: str, options: Mapping[str, Floats], dense: Mapping[str, float]) -> int:
    """How many ranks a layer may have."""
    return len(options[name]) - (name in dense)


def _check_affordable(budget: float, options: Mapping[str, Floats], may_stay: bool) -> None:
    """Refuse a budget that rank 1 everywhere exceeds.

    Raises:
        ValueError: naming the budget, the least cost and the layers.
    """
    least = {name: float(cost.min()) for name, cost in options.items()}
    if not sum(least.values()) <= budget * (1.0 + TOLERANCE):
        what = (
            "rank 1 everywhere, or dense where that is cheaper,"
            if may_stay
            else "rank 1 everywhere"
        )
        raise ValueError(
            f"a budget of {budget:,.12g} is below {sum(least.values()):,.12g}, what {what} costs: "
            f"{listed(list(least), list(least.values()))}"
        )
