"""The search for the ranks of a network: one path of whole networks, from the dense one down."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import nn

from boildown.calibrate.samples import Samples
from boildown.lowrank.fitted_layer import DAMPINGS, FLOORS, Method, Solution, Way
from boildown.lowrank.gap import relative_gap
from boildown.lowrank.studied import Studied

Evaluate = Callable[[nn.Module], float]
Tick = Callable[[int], None]

GRID = 0.75  # of the next higher rank
HALVINGS = 6  # of what each layer may lose by itself, until the whole network loses no more
TRIES = 2  # networks in a row that must fail: what decides is noisy
FINE = 0.05  # of the parameters, that the first steps of the refinement save
CHOICES = 3  # layers to try before steps are halved


@dataclass(frozen=True)
class Step:
    """One network that was tried.

    Attributes:
        ranks: layer -> rank; layers that are left alone are absent.
        parameters: of the whole network.
        metric: what `evaluate` said.
        accepted: whether that was within the tolerance.
    """

    ranks: dict[str, int]
    parameters: int
    metric: float
    accepted: bool


@dataclass(frozen=True)
class Found:
    """The ranks that were found.

    Attributes:
        ranks: layer -> rank; layers that are left alone are absent.
        model: the network of these ranks.
        metric: what `evaluate` said of it, None without one.
        path: the networks that were tried.
    """

    ranks: dict[str, int]
    model: nn.Module
    metric: float | None
    path: list[Step]


class RankSearch:
    """The ranks of one network by one method."""

    def __init__(self, net: Studied, method: Method, asymmetric: bool) -> None:
        self.net, self.method, self.asymmetric = net, method, asymmetric
        self.layers = net.layers
        self.ways: dict[str, Way] = {}
        self.curves: dict[str, dict[int, float]] = {}
        self.solved: dict[tuple[tuple[str, int], ...], Solution] = {}

    def grid(self, name: str) -> dict[int, list[Solution]]:
        """Solutions of a layer over its ranks, one for each part of the samples to be judged by."""
        ranks = grid_of(self.layers[name].highest)
        self.ways[name] = self.best_way(name, [ranks[len(ranks) // 4], ranks[len(ranks) // 2]])
        return self.crossed(name, ranks, self.ways[name])

    def best_way(self, name: str, ranks: Sequence[int]) -> Way:
        """The one that changes the network's outputs least over some ranks."""
        if self.method == "plain":
            return Way()
        told = all(g.count for g in self.layers[name].gradients)
        changes: dict[Way, float] = {}

        def best(ways: Iterable[Way]) -> Way:
            for way in ways:
                found = self.crossed(name, ranks, way).values()
                losses = [self.net.change(name, solutions) for solutions in found]
                changes[way] = sum(math.log(max(lost, 1e-12)) for lost in losses)
            return min(changes, key=lambda way: changes[way])

        damping = best(Way(damping) for damping in DAMPINGS).damping
        return best(Way(damping, floor) for floor in FLOORS if told)

    def crossed(self, name: str, ranks: Sequence[int], way: Way) -> dict[int, list[Solution]]:
        """Solutions fitted without each part of the samples in turn."""
        folds = self.net.folds(self.layers[name].seen)
        if self.method == "plain":  # fits to nothing
            (every,) = (self.solve(name, ranks, folds[0][0], way),)
            return {rank: [every[rank]] * len(folds) for rank in ranks}
        each = [self.solve(name, ranks, fit, way) for fit, _ in folds]
        return {rank: [one[rank] for one in each] for rank in ranks}

    def error(self, name: str, solutions: Sequence[Solution]) -> float:
        """Relative error behind a layer, each solution judged by its own part."""
        layer = self.layers[name]
        judged = [judge for _, judge in self.net.folds(layer.seen)]
        now = [layer.outputs(s, own.inputs) for s, own in zip(solutions, judged, strict=True)]
        before = torch.cat([own.outputs for own in judged], 1)
        return relative_gap(before, torch.cat(now, 1), layer.relu)

    def solve(
        self,
        name: str,
        ranks: Sequence[int],
        seen: Samples,
        way: Way,
        asymmetric: bool = False,
    ) -> dict[int, Solution]:
        layer = self.layers[name]
        self.net.flops += layer.solve_flops(self.method, ranks, seen.inputs.shape[1])
        return layer.solve(self.method, ranks, seen, way, asymmetric=asymmetric)

    def solutions(self, ranks: Mapping[str, int]) -> dict[str, Solution]:
        """Of a whole network, in forward order, from all samples."""
        found: dict[str, Solution] = {}
        before: tuple[tuple[str, int], ...] = ()
        for name, layer in self.layers.items():
            if name not in ranks:
                continue
            here = (*before, (name, ranks[name])) if self.asymmetric else ((name, ranks[name]),)
            if here not in self.solved:
                seen = layer.seen
                late = self.asymmetric and bool(before)
                if late:
                    self.net.set(found)
                    now = self.net.see(self.net.work, [name])[name]
                    seen = replace(seen, inputs=now.inputs)
                one = self.solve(name, [ranks[name]], seen, self.ways[name], late)
                self.solved[here] = one[ranks[name]]
            found[name] = self.solved[here]
            before = here
        return found

    def within(self, tolerance: float, tick: Tick) -> Found:
        """Each layer's lowest rank whose error behind the layer is within the tolerance.

        Errors add up from layer to layer: the ranks are those whose errors, each layer by itself,
        are within the largest part of the tolerance that keeps the whole network within it.
        """
        errors = {}
        for name in self.layers:
            errors[name] = {r: self.error(name, found) for r, found in self.grid(name).items()}
            tick(1)

        def lowest(name: str, most: float) -> int:
            known, low, high = errors[name], 0, self.layers[name].highest + 1
            while high - low > 1:
                middle = (low + high) // 2
                if middle not in known:
                    (one,) = self.crossed(name, [middle], self.ways[name]).values()
                    known[middle] = self.error(name, one)
                low, high = (low, middle) if known[middle] <= most else (middle, high)
            return high

        best, low, part, high = Found({}, self.net.build({}), None, []), 0.0, 1.0, 1.0
        for _ in range(HALVINGS):
            found = {name: lowest(name, part * tolerance) for name in self.layers}
            ranks = {n: rank for n, rank in found.items() if rank <= self.layers[n].highest}
            network = self.net.build(self.solutions(ranks))
            if max(self.net.errors(network, self.layers).values()) <= tolerance:
                best, low = Found(ranks, network, None, []), part
            else:
                high = part
            if low == high:
                break
            part = (low + high) / 2.0
        return best

    def path(self, tick: Tick) -> list[dict[str, int]]:
        """Networks from the dense one down: always the step that costs least for what it saves."""
        steps: list[tuple[float, str, int]] = []
        for name, layer in self.layers.items():
            changes = {r: self.net.change(name, found) for r, found in self.grid(name).items()}
            self.curves[name] = filled_curve(changes)
            points = [(layer.parameters(r), lost, r) for r, lost in self.curves[name].items()]
            hull = lower_hull([(layer.dense, 0.0, 0), *points])
            for (size, lost, _), (smaller, more, rank) in pairwise(hull):
                steps.append(((more - lost) / (size - smaller), name, rank))
            tick(1)
        networks: list[dict[str, int]] = [{}]
        for _, name, rank in sorted(steps, key=lambda step: step[0]):
            networks.append(networks[-1] | {name: rank})
        return networks

    def lowest(
        self,
        evaluate: Evaluate,
        start: float,
        limit: float,
        evaluations: int,
        networks: list[dict[str, int]],
        tick: Tick,
    ) -> Found:
        """The smallest network found whose metric is within the limit.

        Args:
            evaluate: network -> its metric.
            start: that of the first network, which is within the limit.
            limit: the largest metric.
            evaluations: at most.
            networks: see `path`.
            tick: called with 1 for each evaluation.
        """
        path: list[Step] = []
        best = Found({}, self.net.build({}), start, path)
        known: dict[tuple[tuple[str, int], ...], bool] = {}

        def passes(ranks: dict[str, int]) -> bool:
            nonlocal best
            key = tuple((name, ranks[name]) for name in self.layers if name in ranks)
            if key not in known:
                known[key] = False
                if len(path) < evaluations:
                    size = self.net.parameters(ranks)
                    network = self.net.build(self.solutions(ranks))
                    value = measured(evaluate, copy.deepcopy(network))
                    known[key] = value <= limit
                    path.append(Step(ranks, size, value, known[key]))
                    tick(1)
                    if known[key] and size < self.net.parameters(best.ranks):
                        best = Found(ranks, network, value, path)
            return known[key]

        low, high = 0, len(networks)
        while high - low > 1 and len(path) < evaluations:
            middle = (low + high) // 2
            for here in range(middle, min(middle + TRIES, high)):
                if passes(networks[here]):
                    low = here
                    break
            else:
                high = middle
        ranks = networks[low]
        saving = FINE * self.net.parameters(ranks)
        while len(path) < evaluations and saving >= 1.0:
            for lower in self._steps(ranks, saving)[:CHOICES]:
                if passes(ranks | lower):
                    ranks = ranks | lower
                    break
            else:
                saving /= 2.0
        return best

    def _steps(self, ranks: Mapping[str, int], saving: float) -> list[dict[str, int]]:
        """One layer's lower rank each, that saves so many parameters: the cheapest first.

        Cheap is what changes the outputs little for each parameter it saves.
        """
        found: list[tuple[float, str, int]] = []
        for name, layer in self.layers.items():
            before = ranks.get(name)
            now = layer.dense if before is None else layer.parameters(before)
            base, one = layer.parameters(0), layer.parameters(1) - layer.parameters(0)
            highest = layer.highest if before is None else before - 1
            rank = min(highest, math.floor((now - saving - base) / one))
            if rank >= 1:
                curve = self.curves[name]
                more = curve[rank] - (0.0 if before is None else curve[before])
                found.append((more / (now - layer.parameters(rank)), name, rank))
        return [{name: rank} for _, name, rank in sorted(found)]


