"""Ranks of a trained network, from a few hundred samples and without retraining.

Each layer is solved for what matters behind it: through its ReLU where one follows, for its outputs
elsewhere. Which layer gets which rank is then found along one path of whole networks, from the
dense one down.
"""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from boildown.calibrate.batches import Data
from boildown.calibrate.samples import Samples
from boildown.files.progress import progress
from boildown.lowrank.fitted_layer import DAMPINGS, FLOORS, Method, Solution, Way
from boildown.lowrank.gap import relative_gap
from boildown.lowrank.outputs import droppings, narrowed, shared_out
from boildown.lowrank.scheme import Scheme
from boildown.lowrank.studied import Schemes, Studied

Evaluate = Callable[[nn.Module], float]

METHODS = ("relu", "activation", "plain")
GRID = 0.75  # of the next higher rank
HALVINGS = 6  # of what each layer may lose by itself, until the whole network loses no more
TRIES = 2  # networks in a row that must fail: what decides is noisy
FINE = 0.05  # of the parameters, that the first steps of the refinement save
CHOICES = 3  # layers to try before steps are halved
DROPS = 3  # narrower networks to try, each of which changes a quarter of the one before
LITTLE = 1e-6  # of change, that outputs may make where no rank could be lowered


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
class Kept:
    """What a search kept.

    Attributes:
        ranks: layer -> rank; layers that are left alone are absent.
        schemes: layer of `ranks` -> what its rank is of (`boildown.lowrank.scheme`).
        parameters: of the whole network.
        metric: what `evaluate` said of it, None without one.
    """

    ranks: dict[str, int]
    schemes: dict[str, Scheme]
    parameters: int
    metric: float | None


@dataclass(frozen=True)
class RankPruning:
    """A network with smaller layers, and how it came about.

    Attributes:
        model: an ordinary network; layer `fc1` of rank r is `fc1.v` and `fc1.u`. Batch-norms behind
            the layers that were looked at are folded into them.
        ranks: layer -> rank; layers that are left alone are absent.
        schemes: layer of `ranks` -> what its rank is of (`boildown.lowrank.scheme`).
        outputs: layer that lost whole outputs -> the ones that are left; {} without `drop_outputs`.
        parameters: of `model`.
        dense_parameters: of the network it came from.
        errors: layer of `ranks` -> relative error behind the layer, on the calibration samples: the
            root of the squared error over the variance, after the ReLU where one follows.
        metric: what `evaluate` says of `model`, None without one.
        dense_metric: what it says of the dense network.
        path: the networks that were tried, in order; with `drop_outputs` first those as wide as the
            dense one, then the narrower ones.
        plain: what the same search keeps with plain SVD, each layer's own matrix truncated (a
            kernel to r channels, then 1x1); None if that was not asked for.
        plain_same_schemes: the same by the schemes of `schemes`, so that only the solutions differ.
        flops: operations of the calibration: forward passes and solutions, not `evaluate`.
    """

    model: nn.Module
    ranks: dict[str, int]
    schemes: dict[str, Scheme]
    outputs: dict[str, list[int]]
    parameters: int
    dense_parameters: int
    errors: dict[str, float]
    metric: float | None
    dense_metric: float | None
    path: list[Step]
    plain: Kept | None
    plain_same_schemes: Kept | None
    flops: int


