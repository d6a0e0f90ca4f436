"""Norms over some of their features, the others of which are zero and count as such.

So they give what the whole norm gives when the features that are gone are zero.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class NarrowLayerNorm(nn.LayerNorm):
    """A layer norm of some of its features; `over` is how many there were."""

    over: int

    def forward(self, input: Tensor) -> Tensor:
        """(..., features that are left) -> the same shape."""
        left = input.shape[-1]
        whole = F.layer_norm(_whole(input, self.over), (self.over,), None, None, self.eps)
        scaled = whole[..., :left] * self.weight
        return scaled if self.bias is None else scaled + self.bias


class NarrowRMSNorm(nn.RMSNorm):
    """A root-mean-square norm of some of its features; `over` is how many there were."""

    over: int

    def forward(self, x: Tensor) -> Tensor:
        """(..., features that are left) -> the same shape."""
        whole = F.rms_norm(_whole(x, self.over), (self.over,), None, self.eps)
        return whole[..., : x.shape[-1]] * self.weight


NARROW: dict[type[nn.Module], type[nn.Module]] = {
    nn.LayerNorm: NarrowLayerNorm,
    nn.RMSNorm: NarrowRMSNorm,
}


def is_narrow(norm: nn.Module) -> bool:
    """Whether a module is a norm that counts features that are gone."""
    return type(norm) in NARROW.values()


def can_narrow(norm: nn.Module) -> bool:
    """Whether a norm over features can do with fewer of them.

    Of a class derived from PyTorch's nothing is known.
    """
    if type(norm) not in NARROW and not is_narrow(norm):
        return False
    assert isinstance(norm, nn.LayerNorm | nn.RMSNorm)
    return norm.elementwise_affine and len(norm.normalized_shape) == 1


def narrowed(norm: nn.LayerNorm | nn.RMSNorm, over: int) -> None:
    """Let a norm whose parameters have been cut count the features that are gone, in place."""
    left = len(norm.weight)
    if type(norm) in NARROW and left < over:
        norm.__class__ = NARROW[type(norm)]  # type: ignore[assignment]
        norm.over = over  # type: ignore[assignment]  # of the new class
    norm.normalized_shape = (left,)


def _whole(x: Tensor, over: int) -> Tensor:
    return torch.cat([x, x.new_zeros(*x.shape[:-1], over - x.shape[-1])], -1)
