"""A graph of ONNX: weights on grids become whole numbers, batch norms part of them.

The graph is what torch.onnx makes of a network: weights lie in it under their own names, plain.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from boildown.quantize.integers import Integers

SAFE = 64  # the largest code of which sums in 16 bits are never clipped


def fold_norms(model: ir.Model, integers: Mapping[str, Integers]) -> dict[str, Integers]:
    """Fold batch norms that follow a layer into it: the codes stay, the steps take the factors.

    Args:
        model: changed in place.
        integers: weight's name -> whole numbers.

    Returns:
        The same weights, with the steps that they have now. A weight that is folded and no grid
        is changed in the graph.

    Source: Jacob et al. 2017, section 3.2, https://arxiv.org/abs/1712.05877
    """
    found = dict(integers)
    for norm in [node for node in model.graph if node.op_type == "BatchNormalization"]:
        normed = norm.inputs[0]
        assert normed is not None
        layer = normed.producer()
        name = "" if layer is None else _folds_into(norm, layer)
        if layer is None or not name:
            continue
        gamma, beta, mean, variance = (_array(value) for value in norm.inputs[1:5])
        factor = gamma / np.sqrt(variance + _attribute(norm, "epsilon", 1e-5))
        if name in found:
            found[name] = _folded(found[name], factor)
        else:
            weight = _array(layer.inputs[1])
            by_output = factor.reshape(-1, *[1] * (weight.ndim - 1))
            _set(model, layer, 1, weight * by_output, name)
        own = layer.inputs[2] if len(layer.inputs) > 2 else None
        bias = 0.0 if own is None else _array(own)
        _set(model, layer, 2, (bias - mean) * factor + beta, f"{name}.folded_bias")
        norm.outputs[0].replace_all_uses_with(normed, replace_graph_outputs=True)
        model.graph.remove(norm, safe=True)
    return found


def _folds_into(norm: ir.Node, layer: ir.Node) -> str:
    """The name of the weight of a layer that a batch norm can be folded into; "" if it cannot."""
    if layer.op_type == "Gemm" and _attribute(layer, "transB", 0) != 1:
        return ""
    given, weight = norm.inputs[0], layer.inputs[1] if len(layer.inputs) > 1 else None
    if layer.op_type not in ("Conv", "Gemm") or weight is None or given is None:
        return ""
    alone = all(len(v.uses()) == 1 and not v.is_graph_output() for v in (given, weight))
    biases = [value for value in layer.inputs[2:] if value is not None]
    constants = [weight, *biases, *norm.inputs[1:5]]
    known = all(value is not None and value.const_value is not None for value in constants)
    return str(weight.name) if alone and known else ""


def _folded(integers: Integers, factor: NDArray[Any]) -> Integers:
    """Whole numbers times a factor for each output.

    A factor below zero turns the codes' sign, or where they hold -128, which has no opposite, that
    of the step. One of zero makes the codes zero.
    """
    by = torch.from_numpy(factor)
    low = torch.minimum(integers.codes.flatten(1).amin(1), integers.zeros.amin(1))
    sign = torch.where(low == -128, by.sign().abs(), by.sign())
    steps = (integers.steps.double() * (by * torch.where(sign == 0, 1.0, sign))[:, None]).float()
    by_output = sign.to(torch.int8).view(-1, *[1] * (integers.codes.ndim - 1))
    return Integers(
        integers.codes * by_output,
        steps.where(steps != 0.0, 1.0),
        integers.zeros * by_output.view(-1, 1),
    )


def store_integers(
    model: ir.Model, integers: Mapping[str, Integers], rounded: Collection[str]
) -> None:
    """Put whole numbers and a DequantizeLinear in the place of each weight.

    Codes are int8, those of fewer bits too, for which runtimes have no faster kernels, with a step
    to each output, or to each group of inputs.

    Args:
        model: changed in place.
        integers: weight's name -> whole numbers.
        rounded: weights of layers whose inputs are whole numbers too. Their products are written
            as runtimes know them: a MatMul of inputs and a weight (inputs, outputs).
    """
    for name, own in integers.items():
        own = enlarged(own) if name in rounded and own.codes.ndim > 2 else own
        weight = model.graph.initializers[name]
        readers = [use.node for use in weight.uses()]
        matrix = own.codes.ndim == 2 and all(node.op_type == "Transpose" for node in readers)
        if matrix and name in rounded:
            turned = _dequantized(model, name, own, turned=True)
            for node in readers:
                node.outputs[0].replace_all_uses_with(turned)
                model.graph.remove(node, safe=True)
        else:
            weight.replace_all_uses_with(_dequantized(model, name, own, cubic=matrix))
            for node in readers:
                if matrix:
                    _turn_cubic(node)
                elif name in rounded and node.op_type == "Gemm" and len(node.inputs) > 2:
                    _split(model, node)
        model.graph.initializers.pop(name)
    model.graph.sort()


def enlarged(integers: Integers) -> Integers:
    """The same values of larger codes and smaller steps, where codes have few bits.

    onnxruntime rounds the bias of a convolution to whole multiples of the step of its sums, which
    is that of the inputs times that of the weights. Codes are multiplied by a power of two for each
    output, as far as 7 bits reach, whose sums no CPU clips.
    """
    flat = integers.codes.flatten(1).int()
    most = torch.maximum(flat.abs().amax(1), integers.zeros.int().abs().amax(1)).clamp(min=1)
    room = (SAFE / most).log2().floor().clamp(min=0).exp2()
    if integers.steps.shape[1] > 1:
        return integers
    by_output = room.to(torch.int8).view(-1, *[1] * (integers.codes.ndim - 1))
    return Integers(
        integers.codes * by_output,
        integers.steps / room[:, None],
        integers.zeros * by_output.view(-1, 1),
    )


def _split(model: ir.Model, node: ir.Node) -> None:
    """Add a Gemm's bias after it: onnxruntime's for whole numbers takes none of floats."""
    bias, made = node.inputs[2], node.outputs[0]
    assert bias is not None
    node.resize_inputs(2)
    total = _add(model, "Add", [bias, bias], {}, f"{made.name}.sum")
    total.shape = made.shape
    made.replace_all_uses_with(total, replace_graph_outputs=True)
    adding = total.producer()
    assert adding is not None
    adding.replace_input_with(0, made)


def _turn_cubic(node: ir.Node) -> None:
    """Let a Transpose turn the last two of three axes."""
    node.attributes["perm"] = ir.AttrInt64s("perm", [0, 2, 1])
    node.outputs[0].shape = None


def _dequantized(
    model: ir.Model, name: str, own: Integers, *, turned: bool = False, cubic: bool = False
) -> ir.Value:
    """The value that an operator makes of whole numbers, which are initializers of the graph.

    Args:
        model: whose graph they are added to.
        name: of the weight.
        own: its whole numbers.
        turned: whether of a matrix with its axes exchanged.
        cubic: whether of a matrix with an axis of one before the others. Of such onnxruntime makes
            no MatMulNBits, which rounds inputs on its own account.
    """
    groups = own.steps.shape[1]
    codes = own.codes.flatten(1).numpy() if groups > 1 else own.codes.numpy()
    steps, zeros = own.steps.numpy(), own.zeros.numpy()
    if groups == 1:
        steps, zeros = steps[:, 0], zeros[:, 0]
    axis = 1 if groups > 1 else 0
    if turned:
        codes, axis = codes.T, 1 - axis
        steps, zeros = steps.T, zeros.T
    if cubic:
        codes, axis = codes[None], axis + 1
        if groups > 1:
            steps, zeros = steps[None], zeros[None]
    parts = {"codes": codes, "step": steps}
    if groups == 1 or zeros.any():  # onnxruntime's precise mode for AVX2 fails on those without
        parts["zero"] = zeros
    inputs = [_initializer(model, f"{name}.{kind}", part) for kind, part in parts.items()]
    attributes = {"axis": axis} | ({"block_size": own.group} if groups > 1 else {})
    value = _add(model, "DequantizeLinear", inputs, attributes, f"{name}.values")
    if groups > 1 and own.codes.ndim > 2:
        shape = _initializer(model, f"{name}.shape", np.array(own.codes.shape, np.int64))
        value = _add(model, "Reshape", [value, shape], {}, f"{name}.shaped")
    return value


def _initializer(model: ir.Model, name: str, array: NDArray[Any]) -> ir.Value:
    tensor = ir.tensor(np.ascontiguousarray(array), name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
    value.const_value = tensor
    model.graph.register_initializer(value)
    return value


def _add(
    model: ir.Model, kind: str, inputs: list[ir.Value], attributes: dict[str, Any], name: str
) -> ir.Value:
    """What a new operator makes; the graph is to be sorted."""
    node = ir.node(kind, inputs, attributes, name=f"node_{name}")
    node.outputs[0].name = name
    node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    model.graph.append(node)
    return node.outputs[0]


def _set(model: ir.Model, node: ir.Node, place: int, array: NDArray[Any], name: str) -> None:
    """Give an operator another constant input."""
    model.graph.initializers.pop(name, None)
    value = _initializer(model, name, array.astype(np.float32))
    if len(node.inputs) <= place:
        node.resize_inputs(place + 1)
    node.replace_input_with(place, value)


def _array(value: ir.Value | None) -> NDArray[np.float64]:
    """A constant's numbers."""
    assert value is not None
    assert value.const_value is not None
    numbers: NDArray[np.float64] = value.const_value.numpy().astype(np.float64)
    return numbers


def _attribute(node: ir.Node, name: str, default: Any) -> Any:
    found = node.attributes.get(name)
    return default if found is None else found.value
