"""Dynamic sparse training: which weights make room, and which grow in their place. Pure."""

import math

import torch
from torch import Tensor

from boildown.prune.masks import smallest


def rewired(weight: Tensor, mask: Tensor, growth: Tensor, count: int) -> Tensor:
    """A mask with as many weights, of which the `count` smallest were exchanged.

    The alive weights of least magnitude make room for those entries, of all that are not alive
    then, whose growth score is largest; one that made room may come back.

    Args:
        weight: of any shape.
        mask: bool, shaped like it; True is alive.
        growth: scores, shaped like it: |gradient| for RigL, random numbers for SET.
        count: how many to exchange, at most those alive.

    Returns:
        bool, shaped like `weight`, with as many True as `mask`.

    Raises:
        ValueError: for more than are alive.

    Source: Evci et al. 2020, RigL, https://arxiv.org/abs/1911.11134, algorithm 1; Mocanu et al.
    2018, SET, https://arxiv.org/abs/1707.04780
    """
    alive = int(mask.sum())
    if not 0 <= count <= alive:
        raise ValueError(f"cannot exchange {count} of {alive} weights")
    size = weight.abs().masked_fill(~mask, torch.inf).flatten()
    kept = mask.flatten() & ~smallest(size, count)
    order = (-growth).masked_fill(kept.reshape(growth.shape), torch.inf).flatten()
    return (kept | smallest(order, count)).reshape(mask.shape)


def exchanged(alive: int, u: float, fraction: float) -> int:
    """How many of the alive weights to exchange at time `u` of the window, with cosine decay.

    >>> exchanged(100, 0.0, 0.3), exchanged(100, 0.5, 0.3), exchanged(100, 1.0, 0.3)
    (30, 15, 0)

    Source: Evci et al. 2020, section 3 (2)
    """
    return int(fraction / 2 * (1 + math.cos(math.pi * u)) * alive + 1e-9)
