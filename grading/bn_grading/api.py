"""The grader for other Python programs: the same verdicts as the command line's.

from bn_grading.api import check
result = check("my_layer.py:MyNorm", course="torch")
assert result.status == "correct", result.summary

In a notebook, what `check` and `grade` return shows itself (`bn_reports/notebook.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from bn_reports.notebook import ShownResults, ShownSubmission, shown, shown_results

from bn_grading.case_bank import DEFAULT_EXAMPLES, DEFAULT_SEED, CaseBank
from bn_grading.classroom.plan import Plan
from bn_grading.courses.model import Course, built_in, find
from bn_grading.intake.paths import collect, single
from bn_grading.subject.isolation import Level
from bn_grading.subject.levels import candidates, chosen, wanted


def check(
    subject: str,
    *,
    course: str = "auto",
    seed: int = DEFAULT_SEED,
    examples: int = DEFAULT_EXAMPLES,
    isolation: str = "auto",
) -> ShownSubmission:
    """Check one submission, as `bnoracle check` does; the record shows itself in a notebook.

    Args:
        subject: a file, its folder, `file.py:Class` or `package.Class`.
        course: a built-in course's name, a .toml file, or `auto`.
        seed: of the cases, 0 to 2³² − 1.
        examples: how many cases are drawn, 11 to 10,000.
        isolation: how it is kept apart from this machine: `full`, `lockdown`, `none`, or the first
            of these that there is, `auto`.

    Raises:
        PathError: there is no such file or module.
        CourseError: there is no such course, or its file is wrong.
        NoSuchLevel: this machine does not offer that level of isolation.
        ValueError: `seed` or `examples` is out of range.
    """
    plan = _plan([], course, seed, examples, 1, candidates(wanted(isolation)))
    return shown(plan.grade(single(subject)))


def grade(
    paths: Sequence[str],
    *,
    course: str = "auto",
    seed: int = DEFAULT_SEED,
    examples: int = DEFAULT_EXAMPLES,
    jobs: int = 1,
    isolation: str = "auto",
) -> ShownResults:
    """Grade a class, as `bnoracle grade` does, and write nothing.

    Args:
        paths: files, and folders of submissions.
        course, seed, examples, isolation: see `check`; the level is one for all.
        jobs: how many submissions are graded at once, 1 to 1024. More than one are processes of
            their own: a script that asks for them needs `if __name__ == "__main__":`.

    Raises:
        PathError: a path does not exist, or a folder holds no submission.
        CourseError: there is no such course, or its file is wrong.
        NoSuchLevel: this machine does not offer that level of isolation.
        ValueError: `paths` is no sequence of paths, or a number is out of range.
    """
    # Processes and pages: whoever checks one file does without.
    from bn_grading.classroom.class_run import run  # noqa: PLC0415

    plan = _plan(paths, course, seed, examples, jobs, (chosen(wanted(isolation)),))
    return shown_results(run(plan))


def _whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}, but must be a whole number from {low} to {high}")


def _plan(
    paths: Sequence[str],
    course: str,
    seed: int,
    examples: int,
    jobs: int,
    levels: tuple[Level, ...],
) -> Plan:
    _whole("seed", seed, 0, 2**32 - 1)
    _whole("examples", examples, 11, 10_000)
    _whole("jobs", jobs, 1, 1024)
    if isinstance(paths, str):
        raise ValueError(f"paths is {paths!r}, but must be a sequence of paths")
    on: Course | None = None if course == "auto" else find(course)
    submissions = collect(paths).submissions if paths else ()
    courses = tuple(built_in().values())
    return Plan(submissions, on, courses, CaseBank(seed, examples), jobs, levels)
