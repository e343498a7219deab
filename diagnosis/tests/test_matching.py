"""Two results match if rounding explains how they differ, whatever their size; failures by kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from bn_diagnosis.matching import (
    BOUNDS,
    ROUNDINGS,
    Measure,
    Observation,
    Observer,
    Place,
    Value,
    places,
)
from bn_oracle.arrays import Array
from bn_oracle.bounds.precision import FLOAT64
from bn_oracle.conventions import CMU_HW1P1
from bn_properties.calls import Infer, LookAgain, Train
from bn_properties.expectation import Expectation, Expected
from bn_properties.expected import expected as expects
from bn_properties.protocol import AnyArray, Failure, Quantity, Setup, SubjectError
from bn_properties.scenario import Response, Scenario

W = 2.0**-53
BATCH = np.array([[1.0, 10.0], [3.0, 20.0], [8.0, 60.0]])
SETUP = Setup(2, eps=1e-5, decay=0.5, gamma=np.array([2.0, 3.0]), beta=np.array([0.5, -1.0]))
SCENARIO = Scenario(SETUP, (Train(BATCH, grad=BATCH[::-1] ** 2), Infer(BATCH)))
MEASURE = Measure(expects(SCENARIO, CMU_HW1P1))


@pytest.fixture(autouse=True)
def _without_warnings() -> Iterator[None]:
    """As a diagnosis measures: a submission may have given NaN, or infinities."""
    with np.errstate(all="ignore"):
        yield


def right(step: int, quantity: Quantity) -> np.ndarray:
    return MEASURE.expected[step].values[quantity]


def failed(failure: Failure, message: str = "") -> SubjectError:
    return SubjectError(failure, message)


def known(value: object, bound: object = 0.0) -> Expectation:
    """Return what is expected of a quantity that a mistake computes as exactly as the oracle."""
    value = np.array(value, np.float64)
    room = np.broadcast_to(np.array(bound, np.float64), value.shape)
    return Expectation(value, room, room, FLOAT64)


def chosen(quantities: Mapping[Quantity, Expectation]) -> Measure:
    """Return a measure of one call that trains nothing, by numbers of our choice."""
    return Measure((Expected(Response(quantities)),))


@pytest.mark.parametrize("quantity", ["out", "dz", "dgamma", "dbeta", "running_mean"])
def test_rounding_of_the_right_size_matches_and_no_more(quantity: Quantity) -> None:
    value, bound = right(0, quantity), MEASURE.expected[0][quantity].generous
    matches = MEASURE.matches
    assert matches((0, quantity), value + BOUNDS * bound, value)
    # The largest number's own growth is two at most here, and the roundings come on top.
    room = BOUNDS * (2.1 * bound + ROUNDINGS * W * np.abs(value).max())
    assert not matches((0, quantity), value + 2 * room, value)


def test_a_mistakes_room_grows_with_its_numbers_and_a_feature_at_a_time() -> None:
    value, bound = right(0, "out"), MEASURE.expected[0].bound("out")
    large = value * np.array([1e6, 1.0])
    assert MEASURE.matches((0, "out"), large * (1 + BOUNDS * 8 * W), large)
    off = value + BOUNDS * 1e3 * bound
    assert not MEASURE.matches((0, "out"), off, value)
    assert not MEASURE.matches((0, "out"), np.where([True, False], large, off), large)


def test_beside_a_right_zero_the_room_is_the_bounds_and_the_roundings() -> None:
    """There is no proportion to it by which the bounds could grow."""
    measure = chosen({"out": known([[0.0]], bound=1.0 - ROUNDINGS * W * BOUNDS)})
    reached = np.array([[BOUNDS]])
    assert measure.matches((0, "out"), reached, np.zeros((1, 1)))
    assert not measure.matches((0, "out"), np.nextafter(reached, np.inf), np.zeros((1, 1)))


def test_a_features_bound_grows_in_proportion_to_its_own_right_numbers() -> None:
    measure = chosen({"out": known([[1.0, 1e9]], bound=1e-6)})
    large, room = np.array([[1e3, 1e9]]), np.array([[BOUNDS * 1e-6 * 1e3, 0.0]])
    assert measure.matches((0, "out"), large + room / 2, large)
    assert not measure.matches((0, "out"), large + room * 2, large)


def test_a_features_largest_number_counts_wherever_it_stands_in_an_image() -> None:
    measure = chosen({"out": known(np.ones((1, 2, 3)))})
    large = np.array([[[1.0, 1.0, 1e6], [1.0, 1.0, 1.0]]])
    off = np.array([[[BOUNDS * ROUNDINGS * W * 1e6 / 2], [0.0]]])
    assert measure.matches((0, "out"), large + off, large)
    assert not measure.matches((0, "out"), large + off[:, ::-1], large)


def test_an_infinity_makes_no_room_for_the_numbers_beside_it() -> None:
    measure = chosen({"dbeta": known([1e-9, 1e-9])})
    one, other = np.array([np.inf, 1e-9]), np.array([np.inf, 1e-9 * (1 + 1e-6)])
    assert not measure.matches((0, "dbeta"), one, other)


def test_a_mistakes_wider_bounds_are_computed_only_where_they_are_needed() -> None:
    def refuse(bound: Array) -> Array:
        raise AssertionError("the bounds of the right computation are enough")

    room = np.ones((1, 1))
    measure = chosen({"out": Expectation(np.zeros((1, 1)), room, room, FLOAT64, generously=refuse)})
    assert measure.matches((0, "out"), np.array([[BOUNDS]]), np.zeros((1, 1)))


def test_what_is_no_number_is_one_and_a_number_is_not() -> None:
    """A division by zero ends in an infinity, or folded in NaN."""
    value = right(0, "out")
    infinite, below, undefined = (
        np.where(value == value[0, 0], each, value) for each in (np.inf, -np.inf, np.nan)
    )
    for one in (infinite, below, undefined):
        assert not MEASURE.matches((0, "out"), one, value)
        assert not MEASURE.matches((0, "out"), value, one)
        assert MEASURE.matches((0, "out"), one, infinite)


def test_a_failure_matches_one_of_its_kind_and_an_unusable_result_one_of_its_reason() -> None:
    value = right(0, "out")
    pairs: list[tuple[bool, Value, Value | None]] = [
        (True, failed("raised", "ValueError: one"), failed("raised", "IndexError: other")),
        (False, failed("raised"), failed("timeout")),
        (True, failed("unusable_result", "shape (3,)"), failed("unusable_result", "shape (3,)")),
        (False, failed("unusable_result", "shape (3,)"), failed("unusable_result", "shape (2,)")),
        (False, failed("raised"), value),
        (False, value, failed("raised")),
        (False, failed("raised"), None),
        (False, value, None),
        (False, value, value[:2]),
    ]
    for expected, theirs, ours in pairs:
        assert expected == MEASURE.matches((0, "out"), theirs, ours)


def test_numbers_in_another_shape_are_compared_in_the_expected_one() -> None:
    value = right(0, "out")
    assert MEASURE.matches((0, "out"), value.reshape(2, 3), value.reshape(6))


def test_a_root_without_eps_is_as_uncertain_as_a_vanishing_variance() -> None:
    """At inference: by E/2V of itself, where the running variance V is off by E."""
    constant = np.full((3, 1), 0.1)
    setup = Setup(1, eps=1.0, decay=0.5, running_var=np.array([1e-10]))
    scenario = Scenario(setup, (Train(constant), Infer(BATCH[:, :1])))
    measure = Measure(expects(scenario, CMU_HW1P1))
    of_step = measure.expected[1]
    relative = float(of_step["running_var"].generous[0] / 2 / of_step.values["running_var"][0])
    assert 1e-7 < relative < 1e-3
    value = of_step.values["out"] * 1e6
    assert measure.matches((1, "out"), value * (1 + BOUNDS * relative / 2), value)
    assert not measure.matches((1, "out"), value * (1 + BOUNDS * relative * 2), value)


@pytest.mark.parametrize(("quantity", "shape"), [("out", (3, 1)), ("dz", (3, 1)), ("dgamma", (1,))])
def test_whatever_is_divided_by_a_root_is_as_uncertain_as_it(
    quantity: Quantity, shape: tuple[int, ...]
) -> None:
    """At inference; dβ is not."""
    var, error = 2.0, 1e-6
    relative = error / 2 / var
    roots = known([var], bound=error)
    measure = chosen({quantity: known(np.ones(shape)), "dbeta": known([1.0]), "running_var": roots})
    value = np.ones(shape)
    assert measure.matches((0, quantity), value * (1 + BOUNDS * relative * 0.99), value)
    assert not measure.matches((0, quantity), value * (1 + BOUNDS * relative * 1.01), value)
    assert not measure.matches((0, "dbeta"), np.array([1 + BOUNDS * relative / 2]), np.ones(1))


@pytest.mark.parametrize("shape", [(1, 2), (3, 2), (1, 2, 3), (3, 2, 1, 4)])
def test_each_feature_has_a_root_of_its_own(shape: tuple[int, ...]) -> None:
    """All is known of the second one's."""
    measure = chosen({"out": known(np.ones(shape)), "running_var": known([1.0, 1.0], [2.0, 0.0])})
    for feature in (0, 1):
        value = np.ones(shape)
        value[:, feature] = np.inf
        assert (feature == 0) == measure.matches((0, "out"), value, np.ones(shape))


