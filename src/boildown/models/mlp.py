"""A plain multilayer perceptron."""

import math
from collections.abc import Sequence

from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers fc1, fc2, ... with ReLU between them; inputs of any shape are flattened.

    Args:
        input_shape: of one sample.
        num_classes: outputs.
        widths: units of each hidden layer; none at all makes a linear classifier. None means
            `depth` layers of `width`.
        width: units of every hidden layer, where `widths` is None.
        depth: number of hidden layers, where `widths` is None.

    Raises:
        ValueError: for a size that is not positive, naming it.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        widths: Sequence[int] | None,
        width: int | None = None,
        depth: int | None = None,
    ) -> None:
        super().__init__()
        if widths is None:
            if width is None or depth is None or depth < 0:
                raise ValueError(
                    "without widths, width and depth (0 or more) must be given, "
                    f"got width={width} depth={depth}"
                )
            widths = [width] * depth
        sizes = [math.prod(input_shape), *widths, num_classes]
        if min(sizes) < 1:
            raise ValueError(
                "input_shape, widths and num_classes must be positive, "
                f"got {tuple(input_shape)}, {list(widths)} and {num_classes}"
            )
        self.names = [f"fc{i}" for i in range(1, len(sizes))]
        for name, inputs, outputs in zip(self.names, sizes[:-1], sizes[1:], strict=True):
            self.add_module(name, nn.Linear(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of inputs (N, *input_shape)."""
        x = x.flatten(1)
        for name in self.names[:-1]:
            x = self.get_submodule(name)(x).relu()
        logits: Tensor = self.get_submodule(self.names[-1])(x)
        return logits
