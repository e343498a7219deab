"""Who fails what: a row a submission, a column a property, the properties of a family together.

A cell is one character, so that a class of a thousand stays small; cells of one outcome that stand
side by side are one *run*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

from bn_properties.records import Outcome, PropertyResult, Results, SubmissionResult

from bn_reports.views.overview import worst_first

GLYPHS: Final = {
    Outcome.PASS: ".",
    Outcome.FAIL: "×",
    Outcome.BLOCKED: "~",
    Outcome.ERROR: "!",
    Outcome.NOT_RUN: "o",
    Outcome.NOT_APPLICABLE: " ",
}
"""One character an outcome, of those that every monospaced font has in the same width."""
_MARKS: Final = {Outcome.FAIL: "b", Outcome.BLOCKED: "i", Outcome.ERROR: "u"}


class Run(NamedTuple):
    """Cells side by side with the same outcome."""

    text: str
    """A character a cell."""
    mark: str
    """The element that they stand in; empty where nothing fails."""


@dataclass(frozen=True)
class Columns:
    """The properties of one family, of one part."""

    part: str
    """Empty for the main one."""
    family: str
    ids: tuple[str, ...]
    """Of the properties."""
    labels: tuple[str, ...]
    """The same without part and family."""


@dataclass(frozen=True)
class Row:
    """One submission's cells, the runs of each family."""

    submission: SubmissionResult
    families: tuple[tuple[Run, ...], ...]


@dataclass(frozen=True)
class Matrix:
    """All that was asked of a class; a property that applies to nobody has no column."""

    columns: tuple[Columns, ...]
    rows: tuple[Row, ...]
    """By status, the worst first, and what looks alike together."""
    outcomes: tuple[tuple[Run, Outcome], ...]
    """What occurs in it: a cell, and what it means."""

    @property
    def parts(self) -> tuple[tuple[str, int], ...]:
        """The parts, and how many families each has."""
        return tuple(Counter(each.part for each in self.columns).items())


def matrix(results: Results) -> Matrix:
    """Return the matrix of a run; submissions of which nothing was asked are not in it."""
    columns = tuple(_columns(results))
    told = [each for each in worst_first(results) if each.properties]
    rows = [Row(each, tuple(_cells(each, columns))) for each in told]
    severity = {status: rank for rank, status in enumerate(dict.fromkeys(s.status for s in told))}
    rows.sort(key=lambda row: (severity[row.submission.status], _pattern(row)))
    seen = {each.status for submission in told for each in submission.properties}
    outcomes = tuple((_run(each, 1), each) for each in GLYPHS if each in seen)
    return Matrix(columns, tuple(rows), outcomes)


def _columns(results: Results) -> Iterator[Columns]:
    asked: set[str] = set()
    parts: dict[str, dict[str, dict[str, None]]] = {}
    for submission in results.submissions:
        for each in submission.properties:
            parts.setdefault(_part(each), {}).setdefault(each.group, {}).setdefault(each.id)
            if each.status is not Outcome.NOT_APPLICABLE:
                asked.add(each.id)
    for part, families in parts.items():
        for family, listed in families.items():
            ids = tuple(each for each in listed if each in asked)
            if ids:
                labels = (each.rpartition("/")[2].removeprefix(f"{family}.") for each in ids)
                yield Columns(part, family, ids, tuple(labels))


def _part(each: PropertyResult) -> str:
    """Return the part that a property's id names: none, where it is the main one."""
    return each.part if each.id.startswith(f"{each.part}/") else ""


def _cells(submission: SubmissionResult, columns: tuple[Columns, ...]) -> Iterator[tuple[Run, ...]]:
    outcomes = {each.id: each.status for each in submission.properties}
    for family in columns:
        found = (outcomes.get(each, Outcome.NOT_APPLICABLE) for each in family.ids)
        runs = [_run(outcome, len(list(cells))) for outcome, cells in groupby(found)]
        blank = GLYPHS[Outcome.NOT_APPLICABLE]
        yield () if all(set(run.text) == {blank} for run in runs) else tuple(runs)


def _run(outcome: Outcome, length: int) -> Run:
    return Run(GLYPHS[outcome] * length, _MARKS.get(outcome, ""))


def _pattern(row: Row) -> list[str]:
    return ["".join(run.text for run in runs) for runs in row.families]
