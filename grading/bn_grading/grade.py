"""One submission from source to record: matched with its course, examined, scored."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from bn_properties.case_errors import packed
from bn_properties.records import Basis, Calling, Status, SubmissionResult

from bn_grading.calling import of_failing
from bn_grading.case_bank import CaseBank
from bn_grading.courses.matching import Match, NoMatch, match
from bn_grading.courses.model import Course, Part
from bn_grading.examination import CannotExamine, Examination
from bn_grading.intake.old_names import old_names
from bn_grading.intake.submission import Submission
from bn_grading.part_examination import PartFindings
from bn_grading.scoring import Score, score
from bn_grading.subject.isolation import Level, NotIsolated
from bn_grading.subject.session import CannotLoad
from bn_grading.versions import basis

GAVE_OUT = "ran out of time or memory on a thousand instances and more, and is not judged on them"
"""A note on what a right submission may do."""

_log = logging.getLogger(__name__)


def grade(
    submission: Submission,
    course: Course | None,
    courses: Sequence[Course],
    bank: CaseBank,
    levels: Sequence[Level] = (Level.NONE,),
) -> SubmissionResult:
    """Grade one submission; `course` None recognises it among `courses`.

    It is kept apart at the first of `levels` at which its process starts; the record says which.

    Whatever the submission does, and whatever the grader itself does wrong, this returns a record.
    """
    started = time.monotonic()
    chosen, output, parts, notes = course, "", tuple[Part, ...](), tuple[str, ...]()
    level = levels[-1]
    try:
        found = match(submission, course, courses)
        notes = old_names(submission.files[found.file]) if found.file else ()
        chosen, parts = found.course, found.defined
        examination = Examination(found, bank, levels=levels)
        try:
            with examination:
                findings = examination.complete()
                if any(each.gave_out for each in findings):
                    notes = (*notes, GAVE_OUT)
        finally:
            level = examination.level
        verdict, output = score(chosen, found.parts, findings), examination.output
        seconds = time.monotonic() - started
        made = basis(chosen, parts, bank, level)
        record = _record(submission, chosen, made, verdict, seconds, output, notes)
        return record.model_copy(
            update={
                "calling": _calling(found, findings),
                "memory": examination.memory,
                "conditions": {
                    each.part.id: packed(each.conditions, len(each.cases))
                    for each in findings
                    if each.conditions
                },
            }
        )
    except NoMatch as error:
        chosen, verdict = error.course, _unusable(error)
    except CannotLoad as error:
        output, verdict = error.output, _unusable(error)
    except (CannotExamine, NotIsolated) as error:
        return ungraded(submission, chosen, str(error))
    except Exception as error:
        _log.exception("%s: the grader failed", submission.id)
        return ungraded(submission, chosen, f"the grader failed ({type(error).__name__}: {error})")
    on = None if chosen is None else basis(chosen, parts, bank, level)
    return _record(submission, chosen, on, verdict, time.monotonic() - started, output, notes)


def _calling(found: Match, findings: Sequence[PartFindings]) -> dict[str, Calling]:
    try:
        return of_failing(found, findings)
    except Exception:  # no verdict rests on it
        _log.exception("%s: how it is called cannot be told", found.submission.id)
        return {}


def rests_on(
    submission: Submission,
    course: Course | None,
    courses: Sequence[Course],
    bank: CaseBank,
    level: Level,
) -> Basis | None:
    """Return what the record of a submission would rest on; None where no course asks anything."""
    try:
        found = match(submission, course, courses)
    except NoMatch as error:
        return None if error.course is None else basis(error.course, (), bank, level)
    return basis(found.course, found.defined, bank, level)


def _unusable(error: Exception) -> Score:
    return Score(Status.UNUSABLE, 0.0, f"Cannot be used: {error}.")


def ungraded(submission: Submission, course: Course | None, reason: str) -> SubmissionResult:
    """Return the record of a submission that the grader could not grade, by no fault of its own."""
    verdict = Score(Status.UNGRADED, 0.0, f"Not graded: {reason}.")
    return _record(submission, course, None, verdict)


def _record(
    submission: Submission,
    course: Course | None,
    on: Basis | None,
    verdict: Score,
    seconds: float = 0.0,
    output: str = "",
    notes: tuple[str, ...] = (),
) -> SubmissionResult:
    return SubmissionResult(
        id=submission.id,
        path=submission.path,
        sha256=submission.sha256,
        course=course.id if course else "unrecognised",
        basis=on,
        status=verdict.status,
        score=verdict.points,
        max_score=course.max_score if course else 0.0,
        seconds=seconds,
        graded=f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
        summary=verdict.summary,
        causes=verdict.causes,
        properties=verdict.properties,
        output=output,
        optional=verdict.optional,
        names={part: dict(each) for part, each in verdict.names.items() if each},
        notes=notes,
    )
