"""Whole outputs of layers that the layers behind them can do without, given how ranks are chosen.

An output that goes takes its row of the layer with it, and its inputs of the layer that reads it;
at rank r that saves r parameters on either side. The reader is fitted to make up for it.
"""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from boildown.calibrate.moments import moments_of
from boildown.forward import evaluating, run, tensors_of
from boildown.lowrank.activation import regressed
from boildown.lowrank.fitted_layer import Dense
from boildown.lowrank.form import FLOOR, output_form
from boildown.lowrank.studied import Studied
from boildown.structure.consumers import FEW, Reader, readers
from boildown.structure.eliminate import eliminate, without
from boildown.structure.narrow import narrow

FRACTIONS = (0.01, 0.02, 0.04, 0.06, 0.08, *(k / 20 for k in range(2, 18)))  # of a layer's outputs
DAMPINGS = (None, 1e-3)  # candidates; chosen by held-out error
ROUNDS = 3  # of ranks for the widths and widths for the ranks
HALVINGS = 40
WIDEST = 8192  # entries of a reader's kernel, or features, above which its inputs all stay
AGREES = 1e-3  # of the largest output: the same but for rounding


@dataclass(frozen=True)
class Dropping:
    """One layer's outputs in the order in which they go.

    Attributes:
        reader: the layer that reads them.
        order: (outputs,) those that may go, the first first.
        changes: how many go -> what that changes, see `Studied.change`; 0 is there.
        damping: with which the reader is fitted, see `boildown.lowrank.activation.whitened`.
    """

    reader: Reader
    order: Tensor
    changes: dict[int, float]
    damping: float | None = None


def droppings(net: Studied, tick: Callable[[int], None]) -> dict[str, Dropping]:
    """What dropping outputs would change, for each layer whose outputs one other layer reads.

    Args:
        net: the network; both layers are among its layers.
        tick: called with 1 for each of its layers.
    """
    found: dict[str, Dropping] = {}
    read = readers(net.model, net.batches[0], net.layers)
    passes = sum(2 * _size_of(net, name)[0].bit_length() + 2 for name in net.layers)
    net.flops += passes * net.pass_flops * FEW // sum(map(len, net.batches))
    for name in net.layers:
        reader = read.get(name)
        if reader is not None and reader.layer in net.layers and _narrows(net, name, reader):
            one = _dropping(net, reader)
            if one is not None:
                found[name] = one
        tick(1)
    return found


