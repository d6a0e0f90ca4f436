"""Which weights to keep: pure functions on tensors, no Lightning.

A sparsity is a fraction of zeros in [0, 1]. A score says how much a weight matters
(`boildown.prune.criteria`): the smallest go first. A mask is a bool tensor shaped like its weight;
True keeps. `boildown.callbacks.prune.Prune` decides when to call these.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from boildown.prune.patterns import SINGLE, Pattern

FLOOR = 0.1  # of the fraction kept of all tensors, what a single one keeps at least


def smallest(scores: Tensor, count: int) -> Tensor:
    """Mark the `count` smallest scores, equal ones in order of appearance.

    Linear in the number of scores, and the same on every device and rank for equal input.

    Args:
        scores: (n,) floats.
        count: 0 <= count <= n.

    Returns:
        (n,) bool, True for exactly `count` entries.

    Raises:
        ValueError: if `count` is out of range.
    """
    if not 0 <= count <= scores.numel():
        raise ValueError(f"cannot take {count} of {scores.numel()} scores")
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    threshold = scores.kthvalue(count).values
    chosen = scores < threshold
    ties = (scores == threshold).nonzero().flatten()
    chosen[ties[: count - int(chosen.sum())]] = True
    return chosen


def _check_sparsity(sparsity: float, where: str) -> None:
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"{where}: sparsity must be in [0, 1], got {sparsity}")


def global_masks(
    scores: Mapping[str, Tensor], sparsity: float, pattern: Pattern = SINGLE
) -> dict[str, Tensor]:
    """Masks that drop the smallest scores, all tensors ranked together.

    Exactly `round(sparsity * N)` of the N entries, or blocks, are dropped. Unless all are, no
    tensor is emptied, for an empty layer ends the network: each keeps its largest scores, at least
    one and at least a tenth of the fraction kept of all.

    Args:
        scores: name -> scores of any shape that the pattern fits, at least one, all on one device.
        sparsity: fraction of all entries to drop, in [0, 1].
        pattern: what is cut as one.

    Returns:
        name -> mask, same shape and device as the scores.

    Raises:
        ValueError: if `scores` is empty or `sparsity` out of range.
    """
    if not scores:
        raise ValueError("there is nothing to prune: no tensor was selected")
    _check_sparsity(sparsity, "global pruning")
    units = [pattern.condense(score, sparsity) for score in scores.values()]
    flat = torch.cat([_with_floor(each.flatten(), 1.0 - sparsity) for each in units])
    keep = ~smallest(flat, round(sparsity * flat.numel()))
    pieces = keep.split([each.numel() for each in units])
    return {
        name: pattern.expand(piece.reshape(each.shape).clone(), score.shape)
        for (name, score), each, piece in zip(scores.items(), units, pieces, strict=True)
    }


def at_floor(masks: Mapping[str, Tensor]) -> dict[str, float]:
    """The tensors of which a ranking of all together left no more than the floor.

    Args:
        masks: of `global_masks`.

    Returns:
        name -> fraction kept, of each that its scores would have cut further, or nearly.
    """
    of_all = sum(int(m.sum()) for m in masks.values()) / sum(m.numel() for m in masks.values())
    density = {name: int(mask.sum()) / mask.numel() for name, mask in masks.items()}
    return {
        name: density[name]
        for name, mask in masks.items()
        if density[name] * mask.numel() <= _floor(mask, of_all) and density[name] < of_all
    }


def _floor(tensor: Tensor, kept: float) -> int:
    """How many entries of a tensor stay in any case, where `kept` of all do."""
    return min(math.ceil(FLOOR * kept * tensor.numel() - 1e-9), tensor.numel())


def _with_floor(scores: Tensor, kept: float) -> Tensor:
    """The scores of one tensor, with infinity for those that stay in any case."""
    stay = _floor(scores, kept)
    if not stay:
        return scores
    raised = scores.clone()
    raised[scores.topk(stay).indices] = torch.inf
    return raised


def layer_masks(
    scores: Mapping[str, Tensor], sparsity: Mapping[str, float], pattern: Pattern = SINGLE
) -> dict[str, Tensor]:
    """Masks that drop the smallest scores of each tensor by itself.

    Exactly `round(sparsity[name] * n)` of a tensor's n entries, or blocks, are dropped.

    Args:
        scores: name -> scores of any shape that the pattern fits, at least one.
        sparsity: name -> fraction of its entries to drop, in [0, 1], for the names of `scores`.
        pattern: what is cut as one.

    Returns:
        name -> mask, same shape and device as the scores.

    Raises:
        ValueError: if `scores` is empty or a sparsity is out of range, naming the tensor.
    """
    if not scores:
        raise ValueError("there is nothing to prune: no tensor was selected")
    masks = {}
    for name, score in scores.items():
        _check_sparsity(sparsity[name], name)
        units = pattern.condense(score, sparsity[name])
        drop = smallest(units.flatten(), round(sparsity[name] * units.numel()))
        masks[name] = pattern.expand(~drop.reshape(units.shape), score.shape)
    return masks


def packed(masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks with eight entries in a byte, to save.

    >>> packed({"w": torch.tensor([[True, False], [True, True]])})["w"].tolist()
    [176]
    """
    return {n: torch.from_numpy(np.packbits(mask.cpu().numpy())) for n, mask in masks.items()}


def unpacked(saved: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """What `packed` made, of these shapes."""
    found = {}
    for name, bits in saved.items():
        flat = np.unpackbits(bits.numpy(), count=math.prod(shapes[name]))
        found[name] = torch.from_numpy(flat).bool().reshape(*shapes[name])
    return found
