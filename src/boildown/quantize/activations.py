"""Grids for what layers get as inputs, observed and learned, kept by hooks on the layers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from boildown.calibrate.batches import CalibrationError
from boildown.forward import evaluating, first_input, hooks, run
from boildown.quantize.grid import HALF, Grid, check_bits, limits
from boildown.quantize.observers import Observer, fit_grid
from boildown.structure.replace import noted, structure_of

SEEN = 1 << 16  # values of one layer's inputs that its grid is fitted to, spread over the batches
KEY = "input_grid"  # of an entry of a structure

SPARED, LEARNED_FROM = 8, 1 << 16  # a step is learned from an eighth of a batch, or so many values
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def quantizable(model: nn.Module) -> list[str]:
    """The layers whose inputs can have a grid: linear and convolution layers, by dotted path."""
    return [name for name, module in model.named_modules() if isinstance(module, LAYERS)]


def observed(
    model: nn.Module,
    batches: Sequence[Tensor],
    bits: Mapping[str, int],
    observer: Observer = "mse",
) -> dict[str, Grid]:
    """A grid for the inputs of each layer, of one step: unsigned where none is below zero.

    Args:
        model: takes a batch of inputs alone; it is left as it was.
        batches: of calibration.
        bits: layer -> bits, 2 to 8.
        observer: see `boildown.quantize.observers`.

    Returns:
        For the layers that the batches reach.

    Raises:
        CalibrationError: for inputs of a layer that are not finite, naming it.
    """
    seen: dict[str, list[Tensor]] = {}
    most = math.ceil(SEEN / max(len(batches), 1))

    def see(name: str, _: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        values = first_input(args, kwargs).detach().float().flatten()
        if not values.isfinite().all():
            raise CalibrationError(
                f"the inputs of layer {name} hold NaN or infinity; look at the calibration data"
            )
        stride = max(-(-values.numel() // most) | 1, 1)  # odd, so that all channels are seen
        seen.setdefault(name, []).append(torch.stack([values.min(), values.max()]))
        seen[name].append(values[::stride])

    with evaluating(model), hooks() as handles:
        for name in bits:
            module = model.get_submodule(name)
            handles.append(module.register_forward_pre_hook(partial(see, name), with_kwargs=True))
        for batch in batches:
            run(model, batch)
    return {
        name: input_grid(torch.cat(values), bits[name], observer) for name, values in seen.items()
    }


def input_grid(values: Tensor, bits: int, observer: Observer = "mse") -> Grid:
    """The grid for inputs of such values, (n,): symmetric and unsigned where none is below zero."""
    unsigned = bool(values.min() >= 0.0)
    blocks = values[None]
    return fit_grid(blocks, bits, symmetric=unsigned, observer=observer, signed=False)


class _Round(torch.autograd.Function):
    """The nearest of a grid's values, straight through, with the gradient of LSQ by the step."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, step: Tensor, zero: Tensor, low: int, high: int
    ) -> Tensor:
        seen: Tensor
        if inputs.device.type == "cpu":  # torch's own operator takes ten times as long there
            codes = torch.mul(inputs, 1.0 / step).round_().add_(zero).clamp_(low, high)
            seen, inside = codes.sub_(zero).mul_(step), None
        else:
            one = torch.ones(1, dtype=torch.int64, device=inputs.device)
            own = torch.ops.aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams
            seen, inside = own(inputs, step, zero, one, low, high)
        ctx.save_for_backward(inputs, seen, inside, step)
        ctx.high = high
        return seen

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, seen, inside, step = ctx.saved_tensors
        grad = grads[0].reshape(-1)
        if inside is None:
            off = (seen - inputs).abs_()
            inside = torch.le(off, step * HALF, out=off)  # 0 and 1: booleans are slow
        passed, by_step = grad * inside.reshape(-1), None
        if ctx.needs_input_grad[1]:  # of each seen / step, less inputs / step where not clipped
            some = min(grad.numel(), max(grad.numel() // SPARED, LEARNED_FROM))
            slope = torch.dot(grad[:some], seen.reshape(-1)[:some])
            slope -= torch.dot(passed[:some], inputs.reshape(-1)[:some])
            slope *= grad.numel() / some / (grad.numel() * ctx.high) ** 0.5
            by_step = (slope / step).reshape(step.shape)
        return passed.view_as(inputs), by_step, None, None, None


class InputGrid:
    """A forward pre-hook that rounds a layer's first input to a grid.

    Args:
        step: scalar, above 0; with a gradient if it is learned.
        zero: the code of 0.
        bits: of the codes, which are unsigned.
    """

    def __init__(self, step: Tensor, zero: int, bits: int) -> None:
        self.step, self.zero, self.bits = step, zero, bits
        self._code = torch.tensor(zero, dtype=torch.int32, device=step.device)

    def __call__(
        self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        given = first_input(args, kwargs)
        if given.is_meta or not given.is_floating_point():
            return None  # only counted, or no activation
        seen = self.rounded(given)
        if args:
            return (seen, *args[1:]), kwargs
        first = next(iter(kwargs))
        return args, {**kwargs, first: seen}

    def rounded(self, inputs: Tensor) -> Tensor:
        """The nearest values of the grid, in the dtype of the inputs."""
        if self.step.device != inputs.device:
            self.step = self.step.to(inputs.device)
        if self._code.device != inputs.device:
            self._code = self._code.to(inputs.device)
        # data that nothing computed keep their step: its gradient would be that of the whole input
        step = self.step if inputs.requires_grad else self.step.detach()
        low, high = limits(self.bits, signed=False)
        with torch.autocast(inputs.device.type, enabled=False):
            seen: Tensor = _Round.apply(  # type: ignore[no-untyped-call]
                inputs.float(), step, self._code, low, high
            )
        return seen.to(inputs.dtype)

    def plainly(self, inputs: Tensor) -> Tensor:
        """The same of fp32 by one operator, without gradients."""
        low, high = limits(self.bits, signed=False)
        return torch.fake_quantize_per_tensor_affine(
            inputs, float(self.step.detach()), self.zero, low, high
        )

    @property
    def entry(self) -> dict[str, Any]:
        """As an entry of a structure has it."""
        return {"bits": self.bits, "scale": float(self.step.detach()), "zero": self.zero}


def attach(layer: nn.Module, grid: InputGrid) -> None:
    """Round a layer's inputs to a grid from now on, in place of one that it has."""
    detach(layer)
    layer.register_forward_pre_hook(grid, with_kwargs=True)
    noted(layer, layer, **{KEY: grid.entry})


def detach(layer: nn.Module) -> None:
    """Leave a layer's inputs as they are again."""
    kept = {k: h for k, h in layer._forward_pre_hooks.items() if not isinstance(h, InputGrid)}
    for key in list(layer._forward_pre_hooks):
        if key not in kept:
            del layer._forward_pre_hooks[key]
            layer._forward_pre_hooks_with_kwargs.pop(key, None)


def grid_on(layer: nn.Module) -> InputGrid | None:
    """The grid that a layer's inputs are rounded to."""
    found = [hook for hook in layer._forward_pre_hooks.values() if isinstance(hook, InputGrid)]
    return found[0] if found else None


def input_grids(model: nn.Module) -> dict[str, dict[str, Any]]:
    """The entries of a structure that tell of the grids on a network's layers."""
    return {n: {KEY: entry[KEY]} for n, entry in structure_of(model).items() if KEY in entry}


def attach_all(model: nn.Module, grids: Mapping[str, Any]) -> None:
    """Put grids on layers, as entries of a structure tell; they may come from an untrusted file.

    Raises:
        ValueError: naming the layer, if it is not there, no such layer, or the entry no grid.
    """
    modules = dict(model.named_modules())
    for name, entry in grids.items():
        if not isinstance(modules.get(name), LAYERS):
            raise ValueError(f"structure: there is no layer {name!r} whose inputs could be rounded")
        attach(modules[name], _from_entry(name, entry))


def _from_entry(name: str, entry: Any) -> InputGrid:
    if not isinstance(entry, Mapping) or set(entry) != {"bits", "scale", "zero"}:
        raise ValueError(f"{name}: structure: expected bits, scale and zero, got {entry!r}")
    bits, scale, zero = entry["bits"], entry["scale"], entry["zero"]
    check_bits(bits, f"{name}: structure: bits")
    low, high = limits(bits, signed=False)
    if type(zero) is not int or not low <= zero <= high:
        raise ValueError(f"{name}: structure: zero must be in [{low}, {high}], got {zero!r}")
    if type(scale) is not float or not 0.0 < scale < float("inf"):
        raise ValueError(f"{name}: structure: scale must be a number above 0, got {scale!r}")
    return InputGrid(torch.tensor(scale, device="cpu"), zero, bits)  # not on meta, as layers may be


def layers_of(model: nn.Module, weights: Iterable[str]) -> list[str]:
    """The layers of `quantizable` whose weights are among the named."""
    named = set(weights)
    return [n for n in quantizable(model) if (f"{n}.weight" if n else "weight") in named]
