"""What an error of a layer's weight does to what the network says, to second order.

Of the network's outputs a change D of a weight moves, on average over samples, about
||L D R||^2, where L^T L is the second moment of the gradients of the layer's outputs and R R^T that
of its inputs. In this metric the singular value decomposition is still the best truncation, and the
errors of different layers can be compared and added up, which those of bare weights cannot.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from boildown.calibrate import (
    CalibrationError,
    Data,
    batches_of,
    evaluating,
    rows_of,
    run,
    tensors_of,
)
from boildown.data.loader import generator
from boildown.lowrank.activation import Moments, damped, output_metric, shrunk
from boildown.lowrank.scheme import Scheme, matrices
from boildown.lowrank.svd import Spectrum, decompose

FLOOR = 0.01  # of the gradients' second moment, in units of its mean diagonal
LARGEST = 4096  # inputs or outputs above which a layer's metric is a mere number
TOGETHER = 32  # samples whose gradients are added up: the fewer, the surer their size is
POSITIONS = 16  # places per image at which a convolution is seen


@dataclass(frozen=True)
class Metric:
    """||left D right||^2 for a change D (m, n) of a matrix.

    Attributes:
        left: (m, m) float64 upper triangular, or a number for that multiple of the identity.
        right: (n, n) float64 lower triangular, or a number likewise.
    """

    left: Tensor | float
    right: Tensor | float

    def decompose(self, weight: Tensor) -> Spectrum:
        """W = u diag(s) v^T, whose truncations are the best ones in this metric.

        Args:
            weight: (m, n) floats.

        Returns:
            `tails` are squared errors in this metric; left u and right^T v have orthonormal
            columns, u and v have not.

        Raises:
            ValueError: if the weight is no matrix, or holds NaN or infinity.
        """
        left, right = self.left, self.right
        seen = weight.detach().double()
        seen = left @ seen if isinstance(left, Tensor) else left * seen
        seen = seen @ right if isinstance(right, Tensor) else seen * right
        found = decompose(seen.to(torch.promote_types(weight.dtype, torch.float32)))
        return Spectrum(
            _undone(left, found.u), found.s, _undone(_turned(right), found.v), weight.dtype
        )

    def to(self, device: torch.device | str) -> "Metric":
        """The same, there."""
        left, right = (
            x.to(device) if isinstance(x, Tensor) else x for x in (self.left, self.right)
        )
        return Metric(left, right)


def _turned(factor: Tensor | float) -> Tensor | float:
    return factor.mT if isinstance(factor, Tensor) else factor


def _undone(factor: Tensor | float, vectors: Tensor) -> Tensor:
    """What the upper triangular factor makes these vectors of."""
    if isinstance(factor, Tensor):
        solved: Tensor = torch.linalg.solve_triangular(factor, vectors, upper=True)
        return solved
    return vectors / factor


class _Gathered:
    """What the samples show of one layer."""

    def __init__(self, module: nn.Module, scheme: Scheme) -> None:
        self.module, self.scheme = module, scheme
        self.groups = int(getattr(module, "groups", 1))
        weight = module.get_parameter("weight")
        self.shape = matrices(weight.detach(), scheme, self.groups).shape[1:]
        rows = isinstance(module, nn.Linear | nn.Conv2d) and scheme in ("linear", "channel")
        self.factored = rows and max(self.shape) <= LARGEST
        self.inputs = [Moments() for _ in range(self.groups)]
        self.gradients = [Moments() for _ in range(self.groups)]
        self.squares = torch.zeros(self.groups, dtype=torch.float64)

    def update(self, inputs: Tensor, gradient: Tensor, g: torch.Generator) -> None:
        assert isinstance(self.module, nn.Linear | nn.Conv2d)
        rows = rows_of(self.module, inputs, gradient, POSITIONS, g)
        for moments, each in zip((self.inputs, self.gradients), rows, strict=True):
            for one, group in zip(moments, each, strict=True):
                one.update(group)

    def metrics(self, samples: int, least: float) -> list[Metric]:
        """One for each group; `least` stands in for the size of what moves nothing."""
        found = []
        for inputs, gradients, squares in zip(
            self.inputs, self.gradients, self.squares, strict=True
        ):
            size = max(float(squares) / samples, least)
            if not self.factored or gradients.count == 0:  # nothing of it comes out
                found.append(Metric(math.sqrt(size / math.prod(self.shape)), 1.0))
                continue
            covariance = inputs.covariance()
            second = shrunk(covariance, *damped(covariance, inputs.count, None))
            second += torch.outer(inputs.mean, inputs.mean)
            weighed = output_metric(gradients, FLOOR)
            scale = size / float(second.trace() * weighed.trace())
            left = torch.linalg.cholesky(scale * weighed).mT
            found.append(Metric(left, torch.linalg.cholesky(second)))
        return found


def measure(
    model: nn.Module, data: Data, layers: Mapping[str, Scheme], *, seed: int = 0
) -> dict[str, list[Metric]]:
    """The metric of each layer's matrices, from the network's gradients on a few hundred samples.

    The gradients are those of v . output, with v drawn from N(0, I) for each sample less its mean
    over the classes, as that changes no probability: their second moment is the Gauss-Newton
    matrix of the outputs. No targets are needed. It is approximated by a Kronecker product of the
    inputs' and the gradients' second moments, scaled to its true trace; for embeddings, Conv1d and
    Conv3d, the spatial scheme and layers of more than 4096 inputs or outputs, or none of whose
    outputs comes out, by a multiple of the identity.

    The classes are the last axis of outputs (N, C) and (N, T, C), the second of images. Outputs
    that are no logits are centred alike: what moves all of them together counts for nothing.

    Args:
        model: takes a batch of inputs alone; it is left as it was.
        data: the calibration data.
        layers: dotted path -> the scheme that says what its matrices are.
        seed: of v, and of the places at which convolutions are seen.

    Returns:
        Layer -> a metric for each of its groups.

    Raises:
        CalibrationError: for an empty set; a layer the data never reach, or whose inputs or
            gradients are not finite, by name.

    Source: Martens & Grosse 2015 (K-FAC), https://arxiv.org/abs/1503.05671
    """
    gathered = {n: _Gathered(model.get_submodule(n), scheme) for n, scheme in layers.items()}
    weights = {name: model.get_parameter(f"{name}.weight") for name in layers}
    reached: set[str] = set()
    samples = 0
    with evaluating(model):
        parts = (part for inputs in batches_of(data) for part in inputs.split(TOGETHER))
        for batch, inputs in enumerate(parts):
            g = generator(seed, batch)
            with torch.enable_grad(), _free(weights.values()), _watched(gathered, reached, g):
                said = [t for t in tensors_of(run(model, inputs)) if t.requires_grad]
                if not said:
                    raise CalibrationError(
                        "the network returns no tensor that its layers move: return tensors, or "
                        "lists, tuples or mappings of them"
                    )
                drawn = [_directions(t, g) for t in said]
                found = torch.autograd.grad(said, list(weights.values()), drawn, allow_unused=True)
            for layer, gradient in zip(gathered.values(), found, strict=True):
                if gradient is not None:
                    gradient = gradient.to_dense() if gradient.is_sparse else gradient
                    split = matrices(gradient.double(), layer.scheme, layer.groups)
                    layer.squares += split.square().sum((1, 2)).cpu()
            samples += len(inputs)
    for name, layer in gathered.items():
        if name not in reached:
            raise CalibrationError(
                f"the calibration data never reach layer {name}: exclude it, or calibrate with "
                "inputs that do"
            )
        if not torch.isfinite(layer.squares).all():
            raise CalibrationError(f"the gradients of layer {name} hold NaN or infinity")
    sizes = torch.cat([layer.squares for layer in gathered.values()]) / samples
    least = 1e-6 * float(sizes.max()) or 1.0
    return {name: layer.metrics(samples, least) for name, layer in gathered.items()}


@contextmanager
def _free(weights: Iterable[nn.Parameter]) -> Iterator[None]:
    """Let frozen weights have gradients inside the block."""
    frozen = [weight for weight in weights if not weight.requires_grad]
    try:
        for weight in frozen:
            weight.requires_grad_(True)
        yield
    finally:
        for weight in frozen:
            weight.requires_grad_(False)


@contextmanager
def _watched(
    gathered: Mapping[str, _Gathered], reached: set[str], g: torch.Generator
) -> Iterator[None]:
    """Gather the layers' inputs and, when they are known, their outputs' gradients."""

    def after(name: str, module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
        layer = gathered[name]
        reached.add(name)
        if layer.factored and output.requires_grad:
            inputs = (args[0] if args else kwargs["input"]).detach()
            output.register_hook(partial(learn, name, inputs))  # before it is changed in place

    def learn(name: str, inputs: Tensor, gradient: Tensor) -> None:
        try:
            gathered[name].update(inputs, gradient.detach(), g)
        except ValueError as error:
            raise CalibrationError(f"{name}: {error}") from error

    handles: list[RemovableHandle] = []
    try:
        for name, layer in gathered.items():
            hook = partial(after, name)
            handles.append(layer.module.register_forward_hook(hook, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _directions(output: Tensor, g: torch.Generator) -> Tensor:
    """v, of the shape of the output."""
    v = torch.randn(output.shape, generator=g)
    classes = -1 if output.ndim < 4 else 1
    if output.ndim > 1 and output.shape[classes] > 1:
        v -= v.mean(classes, keepdim=True)
    return v.to(output)
