"""The page's tables of file sizes, winners and costs."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from statistics import fmean

from boildown.report import words
from boildown.report.compare import pareto_front
from boildown.report.drop import drop
from boildown.report.groups import Cell, Section
from boildown.report.html_table import mean_text, number_cell, table
from boildown.report.ledger import ledger
from boildown.report.sentences import amount, missed
from boildown.report.tables import ledger_cells
from boildown.report.verdict import QUARTER, Verdict


def size_table(section: Section) -> str:
    """Every setting by file size, with its mean over the seeds."""
    metric = section.metric
    sign = -1.0 if words.larger_is_better(metric) else 1.0
    cells = [cell for line in section.lines for cell in line.cells]
    cells.sort(key=lambda cell: (cell.bytes, cell.params))
    front = pareto_front([(c.bytes, sign * fmean(c.values(metric))) for c in cells])
    rows = []
    for i, cell in enumerate(cells):
        before = [run.dense[metric] for run in cell.runs if metric in run.dense]
        validation = cell.validation(metric)
        values = cell.values(metric)
        rows.append(
            [
                escape(cell.label),
                number_cell(cell.params, f"{cell.params:,}"),
                number_cell(cell.bytes, f"{cell.bytes:,.0f}"),
                number_cell(cell.ratio, words.ratio(cell.ratio)),
                number_cell(fmean(values), mean_text(metric, values)),
                number_cell(validation, escape(words.value(metric, validation))),
                _cost(cell, section),
                number_cell(
                    fmean(before) if before else None, mean_text(metric, before) if before else ""
                ),
                number_cell(len(cell.runs), str(len(cell.runs))),
                "yes" if i in front else "",
            ]
        )
    name = words.leaf(metric)
    direction = "more" if words.larger_is_better(metric) else "less"
    return table(
        f"Models by file size: mean over seeds ± one standard deviation ({direction} is better); "
        "costs in brackets are not told from nothing",
        ["model", "parameters", "file bytes", "ratio", f"test {name}", f"validation {name}",
         "cost ± 95 %", f"test {name} before compression", "seeds", "Pareto front"],
        rows,
        numbers=range(1, 9),
        sortable=True,
    )  # fmt: skip


def _cost(cell: Cell, section: Section) -> str:
    """What compression cost, pair by pair; bracketed where it is not told from nothing."""
    found = drop(cell, section.metric, section.samples)
    if found is None:
        return number_cell(None, "")
    told = escape(amount(found.cost, section.metric))
    return number_cell(found.cost.mean, told if found.measurable else f"({told})")


def winner_table(section: Section, found: Sequence[Verdict], explained: bool) -> str:
    """The winner at each file size, with what that means unless it was explained before."""
    metric = section.metric
    rows = []
    for verdict in found:
        winner, rival, stored = verdict.winner, verdict.rival, verdict.stored
        rows.append(
            [
                number_cell(verdict.bytes, words.size(verdict.bytes)),
                verdict.outcome,
                escape(f"{winner.label}, {words.ratio(winner.ratio)}"),
                "validation" if verdict.by_validation else "test",
                number_cell(fmean(winner.values(metric)), mean_text(metric, winner.values(metric))),
                escape(f"{rival.label}, {words.ratio(rival.ratio)}")
                + ("" if verdict.rival_is_small else "; over a quarter"),
                number_cell(fmean(rival.values(metric)), mean_text(metric, rival.values(metric))),
                number_cell(verdict.lead.mean, escape(amount(verdict.lead, metric))),
                number_cell(verdict.lead.p, _p(verdict.lead.p)),
                number_cell(verdict.storable, f"{verdict.storable:,.0f} at {verdict.bits:g} bits"),
                escape(
                    "none trained"
                    if stored is None
                    else f"{stored.label}, {words.size(stored.bytes)}"
                    + (" (the winner)" if stored is winner else "")
                ),
                number_cell(
                    verdict.stored_lead.mean if verdict.stored_lead else None,
                    escape(amount(verdict.stored_lead, metric)) if verdict.stored_lead else "",
                ),
            ]
        )
    name = words.leaf(metric)
    made = table(
        "The winner at each file size",
        ["file size", "claim", "winner", "chosen by", f"its test {name}", "rival",
         f"its test {name}", "lead ± 95 %", "p", "parameters that fit unpruned",
         "largest such model trained", "lead over it"],
        rows,
        numbers=(0, 4, 6, 7, 8, 9, 11),
    )  # fmt: skip
    late = missed(section)
    notes = ""
    if late:
        notes = (
            f"<p>Not compared, for the file is over 10 % too large: {escape('; '.join(late))}.</p>"
        )
    if not rows:
        return notes
    if explained:
        meaning = '<p><a href="#meaning">How this is meant</a></p>'
    else:
        meaning = (
            (files("boildown.report") / "verdicts.html")
            .read_text(encoding="utf-8")
            .format(times=QUARTER)
        )
    return f"<h3>Which model wins at each file size</h3>\n{made}{notes}\n{meaning}"


def _p(p: float | None) -> str:
    if p is None:
        return ""
    return f"{p:.1g}" if p >= 0.001 else "&lt;0.001"


def cost_table(section: Section) -> str:
    """What the runs of each line cost."""
    costs = ledger(section)
    columns, rows = ledger_cells(costs)
    made = table(
        "Cost of a run, mean over the runs of a model",
        columns,
        [[escape(cell) for cell in row] for row in rows],
        numbers=range(2, len(columns)),
    )
    note = (
        "<p class='muted'>Reused: FLOPs of a dense training that another run had done; they are "
        "charged to each run in full."
    )
    if any("wasted_flops" in cost.extras for cost in costs):
        note += " Wasted: FLOPs of steps that the loss scaler skipped; charged too."
    if any("flops_credited" in cost.extras for cost in costs):
        note += " If zeros were free: what a kernel that skips zeros would have spent; not charged."
    return f"{made}{note}</p>"
