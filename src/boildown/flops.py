"""What a training step costs in floating-point operations: counted once, on the meta device."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def training_flops(model: nn.Module, inputs: Tensor) -> int:
    """Operations of one forward and backward pass, a multiply-add counted as two.

    Nothing is computed: the pass runs on the meta device, where torch's counter also sees
    attention, which it misses on the CPU; attention counts in full, whether causal or not, and
    without the recomputation of a fused backward pass, so a transformer of N weights and depth L
    takes 6 N + 12 L width context operations per token (Chowdhery et al. 2022, appendix B,
    https://arxiv.org/abs/2204.02311). The gradient with respect to `inputs` is not computed in
    training and not counted. Neither the model nor any random generator is changed.

    Args:
        model: any module whose forward takes `inputs` alone.
        inputs: (batch, ...) tensor; only its shape and dtype matter.

    Returns:
        The number of operations.

    Raises:
        Whatever the forward pass raises on meta tensors.
    """
    tensors = {
        name: torch.empty_like(tensor, device="meta", requires_grad=tensor.requires_grad)
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]
    }

    def loss() -> Tensor:
        output = torch.func.functional_call(model, tensors, (inputs.to("meta"),))
        return (output if isinstance(output, Tensor) else output[0]).float().sum()

    return _count(lambda: loss().backward())


def _count(work: Callable[[], object]) -> int:
    own = {torch.ops.aten.convolution_backward: _convolution_backward}
    counter = FlopCounterMode(display=False, custom_mapping=own)
    with torch.enable_grad(), counter:
        work()
    return int(counter.get_total_flops())


def _convolution_backward(
    grad: Sequence[int],
    inputs: Sequence[int],
    weight: Sequence[int],
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    wanted: Sequence[bool],
    **_: Any,
) -> int:
    """Each gradient costs what the forward pass did; torch counts grouped ones several times."""
    places = inputs if transposed else grad
    forward = 2 * places[0] * math.prod(places[2:]) * math.prod(weight)
    return forward * sum(wanted[:2])
