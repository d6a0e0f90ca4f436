"""Bits for each weight in a training: given, or spread over the weights where they do most."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from torch import Tensor

from boildown.allocate.widths import (
    BYS,
    WIDTHS,
    By,
    Groups,
    Options,
    allocate_bits,
    check_groups,
    cost_of,
    groups_among,
    harm_by,
    least_cost,
    options_of,
)
from boildown.calibrate.evidence import Evidence
from boildown.quantize.grid import check_bits

Bits = int | Literal["ternary"]


class Widths:
    """Which bits each weight gets, of an amount or of an even number of bits to spend.

    Args:
        by: what says how much harm fewer bits do (`boildown.allocate.widths.harm_by`).
        who: the technique, whose settings `allocation` and `groups` these are.
        groups: patterns of weights that have one width (`boildown.allocate.widths.groups_among`).

    Raises:
        ValueError: for another `by`.
    """

    def __init__(self, by: By, who: str, groups: Groups = ()) -> None:
        if by not in BYS:
            raise ValueError(
                f"{who}.allocation must be one of {', '.join(BYS)} or null, got {by!r}"
            )
        self.by, self.groups, self._where = by, groups, f"{who}.groups"
        self._members: Groups = ()  # of each group
        self._options: Options = {}
        self.made: Callable[[str, Any], Tensor] = _unknown  # a weight of so many bits
        self._state: tuple[tuple[str, int, int], ...] = ()

    def find(self, names: Iterable[str]) -> None:
        """Find the members of the groups.

        Raises:
            ValueError: for a pattern that matches nothing, or a weight in two groups.
        """
        self._members = groups_among(self.groups, names, self._where)

    def look_at(
        self,
        weights: Mapping[str, Tensor],
        rounded: Callable[[str, int], Tensor],
        evidence: Evidence | None,
        widths: Iterable[int] = WIDTHS,
    ) -> None:
        """Find what each weight could be, unless it is known of these very weights.

        Args:
            weights: name -> weight.
            rounded: name and bits -> weight of so many bits.
            evidence: of the network; None before there is any, when the squared error stands for
                the harm.
            widths: the bits that there are to choose from.
        """
        state = tuple((n, w.data_ptr(), w._version) for n, w in weights.items())
        if state == self._state and evidence is None:
            return

        def error(name: str, made: Tensor) -> float:
            weight = weights[name].detach().double()
            return float((made - weight).square().sum() / weight.square().sum().clamp(min=1e-30))

        self.made = rounded
        self.find(weights)
        harm = error if evidence is None else harm_by(self.by, evidence, weights)
        self._options, self._state = options_of(weights, rounded, harm, widths=widths), state

    def as_many_as(self, bits: Mapping[str, int]) -> dict[str, int]:
        """The best bits that take no more bytes than these."""
        return self._within(cost_of(self._options, bits))

    def of_amount(self, amount: float) -> dict[str, int]:
        """The best bits for so much of the way from the most to the fewest, in [0, 1]."""
        most, fewest = (
            cost_of(self._options, {n: end(some) for n, some in self._options.items()})
            for end in (max, min)
        )
        return self._within(most + amount * (fewest - most))

    def _within(self, budget: float) -> dict[str, int]:
        least = least_cost(self._options, self._members)
        return allocate_bits(self._options, max(budget, least), self._members)


def widths_of(by: By | None, who: str, groups: Groups) -> Widths | None:
    """What spreads a technique's bits; None if they are as they are given.

    Raises:
        ValueError: as `Widths`, or for groups that nothing spreads bits over.
    """
    check_groups(groups, f"{who}.groups")
    if by is not None:
        return Widths(by, who, groups)
    if groups:
        raise ValueError(
            f"{who}.groups says which weights get one width when bits are spread: give "
            f"{who}.allocation too, trace or measured"
        )
    return None


def _unknown(name: str, bits: int) -> Tensor:
    raise LookupError(name)  # before anything was looked at


def given_bits(bits: Bits | Mapping[str, Bits] | None) -> Iterable[Bits | None]:
    """All bits that are named."""
    return bits.values() if isinstance(bits, Mapping) else [bits]


def nominal(bits: Bits) -> float:
    """Bits of a code, were all alike often."""
    return 1.585 if bits == "ternary" else float(bits)


def check_widths(bits: object, activations: object, first: object) -> None:
    """Refuse widths that are none.

    Raises:
        ValueError: naming it.
    """
    for what, given in (("bits", bits), ("activations", activations)):
        if isinstance(given, Mapping) and not given:
            raise ValueError(f"quantize.{what} must name at least one tensor, got {{}}")
        several = given if isinstance(given, Mapping) else {"": given}
        for pattern, width in several.items():
            where = f"quantize.{what}" + (f"[{pattern!r}]" if pattern else "")
            if width is None or (what, width) == ("bits", "ternary"):
                continue
            check_bits(width, where)
    if first is not None:
        check_bits(first, "quantize.first_bits")
