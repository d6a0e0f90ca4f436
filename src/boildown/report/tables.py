"""The tables of a report: runs, file sizes, costs; the same for the page, the CSVs and wandb."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from boildown.report import words
from boildown.report.compare import spread
from boildown.report.groups import Section
from boildown.report.ledger import Costs
from boildown.report.results import EXTRAS, Run
from boildown.report.sentences import sentence
from boildown.report.verdict import Verdict

Row = dict[str, Any]


def run_rows(sections: Sequence[Section]) -> list[Row]:
    """One row for each run, raw figures: errors as fractions, bytes, seconds."""
    return [
        _run_row(section, line.label, run)
        for section in sections
        for line in section.lines
        for run in line.runs
    ]


def _run_row(section: Section, label: str, run: Run) -> Row:
    metric = section.metric
    row: Row = {
        "run": run.place,
        "name": run.name,
        "data": section.data,
        "budget": section.budget,
        "model": label,
        "seed": run.seed,
        "params": run.params,
        "bytes": run.bytes,
        "ratio": round(run.ratio, 4),
        "met": run.met,
        "metric": metric,
        "value": run.compressed[metric],
        "before": run.dense.get(metric),
        "validation": run.at_end(f"val/{metric.rpartition('/')[2]}"),
        "flops": run.flops,
        "reused": run.reused,
        "seconds": round(run.seconds, 3),
    }
    row |= {name: run.extras[name] for name in EXTRAS if name in run.extras}
    row |= {f"dense/{k}": v for k, v in run.dense.items() if k != metric}
    row |= {f"compressed/{k}": v for k, v in run.compressed.items() if k != metric}
    return row


def comparison_rows(judged: Sequence[tuple[Section, Sequence[Verdict]]]) -> list[Row]:
    """One row for each file size of each section, raw figures."""
    rows = []
    for section, found in judged:
        for verdict in found:
            winner = verdict.winner
            row: Row = {
                "data": section.data,
                "metric": section.metric,
                "budget": section.budget,
                "bytes": round(verdict.bytes),
                "chosen_by": "validation" if verdict.by_validation else "test",
                "winner": winner.label,
                "winner_params": winner.params,
                "winner_ratio": round(winner.ratio, 3),
                "winner_seeds": len(winner.runs),
                "winner_mean": fmean(winner.values(section.metric)),
                "winner_sd": spread(winner.values(section.metric)),
            }
            for name, cell, lead in (
                ("rival", verdict.rival, verdict.lead),
                ("stored", verdict.stored, verdict.stored_lead),
                ("big", verdict.big, verdict.big_lead),
            ):
                row |= {
                    name: cell.label if cell else None,
                    f"{name}_params": cell.params if cell else None,
                    f"{name}_seeds": len(cell.runs) if cell else None,
                    f"{name}_mean": fmean(cell.values(section.metric)) if cell else None,
                    f"lead_over_{name}": lead.mean if lead else None,
                    f"lead_over_{name}_half95": lead.half if lead else None,
                    f"lead_over_{name}_p": lead.p if lead else None,
                }
            row |= {
                "rival_at_most_a_quarter": verdict.rival_is_small,
                "fewest_bits": verdict.bits,
                "storable_params": round(verdict.storable),
                "flops_max_over_min": round(verdict.compute, 4),
                "claim": verdict.outcome,
                "verdict": sentence(verdict),
            }
            rows.append(row)
    return rows


def ledger_cells(costs: Sequence[Costs]) -> tuple[list[str], list[list[str]]]:
    """The ledger for people: columns and rows of text."""
    phases = list(dict.fromkeys(phase for cost in costs for phase in cost.by_phase))
    extras = [name for name in EXTRAS if any(name in cost.extras for cost in costs)]
    columns = ["model", "precision", "runs"]
    columns += [f"{phase}, FLOPs" for phase in phases]
    columns += ["all, FLOPs", "of these reused", *(_EXTRA_NAMES[name] for name in extras)]
    columns += [f"{phase}, time" for phase in phases]
    columns += ["all, time", "seconds per 1e12 FLOPs"]
    rows = []
    for cost in costs:
        row = [cost.label, cost.precision, str(cost.runs)]
        row += [_phase(cost, phase, "flops") for phase in phases]
        row += [words.flops(cost.flops), words.flops(cost.reused)]
        row += [_extra(cost, name) for name in extras]
        row += [_phase(cost, phase, "seconds") for phase in phases]
        row += [
            words.seconds(cost.seconds),
            "" if cost.pace is None else words.two_digits(cost.pace),
        ]
        rows.append(row)
    return columns, rows


_EXTRA_NAMES = {
    "skipped_steps": "steps skipped",
    "wasted_flops": "FLOPs wasted on them",
    "flops_credited": "FLOPs if zeros were free",
}


def _extra(cost: Costs, name: str) -> str:
    amount = cost.extras.get(name)
    if amount is None:
        return ""
    return words.flops(amount) if "flops" in name else f"{amount:,.6g}"


def _phase(cost: Costs, phase: str, unit: str) -> str:
    if phase not in cost.by_phase:
        return ""
    amount = cost.by_phase[phase][unit]
    return words.flops(amount) if unit == "flops" else words.seconds(amount)
