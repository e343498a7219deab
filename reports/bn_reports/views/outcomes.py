"""Properties by what came of them: those that hold by family, the others by the reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from bn_properties.records import Outcome, PropertyResult, SubmissionResult

from bn_reports.views.overview import Family, families

_LACKS: Final = "the interface has no "


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
    lacking: tuple[Reason, ...]
    """What the interface does not have, so that nothing could be asked of it."""
    not_applicable: tuple[Reason, ...]
    """For which other reasons nothing could be asked."""


def outcomes(submission: SubmissionResult) -> Outcomes:
    """Return what came of the properties of `submission`."""
    found = Counter(each.status for each in submission.properties)
    held = [each for each in submission.properties if each.status is Outcome.PASS]
    inapplicable = _reasons(submission.properties, Outcome.NOT_APPLICABLE)
    return Outcomes(
        counts={outcome: found[outcome] for outcome in Outcome if found[outcome]},
        passed=families(submission.model_copy(update={"properties": tuple(held)})),
        not_run=_reasons(submission.properties, Outcome.NOT_RUN),
        lacking=tuple(
            Reason(each.text.removeprefix(_LACKS), each.count)
            for each in inapplicable
            if each.text.startswith(_LACKS)
        ),
        not_applicable=tuple(each for each in inapplicable if not each.text.startswith(_LACKS)),
    )


def _reasons(properties: tuple[PropertyResult, ...], outcome: Outcome) -> tuple[Reason, ...]:
    found = Counter(
        each.message or f"the part {each.part} is not asked about {each.group}"
        for each in properties
        if each.status is outcome
    )
    return tuple(Reason(text, count) for text, count in found.most_common())
