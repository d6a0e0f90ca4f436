"""A network in a file that runs without boildown, checked when it is written."""

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from boildown.checkpoints.checkpoint import save_safetensors
from boildown.exporting.tracing import arguments, traced
from boildown.files.atomic import replacing
from boildown.forward import evaluating, tensors_of
from boildown.quantize.activations import LAYERS, grid_on
from boildown.quantize.grid import limits
from boildown.quantize.integers import Integers, may_clip
from boildown.runtime.closeness import differ, steps_apart
from boildown.runtime.example import called, resized

Kind = Literal["onnx", "torch", "safetensors"]
ENDINGS: Mapping[str, Kind] = {".onnx": "onnx", ".pt2": "torch", ".safetensors": "safetensors"}
CLOSE = 1e-4  # of the largest output, by which those of a file may differ


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: of the file.
        bytes: of it.
        integers: weights that are stored as whole numbers, with their bits.
        left: other weights of linear and convolution layers, with why they are stored as they are.
        saturating: layers whose 16-bit sums may overflow on CPUs with AVX2 and without VNNI.
        difference: the largest between the file's outputs and the network's, of the largest output.
    """

    path: Path
    bytes: int
    integers: dict[str, int] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    saturating: tuple[str, ...] = ()
    difference: float = 0.0


def export(
    model: nn.Module,
    path: str | os.PathLike[str],
    example: Any = None,
    *,
    to: Kind | None = None,
) -> Exported:
    """Write a network to a file that runs without boildown.

    Args:
        model: any network on the CPU, as `boildown.load` gives it; it is not touched.
        path: of the file; replaced if it exists.
        example: a batch of its input, a tuple or list of its arguments, or a mapping of them by
            name. Of any number of samples, and so is what the file takes. Not needed for
            safetensors.
        to: "onnx", for onnxruntime, OpenVINO and others, with weights on uniform grids stored as
            whole numbers; "torch", for torch.export.load; "safetensors", the plain state dict.
            None: as the path ends, in .onnx, .pt2 or .safetensors.

    Returns:
        What was written. The file is there only if its outputs, of the example and of one sample,
        are those of the network: within 1e-4 of the largest output. Where the inputs of n layers
        are rounded, a sum that lies between two codes may go either way, and the limit is sqrt(n)
        steps of a grid of as many bits over the range of the outputs. Of ONNX that holds for the
        operators as they stand in the file; as onnxruntime computes them by itself, with the biases
        of convolutions rounded too, the limit is n steps.

    Raises:
        ValueError: for another kind, a network that cannot be exported, naming the layer, or one
            whose file computes something else.
        ImportError: if ONNX is asked for without the extra `onnx`.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    kind = _kind(path, to)
    if example is None and kind != "safetensors":
        raise ValueError(
            f"export to {kind} follows the network through an example: pass a batch of its input"
        )
    with replacing(path) as part:  # a failed check leaves nothing
        if kind == "safetensors":
            save_safetensors(model.state_dict(), part, {})
            made = Exported(path, 0)
        elif kind == "torch":
            made = _to_torch(model, example, part)
        else:
            made = _to_onnx(model, example, part)
        size = part.stat().st_size
    return Exported(path, size, made.integers, made.left, made.saturating, made.difference)


def _kind(path: Path, to: str | None) -> Kind:
    kinds = get_args(Kind)
    if to is not None and to not in kinds:
        raise ValueError(f"to must be one of {', '.join(kinds)}, got {to!r}")
    found = to or ENDINGS.get(path.suffix)
    if found is None:
        raise ValueError(f"{path}: the name must end in {', '.join(ENDINGS)}, or give to=")
    return found  # type: ignore[return-value]


def _to_torch(model: nn.Module, example: Any, path: Path) -> Exported:
    held = io.BytesIO()  # torch.export warns of names that do not end in .pt2
    torch.export.save(traced(model, example, _rounded), held)
    path.write_bytes(held.getbuffer())
    held.seek(0)
    ran = torch.export.load(held).module()

    def outputs(given: Any) -> list[Tensor]:
        args, kwargs = arguments(given)
        return tensors_of(ran(*args, **kwargs))

    return Exported(path, 0, difference=_checked(model, example, outputs))


def _rounded(inputs: Tensor, step: float, zero: int, low: int, high: int) -> Tensor:
    """In operators that every torch has without being told."""
    codes = (inputs * (1.0 / step)).round().add(zero).clamp(low, high)
    return (codes - zero) * step


def _to_onnx(model: nn.Module, example: Any, path: Path) -> Exported:
    try:
        from boildown.exporting.onnx_file import session_of, write
    except ModuleNotFoundError as error:
        raise ImportError(
            f"export to ONNX needs {error.name}: pip install 'boildown[onnx]'"
        ) from error
    integers = write(model, example, path)
    _checked(model, example, session_of(path, to_the_letter=True))
    difference = _checked(model, example, session_of(path), each=True)
    return Exported(
        path,
        0,
        {name: one.bits for name, one in integers.items()},
        _left(model, integers),
        saturating(model, integers),
        difference,
    )


def _left(model: nn.Module, integers: Mapping[str, Any]) -> dict[str, str]:
    """Weights of layers that are not stored as whole numbers, with why."""
    found = {}
    for name, layer in model.named_modules():
        if isinstance(layer, LAYERS):
            weight = f"{name}.weight" if name else "weight"
            if weight not in integers:
                found[weight] = "its values lie on no uniform grid of at most 8 bits"
            elif grid_on(layer) is None:
                found[weight] = "its inputs are not rounded: whole numbers in the file alone"
    return found


def _checked(
    model: nn.Module, example: Any, outputs: Callable[[Any], list[Tensor]], *, each: bool = False
) -> float:
    """The largest difference of outputs, of the largest; see `steps_apart` for `each`.

    Raises:
        ValueError: if it is more than what is allowed.
    """
    worst = 0.0
    for given in (example, resized(example, 1)):
        with evaluating(model):
            torch.manual_seed(0)
            expected = [o for o in tensors_of(called(model, given)) if o.is_floating_point()]
        found = [output for output in outputs(given) if output.is_floating_point()]
        if len(found) != len(expected):
            raise ValueError(f"the file gives {len(found)} outputs, the model {len(expected)}")
        for one, other in zip(expected, found, strict=True):
            off, most = differ(one, other), max(CLOSE, steps_apart(model, one, each=each))
            if not off <= most:
                raise ValueError(
                    f"the outputs of the file differ from those of the {type(model).__name__} by "
                    f"{off:.1e} of the largest, more than {most:.1g}: it makes much of rounding, "
                    "or does something that the file does not; nothing was written"
                )
            worst = max(worst, off)
    return worst


def saturating(model: nn.Module, integers: Mapping[str, Integers]) -> tuple[str, ...]:
    """Layers whose sums AVX2 without VNNI may clip: see `may_clip`."""
    found = []
    for name, layer in model.named_modules():
        grid = grid_on(layer)
        own = integers.get(f"{name}.weight" if name else "weight")
        if grid is None or own is None:
            continue
        if may_clip(own, limits(grid.bits, signed=False)[1]):
            found.append(name)
    return tuple(found)
