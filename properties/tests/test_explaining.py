"""Which failure explains which, and a failure in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from bn_properties.cases.case import Case
from bn_properties.checking import Failing, Finding, blocked_by, describe, judge
from bn_properties.property import Ask, Check, Property
from bn_properties.protocol import SubjectError
from bn_properties.records import Outcome


def never(case: Case, ask: Ask) -> Iterator[Check]:
    raise AssertionError("nothing is asked here")


def case() -> Case:
    x, one = np.zeros((2, 1)), np.ones(1)
    return Case(0, "ordinary", x, x, one, one, 1.0, 0.5, one, one, (), x)


def finding(id_: str, outcome: Outcome, *presupposes: str) -> Finding:
    prop = Property(id_, "It holds.", "it fails", "x = x", "", presupposes, 1, None, never)
    return Finding(prop, outcome, 1, None, None, "")


def blocker(id_: str, *findings: Finding) -> str | None:
    by_id = {each.property.id: each for each in findings}
    return blocked_by(by_id[id_], by_id)


def test_a_failure_is_blocked_by_the_failure_of_what_it_presupposes() -> None:
    first = finding("a.first", Outcome.FAIL)
    second = finding("a.second", Outcome.FAIL, "a.first")
    assert "a.first" == blocker("a.second", first, second)
    assert blocker("a.first", first, second) is None


def test_a_chain_of_failures_leads_to_its_root() -> None:
    chain = (
        finding("a.third", Outcome.FAIL, "a.second"),
        finding("a.second", Outcome.FAIL, "a.first"),
        finding("a.first", Outcome.FAIL),
    )
    assert "a.first" == blocker("a.third", *chain)


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.FAIL])
def test_only_a_failure_blocks_and_only_a_failure_is_blocked(outcome: Outcome) -> None:
    fails = finding("a.second", Outcome.FAIL, "a.first")
    assert blocker("a.second", finding("a.first", outcome), fails) is None
    other = finding("a.second", outcome, "a.first")
    assert blocker("a.second", finding("a.first", Outcome.FAIL), other) is None


def test_the_first_presupposition_that_fails_is_the_one_named() -> None:
    found = (
        finding("a.last", Outcome.FAIL, "a.absent", "a.holds", "a.fails", "a.fails_too"),
        finding("a.holds", Outcome.PASS),
        finding("a.fails", Outcome.FAIL),
        finding("a.fails_too", Outcome.FAIL),
    )
    assert "a.fails" == blocker("a.last", *found)


def described(got: object, expected: object, bound: object) -> str:
    check = Check(
        "q",
        np.asarray(got),
        np.asarray(expected, float),
        None if bound is None else np.asarray(bound, float),
    )
    return describe(Failing(case(), check, judge(check), None, ()))


@pytest.mark.parametrize(
    ("got", "expected", "bound", "text"),
    [
        (
            [[1, 2], [3, 4.5]],
            [[1, 2], [3, 4]],
            [[1, 1], [1, 0.125]],
            "q[1, 1] = 4.5, but should be 4; the error is 4 times what rounding can explain",
        ),
        (
            [1, 4],
            [0, 0],
            [0.5, 1],
            "q[1] = 4, but should be 0; the error is 4 times what rounding can explain",
        ),
        (3.0, 1.0, 1.0, "q = 3, but should be 1; the error is 2 times what rounding can explain"),
        ([1.0], [2.0], None, "q[0] = 1, but should be 2"),
        ([1.0], [2.0], [0.0], "q[0] = 1, but should be 2"),
        ([np.nan], [2.0], [1.0], "q[0] = nan, but should be 2"),
        ([-np.inf], [2.0], [1.0], "q[0] = -inf, but should be 2"),
        (
            [1 + 1e-12],
            [1.0],
            None,
            "q[0] = 1.000000000001, but should be 1.0",
        ),
        (
            [1 + 1e-12],
            [1.0],
            [1e-13],
            "q[0] = 1.000000000001, but should be 1.0; "
            "the error is 10 times what rounding can explain",
        ),
        ([1 / 3], [0.0], None, "q[0] = 0.333333333, but should be 0"),
        ([0.0], [1 / 3], None, "q[0] = 0, but should be 0.333333333"),
        (
            [1234.0],
            [0.0],
            [1.0],
            "q[0] = 1234, but should be 0; the error is 1.2e+03 times what rounding can explain",
        ),
    ],
)
def test_a_wrong_number_in_words(got: object, expected: object, bound: object, text: str) -> None:
    assert text == described(got, expected, bound)


def test_a_call_that_failed_speaks_for_itself() -> None:
    wrong = SubjectError("raised", "train raises KeyError")
    assert "train raises KeyError" == describe(Failing(case(), None, None, wrong, ()))