def _dropping(net: Studied, reader: Reader) -> Dropping | None:
    layer = net.layers[reader.layer]
    weight = cast("nn.Linear", layer.module).weight.detach()
    matrix, groups = weight.flatten(1), _columns(weight, reader.inputs)
    if matrix.shape[1] > WIDEST:
        return None
    outputs = len(groups)
    counts = sorted({round(fraction * outputs) for fraction in FRACTIONS} - {0, outputs})
    if not counts:
        return None
    gradients = layer.gradients[0]
    form = output_form(gradients, FLOOR) if gradients.count else None
    seen = moments_of(layer.seen.inputs[0])
    parts = [moments_of(fit.inputs[0]) for fit, _ in net.folds(layer.seen)]
    n, k = matrix.shape[1], groups.shape[1]
    best: Dropping | None = None
    for damping in DAMPINGS:
        order = eliminate(
            matrix, layer.bias, seen, groups, most=counts[-1], damping=damping, form=form
        ).order
        net.flops += 2 * counts[-1] * n * k * (n + len(matrix))
        changes = {0: 0.0}
        for count in counts:
            kept = _others(n, groups[order[:count]].flatten())
            solutions = []
            for moments in parts:
                now, bias = without(matrix, layer.bias, moments, kept, damping=damping)
                full = torch.zeros_like(matrix)
                full[:, kept] = now
                solutions.append(Dense(full.view_as(weight), bias))
            net.flops += len(parts) * len(kept) ** 2 * (len(kept) // 3 + 2 * len(matrix))
            changes[count] = max(net.change(reader.layer, solutions), *changes.values())
        one = Dropping(reader, order, changes, damping)
        if best is None or _total(one) < _total(best):
            best = one
    return best


def _total(one: Dropping) -> float:
    """Of what dropping outputs changes, over all counts alike."""
    return sum(math.log(max(lost, 1e-12)) for lost in one.changes.values())


def outputs_to_drop(
    net: Studied,
    curves: Mapping[str, Mapping[int, float]],
    found: Mapping[str, Dropping],
    change: float,
) -> dict[str, int]:
    """How many outputs of each layer go, when ranks and widths are to change so much together.

    Lagrangian: drop whatever costs less than price x parameters saved; bisect the price until all
    together change as much as is wanted. Ranks are found for given widths and widths for given
    ranks, in turns.

    Args:
        net: the network.
        curves: layer -> rank -> what it changes.
        found: layer -> what dropping outputs changes.
        change: of all together.

    Returns:
        layer -> outputs that go, at least one.
    """
    best = _Lagrangian(net, curves, found)
    low, high = 1e-15, 1.0
    counts: dict[str, int] = {}
    for _ in range(HALVINGS):
        price = math.sqrt(low * high)
        now, total = best.at(price)
        if total <= change:
            counts, low = now, price
        else:
            high = price
    return {name: count for name, count in counts.items() if count}


@dataclass(frozen=True)
class _Lagrangian:
    """The best ranks and widths for a price of a parameter."""

    net: Studied
    curves: Mapping[str, Mapping[int, float]]
    found: Mapping[str, Dropping]

    def at(self, price: float) -> tuple[dict[str, int], float]:
        """Outputs that go at the price of a parameter, and what they and the ranks change."""
        counts = dict.fromkeys(self.found, 0)
        for _ in range(ROUNDS):
            sizes = self.sizes(counts)
            ranks = {name: self.rank(name, price, *sizes[name]) for name in self.net.layers}
            for name, one in self.found.items():
                each = price * self.each(name, ranks, sizes)
                costs = {count: lost - each * count for count, lost in one.changes.items()}
                counts[name] = min(costs, key=lambda count: costs[count])
        lost = sum(self.curves[name][rank] for name, rank in ranks.items() if rank is not None)
        return counts, lost + sum(self.found[n].changes[count] for n, count in counts.items())

    def sizes(self, counts: Mapping[str, int]) -> dict[str, list[int]]:
        """Outputs and inputs of each layer when so many outputs have gone."""
        sizes = {name: list(_size_of(self.net, name)) for name in self.net.layers}
        for name, count in counts.items():
            reader = self.found[name].reader
            sizes[name][0] -= count
            sizes[reader.layer][1] -= count * reader.inputs.shape[1]
        return sizes

    def rank(self, name: str, price: float, outputs: int, inputs: int) -> int | None:
        """A layer's, None for none, for its size."""
        layer = self.net.layers[name]
        changes: dict[int | None, float] = {None: 0.0} | dict(self.curves[name].items())
        costs = {r: c + price * layer.parameters_of(r, outputs, inputs) for r, c in changes.items()}
        return min(costs, key=lambda rank: costs[rank])

    def each(
        self, name: str, ranks: Mapping[str, int | None], sizes: Mapping[str, list[int]]
    ) -> int:
        """Parameters that go with one more output of a layer."""
        reader = self.found[name].reader
        saved = 0
        for layer, less in ((name, (1, 0)), (reader.layer, (0, reader.inputs.shape[1]))):
            outputs, inputs = sizes[layer]
            one, rank = self.net.layers[layer], ranks[layer]
            saved += one.parameters_of(rank, outputs, inputs)
            saved -= one.parameters_of(rank, outputs - less[0], inputs - less[1])
        return saved


def narrowed(
    net: Studied, found: Mapping[str, Dropping], counts: Mapping[str, int]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network without some outputs, its layers fitted to make up for it one after the other.

    Args:
        net: the network.
        found: see `droppings`.
        counts: layer -> how many of its outputs go.

    Returns:
        The narrower network; layer -> (k,) the outputs that are left. The network itself and {} if
        it does not run, or says something else, without all these together.
    """
    gone = {name: found[name].order[:count] for name, count in counts.items()}
    readers = {name: found[name].reader for name in counts}
    model, outputs, inputs = _without(net, gone, readers)
    if not _agrees(net, model, gone, readers):
        return net.model, {}
    dampings = {found[name].reader.layer: found[name].damping for name in counts}
    for name in [name for name in net.layers if name in inputs]:
        layer, damping = net.layers[name], dampings[name]
        own = cast("nn.Linear", layer.module).weight.detach()
        kept = _columns(own, inputs[name]).flatten()
        seen = moments_of(layer.seen.inputs[0])
        weight, bias = without(own.flatten(1), layer.bias, seen, kept, damping=damping)
        targets = layer.seen.outputs[0]
        if name in outputs:
            rows = outputs[name].to(weight.device)
            weight, targets = weight[rows], targets[:, rows]
            bias = None if bias is None else bias[rows]
        x = net.see(model, [name])[name].inputs[0]
        every = regressed(weight, bias, x, targets, damping=damping)
        factors, bias = every.truncate(every.full)
        module = cast("nn.Linear", model.get_submodule(name))
        with torch.no_grad():
            module.weight.copy_(factors.product().view_as(module.weight))
            if bias is not None:
                module.bias.copy_(bias)
    return model, outputs


def _without(
    net: Studied, gone: Mapping[str, Tensor], readers: Mapping[str, Reader]
) -> tuple[nn.Module, dict[str, Tensor], dict[str, Tensor]]:
    """The network without some outputs; layer -> the outputs and the inputs that are left."""
    outputs: dict[str, Tensor] = {}
    lost: dict[str, list[Tensor]] = {}
    for name, dropped in gone.items():
        outputs[name] = _others(_size_of(net, name)[0], dropped)
        lost.setdefault(readers[name].layer, []).append(readers[name].inputs[dropped].flatten())
    inputs = {name: _others(_size_of(net, name)[1], torch.cat(each)) for name, each in lost.items()}
    return narrow(net.model, outputs=outputs, inputs=inputs), outputs, inputs


def _narrows(net: Studied, name: str, reader: Reader) -> bool:
    """Whether the network can do without the first outputs of a layer, the last, and half of them.

    Its forward pass is anyone's code: it may count on how many there are.
    """
    outputs = len(reader.inputs)
    every = torch.arange(outputs)
    for some in (every[:1], every[-1:], every[: outputs // 2]):
        gone, readers = {name: some}, {name: reader}
        if not _agrees(net, _without(net, gone, readers)[0], gone, readers):
            return False
    return True


def _agrees(
    net: Studied, smaller: nn.Module, gone: Mapping[str, Tensor], readers: Mapping[str, Reader]
) -> bool:
    """Whether a narrower network runs, and says what the network says that does not read them."""
    few = net.batches[0][:FEW]
    model = copy.deepcopy(net.model)
    with evaluating(model):
        for name, dropped in gone.items():
            weight = cast("nn.Linear", model.get_submodule(readers[name].layer)).weight
            weight[:, readers[name].inputs[dropped].flatten().to(weight.device)] = 0.0
        expected = tensors_of(run(model, few))
    try:
        with evaluating(smaller):
            said = tensors_of(run(smaller, few))
    except Exception:  # whatever its forward pass raises
        return False
    return len(said) == len(expected) and all(map(_alike, said, expected))


def _alike(said: Tensor, expected: Tensor) -> bool:
    if said.shape != expected.shape:
        return False
    if not said.is_floating_point():
        return torch.equal(said, expected)
    finite = expected[expected.isfinite()].abs()
    within = AGREES * float(finite.max()) if finite.numel() else 0.0
    return torch.allclose(said, expected, rtol=0.0, atol=within, equal_nan=True)


def _size_of(net: Studied, name: str) -> tuple[int, int]:
    """A layer's outputs and inputs, the latter of one group."""
    outputs, inputs = net.layers[name].module.get_parameter("weight").shape[:2]
    return outputs, inputs


def _columns(weight: Tensor, inputs: Tensor) -> Tensor:
    """(..., k * kernel) of inputs (..., k): where they are in the flattened weight."""
    size = math.prod(weight.shape[2:])
    at = inputs[..., None] * size + torch.arange(size)
    return at.flatten(-2).to(weight.device)


def _others(count: int, gone: Tensor) -> Tensor:
    left = torch.ones(count, dtype=torch.bool)
    left[gone.cpu()] = False
    return left.nonzero()[:, 0]
