"""The best run under a size, or the smallest under an error, that a user asks for."""

from dataclasses import dataclass
from statistics import fmean

from boildown.report import words
from boildown.report.groups import Cell, Section
from boildown.report.results import Run
from boildown.report.verdict import score


@dataclass(frozen=True)
class Asked:
    """What a user asks for.

    Attributes:
        bytes: the largest file, or None.
        error: the worst test metric, a fraction for errors, or None.

    Raises:
        ValueError: for a size below 1, or an error below 0 or not finite.
    """

    bytes: int | None = None
    error: float | None = None

    def __post_init__(self) -> None:
        if self.bytes is not None and self.bytes < 1:
            raise ValueError(f"--bytes {self.bytes}: a file has at least 1 byte")
        if self.error is not None and not 0.0 <= self.error < float("inf"):
            raise ValueError(f"--error {self.error}: give 0 or more, such as 0.05 for 5 %")


def choice(section: Section, asked: Asked) -> str | None:
    """The run that answers what was asked, in words; None if nothing was.

    The setting is chosen by the mean over its seeds (validation for a size, the test metric for an
    error), and of its runs the one that is best on validation.

    Raises:
        ValueError: for an error above 1 where the metric is a fraction.
    """
    if asked.bytes is None and asked.error is None:
        return None
    metric = section.metric
    if asked.error is not None and asked.error > 1.0 and words.is_fraction(metric):
        raise ValueError(
            f"--error {asked.error:g}: {words.leaf(metric)} is a fraction, such as 0.05 for 5 %"
        )
    terms = _terms(section, asked)
    cells = [cell for line in section.lines for cell in line.cells if _fits(cell, metric, asked)]
    if not cells:
        return f"No run is {terms}. {_nearest(section, asked)}"
    if asked.error is not None:
        cell = min(cells, key=lambda c: (c.bytes, c.params))
        what = "The smallest file"
    else:
        by, _ = score(cells, metric)
        cell = min(cells, key=by)
        what = "The best file"
    run, how = _best(cell, metric, asked)
    mean = words.value(metric, fmean(cell.values(metric)))
    seeds = f", mean of its {len(cell.runs)} seeds {mean}" if len(cell.runs) > 1 else ""
    return (
        f"{what} {terms} is run {run.place}: {cell.label} at {words.ratio(run.ratio)}, "
        f"{words.size(run.bytes)}, {words.leaf(metric)} "
        f"{words.value(metric, run.compressed[metric])}{seeds}{how}."
    )


def _terms(section: Section, asked: Asked) -> str:
    terms = []
    if asked.bytes is not None:
        terms.append(f"of at most {words.size(asked.bytes)}")
    if asked.error is not None:
        side = "at least" if words.larger_is_better(section.metric) else "at most"
        name = words.leaf(section.metric)
        terms.append(f"with {name} {side} {words.value(section.metric, asked.error)}")
    return " ".join(terms)


def _fits(cell: Cell, metric: str, asked: Asked) -> bool:
    small = asked.bytes is None or any(run.bytes <= asked.bytes for run in cell.runs)
    return small and (asked.error is None or _is_good(fmean(cell.values(metric)), metric, asked))


def _is_good(value: float, metric: str, asked: Asked) -> bool:
    assert asked.error is not None
    return value >= asked.error if words.larger_is_better(metric) else value <= asked.error


def _best(cell: Cell, metric: str, asked: Asked) -> tuple[Run, str]:
    """Of the runs that fit, the best on validation, else on test; and how it was chosen."""
    sign = -1.0 if words.larger_is_better(metric) else 1.0
    runs = [run for run in cell.runs if asked.bytes is None or run.bytes <= asked.bytes]
    validation = f"val/{metric.rpartition('/')[2]}"
    found = {id(run): run.at_end(validation) for run in runs}
    known = {key: value for key, value in found.items() if value is not None}
    if len(runs) == 1:
        return runs[0], ""
    if len(known) < len(runs):
        best = min(runs, key=lambda run: sign * run.compressed[metric])
        return best, "; the seed was chosen on the test set, which flatters it"
    return min(runs, key=lambda run: (sign * known[id(run)], run.bytes)), (
        "; the seed was chosen on validation"
    )


def _nearest(section: Section, asked: Asked) -> str:
    metric = section.metric
    sign = -1.0 if words.larger_is_better(metric) else 1.0
    if asked.bytes is not None and all(run.bytes > asked.bytes for run in section.runs):
        least = min(section.runs, key=lambda run: run.bytes)
        return f"The smallest, run {least.place}, has {words.size(least.bytes)}."
    cells = [cell for line in section.lines for cell in line.cells]
    best = min(cells, key=lambda c: sign * fmean(c.values(metric)))
    value = words.value(metric, fmean(best.values(metric)))
    return f"The best, {best.label} at {words.ratio(best.ratio)}, has {value} at " + (
        f"{words.size(best.bytes)}."
    )
