"""Random changes to a batch of images that leave their classes as they are."""

import torch
from torch import Tensor
from torch.nn.functional import pad


def shift(images: Tensor, margin: int, g: torch.Generator, fill: float = 0.0) -> Tensor:
    """Move each image by up to `margin` pixels either way.

    Args:
        images: (N, C, H, W), any dtype; read only.
        margin: pixels, at least 0.
        g: where the randomness comes from.
        fill: what comes in from outside.

    Returns:
        The same shape and dtype.
    """
    count, _, _, width = images.shape
    rows, left = _window(images, margin, g)
    return _cut_out(images, margin, rows, left + torch.arange(width).expand(count, width), fill)


def crop_flip(images: Tensor, margin: int, g: torch.Generator) -> Tensor:
    """Move each image by up to `margin` pixels either way, and mirror half of them.

    What comes in from outside is zero.

    Args:
        images: (N, C, H, W), any dtype; read only.
        margin: pixels, at least 0.
        g: where the randomness comes from.

    Returns:
        The same shape and dtype.

    Source: He et al. 2015, section 4.2, https://arxiv.org/abs/1512.03385
    """
    count, _, _, width = images.shape
    rows, left = _window(images, margin, g)
    flip = torch.rand(count, 1, generator=g) < 0.5
    across = torch.arange(width).expand(count, width)
    return _cut_out(images, margin, rows, left + torch.where(flip, across.flip(1), across), 0.0)


def _window(images: Tensor, margin: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """(N, H) rows and (N, 1) left edges of a random window in each padded image."""
    count, _, height, _ = images.shape
    top, left = torch.randint(0, 2 * margin + 1, (2, count, 1), generator=g)
    return top + torch.arange(height), left


def _cut_out(images: Tensor, margin: int, rows: Tensor, columns: Tensor, fill: float) -> Tensor:
    padded = pad(images, (margin,) * 4, value=fill)
    every = torch.arange(len(images))[:, None, None]
    return padded[every, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
