"""Factors only where they are faster than the layer they stand for, measured on its real input."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

from torch import Tensor, nn

from boildown.forward import evaluating, first_input, hooks
from boildown.lowrank.factorize import factorize, structure
from boildown.lowrank.scheme import Scheme
from boildown.stopwatch import in_turns

_NONE: Mapping[str, Any] = MappingProxyType({})


def keep_faster(
    model: nn.Module,
    inputs: Tensor,
    ranks: Mapping[str, int] = _NONE,
    *,
    schemes: Mapping[str, Scheme] = _NONE,
    layers: Mapping[str, nn.Sequential] = _NONE,
    repeats: int = 9,
    at_least: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
) -> nn.Module:
    """`factorize`, but a layer whose factors are not faster on its real input is left alone.

    The network runs once in evaluation mode; each time it reaches a layer, layer and factors are
    timed in turns on the spot, on what the layer is given and in the memory format it is given. A
    layer that is called several times counts by the sum. What is fast depends on the machine, its
    threads and the batch size.

    Args:
        model: any network; it is not touched.
        inputs: a batch of the size that is to be fast, on the network's device.
        ranks: see `factorize`.
        schemes: see `factorize`.
        layers: see `factorize`.
        repeats: measurements of each, of which the median counts; at least 1.
        at_least: how many times faster the factors must be.
        clock: seconds.

    Raises:
        ValueError: as `factorize`; if the network never calls one of the layers, or `repeats` is
            less than 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    small = factorize(model, ranks, schemes=schemes, layers=layers)
    built = {name: small.get_submodule(name) for name in structure(model, small)}
    took: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def hook(name: str) -> Callable[..., None]:
        def measure(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given = first_input(args, kwargs)
            took[name].append(_seconds(layer.forward, built[name], given, repeats, clock))

        return measure

    with evaluating(model), hooks() as handles:
        for name in built:
            layer = model.get_submodule(name)
            handles.append(layer.register_forward_pre_hook(hook(name), with_kwargs=True))
        model(inputs)
    kept = {}
    for name, factors in built.items():
        if name not in took:
            raise ValueError(f"{name}: the network never calls it, so it cannot be timed")
        dense, factored = (sum(each) for each in zip(*took[name], strict=True))
        if dense >= at_least * factored:
            kept[name] = cast("nn.Sequential", factors)
    return factorize(model, layers=kept)


def _seconds(
    dense: Callable[[Tensor], Any],
    factors: Callable[[Tensor], Any],
    inputs: Tensor,
    repeats: int,
    clock: Callable[[], float],
) -> tuple[float, float]:
    """The medians of a call of each."""
    ways = {"dense": lambda: dense(inputs), "factors": lambda: factors(inputs)}
    took = in_turns(ways, inputs.device, at_least=repeats, clock=clock)
    return statistics.median(took["dense"]), statistics.median(took["factors"])
