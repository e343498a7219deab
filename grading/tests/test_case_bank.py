"""What a tape asks for, at default settings."""

from pathlib import Path

import pytest
from bn_grading.case_bank import CaseBank
from bn_grading.courses.model import Course, Part, built_in, find

LECTURE = Path(__file__).parents[2] / "fixtures" / "courses" / "lecture.toml"
COURSES = [*built_in().values(), find(str(LECTURE))]
PARTS = [(course, part) for course in COURSES for part in course.parts]


@pytest.fixture(scope="module")
def bank() -> CaseBank:
    return CaseBank()


@pytest.mark.parametrize(("course", "part"), PARTS, ids=lambda each: each.id)
def test_at_most_two_thousand_calls_are_made_of_a_part(
    bank: CaseBank, course: Course, part: Part
) -> None:
    assert bank.tape(part, course.convention).tape.calls <= 2000