@pytest.mark.parametrize(("error", "unknown"), [(1.0 - W, False), (1.0, True)])
def test_a_root_is_unknown_from_where_its_variance_is_off_by_itself(
    error: float, unknown: bool
) -> None:
    measure = chosen({"out": known([[1.0]]), "running_var": known([1.0], bound=error)})
    assert unknown == measure.matches((0, "out"), np.array([[np.inf]]), np.ones((1, 1)))


def test_a_root_of_a_variance_that_was_set_to_zero_is_known() -> None:
    setup = Setup(1, eps=1.0, running_var=np.zeros(1))
    measure = Measure(expects(Scenario(setup, (Infer(BATCH[:, :1]),)), CMU_HW1P1))
    value = measure.expected[0].values["out"]
    assert not measure.matches((0, "out"), value * 1.01, value)


def test_an_output_that_is_looked_at_again_is_as_certain_as_before() -> None:
    scenario = Scenario(SETUP, (Train(BATCH), LookAgain("train", "out")))
    measure = Measure(expects(scenario, CMU_HW1P1))
    value = measure.expected[1].values["out"]
    assert measure.matches((1, "out"), value * (1 + W), value)
    assert not measure.matches((1, "out"), value * 1.01, value)


def test_nothing_is_known_of_a_root_whose_variance_is_all_rounding() -> None:
    setup = Setup(1, eps=1.0, decay=0.0)
    scenario = Scenario(setup, (Train(np.full((3, 1), 0.1)), Infer(BATCH[:, :1])))
    measure = Measure(expects(scenario, CMU_HW1P1))
    value = measure.expected[1].values["out"]
    assert measure.matches((1, "out"), value, np.full((3, 1), np.inf))
    assert not measure.matches((1, "running_mean"), np.array([0.1]), np.array([0.2]))


