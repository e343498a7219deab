"""Scanning: which cases a property is asked about, what ends a scan, and what is reported of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from bn_oracle.conventions import CMU_HW1P1, TORCH, Convention
from bn_properties.calls import Train
from bn_properties.cases.case import Case
from bn_properties.checking import (
    Failing,
    Finding,
    allowed,
    asked_about,
    describe,
    scan,
    try_case,
)
from bn_properties.property import Ask, Check, Checks, Property
from bn_properties.protocol import AnyArray, Capability, Failure, Refusable, Setup, SubjectError
from bn_properties.records import Outcome
from bn_properties.scenario import Response, Scenario
from bn_properties.transcript import Oracle, Transcript


def case(index: int, rows: int = 2, *, pinned: bool = False) -> Case:
    x, one = np.zeros((rows, 1)), np.ones(1)
    return Case(index, "ordinary", x, x, one, one, 1.0, 0.5, one, one, (), x, pinned)


class Silent:
    """A subject that is never asked, or shows nothing."""

    convention, spatial_axes = CMU_HW1P1, 0

    def __init__(
        self, offers: Sequence[Capability] = (), may_refuse: Sequence[Capability] = ()
    ) -> None:
        self.offers = frozenset(offers)
        self.may_refuse: frozenset[Capability | Refusable] = frozenset(may_refuse)
        self.fixed_eps = False
        self.asked = 0

    def observe(self, scenario: Scenario) -> tuple[Response[AnyArray], ...]:
        self.asked += 1
        return (Response({}),)


def prop(
    judged: Checks,
    id_: str = "family.statement",
    presupposes: tuple[str, ...] = (),
    stride: int = 1,
    needs: Capability | None = None,
) -> Property:
    return Property(id_, "It holds.", "it fails", "x = x", "", presupposes, stride, needs, judged)


def ratio(value: float, quantity: str = "q") -> Check:
    """Return a comparison whose error is `value` times its bound."""
    return Check(quantity, np.array([value]), np.zeros(1), np.ones(1))


def by_case(found: Mapping[int, float | Failure | None]) -> Checks:
    """Return what gives, by the case's index, a comparison, a failure, or nothing."""

    def judged(case: Case, ask: Ask) -> Iterator[Check]:
        each = found[case.index]
        if isinstance(each, str):
            raise SubjectError(each, f"case {case.index}: {each}")
        if each is not None:
            yield ratio(each)

    return judged


def scanned(
    found: Mapping[int, float | Failure | None], cases: Sequence[Case] | None = None
) -> Finding:
    several = [case(index) for index in found] if cases is None else cases
    asking = prop(by_case(found))
    finding = scan(asking, several, Transcript(Silent()), Oracle(CMU_HW1P1))
    assert asking is finding.property
    return finding


# One case.


def tried(judged: Checks) -> tuple[Failing | None, float | None]:
    return try_case(prop(judged), case(7), Transcript(Silent()), Oracle(CMU_HW1P1))


def several(*ratios: float) -> Checks:
    def judged(case: Case, ask: Ask) -> Iterator[Check]:
        for number, value in enumerate(ratios):
            asked.append(number)
            yield ratio(value, f"q{number}")

    asked: list[int] = []
    judged.asked = asked  # type: ignore[attr-defined]
    return judged


def test_the_worst_ratio_of_a_case_that_holds() -> None:
    assert (None, 0.75) == tried(several(0.25, 0.75, 0.5))
    assert (None, 1.0) == tried(several(1.0))
    assert (None, 0.0) == tried(several(0.0))


def test_a_case_that_compares_nothing_has_no_ratio() -> None:
    assert (None, None) == tried(several())


def test_the_first_comparison_that_fails_is_kept_and_nothing_after_it_is_asked() -> None:
    judged = several(0.5, 3.0, 100.0)
    failing, worst = tried(judged)
    assert failing is not None
    assert failing.check is not None
    assert failing.judgement is not None
    assert 3.0 == worst == failing.judgement.ratio
    assert "q1" == failing.check.quantity
    assert (0,) == failing.judgement.index
    assert failing.error is None
    assert 7 == failing.case.index
    assert [0, 1] == judged.asked  # type: ignore[attr-defined]


def test_a_call_that_fails_is_the_failure_and_what_held_before_counts() -> None:
    wrong = SubjectError("raised", "no")

    def judged(case: Case, ask: Ask) -> Iterator[Check]:
        yield ratio(0.5)
        raise wrong

    failing, worst = tried(judged)
    assert failing is not None
    assert wrong is failing.error
    assert failing.check is None
    assert failing.judgement is None
    assert 0.5 == worst


def test_what_a_property_asked_is_kept_in_order_with_its_failure() -> None:
    first, second = (Scenario(Setup(n), (Train(np.zeros((2, n))),)) for n in (1, 2))

    def judged(end: Callable[[], Check]) -> Checks:
        def asking(case: Case, ask: Ask) -> Iterator[Check]:
            ask.response(second)
            ask.response(first)
            yield end()

        return asking

    def raises() -> Check:
        raise SubjectError("raised", "no")

    for end in (raises, lambda: ratio(2.0)):
        failing, _ = tried(judged(end))
        assert failing is not None
        assert (second, first) == failing.asked


