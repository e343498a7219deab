"""Two results match if rounding explains how they differ, whatever their size; failures by kind."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from bn_diagnosis.matching import BOUNDS, ROUNDINGS, Measure, Observer, Value, places
from bn_oracle.conventions import CMU_HW1P1
from bn_properties.calls import Infer, Train
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
    setup = Setup(1, eps=1.0, decay=0.5, running_var=np.array([1e-12]))
    scenario = Scenario(setup, (Train(constant), Infer(BATCH[:, :1])))
    measure = Measure(expects(scenario, CMU_HW1P1))
    of_step = measure.expected[1]
    relative = float(of_step["running_var"].generous[0] / 2 / of_step.values["running_var"][0])
    assert 1e-7 < relative < 1e-3
    value = of_step.values["out"] * 1e6
    assert measure.matches((1, "out"), value * (1 + BOUNDS * relative / 2), value)
    assert not measure.matches((1, "out"), value * (1 + BOUNDS * relative * 2), value)


def test_nothing_is_known_of_a_root_whose_variance_is_all_rounding() -> None:
    setup = Setup(1, eps=1.0, decay=0.0)
    scenario = Scenario(setup, (Train(np.full((3, 1), 0.1)), Infer(BATCH[:, :1])))
    measure = Measure(expects(scenario, CMU_HW1P1))
    value = measure.expected[1].values["out"]
    assert measure.matches((1, "out"), value, np.full((3, 1), np.inf))
    assert not measure.matches((1, "running_mean"), np.array([0.1]), np.array([0.2]))


def test_the_statistics_of_the_output_round_as_it_does() -> None:
    """A mistake may accumulate them; they are as large as γ, however small the batch is."""
    setup = Setup(1, eps=1e-12, decay=0.5, gamma=np.array([1e6]), beta=np.array([0.0]))
    scenario = Scenario(setup, (Train(BATCH[:, :1]), Infer(BATCH[:, :1])))
    measure = Measure(expects(scenario, CMU_HW1P1))
    largest = np.abs(measure.expected[0].values["out"]).max()
    off = np.array([BOUNDS * 6 * W * largest])  # of 3 + 4 roundings
    for step in (0, 1):
        assert measure.matches((step, "running_mean"), off, np.zeros(1))
        assert not measure.matches((step, "running_mean"), 2 * off, np.zeros(1))


def test_there_is_something_to_explain_wherever_a_call_was_answered() -> None:
    expected = expects(SCENARIO, CMU_HW1P1)
    value = right(0, "out")
    responses: tuple[Response[AnyArray], ...] = (
        Response({"out": value, "dz": failed("raised"), "dgamma": failed("not_implemented")}),
        Response({"out": failed("unfinished"), "population_mean": value}),
    )
    assert ((0, "out"), (0, "dz")) == places(responses, expected)


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


class _Anything(Measure):
    def matches(self, place: tuple[int, Quantity], theirs: Value, ours: Value | None) -> bool:
        return True
