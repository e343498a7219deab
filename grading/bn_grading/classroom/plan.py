"""What a run is to do: which submissions, by which course, with which cases, how many at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bn_oracle.conventions import Convention
from bn_properties.records import Basis, Results, SubmissionResult

from bn_grading.case_bank import CaseBank
from bn_grading.courses.matching import match
from bn_grading.courses.model import Course, Part
from bn_grading.grade import grade, rests_on
from bn_grading.intake.submission import Submission
from bn_grading.subject.isolation import Level
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
    levels: tuple[Level, ...] = (Level.NONE,)
    """How each is kept apart: one level for a class; for one's own file, those to try."""

    def grade(self, submission: Submission, bank: CaseBank | None = None) -> SubmissionResult:
        """Grade one of them; a job of its own has a bank of its own."""
        return grade(submission, self.course, self.courses, bank or self.bank, self.levels)

    def rests_on(self, submission: Submission) -> Basis | None:
        """Return what the record of a submission would rest on if it were graded now."""
        return rests_on(submission, self.course, self.courses, self.bank, self.levels[-1])

    def judged(self) -> dict[str, str]:
        """Return the file that each submission is judged by, where there is one."""
        found: dict[str, str] = {}
        for submission in self.submissions:
            with contextlib.suppress(Exception):  # it is told of the submission when it is graded
                each = match(submission, self.course, self.courses)
                if each.file:
                    found[submission.id] = submission.files[each.file]
        return found

    def asked(self) -> list[tuple[Part, Convention]]:
        """Return the different parts that the submissions seem to define, and their conventions."""
        found: dict[tuple[str, str], tuple[Part, Convention]] = {}
        for submission in self.submissions:
            with contextlib.suppress(Exception):  # it is told of the submission when it is graded
                each = match(submission, self.course, self.courses)
                for part in each.defined:
                    found.setdefault((each.course.id, part.id), (part, each.course.convention))
        return list(found.values())

    def results(
        self,
        graded: Mapping[str, SubmissionResult],
        similar: Sequence[tuple[str, ...]] = (),
    ) -> Results:
        """Return the run's record, in the order of the submissions."""
        ids = [submission.id for submission in self.submissions]
        return Results(
            tool=tool(),
            environment=environment(),
            seed=self.bank.seed,
            examples=self.bank.examples,
            isolation=self.levels[-1].value,
            submissions=tuple(graded[id_] for id_ in ids if id_ in graded),
            pending=tuple(id_ for id_ in ids if id_ not in graded),
            similar=tuple(similar),
        )


def jobs_for(count: int) -> int:
    """Return how many submissions to grade at once: as many as there are processors to use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(count, available or 1))
