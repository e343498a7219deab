"""What the records say, in the order in which people ask: the worst, and the first cause, first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from bn_properties.records import (
    Outcome,
    PropertyResult,
    Results,
    Status,
    SubmissionResult,
)

_SEVERITY = {status: rank for rank, status in enumerate(Status)}


@dataclass(frozen=True)
class Failure:
    """A property that fails of itself, and those that cannot be judged before it is mended."""

    property: PropertyResult
    blocked: tuple[PropertyResult, ...]


@dataclass(frozen=True)
class Family:
    """The properties of one group, in their order."""

    name: str
    properties: tuple[PropertyResult, ...]

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many properties came to each outcome that occurs."""
        found = Counter(each.status for each in self.properties)
        return {outcome: found[outcome] for outcome in Outcome if found[outcome]}


def failures(submission: SubmissionResult) -> tuple[Failure, ...]:
    """Return the failures of `submission`, the root failure first, each with what it blocks."""
    by_id = {each.id: each for each in submission.properties}
    blocked: dict[str, list[PropertyResult]] = {}
    for each in submission.properties:
        if each.status is Outcome.BLOCKED:
            blocked.setdefault(_blocker(each, by_id), []).append(each)
    return tuple(
        Failure(each, tuple(blocked.get(each.id, ())))
        for each in submission.properties
        if each.status is Outcome.FAIL
    )


def loose_ends(submission: SubmissionResult) -> tuple[PropertyResult, ...]:
    """Return the properties that the grader failed on, and the blocked without a known blocker."""
    folded = {each.id for failure in failures(submission) for each in failure.blocked}
    return tuple(
        each
        for each in submission.properties
        if each.status is Outcome.ERROR
        or (each.status is Outcome.BLOCKED and each.id not in folded)
    )


def families(submission: SubmissionResult) -> tuple[Family, ...]:
    """Group the properties of `submission` by part and family, in order of first appearance."""
    groups: dict[str, list[PropertyResult]] = {}
    for each in submission.properties:
        part = f"{each.part}: " if each.id.startswith(f"{each.part}/") else ""
        groups.setdefault(part + each.group, []).append(each)
    return tuple(Family(name, tuple(members)) for name, members in groups.items())


def worst_first(results: Results) -> tuple[SubmissionResult, ...]:
    """Return the submissions by severity of status, then by share of the points, then by id."""
    return tuple(
        sorted(
            results.submissions,
            key=lambda each: (_SEVERITY[each.status], _share(each), each.id),
        )
    )


def status_counts(results: Results) -> dict[Status, int]:
    """Return the number of submissions of every status, zeros included."""
    found = Counter(each.status for each in results.submissions)
    return {status: found[status] for status in Status}


def _blocker(blocked: PropertyResult, by_id: dict[str, PropertyResult]) -> str:
    """Follow `blocked_by` to the property that fails of itself; a cycle ends where it began."""
    visited: set[str] = set()
    name = blocked.blocked_by
    while name in by_id and name not in visited and by_id[name].status is Outcome.BLOCKED:
        visited.add(name)
        name = by_id[name].blocked_by
    return name or ""


def _share(submission: SubmissionResult) -> float:
    return submission.score / submission.max_score if submission.max_score else 0.0
