"""Quantize a network when its training is over: when, and on which samples."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from boildown.callbacks.budget import callbacks_of, clock_of, progress_of
from boildown.callbacks.evidence import evidence_of
from boildown.callbacks.held import tell_held, to_hold
from boildown.callbacks.quantize import Quantize
from boildown.callbacks.share import ShareWeights
from boildown.callbacks.technique import Technique, trained_like, trained_matrices
from boildown.name_patterns import without
from boildown.quantize.activations import InputGrid, attach, grid_on
from boildown.quantize.grid import Granularity, blocks_of, misfit
from boildown.quantize.layers import Plan, Quantized, Widths, check_plan, quantize_
from boildown.quantize.observers import Observer
from boildown.quantize.reconstruct import Named


class QuantizeAfter(Technique):
    """Put the weights on grids when the budget is spent, and what layers get as inputs.

    It has no phase of its own: the training is a dense one. Layer by layer each is fitted to what
    it put out before (`boildown.quantize.layers.quantize_oneshot`), on samples of the training
    data, which is charged to the budget. Batch-norms stay where they are: grids of channels stay
    grids when one is folded into its layer.

    Args:
        bits: of weights, 2 to 8 or "ternary", or pattern -> bits for those that the patterns name.
        activations: bits of the inputs of linear and convolution layers whose weights are
            quantized, 2 to 8, or pattern of their weights -> bits; None leaves them alone.
        method: "nearest", "gptq" or "adaround" (`boildown.quantize.reconstruct`).
        granularity: what has a step of its own: "channel", "tensor", or so many inputs, such as 64.
        observer: how the range of a grid is chosen: "mse", "minmax", "percentile", "sigma".
        calibration: makes an iterable of batches, such as a training dataloader.
        samples: how many of its samples to calibrate with, at least 1.
        exclude: patterns of weights to leave alone.

    Raises:
        ValueError: for a value out of its range, naming it; in `setup` beside what else says which
            values weights have, or averages them; when the fit starts for a pattern that matches
            nothing, groups that do not divide a weight's inputs, if no weight is left, or if the
            module cannot be copied.
    """

    def __init__(
        self,
        *,
        bits: Widths = 8,
        activations: int | Mapping[str, int] | None = None,
        method: Named = "nearest",
        granularity: Granularity = "channel",
        observer: Observer = "mse",
        calibration: Callable[[], Iterable[Any]] | None = None,
        samples: int = 512,
        exclude: Sequence[str] = (),
    ) -> None:
        try:
            self.plan = Plan(bits, activations, method, granularity, observer, exclude)
        except ValueError as error:
            raise ValueError(f"quantize.{error}") from None
        if type(samples) is not int or samples < 1:
            raise ValueError(
                f"quantize.samples must be a whole number of at least 1, got {samples!r}"
            )
        self.calibration, self.samples = calibration, samples
        self.names: list[str] = []
        self.found: Quantized | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for other in callbacks_of(trainer) if stage == "fit" else []:
            kind = type(other).__name__
            if isinstance(other, Quantize | ShareWeights):
                raise ValueError(
                    f"QuantizeAfter and {kind} both say which values weights may have; give one"
                )
            if isinstance(other, WeightAveraging | StochasticWeightAveraging):
                raise ValueError(
                    f"{kind} writes an average to the weights when the training ends, and they "
                    "would leave their grids: quantize the averaged network afterwards, with "
                    "boildown.quantize.layers.quantize_oneshot"
                )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_fit_start(trainer, pl_module)
        bits, exclude = self.plan.bits, self.plan.exclude
        only = ("quantize.bits", bits) if isinstance(bits, Mapping) else None
        self.names, left = to_hold(trainer, pl_module, "quantize", exclude, only)
        tell_held("quantize", self.names, left)
        try:
            check_plan(self.plan, pl_module)
        except ValueError as error:
            raise ValueError(f"quantize.{error}") from None
        if self.calibration is None:
            raise ValueError(
                "quantize: there are no samples to calibrate with: give calibration=, a function "
                "that makes batches, such as your train_dataloader"
            )

        _copied(trainer, pl_module)  # what cannot be is known before the training

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if progress_of(trainer) < 1.0:
            return
        evidence = evidence_of(pl_module, [], self.calibration, self.samples)
        exact = _copied(trainer, pl_module)
        self.found = quantize_(pl_module, exact, evidence.inputs, self.plan, self.names)
        if trainer.world_size > 1:
            _as_on_rank_0(trainer, pl_module)
        for line in self.found.told:
            rank_zero_info(f"quantize: {line}")
        clock = clock_of(trainer)
        if clock is not None:
            clock.charge(self.found.flops * trainer.world_size)

    def preview(
        self, weights: Mapping[str, Tensor], amount: float | None = None
    ) -> dict[str, Tensor]:
        names = without(self.plan.exclude, trained_matrices(weights), "quantize.exclude")
        found = dict(weights)
        for name, bits in self.plan.bits_of(names).items():
            if misfit(weights[name].shape, self.plan.granularity):
                continue
            blocks = blocks_of(weights[name].detach(), self.plan.granularity)
            seen = self.plan.grid(bits, weights[name]).nearest(blocks)
            found[name] = trained_like(seen.view_as(weights[name]), weights[name])
        return found

    @property
    def results(self) -> dict[str, Any]:
        if self.found is None:
            return {}
        weights = {name: asdict(one) for name, one in self.found.weights.items()}
        return {"quantized": {"weights": weights, "left": self.found.left}}


def _copied(trainer: Trainer, pl_module: LightningModule) -> LightningModule:
    """The module as it is now, to compare with.

    Raises:
        ValueError: if it cannot be copied.
    """
    try:
        return copy.deepcopy(pl_module, {id(trainer): trainer})
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"quantize: the {type(pl_module).__name__} cannot be copied, to compare layers with: "
            f"{error}; undo weight_norm and the like first, keep files and locks out of it"
        ) from error


@torch.no_grad()
def _as_on_rank_0(trainer: Trainer, pl_module: LightningModule) -> None:
    """Take the parameters, and the grids of what layers get, from rank 0."""
    own = dict(pl_module.named_parameters())
    hooks = {name: grid_on(module) for name, module in pl_module.named_modules()}
    grids = {name: hook.entry for name, hook in hooks.items() if hook is not None}
    sent = trainer.strategy.broadcast({name: p.detach().cpu() for name, p in own.items()})
    for name, value in sent.items():
        own[name].copy_(value)
    for name, entry in trainer.strategy.broadcast(grids).items():
        step = torch.tensor(entry["scale"], device=pl_module.device)
        attach(pl_module.get_submodule(name), InputGrid(step, entry["zero"], entry["bits"]))
