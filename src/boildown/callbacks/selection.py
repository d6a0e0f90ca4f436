"""Which weights a pruning keeps, of given scores at a given time."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from boildown.calibrate.batches import calibration_flops
from boildown.calibrate.evidence import Evidence
from boildown.callbacks.technique import is_number
from boildown.flops import forward_flops_by_weight
from boildown.name_patterns import by_pattern
from boildown.prune.allocation import (
    LADDER,
    Budget,
    allocated_densities,
    fewest_cut,
    measured_curves,
    nonzeros,
    units_of,
)
from boildown.prune.masks import layer_masks
from boildown.prune.patterns import pattern_named
from boildown.prune.scopes import Scope, check_scope, scoped_masks
from boildown.schedule import Schedule


class Selection:
    """How much is cut of what, and what is cut as one.

    Args:
        sparsity: see `boildown.callbacks.prune.Prune`, as all arguments.
        flops: see there.
        keep: see there.
        scope: see there.
        pattern: see there.
        schedule: see there.

    Attributes:
        curves: weight -> how far the outputs move where it is cut alone, once that is measured
            (`boildown.prune.allocation.measured_curves`).
        operations: weight -> operations of a forward pass that one entry of it takes, once counted.

    Raises:
        ValueError: for a value out of its range, or amounts that the pattern does not allow.
    """

    def __init__(
        self,
        sparsity: float | None,
        flops: float | None,
        keep: Mapping[str, float] | None,
        scope: Scope,
        pattern: str | None,
        schedule: Schedule,
    ) -> None:
        _check_amounts(sparsity, flops, keep)
        check_scope(scope, "prune.scope")
        self.sparsity, self.flops, self.keep = sparsity, flops, keep
        self.scope, self.schedule = scope, schedule
        self.pattern = pattern_named(pattern, "prune.pattern")
        self.curves: dict[str, list[float]] = {}
        self.operations: dict[str, float] = {}
        least, given = self.pattern.least, {} if keep is None else dict(keep)
        amounts = {"prune.sparsity": sparsity} | {f"prune.keep[{n!r}]": k for n, k in given.items()}
        for what, amount in amounts.items():
            cut = least if amount is None else amount if what == "prune.sparsity" else 1 - amount
            if cut < least - 1e-9:
                raise ValueError(
                    f"{what} = {amount} cuts {cut:.4g} of the weights, and the pattern {pattern} "
                    f"at least {least:.4g}"
                )

    @property
    def settings(self) -> dict[str, Any]:
        """As plain data."""
        keep = None if self.keep is None else dict(self.keep)
        found = {"sparsity": self.sparsity, "keep": keep, "scope": self.scope}
        return found | {"flops": self.flops, "pattern": str(self.pattern)}

    @property
    def by_sensitivity(self) -> bool:
        """Whether each layer's density is chosen by what cutting it does."""
        return self.scope == "sensitivity" and self.keep is None

    def check_shapes(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Refuse tensors that cannot have the pattern.

        Raises:
            ValueError: naming the first, and the remedy.
        """
        for name, shape in shapes.items():
            if misfit := self.pattern.misfit(shape):
                raise ValueError(
                    f"prune.pattern={self.pattern}: {name} has {misfit}; leave it out with "
                    f"prune.exclude=[{name}], or choose another pattern"
                )

    def fitting(self, weights: Mapping[str, Tensor], names: Iterable[str]) -> list[str]:
        """Those of the tensors that can have the pattern."""
        return [name for name in names if not self.pattern.misfit(weights[name].shape)]

    def count_operations(self, model: nn.Module, evidence: Evidence) -> None:
        """Find what the weights cost in a forward pass, where operations are asked for.

        Args:
            model: takes the inputs of a batch.
            evidence: about the weights that are pruned; asked for inputs.

        Raises:
            EvidenceError: without batches.
            ValueError: if no weight that is pruned takes any operation.
        """
        if self.flops is None and not self.by_sensitivity:
            return
        first = evidence.inputs[0][:1]  # which shows a forward pass that wants something else, too
        found = forward_flops_by_weight(model, first)
        self.operations = {
            name: found.get(name, 0) / model.get_parameter(name).numel() for name in evidence.names
        }
        if self.flops is not None and not any(self.operations.values()):
            raise ValueError(
                f"prune.flops={self.flops}: no operation of the forward pass is recognised as that "
                f"of a weight that is pruned ({', '.join(evidence.names)}); give prune.sparsity"
            )

    def measure(self, model: nn.Module, evidence: Evidence, scores: Mapping[str, Tensor]) -> None:
        """Find what cutting each layer does, once, where the scope asks for it.

        Args:
            model: takes the inputs of a batch.
            evidence: about the weights that are pruned; asked for inputs, and charged.
            scores: name -> scores; the smallest go first.

        Raises:
            EvidenceError: without batches.
            ValueError: see `boildown.prune.allocation.measured_curves`.
        """
        if self.flops is not None and not self.operations.keys() >= set(evidence.names):
            self.count_operations(model, evidence)  # of what was unfrozen since the fit began
        if not self.by_sensitivity or self.curves:
            return
        inputs = evidence.inputs
        self.curves = measured_curves(model, inputs, scores, self.pattern)
        passes = 2 + len(LADDER) * len(scores)
        evidence.flops += calibration_flops(model, inputs, passes=passes)

    def masks(
        self, scores: Mapping[str, Tensor], time: float, target: float | None = None
    ) -> dict[str, Tensor]:
        """What stays.

        Args:
            scores: name -> scores; the smallest go.
            time: of the window, in [0, 1].
            target: final sparsity; None for what was given, or else the pattern's own.
        """
        if self.keep is not None:
            kept = by_pattern(self.keep, scores, "prune.keep")
            return self._each(scores, {n: self.schedule(time, 1 - k) for n, k in kept.items()})
        given = (self.sparsity or 0.0) if target is None else target
        final = max(given, self.pattern.least)
        if self.curves:
            kept = self._allocated(scores, final)
            return self._each(scores, {n: self.schedule(time, 1 - k) for n, k in kept.items()})
        if self.flops is None:
            return self._together(scores, self.schedule(time, final))
        if not self.operations:  # before they are counted, weights stand for them
            return self._together(scores, self.schedule(time, max(final, 1 - self.flops)))
        return self._within(scores, time, final)

    def _each(
        self, scores: Mapping[str, Tensor], sparsity: Mapping[str, float]
    ) -> dict[str, Tensor]:
        return layer_masks({name: scores[name] for name in sparsity}, sparsity, self.pattern)

    def _together(self, scores: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
        """What stays of a sparsity over all."""
        return scoped_masks(scores, sparsity, self.scope, self.pattern)

    def _within(self, scores: Mapping[str, Tensor], time: float, final: float) -> dict[str, Tensor]:
        """What stays of the smallest sparsity that meets the operations and the sparsity given."""
        assert self.flops is not None
        total = sum(self.operations[name] * score.numel() for name, score in scores.items())
        budget = total * (1.0 - self.schedule(time, 1.0 - self.flops))
        if self.scope == "global":
            mean = total / sum(score.numel() for score in scores.values())
            scores = {n: _per_cost(s, self.operations[n] / mean) for n, s in scores.items()}

        def cost(sparsity: float) -> float:
            masks = self._together(scores, sparsity)
            return sum(self.operations[name] * int(mask.sum()) for name, mask in masks.items())

        return self._together(scores, fewest_cut(cost, budget, self.schedule(time, final)))

    def _allocated(self, scores: Mapping[str, Tensor], final: float) -> dict[str, float]:
        """The final density of each layer, by what cutting it does."""
        units = units_of(scores, self.pattern)
        budgets = []
        if final > 0.0 or self.flops is None:
            budgets.append(nonzeros(scores, units, final))
        if self.flops is not None:
            price = {n: self.operations[n] * s.numel() / units[n] for n, s in scores.items()}
            total = sum(price[name] * units[name] for name in scores)
            budgets.append(Budget(price, self.flops * total))
        curves = {name: self.curves[name] for name in scores}
        return allocated_densities(curves, units, budgets, 1.0 - self.pattern.least)

    def state_dict(self) -> dict[str, Any]:
        """What was measured, as plain data."""
        return {"curves": self.curves, "operations": self.operations}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what was measured."""
        self.curves, self.operations = state["curves"], state["operations"]


def _per_cost(scores: Tensor, cost: float) -> Tensor:
    """Scores for each unit of what an entry costs; infinite for what costs nothing.

    A score below zero is multiplied: what is dear goes first on either side of zero.
    """
    if cost == 0.0:
        return torch.full_like(scores, torch.inf).where(scores != -torch.inf, -torch.inf)
    return torch.where(scores > 0.0, scores / cost, scores * cost)


def _check_amounts(sparsity: object, flops: object, keep: object) -> None:
    for what, amount in (("sparsity", sparsity), ("flops", flops)):
        if amount is not None and keep is not None:
            raise ValueError(f"prune: give either {what} or keep, and not both")
    if sparsity is not None and not (is_number(sparsity) and 0.0 <= sparsity < 1.0):
        raise ValueError(f"prune.sparsity must be a number in [0, 1), got {sparsity!r}")
    if flops is not None and not (is_number(flops) and 0.0 < flops <= 1.0):
        raise ValueError(f"prune.flops must be a number in (0, 1], got {flops!r}")
    if keep is not None and (not isinstance(keep, Mapping) or not keep):
        raise ValueError(f"prune.keep must name at least one layer, got {keep!r}")
    for pattern, kept in keep.items() if isinstance(keep, Mapping) else ():
        if not (is_number(kept) and 0.0 < kept <= 1.0):
            raise ValueError(f"prune.keep[{pattern!r}] must be in (0, 1], got {kept!r}")
