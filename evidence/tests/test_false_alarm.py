"""No right file is rejected, whatever the cases: fresh seeds, every style.

`BNORACLE_FALSE_ALARM=10000` sets how many cases each file gets, 200 from each seed; without it a
slice runs. `BNORACLE_FALSE_ALARM_SEED` moves the first seed.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from bn_grading.case_bank import CaseBank
from bn_grading.courses.model import Course, Limits, built_in, find
from bn_grading.grade import grade
from bn_grading.intake.paths import single
from bn_properties.records import Outcome, Status, SubmissionResult

pytestmark = pytest.mark.once
FIXTURES = Path(__file__).parents[2] / "fixtures"
WANTED = int(os.environ.get("BNORACLE_FALSE_ALARM", "0"))
EXAMPLES = 200 if WANTED else 100
FIRST_SEED = int(os.environ.get("BNORACLE_FALSE_ALARM_SEED", "1000"))
"""No other test and no grading run uses seeds from here on."""
SEEDS = range(FIRST_SEED, FIRST_SEED + (-(-WANTED // EXAMPLES) or 1))


@lru_cache(maxsize=1)
def bank(seed: int) -> CaseBank:
    return CaseBank(seed, EXAMPLES)


LECTURE = FIXTURES / "courses" / "lecture.toml"
"""A course whose interface offers everything that a property can need."""


@lru_cache(maxsize=1)
def courses() -> tuple[Course, ...]:
    """Return the built-in courses, with time for five times the usual cases, on a busy machine."""
    return tuple(patient(course) for course in built_in().values())


def patient(course: Course) -> Course:
    limits = Limits(start=120.0, call=20.0, submission=600.0, cpu=600.0)
    return course.model_copy(update={"limits": limits})


@lru_cache(maxsize=1)
def lecture() -> Course:
    return patient(find(str(LECTURE)))


def judged(subject: str, seed: int) -> SubmissionResult:
    course = lecture() if Path(subject).is_relative_to(LECTURE.with_suffix("")) else None
    return grade(single(subject), course, courses(), bank(seed))


def runs(folder: str, *modules: str) -> list[ParameterSet]:
    """Return every file of a folder, and torch's modules, under every seed, seed by seed."""
    plain = [str(path) for path in sorted((FIXTURES / folder).glob("*.py"))]
    plain += [str(path) for path in sorted((LECTURE.with_suffix("") / folder).glob("*.py"))]
    assert plain, folder
    torch = [str(path) for path in sorted((FIXTURES / "torch" / folder).glob("*.py"))]
    torch += modules
    return [
        pytest.param(
            subject,
            seed,
            id=f"{subject if subject in modules else Path(subject).stem}-{seed}",
            marks=[pytest.mark.torch] if subject in torch else [],
        )
        for seed in SEEDS
        for subject in (*plain, *torch)
    ]


MODULES = [f"torch.nn.BatchNorm{axes}d" for axes in (1, 2, 3)]


@pytest.mark.parametrize(("subject", "seed"), runs("correct", *MODULES))
def test_no_right_file_is_rejected(subject: str, seed: int) -> None:
    result = judged(subject, seed)
    failing = [(p.id, p.message) for p in result.properties if p.status is Outcome.FAIL]
    assert [] == failing
    assert (Status.CORRECT, result.max_score) == (result.status, result.score)


@pytest.mark.parametrize(("subject", "seed"), runs("unstable"))
def test_a_loss_of_accuracy_is_never_called_incorrect(subject: str, seed: int) -> None:
    result = judged(subject, seed)
    failing = {p.group for p in result.properties if p.status is Outcome.FAIL}
    assert failing <= {"stability"}
    assert result.status in (Status.UNSTABLE, Status.CORRECT)
