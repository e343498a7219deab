"""What is no ordinary wrong number: grader errors, files that do not load, calls that end badly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from bn_properties.protocol import Failure
from bn_properties.records import Outcome, PropertyResult, Results, Status, SubmissionResult


class Kind(NamedTuple):
    """A kind of incident, in the order in which somebody has to look at them."""

    title: str
    meaning: str


GRADER: Final = Kind(
    "Grader errors", "The grader failed, not the student: what it did not ask says nothing."
)
UNUSABLE: Final = Kind("Not loaded", "The file could not be loaded, so that nothing was asked.")
TAMPERING: Final = Kind(
    "Ended, flooded or forged",
    "A call ended the process, printed without end, or sent what is no reply. It may be an "
    "attempt to mislead the grader, or a stray exit() or print().",
)
CRASH: Final = Kind("Crashes", "A call crashed or lost its process.")
LATE: Final = Kind("Time-outs", "A call took too long, or the time for all calls was up.")
RAISED: Final = Kind("Exceptions", "What is wrong first is an exception that a call raises.")
KINDS: Final = (GRADER, UNUSABLE, TAMPERING, CRASH, LATE, RAISED)

_OF_FAILURES: Final[dict[Failure, Kind]] = {
    "timeout": LATE,
    "slept": LATE,
    "unfinished": LATE,
    "died": TAMPERING,
}
_CRASHED: Final = ("crashes its process", "does not load again")
"""What the grader says where a process is lost, and nothing says that it was meant to be."""


@dataclass(frozen=True)
class Incidents:
    """The submissions of one kind, and what is said of each."""

    kind: Kind
    found: tuple[tuple[SubmissionResult, str], ...]


def incidents(results: Results) -> tuple[Incidents, ...]:
    """Return the kinds of incidents that occur; a submission may have several."""
    found: dict[Kind, list[tuple[SubmissionResult, str]]] = {kind: [] for kind in KINDS}
    for submission in results.submissions:
        said: dict[Kind, str] = {}
        for kind, text in _of(submission):
            said.setdefault(kind, text)
        for kind, text in said.items():
            found[kind].append((submission, text))
    return tuple(Incidents(kind, tuple(each)) for kind, each in found.items() if each)


def _of(submission: SubmissionResult) -> Iterator[tuple[Kind, str]]:
    if submission.status is Status.UNGRADED:
        yield GRADER, submission.summary
    if submission.status is Status.UNUSABLE:
        yield UNUSABLE, submission.summary
    failed = 0
    for each in submission.properties:
        if each.status is Outcome.ERROR:
            yield GRADER, f"{each.id}: {each.message}"
        elif each.status in (Outcome.FAIL, Outcome.NOT_RUN):
            kind = _kind(each, first=failed == 0)
            if kind is not None:
                yield kind, each.message
            failed += each.status is Outcome.FAIL


def _kind(each: PropertyResult, *, first: bool) -> Kind | None:
    if each.failure == "died" and any(text in each.message for text in _CRASHED):
        return CRASH
    if each.failure == "raised":
        return RAISED if first else None
    return None if each.failure is None else _OF_FAILURES.get(each.failure)
