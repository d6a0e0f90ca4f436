"""All that a report shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from boildown.report.answers import Answer
from boildown.report.chart import Chart
from boildown.report.groups import Section, Setting
from boildown.report.results import LeftOut, Run
from boildown.report.sentences import Headline
from boildown.report.verdict import Verdict


@dataclass(frozen=True)
class Part:
    """A section with all that was found out about it."""

    section: Section
    verdicts: Sequence[Verdict]
    headline: Headline
    answers: Sequence[Answer]
    charts: Sequence[Chart]


@dataclass(frozen=True)
class Content:
    """All that a page shows.

    Attributes:
        parts: by section.
        differing: settings that differ between the runs.
        common: settings that are the same in all runs.
        left_out: what is not shown, and why.
        searched: the directories, for people.
    """

    parts: Sequence[Part]
    differing: Sequence[Setting]
    common: Sequence[Setting]
    left_out: Sequence[LeftOut]
    searched: Sequence[str]

    @property
    def runs(self) -> list[Run]:
        """All runs that are shown."""
        return [run for part in self.parts for run in part.section.runs]
