"""What becomes of one layer: its forms are timed in turns, and the fastest are taken."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor, nn

from boildown.quantize.activations import grid_on
from boildown.runtime.closeness import differ, tolerance
from boildown.runtime.example import Given
from boildown.runtime.forms import Dense, Form, Window
from boildown.runtime.layer import Choice, CompiledLayer
from boildown.runtime.offers import columns_of, offers, rows_of, ways
from boildown.runtime.report import Measured, Report

FASTER = 1.1  # times, that a form must be faster than dense
CLOSE = 1e-5  # of the largest output, by which a form's may differ
ROUNDS, MOST_ROUNDS = 7, 101
SECONDS = 0.3  # for each form at one size, if ROUNDS take no longer
HOPELESS = 3.0  # times slower at first sight, at which a form is not measured further

Turns = Callable[..., dict[str, list[float]]]


class Plan:
    """A layer, its forms and what they took.

    Attributes:
        name: the layer's dotted path.
        rows: what was measured, with what was chosen.
    """

    def __init__(self, name: str, layer: nn.Module, backend: str) -> None:
        """Plan nothing yet."""
        self.name = name
        self.rows: list[Measured] = []
        self._layer, self._backend = layer, backend
        self._forms: dict[str, Form] = {}

    def decide(
        self,
        inputs: Mapping[int, Mapping[Given, int]],
        turns: Turns,
        measured: Report | None,
    ) -> None:
        """Choose a form for each input.

        Args:
            inputs: batch of the model -> inputs of the layer and how often one pass gives them.
            turns: the stopwatch.
            measured: whose choices are taken over; None to measure.

        Raises:
            ValueError: if `measured` does not know the layer, or what it chose is not possible.
        """
        found = offers(self._layer, self._backend)
        known: dict[Given, tuple[dict[str, float], str]] = {}
        for batch, counts in inputs.items():
            for given, calls in counts.items():
                if measured is not None:
                    self.rows += self._looked_up(measured, batch, given, calls, found)
                    continue
                if given not in known:
                    took = self._timed(found, given, turns)
                    known[given] = _medians(took), self._best(took)
                took_, best = known[given]
                self.rows += [
                    self._row(batch, given, calls, way, seconds, found, way == best)
                    for way, seconds in took_.items()
                ]
        chosen = {columns_of(row.form)[0] for row in self.rows if row.chosen}
        self._forms = {name: form for name, form in found.items() if name in {*chosen, "dense"}}

    def _row(
        self,
        batch: int,
        given: Given,
        calls: int,
        way: str,
        seconds: float,
        found: Mapping[str, Form],
        chosen: bool,
    ) -> Measured:
        size = found[columns_of(way)[0]].bytes
        shape = tuple(given.shape)
        return Measured(self.name, batch, shape, calls, way, seconds, size, chosen)

    def _looked_up(
        self,
        measured: Report,
        batch: int,
        given: Given,
        calls: int,
        found: Mapping[str, Form],
    ) -> list[Measured]:
        shape = tuple(given.shape)
        rows = [row for row in measured.of(self.name, batch) if row.inputs == shape]
        if not any(row.chosen for row in rows):
            raise ValueError(
                f"the report has no choice for {self.name} of inputs {shape} at batch {batch}: it "
                "is of another network or example; compile without it"
            )
        for row in rows:
            name = columns_of(row.form)[0]
            if row.chosen and (name not in found or found[name].bytes != row.bytes):
                raise ValueError(
                    f"the report has {self.name} as {row.form} of {row.bytes:,} bytes, which its "
                    "weight does not give: it is of other weights; compile without it"
                )
        return [replace(row, calls=calls) for row in rows]

    def _timed(
        self, found: Mapping[str, Form], given: Given, turns: Turns
    ) -> dict[str, list[float]]:
        """Seconds by round of each way that computes the same and has a chance."""
        grid = grid_on(self._layer)
        x = given.drawn() if grid is None else given.drawn_over(grid)
        expected = self._layer(x)
        calls: dict[str, Callable[[], Tensor]] = {"dense": lambda: self._layer(x)}
        for name, form in found.items():
            for way, columns in ways(name, rows_of(self._layer, x.shape)):
                if name == "dense":
                    continue
                one = CompiledLayer(self._layer, {name: form}, [(x.numel(), name, columns)])
                with suppress(RuntimeError, NotImplementedError):  # not for this input
                    most = form.apart / max(float(expected.abs().max()), 1e-30)
                    if differ(expected, one(x)) <= max(tolerance(CLOSE, x.dtype), most):
                        calls[way] = lambda one=one: one(x)  # type: ignore[misc]
        if len(calls) == 1:
            return turns(calls, x.device, at_least=3)
        if self._backend == "auto":
            first = turns(calls, x.device, at_least=2)
            most = HOPELESS * min(first["dense"])
            calls = {way: call for way, call in calls.items() if min(first[way]) <= most}
        seconds = SECONDS * len(calls)
        return turns(calls, x.device, at_least=ROUNDS, at_most=MOST_ROUNDS, seconds=seconds)

    def _best(self, took: Mapping[str, Sequence[float]]) -> str:
        if self._backend == "auto":
            fair = [way for way in took if way != "dense" and is_faster(took[way], took["dense"])]
        else:
            fair = [way for way in took if columns_of(way)[0] == self._backend]
        return min(fair or ["dense"], key=lambda way: statistics.median(took[way]))

    def is_compiled(self, batch: int | None = None) -> bool:
        """Whether it takes another form than it has; at a batch, or at any."""
        rows = [row for row in self.rows if batch in (None, row.batch)]
        return any(row.chosen and row.form != "dense" for row in rows)

    def give_up(self, batches: Iterable[int]) -> None:
        """Leave the layer as it is at these batches."""
        self.rows = [
            replace(row, chosen=row.form == "dense") if row.batch in batches else row
            for row in self.rows
        ]

    def made(self) -> CompiledLayer:
        """What takes the layer's place."""
        choices: dict[int, Choice] = {}
        for row in self.rows:
            if row.chosen:
                size = torch.Size(row.inputs).numel()
                choices.setdefault(size, (size, *columns_of(row.form)))
        weight = self._layer.get_parameter("weight").detach()
        forms = {
            name: Dense(weight.clone(), Window.of(self._layer), grid_on(self._layer))
            if name == "dense"
            else form
            for name, form in self._forms.items()
            if any(name == chosen for _, chosen, _ in choices.values())
        }
        return CompiledLayer(self._layer, forms, list(choices.values()))


def is_faster(took: Sequence[float], dense: Sequence[float]) -> bool:
    """Whether a form is clearly faster: by the median over rounds, and undisturbed.

    What else the machine does makes calls slower and never faster, so that the lower quartiles are
    the more trustworthy the more there is; the median of the ratios is what a user meets.
    """
    ratios = [one / other for one, other in zip(dense, took, strict=True)]
    quartiles = _quartile(dense) / _quartile(took)
    return min(statistics.median(ratios), quartiles) >= FASTER


def _quartile(took: Sequence[float]) -> float:
    return sorted(took)[len(took) // 4]


def _medians(took: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {way: statistics.median(each) for way, each in took.items()}
