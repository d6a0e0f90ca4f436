"""Fit the weights that a cut leaves to what their layers put out before, in training."""

from collections.abc import Mapping

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from boildown.calibrate.evidence import Evidence
from boildown.prune import reconstruct
from boildown.prune.layers import chooser, refit_, settled, weights_to_fit
from boildown.prune.patterns import Pattern
from boildown.prune.reconstruct import Method


def refit(
    trainer: Trainer,
    pl_module: LightningModule,
    evidence: Evidence,
    masks: Mapping[str, Tensor],
    before: Mapping[str, Tensor],
    pattern: Pattern,
    method: Method,
    mix: float,
) -> dict[str, Tensor]:
    """Let a method cut as many of each tensor as the masks do, and make up for it.

    The weights and biases are changed in place, as rank 0 finds them.

    Args:
        trainer: in a fit.
        pl_module: what is trained.
        evidence: whose samples the layers are fitted on; it is charged.
        masks: name -> mask that says how many are to stay; the same on all ranks.
        before: name -> mask of those alive before.
        pattern: what is cut as one.
        method: see `boildown.prune.reconstruct`; `refit` keeps what the masks do.
        mix: how much the loss counts, see `boildown.prune.layers.refit_`.

    Returns:
        name -> mask of what stays, the same on all ranks.
    """
    new = {n: mask for n, mask in masks.items() if not torch.equal(mask, before[n])}
    if not new:
        return dict(masks)
    choose = {
        n: chooser(1.0 - int(mask.sum()) / mask.numel(), pattern, before[n])
        for n, mask in new.items()
    }
    if method is reconstruct.refit:
        choose = {name: settled(mask) for name, mask in new.items()}
    stay: dict[str, Tensor] = refit_(pl_module, evidence, choose, new, method, mix)
    if trainer.world_size > 1:
        _as_on_rank_0(trainer, pl_module, list(new))
        stay = trainer.strategy.broadcast(stay)
    return {**masks, **stay}


def not_fitted(pl_module: LightningModule, evidence: Evidence) -> list[str]:
    """The weights that can only be cut."""
    fit = weights_to_fit(pl_module, evidence.inputs[0])
    return [name for name in evidence.names if name not in fit]


@torch.no_grad()
def _as_on_rank_0(trainer: Trainer, pl_module: LightningModule, weights: list[str]) -> None:
    """Take weights, and the biases beside them, from rank 0."""
    there = dict(pl_module.named_parameters())
    beside = [f"{name.removesuffix('weight')}bias" for name in weights]
    names = [name for name in [*weights, *beside] if name in there]
    sent = trainer.strategy.broadcast({name: there[name].detach().cpu() for name in names})
    for name, value in sent.items():
        there[name].copy_(value)