def test_the_numbers_of_a_submission_warn_nobody() -> None:
    def judged(case: Case, ask: Ask) -> Iterator[Check]:
        huge = np.array([1e308])
        yield Check("q", huge * 10 - huge * 10, np.array([0.0]), np.array([1.0]))

    failing, worst = tried(judged)
    assert failing is not None
    assert np.inf == worst


@pytest.mark.parametrize("got", [0.0, np.inf, np.nan])
@pytest.mark.parametrize("bound", [None, np.array([1.0, 1.0])])
def test_a_nan_is_nothing_to_compare_with(got: float, bound: AnyArray | None) -> None:
    """It is the submission's own: what should have been a number there says so."""

    def judged(case: Case, ask: Ask) -> Iterator[Check]:
        yield Check("q", np.array([got, 1.0]), np.array([np.nan, 1.0]), bound)

    failing, worst = tried(judged)
    assert (failing, worst) == (None, 0.0)


# All cases.


def test_all_hold() -> None:
    found = scanned({0: 0.25, 1: 0.75, 2: None, 3: 0.5})
    assert Outcome.PASS == found.outcome
    assert 3 == found.examples, "one case compared nothing"
    assert 0.75 == found.worst
    assert found.failing is None
    assert "" == found.message


def test_nothing_was_compared() -> None:
    found = scanned({0: None, 1: None})
    assert Outcome.NOT_APPLICABLE == found.outcome
    assert "no drawn case can show this" == found.message
    assert (0, None, None) == (found.examples, found.worst, found.failing)


def test_a_failure_does_not_end_the_scan() -> None:
    found = scanned({0: 0.5, 1: 4.0, 2: 8.0, 3: 0.25})
    assert Outcome.FAIL == found.outcome
    assert 4 == found.examples
    assert 8.0 == found.worst
    assert found.failing is not None
    assert 1 == found.failing.case.index
    assert describe(found.failing) == found.message


@pytest.mark.parametrize(
    ("found", "rows", "simplest"),
    [
        ({0: "raised", 1: 2.0}, [1, 9], 1),  # a wrong number before an exception
        ({0: 2.0, 1: "raised"}, [9, 1], 0),
        ({0: 2.0, 1: 2.0}, [5, 3], 1),  # then the fewest numbers
        ({0: 2.0, 1: 2.0}, [3, 5], 0),
        ({0: "raised", 1: "unusable_result"}, [5, 3], 1),
        ({5: 2.0, 3: 2.0}, [3, 3], 3),  # then the earliest case
        ({3: 2.0, 5: 2.0}, [3, 3], 3),
        ({5: 90.0, 6: 2.0}, [3, 3], 5),  # the size of the error plays no part
    ],
)
def test_the_simplest_failure_is_the_one_reported(
    found: Mapping[int, float | Failure | None], rows: Sequence[int], simplest: int
) -> None:
    cases = [case(index, size) for index, size in zip(found, rows, strict=True)]
    finding = scanned(found, cases)
    assert Outcome.FAIL == finding.outcome
    assert finding.failing is not None
    assert simplest == finding.failing.case.index


@pytest.mark.parametrize("failure", ["raised", "unusable_result"])
def test_an_exception_is_a_failure_and_more_cases_are_asked(failure: Failure) -> None:
    found = scanned({0: failure, 1: 0.5})
    assert Outcome.FAIL == found.outcome
    assert (2, 0.5) == (found.examples, found.worst)
    assert f"case 0: {failure}" == found.message


@pytest.mark.parametrize("failure", ["timeout", "slept", "died"])
def test_a_time_out_or_a_death_ends_the_scan_and_is_the_failure(failure: Failure) -> None:
    found = scanned({0: 4.0, 1: failure, 2: 9.0})
    assert Outcome.FAIL == found.outcome
    assert 2 == found.examples, "the third case is not asked"
    assert 4.0 == found.worst
    assert f"case 1: {failure}" == found.message, "though a wrong number would be simpler"


def test_a_missing_method_ends_the_scan_and_is_no_failure() -> None:
    found = scanned({0: 0.5, 1: "not_implemented", 2: 9.0})
    assert Outcome.NOT_RUN == found.outcome
    assert (2, 0.5) == (found.examples, found.worst)
    assert "case 1: not_implemented" == found.message


def test_when_the_time_is_up_before_anything_was_found_nothing_is_wrong() -> None:
    found = scanned({0: 0.5, 1: "unfinished", 2: 9.0})
    assert Outcome.NOT_RUN == found.outcome
    assert (2, 0.5) == (found.examples, found.worst)
    assert "case 1: unfinished" == found.message


def test_when_the_time_is_up_what_was_found_before_stands() -> None:
    cases = [case(0, 9), case(1, 1), case(2)]
    found = scanned({0: 4.0, 1: "unfinished", 2: 9.0}, cases)
    assert Outcome.FAIL == found.outcome
    assert (2, 4.0) == (found.examples, found.worst)
    assert found.failing is not None
    assert 0 == found.failing.case.index


