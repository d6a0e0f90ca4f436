"""The second moments of layers' inputs, H = X^T X over the rows, one layer at a time.

What prunes, factorises, quantizes or rounds a layer by what it does to its outputs is a projection
on this matrix. A layer's moments are collected by a pass of their own, so that no more than one
such matrix is held, and a layer sees what the layers before it, already changed, put out.
"""

from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from torch import Tensor, nn

from boildown.calibrate.batches import CalibrationError, Data, batches_of
from boildown.calibrate.moments import Moments, PairedMoments
from boildown.calibrate.samples import feed
from boildown.forward import evaluating, hooks, run

POSITIONS = 32  # places per image at which a convolution is seen
LEAST_ROWS = 16  # fewer say nothing of how inputs go together


def layers_reached(model: nn.Module, inputs: Tensor, layers: Iterable[str]) -> list[str]:
    """Those of the layers that a batch reaches, in the order in which it does.

    Args:
        model: takes a batch of inputs alone; it is left as it was.
        inputs: a batch.
        layers: dotted paths.
    """
    reached: dict[str, None] = {}

    def see(name: str, *_: object) -> None:
        reached[name] = None

    with evaluating(model), hooks() as handles:
        for name in layers:
            module = model.get_submodule(name)
            handles.append(module.register_forward_pre_hook(partial(see, name)))
        run(model, inputs)
    return list(reached)


def input_moments(model: nn.Module, data: Data, layer: str, *, seed: int = 0) -> list[Moments]:
    """Count, mean and second moment of what a layer's weight is multiplied with.

    Memory: a few float64 matrices of the layer's inputs squared, and one batch.

    Args:
        model: takes a batch of inputs alone; it is left as it was.
        data: the calibration data.
        layer: dotted path of a Linear or Conv2d; the inputs of a convolution are patches, at 32
            random places of each image, flattened as its weight is.
        seed: of these places.

    Returns:
        One for each group of a convolution; else one.

    Raises:
        CalibrationError: as `boildown.calibrate.samples.feed`, or for fewer than 16 rows.
        ValueError: for another kind of layer.
    """
    found: list[Moments] = []

    def take(_: str, inputs: Tensor, outputs: Tensor) -> None:
        found.extend(Moments() for _ in range(len(inputs) - len(found)))
        for moments, rows in zip(found, inputs, strict=True):
            moments.update(rows)

    feed(model, data, [layer], take, positions=POSITIONS, seed=seed)
    _check_rows(layer, found[0].count)
    return found


def paired_moments(
    exact: nn.Module, model: nn.Module, data: Data, layer: str, *, seed: int = 0
) -> list[PairedMoments]:
    """Moments of what a layer gets now, and with what it got in the network as it was.

    Args:
        exact: the network as it was; takes a batch of inputs alone, and is left so.
        model: what has become of it, as well.
        data: the calibration data; an iterable is read once.
        layer: as in `input_moments`, in both networks.
        seed: of the places.

    Returns:
        As `input_moments`.

    Raises:
        CalibrationError: as there.
        ValueError: as there.
    """
    found: list[PairedMoments] = []
    calls: int | None = None  # of the layer, in a pass
    for batch, inputs in enumerate(batches_of(data)):
        pair = [_seen(net, inputs, layer, calls, seed + batch) for net in (exact, model)]
        calls = len(pair[0])
        for (before, outputs), (now, _) in zip(*pair, strict=True):
            found.extend(PairedMoments() for _ in range(len(now) - len(found)))
            for moments, *each in zip(found, before, outputs, now, strict=True):
                moments.update(*each)
    _check_rows(layer, found[0].now.count)
    return found


class _EnoughError(Exception):
    """The rest of a pass shows nothing more."""


def _seen(
    model: nn.Module, inputs: Tensor, layer: str, calls: int | None, seed: int
) -> list[tuple[Tensor, Tensor]]:
    """What a layer takes and puts out at each call; a pass ends behind the last, if it is known."""
    rows: list[tuple[Tensor, Tensor]] = []

    def keep(_: str, inputs: Tensor, outputs: Tensor) -> None:
        rows.append((inputs.clone(), outputs.clone()))
        if len(rows) == calls:
            raise _EnoughError

    with suppress(_EnoughError):
        feed(model, [inputs], [layer], keep, positions=POSITIONS, seed=seed)
    return rows


def _check_rows(layer: str, count: int) -> None:
    """Refuse what says too little of a layer.

    Raises:
        CalibrationError: naming it.
    """
    if count < LEAST_ROWS:
        raise CalibrationError(
            f"layer {layer}: {count} rows of calibration data are too few to fit it to; "
            f"give at least {LEAST_ROWS} samples"
        )
