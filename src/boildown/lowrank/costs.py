"""Which layers have a rank to choose, and what each rank of each of them costs."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from boildown.calibrate.checks import DIVERGED
from boildown.lowrank import scheme as schemes
from boildown.lowrank.factorize import factorisable, refused
from boildown.name_patterns import by_pattern, matches, without


@dataclass(frozen=True)
class Layer:
    """A layer whose rank is chosen.

    Attributes:
        module: the layer.
        scheme: how its weight is a matrix (`boildown.lowrank.scheme`).
        groups: of a convolution, which has a matrix for each; otherwise 1.
        costs: of rank 1, 2, ..., up to where factors save nothing.
        dense: what it costs as it is.
    """

    module: nn.Module
    scheme: schemes.Scheme
    groups: int
    costs: list[int]
    dense: int

    def cost(self, rank: int | None) -> int:
        """Of a rank, or of the layer as it is."""
        return self.dense if rank is None else self.costs[rank - 1]


def cost_of(layers: Mapping[str, Layer], ranks: Mapping[str, int | None]) -> int:
    """What all layers cost together at these ranks, None for a layer that stays as it is."""
    return sum(layer.cost(ranks[name]) for name, layer in layers.items())


def dense_cost_of(layers: Mapping[str, Layer]) -> int:
    """What all layers cost together as they are."""
    return sum(layer.dense for layer in layers.values())


@dataclass(frozen=True)
class Counting:
    """What is counted when ranks are weighed against each other, and of which layers.

    Attributes:
        unit: "parameters", "flops" or "bytes".
        dtype: for "bytes": what the file stores the parameters in; by default as they are.
        scheme: for convolutions: "channel" or "spatial".
        exclude: patterns of layers to leave alone.
        only: pattern -> rank: layers that no pattern names are left alone; None for all.

    Raises:
        ValueError: for another unit, dtype or scheme.
    """

    unit: schemes.Unit = "parameters"
    dtype: str | None = None
    scheme: str = "channel"
    exclude: Sequence[str] = ()
    only: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        if self.unit not in schemes.UNITS:
            raise ValueError(f"lowrank.unit must be parameters, flops or bytes, got {self.unit!r}")
        kind = None if self.dtype is None else getattr(torch, self.dtype, None)
        if self.dtype is not None and not isinstance(kind, torch.dtype):
            raise ValueError(
                f"lowrank.dtype must be a torch dtype such as float16, got {self.dtype!r}"
            )
        if self.scheme not in ("channel", "spatial"):
            raise ValueError(f"lowrank.scheme must be channel or spatial, got {self.scheme!r}")

    def names(self, model: nn.Module) -> list[str]:
        """The layers of a model that may have a rank.

        Raises:
            ValueError: for a pattern that matches no layer, with the reason if it matches one that
                cannot be factorised; if there is none.
        """
        names = without(self.exclude, factorisable(model), "lowrank.exclude")
        if self.only is not None:
            self._check_only(model, names)
            names = list(by_pattern(self.only, names, "lowrank.ranks"))
        if not names:
            raise ValueError("lowrank: the network has no layer to factorise")
        return names

    def _check_only(self, model: nn.Module, names: Sequence[str]) -> None:
        """Say why a layer that `only` names cannot have a rank."""
        reasons = {name: schemes.why_not(module) for name, module in model.named_modules()}
        reasons |= refused(model)
        for pattern in self.only or {}:
            if any(matches(pattern, name) for name in names):
                continue
            for name, reason in reasons.items():
                if reason is not None and matches(pattern, name):
                    raise ValueError(f"lowrank.ranks: {name}: cannot be factorised: {reason}")

    def unread(self, names: Sequence[str], read: Collection[str]) -> list[str]:
        """Those of the layers whose weight nothing else reads.

        Args:
            names: see `names`.
            read: those whose weight something else than their forward pass computes with.

        Raises:
            ValueError: if `only` names one that is read elsewhere, or there are only these.
        """
        left = [name for name in names if name not in read]
        lost = [name for name in names if name in read]
        if lost and (self.only is not None or not left):
            raise ValueError(
                f"lowrank: {min(lost)}: cannot be factorised: something else than its forward "
                "pass reads its weight; call the layer instead, or leave it out"
            )
        return left

    def layers(
        self, model: nn.Module, names: Iterable[str], positions: Mapping[str, int]
    ) -> dict[str, Layer]:
        """What each rank of each layer costs, for the layers that are cheaper at some rank.

        Args:
            model: the network.
            names: of its layers, see `names`.
            positions: layer -> how often it is applied to a sample, 1 where absent
                (`boildown.flops.layer_positions`).

        Raises:
            ValueError: for a weight that is not finite; for a layer of `only`, or for all layers,
                if no rank is cheaper.
        """
        names = list(names)
        found = {}
        for name in names:
            module = model.get_submodule(name)
            if not torch.isfinite(module.get_parameter("weight")).all():
                raise ValueError(f"lowrank: {name}: its weight holds NaN or infinity: {DIVERGED}")
            layer = self._layer(module, positions.get(name, 1))
            if layer.costs:
                found[name] = layer
        for pattern in self.only or {}:
            if not any(matches(pattern, name) for name in found):
                (*_, name) = (name for name in names if matches(pattern, name))
                raise ValueError(
                    f"lowrank.ranks: {name}: factors of any rank cost as much as the layer itself; "
                    "leave it out"
                )
        if not found:
            raise ValueError(f"lowrank: no layer would be cheaper at any rank: {', '.join(names)}")
        return found

    def _layer(self, module: nn.Module, positions: int) -> Layer:
        usable = schemes.schemes_for(module)
        scheme = next((s for s in usable if s == self.scheme), usable[0])
        full = schemes.full_rank(module, scheme)
        itemsize = None if self.dtype is None else getattr(torch, self.dtype).itemsize

        def cost(rank: int | None) -> int:
            return schemes.cost_of(
                module, scheme, rank, self.unit, positions=positions, itemsize=itemsize
            )

        dense = cost(None)
        costs = [cost(rank) for rank in range(1, full + 1)]
        worth = sum(each < dense for each in costs)
        return Layer(module, scheme, int(getattr(module, "groups", 1)), costs[:worth], dense)
