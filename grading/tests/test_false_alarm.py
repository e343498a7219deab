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
from bn_grading.bank import CaseBank
from bn_grading.courses import Course, Limits, built_in
from bn_grading.grade import grade
from bn_grading.submissions import single
from bn_properties.verdicts import Outcome, Status, SubmissionResult

FIXTURES = Path(__file__).parents[2] / "fixtures"
WANTED = int(os.environ.get("BNORACLE_FALSE_ALARM", "0"))
EXAMPLES = 200 if WANTED else 100
FIRST_SEED = int(os.environ.get("BNORACLE_FALSE_ALARM_SEED", "1000"))
"""No other test and no grading run uses seeds from here on."""
SEEDS = range(FIRST_SEED, FIRST_SEED + (-(-WANTED // EXAMPLES) or 2))


@lru_cache(maxsize=1)
def bank(seed: int) -> CaseBank:
    return CaseBank(seed, EXAMPLES)


@lru_cache(maxsize=1)
def courses() -> tuple[Course, ...]:
    """Return the built-in courses, with time for five times the usual cases, on a busy machine."""
    limits = Limits(start=120.0, call=20.0, submission=600.0)
    return tuple(c.model_copy(update={"limits": limits}) for c in built_in().values())


def judged(subject: str, seed: int) -> SubmissionResult:
    return grade(single(subject), None, courses(), bank(seed))


def runs(folder: str, *modules: str) -> list[ParameterSet]:
    """Return every file of a folder, and torch's modules, under every seed, seed by seed."""
    plain = [str(path) for path in sorted((FIXTURES / folder).glob("*.py"))]
    torch = [str(path) for path in sorted((FIXTURES / "torch" / folder).glob("*.py"))]
    torch += modules
    return [
        pytest.param(
            subject,
            seed,
            id=f"{Path(subject).stem if subject in plain else subject}-{seed}",
            marks=[pytest.mark.torch] if subject in torch else [],
        )
        for seed in SEEDS
        for subject in (*plain, *torch)
    ]


def test_there_are_twenty_styles() -> None:
    assert len(list((FIXTURES / "correct").glob("*.py"))) >= 20


@pytest.mark.parametrize(
    ("subject", "seed"), runs("correct", "torch.nn.BatchNorm1d", "torch.nn.BatchNorm2d")
)
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
