"""Labels carried through a forward pass, operation by operation, as the pass is made.

Whatever Python a forward pass is written in, below it are the operations of ATen, which a dispatch
mode sees: no branch, no dictionary of outputs and no mixing of cut and joined channels is hidden
from it. Operations that only move elements move the labels alike. Those that compute are of a few
kinds, each with a rule here; through one that has none, nothing can be removed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from boildown.forward import tensors_of
from boildown.structure.labels import Labels, Operand, distinct, elementwise, varying
from boildown.structure.narrow_norms import can_narrow

aten = torch.ops.aten


@dataclass
class Traced:
    """What is known of one tensor.

    Attributes:
        tensor: held, so that its identity is not used again.
        slots: see `boildown.structure.labels`.
        parameter: whether it comes of parameters alone.
    """

    tensor: Tensor
    slots: list[Tensor] = field(default_factory=list)
    parameter: bool = False


class Propagation(TorchDispatchMode):
    """See every operation of a forward pass, and carry the labels through it.

    Args:
        model: whose parameters, and statistics of batch-norms, have labels along each axis.
        labels: are united.
        axes: name of a parameter or buffer -> its labels along each axis; found ones are added.
        padding: the labels of what is padded, pass after pass the same.
    """

    def __init__(
        self,
        model: nn.Module,
        labels: Labels,
        axes: dict[str, list[Tensor]],
        padding: list[Tensor],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.labels, self.axes, self.padding = labels, axes, padding
        self.names = {id(p): n for n, p in reversed(list(model.named_parameters()))}
        self.buffers = {id(b): n for n, b in reversed(list(model.named_buffers()))}
        self.traced: dict[int, Traced] = {}
        self.splits: list[Tensor] = []  # slots of which what is left must be rectangular
        self.inside: list[nn.Module] = []  # the modules that are computing now
        self.silent = 0  # depth in a module whose rule is its own
        self._paddings = 0

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        known = [t for t in tensors_of((args, kwargs)) if self.slots(t)]
        if known and not self.silent:
            self._carry(func, args, kwargs, out, known)
        return out

    def slots(self, tensor: Any) -> list[Tensor]:
        """The slots of a tensor, resolved, without those that are constant."""
        if not isinstance(tensor, Tensor):
            return []
        if id(tensor) in self.names and id(tensor) not in self.traced:
            self.traced[id(tensor)] = Traced(tensor, self._along_axes(tensor, self.names), True)
        found = self.traced.get(id(tensor))
        if found is None:
            return []
        found.slots = distinct([self.labels.resolved(slot) for slot in found.slots])
        return found.slots

    def operand(self, tensor: Tensor) -> Operand:
        return Operand(tensor.shape, self.slots(tensor))

    def put(self, tensor: Tensor, slots: Sequence[Tensor], parameter: bool = False) -> None:
        self.traced[id(tensor)] = Traced(tensor, list(slots), parameter)

    def merge(self, slot: Tensor, axes: Iterable[int]) -> Tensor:
        """The slot, constant along some axes."""
        for axis in axes:
            if slot.shape[axis] > 1:
                self.labels.merge(slot, axis)
        return self.labels.resolved(slot)

    def fix(self, tensors: Iterable[Tensor]) -> None:
        """Let nothing of these tensors be removed."""
        for tensor in tensors:
            for slot in self.slots(tensor):
                self.labels.fix(slot)

    def statistics(self, tensor: Tensor | None) -> None:
        """Give a buffer labels, as parameters have them."""
        if tensor is not None and id(tensor) in self.buffers:
            self.put(tensor, self._along_axes(tensor, self.buffers), True)

    def padded(self, count: int) -> Tensor:
        """Labels of what is padded, (count,)."""
        if self._paddings == len(self.padding):
            self.padding.append(self.labels.fresh(count))
        self._paddings += 1
        return self.padding[self._paddings - 1]

    def must_be_rectangular(self, slot: Tensor) -> None:
        """Remember a slot of which what is left must be the same along each axis for all others."""
        if len(varying(slot)) > 1:
            self.splits.append(slot)

    def normalised(self, tensor: Tensor, norm: nn.Module) -> list[Tensor]:
        """What a norm over the last axis, of a module that can do with fewer, does to labels."""
        axis = tensor.ndim - 1
        other = [  # heads rather than what is inside them
            self.merge(slot, [axis]) if len(varying(slot)) > 1 else slot
            for slot in self.slots(tensor)
        ]
        vectors = [self.operand(p) for p in norm.parameters(recurse=False)]
        return elementwise(self.labels, [Operand(tensor.shape, other), *vectors])

    def _along_axes(self, tensor: Tensor, names: Mapping[int, str]) -> list[Tensor]:
        name = names[id(tensor)]
        if name not in self.axes:
            self.axes[name] = [self.labels.fresh(length) for length in tensor.shape]
        slots = []
        for axis, found in enumerate(self.axes[name]):
            shape = [1] * tensor.ndim
            shape[axis] = -1
            slots.append(self.labels.resolved(found.view(shape)))
        return slots

    def _carry(
        self, func: Any, args: Any, kwargs: Mapping[str, Any], out: Any, known: Sequence[Tensor]
    ) -> None:
        name = func._overloadpacket.__name__
        made = tensors_of(out)
        parameter = all(self.traced[id(t)].parameter for t in known)
        if name in RULES:
            slots = RULES[name](self, args, kwargs, made)
        elif name in SAME:
            slots = [self.slots(known[0]) for _ in made[:1]]
        elif name in MOVES and func is not aten.view.dtype:
            if parameter and name in PICKS:
                self._picked(name, args, kwargs, known[0])
            slots = self._moved(func, args, kwargs, known[0])
            for slot in [s for each in slots for s in each] if name in SPLITS else ():
                self.must_be_rectangular(slot)
            if name == "split":  # into parts of one length, which they stay
                self._parts(args, kwargs, known[0])
        elif torch.Tag.pointwise in func.tags or name in POINTWISE:
            tensors = [t for t in tensors_of((args, kwargs)) if t.ndim]
            slots = [elementwise(self.labels, [self.operand(t) for t in tensors])]
        else:
            self.fix(known)
            return
        for tensor, each in zip(made, slots, strict=False):
            self.put(tensor, each, parameter and name not in RULES)

    def _parts(self, args: Any, kwargs: Mapping[str, Any], tensor: Tensor) -> None:
        axis = (args[2] if len(args) > 2 else kwargs.get("dim", 0)) % tensor.ndim
        for slot in self.slots(tensor):
            if slot.shape[axis] > args[1] and slot.shape[axis] % args[1] == 0:
                self.must_be_rectangular(slot.unflatten(axis, (-1, args[1])))

    def _picked(self, name: str, args: Any, kwargs: Mapping[str, Any], tensor: Tensor) -> None:
        """What is picked of a parameter by number, such as positions, stays as it is."""
        if name == "index":
            axes = [axis for axis, given in enumerate(args[1]) if given is not None]
        else:
            axes = [(args[1] if len(args) > 1 else kwargs.get("dim", 0)) % tensor.ndim]
        for slot in self.slots(tensor):
            if set(axes) & set(varying(slot)):
                self.labels.fix(slot)

    def _moved(
        self, func: Any, args: Any, kwargs: Mapping[str, Any], tensor: Tensor
    ) -> list[list[Tensor]]:
        """The slots of each output of an operation that puts elements elsewhere."""
        found: list[list[Tensor]] = []
        for slot in self.slots(tensor):
            full = slot.expand(tensor.shape)

            def instead(value: Any, full: Tensor = full) -> Any:
                if value is tensor:
                    return full
                return value.cpu() if isinstance(value, Tensor) else value

            if func._overloadpacket.__name__ in VIEWS:  # labels are laid out in another way
                moved = [full.reshape(args[1])]
            else:
                moved = tensors_of(func(*tree_map(instead, args), **tree_map(instead, kwargs)))
            found = found or [[] for _ in moved]
            for each, out in zip(found, moved, strict=True):
                each.append(self.labels.resolved(out))
        return found


Rule = Callable[[Propagation, Any, Mapping[str, Any], Sequence[Tensor]], list[list[Tensor]]]

SAME = {
    *("clone", "detach", "alias", "contiguous", "_to_copy", "lift_fresh", "native_dropout"),
    *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "tril"),
    *("triu", "bernoulli", "bernoulli_", "zero_", "fill_"),
}
VIEWS = {"view", "_unsafe_view", "_reshape_alias"}
SPLITS = VIEWS | {"pixel_shuffle", "pixel_unshuffle"}
PICKS = {"slice", "select", "index", "index_select"}
MOVES = SPLITS | {
    *("permute", "transpose", "t", "slice", "select", "unsqueeze", "squeeze", "expand", "unbind"),
    *("split", "split_with_sizes", "repeat", "roll", "flip", "index_select", "index", "diagonal"),
    *("transpose_", "unsqueeze_", "squeeze_", "t_", "movedim", "swapaxes", "numpy_T"),
}
POINTWISE = {
    *("_prelu_kernel", "copy_", "masked_fill", "masked_fill_", "dropout", "hardswish_"),
    *("hardtanh", "hardtanh_", "hardswish", "hardsigmoid", "hardsigmoid_", "rsub"),
}


def _reduce(net: Propagation, args: Any, kwargs: Mapping[str, Any], made: Any) -> Any:
    """Sums and the like over some axes, or all."""
    tensor = args[0]
    given = args[1] if len(args) > 1 else kwargs.get("dim")
    if given is None or (isinstance(given, list) and not given):
        given = list(range(tensor.ndim))
    axes = [a % tensor.ndim for a in ([given] if isinstance(given, int) else given)]
    found = []
    for slot in net.slots(tensor):
        left = net.merge(slot, axes)
        if made[0].ndim < tensor.ndim:
            left = left[tuple(0 if a in axes else slice(None) for a in range(tensor.ndim))]
        found.append(left)
    return [found for _ in made]


def _along(net: Propagation, args: Any, kwargs: Mapping[str, Any], made: Any) -> Any:
    """Softmax and what else needs all along one axis and keeps it."""
    axis = args[1] if len(args) > 1 else kwargs["dim"]
    return [[net.merge(slot, [axis % args[0].ndim]) for slot in net.slots(args[0])]]


def _pixels(net: Propagation, args: Any, kwargs: Mapping[str, Any], made: Any) -> Any:
    """Pooling and resizing: over all axes behind the channels."""
    batched = 2 if made[0].ndim > 2 else 1
    found = [net.merge(s, range(batched, args[0].ndim)) for s in net.slots(args[0])]
    return [found for _ in made]


def _cat(net: Propagation, args: Any, kwargs: Mapping[str, Any], made: Any) -> Any:
    """Concatenation: labels side by side along the axis, and united along the others."""
    tensors = [t for t in args[0] if t.ndim > 1 or t.numel()]
    axis = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % tensors[0].ndim
    across, along = [], []
    for tensor in tensors:
        slots = net.slots(tensor)
        shape = [*tensor.shape[:axis], 1, *tensor.shape[axis + 1 :]]
        across.append(Operand(shape, [slot for slot in slots if axis not in varying(slot)]))
        along.append(next((slot for slot in slots if axis in varying(slot)), None))
    found = elementwise(net.labels, across)
    if any(slot is not None for slot in along):
        none = torch.zeros([1] * tensors[0].ndim, dtype=torch.long)
        parts = [none if slot is None else slot for slot in along]
        shape = list(torch.broadcast_shapes(*(part.narrow(axis, 0, 1).shape for part in parts)))
        lengths = [[*shape[:axis], t.shape[axis], *shape[axis + 1 :]] for t in tensors]
        joined = torch.cat([p.expand(n) for p, n in zip(parts, lengths, strict=True)], axis)
        found.append(net.labels.resolved(joined))
        net.must_be_rectangular(found[-1])
    return [found]


def _stack(net: Propagation, args: Any, kwargs: Mapping[str, Any], made: Any) -> Any:
    axis = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % made[0].ndim
    found = elementwise(net.labels, [net.operand(tensor) for tensor in args[0]])
    return [[slot.unsqueeze(axis) for slot in found]]


def _pad(net: Propagation, args: Any, kwargs: Mapping[str, Any], made: Any) -> Any:
    """Constants around: they may go too, front and back alike."""
    tensor, amounts = args[0], args[1]
    found = []
    for slot in net.slots(tensor):
        for i in range(len(amounts) // 2):
            axis, (front, back) = tensor.ndim - 1 - i, amounts[2 * i : 2 * i + 2]
            if slot.shape[axis] == 1 or not (front or back):
                continue
            slot = net.merge(slot, [a for a in varying(slot) if a != axis])
            fresh = net.padded(max(front, back, 0))
            shape = [-1 if a == axis else 1 for a in range(tensor.ndim)]
            start, length = max(-front, 0), slot.shape[axis] + min(front, 0) + min(back, 0)
            parts = [fresh[: max(front, 0)].view(shape), slot.narrow(axis, start, length)]
            slot = torch.cat([*parts, fresh[: max(back, 0)].view(shape)], axis)
        found.append(net.labels.resolved(slot))
    return [found]


def _contract(net: Propagation, one: Tensor, other: Tensor) -> list[Tensor]:
    """(..., M, K) times (..., K, N), with the same axes in front."""
    a, b = net.operand(one), net.operand(other)
    last = len(a.shape) - 1
    for slot in a.slots:
        partners = [s for s in b.slots if last - 1 in varying(s)]
        for partner in partners if last in varying(slot) else ():
            net.labels.union(slot.unsqueeze(-1), partner.unsqueeze(-3))
        if last in varying(slot) and not partners:
            net.labels.merge(slot, last)
    for slot in b.slots:
        if last - 1 in varying(slot) and not any(last in varying(s) for s in a.slots):
            net.labels.merge(slot, last - 1)
    left, right = ([net.labels.resolved(s) for s in o.slots] for o in (a, b))
    if not any(net.traced[id(t)].parameter for t in (one, other) if id(t) in net.traced):
        # of what is computed alone, such as queries and keys, sums are scaled by their length
        left = [net.merge(slot, [last]) for slot in left]
        right = [net.merge(slot, [last - 1]) for slot in right]
    rows = Operand([*a.shape[:-1], 1], [s for s in left if last not in varying(s)])
    columns = [s for s in right if last - 1 not in varying(s)]
    return elementwise(net.labels, [rows, Operand([*b.shape[:-2], 1, b.shape[-1]], columns)])


def _product(net: Propagation, args: Any, kwargs: Mapping[str, Any], made: Any) -> Any:
    return [_contract(net, args[0], args[1])]


def _product_and_bias(net: Propagation, args: Any, kwargs: Mapping[str, Any], made: Any) -> Any:
    product = Operand(made[0].shape, _contract(net, args[1], args[2]))
    return [elementwise(net.labels, [product, net.operand(args[0])])]


def _embedding(net: Propagation, args: Any, kwargs: Mapping[str, Any], made: Any) -> Any:
    """Rows are looked up by number, so they all stay."""
    found = []
    for slot in net.slots(args[0]):
        if varying(slot) == [1]:
            found.append(slot.reshape([1] * (made[0].ndim - 1) + [-1]))
        else:
            net.labels.fix(slot)
    return [found]


def whole_groups(weight: Tensor, groups: int) -> bool:
    """Whether a grouped convolution loses groups, else the same channels of each of them."""
    return groups >= min(weight.shape[1], weight.shape[0] // groups)


def _convolution(net: Propagation, args: Any, kwargs: Mapping[str, Any], made: Any) -> Any:
    inputs, weight, bias, _, _, _, transposed, _, groups = args[:9]
    channel = 1 if inputs.ndim == weight.ndim else 0
    kernel = range(2, weight.ndim)
    seen = [net.merge(s, [a for a in varying(s) if a != channel]) for s in net.slots(inputs)]
    for slot in net.slots(weight):
        if any(axis in varying(slot) for axis in kernel):
            net.labels.fix(slot)
    sides: list[Tensor] = []
    for axis in (0, 1):
        own = [slot for slot in net.slots(weight) if axis in varying(slot)]
        sides.append(own[0].flatten() if own else torch.zeros(weight.shape[axis], dtype=torch.long))
    into, out = sides if transposed else sides[::-1]
    channels = seen[0].flatten() if seen else None
    if channels is None or len(channels) == 1:
        if inputs.shape[channel] > 1:
            net.labels.fix(into)
        if groups > 1 and (transposed or whole_groups(weight, groups)):
            net.labels.fix(out)
        elif groups > 1:
            net.labels.merge(out.view(groups, -1), 0)
    elif groups == 1:
        net.labels.union(channels, into)
    elif transposed and weight.shape[1] > 1:
        net.labels.fix(torch.cat([channels, into, out]))
    elif transposed:
        net.labels.union(channels, into)
        out = into
    else:
        _couple_groups(net, channels, into, out, weight, groups)
    shape = [-1 if a == channel else 1 for a in range(inputs.ndim)]
    found = Operand(made[0].shape, [net.labels.resolved(out.view(shape))])
    if bias is None:
        return [found.slots]
    across = [s.reshape(shape) for s in net.slots(bias)]
    vector = [len(bias) if a == channel else 1 for a in range(inputs.ndim)]
    return [elementwise(net.labels, [found, Operand(vector, across)])]


def _couple_groups(
    net: Propagation, channels: Tensor, into: Tensor, out: Tensor, weight: Tensor, groups: int
) -> None:
    given, made = channels.view(groups, -1), out.view(groups, -1)
    if whole_groups(weight, groups):
        net.labels.merge(given, 1)
        net.labels.merge(made, 1)
        net.labels.union(given[:, :1], made[:, :1])
        net.labels.fix(into)
    else:
        net.labels.merge(given, 0)
        net.labels.merge(made, 0)
        net.labels.union(given[0], into)


def _batch_norm(net: Propagation, args: Any, kwargs: Mapping[str, Any], made: Any) -> Any:
    inputs, vectors = args[0], [v for v in args[1:5] if isinstance(v, Tensor)]
    for vector in vectors:
        net.statistics(vector)
    shape = [-1 if a == 1 else 1 for a in range(inputs.ndim)]
    operands = [net.operand(inputs)]
    for vector in vectors:
        full = [len(vector) if a == 1 else 1 for a in range(inputs.ndim)]
        operands.append(Operand(full, [s.reshape(shape) for s in net.slots(vector)]))
    return [elementwise(net.labels, operands)]


def _layer_norm(net: Propagation, args: Any, kwargs: Mapping[str, Any], made: Any) -> Any:
    inputs, over = args[0], len(args[1])
    module = net.inside[-1] if net.inside else None
    if module is not None and can_narrow(module):
        return [net.normalised(inputs, module)]
    axes = range(inputs.ndim - over, inputs.ndim)
    seen = Operand(inputs.shape, [net.merge(slot, axes) for slot in net.slots(inputs)])
    return [elementwise(net.labels, [seen, *(net.operand(v) for v in args[2:4] if v is not None)])]


def _group_norm(net: Propagation, args: Any, kwargs: Mapping[str, Any], made: Any) -> Any:
    inputs, groups = args[0], args[6]
    vectors = [v for v in args[1:3] if v is not None]
    shape = [-1 if a == 1 else 1 for a in range(inputs.ndim)]
    seen = [net.merge(slot, [a for a in varying(slot) if a != 1]) for slot in net.slots(inputs)]
    for slot in seen:
        if slot.shape[1] > 1 and vectors:
            net.labels.merge(slot.reshape(groups, -1), 1)
        elif slot.shape[1] > 1:
            net.labels.fix(slot)
    operands = [Operand(inputs.shape, [net.labels.resolved(slot) for slot in seen])]
    for vector in vectors:
        full = [len(vector) if a == 1 else 1 for a in range(inputs.ndim)]
        operands.append(Operand(full, [s.reshape(shape) for s in net.slots(vector)]))
    return [elementwise(net.labels, operands)]


RULES: dict[str, Rule] = {
    "cat": _cat,
    "stack": _stack,
    "constant_pad_nd": _pad,
    **dict.fromkeys(("mm", "bmm"), _product),
    **dict.fromkeys(("addmm", "baddbmm"), _product_and_bias),
    "embedding": _embedding,
    **dict.fromkeys(("convolution", "convolution_overrideable"), _convolution),
    **dict.fromkeys(
        (
            *("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"),
            *("_native_batch_norm_legit", "miopen_batch_norm", "batch_norm_elemt"),
        ),
        _batch_norm,
    ),
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
    **dict.fromkeys(
        (
            *("sum", "mean", "amax", "amin", "max", "min", "var", "std", "var_mean", "prod"),
            *("std_mean", "linalg_vector_norm", "all", "any", "logsumexp", "argmax", "argmin"),
        ),
        _reduce,
    ),
    **dict.fromkeys(
        ("_softmax", "_log_softmax", "_safe_softmax", "cumsum", "cumprod", "sort", "topk"), _along
    ),
    **dict.fromkeys(
        (
            *("max_pool2d_with_indices", "max_pool3d_with_indices", "max_pool1d_with_indices"),
            *("avg_pool1d", "avg_pool2d", "avg_pool3d", "mkldnn_max_pool2d", "max_pool1d"),
            *("adaptive_avg_pool1d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d"),
            *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
            *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
            *("upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d"),
            *("_upsample_nearest_exact2d", "upsample_trilinear3d", "reflection_pad2d"),
            *("reflection_pad1d", "replication_pad1d", "replication_pad2d", "max_pool2d"),
        ),
        _pixels,
    ),
}
