"""What is ranked with what: all tensors together, or each by itself. Pure functions."""

from collections.abc import Mapping
from typing import Literal, get_args

from torch import Tensor

from boildown.prune.densities import erk
from boildown.prune.masks import global_masks, layer_masks
from boildown.prune.patterns import SINGLE, Pattern

Scope = Literal["global", "layer", "erk", "sensitivity"]
SCOPES = get_args(Scope)


def check_scope(scope: str, where: str) -> None:
    """Refuse what is no scope.

    Raises:
        ValueError: naming the setting and the scopes there are.
    """
    if scope not in SCOPES:
        raise ValueError(f"{where} must be one of {', '.join(SCOPES)}, got {scope!r}")


def scoped_masks(
    scores: Mapping[str, Tensor], sparsity: float, scope: Scope, pattern: Pattern = SINGLE
) -> dict[str, Tensor]:
    """Masks that drop the smallest scores, so that `sparsity` of all goes.

    Args:
        scores: name -> scores of any shape that the pattern fits, at least one.
        sparsity: fraction of all entries to drop, in [0, 1].
        scope: rank all tensors together ("global"), or each by itself, equally sparse ("layer") or
            small ones less so ("erk", `boildown.prune.densities`). "sensitivity" is "erk" until
            sensitivities are measured (`boildown.prune.allocation`).
        pattern: what is cut as one.

    Returns:
        name -> mask, same shape and device as the scores.

    Raises:
        ValueError: as `boildown.prune.masks`.
    """
    if scope == "global":
        return global_masks(scores, sparsity, pattern)
    if scope == "layer":
        return layer_masks(scores, dict.fromkeys(scores, sparsity), pattern)
    kept = erk({name: score.shape for name, score in scores.items()}, 1.0 - sparsity)
    return layer_masks(scores, {name: 1.0 - k for name, k in kept.items()}, pattern)
