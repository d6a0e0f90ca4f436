"""What runs cost: FLOPs and seconds by phase, for each model and precision."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from boildown.report.groups import MANY, Section
from boildown.report.results import Run


@dataclass(frozen=True)
class Costs:
    """What the runs of one line cost on average.

    Attributes:
        label: the line's.
        params: of its model.
        runs: how many.
        precision: of the arithmetic.
        by_phase: phase -> {"flops", "seconds"}, means.
        flops: of a run.
        reused: of these.
        seconds: of a run.
        extras: further costs, means over the runs that state them.
    """

    label: str
    params: int
    runs: int
    precision: str
    by_phase: Mapping[str, Mapping[str, float]]
    flops: float
    reused: float
    seconds: float
    extras: Mapping[str, float]

    @property
    def pace(self) -> float | None:
        """Seconds per 1e12 FLOPs."""
        return self.seconds / (self.flops / 1e12) if self.flops else None


def ledger(section: Section) -> list[Costs]:
    """The ledger of each line; by size of model where there are very many lines."""
    parts: dict[tuple[str, int, str], list[Run]] = defaultdict(list)
    many = len(section.lines) > MANY
    for line in section.lines:
        label = f"{line.params:,} parameters" if many else line.label
        for run in line.runs:
            precision = str(run.config.get("trainer.precision", "unknown"))
            parts[label, line.params, precision].append(run)
    costs = []
    for (label, params, precision), runs in parts.items():
        phases = list(dict.fromkeys(phase for run in runs for phase in run.by_phase))
        by_phase = {
            phase: {
                unit: fmean(run.by_phase.get(phase, {}).get(unit, 0.0) for run in runs)
                for unit in ("flops", "seconds")
            }
            for phase in phases
        }
        names = list(dict.fromkeys(name for run in runs for name in run.extras))
        extras = {n: fmean(r.extras[n] for r in runs if n in r.extras) for n in names}
        costs.append(
            Costs(
                label, params, len(runs), precision, by_phase,
                fmean(r.flops for r in runs), fmean(r.reused for r in runs),
                fmean(r.seconds for r in runs), extras,
            )
        )  # fmt: skip
    return costs
