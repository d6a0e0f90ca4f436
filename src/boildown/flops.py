"""What a training step costs in floating-point operations, counted once.

The pass that is counted runs on the meta device, where nothing is computed. A forward pass that
needs values (`.item()`, a constant kept on the CPU) runs on the model's device instead, with copies
of the model's tensors.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from boildown.forward import hooks

T = TypeVar("T")
Work = Callable[[dict[str, Tensor], Tensor], T]


def training_flops(model: nn.Module, inputs: Tensor) -> int:
    """Operations of one forward and backward pass, a multiply-add counted as two.

    Attention counts in full, whether causal or not, and without the recomputation of a fused
    backward pass. So a transformer of N weights and depth L takes 6 N + 12 L width context
    operations per token (Chowdhery et al. 2022, appendix B, https://arxiv.org/abs/2204.02311). The
    gradient of `inputs` is not counted, since training does not compute it. The model and the
    random generators are left as they were, what a forward pass keeps in attributes included.

    Args:
        model: any module whose forward takes `inputs` alone.
        inputs: (batch, ...) tensor; only its shape and dtype matter, if the forward pass does not
            look at values.

    Returns:
        The number of operations.

    Raises:
        Exception: whatever the forward pass raises.
    """

    def work(tensors: dict[str, Tensor], inputs: Tensor) -> int:
        with torch.enable_grad():
            return _count(lambda: _loss(model, tensors, inputs).backward())

    return _run(model, inputs, work)


def forward_flops(model: nn.Module, inputs: Tensor) -> int:
    """Operations of one forward pass, a multiply-add counted as two; see `training_flops`.

    Args:
        model: any module whose forward takes `inputs` alone.
        inputs: (batch, ...) tensor; only its shape and dtype matter, if the forward pass does not
            look at values.

    Returns:
        The number of operations.

    Raises:
        Exception: whatever the forward pass raises.
    """

    def work(tensors: dict[str, Tensor], inputs: Tensor) -> int:
        with torch.no_grad():
            return _count(lambda: _call(model, tensors, inputs))

    return _run(model, inputs, work)


def flops_by_weight(model: nn.Module, inputs: Tensor) -> dict[str, int]:
    """Of the operations of `training_flops`, those that belong to each matrix or kernel.

    They are the layer's forward product, the gradient of its inputs where that is computed, and the
    gradient of the weights: the operations that would scale with the number of weights if zeros
    cost nothing. What multiplies activations alone (attention scores) belongs to no weight, and
    what multiplies by something computed from a weight is not recognised.

    Args:
        model: any module whose forward takes `inputs` alone.
        inputs: (batch, ...) tensor; only its shape and dtype matter, if the forward pass does not
            look at values.

    Returns:
        parameter name -> number of operations, 0 left out; a tied weight under its first name.

    Raises:
        Exception: whatever the forward pass raises.
    """

    def work(tensors: dict[str, Tensor], inputs: Tensor) -> dict[str, int]:
        matrices = {n: tensors[n] for n, p in model.named_parameters() if p.ndim > 1}
        counter = _ByWeight(matrices)
        with torch.enable_grad(), counter:
            loss = _loss(model, tensors, inputs)
            counter.in_forward = False
            loss.backward()
        return dict(counter.flops)

    return _run(model, inputs, work)


def forward_flops_by_weight(model: nn.Module, inputs: Tensor) -> dict[str, int]:
    """Of the operations of `forward_flops`, those that belong to each matrix or kernel.

    Divided by the number of the weight's entries they are what one entry costs: twice the
    positions at which it is applied. See `flops_by_weight`.

    Args:
        model: any module whose forward takes `inputs` alone.
        inputs: (batch, ...) tensor; only its shape and dtype matter, if the forward pass does not
            look at values.

    Returns:
        parameter name -> number of operations, 0 left out; a tied weight under its first name.

    Raises:
        Exception: whatever the forward pass raises.
    """

    def work(tensors: dict[str, Tensor], inputs: Tensor) -> dict[str, int]:
        matrices = {n: tensors[n] for n, p in model.named_parameters() if p.ndim > 1}
        counter = _ByWeight(matrices)
        counter.in_forward = False  # each product is booked once
        with torch.no_grad(), counter:
            _call(model, tensors, inputs)
        return dict(counter.flops)

    return _run(model, inputs, work)


def layer_positions(model: nn.Module, inputs: Tensor) -> dict[str, int]:
    """How often each layer with a weight is applied to one sample: pixels of a map, symbols.

    Args:
        model: any module whose forward takes `inputs` alone.
        inputs: (batch, ...) tensor; only its shape and dtype matter, if the forward pass does not
            look at values.

    Returns:
        layer -> number of positions of its output, summed over its uses; 0 left out.

    Raises:
        Exception: whatever the forward pass raises.
    """
    found: Counter[str] = Counter()

    def count(name: str, layer: nn.Module, _: Any, output: Tensor) -> None:
        axis = 1 if weight_is_kernel(layer) else -1
        found[name] += output.numel() // output.shape[axis] // len(inputs)

    def work(tensors: dict[str, Tensor], inputs: Tensor) -> dict[str, int]:
        found.clear()
        with torch.no_grad():
            _call(model, tensors, inputs)
        return dict(found)

    with hooks() as handles:
        for name, module in model.named_modules():
            weight = getattr(module, "weight", None)
            if isinstance(weight, nn.Parameter) and weight.ndim > 1:
                handles.append(module.register_forward_hook(partial(count, name)))
        return _run(model, inputs, work)


def weight_is_kernel(layer: nn.Module) -> bool:
    """Whether a layer is a convolution, whose outputs have their channels on axis 1."""
    return isinstance(layer, nn.modules.conv._ConvNd)


def credited(total: int, by_weight: Mapping[str, int], density: Mapping[str, float]) -> int:
    """A step's operations if those with weights that are zero cost nothing.

    Forward product, gradient of the inputs and gradient of the weights all scale with the density:
    the gradient of a weight that is held at zero is not needed.

    Args:
        total: all operations of the step.
        by_weight: those of each weight, from `flops_by_weight`.
        density: weight -> fraction that is not held at zero, in [0, 1]; 1 where absent.

    Returns:
        The number of operations, rounded.
    """
    saved = sum(by_weight.get(name, 0) * (1.0 - kept) for name, kept in density.items())
    return round(total - saved)


def _run(model: nn.Module, inputs: Tensor, work: Work[T]) -> T:
    """Do the work on stand-ins for the model's tensors and the inputs."""
    try:
        with _untouched(model), torch.device("meta"):  # tensors that the pass makes, too
            return work(_tensors(model, _blank), inputs.to("meta"))
    except RuntimeError:  # the forward pass needs values, which meta tensors do not have
        pass
    first = next(model.parameters(), torch.empty(0))
    given = torch.zeros_like(inputs, device=first.device) if inputs.is_meta else inputs
    devices = [first.device] if first.is_cuda else []
    with _untouched(model), decomposed(), torch.random.fork_rng(devices=devices):
        return work(_tensors(model, _copied), given.to(first.device))


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Undo what a pass changes in the modules' attributes, and in lists and dicts there."""
    attributes = [vars(module) for module in model.modules()]
    inside = [v for held in attributes for v in held.values() if type(v) in (list, dict, set)]
    kept = [(container, container.copy()) for container in (*inside, *attributes)]
    try:
        yield
    finally:
        for container, before in kept:
            container.clear()
            if isinstance(container, list):
                container.extend(before)
            else:
                container.update(before)


def _tensors(model: nn.Module, stand_in: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Stand-ins for a model's parameters and buffers, each module's under its first name."""
    made: dict[int, Tensor] = {}
    found = {}
    for path, module in model.named_modules():
        for own, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is not None:
                if id(tensor) not in made:
                    made[id(tensor)] = stand_in(tensor)
                found[f"{path}.{own}" if path else own] = made[id(tensor)]
    return found


def _blank(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta", requires_grad=tensor.requires_grad)


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


@contextmanager
def decomposed() -> Iterator[None]:
    """Compute attention as separate products, since torch's counter misses the fused kernels."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _call(model: nn.Module, tensors: dict[str, Tensor], inputs: Tensor) -> Any:
    # `tensors` has an entry for each name of a tied tensor: were functional_call to tie weights as
    # well, it would set and restore a module that stands in two places twice
    return torch.func.functional_call(model, tensors, (inputs,), tie_weights=False)


def _loss(model: nn.Module, tensors: dict[str, Tensor], inputs: Tensor) -> Tensor:
    output = _call(model, tensors, inputs)
    while not isinstance(output, Tensor):
        output = next(iter(output.values())) if isinstance(output, Mapping) else output[0]
    return output.float().sum()


def _count(work: Callable[[], object]) -> int:
    own = {torch.ops.aten.convolution_backward: _convolution_backward}
    counter = FlopCounterMode(display=False, custom_mapping=own)
    with counter:
        work()
    return int(counter.get_total_flops())


class _ByWeight(TorchDispatchMode):
    """Book each operation that reads a weight, or a view of one, to that weight."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = {_storage(tensor): name for name, tensor in weights.items()}
        self.trained = {name for name, tensor in weights.items() if tensor.requires_grad}
        self.flops: Counter[str] = Counter()
        self.in_forward = True

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
            found = [self.names[key] for key in map(_storage, tensors) if key in self.names]
            if found:
                if func._overloadpacket is torch.ops.aten.convolution_backward:
                    cost = _convolution_backward(*(getattr(a, "shape", a) for a in args))
                else:
                    cost = int(formula(*args, **kwargs, out_val=out))
                # the product for the weights' gradient reads no weight, so it is booked with the
                # forward product; convolution_backward, which computes both gradients, reads it
                own = self.in_forward and found[0] in self.trained
                times = 2 if own and "convolution" not in func.__name__ else 1
                self.flops[found[0]] += times * cost
        return out


def _storage(tensor: Tensor) -> int:
    """What a tensor and its views have in common, on the meta device too."""
    return int(tensor.untyped_storage()._cdata)


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
