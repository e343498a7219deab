"""The match of submission, course, file and parts: decided once, for everything that follows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bn_worker.loading import LoadError, parse

from bn_grading.courses.definitions import Definitions, definitions
from bn_grading.courses.interfaces import FRAMEWORKS
from bn_grading.courses.model import Course, Part
from bn_grading.intake.submission import Submission


class NoMatch(ValueError):
    """A submission that no course, or no part of its course, belongs to; the message says why."""

    def __init__(self, reason: str, course: Course | None = None) -> None:
        """Record why, and the course as far as it is known."""
        super().__init__(reason)
        self.course = course


@dataclass(frozen=True)
class Match:
    """A submission, and what is asked of it."""

    submission: Submission
    course: Course
    file: str | None
    """The one file that is graded; None for an installed module."""
    parts: tuple[Part, ...]
    """The course's parts; where a class was asked for by name, the one that it stands for."""

    @property
    def defined(self) -> tuple[Part, ...]:
        """The parts that the file seems to define, as far as can be told without running it."""
        if self.file is None:
            return self.parts
        names = definitions(self.submission.files[self.file]).defined
        return tuple(part for part in self.parts if names.intersection(part.names))


def match(submission: Submission, course: Course | None, courses: Iterable[Course]) -> Match:
    """Match a submission with `course`, or, where that is None, with one of `courses`.

    Raises:
        NoMatch: it cannot be read, belongs to no course, defines nothing that the course asks for,
            or defines it in several files.
    """
    known = tuple(courses)
    found = course or recognise(submission, known)
    if submission.problem is not None:
        raise NoMatch(submission.problem, found)
    if found is None:
        for name, source in submission.files.items():
            try:
                parse(source, name)
            except LoadError as error:
                raise NoMatch(str(error)) from error
        listed = ", ".join(dict.fromkeys(each.parts[0].names[0] for each in known))
        raise NoMatch(
            f"it defines nothing that a course asks for (such as {listed}); "
            "a class of another name is asked for as file.py:Class"
        )
    file = None if submission.module else _graded_file(submission, found)
    return Match(submission, found, file, _parts(submission, found))


def recognise(submission: Submission, courses: Iterable[Course]) -> Course | None:
    """Return the course that the submission's names belong to; None when there is none.

    A framework's course takes classes that derive from another in files that import the framework;
    the other courses take the rest. Among several, the one most of whose names are defined.
    """
    if submission.module is not None:
        return next((course for course in courses if course.framework), None)
    files = [definitions(source) for source in submission.files.values()]
    best: tuple[int, Course] | None = None
    for course in courses:
        defined = frozenset().union(*(_defined_for(course.framework, each) for each in files))
        hit = len(set(course.names) & defined) or int(submission.wanted in defined)
        if hit and (best is None or hit > best[0]):
            best = (hit, course)
    return best[1] if best else None


def _defined_for(framework: str, file: Definitions) -> frozenset[str]:
    """Return which of a file's definitions may be of a framework's course, or of none's."""
    if framework:
        return file.derived if framework in file.imported else frozenset()
    theirs = any(each in file.imported for each in FRAMEWORKS)
    return file.defined - (file.derived if theirs else frozenset())


def _graded_file(submission: Submission, course: Course) -> str:
    """Return the name of the one file that defines the course's class or functions."""
    wanted = {submission.wanted} if submission.wanted else set(course.main_names)
    candidates = _defining(submission, wanted)
    listed = " or ".join(sorted(wanted))
    if len(candidates) > 1:
        raise NoMatch(f"several files define {listed}: {', '.join(sorted(candidates))}", course)
    others = candidates or _defining(submission, set(course.names))
    if not others:
        # A file that does not parse may have been meant to: loading says what is wrong with it.
        sources = submission.files.items()
        others = [name for name, source in sources if not definitions(source).parsed]
    if len(others) != 1:
        raise NoMatch(f"it does not define {listed}", course)
    return others[0]


def _defining(submission: Submission, wanted: set[str]) -> list[str]:
    files = submission.files.items()
    return [name for name, source in files if wanted & definitions(source).defined]


def _parts(submission: Submission, course: Course) -> tuple[Part, ...]:
    wanted = submission.wanted
    if wanted is None:
        return course.parts
    spatial = {"2d": 2, "3d": 3}.get(wanted[-2:], 0)
    for part in course.parts:
        if part.spatial_axes == spatial and part.interface.kind != "functions":
            alike = [p for p in course.parts if p is part or (p.if_taken and p.names == part.names)]
            interface = {"classes": (wanted,)}
            return tuple(
                each.model_copy(update={"interface": each.interface.model_copy(update=interface)})
                for each in alike
            )
    raise NoMatch(f"the course {course.id} has no class that {wanted} could stand for", course)
