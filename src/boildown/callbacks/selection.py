"""Which weights a pruning keeps, of given scores at a given time."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from boildown.callbacks.technique import is_number
from boildown.name_patterns import by_pattern
from boildown.prune.masks import layer_masks
from boildown.prune.patterns import pattern_named
from boildown.prune.scopes import Scope, check_scope, scoped_masks
from boildown.schedule import Schedule


class Selection:
    """How much is cut of what, and what is cut as one.

    Args:
        sparsity: see `boildown.callbacks.prune.Prune`, as all arguments.
        keep: see there.
        scope: see there.
        pattern: see there.
        schedule: see there.

    Raises:
        ValueError: for a value out of its range, or amounts that the pattern does not allow.
    """

    def __init__(
        self,
        sparsity: float | None,
        keep: Mapping[str, float] | None,
        scope: Scope,
        pattern: str | None,
        schedule: Schedule,
    ) -> None:
        _check_amounts(sparsity, keep)
        check_scope(scope, "prune.scope")
        self.sparsity, self.keep, self.scope, self.schedule = sparsity, keep, scope, schedule
        self.pattern = pattern_named(pattern, "prune.pattern")
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
        return found | {"pattern": str(self.pattern)}

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
            now = {n: self.schedule(time, 1 - k) for n, k in kept.items()}
            return layer_masks(scores, now, self.pattern)
        given = (self.sparsity or 0.0) if target is None else target
        sparsity = self.schedule(time, max(given, self.pattern.least))
        return scoped_masks(scores, sparsity, self.scope, self.pattern)


def _check_amounts(sparsity: object, keep: object) -> None:
    if sparsity is not None and keep is not None:
        raise ValueError("prune: give either sparsity or keep, and not both")
    if sparsity is not None and not (is_number(sparsity) and 0.0 <= sparsity < 1.0):
        raise ValueError(f"prune.sparsity must be a number in [0, 1), got {sparsity!r}")
    if keep is not None and (not isinstance(keep, Mapping) or not keep):
        raise ValueError(f"prune.keep must name at least one layer, got {keep!r}")
    for pattern, kept in keep.items() if isinstance(keep, Mapping) else ():
        if not (is_number(kept) and 0.0 < kept <= 1.0):
            raise ValueError(f"prune.keep[{pattern!r}] must be in (0, 1], got {kept!r}")