def prune_ranks(
    model: nn.Module,
    calibration: Data,
    tolerance: float,
    *,
    evaluate: Evaluate | None = None,
    layers: Iterable[str] | None = None,
    method: Method = "relu",
    schemes: Schemes = "cheapest",
    compare: bool = True,
    samples: int = 500,
    positions: int = 32,
    evaluations: int = 60,
    asymmetric: bool = True,
    drop_outputs: bool = False,
    seed: int = 0,
) -> RankPruning:
    """Lower the ranks of a trained network as far as a tolerance allows, without retraining.

    Args:
        model: any network that takes a batch of inputs alone; it is not touched.
        calibration: inputs, a few hundred; no targets are needed.
        tolerance: with `evaluate`, how much it may rise above what it says of the dense network, at
            least 0; without, the largest relative error behind each layer of the new network, in
            (0, 1).
        evaluate: network -> its error or loss, less is better. Called with a network in evaluation
            mode. It decides, so give it samples that the network was not trained on, and many: a
            count of errors is noisy.
        layers: dotted paths of Linear and Conv2d modules; by default all that can be factorised.
        method: "relu" solves through the ReLU where one follows a layer and for its outputs
            elsewhere; "activation" solves for the outputs everywhere; "plain" truncates the weight.
        schemes: a convolution becomes, by "default", its kernel to r channels and a 1x1
            convolution; by "cheapest" that or rows x 1 and 1 x columns, whichever has fewer
            parameters at the same error of the kernel. It goes for every method.
        compare: whether to run the same search with "plain" too: by these schemes and, if they
            differ, by the default ones.
        samples: calibration samples to use at most.
        positions: random places per image at which a convolution is seen at most; its patches at
            all of them are held in memory.
        evaluations: calls of `evaluate` at most, per search; at least 2. With `drop_outputs` there
            are two searches, and up to three calls between them.
        asymmetric: whether each layer is solved for the inputs it gets from the layers before it as
            approximated, so that it makes up for some of their error.
        drop_outputs: whether whole outputs of layers may go too (features, channels), where one
            other layer reads them: the network becomes narrower, and its ranks are searched for
            again. It takes about twice as long, and needs `evaluate`.
        seed: of the places.

    Raises:
        CalibrationError: for an empty calibration set, a layer it never reaches, or NaN or infinity
            in a layer's inputs or outputs.
        ValueError: for a value out of range; a layer that is not there or cannot be factorised, by
            name; if there is none that can; if `evaluate` does not return a finite number.

    Source: Zhang, Zou, He & Sun 2015, https://arxiv.org/abs/1505.06798
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if schemes not in ("cheapest", "default"):
        raise ValueError(f"schemes must be 'cheapest' or 'default', got {schemes!r}")
    if not (0.0 <= tolerance < math.inf if evaluate else 0.0 < tolerance < 1.0):
        reach = "at least 0 with evaluate" if evaluate else "in (0, 1) without evaluate"
        raise ValueError(f"tolerance must be {reach}, got {tolerance}")
    if evaluations < 2:
        raise ValueError(f"evaluations must be at least 2, got {evaluations}")
    if positions < 1:
        raise ValueError(f"positions must be at least 1, got {positions}")
    layers = None if layers is None else list(layers)
    if drop_outputs and (evaluate is None or method == "plain"):
        raise ValueError(
            "drop_outputs needs evaluate, which tells how much may go, and a method that fits to "
            f"the samples, got evaluate={evaluate!r} and method={method!r}"
        )
    net = Studied(model, calibration, layers, schemes, samples, positions, seed)
    dense = None if evaluate is None else _metric(evaluate, copy.deepcopy(model))

    def search(net: Studied, method: Method, start: float | None) -> tuple[_Search, _Found]:
        one = _Search(net, method, asymmetric and method != "plain")
        if evaluate is None or dense is None or start is None:
            with progress(f"ranks ({method})", len(net.layers), in_bytes=False) as tick:
                return one, one.within(tolerance, tick)
        with progress(f"layers ({method})", len(net.layers), in_bytes=False) as tick:
            networks = one.path(tick)
        limit = _limit(dense, tolerance)
        with progress(f"networks ({method})", evaluations, in_bytes=False) as tick:
            return one, one.lowest(evaluate, start, limit, evaluations, networks, tick)

    searched, best = search(net, method, dense)
    small, outputs = net, dict[str, Tensor]()
    if drop_outputs and evaluate is not None and dense is not None:
        again, left, tried = _narrower(searched, best.ranks, evaluate, _limit(dense, tolerance))
        best = replace(best, path=[*best.path, *tried])
        if again is not None:
            _, found = search(again, method, tried[-1].metric)
            path = [*best.path, *found.path]
            if again.parameters(found.ranks) < net.parameters(best.ranks):
                small, best, outputs = again, found, left
            best = replace(best, path=path)
            net.flops += again.flops
    flops = net.flops
    plain = same = None
    if compare:
        plain = same = _kept(net, best if method == "plain" else search(net, "plain", dense)[1])
        if not net.pays("default"):
            plain = Kept({}, {}, net.parameters({}), dense)
        elif not net.by_default:  # inputs are taken from net: the data may be read only once
            own = Studied(model, net.batches, layers, "default", samples, positions, seed)
            plain = _kept(own, search(own, "plain", dense)[1])
    return RankPruning(
        model=best.model,
        ranks=best.ranks,
        schemes=small.schemes(best.ranks),
        outputs={name: kept.tolist() for name, kept in outputs.items()},
        parameters=small.parameters(best.ranks),
        dense_parameters=sum(p.numel() for p in model.parameters()),
        errors=net.errors(best.model, best.ranks, outputs),
        metric=best.metric,
        dense_metric=dense,
        path=best.path,
        plain=plain,
        plain_same_schemes=same,
        flops=flops,
    )


def _narrower(
    searched: "_Search", ranks: Mapping[str, int], evaluate: Evaluate, limit: float
) -> tuple[Studied | None, dict[str, Tensor], list[Step]]:
    """The network without the outputs that should go before the ranks are lowered.

    With the ranks that are then best they change as much as the ranks alone did that were found:
    less if the network is not within the limit, a little if no rank could be lowered.

    Args:
        searched: the search in the network as it is.
        ranks: what it found.
        evaluate: network -> its metric.
        limit: the largest metric.

    Returns:
        The network, None if there is none within the limit; layer -> the outputs that are left;
        what was tried, the network last.
    """
    net, curves = searched.net, searched.curves
    with progress("outputs", len(net.layers), in_bytes=False) as tick:
        able = droppings(net, tick)
    change = sum(curves[name][rank] for name, rank in ranks.items())
    least = min(curve[max(curve)] for curve in curves.values())
    change = change if ranks else max(least, LITTLE)
    tried: list[Step] = []
    for _ in range(DROPS):
        counts = shared_out(net, curves, able, change)
        model, left = narrowed(net, able, counts) if counts else (net.model, {})
        if not left:
            break
        value = _metric(evaluate, copy.deepcopy(model))
        parameters = sum(p.numel() for p in model.parameters())
        tried.append(Step({}, parameters, value, value <= limit))
        if value <= limit:
            return net.again(model), left, tried
        change /= 4.0
    return None, {}, tried


def _limit(dense: float, tolerance: float) -> float:
    return dense + tolerance + 1e-12 * abs(dense)  # a count of errors may meet it exactly


def _kept(net: Studied, found: "_Found") -> Kept:
    ranks = found.ranks
    return Kept(ranks, net.schemes(ranks), net.parameters(ranks), found.metric)


@dataclass(frozen=True)
class _Found:
    ranks: dict[str, int]
    model: nn.Module
    metric: float | None
    path: list[Step]


class _Search:
    """The ranks of one network by one method."""

    def __init__(self, net: Studied, method: Method, asymmetric: bool) -> None:
        self.net, self.method, self.asymmetric = net, method, asymmetric
        self.layers = net.layers
        self.ways: dict[str, Way] = {}
        self.curves: dict[str, dict[int, float]] = {}
        self.solved: dict[tuple[tuple[str, int], ...], Solution] = {}

    def grid(self, name: str) -> dict[int, list[Solution]]:
        """Solutions of a layer over its ranks, one for each part of the samples to be judged by."""
        ranks = _grid(self.layers[name].highest)
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

    def within(self, tolerance: float, tick: Callable[[int], None]) -> _Found:
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

        best, low, part, high = _Found({}, self.net.build({}), None, []), 0.0, 1.0, 1.0
        for _ in range(HALVINGS):
            found = {name: lowest(name, part * tolerance) for name in self.layers}
            ranks = {n: rank for n, rank in found.items() if rank <= self.layers[n].highest}
            network = self.net.build(self.solutions(ranks))
            if max(self.net.errors(network, self.layers).values()) <= tolerance:
                best, low = _Found(ranks, network, None, []), part
            else:
                high = part
            if low == high:
                break
            part = (low + high) / 2.0
        return best

    def path(self, tick: Callable[[int], None]) -> list[dict[str, int]]:
        """Networks from the dense one down: always the step that costs least for what it saves."""
        steps: list[tuple[float, str, int]] = []
        for name, layer in self.layers.items():
            changes = {r: self.net.change(name, found) for r, found in self.grid(name).items()}
            self.curves[name] = _curve(changes)
            points = [(layer.parameters(r), lost, r) for r, lost in self.curves[name].items()]
            hull = _hull([(layer.dense, 0.0, 0), *points])
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
        tick: Callable[[int], None],
    ) -> _Found:
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
        best = _Found({}, self.net.build({}), start, path)
        known: dict[tuple[tuple[str, int], ...], bool] = {}

        def passes(ranks: dict[str, int]) -> bool:
            nonlocal best
            key = tuple((name, ranks[name]) for name in self.layers if name in ranks)
            if key not in known:
                known[key] = False
                if len(path) < evaluations:
                    size = self.net.parameters(ranks)
                    network = self.net.build(self.solutions(ranks))
                    value = _metric(evaluate, copy.deepcopy(network))
                    known[key] = value <= limit
                    path.append(Step(ranks, size, value, known[key]))
                    tick(1)
                    if known[key] and size < self.net.parameters(best.ranks):
                        best = _Found(ranks, network, value, path)
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


def _grid(highest: int) -> list[int]:
    """Ranks from 1 to the highest, each about a third above the one before."""
    ranks = [highest]
    while ranks[-1] > 1:
        ranks.append(min(ranks[-1] - 1, round(GRID * ranks[-1])))
    return ranks[::-1]


def _curve(changes: Mapping[int, float]) -> dict[int, float]:
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


def _hull(points: Sequence[tuple[int, float, int]]) -> list[tuple[int, float, int]]:
    """The lower convex hull of (parameters, loss, rank), from the most parameters down."""
    hull: list[tuple[int, float, int]] = []
    for size, lost, rank in points:
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (hull[-1][0] - size) >= (
            lost - hull[-1][1]
        ) * (hull[-2][0] - hull[-1][0]):
            hull.pop()
        hull.append((size, lost, rank))
    return hull


def _metric(evaluate: Evaluate, model: nn.Module) -> float:
    """What `evaluate` says of a network, in evaluation mode.

    Raises:
        ValueError: if that is not a finite number.
    """
    value = float(evaluate(model.eval()))
    if not math.isfinite(value):
        raise ValueError(f"evaluate must return a finite number, got {value}")
    return value
