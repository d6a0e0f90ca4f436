"""Layers whose weights and inputs lie on grids, computed in whole numbers by oneDNN or FBGEMM."""

import warnings
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor

from boildown.quantize.activations import InputGrid
from boildown.quantize.grid import limits
from boildown.quantize.integers import Integers, may_clip
from boildown.runtime.forms import Form, Window


class Whole(Form):
    """Bytes times bytes, summed in 32 bits, made floats by the steps of both.

    Attributes:
        codes: int8, of the weight's shape.
        steps: (outputs,).
    """

    codes: Tensor
    steps: Tensor

    def __init__(self, integers: Integers, grid: InputGrid, window: Window | None) -> None:
        super().__init__(window)
        self.keep(codes=integers.codes, steps=integers.steps[:, 0].contiguous())
        self.step, self.zero, self.bits = float(grid.step.detach()), grid.zero, grid.bits
        self.apart = 2.0 * self.step * float(self.dense().abs().max())
        self._packed: dict[Any, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_packed": {}}  # a layout of the kernels' own, not to be copied

    def _apply(self, fn: Any, recurse: bool = True) -> "Whole":
        self._packed = {}
        return cast("Whole", super()._apply(fn, recurse))  # type: ignore[no-untyped-call]

    def within(self, inputs: Tensor) -> Tensor:
        """Inputs clipped to codes of fewer than 8 bits, beyond which the kernels would not."""
        if self.bits == 8:
            return inputs
        low, high = limits(self.bits, signed=False)
        return inputs.clamp((low - self.zero) * self.step, (high - self.zero) * self.step)

    def dense(self) -> Tensor:
        shape = (-1, *[1] * (self.codes.ndim - 1))
        return self.codes.float() * self.steps.view(shape)


class Fbgemm(Whole):
    """A linear layer by FBGEMM, which rounds the inputs within the same operator."""

    def forward(self, inputs: Tensor, bias: Tensor | None, columns: int) -> Tensor:
        packed = self._packed.get("")
        if packed is None:
            packed = self._packed[""] = self._pack(bias)
        own: Any = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        return cast(Tensor, own(self.within(inputs), self.step, self.zero, packed))

    def _pack(self, bias: Tensor | None) -> Any:
        zeros = torch.zeros(len(self.steps), dtype=torch.long)
        given = torch._make_per_channel_quantized_tensor(self.codes, self.steps.double(), zeros, 0)
        before = torch.backends.quantized.engine
        torch.backends.quantized.engine = "fbgemm"
        try:
            return torch.ops.quantized.linear_prepack(given, bias)
        finally:
            torch.backends.quantized.engine = before


class Integer(Whole):
    """A linear layer or a convolution by oneDNN."""

    def forward(self, inputs: Tensor, bias: Tensor | None, columns: int) -> Tensor:
        if self.window is not None and inputs.ndim == 3:
            return self.forward(inputs.unsqueeze(0), bias, columns).squeeze(0)
        own: Any = torch.ops.onednn
        inputs = self.within(inputs)
        codes = torch.quantize_per_tensor(inputs, self.step, self.zero, torch.quint8).int_repr()
        steps = self._buffers["steps"]
        grids = self.step, self.zero, self._weight(inputs.shape), steps, None
        plain: tuple[Any, ...] = 1.0, 0, torch.float32, "none", [], ""
        if self.window is None:
            return cast(Tensor, own.qlinear_pointwise(codes, *grids, bias, *plain))
        moves = _moves(self.window)
        return cast(Tensor, own.qconv2d_pointwise(codes, *grids, bias, *moves, *plain))

    def _weight(self, shape: torch.Size) -> Tensor:
        """The codes as oneDNN likes them for inputs of a shape."""
        packed: Tensor | None = self._packed.get(shape)
        if packed is None:
            own: Any = torch.ops.onednn
            if self.window is None:
                flat = [shape[:-1].numel(), shape[-1]]
                packed = cast(Tensor, own.qlinear_prepack(self.codes, flat))
            else:
                grids = self.steps, self.step, self.zero
                moves = _moves(self.window)
                packed = cast(Tensor, own.qconv_prepack(self.codes, *grids, *moves, list(shape)))
            if len(self._packed) >= KEPT:
                self._packed.pop(next(iter(self._packed)))
            self._packed[shape] = packed
        return packed


KEPT = 4  # shapes of inputs that a layer keeps packed weights for


def _moves(window: Window) -> tuple[list[int], list[int], list[int], int]:
    """Stride, padding, dilation and groups, as oneDNN's operators take them."""
    padding = [0, 0] if isinstance(window.padding, str) else list(window.padding)
    return list(window.stride), padding, list(window.dilation), window.groups


def whole_forms(
    integers: Integers | None, grid: InputGrid, window: Window | None, device: torch.device
) -> dict[str, Form]:
    """The forms of a layer in whole numbers that compute the same on this machine."""
    if integers is None or integers.steps.shape[1] > 1 or integers.zeros.any():
        return {}
    if not hasattr(torch, "quantize_per_tensor") or device.type != "cpu":
        return {}
    if window is not None and window.padding == "same":
        return {}
    largest = limits(grid.bits, signed=False)[1]
    kinds: dict[str, type[Whole]] = {"int8": Integer}
    if window is None and "fbgemm" in torch.backends.quantized.supported_engines:
        kinds["fbgemm"] = Fbgemm
    return {
        name: kind(integers, grid, window)
        for name, kind in kinds.items()
        if not (clips(kind) and may_clip(integers, largest))
    }


@cache
def clips(kind: type[Whole] = Integer) -> bool:
    """Whether kernels add products of bytes in 16 bits, as with AVX2 without VNNI: by trying."""
    codes = torch.full((64, 64), 127, dtype=torch.int8)
    one = Integers(codes, torch.ones(64, 1), torch.zeros(64, 1, dtype=torch.int8))
    form = kind(one, InputGrid(torch.tensor(1.0), 0, 8), None)
    with warnings.catch_warnings():  # torch may drop its tensors of bytes, once
        warnings.simplefilter("ignore")
        found = form(torch.full((16, 64), 255.0), None, 0)
    return bool((found != 64 * 127 * 255).any())
