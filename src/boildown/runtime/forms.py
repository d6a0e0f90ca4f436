"""The forms that a layer may be computed in. Each keeps what it needs of the weight and no more.

A form is called with the layer's input and bias; `dense()` gives back the weight as it was. Its
tensors are buffers that no state_dict holds: what a checkpoint stores is the layer's business.
"""

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.quantize.activations import InputGrid


@dataclass(frozen=True)
class Window:
    """How a convolution moves over an image: rows, columns."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] | str
    dilation: tuple[int, int]
    groups: int

    @classmethod
    def of(cls, layer: nn.Module) -> "Window | None":
        """The window of a convolution; None for a Linear."""
        if not isinstance(layer, nn.Conv2d):
            return None
        two: Any = layer
        return cls(two.kernel_size, two.stride, two.padding, two.dilation, two.groups)

    @property
    def is_a_pixel(self) -> bool:
        """Whether outputs are of one pixel each, all of them in their place."""
        return self.kernel == self.stride == (1, 1) and self.padding in (0, (0, 0), "valid", "same")

    def apply(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution with a weight (outputs, inputs / groups, rows, columns)."""
        return F.conv2d(inputs, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class Form(nn.Module, ABC):
    """What computes a layer.

    Attributes:
        window: of a convolution; None for a Linear.
        apart: what its outputs may differ from the layer's by, beside rounding.
    """

    apart = 0.0

    def __init__(self, window: Window | None) -> None:
        super().__init__()
        self.window = window

    def keep(self, **tensors: Tensor) -> None:
        """Hold tensors as buffers of no state_dict."""
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)

    @abstractmethod
    def forward(self, inputs: Tensor, bias: Tensor | None, columns: int) -> Tensor:
        """The layer's output.

        Args:
            inputs: (..., inputs), or (batch, channels, rows, columns).
            bias: (outputs,).
            columns: rows of the input that one product takes, for forms that have a choice.
        """

    @abstractmethod
    def dense(self) -> Tensor:
        """The layer's weight."""

    @property
    def bytes(self) -> int:
        """What its tensors take."""
        return sum(tensor.nbytes for tensor in self.buffers())


class Dense(Form):
    """The layer as it was."""

    weight: Tensor

    def __init__(
        self, weight: Tensor, window: Window | None, grid: InputGrid | None = None
    ) -> None:
        """With what the layer rounds its inputs to, if it does."""
        super().__init__(window)
        self.keep(weight=weight)
        self.grid = grid

    def forward(self, inputs: Tensor, bias: Tensor | None, columns: int) -> Tensor:
        if self.grid is not None:
            inputs = self.grid.plainly(inputs)
        weight = self._buffers["weight"]  # a look-up of a module's is slow beside a small layer
        assert weight is not None
        if self.window is None:
            return F.linear(inputs, weight, bias)
        return self.window.apply(inputs, weight, bias)

    def dense(self) -> Tensor:
        return self.weight


class Sparse(Form):
    """Compressed rows with 32-bit indices: the weight as a matrix (outputs, inputs per output)."""

    crow: Tensor
    col: Tensor
    values: Tensor

    def __init__(self, weight: Tensor, window: Window | None) -> None:
        super().__init__(window)
        self.shape = tuple(weight.shape)
        flat = weight.flatten(1)
        there = flat.ne(0)
        crow = torch.zeros(len(flat) + 1, dtype=torch.int32, device=flat.device)
        crow[1:] = there.sum(1).cumsum(0)
        self.keep(crow=crow, col=there.nonzero()[:, 1].int(), values=flat[there])
        self._matrix: Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_matrix": None}  # torch cannot copy such a tensor

    def _apply(self, fn: Any, recurse: bool = True) -> "Sparse":
        self._matrix = None
        return cast("Sparse", super()._apply(fn, recurse))  # type: ignore[no-untyped-call]

    @property
    def matrix(self) -> Tensor:
        """The weight (outputs, inputs per output) as torch's sparse tensor, on the same memory."""
        if self._matrix is None:
            size = (self.shape[0], torch.Size(self.shape[1:]).numel())
            with torch.inference_mode(False), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
                self._matrix = torch.sparse_csr_tensor(
                    self.crow, self.col, self.values, size, check_invariants=True
                )
        return self._matrix

    def forward(self, inputs: Tensor, bias: Tensor | None, columns: int) -> Tensor:
        if self.window is not None:
            return self._convolved(inputs, bias, columns, self.window)
        outputs, across = self.shape
        if inputs.numel() == across:  # one row, where what is around the product counts
            made = self._of_one(inputs.reshape(across), bias)
            return made.view(*inputs.shape[:-1], outputs)
        flat = inputs.reshape(-1, across)
        if not columns or len(flat) <= columns:
            return self._product(flat.T, bias).T.contiguous().view(*inputs.shape[:-1], outputs)
        made = flat.new_empty(len(flat), outputs)
        for start in range(0, len(flat), columns):
            end = start + columns
            made[start:end] = self._product(flat[start:end].T, bias).T
        return made.view(*inputs.shape[:-1], outputs)

    def _of_one(self, vector: Tensor, bias: Tensor | None) -> Tensor:
        return self.matrix.mv(vector) if bias is None else torch.addmv(bias, self.matrix, vector)

    def _product(self, given: Tensor, bias: Tensor | None) -> Tensor:
        """(outputs, n) of (inputs, n)."""
        given = given.contiguous()
        if bias is None:
            return self.matrix @ given
        return torch.addmm(bias.unsqueeze(1), self.matrix, given)

    def _convolved(
        self, inputs: Tensor, bias: Tensor | None, columns: int, window: Window
    ) -> Tensor:
        """Image by image, each unfolded into a matrix of its patches."""
        images = inputs if inputs.ndim == 4 else inputs.unsqueeze(0)
        height, width = (
            (size + 2 * pad - step * (side - 1) - 1) // stride + 1
            for size, pad, step, side, stride in zip(
                images.shape[2:],
                _padding(window),
                window.dilation,
                window.kernel,
                window.stride,
                strict=True,
            )
        )
        made = images.new_empty(len(images), self.shape[0], height * width)
        for image, out in zip(images, made, strict=True):
            patches = (
                image.flatten(1)
                if window.is_a_pixel
                else F.unfold(
                    image, window.kernel, window.dilation, _padding(window), window.stride
                )
            )
            count = patches.shape[1]
            for start in range(0, count, columns or count):
                end = min(count, start + (columns or count))
                out[:, start:end] = self._product(patches[:, start:end], bias)
        made = made.view(len(images), self.shape[0], height, width)
        return made if inputs.ndim == 4 else made[0]

    def dense(self) -> Tensor:
        return self.matrix.to_dense().view(self.shape)


