"""Masks that torch.nn.utils.prune and parametrizations left beside the weights they hold down."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_PARAMETRIZED = re.compile(r"(.*\.)?parametrizations\.([^.]+)\.original")


@dataclass(frozen=True)
class Masked:
    """A weight that was pruned, and whose mask was never made part of it.

    Attributes:
        name: of the weight in the plain model.
        original: name of the tensor before masking.
        masks: names of the masks, 1 where an element is kept and 0 where it is not.
    """

    name: str
    original: str
    masks: tuple[str, ...]


def find_masked(state: Mapping[str, Tensor]) -> list[Masked]:
    """The weights that lie in a state dict as an original and its mask.

    Args:
        state: name -> tensor.

    Returns:
        Those of `torch.nn.utils.prune` (weight_orig, weight_mask) and of parametrizations whose
        only tensors are masks (parametrizations.weight.original, parametrizations.weight.0.mask).
    """
    inside: dict[str, list[str]] = {}
    for name in state:
        start, found, _ = name.rpartition(".parametrizations.")
        if found or name.startswith("parametrizations."):
            head = f"{start}{found}" if found else "parametrizations."
            of = name.removeprefix(head).partition(".")[0]
            inside.setdefault(f"{head}{of}.", []).append(name)
    masked = []
    for name in state:
        parametrized = _PARAMETRIZED.fullmatch(name)
        if parametrized is not None:
            start = name.removesuffix("original")
            plain = f"{parametrized[1] or ''}{parametrized[2]}"
            masks = [other for other in inside[start] if other != name]
        else:
            plain = name.removesuffix("_orig")
            masks = [f"{plain}_mask"] if plain != name else []
        fits = all(m in state and is_mask(state[m], state[name]) for m in masks)
        if masks and fits and plain not in state:
            masked.append(Masked(plain, name, tuple(masks)))
    return masked


def is_mask(mask: Tensor, weight: Tensor) -> bool:
    """Whether a tensor is of the shape of a weight and has no other values than 0 and 1."""
    if mask.shape != weight.shape or weight.layout is not torch.strided or mask.is_meta:
        return False
    return mask.dtype == torch.bool or bool(((mask == 0) | (mask == 1)).all())


def fold_masks(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict whose masks are part of the weights, as after `torch.nn.utils.prune.remove`.

    Args:
        state: name -> tensor.

    Returns:
        Each masked weight under its plain name, in place of its original; 0.0 where it is masked.
    """
    found = {masked.original: masked for masked in find_masked(state)}
    gone = {mask for masked in found.values() for mask in masked.masks}
    folded: dict[str, Tensor] = {}
    for name, tensor in state.items():
        masked = found.get(name)
        if masked is not None:
            kept = tensor.detach()
            for mask in masked.masks:
                kept = torch.where(state[mask] != 0, kept, torch.zeros_like(kept))
            folded[masked.name] = kept
        elif name not in gone:
            folded[name] = tensor
    return folded
