"""One submission to its record, whatever goes wrong on the way; and what the API refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from bn_grading import api
from bn_grading.case_bank import CaseBank
from bn_grading.courses.matching import Match
from bn_grading.courses.model import CourseError, built_in
from bn_grading.examination import CannotExamine
from bn_grading.grade import grade
from bn_grading.intake.submission import PathError, Submission
from bn_grading.subject.isolation import Level
from bn_grading.subject.session import CannotLoad
from bn_properties.records import Status, SubmissionResult

COURSES = built_in()
CMU = COURSES["cmu-hw1p1"]
SHA = "0" * 64
EXAMINATION = "bn_grading.grade.Examination"


def graded(source: str = "class BatchNorm1d: pass\n") -> SubmissionResult:
    submission = Submission("ada", "class/ada.py", {"ada.py": source}, SHA)
    return grade(submission, None, list(COURSES.values()), CaseBank(0, 11))


def raising(error: Exception) -> Callable[..., object]:
    def examine(match: Match, bank: CaseBank, levels: Sequence[Level]) -> object:
        raise error

    return examine


def test_a_record_says_whose_it_is_and_what_could_have_been_earned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(EXAMINATION, raising(CannotLoad("it does not load", "printed\n")))
    found = graded()
    assert ("ada", "class/ada.py", SHA, CMU.id) == (
        found.id,
        found.path,
        found.sha256,
        found.course,
    )
    assert (0.0, CMU.max_score) == (found.score, found.max_score)
    assert (Status.UNUSABLE, "Cannot be used: it does not load.", "printed\n") == (
        found.status,
        found.summary,
        found.output,
    )


@pytest.mark.parametrize(
    ("error", "summary"),
    [
        (CannotExamine("there is no PyTorch"), "Not graded: there is no PyTorch."),
        (KeyError("x"), "Not graded: the grader failed (KeyError: 'x')."),
        (AssertionError("no"), "Not graded: the grader failed (AssertionError: no)."),
    ],
)
def test_what_the_grader_cannot_do_is_no_fault_of_the_submissions(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    summary: str,
) -> None:
    monkeypatch.setattr(EXAMINATION, raising(error))
    found = graded()
    caplog.clear()
    assert (Status.UNGRADED, summary, CMU.id) == (found.status, found.summary, found.course)


def test_what_belongs_to_no_course_is_unusable_and_is_worth_nothing() -> None:
    found = graded("x = 1\n")
    assert (Status.UNUSABLE, "unrecognised") == (found.status, found.course)
    assert found.summary.startswith("Cannot be used: it defines nothing that a course asks for")
    assert (0.0, 0.0) == (found.score, found.max_score)


def test_an_interrupt_is_not_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def examine(match: Match, bank: CaseBank, levels: Sequence[Level]) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(EXAMINATION, examine)
    with pytest.raises(KeyboardInterrupt):
        graded()


@pytest.mark.parametrize("examples", [10, 10_001, 0, -1])
def test_a_number_of_cases_out_of_range_is_refused(examples: int) -> None:
    text = f"examples is {examples}, but must be a whole number from 11 to 10000"
    with pytest.raises(ValueError, match=text):
        api.check("x.py", examples=examples)
    with pytest.raises(ValueError, match=text):
        api.grade(["x.py"], examples=examples)


@pytest.mark.parametrize("jobs", [0, -2])
def test_no_jobs_at_all_are_refused(jobs: int) -> None:
    with pytest.raises(
        ValueError, match=f"jobs is {jobs}, but must be a whole number from 1 to 1024"
    ):
        api.grade(["x.py"], jobs=jobs)


def test_what_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PathError, match="nothing"):
        api.check(str(tmp_path / "nothing.py"))
    with pytest.raises(PathError, match="nothing"):
        api.grade([str(tmp_path / "nothing.py")])
    with pytest.raises(CourseError, match="cs999"):
        api.check("x.py", course="cs999")
