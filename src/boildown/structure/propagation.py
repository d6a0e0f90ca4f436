"""Labels carried through a forward pass, operation by operation, as the pass is made.

Whatever Python a forward pass is written in, below it are the operations of ATen, which a dispatch
mode sees: no branch, no dictionary of outputs and no mixing of cut and joined channels is hidden
from it. Operations that only move elements move the labels alike. Those that compute are of a few
kinds, each with a rule (`boildown.structure.rules`); through one that has none, nothing can be
removed.
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
        padding: the labels of what operations pad, pass after pass the same.
        rules: operation -> how it carries labels.
    """

    def __init__(
        self,
        model: nn.Module,
        labels: Labels,
        axes: dict[str, list[Tensor]],
        padding: dict[tuple[int, int], Tensor],
        rules: Mapping[str, "Rule"],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.labels, self.axes, self.padding, self.rules = labels, axes, padding, rules
        self.names = {id(p): n for n, p in reversed(list(model.named_parameters()))}
        self.buffers = {id(b): n for n, b in reversed(list(model.named_buffers()))}
        self.traced: dict[int, Traced] = {}
        self.splits: list[Tensor] = []  # slots of which what is left must be rectangular
        self.inside: list[nn.Module] = []  # the modules that are computing now
        self.silent = 0  # depth in a module whose rule is its own
        self._operation = 0

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self._operation += 1
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
        """Labels of what the operation pads, (count,)."""
        key = self._operation, count
        if key not in self.padding:
            self.padding[key] = self.labels.fresh(count)
        return self.padding[key]

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

    def tie_heads(self, attention: nn.MultiheadAttention) -> None:
        """Let PyTorch's attention lose a head together with as many channels as it has.

        Its code takes the channels of queries, keys and values for those of its inputs.
        """
        weight, heads = attention.in_proj_weight, attention.num_heads
        if weight is None or not self.slots(weight):
            for parameter in attention.parameters():
                self.fix([parameter])
            return
        rows, columns = self.axes[self.names[id(weight)]]
        labels = self.labels.resolved
        of_heads = labels(rows).expand(len(rows)).view(3, heads, -1)
        channels = labels(columns).expand(len(columns)).view(heads, -1)
        self.labels.merge(of_heads, 0)
        self.labels.merge(of_heads, 2)
        self.labels.merge(channels, 1)
        self.labels.union(of_heads[0, :, 0], channels[:, 0])

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
        if name in self.rules:
            slots = self.rules[name](self, args, kwargs, made)
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
            self.put(tensor, each, parameter and name not in self.rules)

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
