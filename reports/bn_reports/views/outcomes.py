"""Properties by what came of them: those that hold by family, the others by the reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from bn_properties.records import Outcome, PropertyResult, SubmissionResult

from bn_reports.views.overview import Family, families


@dataclass(frozen=True)
class Reason:
    """Why some properties were not asked."""

    text: str
    count: int


@dataclass(frozen=True)
class Outcomes:
    """What came of a submission's properties."""

    counts: dict[Outcome, int]
    passed: tuple[Family, ...]
    not_run: tuple[Reason, ...]
    not_applicable: tuple[Reason, ...]


def outcomes(submission: SubmissionResult) -> Outcomes:
    """Return what came of the properties of `submission`."""
    found = Counter(each.status for each in submission.properties)
    held = [each for each in submission.properties if each.status is Outcome.PASS]
    return Outcomes(
        counts={outcome: found[outcome] for outcome in Outcome if found[outcome]},
        passed=families(submission.model_copy(update={"properties": tuple(held)})),
        not_run=_reasons(submission.properties, Outcome.NOT_RUN),
        not_applicable=_reasons(submission.properties, Outcome.NOT_APPLICABLE),
    )


def _reasons(properties: tuple[PropertyResult, ...], outcome: Outcome) -> tuple[Reason, ...]:
    found = Counter(
        each.message or f"the part {each.part} is not asked about {each.group}"
        for each in properties
        if each.status is outcome
    )
    return tuple(Reason(text, count) for text, count in found.most_common())
