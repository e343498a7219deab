"""The walk: what ends a scenario, what is then missing and why, and how results are taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from bn_properties.call import Call, Operation
from bn_properties.calls import Backward, Infer, LookAgain, Population, SetParameters, Train
from bn_properties.protocol import (
    FORWARD,
    GRADIENTS,
    AnyArray,
    Quantity,
    Setup,
    SubjectError,
)
from bn_properties.scenario import Reply, Response, Scenario, failed, plain_result, walk

X, G = np.zeros((3, 2)), np.ones((3, 2))
TWO = np.zeros(2)
FULL: dict[Quantity, AnyArray] = {
    "out": X,
    "dz": X,
    "dgamma": TWO,
    "dbeta": TWO,
    "running_mean": TWO,
    "running_var": TWO,
}
WRONG = SubjectError("raised", "it raises")


class Asked:
    """Answers each operation by its name, and notes the names in order."""

    def __init__(self, replies: Mapping[str, Reply[AnyArray]]) -> None:
        self.names: list[str] = []
        self._replies = replies

    def __call__(self, operation: Operation) -> Reply[AnyArray]:
        self.names.append(operation.name)
        whole = Reply({quantity: FULL[quantity] for quantity in operation.gives})
        return self._replies.get(operation.name, whole)


def unchecked(operation: Operation, quantity: Quantity, value: AnyArray) -> AnyArray:
    return value


def walked(
    calls: Sequence[Call], replies: Mapping[str, Reply[AnyArray]]
) -> tuple[list[str], list[Response[AnyArray]]]:
    asked = Asked(replies)
    found = list(walk(Scenario(Setup(2), tuple(calls)), asked, unchecked))
    return asked.names, found


def test_every_operation_is_asked_in_order_and_each_call_shows_what_its_operations_gave() -> None:
    names, (first, second, last) = walked([Train(X, G), Infer(X), Backward(G)], {})
    assert ["train", "backward", "infer", "backward"] == names
    assert {*FORWARD, *GRADIENTS} == first.values.keys()
    assert set(FORWARD) == second.values.keys()
    assert set(GRADIENTS) == last.values.keys()
    for response in (first, second, last):
        assert response.error is None
        assert frozenset() == response.edited
        for quantity, value in response.values.items():
            assert FULL[quantity] is value


@pytest.mark.parametrize(
    "reply",
    [Reply(error=WRONG), Reply({"out": WRONG, "running_mean": TWO, "running_var": WRONG})],
    ids=["the call fails", "the output is missing"],
)
def test_a_forward_without_output_ends_the_scenario(reply: Reply[AnyArray]) -> None:
    names, (first, second) = walked([Train(X, G), Infer(X)], {"train": reply})
    assert ["train"] == names
    assert WRONG is first.error is second.error
    assert dict.fromkeys(GRADIENTS, WRONG).items() <= first.values.items()
    assert WRONG is first.values["out"]
    assert dict.fromkeys(FORWARD, WRONG) == second.values


def test_what_a_forward_without_output_gave_besides_goes_with_it() -> None:
    reply = Reply[AnyArray]({"out": WRONG, "running_mean": TWO})
    _, (only,) = walked([Train(X, G)], {"train": reply})
    assert dict.fromkeys((*FORWARD, *GRADIENTS), WRONG) == only.values


def test_calls_before_the_failure_are_not_touched_by_it() -> None:
    names, (first, second, last) = walked(
        [Train(X), Infer(X), Train(X)], {"infer": Reply(error=WRONG)}
    )
    assert ["train", "infer"] == names
    assert first.error is None
    assert X is first.array("out")
    assert WRONG is second.error is last.error
    assert dict.fromkeys(FORWARD, WRONG) == last.values


@pytest.mark.parametrize("missing", ["running_mean", "running_var"])
def test_a_missing_statistic_ends_nothing(missing: Quantity) -> None:
    gave: dict[Quantity, AnyArray | SubjectError] = {q: FULL[q] for q in FORWARD}
    reply = Reply(gave | {missing: WRONG})
    names, (first, second) = walked([Train(X), Infer(X)], {"train": reply})
    assert ["train", "infer"] == names
    assert WRONG is first.values[missing]
    assert X is first.values["out"]
    assert first.error is None
    assert second.error is None


def test_a_backward_that_fails_is_missing_but_ends_nothing() -> None:
    names, (first, second) = walked([Train(X, G), Infer(X)], {"backward": Reply(error=WRONG)})
    assert ["train", "backward", "infer"] == names
    assert first.error is None
    assert dict.fromkeys(GRADIENTS, WRONG).items() <= first.values.items()
    assert X is first.values["out"]
    assert X is second.array("out")


def test_parameters_that_cannot_be_set_end_the_scenario_for_that_reason() -> None:
    calls = [Train(X), SetParameters(TWO, TWO), Train(X)]
    names, (first, second, last) = walked(calls, {"set_parameters": Reply(error=WRONG)})
    assert ["train", "set_parameters"] == names
    assert first.error is None
    assert {} == second.values
    assert WRONG is second.error
    assert dict.fromkeys(FORWARD, WRONG) == last.values


def test_what_cannot_be_looked_at_again_ends_the_scenario() -> None:
    calls = [Train(X), LookAgain(), Infer(X)]
    names, found = walked(calls, {"look_again": Reply({"out": WRONG})})
    assert ["train", "look_again"] == names
    assert [None, WRONG, WRONG] == [each.error for each in found]


def test_the_first_failure_is_the_reason_of_all_that_is_missing_behind_it() -> None:
    later = SubjectError("died", "it is gone")
    replies: dict[str, Reply[AnyArray]] = {
        "backward": Reply(error=later),
        "infer": Reply(error=WRONG),
    }
    _, (first, second, last) = walked([Train(X, G), Infer(X), Backward(G)], replies)
    assert dict.fromkeys(GRADIENTS, later).items() <= first.values.items()
    assert WRONG is second.error
    assert dict.fromkeys(GRADIENTS, WRONG) == last.values


def test_the_edits_of_a_call_are_those_of_all_its_operations_and_of_no_other_call() -> None:
    replies = {
        "train": Reply[AnyArray]({"out": X}, frozenset({"input"})),
        "backward": Reply[AnyArray]({}, frozenset({"gamma", "upstream gradient"})),
    }
    _, (first, second) = walked([Train(X, G), Infer(X)], replies)
    assert {"input", "gamma", "upstream gradient"} == first.edited
    assert frozenset() == second.edited


def test_a_result_is_what_the_check_makes_of_it_or_why_it_refuses_it() -> None:
    seen: list[tuple[str, Quantity]] = []

    def check(operation: Operation, quantity: Quantity, value: AnyArray) -> AnyArray:
        seen.append((operation.name, quantity))
        if quantity == "dgamma":
            raise WRONG
        return value + 1.0

    replies = {"backward": Reply[AnyArray]({"dz": X, "dgamma": TWO, "dbeta": WRONG})}
    asked = Asked(replies)
    (only,) = walk(Scenario(Setup(2), (Train(X, G),)), asked, check)
    assert [*(("train", q) for q in FORWARD), ("backward", "dz"), ("backward", "dgamma")] == seen
    assert 1.0 == only.array("out")[0, 0]
    assert 1.0 == only.array("dz")[0, 0]
    assert WRONG is only.values["dgamma"] is only.values["dbeta"]
    assert only.error is None


def test_a_missing_gradient_leaves_the_others() -> None:
    replies = {"backward": Reply[AnyArray]({"dz": WRONG, "dgamma": TWO, "dbeta": TWO})}
    _, (only,) = walked([Train(X, G)], replies)
    assert WRONG is only.values["dz"]
    assert TWO is only.values["dgamma"] is only.values["dbeta"]


def test_an_output_that_the_check_refuses_ends_the_scenario() -> None:
    def check(operation: Operation, quantity: Quantity, value: AnyArray) -> AnyArray:
        if quantity == "out":
            raise WRONG
        return value

    asked = Asked({})
    first, second = walk(Scenario(Setup(2), (Train(X, G), Infer(X))), asked, check)
    assert ["train"] == asked.names
    assert WRONG is first.error is second.error


def test_without_a_layer_every_quantity_of_every_call_is_missing() -> None:
    calls = (Train(X, G), SetParameters(TWO, TWO), Infer(X))
    first, second, last = failed(Scenario(Setup(2), calls), WRONG)
    assert dict.fromkeys((*FORWARD, *GRADIENTS), WRONG) == first.values
    assert {} == second.values
    assert dict.fromkeys(FORWARD, WRONG) == last.values
    assert WRONG is first.error is second.error is last.error
    assert frozenset() == first.edited


def test_asking_a_response_for_what_is_missing_raises_why() -> None:
    other = SubjectError("not_implemented", "there is none")
    response = Response[AnyArray]({"out": X, "dz": other}, error=WRONG)
    assert X is response.array("out")
    with pytest.raises(SubjectError, match="there is none"):
        response.array("dz")
    with pytest.raises(SubjectError, match="it raises"):
        response.array("dgamma")
    with pytest.raises(KeyError):
        Response[AnyArray]({}).array("out")


# Results: the shapes and dtypes that are taken, and those that are refused.


def operation(like: tuple[int, ...]) -> Operation:
    return Operation("train", lambda layer, given: {}, like=like)


@pytest.mark.parametrize(
    ("quantity", "like", "shape", "becomes"),
    [
        ("out", (3, 2), (3, 2), (3, 2)),
        ("dz", (3, 2, 4, 5), (3, 2, 4, 5), (3, 2, 4, 5)),
        ("dgamma", (3, 2), (2,), (2,)),
        ("dgamma", (3, 2), (1, 2), (2,)),
        ("running_var", (3, 2, 4, 5), (2,), (2,)),
        ("running_var", (3, 2, 4, 5), (1, 2), (2,)),
        ("running_var", (3, 2, 4, 5), (1, 2, 1, 1), (2,)),
        ("population_mean", (3, 2, 4), (1, 2, 1), (2,)),
        ("dbeta", (3, 1), (), (1,)),
        ("dbeta", (3, 1), (1,), (1,)),
        ("dbeta", (3, 1, 4, 5), (), (1,)),
    ],
)
def test_a_shape_that_is_taken(
    quantity: Quantity, like: tuple[int, ...], shape: tuple[int, ...], becomes: tuple[int, ...]
) -> None:
    value = np.arange(float(np.prod(shape))).reshape(shape)
    found = plain_result(operation(like), quantity, value)
    assert becomes == found.shape
    assert value.ravel().tolist() == found.ravel().tolist()


@pytest.mark.parametrize(
    ("quantity", "like", "shape", "should"),
    [
        ("out", (3, 2), (2, 3), "(3, 2)"),
        ("out", (3, 2), (6,), "(3, 2)"),
        ("out", (3, 2), (3, 2, 1), "(3, 2)"),
        ("out", (1, 2), (2,), "(1, 2)"),
        ("out", (1, 1), (), "(1, 1)"),
        ("dz", (2, 1), (2,), "(2, 1)"),
        ("dz", (3, 2), (1, 2), "(3, 2)"),
        ("dgamma", (3, 2), (2, 1), "(2,)"),
        ("dgamma", (3, 2), (1, 2, 1), "(2,)"),
        ("dgamma", (3, 2), (), "(2,)"),
        ("dgamma", (3, 2), (3,), "(2,)"),
        ("dgamma", (3, 2), (3, 2), "(2,)"),
        ("running_mean", (3, 2, 4, 5), (1, 2, 1), "(2,)"),
        ("running_mean", (3, 2, 4, 5), (2, 1, 1), "(2,)"),
        ("running_mean", (3, 4), (2, 2), "(4,)"),
        ("dbeta", (3, 1), (1, 1, 1), "(1,)"),
    ],
)
def test_a_shape_of_the_right_size_or_not_that_is_refused(
    quantity: Quantity, like: tuple[int, ...], shape: tuple[int, ...], should: str
) -> None:
    with pytest.raises(SubjectError) as caught:
        plain_result(operation(like), quantity, np.zeros(shape))
    assert "unusable_result" == caught.value.failure
    assert f"has shape {shape}, but should have shape {should}" in caught.value.message


@pytest.mark.parametrize(
    ("dtype", "becomes"),
    [
        ("float64", "float64"),
        ("float32", "float32"),
        ("float16", "float16"),
        ("int8", "float64"),
        ("uint64", "float64"),
        ("bool", "float64"),
        ("longdouble", "float64"),
    ],
)
def test_a_dtype_that_is_taken(dtype: str, becomes: str) -> None:
    found = plain_result(operation((2, 2)), "out", np.ones((2, 2), dtype))
    assert becomes == found.dtype.name
    assert [[1.0, 1.0], [1.0, 1.0]] == found.tolist()


@pytest.mark.parametrize("dtype", ["complex128", "object", "U1", "S1", "M8[s]", "m8[s]", "V8"])
def test_a_dtype_that_is_refused(dtype: str) -> None:
    value = np.zeros((2, 2), dtype)
    with pytest.raises(SubjectError) as caught:
        plain_result(operation((2, 2)), "out", value)
    assert "unusable_result" == caught.value.failure
    assert (
        f"the output ẑ has dtype {value.dtype}, but should be real numbers" == caught.value.message
    )


def test_a_result_is_a_private_plain_copy() -> None:
    value = np.ma.masked_array(np.ones((2, 2)))
    found = plain_result(operation((2, 2)), "out", value)
    assert np.ndarray is type(found)
    value[0, 0] = 5.0
    assert 1.0 == found[0, 0]


# Keys: what makes two scenarios the same.


def test_equal_scenarios_have_equal_keys_whatever_arrays_hold_them() -> None:
    def scenario(x: AnyArray) -> Scenario:
        return Scenario(Setup(2, 1e-5, gamma=TWO.copy()), (Train(x, G.copy()), Infer(x)))

    values = np.arange(6.0).reshape(3, 2)
    assert scenario(values).key == scenario(np.asfortranarray(values)).key


def test_whatever_differs_in_two_scenarios_shows_in_their_keys() -> None:
    x = np.arange(6.0).reshape(3, 2)
    setups = [
        Setup(2),
        Setup(3),
        Setup(2, eps=0.5),
        Setup(2, decay=0.5),
        Setup(2, gamma=TWO),
        Setup(2, beta=TWO),
        Setup(2, running_mean=TWO),
        Setup(2, running_var=TWO),
        Setup(2, cumulative=True),
    ]
    calls: list[tuple[Call, ...]] = [
        (Train(x), Train(x)),
        (Train(x, x),),
        (Infer(x),),
        (Train(x.reshape(2, 3)),),
        (Train(x.astype(np.float32)),),
        (Train(x.view(np.int64)),),
        (Train(-x),),
        (Infer(x), Train(x)),
        (Train(x), Infer(x)),
        (Train(x), LookAgain()),
        (Train(x), LookAgain("infer")),
        (Train(x), LookAgain(quantity="dz")),
        (SetParameters(TWO, TWO),),
        (SetParameters(TWO, TWO, in_place=True),),
        (),
    ]
    asked = [Scenario(setup, (Train(x),)) for setup in setups]
    asked += [Scenario(Setup(2), each) for each in calls]
    assert len(asked) == len({scenario.key for scenario in asked})


def test_every_number_of_every_batch_counts_for_the_key_however_small_its_part() -> None:
    """An array's text leaves out digits, and most of a large array."""
    many = np.ones((2000, 2))
    one = many.copy()
    one[1000, 1] += 2.0**-40
    for call in (Train, Infer, Backward, lambda x: Population((many, x))):
        keys = {Scenario(Setup(2), (call(x),)).key for x in (many, one)}
        assert 2 == len(keys), call
    setups = (Setup(2000, gamma=each[:, 1]) for each in (many, one))
    assert 2 == len({Scenario(setup, ()).key for setup in setups})


def test_a_call_knows_the_calls_before_and_after_it() -> None:
    class Noting(Infer):
        def operations(
            self, before: Sequence[Call], after: Sequence[Call]
        ) -> tuple[Operation, ...]:
            noted.append((tuple(before), tuple(after)))
            return ()

    noted: list[tuple[tuple[Call, ...], tuple[Call, ...]]] = []
    calls = (Noting(X), Noting(X), Noting(X))
    assert ((), (), ()) == Scenario(Setup(2), calls).operations
    assert [((), calls[1:]), (calls[:1], calls[2:]), (calls[:2], ())] == noted
