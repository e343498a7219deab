"""What a run is to do: which submissions, by which course, with which cases, how many at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from bn_properties.records import Results, SubmissionResult

from bn_grading.case_bank import CaseBank
from bn_grading.courses.model import Course
from bn_grading.grade import grade
from bn_grading.intake.submission import Submission
from bn_grading.versions import environment, tool


@dataclass(frozen=True)
class Plan:
    """A run over a class."""

    submissions: Sequence[Submission]
    course: Course | None
    """None recognises each submission's among `courses`."""
    courses: Sequence[Course]
    bank: CaseBank
    jobs: int = 1
    """How many submissions are graded at once."""

    def grade(self, submission: Submission, bank: CaseBank | None = None) -> SubmissionResult:
        """Grade one of them; a job of its own has a bank of its own."""
        return grade(submission, self.course, self.courses, bank or self.bank)

    def results(self, graded: dict[str, SubmissionResult]) -> Results:
        """Return the run's record, in the order of the submissions."""
        return Results(
            tool=tool(),
            environment=environment(),
            seed=self.bank.seed,
            cases_sha256=self.bank.sha256,
            isolation="none",
            submissions=tuple(graded[submission.id] for submission in self.submissions),
        )


def jobs_for(count: int) -> int:
    """Return how many submissions to grade at once: as many as there are processors to use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(count, available or 1))
