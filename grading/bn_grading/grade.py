"""One submission from source to record: load it, check every property, diagnose, count points."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

from bn_properties.cases.case import Case
from bn_properties.catalogue import PROPERTIES
from bn_properties.transcript import Oracle, Transcript
from bn_properties.checking import Finding, blocked_by, describe, scan
from bn_properties.counterexample import write
from bn_properties.property import Property
from bn_properties.records import Counterexample, Outcome, Status, SubmissionResult
from bn_properties.reducing import minimise

from bn_grading.case_bank import CaseBank
from bn_grading.courses.model import Course, Part
from bn_grading.intake.submissions import PathError, Submission, graded_file, parts_for, recognise
from bn_grading.scoring import Examined, properties, status, summary
from bn_grading.subject.remote import RemoteSubject, RemoteSubmission, Unusable


def grade(
    submission: Submission, course: Course | None, courses: Sequence[Course], bank: CaseBank
) -> SubmissionResult:
    """Grade one submission; `course` None recognises it among `courses`.

    Whatever the submission does, this returns a record; an exception is the grader's own.
    """
    started = time.monotonic()
    chosen = course or recognise(submission, courses)
    if chosen is not None and chosen.runtime == "torch" and find_spec("torch") is None:
        need = "this course needs PyTorch, which is not installed here (the extra is `torch`)"
        return ungraded(submission, chosen, need)
    try:
        return _grade(submission, chosen, courses, bank, started)
    except (PathError, Unusable) as error:
        return SubmissionResult(
            id=submission.id,
            path=submission.path,
            sha256=submission.sha256,
            course=chosen.id if chosen else "unrecognised",
            status=Status.UNUSABLE,
            score=0.0,
            max_score=chosen.max_score if chosen else 0.0,
            seconds=time.monotonic() - started,
            summary=f"Cannot be used: {error}.",
            output=getattr(error, "output", ""),
        )


def _grade(
    submission: Submission,
    course: Course | None,
    courses: Sequence[Course],
    bank: CaseBank,
    started: float,
) -> SubmissionResult:
    if submission.problem is not None:
        raise Unusable(submission.problem)
    if course is None:
        known = ", ".join(dict.fromkeys(each.parts[0].names[0] for each in courses))
        raise Unusable(
            f"it defines nothing that a course asks for (such as {known}); "
            "a class of another name is asked for as file.py:Class"
        )
    file = None if submission.module else graded_file(submission, course)
    parts = parts_for(submission, course)
    with RemoteSubmission(submission, file, course, parts, bank.work) as remote:
        present = remote.start()
        if not present:
            raise Unusable(f"it does not define {' or '.join(parts[0].names)}")
        main = next((p for p in parts if p.group == parts[0].group and p.id in present), None)
        examined = [
            _examine(part, part is main, remote, course, bank)
            for part in parts
            if part.id in present
        ]
    state = status(examined, missing_main=main is None)
    rows = properties(course, parts, examined)
    score = sum(row.points for row in rows)
    said = summary(state, examined, parts)
    if state is not Status.CORRECT and score == course.max_score:
        said += " It costs no points in this course."
    return SubmissionResult(
        id=submission.id,
        path=submission.path,
        sha256=submission.sha256,
        course=course.id,
        status=state,
        score=score,
        max_score=course.max_score,
        seconds=time.monotonic() - started,
        summary=said,
        causes=tuple({c.fault: c for each in examined for c in each.causes}.values()),
        properties=rows,
        output=remote.output,
    )


def ungraded(submission: Submission, course: Course | None, reason: str) -> SubmissionResult:
    """Return the record of a submission that the grader could not grade, by no fault of its own."""
    return SubmissionResult(
        id=submission.id,
        path=submission.path,
        sha256=submission.sha256,
        course=course.id if course else "unrecognised",
        status=Status.UNGRADED,
        score=0.0,
        max_score=course.max_score if course else 0.0,
        seconds=0.0,
        summary=f"Not graded: {reason}.",
    )


def _examine(
    part: Part, main: bool, remote: RemoteSubmission, course: Course, bank: CaseBank
) -> Examined:
    """Check every property that applies to one part, and look for the mistake."""
    convention = course.convention
    seen = Transcript(RemoteSubject(remote, part, convention))
    answers = bank.answers(convention)
    cases = bank.cases(part.spatial_axes)
    findings: dict[str, Finding] = {}
    for prop in PROPERTIES:
        if prop.family in part.families:
            findings[prop.id] = _scan(prop, cases, seen, answers)
    observed = list(seen.kept.values())
    counterexamples: dict[str, Counterexample] = {}
    for id_, finding in list(findings.items()):
        if finding.failing is not None and finding.outcome is Outcome.FAIL:
            if blocked_by(finding, findings) is not None:
                continue
            smallest = minimise(finding.failing, finding.property, seen)
            findings[id_] = replace(finding, failing=smallest, message=describe(smallest))
            counterexamples[id_] = write(smallest, bank.seed, seen, answers)
    failed = frozenset(id_ for id_, f in findings.items() if f.outcome is Outcome.FAIL)
    diagnosis = bank.diagnosis(convention, part.spatial_axes)
    causes = diagnosis.causes(observed, seen, failed) if failed else ()
    return Examined(part, main, findings, counterexamples, causes)


def _scan(
    prop: Property, cases: Sequence[Case], seen: Transcript, answers: Oracle
) -> Finding:
    """Scan one property; a failure of its own is not the submission's, nor any other property's."""
    try:
        return scan(prop, cases, seen, answers)
    except Exception as error:
        message = f"the grader failed ({type(error).__name__}: {error})"
        return Finding(prop, Outcome.ERROR, 0, None, None, message)
