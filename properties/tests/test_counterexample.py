"""A failure written down: every call in order, what came back, and what should have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from bn_oracle.conventions import CMU_HW1P1, TORCH, Convention
from bn_properties.call import Call
from bn_properties.calls import Backward, Infer, OtherLayer, Population, SetParameters, Train
from bn_properties.cases.case import Case
from bn_properties.checking import Failing, judge
from bn_properties.counterexample import write
from bn_properties.property import Check
from bn_properties.protocol import AnyArray, Capability, Quantity, Refusable, Setup, SubjectError
from bn_properties.record_types import ArrayRecord
from bn_properties.records import Call as Written
from bn_properties.records import Counterexample
from bn_properties.scenario import Response, Scenario
from bn_properties.transcript import Oracle, Transcript


def column(*values: float) -> AnyArray:
    return np.array(values, float).reshape(-1, 1)


Z, G, ONE = column(1, 3), column(1, 0), np.array([7.0])
BARE = Setup(1)
SETUP = Setup(
    1,
    eps=3.0,
    decay=0.75,
    gamma=np.array([4.0]),
    beta=np.array([1.0]),
    running_mean=np.array([10.0]),
    running_var=np.array([2.0]),
)
WRONG = SubjectError("raised", "it raises")
OTHER = SubjectError("not_implemented", "there is none")


class Scripted:
    """A subject that shows what it is told to."""

    spatial_axes = 0
    offers: frozenset[Capability] = frozenset()
    may_refuse: frozenset[Capability | Refusable] = frozenset()
    fixed_eps: bool = False

    def __init__(self, *responses: Response[AnyArray], convention: Convention = CMU_HW1P1) -> None:
        self.convention = convention
        self._responses = responses

    def observe(self, scenario: Scenario) -> tuple[Response[AnyArray], ...]:
        return self._responses


def written(
    calls: Sequence[Call],
    responses: Sequence[Response[AnyArray]],
    *,
    setup: Setup = SETUP,
    convention: Convention = CMU_HW1P1,
) -> tuple[Written, ...]:
    scenario = Scenario(setup, tuple(calls))
    seen = Transcript(Scripted(*responses, convention=convention))
    record = write(failing(scenario), 0, seen, Oracle(convention))
    return record.calls


def case(index: int = 4, regime: str = "ordinary") -> Case:
    return Case(index, regime, Z, G, ONE, ONE, 1.0, 0.5, ONE, ONE, (), Z)


def failing(*asked: Scenario, check: Check | None = None) -> Failing:
    judgement = None if check is None else judge(check)
    return Failing(case(), check, judgement, WRONG if check is None else None, asked)


def plain(arrays: dict[str, ArrayRecord]) -> dict[str, object]:
    return {name: array.array().ravel().tolist() for name, array in arrays.items()}


def shown(
    error: SubjectError | None = None, /, **values: AnyArray | SubjectError
) -> Response[AnyArray]:
    return Response(values, error=error)  # type: ignore[arg-type]


TRAINED = {"out": column(8, 9), "running_mean": ONE, "running_var": ONE}
DIFFERENTIATED = {"dz": column(5, 6), "dgamma": ONE, "dbeta": ONE}


# How the layer was made.


def construct(setup: Setup, convention: Convention = CMU_HW1P1) -> Written:
    return written([], [], setup=setup, convention=convention)[0]


def test_a_layer_made_with_nothing_is_told_so() -> None:
    made = construct(BARE)
    assert "construct" == made.call
    assert {"features": 1} == made.inputs
    assert {} == made.got == made.expected == made.bound == made.intermediates
    assert made.error is None


@pytest.mark.parametrize(("convention", "momentum"), [(CMU_HW1P1, 0.75), (TORCH, 0.25)])
def test_what_a_layer_is_made_with_is_told_in_the_conventions_momentum(
    convention: Convention, momentum: float
) -> None:
    inputs = construct(SETUP, convention).inputs
    arrays = {name: each for name, each in inputs.items() if isinstance(each, ArrayRecord)}
    assert {
        "gamma": [4.0],
        "beta": [1.0],
        "running_mean": [10.0],
        "running_var": [2.0],
    } == plain(arrays)
    rest = {name: each for name, each in inputs.items() if name not in arrays}
    assert {"features": 1, "eps": 3.0, "momentum": momentum} == rest


def test_the_plain_average_is_told_as_no_momentum() -> None:
    assert {"features": 1, "momentum": None} == construct(Setup(1, cumulative=True)).inputs


# Its calls.


def test_a_training_step_is_a_forward_and_a_backward() -> None:
    _, forward, backward = written([Train(Z, G)], [shown(**TRAINED, **DIFFERENTIATED)])
    assert ("train", "backward") == (forward.call, backward.call)
    assert {"z": [1.0, 3.0]} == plain(forward.inputs)  # type: ignore[arg-type]
    assert {"G": [1.0, 0.0]} == plain(backward.inputs)  # type: ignore[arg-type]
    assert {"out": [8.0, 9.0], "running_mean": [7.0], "running_var": [7.0]} == plain(forward.got)
    assert {"dz": [5.0, 6.0], "dgamma": [7.0], "dbeta": [7.0]} == plain(backward.got)
    assert {
        "out": [-1.0, 3.0],
        "running_mean": [8.0],
        "running_var": [1.75],
    } == plain(forward.expected)
    assert {"dz": [0.75, -0.75], "dgamma": [-0.5], "dbeta": [1.0]} == plain(backward.expected)
    assert forward.error is None
    assert backward.error is None


def test_each_expected_number_stands_beside_its_one_pass_bound() -> None:
    calls = [Train(Z, G)]
    (want,) = Oracle(CMU_HW1P1)(Scenario(SETUP, tuple(calls)))
    _, forward, backward = written(calls, [shown(**TRAINED, **DIFFERENTIATED)])
    for call in (forward, backward):
        assert call.expected.keys() == call.bound.keys()
        for name, bound in call.bound.items():
            quantity: Quantity = name  # type: ignore[assignment]
            assert want.bound(quantity, "one-pass").tolist() == bound.array().tolist()
    assert (want.bound("out", "stable") < want.bound("out", "one-pass")).all()


def test_the_intermediates_stand_at_the_forward_alone() -> None:
    calls = [Train(Z, G), Infer(Z), Backward(G)]
    responses = [shown(**TRAINED, **DIFFERENTIATED), shown(**TRAINED), shown(**DIFFERENTIATED)]
    _, forward, *others = written(calls, responses)
    assert {"mean": [2.0], "var": [1.0], "s": [2.0], "u": [-0.5, 0.5]} == plain(
        forward.intermediates
    )
    assert ["backward", "infer", "backward"] == [each.call for each in others]
    assert all({} == each.intermediates for each in others)


def test_calls_that_give_nothing_are_told_by_what_they_are_given() -> None:
    calls = [OtherLayer(Z, G), SetParameters(ONE, ONE)]
    _, *found = written(calls, [shown(), shown()])
    assert ["train another layer", "backward with that layer", "set other parameters"] == [
        each.call for each in found
    ]
    assert {"gamma": [7.0], "beta": [7.0]} == plain(found[2].inputs)  # type: ignore[arg-type]
    assert all({} == each.got == each.expected == each.bound for each in found)


def test_what_the_oracle_does_not_give_is_not_expected() -> None:
    response = shown(population_mean=ONE, population_var=ONE)
    _, only = written([Population((Z, column(4, 6, 8)))], [response])
    assert {"population_mean": [7.0], "population_var": [7.0]} == plain(only.got)
    assert {"population_mean"} == only.expected.keys() == only.bound.keys()


def test_a_missing_gradient_is_the_error_of_the_call_that_should_have_given_it() -> None:
    response = shown(**TRAINED, dz=WRONG, dgamma=ONE)
    _, forward, backward = written([Train(Z, G)], [response])
    assert forward.error is None
    assert "it raises" == backward.error
    assert {"dgamma": [7.0]} == plain(backward.got)
    assert {"dz", "dgamma", "dbeta"} == backward.expected.keys()


def test_missing_statistics_alone_are_no_error_of_the_call() -> None:
    response = shown(out=Z, running_mean=WRONG, running_var=OTHER)
    _, only = written([Train(Z)], [response])
    assert only.error is None
    assert {"out"} == only.got.keys()


def test_a_call_behind_the_failure_tells_why_there_is_nothing() -> None:
    dead = shown(WRONG, out=WRONG, running_mean=WRONG, running_var=WRONG)
    _, first, second = written([Infer(Z), OtherLayer(Z)], [dead, Response({}, error=WRONG)])
    assert "it raises" == first.error == second.error
    assert {} == first.got


def test_the_reason_of_a_missing_quantity_outweighs_that_of_the_whole_call() -> None:
    """A backward that failed first says so, though the layer went wrong elsewhere later."""
    response = shown(WRONG, **TRAINED, dz=OTHER)
    _, forward, backward = written([Train(Z, G)], [response])
    assert "it raises" == forward.error
    assert "there is none" == backward.error


# The whole record.


def test_every_scenario_is_told_once_in_the_order_asked() -> None:
    first, second = Scenario(BARE, (Infer(Z),)), Scenario(SETUP, (Train(Z),))
    again = Scenario(BARE, (Infer(Z.copy()),))
    seen = Transcript(Scripted(shown(**TRAINED)))
    record = write(failing(first, second, again), 0, seen, Oracle(CMU_HW1P1))
    assert ["construct", "infer", "construct", "train"] == [each.call for each in record.calls]
    assert 1 == len(record.calls[0].inputs)


def test_the_calls_of_a_scenario_stand_beside_what_came_of_each() -> None:
    responses = [shown(out=column(n, n)) for n in (5, 6, 7)]
    _, *found = written([Train(Z), Infer(Z), Train(Z)], responses)
    assert ["train", "infer", "train"] == [each.call for each in found]
    assert [5.0, 6.0, 7.0] == [each.got["out"].array()[0, 0] for each in found]


def test_responses_that_are_too_few_are_no_counterexample() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        written([Train(Z), Infer(Z)], [shown(**TRAINED)])


def test_a_record_says_which_case_it_came_from() -> None:
    scenario = Scenario(BARE, (Infer(Z),))
    seen = Transcript(Scripted(shown(out=Z)))
    each = Failing(case(17, "skewed"), None, None, WRONG, (scenario,))
    record = write(each, 23, seen, Oracle(CMU_HW1P1))
    assert (23, 17, "skewed") == (record.seed, record.case, record.regime)
    assert record.comparison is None


def compared(check: Check) -> Counterexample:
    return write(failing(check=check), 0, Transcript(Scripted()), Oracle(CMU_HW1P1))


def test_a_comparison_is_written_down_as_it_was_measured() -> None:
    check = Check("dz", column(1, 6), column(1, 2), column(1, 0.5))
    found = compared(check).comparison
    assert found is not None
    assert "dz" == found.quantity
    assert found.got is not None
    assert [1.0, 6.0] == found.got.array().ravel().tolist()
    assert [1.0, 2.0] == found.expected.array().ravel().tolist()
    assert found.bound is not None
    assert [1.0, 0.5] == found.bound.array().ravel().tolist()
    assert (1, 0) == found.worst_index
    assert (4.0, 2.0, 8.0) == (
        found.absolute_error,
        found.relative_error,
        found.error_over_bound,
    )


def test_one_bound_for_all_is_written_for_each() -> None:
    found = compared(Check("dz", column(1, 6), column(1, 2), np.array(0.5))).comparison
    assert found is not None
    assert found.bound is not None
    assert (2, 1) == found.bound.shape
    assert [0.5, 0.5] == found.bound.array().ravel().tolist()


def test_equality_has_no_bound() -> None:
    found = compared(Check("dz", column(1, 6), column(1, 2), None)).comparison
    assert found is not None
    assert found.bound is None
    assert np.inf == found.error_over_bound


def test_single_precision_is_written_as_it_came_and_what_it_should_be_in_double() -> None:
    single = np.array([1.1], np.float32)
    check = Check("dz", single, np.array([2], np.float32), np.array([0.5], np.float32))
    found = compared(check).comparison
    assert found is not None
    assert found.got is not None
    assert found.bound is not None
    assert ("float32", "float64", "float64") == (
        found.got.dtype,
        found.expected.dtype,
        found.bound.dtype,
    )
    assert single.tobytes() == found.got.array().tobytes()
