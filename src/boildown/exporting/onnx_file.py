"""A network as a file of ONNX, and whether onnxruntime computes the same from it."""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx_ir as ir
import onnxruntime
import onnxscript.optimizer
import torch
from onnxscript import opset21 as op
from torch import Tensor, nn
from torch.ao.quantization.fx import _decomposed  # noqa: F401  # registers the operators below

from boildown.exporting.graph import fold_norms, store_integers
from boildown.exporting.tracing import layer_of, traced
from boildown.forward import tensors_of
from boildown.quantize.activations import grid_on
from boildown.quantize.integers import Integers, integers_of

OPSET = 21  # the first with steps for groups of inputs, and int4


def write(model: nn.Module, example: Any, path: Path) -> dict[str, Integers]:
    """Write a network with its weights as whole numbers where they lie on grids.

    Args:
        model: see `traced`.
        example: see there.
        path: of the file.

    Returns:
        Weight's name -> what is stored for it.

    Raises:
        ValueError: if the network cannot be followed, or an operator has no counterpart, naming
            the layer.
    """
    program = traced(_with_biases(model), example, _rounded)
    own: Any = torch.ops.quantized_decomposed.quantize_per_tensor.default
    table = {own: _quantize}
    try:
        with _quiet():
            made = torch.onnx.export(
                program, dynamo=True, optimize=False, opset_version=OPSET, verbose=False,
                custom_translation_table=table,
            )  # fmt: skip
    except Exception as error:  # its classes are private
        said = str(error.__cause__ or error)
        layer = layer_of(program, said)
        where = f"layer {layer}" if layer else f"the {type(model).__name__}"
        raise ValueError(f"{where} has no counterpart in ONNX: {said.splitlines()[0]}") from error
    assert made is not None
    graph = made.model
    stored = graph.graph.initializers
    found = {name: integers_of(weight) for name, weight in _weights(model).items()}
    integers = {n: one for n, one in found.items() if one is not None and n in stored}
    integers = fold_norms(graph, integers)
    store_integers(graph, integers, _with_whole_inputs(model))
    onnxscript.optimizer.optimize(graph)
    _without_notes(graph)
    ir.save(graph, path)
    return integers


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch.onnx says of packages that it does not find."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _without_notes(graph: ir.Model) -> None:
    """Leave out where in whose code operators come from: more than small layers take."""
    for part in (graph, graph.graph, *graph.graph, *graph.graph.initializers.values()):
        part.metadata_props.clear()
    for node in graph.graph:
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()


def session_of(
    path: Path, threads: int = 0, *, to_the_letter: bool = False
) -> Callable[[Any], list[Tensor]]:
    """What computes a file's outputs from inputs of the network, in onnxruntime.

    Args:
        path: of the file.
        threads: within an operator; 0 for onnxruntime's own choice.
        to_the_letter: whether every operator of the file is computed as it stands there, slowly,
            instead of several as one.
    """
    options = onnxruntime.SessionOptions()
    if to_the_letter:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def outputs(example: Any) -> list[Tensor]:
        feeds = dict(zip(names, (t.numpy() for t in tensors_of(example)), strict=True))
        found: Sequence[Any] = session.run(None, feeds)
        return [torch.from_numpy(array) for array in found]

    return outputs


def _with_biases(model: nn.Module) -> nn.Module:
    """A copy whose convolutions all have biases: torch.onnx computes those of zeros at each run."""
    made = copy.deepcopy(model)
    for layer in made.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) and layer.bias is None:
            layer.bias = nn.Parameter(layer.weight.new_zeros(layer.out_channels))
    return made


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """What may be stored as whole numbers: parameters of two axes and more."""
    return {name: p for name, p in model.named_parameters() if p.ndim > 1}


def _with_whole_inputs(model: nn.Module) -> set[str]:
    """The weights of layers whose inputs are rounded to a grid."""
    rounded = (name for name, layer in model.named_modules() if grid_on(layer) is not None)
    return {f"{name}.weight" if name else "weight" for name in rounded}


def _rounded(inputs: Tensor, step: float, zero: int, low: int, high: int) -> Tensor:
    own = torch.ops.quantized_decomposed
    numbers = step, zero, low, high, torch.uint8
    rounded: Tensor = own.dequantize_per_tensor(own.quantize_per_tensor(inputs, *numbers), *numbers)
    return rounded


def _quantize(inputs: Any, step: float, zero: int, low: int, high: int, dtype: int) -> Any:
    """QuantizeLinear, with a Clip of the codes where they have fewer than 8 bits."""
    codes = op.QuantizeLinear(inputs, _constant(step, ir.DataType.FLOAT), _code(zero))
    return codes if high == 255 else op.Clip(codes, _code(low), _code(high))


def _code(number: int) -> Any:
    return _constant(number, ir.DataType.UINT8)


def _constant(number: float, kind: ir.DataType) -> Any:
    return op.Constant(value=ir.serde.serialize_tensor(ir.tensor(number, dtype=kind)))
