"""A course of one's own: a TOML file with all that an interface may offer, and files for it.

What its wrong files are found to be is held in test_fixture_verdicts.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
from bn_evidence.wrong_files import wrong_files
from bn_grading.case_bank import CaseBank
from bn_grading.courses.model import Course, CourseError, find
from bn_grading.grade import grade
from bn_grading.intake.paths import single
from bn_properties.records import Outcome, Status, SubmissionResult

pytestmark = pytest.mark.once

COURSES = Path(__file__).parents[2] / "fixtures" / "courses"
LECTURE = COURSES / "lecture"
WRONG = {each.name: each for each in wrong_files(LECTURE)}


@lru_cache(maxsize=1)
def lecture() -> Course:
    return find(str(LECTURE.with_suffix(".toml")))


@lru_cache(maxsize=1)
def bank() -> CaseBank:
    return CaseBank()


ABSENT = {
    "backward.adds_up",
    "backward.frozen_input",
    "hygiene.state_saved",
    "hygiene.copied",
    "running.changed_momentum",
}
"""What a class of NumPy arrays has not."""


def judged(path: Path) -> SubmissionResult:
    return grade(single(str(path)), lecture(), [lecture()], bank())


@pytest.mark.parametrize("path", sorted(LECTURE.glob("correct/*.py")), ids=lambda p: p.stem)
def test_a_correct_file_passes_every_property_there_is(path: Path) -> None:
    result = judged(path)
    assert (Status.CORRECT, result.max_score) == (result.status, result.score)
    outcomes = {each.id: each.status for each in result.properties}
    assert ABSENT == {id_ for id_, each in outcomes.items() if each is Outcome.NOT_APPLICABLE}
    assert {Outcome.PASS} == {each for id_, each in outcomes.items() if id_ not in ABSENT}


def test_what_an_interface_does_not_offer_is_not_asked_for(tmp_path: Path) -> None:
    text = LECTURE.with_suffix(".toml").read_text("utf-8")
    for line in (
        'inference_backward = ["backward_inference"]\n',
        'cumulative = "required"\n',
        'population = ["population"]\n',
        '"inference.gradient" = 2\n',
        '"running.cumulative_average" = 2\n',
        '"population.unbiased_variance" = 2\n',
    ):
        assert line in text
        text = text.replace(line, "")
    plain = tmp_path / "plain.toml"
    plain.write_text(text, "utf-8")
    course = find(str(plain))
    wrong = WRONG["lecture_population_variance_biased"].write(tmp_path)
    result = grade(single(str(wrong)), course, [course], bank())
    assert Status.CORRECT == result.status
    absent = {each.id for each in result.properties if each.status is Outcome.NOT_APPLICABLE}
    assert {
        "inference.gradient",
        "running.cumulative_average",
        "population.mean_of_means",
        "population.unbiased_variance",
        "population.ragged_batches",
        "population.stateless",
        *ABSENT,
    } == absent


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('gamma = ["gamma"]', 'scale = ["gamma"]', "parts.0.interface.class.attributes.scale"),
        ('arguments = ["features", "momentum"]', 'arguments = ["width"]', "'features', 'momentum'"),
        ('kind = "class"', 'kind = "module"', "that kind needs runtime 'torch'"),
        ('profile = "cmu-hw1p1"', 'profile = "cmu"', "profile is 'cmu', but must be one of"),
        ('population = ["population"]\n', "", "population.unbiased_variance is asked of no part"),
        ('"training.agreement" = 4', '"training.agrement" = 4', "'training.agrement' is not a"),
        ('"training.agreement" = 4', '"training.agreement" = -1', "at least 0"),
        ('"training.agreement" = 4', '"spatial/training.agreement" = 4', "the parts are layer"),
        ('"training.agreement" = 4', '"layer/training.agreement" = 4', "need no prefix"),
        ("[points]", "[marks]", "points: Field required"),
    ],
)
def test_a_course_file_that_is_wrong_says_where_in_one_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = LECTURE.with_suffix(".toml").read_text("utf-8")
    assert text.count(old) == 1
    path = tmp_path / "own.toml"
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(CourseError) as caught:
        find(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_parts_of_one_id_are_refused(tmp_path: Path) -> None:
    text = LECTURE.with_suffix(".toml").read_text("utf-8")
    part = text[text.index("[[parts]]") : text.index("[points]")]
    path = tmp_path / "own.toml"
    path.write_text(text.replace("[points]", part + "[points]"), "utf-8")
    with pytest.raises(CourseError, match="'layer' is there twice"):
        find(str(path))


def test_a_mistake_that_costs_nothing_is_said_to(tmp_path: Path) -> None:
    file = WRONG["lecture_population_mean_ragged"].write(tmp_path)
    assert judged(file).score == judged(file).max_score - 1
    free = lecture().model_copy(update={"otherwise": 0.0})
    result = grade(single(str(file)), free, [free], bank())
    assert result.score == result.max_score
    assert "It costs no points in this course." in result.summary
