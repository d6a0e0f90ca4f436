"""The grids of what layers get as inputs, in a training: observed once, and then learned."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from boildown.amp.plugins import scaler_of
from boildown.callbacks.constraint import BrokenConstraintError
from boildown.callbacks.steps import Steps
from boildown.name_patterns import by_pattern
from boildown.quantize.activations import KEY, InputGrid, attach, grid_on, layers_of, observed
from boildown.quantize.observers import Observer

UNKNOWN = 1 / 3  # a step, which takes all digits


class InputGrids:
    """Hooks on layers that round their inputs, whose steps are learned beside those of weights.

    Args:
        bits: of the inputs, or pattern of the layers' weights -> bits; None: of no layer.
        observer: how steps start.
        steps: where they are learned; None: they stay as they started.
    """

    def __init__(
        self, bits: int | Mapping[str, int] | None, observer: Observer, steps: Steps | None
    ) -> None:
        self._given, self._steps = bits, steps
        self._observer: Observer = "mse" if observer == "sigma" else observer  # none is normal
        self.bits: dict[str, int] = {}  # layer -> bits
        self._hooks: dict[str, InputGrid] = {}

    def find(self, model: LightningModule, weights: Iterable[str]) -> None:
        """Know the layers, from the weights that are quantized.

        Raises:
            ValueError: for a pattern that matches nothing.
        """
        if self._given is None:
            return
        names = list(weights)
        layers = {f"{n}.weight" if n else "weight": n for n in layers_of(model, names)}
        left = [name for name in names if name not in layers]
        if left:
            rank_zero_info(
                f"quantize.activations: the inputs of {', '.join(left)} stay as they are: only "
                "those of linear and convolution layers have grids"
            )
        given = self._given if isinstance(self._given, Mapping) else {"*": self._given}
        found = by_pattern(given, layers, "quantize.activations")
        self.bits = {layers[name]: width for name, width in found.items()}

    def observe(
        self, trainer: Trainer, model: LightningModule, batches: Callable[[], list[Tensor]]
    ) -> None:
        """Fit a grid to the inputs of each layer, and let the network see them rounded.

        Raises:
            ValueError: for a layer that the batches do not reach.
            CalibrationError: for inputs that are not finite.
        """
        if not self.bits:
            return
        grids = observed(model, batches(), self.bits, self._observer)
        missing = [name for name in self.bits if name not in grids]
        if missing:
            raise ValueError(
                f"quantize.activations: the calibration data never reach layer {missing[0]}; leave "
                f"it out with quantize.exclude=[{missing[0]}.weight]"
            )
        found = {n: [float(g.scale), int(g.zero), self.bits[n]] for n, g in grids.items()}
        self.load_state_dict(trainer.strategy.broadcast(found))
        self.attach(model)

    def attach(self, model: LightningModule) -> None:
        """Put the hooks on their layers.

        Raises:
            AttributeError: for a layer that is not there.
        """
        device = next(model.parameters()).device
        for name, hook in self._hooks.items():
            hook.step = hook.step.detach().to(device).requires_grad_(self._steps is not None)
            attach(model.get_submodule(name), hook)
            if self._steps is not None:
                self._steps.begin(_key(name), hook.step.detach().reshape(1, 1))

    def steer(self, model: LightningModule) -> None:
        """Take the gradients that the steps have gathered, unscaled and the same on all ranks."""
        if self._steps is None:
            return
        scaler = scaler_of(model.trainer)
        scale = 1.0 if scaler is None else scaler.get_scale()
        for name, hook in self._hooks.items():
            if hook.step.grad is None:
                continue
            grad = hook.step.grad.reshape(1, 1) / scale
            if model.trainer.world_size > 1:
                grad = model.trainer.strategy.reduce(grad, reduce_op="mean")
            self._steps.gradient(_key(name), grad)
            hook.step.grad = None

    def follow(self) -> None:
        """Take up the steps, where they have moved."""
        if self._steps is not None:
            for name, hook in self._hooks.items():
                hook.step.data.copy_(self._steps[_key(name)].reshape(()))

    def freeze(self, model: LightningModule) -> None:
        """Leave grids on the layers that are no part of this training."""
        for name, hook in self._hooks.items():
            kept = InputGrid(hook.step.detach().clone(), hook.zero, hook.bits)
            attach(model.get_submodule(name), kept)

    def verify(self, model: LightningModule) -> None:
        """See that the hooks are there.

        Raises:
            BrokenConstraintError: naming the layer whose hook is gone.
        """
        for name in self._hooks:
            if grid_on(model.get_submodule(name)) is None:
                raise BrokenConstraintError(
                    f"{name}: the hook that rounds its inputs was removed from the layer"
                )

    def entries(self) -> dict[str, dict[str, Any]]:
        """What the file will tell of them; before they are observed, what takes as many bytes."""
        found = {n: h.entry for n, h in self._hooks.items()} or {
            name: {"bits": width, "scale": UNKNOWN, "zero": 0} for name, width in self.bits.items()
        }
        return {name.removeprefix("model."): {KEY: entry} for name, entry in found.items()}

    def state_dict(self) -> dict[str, Any]:
        return {n: [float(h.step.detach()), h.zero, h.bits] for n, h in self._hooks.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._hooks = {
            name: InputGrid(torch.tensor(step), zero, bits)
            for name, (step, zero, bits) in state.items()
        }


def _key(layer: str) -> str:
    """By which the step of a layer's inputs is known beside those of weights."""
    return f"inputs of {layer}"
