"""What the codes of weights take in a file, as something that a weight can be pulled by."""

import torch
from torch import Tensor


def code_lengths(codes: Tensor, low: int, high: int) -> Tensor:
    """Bits of each code, were an entropy coder to write all of them.

    Each code counts once more than it occurs, so that none is infinitely long.

    Args:
        codes: whole numbers in [low, high], any shape.
        low: the least there could be.
        high: the largest.

    Returns:
        (high - low + 1,), -log2 of how often each occurs.
    """
    counts = torch.bincount((codes.flatten() - low).long(), minlength=high - low + 1).float() + 1.0
    return -(counts / counts.sum()).log2()


def rate_gradient(
    blocks: Tensor, seen: Tensor, steps: Tensor, low: int, high: int
) -> tuple[Tensor, Tensor]:
    """How the bits of a tensor's codes, summed, answer to its latent weights and its steps.

    Between codes their lengths are taken as linear, so at a code the slope is half the difference
    of its neighbours' lengths, and that of the one step there is at either end. The lengths
    themselves are held: they follow the codes from step to step.

    Args:
        blocks: (blocks, n), latent weights.
        seen: (blocks, n), what they are rounded to.
        steps: (blocks, 1).
        low: the least code there could be.
        high: the largest.

    Returns:
        (blocks, n) and (blocks, 1).

    Source: entropy-constrained quantization, Chou, Lookabaugh & Gray 1989,
    https://doi.org/10.1109/29.17498
    """
    codes = (seen / steps).round()
    lengths = code_lengths(codes, low, high)
    padded = torch.cat([lengths[:1], lengths, lengths[-1:]])
    slopes = (padded[2:] - padded[:-2]) / 2
    slopes[0], slopes[-1] = slopes[0] * 2, slopes[-1] * 2
    by_code = slopes[(codes - low).long()]
    return by_code / steps, -(by_code * blocks).sum(1, keepdim=True) / steps.square()
