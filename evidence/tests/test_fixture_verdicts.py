"""The tester tested: every fixture is judged as its folder, first line or table says."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet
from bn_diagnosis.faults import BY_ID
from bn_evidence import verdicts
from bn_grading.courses.model import built_in
from bn_grading.grade import grade
from bn_grading.intake.paths import single
from bn_properties.records import Outcome, Status, SubmissionResult

FIXTURES = Path(__file__).parents[2] / "fixtures"
HEADER = re.compile(r"# rejected-by: (\S+)\n# mistake: (\S.+)\n")


@lru_cache(maxsize=1)
def records() -> tuple[dict[str, Any], frozenset[str]]:
    """Read the records, and which properties there were when they were made."""
    found = verdicts.recorded(FIXTURES)
    return found, verdicts.known(found)


def judged(path: Path, key: str = "") -> SubmissionResult:
    """Grade a fixture, and hold it to the records, property by property."""
    key = key or path.relative_to(FIXTURES).as_posix()
    result = verdicts.judged(FIXTURES, key, path)
    recorded, known = records()
    assert recorded[key] == verdicts.brief(result, known)
    return result


def files(folder: str) -> list[ParameterSet]:
    """Return the files of a folder; one Python judges them all, the others one in six."""
    plain = sorted([*FIXTURES.glob(f"{folder}/*.py"), *FIXTURES.glob(f"courses/*/{folder}/*.py")])
    torch = sorted((FIXTURES / "torch" / folder).glob("*.py"))
    assert plain
    return [
        pytest.param(path, id=path.stem, marks=pytest.mark.once if number % 6 else ())
        for number, path in enumerate(plain)
    ] + [pytest.param(path, id=path.stem, marks=pytest.mark.torch) for path in torch]


WRONG = verdicts.written(FIXTURES)
"""What is made, by the key of its record."""


def test_every_fixture_has_a_record_and_no_other() -> None:
    missing = "records: run `PYTHONPATH=evidence python -m bn_evidence.verdicts --write`"
    assert verdicts.keys(FIXTURES) == sorted(records()[0]), missing


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
    hold_rejected(judged(path), header[1], header[2])


@pytest.mark.once
@pytest.mark.parametrize("key", WRONG)
def test_a_mistake_in_a_right_file_is_rejected_by_the_property_it_names(
    key: str, tmp_path: Path
) -> None:
    wrong = WRONG[key]
    hold_rejected(judged(wrong.write(tmp_path), key), wrong.rejected_by, wrong.mistake)


def test_a_right_file_that_serves_mistakes_alone_is_correct() -> None:
    for path in FIXTURES.glob("mistakes/*.py"):
        result = grade(single(str(path)), None, list(built_in().values()), verdicts.bank())
        assert (Status.CORRECT, result.max_score) == (result.status, result.score), path.stem


def hold_rejected(result: SubmissionResult, rejected_by: str, mistake: str) -> None:
    assert Status.INCORRECT == result.status
    outcomes = {p.id: p.status for p in result.properties}
    assert outcomes[rejected_by] in (Outcome.FAIL, Outcome.BLOCKED)
    roots = [p for p in result.properties if p.status is Outcome.FAIL]
    assert roots
    for root in roots:
        assert root.counterexample is not None, root.id
        assert root.counterexample.calls
    assert Outcome.ERROR not in outcomes.values()
    if mistake in BY_ID:
        assert [mistake] == [cause.fault for cause in result.causes]


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
