"""What a training step costs in floating-point operations: counted once, on the meta device."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def training_flops(model: nn.Module, inputs: Tensor) -> int:
    """Operations of one forward and backward pass, a multiply-add counted as two.

    Nothing is computed: the pass runs on the meta device, where torch's counter also sees
    attention, which it misses on the CPU. The gradient with respect to `inputs` is not computed in
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
    counter = FlopCounterMode(display=False)
    with torch.enable_grad(), counter:
        work()
    return int(counter.get_total_flops())