def _padding(window: Window) -> tuple[int, int]:
    """In pixels, of a window whose padding is not a word that means any."""
    return (0, 0) if isinstance(window.padding, str) else window.padding


class Shrunk(Form):
    """Without the outputs and inputs whose weights are all zero; outputs go back to their places.

    Of a Linear they are features, of a convolution channels.
    """

    weight: Tensor
    outputs: Tensor
    inputs: Tensor

    def __init__(self, weight: Tensor, window: Window | None) -> None:
        super().__init__(window)
        self.shape = tuple(weight.shape)
        outputs, inputs = live(weight)
        self.keep(
            weight=weight[outputs][:, inputs].contiguous(),
            outputs=outputs.nonzero().flatten(),
            inputs=inputs.nonzero().flatten(),
        )

    def forward(self, inputs: Tensor, bias: Tensor | None, columns: int) -> Tensor:
        axis = -1 if self.window is None else -3
        if len(self.inputs) < self.shape[1]:
            inputs = inputs.index_select(axis, self.inputs)
        whole = len(self.outputs) == self.shape[0]
        own = bias if bias is None or whole else bias[self.outputs]
        if self.window is None:
            small = F.linear(inputs, self.weight, own)
        else:
            small = self.window.apply(inputs, self.weight, own)
        if whole:
            return small
        shape = list(small.shape)
        shape[axis] = self.shape[0]
        if bias is None:
            made = small.new_zeros(shape)
        else:
            along = bias if axis == -1 else bias[:, None, None]
            made = along.expand(shape).contiguous()
        return made.index_copy_(small.ndim + axis, self.outputs, small)

    def dense(self) -> Tensor:
        made = self.weight.new_zeros(self.shape)
        made[self.outputs[:, None], self.inputs] = self.weight
        return made


def live(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Which outputs (m,) and inputs (n,) of a weight (m, n, ...) have any that is not zero."""
    there = weight.flatten(2).ne(0).any(2) if weight.ndim > 2 else weight.ne(0)
    return there.any(1), there.any(0)


class Factored(Form):
    """Two thin layers, of a weight whose rank is exactly low."""

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, window: Window | None, u: Tensor, v: Tensor) -> None:
        """With (outputs, rank) and (rank, inputs per output)."""
        super().__init__(window)
        self.shape = tuple(weight.shape)
        if window is not None:
            u, v = u[:, :, None, None], v.view(-1, *weight.shape[1:])
        self.keep(u=u.contiguous(), v=v.contiguous())

    def forward(self, inputs: Tensor, bias: Tensor | None, columns: int) -> Tensor:
        if self.window is None:
            return F.linear(F.linear(inputs, self.v), self.u, bias)
        return F.conv2d(self.window.apply(inputs, self.v, None), self.u, bias)

    def dense(self) -> Tensor:
        return (self.u.flatten(1) @ self.v.flatten(1)).view(self.shape)


class TwoOfFour(Form):
    """At most two of any four inputs in a row are not zero: the form CUDA's tensor cores take.

    By torch's own tensor: its product called directly, `torch._cslt_sparse_mm` without an
    algorithm, took 0.3 s on an H200, and through the tensor 1 ms.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__(None)
        from torch.sparse import to_sparse_semi_structured

        self.keep(weight=to_sparse_semi_structured(weight))

    def forward(self, inputs: Tensor, bias: Tensor | None, columns: int) -> Tensor:
        return F.linear(inputs, cast("Tensor", self.weight), bias)

    def dense(self) -> Tensor:
        return cast("Tensor", self.weight).to_dense()

    @property
    def bytes(self) -> int:
        """Half of the values, and two bits for the place of each."""
        weight = cast("Tensor", self.weight)
        return int(weight.numel() / 2 * (weight.element_size() + 0.25))


def is_two_of_four(weight: Tensor) -> bool:
    """Whether each four inputs of a row, from the first on, have at most two nonzeros."""
    if weight.ndim != 2 or weight.shape[1] % 4:
        return False
    return bool(weight.unflatten(1, (-1, 4)).ne(0).sum(2).le(2).all())
