"""What operations that compute do to labels: a rule for each kind.

A rule is given the operation's arguments and outputs. It unites labels
(`boildown.structure.labels`) and returns the slots of each output.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from boildown.structure.labels import Operand, elementwise, varying
from boildown.structure.narrow_norms import can_narrow
from boildown.structure.propagation import Propagation, Rule


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
