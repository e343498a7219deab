"""The tester tested: every fixture is judged as its folder and first line say."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from bn_grading.bank import CaseBank
from bn_grading.courses import built_in
from bn_grading.grade import grade
from bn_grading.submissions import single
from bn_oracle.faults import BY_ID
from bn_properties.verdicts import Outcome, Status, SubmissionResult

FIXTURES = Path(__file__).parents[2] / "fixtures"
HEADER = re.compile(r"# rejected-by: (\S+)\n# mistake: (\S.+)\n")


@lru_cache(maxsize=1)
def bank() -> CaseBank:
    return CaseBank()


def judged(path: Path) -> SubmissionResult:
    return grade(single(str(path)), None, list(built_in().values()), bank())


def files(folder: str) -> list[ParameterSet]:
    plain = sorted([*FIXTURES.glob(f"{folder}/*.py"), *FIXTURES.glob(f"more/{folder}/*.py")])
    torch = sorted((FIXTURES / "torch" / folder).glob("*.py"))
    assert plain
    return [pytest.param(path, id=path.stem) for path in plain] + [
        pytest.param(path, id=path.stem, marks=pytest.mark.torch) for path in torch
    ]


@pytest.mark.parametrize("path", files("correct"))
def test_a_correct_file_is_correct(path: Path) -> None:
    result = judged(path)
    failing = [(p.id, p.message) for p in result.properties if p.status is Outcome.FAIL]
    assert [] == failing
    assert (Status.CORRECT, result.max_score) == (result.status, result.score)


@pytest.mark.parametrize("path", files("buggy"))
def test_a_wrong_file_is_rejected_by_the_property_it_names(path: Path) -> None:
    header = HEADER.match(path.read_text("utf-8"))
    assert header is not None, "the first two lines name the property and the mistake"
    result = judged(path)
    assert Status.INCORRECT == result.status
    outcomes = {p.id: p.status for p in result.properties}
    assert outcomes[header[1]] in (Outcome.FAIL, Outcome.BLOCKED)
    roots = [p for p in result.properties if p.status is Outcome.FAIL]
    assert roots
    for root in roots:
        assert root.counterexample is not None, root.id
        assert root.counterexample.calls
    assert Outcome.ERROR not in outcomes.values()
    if header[2] in BY_ID:
        assert [header[2]] == [cause.fault for cause in result.causes]


@pytest.mark.parametrize("path", files("unstable"))
def test_a_one_pass_variance_is_unstable_and_never_incorrect(path: Path) -> None:
    result = judged(path)
    assert Status.UNSTABLE == result.status
    failing = {p.group for p in result.properties if p.status is Outcome.FAIL}
    assert {"stability"} == failing


@pytest.mark.parametrize("path", files("incomplete"))
def test_what_is_missing_is_not_a_mistake(path: Path) -> None:
    result = judged(path)
    assert Status.INCOMPLETE == result.status
    outcomes = {p.status for p in result.properties}
    assert Outcome.NOT_RUN in outcomes
    assert Outcome.PASS in outcomes
    assert Outcome.FAIL not in outcomes
    assert 0 < result.score < result.max_score


@pytest.mark.parametrize("path", files("unusable"))
def test_what_cannot_be_loaded_is_unusable_with_a_reason(path: Path) -> None:
    result = judged(path)
    assert Status.UNUSABLE == result.status
    reasons = {
        "empty": "defines nothing",
        "endless_loop_at_import": "longer than",
        "exits_at_import": "sys.exit",
        "python2": "Python 2",
        "raises_at_import": "AssertionError",
        "syntax_error": "syntax error in line",
    }
    assert reasons[path.stem] in result.summary
