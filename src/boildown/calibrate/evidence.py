"""What calibration samples say of a network: the evidence that criteria judge weights by."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from boildown.calibrate.batches import calibration_flops, split_batch
from boildown.calibrate.curvature import PROBES, mean_traces
from boildown.calibrate.gradients import gradients
from boildown.calibrate.units import Activity, activities
from boildown.forward import evaluating, first_input, hooks, inputs_of

FEW = 8  # samples whose mean gradient is one sample of the empirical Fisher matrix
FISHER_BYTES = 2**30  # of the blocks that are held at once


class EvidenceError(ValueError):
    """Evidence that was asked for and cannot be had."""


@dataclass(frozen=True)
class Gradients:
    """Moments of the loss's gradient over calibration batches.

    Attributes:
        mean: name -> mean of the batches' gradients, shaped like the parameter.
        square: name -> mean of their squares: the diagonal of the empirical Fisher matrix, up to
            the size of a batch.
    """

    mean: Mapping[str, Tensor]
    square: Mapping[str, Tensor]


class Evidence:
    """What passes over calibration samples say; collected when first asked for, and then kept.

    However many ask for it, there is one pass for each kind. A pass holds one batch's activations
    and sums as large as the parameters; weights, buffers, modes, gradients and random generators
    are afterwards as they were.

    Args:
        model: the network, whose forward takes the inputs of a batch.
        names: of the parameters that are judged.
        batches: makes the calibration batches, the same each time; None: there are none.
        loss: batch -> scalar, through `model`; None: it is not known.
        movement: gives what training has summed up so far (see there); None: nothing has.

    Attributes:
        flops: spent on passes so far.
    """

    def __init__(
        self,
        model: nn.Module,
        names: Iterable[str],
        batches: Callable[[], Sequence[Any]] | None = None,
        loss: Callable[[Any], Tensor] | None = None,
        movement: Callable[[], Mapping[str, Tensor]] | None = None,
    ) -> None:
        self.model, self.names = model, list(names)
        self._batches, self._loss, self._movement = batches, loss, movement
        self.flops = 0

    def anew(self, names: Iterable[str]) -> "Evidence":
        """Of the same samples, what the network as it is now says of some parameters."""
        return Evidence(self.model, names, self._batches, self._loss, self._movement)

    @cached_property
    def inputs(self) -> list[Tensor]:
        """The calibration inputs, batch by batch.

        Raises:
            EvidenceError: without batches.
        """
        return [inputs_of(batch) for batch in self._calibration("inputs")]

    @cached_property
    def gradients(self) -> Gradients:
        """Of the loss, for each parameter that is judged.

        Raises:
            EvidenceError: without batches or a loss.
        """
        loss = self._differentiable()
        weights = {name: self.model.get_parameter(name) for name in self.names}
        sums = {name: torch.zeros_like(w, dtype=torch.float32) for name, w in weights.items()}
        squares = {name: torch.zeros_like(total) for name, total in sums.items()}
        batches = self._calibration("gradients")
        for found in gradients(self.model, batches, self.names, loss):
            for name, gradient in found.items():
                sums[name] += gradient
                squares[name] += gradient.float().square()
        self._charge(batches, passes=3)
        count = len(batches)
        return Gradients(
            {name: total / count for name, total in sums.items()},
            {name: total / count for name, total in squares.items()},
        )

    @cached_property
    def input_squares(self) -> Mapping[str, Tensor]:
        """The mean square of what each weight is multiplied with, to broadcast against the weight.

        Name -> (1, inputs) for a linear layer; (outputs, inputs / groups, 1, ...) by channel for a
        convolution; (symbols, 1), the frequency of each, for an embedding. Only for weights of such
        layers.

        Raises:
            EvidenceError: without batches.
        """
        batches = self._calibration("inputs")
        totals: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        with evaluating(self.model), torch.no_grad(), self._watching(totals, counts):
            for batch in batches:
                self.model(inputs_of(batch))
        self._charge(batches, passes=1)
        return {name: total / counts[name] for name, total in totals.items()}

    @cached_property
    def traces(self) -> Mapping[str, float]:
        """The mean of the diagonal of the loss's Hessian, for each parameter that is judged.

        Raises:
            EvidenceError: without batches or a loss.
        """
        loss, batches = self._differentiable(), self._calibration("gradients")
        found = mean_traces(self.model, batches, self.names, loss)
        self._charge(batches, passes=3 + 6 * PROBES)  # a product goes back through forward and back
        return found

    def mean_loss(self) -> float:
        """The loss of the network as it is now, a mean over the samples.

        Raises:
            EvidenceError: without batches or a loss.
        """
        loss, batches = self._differentiable(), self._calibration("losses")
        total, count = 0.0, 0
        with evaluating(self.model):
            for batch in batches:
                size = len(inputs_of(batch))
                total, count = total + float(loss(batch)) * size, count + size
        self._charge(batches, passes=1)
        return total / count

    def fisher(self, size: int) -> Iterator[tuple[str, slice, Tensor]]:
        """Blocks on the diagonal of the empirical Fisher matrix, the mean of g g^T.

        The weights of a tensor, flattened, go in blocks of `size`. Each g is the mean gradient of 8
        samples; the blocks are scaled to what single samples would give, if their mean is 0. No
        more than a gigabyte is held at a time: what is larger takes several passes.

        Args:
            size: of a block, at least 1; 1 for the diagonal alone.

        Yields:
            A tensor's name, which of its flattened entries, and the (blocks, size, size) float32 of
            these. The last block of a tensor is filled up with zeros.

        Raises:
            EvidenceError: without batches or a loss.
        """
        loss, batches = self._differentiable(), self._calibration("gradients")
        parts, samples = _in_few(batches)
        for spans in self._spans(size):
            sums = [torch.zeros(1)] * len(spans)
            for part in parts:
                count = len(inputs_of(part))
                for found in gradients(self.model, [part], {n for n, _ in spans}, loss):
                    for i, (name, span) in enumerate(spans):
                        if name in found:
                            sums[i] = _add_blocks(sums[i], found[name], span, size, count**2)
            self._charge(batches, passes=3)
            for (name, span), total in zip(spans, sums, strict=True):
                if total.ndim == 1:  # the loss does not depend on it
                    blocks = -(-(span.stop - span.start) // size)
                    total = self.model.get_parameter(name).new_zeros(blocks, size, size).float()
                yield name, span, total.div_(samples)

    def fisher_rows(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Gradients of 8 samples each, of which the sum of g g^T is the empirical Fisher matrix.

        Scaled as `fisher` is.

        Args:
            names: of parameters, judged or not.

        Returns:
            Name -> (k, *shape) float32.

        Raises:
            EvidenceError: without batches or a loss.
        """
        loss, batches = self._differentiable(), self._calibration("gradients")
        parts, samples = _in_few(batches)
        shapes = {name: self.model.get_parameter(name) for name in names}
        rows = {n: w.new_zeros(len(parts), *w.shape).float() for n, w in shapes.items()}
        for i, found in enumerate(gradients(self.model, parts, names, loss)):
            for name, gradient in found.items():
                rows[name][i] = gradient * (len(inputs_of(parts[i])) / samples**0.5)
        self._charge(batches, passes=3)
        return rows

    def _spans(self, size: int) -> Iterator[list[tuple[str, slice]]]:
        """Entries of the tensors whose blocks may be held together."""
        step = max(FISHER_BYTES // (4 * size * size), 1) * size
        now: list[tuple[str, slice]] = []
        held = 0
        for name in self.names:
            entries = self.model.get_parameter(name).numel()
            for start in range(0, entries, step):
                span = slice(start, min(start + step, entries))
                if now and held + span.stop - start > step:
                    yield now
                    now, held = [], 0
                now.append((name, span))
                held += span.stop - start
        if now:
            yield now

    @cached_property
    def activity(self) -> Mapping[str, Activity]:
        """How active the units behind each weight are (`boildown.calibrate.units`).

        Only for weights of linear and convolution layers that the batches reach.

        Raises:
            EvidenceError: without batches.
        """
        batches = self._calibration("activations")
        layers = {name.rpartition(".")[0]: name for name in self.names if name.endswith("weight")}
        found = activities(self.model, map(inputs_of, batches), layers)
        self._charge(batches, passes=1)
        return {layers[layer]: activity for layer, activity in found.items()}

    @cached_property
    def movement(self) -> Mapping[str, Tensor]:
        """For each parameter, the sum of -w g over the optimizer's steps since pruning began.

        A callback that prunes in training sums it up once a criterion has asked for it.

        Raises:
            EvidenceError: where nothing is trained.
        """
        if self._movement is None:
            raise EvidenceError(
                "the movement of the weights is needed, and nothing is trained here: prune in "
                "training, with boildown.callbacks.Prune"
            )
        return self._movement()

    def _differentiable(self) -> Callable[[Any], Tensor]:
        if self._loss is None:
            raise EvidenceError("gradients are needed, and there is no loss to take them of")
        return self._loss

    @contextmanager
    def _watching(self, totals: dict[str, Tensor], counts: dict[str, int]) -> Iterator[None]:
        with hooks() as handles:
            for path, module in self.model.named_modules():
                name = f"{path}.weight" if path else "weight"
                if name in self.names and isinstance(module, _Layers):
                    see = partial(_see, name, totals, counts)
                    handles.append(module.register_forward_pre_hook(see, with_kwargs=True))
            yield

    def _calibration(self, what: str) -> Sequence[Any]:
        batches = self._batches() if self._batches is not None else []
        if not batches:
            raise EvidenceError(
                f"{what} are needed, and there are no calibration batches to collect them from: "
                "give calibration=, a function that makes some, such as your train_dataloader"
            )
        return batches

    def _charge(self, batches: Sequence[Any], passes: int) -> None:
        inputs = [inputs_of(batch) for batch in batches]
        self.flops += calibration_flops(self.model, inputs, passes=passes)


def _in_few(batches: Sequence[Any]) -> tuple[list[Any], int]:
    """Parts of a few samples, and how many samples there are."""
    parts = [part for batch in batches for part in split_batch(batch, FEW)]
    return parts, sum(len(inputs_of(part)) for part in parts)


def _add_blocks(total: Tensor, gradient: Tensor, span: slice, size: int, scale: float) -> Tensor:
    """The sum of g g^T in blocks, with one more."""
    entries = gradient.flatten()[span].float()
    rows = nn.functional.pad(entries, (0, -len(entries) % size)).view(-1, size)
    if total.ndim == 1:  # the first
        return scale * rows[:, :, None] * rows[:, None, :]
    return total.baddbmm_(rows[:, :, None], rows[:, None, :], alpha=scale)


_Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
_Layers = nn.Linear | _Conv | nn.Embedding


def _see(
    name: str,
    totals: dict[str, Tensor],
    counts: dict[str, int],
    layer: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    squares, count = _squares(layer, first_input(args, kwargs))
    totals[name] = totals[name] + squares if name in totals else squares
    counts[name] = counts.get(name, 0) + count


def _squares(layer: nn.Module, inputs: Tensor) -> tuple[Tensor, int]:
    """Sums of squares of a layer's inputs, to broadcast against its weight, and of how many."""
    if isinstance(layer, nn.Embedding):
        seen = torch.bincount(inputs.flatten(), minlength=layer.num_embeddings)
        return seen.float()[:, None], inputs.numel()
    if isinstance(layer, nn.Linear):
        rows = inputs.reshape(-1, inputs.shape[-1]).float()
        return rows.square().sum(0, keepdim=True), len(rows)
    assert isinstance(layer, _Conv)
    axes = layer.weight.ndim - 2
    batch = inputs if inputs.ndim == axes + 2 else inputs[None]
    channels = batch.float().square().transpose(0, 1).flatten(1).sum(1)
    each = channels.reshape(layer.groups, -1).repeat_interleave(
        layer.out_channels // layer.groups, 0
    )
    return each.reshape(*each.shape, *[1] * axes), batch.numel() // len(channels)
