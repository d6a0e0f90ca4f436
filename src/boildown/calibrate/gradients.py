"""Gradients on calibration data, with one batch's activations in memory at a time.

`gradients` is the one engine: it differentiates whatever scalar a batch is made into, a loss or
`projected` outputs, with respect to any of the model's parameters. Inside `watching` the same
backward pass also hands over how the scalar answers to what layers put out.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from boildown.calibrate.batches import Data, batches_of
from boildown.calibrate.tracing import Watch
from boildown.forward import evaluating, first_input, hooks, tensors_of

Batch = TypeVar("Batch")
TOGETHER = 32  # samples whose gradients are added up: the fewer, the surer their size is


def parts_of(data: Data) -> Iterator[Tensor]:
    """The inputs, in batches small enough to tell how large a sample's gradient is.

    Raises:
        CalibrationError: as `boildown.calibrate.batches.batches_of`.
    """
    return (part for inputs in batches_of(data) for part in inputs.split(TOGETHER))


def gradients(
    model: nn.Module,
    batches: Iterable[Batch],
    parameters: Iterable[str],
    objective: Callable[[Batch], Tensor],
) -> Iterator[dict[str, Tensor]]:
    """What a scalar's gradients are, batch by batch.

    Evaluation mode; frozen parameters have gradients too; the parameters' `grad`, and whatever else
    the model holds, stay as they are. Squared and averaged, with a loss for the scalar, they say
    which weights the loss notices.

    Args:
        model: what `objective` passes a batch through.
        batches: whatever `objective` takes.
        parameters: dotted paths.
        objective: batch -> scalar, without randomness of its own.

    Yields:
        parameter -> gradient, of its shape; without those that do not move the scalar.
    """
    wanted = {name: model.get_parameter(name) for name in parameters}
    for batch in batches:
        with evaluating(model), torch.enable_grad(), free(wanted.values()):
            said = objective(batch)
            found: tuple[Tensor | None, ...] = ()
            if said.requires_grad and wanted:
                found = torch.autograd.grad(said, list(wanted.values()), allow_unused=True)
        yield {
            name: gradient
            for name, gradient in zip(wanted, found, strict=False)
            if gradient is not None
        }


def projected(output: Any, g: torch.Generator) -> Tensor:
    """V . output, whose gradients' second moment is the Gauss-Newton matrix of the outputs.

    v is drawn from N(0, I), less its mean over the classes, as that changes no probability; no
    targets are needed. The classes are the last axis of outputs (N, C) and (N, T, C), the second of
    images (N, C, H, W). Outputs that are no logits are centred alike: what moves all of them
    together counts for nothing.

    Args:
        output: of a model: tensors, of which those count that have gradients.
        g: a CPU generator for v.

    Returns:
        A scalar; one without gradients if no tensor has any.

    Source: Martens & Grosse 2015 (K-FAC), https://arxiv.org/abs/1503.05671
    """
    said = [t for t in tensors_of(output) if t.requires_grad]
    drawn = [_direction(t, g) for t in said]
    terms = [(t * v).sum() for t, v in zip(said, drawn, strict=True)]
    return sum(terms[1:], terms[0]) if terms else torch.zeros(())


def _direction(output: Tensor, g: torch.Generator) -> Tensor:
    v = torch.randn(output.shape, generator=g)
    classes = -1 if output.ndim < 4 else 1
    if output.ndim > 1 and output.shape[classes] > 1:
        v -= v.mean(classes, keepdim=True)
    return v.to(output)


@contextmanager
def watching(
    model: nn.Module,
    layers: Iterable[str],
    take: Callable[[str, Tensor, Tensor], None],
    *,
    behind_relu: bool = False,
) -> Iterator[set[str]]:
    """See the inputs of layers and, in a backward pass, the gradients of their outputs.

    Args:
        model: what is passed through, forward and backward, inside the block.
        layers: dotted paths.
        take: called in the backward pass, the last call of a layer first, with layer, inputs and
            gradient, as the layer was given them and of its outputs' shape.
        behind_relu: whether the gradient is that of the ReLU where one is taken of the outputs
            directly: not zero where the ReLU passes nothing.

    Yields:
        The layers that were called, filled as they are.
    """
    reached: set[str] = set()
    newest: dict[str, tuple[Tensor, RemovableHandle]] = {}

    def after(name: str, module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
        reached.add(name)
        if output.requires_grad:  # hooked here, before it is changed in place
            inputs = first_input(args, kwargs).detach()
            newest[name] = inputs, output.register_hook(partial(learn, name, inputs))
        if watch is not None:
            watch.after_layer(name, module, args, output)

    def relued(name: str, output: Tensor) -> None:
        if name in newest:
            inputs, handle = newest[name]
            handle.remove()
            newest[name] = inputs, output.register_hook(partial(learn, name, inputs))

    def learn(name: str, inputs: Tensor, gradient: Tensor) -> None:
        take(name, inputs, gradient.detach())

    watch = Watch(relued) if behind_relu else None
    with hooks() as handles:
        for name in layers:
            module = model.get_submodule(name)
            handles.append(module.register_forward_hook(partial(after, name), with_kwargs=True))
        if watch is None:
            yield reached
        else:
            with watch:
                yield reached


@contextmanager
def free(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Let frozen parameters have gradients inside the block."""
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
