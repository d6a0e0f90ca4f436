"""A report from directories of runs: the page, its pictures and its tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from boildown.files.atomic import replacing
from boildown.files.csv import write_csv
from boildown.report import words
from boildown.report.answers import answers
from boildown.report.asked import Asked
from boildown.report.charts import charts
from boildown.report.content import Content, Part
from boildown.report.groups import differences, identity, sections
from boildown.report.page import page
from boildown.report.results import LeftOut, collect, printable, without_repeats
from boildown.report.sentences import Headline, headline
from boildown.report.tables import comparison_rows, run_rows
from boildown.report.verdict import verdicts


@dataclass(frozen=True)
class Files:
    """What was written.

    Attributes:
        page: the HTML page.
        runs: CSV with one row for each run.
        comparison: CSV with one row for each file size compared; None where there is none.
        pictures: PNGs of the charts.
    """

    page: Path
    runs: Path
    comparison: Path | None
    pictures: tuple[Path, ...]

    @property
    def all(self) -> list[Path]:
        """In the order to tell them."""
        tables = [self.runs] if self.comparison is None else [self.runs, self.comparison]
        return [self.page, *tables, *self.pictures]


def gather(
    paths: Sequence[Path],
    tick: Callable[[int], None] = lambda done: None,
    asked: Asked | None = None,
) -> Content:
    """Read and judge all runs in `paths`.

    Args:
        paths: directories to search, or result.json files.
        tick: called with 1 after each result.
        asked: the size or error that the best run is looked for under.

    Raises:
        FileNotFoundError, NotADirectoryError: for a path that is no directory.
        ValueError: if no result can be used, or what was asked makes no sense.
    """
    found, left_out = collect(paths, tick)
    runs, repeats = without_repeats(found, identity)
    made, unfit = sections(runs)
    left_out = [*left_out, *repeats, *unfit]
    if not made:
        raise ValueError(_nothing(paths, left_out))
    parts = []
    for section in made:
        judged = verdicts(section)
        told = answers(section, judged, asked or Asked())
        if len(section.sizes) > 1:
            first = headline(section, judged)
        else:
            first = Headline(False, told[0].text)
        parts.append(Part(section, judged, first, told, charts(section, judged)))
    differing, common = differences([run for section in made for run in section.runs])
    searched = [printable(str(path)) for path in paths]
    return Content(parts, differing, common, left_out, searched)


def _nothing(paths: Sequence[Path], left_out: Sequence[LeftOut]) -> str:
    where = words.listing([str(path) for path in paths])
    if not left_out:
        return f"{where}: no result.json in it or below it"
    first, *rest = left_out
    more = f" (and {len(rest)} more like it)" if rest else ""
    return f"{where}: no sound result: {first.place}: {first.why}{more}"


def write(content: Content, out: Path) -> Files:
    """Write the page, and beside it the pictures and tables, each whole or not at all.

    Args:
        content: from `gather`.
        out: of the page; the others are named after it, `<stem>-...`.

    Raises:
        OSError: if a file cannot be written.
    """
    from boildown.report import png

    out.parent.mkdir(parents=True, exist_ok=True)
    several = len(content.parts) > 1
    pictures = []
    for i, part in enumerate(content.parts):
        number = f"-{i + 1}" if several else ""
        for chart in part.charts:
            path = out.with_name(f"{out.stem}{number}-{chart.name}.png")
            png.draw(chart, path)
            pictures.append(path)
    runs = out.with_name(f"{out.stem}.csv")
    write_csv(runs, run_rows([part.section for part in content.parts]))
    rows = comparison_rows([(part.section, part.verdicts) for part in content.parts])
    comparison = out.with_name(f"{out.stem}-comparison.csv") if rows else None
    if comparison is not None:
        write_csv(comparison, rows)
    with replacing(out) as part_file:
        part_file.write_text(page(content, out.parent), encoding="utf-8")
    return Files(out, runs, comparison, tuple(pictures))
