"""Ranks of a trained network, from a few hundred samples and without retraining.

Each layer is solved for what matters behind it: through its ReLU where one follows, for its outputs
elsewhere. Which layer gets which rank is then found along one path of whole networks, from the
dense one down.
"""

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn

from boildown.calibrate.batches import Data
from boildown.files.progress import progress
from boildown.lowrank.fitted_layer import Method
from boildown.lowrank.outputs import droppings, narrowed, outputs_to_drop
from boildown.lowrank.rank_search import Evaluate, Found, RankSearch, Step, measured
from boildown.lowrank.scheme import Scheme
from boildown.lowrank.studied import Schemes, Studied

METHODS = ("relu", "activation", "plain")
DROPS = 3  # narrower networks to try, each of which changes a quarter of the one before
LITTLE = 1e-6  # of change, that outputs may make where no rank could be lowered


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
    samples: int = 500,
    positions: int = 32,
    evaluations: int = 60,
    asymmetric: bool = True,
    drop_outputs: bool = False,
    seed: int = 0,
    compare: Literal[False] = False,
) -> RankPruning:
    """Lower the ranks of a trained network as far as a tolerance allows, without retraining.

    Args:
        model: any network that takes a batch of inputs alone; it is not touched.
        calibration: inputs, a few hundred; no targets are needed.
        tolerance: how much `evaluate` may say more than of the dense network, at least 0; without
            it, the largest relative error behind each layer, in (0, 1).
        evaluate: network in evaluation mode -> its error or loss. It decides, so give it many
            samples that the network was not trained on: a count of errors is noisy.
        layers: dotted paths of Linear and Conv2d modules; by default all that can be factorised.
        method: "relu" solves through the ReLU where one follows a layer and for its outputs
            elsewhere; "activation" for the outputs everywhere; "plain" truncates the weight.
        schemes: of convolutions: "default", channel; "cheapest", channel or spatial, whichever has
            fewer parameters at the same error of the kernel (`boildown.lowrank.scheme`).
        samples: calibration samples to use at most.
        positions: places per image at which a convolution is seen at most, held in memory.
        evaluations: calls of `evaluate` at most, per search; at least 2. With `drop_outputs` there
            are two searches, and up to three calls between them.
        asymmetric: whether each layer makes up for some of the error of its approximated inputs.
        drop_outputs: whether whole outputs that one other layer reads may go too. It takes about
            twice as long, and needs `evaluate`.
        seed: of the places.
        compare: False: what plain SVD keeps is a call of its own, with `method="plain"`.

    Raises:
        CalibrationError: for calibration data that do not show every layer, finite.
        ValueError: for a value out of range, a layer that cannot be factorised, or if none can; if
            `evaluate` does not return a finite number.

    Source: Zhang, Zou, He & Sun 2015, https://arxiv.org/abs/1505.06798
    """
    if compare:
        raise ValueError('prune_ranks: compare is gone; call it once more with method="plain"')
    _check(method, schemes, tolerance, evaluate, evaluations, positions, drop_outputs)
    names = None if layers is None else list(layers)
    net = Studied(model, calibration, names, schemes, samples, positions, seed)
    dense = None if evaluate is None else measured(evaluate, copy.deepcopy(model))
    task = _Task(method, asymmetric and method != "plain", evaluate, dense, tolerance, evaluations)
    searched, best = task.search(net, dense)
    small, outputs = net, dict[str, Tensor]()
    if drop_outputs:
        small, outputs, best = _with_outputs_dropped(searched, best, task)
    return _result(model, net, small, outputs, best, dense)


def _result(
    model: nn.Module,
    net: Studied,
    small: Studied,
    outputs: Mapping[str, Tensor],
    best: Found,
    dense: float | None,
) -> RankPruning:
    flops = net.flops  # before the errors are measured
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
        flops=flops,
    )


def _check(
    method: Method,
    schemes: Schemes,
    tolerance: float,
    evaluate: Evaluate | None,
    evaluations: int,
    positions: int,
    drop_outputs: bool,
) -> None:
    """Refuse values out of range.

    Raises:
        ValueError: naming the value.
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
    if drop_outputs and (evaluate is None or method == "plain"):
        raise ValueError(
            "drop_outputs needs evaluate, which tells how much may go, and a method that fits to "
            f"the samples, got evaluate={evaluate!r} and method={method!r}"
        )


@dataclass(frozen=True)
class _Task:
    """What every network of one call is searched for; see `prune_ranks`."""

    method: Method
    asymmetric: bool
    evaluate: Evaluate | None
    dense: float | None
    tolerance: float
    evaluations: int

    @property
    def limit(self) -> float:
        """The largest metric; a count of errors may meet it exactly."""
        assert self.dense is not None
        return self.dense + self.tolerance + 1e-12 * abs(self.dense)

    def search(self, net: Studied, start: float | None) -> tuple[RankSearch, Found]:
        """The ranks of a network, whose metric is `start`."""
        one = RankSearch(net, self.method, self.asymmetric)
        if self.evaluate is None or start is None:
            with progress("ranks", len(net.layers), in_bytes=False) as tick:
                return one, one.within(self.tolerance, tick)
        with progress("layers", len(net.layers), in_bytes=False) as tick:
            networks = one.path(tick)
        with progress("networks", self.evaluations, in_bytes=False) as tick:
            return one, one.lowest(
                self.evaluate, start, self.limit, self.evaluations, networks, tick
            )


def _with_outputs_dropped(
    searched: RankSearch, best: Found, task: _Task
) -> tuple[Studied, dict[str, Tensor], Found]:
    """The smaller of the network as it is and a narrower one, and the ranks found in it.

    Returns:
        The network; layer -> the outputs that are left, {} if it is as wide as it was; its ranks,
        with the networks of both searches in the path.
    """
    net = searched.net
    again, left, tried = _narrower(searched, best.ranks, task)
    best = replace(best, path=[*best.path, *tried])
    if again is None:
        return net, {}, best
    _, found = task.search(again, tried[-1].metric)
    path = [*best.path, *found.path]
    net.flops += again.flops
    if again.parameters(found.ranks) < net.parameters(best.ranks):
        return again, left, replace(found, path=path)
    return net, {}, replace(best, path=path)


def _narrower(
    searched: RankSearch, ranks: Mapping[str, int], task: _Task
) -> tuple[Studied | None, dict[str, Tensor], list[Step]]:
    """The network without the outputs that should go before the ranks are lowered.

    With the ranks that are then best they change as much as the ranks alone did that were found:
    less if the network is not within the limit, a little if no rank could be lowered.

    Args:
        searched: the search in the network as it is.
        ranks: what it found.
        task: what says which networks will do.

    Returns:
        The network, None if there is none within the limit; layer -> the outputs that are left;
        what was tried, the network last.
    """
    assert task.evaluate is not None
    net, curves = searched.net, searched.curves
    with progress("outputs", len(net.layers), in_bytes=False) as tick:
        able = droppings(net, tick)
    change = sum(curves[name][rank] for name, rank in ranks.items())
    least = min(curve[max(curve)] for curve in curves.values())
    change = change if ranks else max(least, LITTLE)
    tried: list[Step] = []
    for _ in range(DROPS):
        counts = outputs_to_drop(net, curves, able, change)
        model, left = narrowed(net, able, counts) if counts else (net.model, {})
        if not left:
            break
        value = measured(task.evaluate, copy.deepcopy(model))
        parameters = sum(p.numel() for p in model.parameters())
        tried.append(Step({}, parameters, value, value <= task.limit))
        if value <= task.limit:
            return net.again(model), left, tried
        change /= 4.0
    return None, {}, tried