@pytest.mark.parametrize("shape", [(3, 1), (1, 1, 3)])
@pytest.mark.parametrize(("quantity", "power"), [("running_mean", 1), ("running_var", 2)])
def test_the_statistics_of_the_output_round_as_it_does(
    quantity: Quantity, power: int, shape: tuple[int, ...]
) -> None:
    """A mistake may accumulate them; they are as large as γ, however small the batch is."""
    setup = Setup(1, eps=1e-12, decay=0.5, gamma=np.array([1e6]), beta=np.array([0.0]))
    batch = BATCH[:, :1].reshape(shape)
    scenario = Scenario(setup, (Train(batch), Infer(batch)))
    measure = Measure(expects(scenario, CMU_HW1P1))
    largest = np.abs(measure.expected[0].values["out"]).max()
    off = np.array([BOUNDS * (3 + 4) * W * largest**power])
    for step in (0, 1):
        assert measure.matches((step, quantity), 0.99 * off, np.zeros(1))
        assert not measure.matches((step, quantity), 1.05 * off, np.zeros(1))


def test_there_is_something_to_explain_wherever_a_call_was_answered() -> None:
    expected = expects(SCENARIO, CMU_HW1P1)
    value = right(0, "out")
    responses: tuple[Response[AnyArray], ...] = (
        Response({"out": value, "dz": failed("raised"), "dgamma": failed("not_implemented")}),
        Response({"out": failed("unfinished"), "population_mean": value}),
    )
    assert ((0, "out"), (0, "dz")) == places(responses, expected)


