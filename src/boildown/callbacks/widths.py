"""Bits for each weight in a training: given, or spread over the weights where they do most."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from torch import Tensor

from boildown.allocate.widths import (
    BYS,
    WIDTHS,
    By,
    Options,
    allocate_bits,
    cost_of,
    harm_by,
    options_of,
)
from boildown.calibrate.evidence import Evidence
from boildown.quantize.grid import check_bits

Bits = int | Literal["ternary"]


class Widths:
    """Which bits each weight gets, of an amount or of an even number of bits to spend.

    Args:
        by: what says how much harm fewer bits do (`boildown.allocate.widths.harm_by`).
        where: name of the setting.

    Raises:
        ValueError: for another `by`.
    """

    def __init__(self, by: By, where: str) -> None:
        if by not in BYS:
            raise ValueError(f"{where} must be one of {', '.join(BYS)} or null, got {by!r}")
        self.by = by
        self._options: Options = {}
        self.made: Callable[[str, Any], Tensor] = _unknown  # a weight of so many bits
        self._state: tuple[tuple[str, int, int], ...] = ()

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
        harm = error if evidence is None else harm_by(self.by, evidence, weights)
        self._options, self._state = options_of(weights, rounded, harm, widths=widths), state

    def as_many_as(self, bits: Mapping[str, int]) -> dict[str, int]:
        """The best bits that take no more bytes than these."""
        return allocate_bits(self._options, max(cost_of(self._options, bits), self._least))

    def of_amount(self, amount: float) -> dict[str, int]:
        """The best bits for so much of the way from the most to the fewest, in [0, 1]."""
        most, fewest = (
            cost_of(self._options, {n: end(some) for n, some in self._options.items()})
            for end in (max, min)
        )
        return allocate_bits(self._options, max(most + amount * (fewest - most), self._least))

    @property
    def _least(self) -> float:
        """What the cheapest cost, which need not be those of the fewest bits."""
        return sum(min(o.cost for o in some.values()) for some in self._options.values())


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
