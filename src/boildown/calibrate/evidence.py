"""What calibration samples say of a network: the evidence that criteria judge weights by."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from boildown.calibrate.batches import calibration_flops
from boildown.calibrate.gradients import gradients
from boildown.forward import evaluating, first_input, hooks, inputs_of


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

    Attributes:
        flops: spent on passes so far.
    """

    def __init__(
        self,
        model: nn.Module,
        names: Iterable[str],
        batches: Callable[[], Sequence[Any]] | None = None,
        loss: Callable[[Any], Tensor] | None = None,
    ) -> None:
        self.model, self.names = model, list(names)
        self._batches, self._loss = batches, loss
        self.flops = 0

    @cached_property
    def gradients(self) -> Gradients:
        """Of the loss, for each parameter that is judged.

        Raises:
            EvidenceError: without batches or a loss.
        """
        if self._loss is None:
            raise EvidenceError("gradients are needed, and there is no loss to take them of")
        weights = {name: self.model.get_parameter(name) for name in self.names}
        sums = {name: torch.zeros_like(w, dtype=torch.float32) for name, w in weights.items()}
        squares = {name: torch.zeros_like(total) for name, total in sums.items()}
        batches = self._calibration("gradients")
        for found in gradients(self.model, batches, self.names, self._loss):
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
