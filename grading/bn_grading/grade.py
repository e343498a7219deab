"""One submission from source to record: matched with its course, examined, scored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from bn_properties.records import Status, SubmissionResult

from bn_grading.case_bank import CaseBank
from bn_grading.courses.matching import Match, NoMatch, match
from bn_grading.courses.model import Course
from bn_grading.examination import CannotExamine, Examination
from bn_grading.intake.submission import Submission
from bn_grading.scoring import score
from bn_grading.subject.session import Unusable


def grade(
    submission: Submission, course: Course | None, courses: Sequence[Course], bank: CaseBank
) -> SubmissionResult:
    """Grade one submission; `course` None recognises it among `courses`.

    Whatever the submission does, and whatever the grader itself does wrong, this returns a record.
    """
    started = time.monotonic()
    chosen = course
    try:
        found = match(submission, course, courses)
        chosen = found.course
        fields = _examined(found, bank)
    except NoMatch as error:
        chosen = error.course
        fields = {"status": Status.UNUSABLE, "summary": f"Cannot be used: {error}."}
    except Unusable as error:
        summary = f"Cannot be used: {error}."
        fields = {"status": Status.UNUSABLE, "summary": summary, "output": error.output}
    except CannotExamine as error:
        return ungraded(submission, chosen, str(error))
    except Exception as error:
        return ungraded(submission, chosen, f"the grader failed ({type(error).__name__}: {error})")
    return _record(submission, chosen, seconds=time.monotonic() - started, **fields)


def _examined(found: Match, bank: CaseBank) -> dict[str, Any]:
    """Return the fields of a record that examining a submission fills."""
    with Examination(found, bank) as examination:
        findings = examination.complete()
    return {
        **score(found.course, found.parts, findings)._asdict(),
        "output": examination.output,
    }


def ungraded(submission: Submission, course: Course | None, reason: str) -> SubmissionResult:
    """Return the record of a submission that the grader could not grade, by no fault of its own."""
    return _record(submission, course, status=Status.UNGRADED, summary=f"Not graded: {reason}.")


def _record(
    submission: Submission,
    course: Course | None,
    *,
    status: Status,
    summary: str,
    seconds: float = 0.0,
    **fields: Any,
) -> SubmissionResult:
    return SubmissionResult(
        id=submission.id,
        path=submission.path,
        sha256=submission.sha256,
        course=course.id if course else "unrecognised",
        status=status,
        max_score=course.max_score if course else 0.0,
        seconds=seconds,
        summary=summary,
        **{"score": 0.0, **fields},
    )
