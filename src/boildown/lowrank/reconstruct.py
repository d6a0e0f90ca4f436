"""Factors fitted to what the dense network says: nonlinear least squares, without labels.

What matters of a layer is what becomes of it: what the ReLUs behind it hide, what the layers behind
it drop, what changes no answer. All that is the network itself. So the factors are a least squares
problem in the network's outputs and the layers' responses, and a few Gauss-Newton steps on a few
hundred samples solve it. No labels, no learning rate, no epochs.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from boildown.calibrate import evaluating, run, tensors_of

Point = dict[str, Tensor]

TEMPERATURE = 3.0  # of the classes' probabilities that weigh the logits
UNIFORM = 0.1  # of the weights, spread evenly over the classes
OWN = 0.1  # weight of the layer's own relative error against that of the outputs
PROXIMAL = 1e-3  # of the squared relative length of a step
STEPS = 3
ITERATIONS = 8  # of conjugate gradients, each step
CURVATURE = 1000  # samples that do for the second derivatives


@dataclass(frozen=True)
class Reference:
    """What the dense network makes of one batch.

    Attributes:
        inputs: the batch.
        outputs: of the network, all that are floats.
        responses: layer -> what it puts out, behind its ReLU where one follows.
    """

    inputs: Tensor
    outputs: list[Tensor]
    responses: dict[str, Tensor]


def references(
    model: nn.Module, batches: Sequence[Tensor], layers: Mapping[str, bool]
) -> list[Reference]:
    """What a network makes of each batch, to be reproduced.

    Args:
        model: takes a batch of inputs alone.
        batches: inputs.
        layers: dotted paths of the layers to look at -> whether only the ReLU of it is used.
    """
    found = []
    with evaluating(model):
        for batch in batches:
            first = next(model.parameters(), None)
            batch = batch if first is None else batch.to(first.device)
            outputs, seen = _watched(model, {}, batch, layers)
            found.append(Reference(batch, outputs, seen))
    return found


def reconstruct(
    model: nn.Module,
    layers: Mapping[str, bool],
    reference: Sequence[Reference],
    *,
    steps: int = STEPS,
    iterations: int = ITERATIONS,
) -> tuple[nn.Module, int]:
    """Fit the parameters of some layers so that a network says what another said.

    Minimised is the squared relative error of the outputs, and of the layers' responses with the
    weight `OWN`. Logits (N, classes) differ by the variance of their change over the classes, each
    class weighed by its softened probability: what they have in common, and what no answer hangs
    on, counts little. A step is taken only if it lowers that. The gradient is that of all samples;
    beyond a thousand, the curvature is that of every second, third, ... batch.

    Args:
        model: takes a batch of inputs alone; it is not touched.
        layers: dotted paths of the layers whose parameters are fitted -> whether only the ReLU of
            what they put out is used. Everything else stays as it is.
        reference: of the other network, which has layers of these names.
        steps: of Gauss-Newton at most, at least 0.
        iterations: of conjugate gradients in each step, at least 1.

    Returns:
        A copy of the network, and about how many forward passes over the samples it cost.

    Raises:
        ValueError: for steps or iterations out of range, or no reference.

    Source: Gauss-Newton with an inner conjugate gradient: Martens 2010, section 3,
    https://www.cs.toronto.edu/~jmartens/docs/Deep_HessianFree.pdf; fitting layers to the responses
    of the dense network: Zhang et al. 2015, https://arxiv.org/abs/1505.06798
    """
    if steps < 0:
        raise ValueError(f"steps must be at least 0, got {steps}")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
    if not reference:
        raise ValueError("there is nothing to reproduce: give at least one reference")
    model = copy.deepcopy(model)
    with evaluating(model), sdpa_kernel(SDPBackend.MATH):  # others have no second derivatives
        problem = _Problem(model, layers, reference)
        for name, value in problem.solve(steps, iterations).items():
            model.get_parameter(name).copy_(value)
    return model, round(problem.passes)


def missed(
    model: nn.Module, layers: Mapping[str, bool], reference: Sequence[Reference]
) -> dict[str, float]:
    """Relative error behind each layer: root of the squared error over the variance."""
    errors = dict.fromkeys(layers, 0.0)
    with evaluating(model):
        for r in reference:
            _, seen = _watched(model, {}, r.inputs, layers)
            for name in layers:
                gap = (seen[name] - r.responses[name]).double()
                errors[name] += float(gap.square().sum())
    for name, lost in errors.items():
        spread = _spread([r.responses[name] for r in reference])
        errors[name] = math.sqrt(lost / spread) if spread else math.inf if lost else 0.0
    return errors


class _Problem:
    """The parameters of some layers, and the residuals that they are to make small."""

    def __init__(
        self, model: nn.Module, layers: Mapping[str, bool], reference: Sequence[Reference]
    ) -> None:
        self.model, self.layers, self.reference = model, layers, reference
        self.start = {
            f"{layer}.{name}": p.detach().clone()
            for layer in layers
            for name, p in model.get_submodule(layer).named_parameters()
        }
        self.sizes = {n: max(float(p.norm()), 1e-12) for n, p in self.start.items()}
        own = {n: _spread([r.responses[n] for r in reference]) for n in layers}
        said = [_spread(parts) for parts in zip(*map(self.targets, reference), strict=True)]
        self.passes = 0.0
        samples = sum(len(r.inputs) for r in reference)
        self.some = reference[:: max(1, samples // CURVATURE)]
        self.part = sum(len(r.inputs) for r in self.some) / samples
        self.said = [1.0 / math.sqrt(s) if s else 1.0 for s in said]
        self.own = {n: math.sqrt(OWN / s) if s else 0.0 for n, s in own.items()}

    def weights(self, r: Reference) -> Tensor | None:
        if len(r.outputs) == 1 and r.outputs[0].ndim == 2 and r.outputs[0].shape[1] > 1:
            p = (r.outputs[0] / TEMPERATURE).softmax(1)
            return (1.0 - UNIFORM) * p + UNIFORM / p.shape[1]
        return None

    def targets(self, r: Reference) -> list[Tensor]:
        p = self.weights(r)
        return [_weighed(t, p) for t in r.outputs]

    def residual(self, r: Reference, point: Point) -> tuple[Tensor, ...]:
        outputs, seen = _watched(self.model, point, r.inputs, self.layers)
        p = self.weights(r)
        pairs = zip(self.said, outputs, r.outputs, strict=True)
        lost = [scale * _weighed(a - b, p) for scale, a, b in pairs]
        lost += [self.own[n] * (seen[n] - r.responses[n]) for n in self.layers]
        return tuple(lost)

    def loss(self, point: Point) -> float:
        self.passes += 1
        return sum(
            float(t.square().sum(dtype=torch.float64))
            for r in self.reference
            for t in self.residual(r, point)
        )

    def gradient(self, point: Point) -> Point:
        self.passes += 3
        return self._summed(point, lambda _, lost: lost, self.reference)

    def product(self, point: Point, along: Point) -> Point:
        """J^T J along, J the derivative of the residuals, from some samples for all."""
        self.passes += 7 * self.part

        def moved(free: Point, lost: list[Tensor]) -> list[Tensor]:
            # J along is the derivative of <J^T w, along> by w: backward derivatives are enough
            w = [torch.zeros_like(t, requires_grad=True) for t in lost]
            back = _grad(lost, list(free.values()), w, create_graph=True)
            linear = [(b, along[n]) for b, n in zip(back, free, strict=True) if b.requires_grad]
            if not linear:
                return w
            return _grad([b for b, _ in linear], w, [a for _, a in linear], retain_graph=True)

        total = self._summed(point, moved, self.some)
        return {n: p / self.part for n, p in total.items()}

    def _summed(
        self,
        point: Point,
        weigh: Callable[[Point, list[Tensor]], list[Tensor]],
        reference: Sequence[Reference],
    ) -> Point:
        """J^T of what is made of the residuals, over batches."""
        total = {n: torch.zeros_like(p) for n, p in point.items()}
        for r in reference:
            free = {n: p.clone().requires_grad_() for n, p in point.items()}
            with torch.enable_grad():
                lost = [t for t in self.residual(r, free) if t.requires_grad]
                weights = weigh(free, lost)
            for n, g in zip(free, _grad(lost, list(free.values()), weights), strict=True):
                total[n] += g.detach()
        return total

    def scaled(self, point: Point) -> Point:
        return {n: self.sizes[n] * p for n, p in point.items()}

    def solve(self, steps: int, iterations: int) -> Point:
        point, least = self.start, self.loss(self.start)
        for _ in range(steps):
            step = self.scaled(self._step(point, iterations))
            for shrink in (1.0, 0.5, 0.25):
                moved = {n: p + shrink * step[n] for n, p in point.items()}
                loss = self.loss(moved)
                if loss < least:
                    point, least = moved, loss
                    break
            else:
                break
        return point

    def _step(self, point: Point, iterations: int) -> Point:
        residue = {n: -g for n, g in self.scaled(self.gradient(point)).items()}
        step = {n: torch.zeros_like(p) for n, p in point.items()}
        along, size = residue, _dot(residue, residue)
        for _ in range(iterations):
            if size == 0.0:
                break
            image = self.scaled(self.product(point, self.scaled(along)))
            image = _add(image, PROXIMAL, along)
            length = size / _dot(along, image)
            step, residue = _add(step, length, along), _add(residue, -length, image)
            before, size = size, _dot(residue, residue)
            along = _add(residue, size / before, along)
        return step


def _watched(
    model: nn.Module, point: Point, inputs: Tensor, layers: Mapping[str, bool]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    seen: dict[str, Tensor] = {}

    def see(name: str, relu: bool, module: nn.Module, args: object, output: Tensor) -> None:
        seen[name] = output.relu() if relu else output.clone()

    handles = [
        model.get_submodule(n).register_forward_hook(partial(see, n, relu))
        for n, relu in layers.items()
    ]
    try:
        output = functional_call(model, point, (inputs,)) if point else run(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return [t for t in tensors_of(output) if t.is_floating_point()], seen


def _grad(of: list[Tensor], by: list[Tensor], weights: list[Tensor], **how: bool) -> list[Tensor]:
    """The gradients of the weighed sum; zeros where nothing depends."""
    if not of:
        return [torch.zeros_like(t) for t in by]
    given = [w.detach() if not how.get("create_graph") else w for w in weights]
    found = torch.autograd.grad(of, by, given, allow_unused=True, **how)
    return [torch.zeros_like(t) if g is None else g for t, g in zip(by, found, strict=True)]


def _weighed(t: Tensor, p: Tensor | None) -> Tensor:
    """Entries whose squares sum to the variance over classes of probability p."""
    if p is None:
        return t
    centred: Tensor = p.sqrt() * (t - (p * t).sum(1, keepdim=True))
    return centred


def _spread(parts: Sequence[Tensor]) -> float:
    alike: dict[torch.Size, list[Tensor]] = {}
    for p in parts:
        alike.setdefault(p.shape[1:], []).append(p.double())
    every = [torch.cat(group) for group in alike.values()]
    return sum(float((each - each.mean(0)).square().sum()) for each in every)


def _dot(a: Point, b: Point) -> float:
    return sum(float((a[n] * b[n]).sum(dtype=torch.float64)) for n in a)


def _add(a: Point, factor: float, b: Point) -> Point:
    return {n: t + factor * b[n] for n, t in a.items()}
