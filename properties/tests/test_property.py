"""What properties are written with: statements, comparisons, and bounds of their own arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from bn_oracle.conventions import CMU_HW1P1, TORCH
from bn_properties.calls import Infer, Train
from bn_properties.cases.case import Case, per_case
from bn_properties.cases.pinned import pinned_cases
from bn_properties.catalogue import PROPERTIES
from bn_properties.property import (
    Ask,
    Check,
    compare,
    dot_room,
    feature_sum,
    no_edits,
    per_feature,
    roundings,
    states,
    times,
    widen,
)
from bn_properties.protocol import AnyArray, Capability, Refusable, Setup, SubjectError
from bn_properties.scenario import Response, Scenario
from bn_properties.transcript import Oracle, Transcript

Z = np.array([[1.0], [3.0]])
SETUP = Setup(1, eps=3.0, decay=0.5)
ONE = np.array([7.0])


class Shows:
    """A subject whose every call shows the same."""

    convention, spatial_axes = CMU_HW1P1, 0
    offers: frozenset[Capability] = frozenset()
    may_refuse: frozenset[Capability | Refusable] = frozenset()
    fixed_eps: bool = False

    def __init__(self, response: Response[AnyArray]) -> None:
        self.response = response
        self.asked: list[Scenario] = []

    def observe(self, scenario: Scenario) -> tuple[Response[AnyArray], ...]:
        self.asked.append(scenario)
        return (self.response,) * len(scenario.calls)


def asking(response: Response[AnyArray]) -> Ask:
    return Ask(Transcript(Shows(response)), Oracle(CMU_HW1P1))


FULL = Response[AnyArray]({"out": Z, "running_mean": ONE, "running_var": ONE})


def test_a_comparison_sets_what_came_beside_what_should_have_and_its_bound() -> None:
    ask, scenario = asking(FULL), Scenario(SETUP, (Infer(Z), Train(Z)))
    want = ask.expected(scenario)[1]
    first, second = compare(ask, scenario, ("running_mean", "out"), call=1)
    assert ("running mean", "the output ẑ") == (first.quantity, second.quantity)
    assert ONE is first.got
    assert Z is second.got
    assert [1.0] == first.expected.tolist()
    assert [[-0.5], [0.5]] == second.expected.tolist()
    assert want.bound("out", "one-pass").tolist() == second.bound.tolist()  # type: ignore[union-attr]


def test_a_comparison_is_of_the_first_call_by_the_wide_bound_unless_said_otherwise() -> None:
    ask, scenario = asking(FULL), Scenario(SETUP, (Train(Z), Infer(Z)))
    want = ask.expected(scenario)[0]
    (usual,) = compare(ask, scenario, "out")
    (stable,) = compare(ask, scenario, "out", algorithm="stable", name="{} again")
    assert want.values["out"].tolist() == usual.expected.tolist()
    assert usual.bound is want.bound("out", "one-pass")
    assert stable.bound is want.bound("out", "stable")
    assert "the output ẑ again" == stable.quantity


def test_what_the_oracle_does_not_give_is_neither_compared_nor_asked() -> None:
    subject = Shows(FULL)
    ask = Ask(Transcript(subject), Oracle(TORCH))
    scenario = Scenario(SETUP, (Train(np.ones((1, 1))),))
    assert [] == list(compare(ask, scenario, ("running_mean", "running_var")))
    assert [] == subject.asked == ask.scenarios


def test_what_the_subject_does_not_give_raises_why() -> None:
    ask = asking(Response({"out": SubjectError("raised", "no")}))
    with pytest.raises(SubjectError, match="no"):
        list(compare(ask, Scenario(SETUP, (Train(Z),)), "out"))


def test_a_subject_is_asked_once_and_the_question_is_noted_each_time() -> None:
    subject = Shows(FULL)
    ask = Ask(Transcript(subject), Oracle(CMU_HW1P1))
    first, second = Scenario(SETUP, (Train(Z),)), Scenario(SETUP, (Train(Z.copy()),))
    assert ask.response(first) is ask.response(second)
    assert [first] == subject.asked
    assert [first, second] == ask.scenarios
    assert CMU_HW1P1 is ask.convention


def test_a_transcript_holds_all_that_was_asked_but_what_was_taken_back() -> None:
    seen = Transcript(Shows(FULL))
    ask = Ask(seen, Oracle(CMU_HW1P1))
    first, second, third = (Scenario(SETUP, (Train(Z + n),)) for n in range(3))
    for scenario in (first, second, third):
        ask.response(scenario)
    ask.retract(Scenario(SETUP, (Train(Z + 1),)))
    ask.retract(Scenario(SETUP, (Infer(Z),)))  # was never asked
    assert [(first, (FULL,)), (third, (FULL,))] == seen.observed


@pytest.mark.parametrize(("rows", "counts"), [(1000, False), (10, True)])
def test_what_ran_out_of_memory_on_a_large_batch_has_shown_nothing(rows: int, counts: bool) -> None:
    error = SubjectError("raised", "MemoryError: unable to allocate 764 MiB")
    seen = Transcript(Shows(Response({"out": error, "running_mean": Z})))
    scenario = Scenario(SETUP, (Train(np.resize(Z, (rows, *Z.shape[1:]))),))
    seen(scenario)
    assert ([scenario] if counts else []) == [each for each, _ in seen.observed]


@pytest.mark.parametrize(
    ("edited", "count", "text"),
    [
        ((), 0.0, "number of edited arrays (none)"),
        (("gamma",), 1.0, "number of edited arrays (gamma)"),
        (("input", "beta"), 2.0, "number of edited arrays (beta, input)"),
    ],
)
def test_edits_are_counted_and_should_be_none(
    edited: tuple[str, ...], count: float, text: str
) -> None:
    check = no_edits(frozenset(edited))
    assert ([count], [0.0], None) == (check.got.tolist(), check.expected.tolist(), check.bound)
    assert text == check.quantity


def test_a_property_is_what_its_function_says() -> None:
    @states(
        "family.statement",
        finding="it does not hold",
        equation="x = x",
        source="a book",
        presupposes=("a.b",),
        stride=3,
        needs="population",
    )
    def judged(case: Case, ask: Ask) -> Iterator[Check]:
        """Say what
        holds.

        And more.

        And yet more.
        """
        yield from ()

    assert ("family.statement", "family") == (judged.id, judged.family)
    assert "Say what holds." == judged.title
    assert "it does not hold" == judged.finding
    assert "judged" == judged.checks.__name__
    assert ("x = x", "a book", ("a.b",), 3, "population") == (
        judged.equation,
        judged.source,
        judged.presupposes,
        judged.stride,
        judged.needs,
    )

    @states("family.other", finding="", equation="", source="")
    def plain(case: Case, ask: Ask) -> Iterator[Check]:
        yield from ()

    assert ((), 1, None, "") == (plain.presupposes, plain.stride, plain.needs, plain.title)


def test_every_finding_is_a_short_clause_of_its_own() -> None:
    findings = [prop.finding for prop in PROPERTIES]
    assert len(findings) == len(set(findings))
    for prop in PROPERTIES:
        said, rule = prop.finding, prop.title.rstrip(".").lower()
        assert said == said.strip() != "", prop.id
        assert not said[0].isupper(), prop.id
        assert not said.endswith("."), prop.id
        assert len(said) < 110, prop.id
        assert rule != said.lower(), prop.id


def test_sums_run_over_all_but_the_features() -> None:
    assert [4.0, 6.0] == feature_sum(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    assert [10.0, 18.0] == feature_sum(np.arange(8.0).reshape(2, 2, 2)).tolist()


def test_a_number_a_feature_lines_up_with_a_batch() -> None:
    two = np.array([1.0, 2.0])
    assert (1, 2) == per_feature(two, np.zeros((3, 2))).shape
    assert (1, 2, 1, 1) == per_feature(two, np.zeros((3, 2, 4, 5))).shape


def test_widening_makes_float64_of_the_same_numbers() -> None:
    wide = widen(np.array([0.1], np.float32))
    assert np.float64 == wide.dtype
    assert float(np.float32(0.1)) == wide[0]


def test_a_scaled_bound_has_the_factors_size_and_stays_infinite_where_it_is() -> None:
    bound = np.array([2.0, 2.0, np.inf, np.inf])
    factor = np.array([3.0, -3.0, 0.0, 2.0])
    assert [6.0, 6.0, np.inf, np.inf] == times(bound, factor).tolist()


def test_the_room_of_a_sum_of_products() -> None:
    """Σ b·|f| for the values' bounds; γ_B of what the products may sum up to for its own."""
    expected, bound = np.array([[1.0], [-3.0]]), np.array([[0.5], [0.25]])
    factor = np.array([[-2.0], [4.0]])
    room = 0.5 * 2 + 0.25 * 4 + roundings(2) * (1.5 * 2 + 3.25 * 4)
    assert [room] == dot_room(expected, bound, factor).tolist()
    unit = 2.0**-53
    np.testing.assert_allclose(roundings(2), 2 * unit / (1 - 2 * unit), rtol=1e-12)


def test_what_is_made_once_for_a_case_is_made_once_a_convention() -> None:
    """Each reduction has an oracle of its own: pinned cases must not keep them all."""
    made = []

    @per_case
    def build(case: Case, oracle: Oracle) -> int:
        made.append(oracle.convention.name)
        return len(made)

    case = pinned_cases()[0]
    first, again, other = Oracle(CMU_HW1P1), Oracle(CMU_HW1P1), Oracle(TORCH)
    assert (1, 1, 2) == (build(case, first), build(case, again), build(case, other))
    assert first == again != other
    assert first != "an oracle"
