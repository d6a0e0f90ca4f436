"""Trainings of networks on grids, for criteria.py's workers: what each name of a job stands for."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from boildown.callbacks.quantize import Quantize

ENDS = {  # first and last layer of each network
    "lenet300": ("model.fc1.weight", "model.fc3.weight"),
    "lenet5": ("model.conv1.weight", "model.fc2.weight"),
    "resnet20": ("model.conv1.weight", "model.fc.weight"),
}
WIDE = 8  # bits of those, where they are kept apart


def settings_of(net: str, name: str) -> Mapping[str, Any]:
    """What `Quantize` is told.

    Args:
        net: of `ENDS`.
        name: such as "w4", "w4a4" (the ends at 8 bits), "w3all" (the ends too), "w3mixed" (3 bits
            spread over all), "ternary", "w3prox"; "w3fixed" does not learn the steps.
    """
    given = dict.fromkeys(ENDS[net], WIDE)
    if name == "ternary":
        return {"bits": {**given, "*": "ternary"}}
    weights, _, activations = name.removeprefix("w").partition("a")
    bits = int(weights[0])
    if name.endswith("all") or name.endswith("mixed"):
        allocation = "trace" if name.endswith("mixed") else None
        return {"bits": bits, "allocation": allocation}
    found: dict[str, Any] = {"bits": {**given, "*": bits}}
    if activations:
        found["activations"] = {**given, "*": int(activations)}
    if name.endswith("prox"):
        found |= {"rule": "prox", "end": 0.7}
    if name.endswith("fixed"):
        found["learn"] = False
    return found


def quantize_of(
    net: str, name: str, calibration: Callable[[], Iterable[Any]], samples: int
) -> Quantize:
    """The callback of a job, from the first step of a fine-tuning on."""
    given = settings_of(net, name)
    return Quantize(**given, begin=0.0, calibration=calibration, samples=samples)
