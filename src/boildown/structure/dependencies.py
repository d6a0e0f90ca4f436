"""Dependency groups: what has to go together when a network gets narrower.

Removing a channel takes its row of the layer that makes it, its entries of norms, and its columns
of all that read it; where networks add, concatenate and reshape, this couples many layers. Found by
labels that are carried through one forward pass (`boildown.structure.propagation`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from boildown.flops import decomposed
from boildown.forward import evaluating, hooks, tensors_of
from boildown.structure.labels import FIXED, Labels, varying
from boildown.structure.narrow_norms import can_narrow
from boildown.structure.propagation import Propagation
from boildown.structure.rules import RULES

PASSES = 10  # of a trace at most, until nothing more is united
Place = tuple[str, int]  # a parameter or buffer by its name, and an axis of it


class UntraceableError(ValueError):
    """A forward pass that cannot be followed."""


@dataclass(frozen=True)
class Group:
    """Channels, units or heads that live in the same places, any of which may go.

    Attributes:
        name: of the layer that makes them, with a number where it makes those of several groups.
        units: for each of them, place -> (k,) the indices there that go with it.
        numbers: (module, attribute) -> what it counts for each unit: numbers in the network's
            modules that have to change with the number of units, such as that of heads.
    """

    name: str
    units: tuple[Mapping[Place, Tensor], ...]
    numbers: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.units)

    @property
    def places(self) -> list[Place]:
        return list(self.units[0])


def call(model: nn.Module, example_input: Any) -> Any:
    """The model's output for a tensor, a tuple of arguments, or a mapping of named ones."""
    if isinstance(example_input, Mapping):
        return model(**example_input)
    return model(*example_input) if isinstance(example_input, tuple) else model(example_input)


def coupled(model: nn.Module, example_input: Any) -> list[Group]:
    """The dependency groups of a network, as one forward pass shows them.

    What is in the model's output is never removed, and neither is what an operation mixes in a way
    that counts how much there is (a softmax over channels, a norm of one's own) or what
    `boildown.structure.propagation` has no rule for. Attention loses heads, with grouped queries
    those that share a key; grouped convolutions lose groups or the same channels of each.

    Args:
        model: is not changed; the pass is made in evaluation mode.
        example_input: a tensor, a tuple of arguments or a mapping of named ones; one sample is
            enough.

    Returns:
        Groups with at least two units, in the order of the network's parameters.

    Raises:
        UntraceableError: if the forward pass raises, or it reads no parameter that PyTorch sees.
    """
    labels = Labels()
    axes: dict[str, list[Tensor]] = {}
    padding: dict[tuple[int, int], Tensor] = {}
    before = -1
    for _ in range(PASSES):  # what is united late may have a say earlier on
        for slot in _pass(model, example_input, labels, axes, padding):
            _make_rectangular(labels, slot)
        if labels.count == before:
            break
        before = labels.count
    if not axes:
        raise UntraceableError(
            f"no operation of {type(model).__name__}'s forward pass reads its parameters"
        )
    return _groups(model, labels, axes)


def _pass(
    model: nn.Module,
    example_input: Any,
    labels: Labels,
    axes: dict[str, list[Tensor]],
    padding: dict[tuple[int, int], Tensor],
) -> list[Tensor]:
    net = Propagation(model, labels, axes, padding, RULES)

    def enter(module: nn.Module, *_: Any) -> None:
        net.inside.append(module)
        net.silent += _computes_itself(module)

    def leave(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        net.inside.pop()
        if _computes_itself(module):
            net.silent -= 1
            net.put(output, net.normalised(tensors_of((args, kwargs))[0], module))
        elif isinstance(module, nn.MultiheadAttention):
            net.tie_heads(module)

    with evaluating(model), decomposed(), hooks() as handles:
        for module in model.modules():
            handles.append(module.register_forward_pre_hook(enter, prepend=True))
            handles.append(module.register_forward_hook(leave, with_kwargs=True))
        try:
            with net:
                output = call(model, example_input)
        except Exception as error:
            line = str(error).strip().partition("\n")[0]
            raise UntraceableError(
                f"the forward pass of {type(model).__name__} cannot be followed with this example: "
                f"{type(error).__name__}: {line}"
            ) from error
        net.fix(tensors_of(output))
    return net.splits


def _first_index(place: Place, unit: Mapping[Place, Tensor]) -> int:
    return int(unit[place][0])


def _computes_itself(module: nn.Module) -> bool:
    """Whether a module has a rule of its own, and what it does inside is not looked at."""
    return can_narrow(module) and type(module) is not nn.LayerNorm


def _make_rectangular(labels: Labels, slot: Tensor) -> None:
    """Unite labels until they change along one axis alone, the one that leaves most."""
    slot = labels.resolved(slot)
    axes = varying(slot)
    if len(axes) < 2:
        return

    def left(axis: int) -> int:
        lines = slot.movedim(axis, 0).flatten(1).tolist()
        sets: list[set[int]] = []
        for line in lines:
            one = set(line)
            apart = [s for s in sets if not s & one]
            sets = [*apart, one.union(*(s for s in sets if s & one))]
        return len(sets)

    best = max(axes, key=left)
    for axis in axes:
        if axis != best:
            labels.merge(slot, axis)


def _groups(model: nn.Module, labels: Labels, axes: Mapping[str, Sequence[Tensor]]) -> list[Group]:
    units: dict[int, dict[Place, Tensor]] = defaultdict(dict)
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    for name in sorted(axes, key=list(tensors).index):
        for axis, own in enumerate(axes[name]):
            found = labels.resolved(own) if len(own) > 1 else own[:0]
            if len(found) < 2:  # all of one
                found = torch.full((len(own),), FIXED)
            for label in found.unique().tolist():
                units[label][name, axis] = (found == label).nonzero()[:, 0]
            whole = labels.resolved(own)
            if len(whole) == 1:
                labels.fix(whole)
    return _alike(units, labels, tensors)


def _alike(
    units: Mapping[int, Mapping[Place, Tensor]], labels: Labels, tensors: Mapping[str, Tensor]
) -> list[Group]:
    """Those units that may go, together with those that live in the same places."""
    alike: dict[tuple[Any, ...], list[Mapping[Place, Tensor]]] = defaultdict(list)
    fixed = set(labels.resolved(torch.tensor([FIXED])).tolist())
    for label, unit in units.items():
        root = int(labels.resolved(torch.tensor([label]))[0])
        if root not in fixed:
            alike[tuple((place, len(at)) for place, at in unit.items())].append(unit)
    found: list[Group] = []
    names: dict[str, int] = defaultdict(int)
    for each in alike.values():
        if len(each) > 1:
            rows = [(n, a) for n, a in each[0] if a == 0 and tensors[n].ndim > 1]
            first = next(iter(rows or each[0]))
            ordered = sorted(each, key=partial(_first_index, first))
            name = first[0].rpartition(".")[0] or first[0]
            names[name] += 1
            number = f"#{names[name]}" if names[name] > 1 else ""
            found.append(Group(f"{name}{number}", tuple(ordered)))
    return found