def grid_of(highest: int) -> list[int]:
    """Ranks from 1 to the highest, each about a third above the one before."""
    ranks = [highest]
    while ranks[-1] > 1:
        ranks.append(min(ranks[-1] - 1, round(GRID * ranks[-1])))
    return ranks[::-1]


def filled_curve(changes: Mapping[int, float]) -> dict[int, float]:
    """What every rank changes, highest first: never less than a higher one, else log-linear."""
    ranks = sorted(changes, reverse=True)
    known: dict[int, float] = {}
    for rank in ranks:
        known[rank] = max([changes[rank], *known.values()])
    curve = {ranks[0]: known[ranks[0]]}
    for high, low in pairwise(ranks):
        small, large = known[high], known[low]
        for rank in range(high - 1, low - 1, -1):
            t = (high - rank) / (high - low)
            curve[rank] = small ** (1 - t) * large**t if small > 0.0 else t * large
    return curve


def lower_hull(points: Sequence[tuple[int, float, int]]) -> list[tuple[int, float, int]]:
    """The lower convex hull of (parameters, loss, rank), from the most parameters down."""
    hull: list[tuple[int, float, int]] = []
    for size, lost, rank in points:
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (hull[-1][0] - size) >= (
            lost - hull[-1][1]
        ) * (hull[-2][0] - hull[-1][0]):
            hull.pop()
        hull.append((size, lost, rank))
    return hull


def measured(evaluate: Evaluate, model: nn.Module) -> float:
    """What `evaluate` says of a network, in evaluation mode.

    Raises:
        ValueError: if that is not a finite number.
    """
    value = float(evaluate(model.eval()))
    if not math.isfinite(value):
        raise ValueError(f"evaluate must return a finite number, got {value}")
    return value
