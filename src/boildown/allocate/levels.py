"""What the sensitivity of layers needs of a technique, and the techniques that say it.

A room of boildown has a technique if its `levels.py` holds `LEVELS`; nothing else has to name it.
Imports no torch, so that a command line and a report can say what there is at once.
"""

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import boildown

if TYPE_CHECKING:
    from torch import Tensor, nn


class Measured(NamedTuple):
    """What a layer loses at a level.

    Attributes:
        level: a rank, a sparsity or bits; None for a layer that stays as it is.
        cost: in parameters, bytes or FLOPs.
        loss: of the whole network when only this layer is changed; the less, the better.
    """

    level: float | None
    cost: float
    loss: float


@dataclass(frozen=True, slots=True)
class Layer:
    """A trained parameter with two or more axes.

    Attributes:
        name: the parameter's dotted name.
        owners: the modules that hold it, each with its name in there; several where it is tied.
    """

    name: str
    owners: Sequence[tuple["nn.Module", str]]

    @property
    def title(self) -> str:
        """The layer's dotted path, or the parameter's name if it is not the layer's `weight`."""
        return self.name.removesuffix(".weight")

    @property
    def weight(self) -> "Tensor":
        """The parameter, looked up each time: a move to a device may replace it."""
        module, attribute = self.owners[0]
        return module.get_parameter(attribute)


class Wording(Protocol):
    """How a table and a plot speak of a technique's levels."""

    @property
    def level_unit(self) -> str:
        """Of a level, such as "bits per weight"."""

    @property
    def cost_unit(self) -> str:
        """Of a layer's cost, such as "bytes"."""

    @property
    def scale(self) -> Literal["linear", "doubling", "each"]:
        """How the levels lie on an axis; "each" has a mark at every level."""

    def said(self, level: float) -> str:
        """A level as a person would say it, such as "3 bits"."""


class Levels(Wording, Protocol):
    """A technique that can be applied to one layer by itself, at levels."""

    @property
    def name(self) -> str:
        """What it is asked for by."""

    @property
    def key(self) -> str:
        """What its measurements are kept under: other results have another one."""

    def check(self, level: float) -> float:
        """The level, as an int where levels are whole.

        Raises:
            ValueError: if no layer whatever can have it.
        """

    def most(self, layer: Layer) -> float:
        """The highest level that a layer can have; 0 if it can have none."""

    def default(self, layer: Layer) -> Sequence[float]:
        """The levels that a layer is measured at unless others are asked for, rising."""

    def cost(self, layer: Layer, level: float | None) -> float:
        """What a layer costs at a level; None: unchanged."""

    def changes(self, layer: Layer) -> "Callable[[float], Tensor]":
        """What makes the changed weight of a level."""


@cache
def found() -> dict[str, Levels]:
    """The techniques of boildown's rooms, by name."""
    techniques: dict[str, Levels] = {}
    for room in pkgutil.iter_modules(boildown.__path__):
        places = [f"{place}/{room.name}" for place in boildown.__path__]
        if any(module.name == "levels" for module in pkgutil.iter_modules(places)):
            there = import_module(f"boildown.{room.name}.levels")
            levels: Levels | None = getattr(there, "LEVELS", None)
            if levels is not None:
                techniques[levels.name] = levels
    return techniques


def named(name: str) -> Levels:
    """A technique of boildown's rooms.

    Raises:
        ValueError: if there is none of this name, with those that there are.
    """
    if name not in found():
        raise ValueError(f"technique must be one of {', '.join(found())}, got {name!r}")
    return found()[name]


def whole(level: float, kind: str, low: int, high: int | None = None) -> int:
    """A level that must be a whole number.

    Raises:
        ValueError: if it is none or out of range, naming its kind and what would be valid.
    """
    if level != level // 1 or level < low or (high is not None and level > high):
        valid = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{kind} must be a whole number {valid}, got {level:g}")
    return int(level)
