"""What a layer raises an exception at: a course may allow it; elsewhere it costs one property."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
from bn_grading.case_bank import CaseBank
from bn_grading.courses.model import Course, built_in
from bn_grading.grade import grade
from bn_grading.intake.paths import single
from bn_properties.records import Outcome, Status, SubmissionResult

pytestmark = pytest.mark.once

CMU = built_in()["cmu-hw1p1"]
BASE = (
    Path(__file__).parents[2] / "fixtures" / "correct" / "cmu_vanishing_other_sign.py"
).read_text("utf-8")

SMALL = "        if len(Z) < 2:\n            raise ValueError('few')\n"
RANGE = "        if not 0 < alpha < 1:\n            raise ValueError('alpha')\n"
USUAL_EPS = "        assert 1e-8 <= self.eps < 1, self.eps\n"
ONE = BASE.replace("        self.Z = Z\n", f"{SMALL}        self.Z = Z\n")
ENDS = BASE.replace("        self.alpha = alpha\n", f"{RANGE}        self.alpha = alpha\n")
FIXED = BASE.replace("        self.eps = 1e-8\n", "").replace(
    "    def forward(", "    @property\n    def eps(self):\n        return 1e-8\n\n    def forward("
)
USUAL = BASE.replace("        self.Z = Z\n", f"{USUAL_EPS}        self.Z = Z\n")
REFUSING = {
    "one_value": (ONE, "training.degenerate_batch"),
    "momentum_ends": (ENDS, "running.full_and_no_memory"),
    "other_eps": (FIXED, "training.uses_eps"),
    "unusual_eps": (USUAL, "training.uses_eps"),
}


@lru_cache(maxsize=1)
def bank() -> CaseBank:
    return CaseBank()


def strict() -> Course:
    parts = tuple(part.model_copy(update={"may_refuse": ()}) for part in CMU.parts)
    return CMU.model_copy(update={"parts": parts})


def judged(source: str, folder: Path, course: Course) -> SubmissionResult:
    path = folder / "layer.py"
    path.write_text(source, "utf-8")
    return grade(single(str(path)), course, [course], bank())


@pytest.mark.parametrize("what", REFUSING)
def test_what_a_course_allows_costs_nothing(what: str, tmp_path: Path) -> None:
    result = judged(REFUSING[what][0], tmp_path, CMU)
    assert (Status.CORRECT, result.max_score) == (result.status, result.score), result.summary


@pytest.mark.parametrize("what", REFUSING)
def test_elsewhere_it_fails_the_property_about_it_and_no_other(what: str, tmp_path: Path) -> None:
    source, about = REFUSING[what]
    result = judged(source, tmp_path, strict())
    assert Status.INCORRECT == result.status
    failed = {p.id for p in result.properties if p.status in (Outcome.FAIL, Outcome.BLOCKED)}
    assert {about} == failed
    assert result.score >= result.max_score - 1


def test_a_wrong_layer_that_refuses_is_wrong_all_the_same(tmp_path: Path) -> None:
    for source, _ in REFUSING.values():
        result = judged(source.replace("S**-1.5", "S**-0.5"), tmp_path, CMU)
        assert Status.INCORRECT == result.status
        failed = {p.id for p in result.properties if p.status is Outcome.FAIL}
        assert failed == {"backward.input_gradient"}


def test_a_layer_that_cannot_be_made_is_unusable(tmp_path: Path) -> None:
    result = judged(BASE.replace("self.alpha = alpha", "self.alpha = alfa"), tmp_path, CMU)
    assert Status.UNUSABLE == result.status
    assert "BatchNorm1d cannot be made: line 6: NameError" in result.summary


@pytest.mark.parametrize("course", [CMU, None])
def test_a_syntax_error_is_told_as_that(course: Course | None, tmp_path: Path) -> None:
    path = tmp_path / "layer.py"
    path.write_text("class Something(:\n    pass\n", "utf-8")
    result = grade(single(str(path)), course, [CMU], bank())
    assert Status.UNUSABLE == result.status
    assert "syntax error in line 1" in result.summary


def test_an_old_name_is_noted_once_and_the_file_judged_on_its_merits(tmp_path: Path) -> None:
    old = BASE.replace("Z.shape[0]", "int(np.product(Z.shape[:1]))").replace(
        "np.zeros((1, num_features))", "np.zeros((1, num_features), np.float)"
    )
    result = judged(old, tmp_path, CMU)
    assert Status.CORRECT == result.status
    assert (
        "uses np.float, which NumPy has removed: write float",
        "uses np.product, which NumPy has removed: write np.prod",
    ) == tuple(sorted(result.notes))


def test_the_missing_module_is_named(tmp_path: Path) -> None:
    source = "import nosuchlib\n" + BASE.replace("dLdV = ", "dLdV = nosuchlib.factor() * ")
    result = judged(source, tmp_path, CMU)
    assert Status.INCORRECT == result.status
    assert "nosuchlib is not installed here" in result.summary


def test_keyword_only_arguments_may_be_several(tmp_path: Path) -> None:
    source = BASE.replace("num_features, alpha=0.9", "num_features, *, verbose=False, alpha=0.9")
    assert Status.CORRECT == judged(source, tmp_path, CMU).status


@pytest.mark.parametrize(
    ("called", "status"),
    [
        ("(self, Z, eval=False):\n        return self.forward(Z, eval)", Status.CORRECT),
        ("(self, Z):\n        return self.forward(Z)", Status.CORRECT),
        ("(self, *given, **more):\n        return self.forward(*given, **more)", Status.CORRECT),
        ("(self, Z, eval=False):\n        return self.forward(Z)", Status.INCORRECT),
    ],
)
def test_a_layer_that_is_called_infers_as_its_forward_does(
    called: str, status: Status, tmp_path: Path
) -> None:
    source = BASE.replace("    def backward(", f"    def __call__{called}\n\n    def backward(")
    result = judged(source, tmp_path, CMU)
    assert status == result.status, result.summary
    if status is Status.INCORRECT:
        assert "__call__ gives another output than forward" in result.summary
