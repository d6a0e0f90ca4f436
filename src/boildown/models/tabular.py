"""A residual network for rows of numbers."""

import math
from collections.abc import Sequence

from torch import Tensor, nn


class TabularResNet(nn.Module):
    """A linear layer, blocks of batch norm, widening, ReLU and narrowing beside a skip, a head.

    Args:
        input_shape: of one sample; flattened.
        num_classes: outputs.
        width: of the skip.
        depth: number of blocks.
        widening: units inside a block, as a multiple of `width`.
        dropout: of the units inside a block, in [0, 1).

    Raises:
        ValueError: for a size that is not positive, naming it.

    Source: Gorishniy et al. 2021, https://arxiv.org/abs/2106.11959, section 3.2
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        width: int,
        depth: int,
        widening: int,
        dropout: float,
    ) -> None:
        super().__init__()
        sizes = {"width": width, "depth": depth, "widening": widening, "num_classes": num_classes}
        for name, size in sizes.items():
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {size!r}")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {dropout!r}")
        self.first = nn.Linear(math.prod(input_shape), width)
        self.blocks = nn.ModuleList(_Block(width, width * widening, dropout) for _ in range(depth))
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (N, num_classes) of inputs (N, *input_shape)."""
        x = self.first(x.flatten(1))
        for block in self.blocks:
            x = block(x)
        outputs: Tensor = self.head(self.norm(x).relu())
        return outputs


class _Block(nn.Module):
    def __init__(self, width: int, inside: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.widen = nn.Linear(width, inside)
        self.dropout = nn.Dropout(dropout)
        self.narrow = nn.Linear(inside, width)

    def forward(self, x: Tensor) -> Tensor:
        inside = self.dropout(self.widen(self.norm(x)).relu())
        outputs: Tensor = x + self.narrow(inside)
        return outputs
