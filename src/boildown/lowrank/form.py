"""What an error of a layer's weight does to what the network says, to second order.

Of the network's outputs a change D of a weight moves, on average over samples, about
||L D R||^2, where L^T L is the second moment of the gradients of the layer's outputs and R R^T that
of its inputs. In this form the singular value decomposition is still the best truncation, and the
errors of different layers can be compared and added up, which those of bare weights cannot.
"""

import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from boildown.calibrate.batches import CalibrationError, Data
from boildown.calibrate.gradients import gradients, parts_of, projected, watching
from boildown.calibrate.moments import Moments, damped_second
from boildown.calibrate.samples import rows_of
from boildown.forward import run
from boildown.lowrank.scheme import Scheme, matrices
from boildown.lowrank.svd import Spectrum, decompose
from boildown.seeds import generator

FLOOR = 0.01  # of the gradients' second moment, in units of its mean diagonal
LARGEST = 4096  # inputs or outputs above which a layer's form is a mere number
POSITIONS = 16  # places per image at which a convolution is seen


@dataclass(frozen=True)
class Form:
    """||left D right||^2 for a change D (m, n) of a matrix.

    Attributes:
        left: (m, m) float64 upper triangular, or a number for that multiple of the identity.
        right: (n, n) float64 lower triangular, or a number likewise.
    """

    left: Tensor | float
    right: Tensor | float

    def decompose(self, weight: Tensor) -> Spectrum:
        """W = u diag(s) v^T, whose truncations are the best ones in this form.

        Args:
            weight: (m, n) floats.

        Returns:
            `tails` are squared errors in this form; left u and right^T v have orthonormal
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

    def to(self, device: torch.device | str) -> "Form":
        """The same, there."""
        left, right = (
            x.to(device) if isinstance(x, Tensor) else x for x in (self.left, self.right)
        )
        return Form(left, right)


def _turned(factor: Tensor | float) -> Tensor | float:
    return factor.mT if isinstance(factor, Tensor) else factor


def _undone(factor: Tensor | float, vectors: Tensor) -> Tensor:
    """What the upper triangular factor makes these vectors of."""
    if isinstance(factor, Tensor):
        solved: Tensor = torch.linalg.solve_triangular(factor, vectors, upper=True)
        return solved
    return vectors / factor


def output_form(gradients: Moments, floor: float = 0.1) -> Tensor:
    """What errors of a layer's outputs do to the network's, to second order: E[g g^T].

    Gradients g of v . logits with respect to the layer's outputs, v drawn from N(0, I) less its own
    mean, give the Gauss-Newton matrix of the logits' differences; of the log-probability of a class
    drawn from the network's own, the Fisher information. No labels are needed. With a form, a
    truncation is the best one in both Kronecker factors, the inputs' and the gradients'.

    Args:
        gradients: moments of g (m,), one for each calibration input, or several.
        floor: added to the diagonal, in units of its mean; above 0.

    Returns:
        (m, m) float64, symmetric positive definite; the identity if all gradients were 0.

    Raises:
        ValueError: if there were no gradients, or `floor` is not above 0.

    Source: Martens & Grosse 2015 (K-FAC), https://arxiv.org/abs/1503.05671
    """
    if not floor > 0.0:
        raise ValueError(f"floor must be above 0, got {floor!r}")
    form = gradients.second()
    mean = float(form.diagonal().mean())
    form.diagonal().add_(floor * mean if mean > 0.0 else 1.0)
    return form


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
        """Take in what the layer took and how the outputs answer to what it gave."""
        if not self.factored:
            return
        assert isinstance(self.module, nn.Linear | nn.Conv2d)
        rows = rows_of(self.module, inputs, gradient, POSITIONS, g)
        for moments, each in zip((self.inputs, self.gradients), rows, strict=True):
            for one, group in zip(moments, each, strict=True):
                one.update(group)

    def add(self, gradient: Tensor) -> None:
        """Take in the gradient of its weight."""
        gradient = gradient.to_dense() if gradient.is_sparse else gradient
        split = matrices(gradient.double(), self.scheme, self.groups)
        self.squares += split.square().sum((1, 2)).cpu()

    def forms(self, samples: int, least: float) -> list[Form]:
        """One for each group; `least` stands in for the size of what moves nothing."""
        found = []
        for inputs, answers, squares in zip(self.inputs, self.gradients, self.squares, strict=True):
            size = max(float(squares) / samples, least)
            if not self.factored or answers.count == 0:  # nothing of it comes out
                found.append(Form(math.sqrt(size / math.prod(self.shape)), 1.0))
                continue
            second = damped_second(inputs, None, centred=False)
            weighed = output_form(answers, FLOOR)
            scale = size / float(second.trace() * weighed.trace())
            left = torch.linalg.cholesky(scale * weighed).mT
            found.append(Form(left, torch.linalg.cholesky(second)))
        return found


def measure(
    model: nn.Module, data: Data, layers: Mapping[str, Scheme], *, seed: int = 0
) -> dict[str, list[Form]]:
    """The form of each layer's matrices, from the network's gradients on a few hundred samples.

    The gradients are those of `boildown.calibrate.gradients.projected` outputs: their second moment
    is the Gauss-Newton matrix of the outputs. It is approximated by a Kronecker product of the
    inputs' and the gradients' second moments, scaled to its true trace; for embeddings, Conv1d and
    Conv3d, the spatial scheme and layers of more than 4096 inputs or outputs, or none of whose
    outputs comes out, by a multiple of the identity.

    Args:
        model: takes a batch of inputs alone; it is left as it was.
        data: the calibration data.
        layers: dotted path -> the scheme that says what its matrices are.
        seed: of the projections, and of the places at which convolutions are seen.

    Returns:
        Layer -> a form for each of its groups.

    Raises:
        CalibrationError: for an empty set; a layer the data never reach, or whose inputs or
            gradients are not finite, by name; a network whose layers move no tensor of its output.

    Source: Martens & Grosse 2015 (K-FAC), https://arxiv.org/abs/1503.05671
    """
    gathered = {n: _Gathered(model.get_submodule(n), scheme) for n, scheme in layers.items()}
    draws, samples = [generator(seed, 0)], 0

    def say(inputs: Tensor) -> Tensor:
        said = projected(run(model, inputs), draws[-1])
        if not said.requires_grad:
            raise CalibrationError(
                "the network returns no tensor that its layers move: return tensors, or lists, "
                "tuples or mappings of them"
            )
        return said

    def take(name: str, inputs: Tensor, gradient: Tensor) -> None:
        try:
            gathered[name].update(inputs, gradient, draws[-1])
        except ValueError as error:
            raise CalibrationError(f"{name}: {error}") from error

    def counted() -> Iterator[Tensor]:
        nonlocal samples
        for batch, inputs in enumerate(parts_of(data)):
            draws[-1] = generator(seed, batch)
            samples += len(inputs)
            yield inputs

    weights = {f"{name}.weight": name for name in layers}
    with watching(model, layers, take) as reached:
        for found in gradients(model, counted(), weights, say):
            for weight, gradient in found.items():
                gathered[weights[weight]].add(gradient)
    _check(gathered, reached)
    sizes = torch.cat([layer.squares for layer in gathered.values()]) / samples
    least = 1e-6 * float(sizes.max()) or 1.0
    return {name: layer.forms(samples, least) for name, layer in gathered.items()}


def _check(gathered: Mapping[str, _Gathered], reached: Container[str]) -> None:
    """Refuse what the samples do not show.

    Raises:
        CalibrationError: naming the layer.
    """
    for name, layer in gathered.items():
        if name not in reached:
            raise CalibrationError(
                f"the calibration data never reach layer {name}: exclude it, or calibrate with "
                "inputs that do"
            )
        if not torch.isfinite(layer.squares).all():
            raise CalibrationError(f"the gradients of layer {name} hold NaN or infinity")
