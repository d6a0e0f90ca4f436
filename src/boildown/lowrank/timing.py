"""Whether factors are faster than the layer they stand for: measured, on the layer's real input."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn

from boildown.forward import evaluating, first_input, hooks
from boildown.lowrank.factorize import factorize, structure
from boildown.lowrank.scheme import Rank, Scheme

SAMPLE = 1e-3  # seconds that one measurement takes at least, by repetition
_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Timing:
    """What a layer and its factors took.

    Attributes:
        dense: seconds of a call, a median.
        factors: seconds of a call, a median.
    """

    dense: float
    factors: float

    @property
    def ratio(self) -> float:
        """How many times faster the factors are."""
        return self.dense / self.factors


def compare(
    dense: Callable[..., Any],
    factors: Callable[..., Any],
    inputs: Tensor,
    *,
    repeats: int = 9,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Time two modules on the same input, in turns, without gradients.

    Args:
        dense: a layer, or a whole network.
        factors: what may take its place.
        inputs: of either, on their device; its memory format matters.
        repeats: measurements of each, of which the median counts; at least 1.
        clock: seconds.

    Raises:
        ValueError: if `repeats` is less than 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    ways = (dense, factors)
    took: tuple[list[float], list[float]] = ([], [])

    def measure(way: Callable[..., Any], calls: int) -> float:
        _wait_for(inputs)
        began = clock()
        for _ in range(calls):
            way(inputs)
        _wait_for(inputs)
        return (clock() - began) / calls

    with torch.no_grad():
        for way in ways:
            measure(way, 1)  # the first call chooses kernels and lays out weights
        calls = [1 + int(SAMPLE / max(measure(way, 1), SAMPLE / 1000)) for way in ways]
        for turn in range(repeats):
            for which in (0, 1) if turn % 2 else (1, 0):
                took[which].append(measure(ways[which], calls[which]))
    return Timing(statistics.median(took[0]), statistics.median(took[1]))


def keep_faster(
    model: nn.Module,
    inputs: Tensor,
    ranks: Mapping[str, Rank] = _NONE,
    *,
    schemes: Mapping[str, Scheme] = _NONE,
    layers: Mapping[str, nn.Sequential] = _NONE,
    repeats: int = 9,
    at_least: float = 1.0,
) -> nn.Module:
    """`factorize`, but a layer whose factors are not faster on its real input is left alone.

    The network runs once in evaluation mode; each time it reaches a layer, layer and factors are
    timed on the spot on what the layer is given, in the memory format it is given. A layer that is
    called several times counts by the sum. What is fast depends on the machine, its threads and
    the batch size.

    Args:
        model: any network; it is not touched.
        inputs: a batch of the size that is to be fast, on the network's device.
        ranks: see `factorize`.
        schemes: see `factorize`.
        layers: see `factorize`.
        repeats: see `compare`.
        at_least: how many times faster the factors must be.

    Raises:
        ValueError: as `factorize`, or if the network never calls one of the layers.
    """
    small = factorize(model, ranks, schemes=schemes, layers=layers)
    kept = {
        name: cast("nn.Sequential", small.get_submodule(name))
        for name, timing in timings(model, small, inputs, repeats=repeats).items()
        if timing.ratio >= at_least
    }
    return factorize(model, layers=kept)


def timings(
    dense: nn.Module, small: nn.Module, inputs: Tensor, *, repeats: int = 9
) -> dict[str, Timing]:
    """What each factorised layer takes on its real input, and its factors.

    Args:
        dense: the network before; it is not touched.
        small: the same network after `factorize`.
        inputs: a batch, on the networks' device.
        repeats: see `compare`.

    Raises:
        ValueError: if `small` is another network or a narrower one, or `dense` never calls one of
            the layers.
    """
    entries = structure(dense, small)
    for name, entry in entries.items():
        if {"outputs", "inputs"} & set(entry):
            raise ValueError(f"{name}: it is narrower in the second network; give it to both")
    names = [name for name, entry in entries.items() if "scheme" in entry]
    found: dict[str, list[Timing]] = defaultdict(list)

    def hook(name: str) -> Callable[..., None]:
        factors = small.get_submodule(name)

        def measure(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given = first_input(args, kwargs)
            found[name].append(compare(module.forward, factors, given, repeats=repeats))

        return measure

    with evaluating(dense), hooks() as handles:
        for name in names:
            layer = dense.get_submodule(name)
            handles.append(layer.register_forward_pre_hook(hook(name), with_kwargs=True))
        dense(inputs)
    for name in names:
        if name not in found:
            raise ValueError(f"{name}: the network never calls it, so it cannot be timed")
    return {
        name: Timing(sum(t.dense for t in each), sum(t.factors for t in each))
        for name, each in found.items()
    }


def _wait_for(inputs: Tensor) -> None:
    if inputs.device.type not in ("cpu", "meta"):
        torch.accelerator.synchronize(inputs.device)
