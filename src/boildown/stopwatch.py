"""How long calls take, measured in turns: what else the machine does meets each of them alike."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

SAMPLE = 1e-3  # seconds that one measurement takes at least, by repetition


def in_turns(
    ways: Mapping[str, Callable[[], Any]],
    device: torch.device,
    *,
    at_least: int,
    at_most: int | None = None,
    seconds: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time calls in turns, there and back, so that each has each neighbour.

    A call that is shorter than a millisecond is repeated until a measurement takes that long.

    Args:
        ways: name -> what is called.
        device: that they compute on, which is waited for.
        at_least: rounds, at least 1.
        at_most: rounds; None for `at_least`.
        seconds: after which no round is begun, once there were `at_least`.
        clock: seconds.

    Returns:
        Name -> seconds of a call, round by round: the i-th of each are of the same round.
    """

    def measure(way: Callable[[], Any], calls: int) -> float:
        wait_for(device)
        began = clock()
        for _ in range(calls):
            way()
        wait_for(device)
        return (clock() - began) / calls

    for way in ways.values():
        measure(way, 1)  # the first call chooses kernels and lays out weights
    calls = {
        name: 1 + int(SAMPLE / max(measure(way, 1), SAMPLE / 1000)) for name, way in ways.items()
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    began = clock()
    order = list(ways)
    for turn in range(at_least if at_most is None else at_most):
        if turn >= at_least and clock() - began >= seconds:
            break
        for name in order if turn % 2 else reversed(order):
            took[name].append(measure(ways[name], calls[name]))
    return took


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type not in ("cpu", "meta"):
        torch.accelerator.synchronize(device)
