"""Which elements of tensors stand and fall together: labels, and the unions they end up in.

A label stands for a channel, unit or head that might be removed. A slot is a tensor of labels
beside a tensor of values: same number of axes, of length 1 where the labels do not change along
one. A value may have several slots: that of a matrix belongs to a row and to a column.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

FIXED = 0  # the label of what can never be removed


@dataclass
class Labels:
    """Labels and their unions; that of `FIXED` is what is kept in any case."""

    _parents: list[int] = field(default_factory=lambda: [FIXED])
    _roots: Tensor | None = None

    def fresh(self, count: int) -> Tensor:
        """New labels, (count,) int64."""
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        self._roots = None
        return torch.arange(first, first + count)

    def union(self, one: Tensor, other: Tensor) -> None:
        """Unite the labels of two slots, element by element; they are broadcast."""
        pairs = torch.stack([t.flatten() for t in torch.broadcast_tensors(one, other)], 1)
        for a, b in pairs[pairs[:, 0] != pairs[:, 1]].unique(dim=0).tolist():
            first, second = sorted((self._find(a), self._find(b)))
            if first != second:
                self._parents[second] = first
                self._roots = None

    def merge(self, slot: Tensor, axis: int) -> None:
        """Unite all labels along an axis: it cannot get shorter, but by what it is whole."""
        self.union(slot, slot.narrow(axis, 0, 1))

    def fix(self, slot: Tensor) -> None:
        """Let nothing of this be removed."""
        self.union(slot, torch.tensor(FIXED))

    def resolved(self, slot: Tensor) -> Tensor:
        """The slot with one label for each union, of length 1 along axes where it is constant."""
        slot = self._table()[slot]
        for axis in range(slot.ndim):
            first = slot.narrow(axis, 0, 1)
            if slot.shape[axis] > 1 and (slot == first).all():
                slot = first
        return slot

    @property
    def count(self) -> int:
        """Of unions."""
        return len(self._table().unique())

    def _table(self) -> Tensor:
        if self._roots is None:
            roots = torch.tensor(self._parents)
            while not torch.equal(roots, further := roots[roots]):
                roots = further
            self._roots = roots
            self._parents = roots.tolist()
        return self._roots

    def _find(self, label: int) -> int:
        while self._parents[label] != label:
            label = self._parents[label]
        return label


def varying(slot: Tensor) -> list[int]:
    """The axes along which a resolved slot changes."""
    return [axis for axis, length in enumerate(slot.shape) if length > 1]


@dataclass(frozen=True)
class Operand:
    """A tensor's shape and slots, as an operation sees them.

    Attributes:
        shape: of the tensor.
        slots: resolved.
    """

    shape: Sequence[int]
    slots: Sequence[Tensor] = ()

    def aligned(self, axes: int) -> "Operand":
        """With axes of length 1 in front, as in broadcasting."""
        front = [1] * (axes - len(self.shape))
        return Operand([*front, *self.shape], [s.reshape(*front, *s.shape) for s in self.slots])


def elementwise(labels: Labels, operands: Sequence[Operand]) -> list[Tensor]:
    """What an operation on broadcast tensors, element by element, does to labels.

    Where one of them changes along an axis, the others have to be as long there, so they need
    labels that change along it as well, and these become one. Where one has none, nothing along
    that axis can be removed.

    Args:
        labels: are united.
        operands: of any number of axes.

    Returns:
        The slots of the result.
    """
    axes = max(len(operand.shape) for operand in operands)
    aligned = [operand.aligned(axes) for operand in operands]
    count = -1
    while count != labels.count:
        count = labels.count
        aligned = [Operand(o.shape, [labels.resolved(s) for s in o.slots]) for o in aligned]
        for one in aligned:
            for other in aligned:
                if one is not other:
                    _couple(labels, one, other)
    return distinct([labels.resolved(slot) for operand in aligned for slot in operand.slots])


def _couple(labels: Labels, one: Operand, other: Operand) -> None:
    for slot in one.slots:
        for axis in varying(slot):
            partners = [s for s in other.slots if axis in varying(s)]
            for partner in partners:
                labels.union(slot, partner)
            if not partners and other.shape[axis] > 1:
                labels.merge(slot, axis)


def distinct(slots: Sequence[Tensor]) -> list[Tensor]:
    """Those that change along some axis, each once."""
    found: list[Tensor] = []
    for slot in slots:
        if varying(slot) and not any(torch.equal(slot, other) for other in found):
            found.append(slot)
    return found
