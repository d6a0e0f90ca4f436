"""What learned ranks are to meet: a fraction of the cost, a price, an energy, or given ranks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from boildown.allocate.knapsack import listed
from boildown.lowrank.costs import Layer, dense_cost_of
from boildown.lowrank.ranks import energy_ranks, joint_ranks
from boildown.lowrank.svd import Spectrum, check_rank, tails
from boildown.name_patterns import by_pattern

Ranks = dict[str, int | None]  # layer -> rank; None for one that stays dense
Spectra = Mapping[str, Sequence[Spectrum]]  # layer -> of each group's matrix


@dataclass(frozen=True)
class Target:
    """What the ranks are to meet: one of `factors`, `price`, `energy` and `ranks`, or none yet.

    Attributes:
        factors: what the layers may cost together over what they cost dense, in (0, 1).
        price: what one unit of cost is worth in the loss, lambda in the paper; at least 0.
        energy: the fraction of its squared singular values that each layer keeps, in (0, 1].
        ranks: pattern -> rank; layers that no pattern names stay dense.
        choose: with `factors`: all ranks jointly, or by the one energy threshold that meets it.

    Raises:
        ValueError: for a value out of range; if several are given.
    """

    factors: float | None = None
    price: float | None = None
    energy: float | None = None
    ranks: Mapping[str, int] | None = None
    choose: Literal["joint", "energy"] = "joint"

    def __post_init__(self) -> None:
        given = [key for key, value in self.given.items() if value is not None]
        if len(given) > 1:
            raise ValueError(
                f"lowrank: give one of factors, price, energy and ranks, got {', '.join(given)}"
            )
        if self.factors is not None and not 0.0 < self.factors < 1.0:
            raise ValueError(f"lowrank.factors must be in (0, 1), got {self.factors}")
        if self.price is not None and not (self.price >= 0.0 and math.isfinite(self.price)):
            raise ValueError(f"lowrank.price must be at least 0, got {self.price}")
        if self.energy is not None and not 0.0 < self.energy <= 1.0:
            raise ValueError(f"lowrank.energy must be in (0, 1], got {self.energy}")
        if self.choose not in ("joint", "energy"):
            raise ValueError(f"lowrank.choose must be joint or energy, got {self.choose!r}")

    @property
    def given(self) -> dict[str, Any]:
        """The four by their names."""
        return {key: getattr(self, key) for key in ("factors", "price", "energy", "ranks")}

    def check_reach(self, layers: Mapping[str, Layer], unit: str) -> None:
        """Refuse a fraction that rank 1 everywhere exceeds, and ranks that a layer cannot have.

        Raises:
            ValueError: naming the value, the least and the layers.
        """
        if self.ranks is not None:
            self._given(layers)
        if self.factors is None:
            return
        least = [min(layer.costs[0], layer.dense) for layer in layers.values()]
        total = dense_cost_of(layers)
        if sum(least) > self.factors * total:
            enough = math.ceil(1e4 * sum(least) / total) / 1e4
            raise ValueError(
                f"lowrank.factors={self.factors} is below {enough}, what rank 1 everywhere costs "
                f"of {total:,} {unit}: {listed(list(layers), least)}; raise it"
            )

    def chosen(
        self,
        spectra: Spectra,
        layers: Mapping[str, Layer],
        *,
        mu: float,
        factors: float | None = None,
        eased: Callable[[float], float] = float,
    ) -> Ranks:
        """The rank of each layer.

        Args:
            spectra: of W - Y / mu.
            layers: what their ranks cost.
            mu: of the training since the C step before.
            factors: what was searched for, or is to be tried; None for `self.factors`.
            eased: how much of what is saved in the end is saved by now.
        """
        if self.ranks is not None:
            return self._given(layers)
        values = {name: values_of(each) for name, each in spectra.items()}
        costs = {name: layer.costs for name, layer in layers.items()}
        dense = {name: layer.dense for name, layer in layers.items()}
        if self.energy is not None:
            energy = 1.0 - eased(1.0 - self.energy)
            return energy_ranks(values, costs, energy=energy, dense=dense)
        errors = {name: tails(s) for name, s in values.items()}
        if self.price is not None:
            return joint_ranks(errors, costs, dense=dense, price=eased(self.price), mu=mu).ranks
        searched = factors is not None
        if factors is None:
            assert self.factors is not None
            factors = float(self.factors)
        factors = 1.0 - eased(1.0 - factors)
        least = sum(min(layer.costs[0], layer.dense) for layer in layers.values())
        budget = max(factors * sum(dense.values()), least if searched else 0.0)
        if self.choose == "energy":
            return energy_ranks(values, costs, budget, dense=dense)
        return joint_ranks(errors, costs, dense=dense, budget=budget).ranks

    def _given(self, layers: Mapping[str, Layer]) -> Ranks:
        asked = by_pattern(self.ranks or {}, layers, "lowrank.ranks")
        for name, rank in asked.items():
            most = len(layers[name].costs)
            check_rank(rank, most, f"lowrank.ranks: the rank of {name} (higher ones save nothing)")
        return {name: asked.get(name) for name in layers}


def values_of(spectra: Sequence[Spectrum]) -> Tensor:
    """The singular values of a layer; of a grouped one the root mean squares over its groups."""
    return torch.stack([each.s for each in spectra]).square().sum(0).sqrt()
