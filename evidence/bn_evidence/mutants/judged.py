"""Every mutant of a right file beside what the right answers and the grader say of it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

from bn_grading.case_bank import CaseBank
from bn_grading.courses.matching import recognise
from bn_grading.courses.model import Course, built_in

from bn_evidence.mutants.compare import Asked, Job, differences
from bn_evidence.mutants.edits import Mutant, mutants
from bn_evidence.mutants.trial import rejection, submission
from bn_evidence.mutants.truth import Defaults, situations

REFUSES = {"cmu_recompute"}
"""Right files that raise at a batch of one, as they may: the independent comparison asks one."""


@dataclass(frozen=True)
class Judged:
    """A mutant, how it differs from batch normalization, and what rejects it."""

    mutant: Mutant
    difference: str
    """Empty where the right answers cannot tell it from batch normalization."""
    rejected_by: str
    """Empty where the grader finds it correct."""


def chosen(mutant: Mutant, one_in: int) -> bool:
    """Whether a mutant belongs to the slice of one in so many; its id alone decides."""
    return zlib.crc32(mutant.id.encode()) % one_in == 0


def course_of(source: str, name: str) -> Course:
    """Return the course that a right file belongs to.

    Raises:
        ValueError: it belongs to none.
    """
    course = recognise(submission(source, name), list(built_in().values()))
    if course is None:
        raise ValueError(f"{name} belongs to no course")
    return course


def job(sources: tuple[str, ...], name: str, course: Course) -> Job:
    """Return what is to be compared."""
    convention = course.convention
    decay = convention.decay(convention.momentum)
    defaults = Defaults(convention.eps, decay, convention.initial_var)
    parts = tuple(
        Asked(
            part.interface.model_dump(mode="json"),
            "training" not in part.families,
            part.required,
            situations(part.spatial_axes, defaults),
        )
        for part in course.parts
    )
    return Job(f"{name}.py", sources, parts)


def judge(path: Path, bank: CaseBank, one_in: int = 1, equivalent: bool = True) -> list[Judged]:
    """Return the mutants of a right file (one in so many), each compared and graded.

    Those that do not differ are graded only where `equivalent` says so.
    """
    source, name = path.read_text("utf-8"), path.stem
    course = course_of(source, name)
    found = [mutant for mutant in mutants(source, name) if chosen(mutant, one_in)]
    compared = differences(job(tuple(mutant.source for mutant in found), name, course))
    return [
        Judged(
            mutant,
            different,
            rejection(mutant.source, name, course, bank) if different or equivalent else "",
        )
        for mutant, different in zip(found, compared, strict=True)
    ]