def test_what_the_interface_does_not_offer_is_not_asked() -> None:
    asked = []

    def judged(case: Case, ask: Ask) -> Iterator[Check]:
        asked.append(case)
        yield ratio(9.0)

    needing = prop(judged, needs="population")
    found = scan(needing, [case(0)], Transcript(Silent()), Oracle(CMU_HW1P1))
    assert Outcome.NOT_APPLICABLE == found.outcome
    assert "the interface has no population statistics" == found.message
    assert needing is found.property
    assert [] == asked
    offering = Transcript(Silent(offers=["population"]))
    assert Outcome.FAIL == scan(needing, [case(0)], offering, Oracle(CMU_HW1P1)).outcome


def refusing(before: bool, needs: Capability | None = "cumulative_average") -> Property:
    def judged(case: Case, ask: Ask) -> Iterator[Check]:
        for scenario in (case.training, case.inference):
            ask.response(scenario)
        if before:
            yield ratio(0.5)
        raise SubjectError("raised", "momentum is None")

    return prop(judged, needs=needs)


def test_what_a_submission_may_refuse_is_taken_back_when_it_refuses() -> None:
    subject = Silent(["cumulative_average"], ["cumulative_average"])
    seen = Transcript(subject)
    kept = case(3)
    seen(kept.sequence)
    asking = refusing(before=False)
    found = scan(asking, [kept, case(1)], seen, Oracle(CMU_HW1P1))
    assert asking is found.property
    assert Outcome.NOT_APPLICABLE == found.outcome
    assert "it has none: momentum is None" == found.message
    assert (0, None, None) == (found.examples, found.worst, found.failing)
    assert [kept.sequence] == [scenario for scenario, _ in seen.observed]
    assert 3 == subject.asked, "the second case is not asked"


@pytest.mark.parametrize(
    ("before", "needs", "may_refuse"),
    [
        (True, "cumulative_average", ["cumulative_average"]),
        (False, "cumulative_average", []),
        (False, "population", ["cumulative_average"]),
        (False, None, ["cumulative_average"]),
    ],
)
def test_what_it_may_not_refuse_or_has_begun_to_give_is_a_failure(
    before: bool, needs: Capability | None, may_refuse: list[Capability]
) -> None:
    seen = Transcript(Silent(["cumulative_average", "population"], may_refuse))
    found = scan(refusing(before, needs), [case(1)], seen, Oracle(CMU_HW1P1))
    assert Outcome.FAIL == found.outcome
    assert 2 == len(seen.observed)


def test_a_wrong_number_is_no_refusal() -> None:
    def judged(case: Case, ask: Ask) -> Iterator[Check]:
        yield ratio(2.0)

    seen = Transcript(Silent(["cumulative_average"], ["cumulative_average"]))
    found = scan(prop(judged, needs="cumulative_average"), [case(1)], seen, Oracle(CMU_HW1P1))
    assert Outcome.FAIL == found.outcome


# Which cases.


def indices(stride: int, cases: Sequence[Case], convention: Convention = CMU_HW1P1) -> list[int]:
    asking = prop(by_case({}), stride=stride)
    return [each.index for each in asked_about(asking, cases, convention)]


def test_a_property_is_asked_about_every_so_manieth_drawn_case_by_its_index() -> None:
    cases = [case(index) for index in (5, 4, 3, 2, 1, 0)]
    assert [5, 4, 3, 2, 1, 0] == indices(1, cases)
    assert [4, 2, 0] == indices(2, cases)
    assert [3, 0] == indices(3, cases)


@pytest.mark.parametrize(("stride", "asked"), [(1, [1, 3]), (2, [1, 3]), (3, []), (5, [])])
def test_pinned_cases_are_for_what_is_asked_often(stride: int, asked: list[int]) -> None:
    pinned = [case(1, pinned=True), case(3, pinned=True)]
    assert asked == indices(stride, pinned)


def test_a_case_that_the_convention_does_not_define_is_left_out() -> None:
    cases = [case(0, 1), case(1, 2), case(2, 1, pinned=True)]
    assert [0, 1, 2] == indices(1, cases)
    assert [1] == indices(1, cases, TORCH)


def test_a_single_value_anywhere_in_a_case_makes_it_undefined_where_it_is_refused() -> None:
    two, one = np.zeros((2, 3)), np.zeros((1, 3))
    wide = replace(case(0), x=two, more=(two, two))
    for each, defined in (
        (wide, True),
        (replace(wide, x=one), False),
        (replace(wide, more=(two, one)), False),
        (replace(wide, more=(one, two)), False),
        (replace(wide, probe=one), True),  # inference takes single values
        (replace(wide, x=np.zeros((1, 3, 2)), more=()), True),
        (replace(wide, x=np.zeros((1, 3, 1)), more=()), False),
    ):
        assert defined == allowed(each, TORCH)
        assert allowed(each, CMU_HW1P1)