def test_a_call_without_a_response_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="zip"):
        places((Response({"out": right(0, "out")}),), expects(SCENARIO, CMU_HW1P1))


def test_a_submission_differs_where_any_number_does() -> None:
    observer = Observer(lambda scenario: expects(scenario, CMU_HW1P1))
    first, second = (each.values for each in expects(SCENARIO, CMU_HW1P1))
    same = observer.observation(SCENARIO, (Response({**first}), Response({**second})))
    assert not same.differs
    assert frozenset() == same.wrong
    other = second["running_var"] * np.array([1.0, 1.0 + 1e-9])
    moved = Response({**second, "running_var": other})
    observed = observer.observation(SCENARIO, (Response({**first}), moved))
    assert observed.differs
    assert frozenset({(1, "running_var")}) == observed.wrong
    assert observed.reproduced((Response({**first}), moved))
    assert not observed.reproduced((Response({**first}), Response({**second})))
    assert not observed.reproduced((Response({**first}), Response({})))
    assert observed.reproduced((Response({**first}), Response({**second})), _Anything(()))


def seen(out: list[list[float]], dbeta: list[float]) -> tuple[Response[AnyArray], ...]:
    return (Response({"out": np.array(out), "dbeta": np.array(dbeta)}),)


def observed(responses: tuple[Response[AnyArray], ...]) -> Observation:
    """Return it where zeros are right, with a bound of one on the output and of none on dβ."""
    expected = Expected(Response({"out": known([[0.0], [0.0]], 1.0), "dbeta": known([0.0, 0.0])}))
    return Observer(lambda _: (expected,)).observation(SCENARIO, responses)


def test_what_lies_within_the_bounds_is_not_looked_at_place_by_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every fault is compared with all that was observed: that takes most of a diagnosis."""

    def refuse(self: Measure, place: Place, theirs: Value, ours: Value | None) -> bool:
        raise AssertionError(f"looked at {place}")

    within = seen([[0.0], [BOUNDS]], [0.0, 0.0])
    monkeypatch.setattr(Measure, "matches", refuse)
    assert not observed(within).differs
    assert observed(within).reproduced(seen([[BOUNDS], [0.0]], [0.0, 0.0]))


@pytest.mark.parametrize(
    "other",
    [
        seen([[99.0], [0.0]], [0.0, 0.0]),
        seen([[0.0], [99.0]], [0.0, 0.0]),
        seen([[0.0], [0.0]], [99.0, 0.0]),
        seen([[0.0], [0.0]], [0.0, 99.0]),
    ],
)
def test_one_number_tells_results_apart_wherever_it_stands(
    other: tuple[Response[AnyArray], ...],
) -> None:
    assert observed(other).differs
    assert not observed(other).reproduced(seen([[0.0], [0.0]], [0.0, 0.0]))
    assert observed(other).reproduced(other)


def test_a_result_of_another_size_is_another_one() -> None:
    short, proper = seen([[0.0]], [0.0, 0.0]), seen([[0.0], [0.0]], [0.0, 0.0])
    assert observed(short).differs
    assert not observed(short).reproduced(proper)
    assert not observed(proper).reproduced(short)


def test_where_nothing_was_answered_nothing_differs() -> None:
    unanswered = observed((Response({"out": failed("not_implemented")}),))
    assert not unanswered.differs
    assert unanswered.reproduced(seen([[0.0], [0.0]], [0.0, 0.0]))


class _Anything(Measure):
    def matches(self, place: tuple[int, Quantity], theirs: Value, ours: Value | None) -> bool:
        return True
