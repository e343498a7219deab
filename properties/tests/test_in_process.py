"""A layer in this process: it is lent copies, and what it edits of them is seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from bn_oracle.conventions import TORCH
from bn_properties.calls import Backward, Infer, OtherLayer, Population, SetParameters, Train
from bn_properties.protocol import (
    CAPABILITIES,
    AnyArray,
    Gradient,
    Moment,
    Quantity,
    Setup,
    Statistics,
    SubjectError,
)
from bn_properties.scenario import InProcess, Response, Scenario

X, G = np.arange(6.0).reshape(3, 2), np.ones((3, 2))
TWO = np.zeros(2)

Act = Callable[[AnyArray], None]


def nothing(array: AnyArray) -> None:
    """Leave it alone."""


def write(array: AnyArray) -> None:
    array[0, 0] = 77.0


class Plain:
    """A layer that gives what it is given, keeps all that it is given, and may edit it."""

    def __init__(self, **acts: Act) -> None:
        self._acts = acts
        self.kept: list[AnyArray] = []
        self.changed: frozenset[str] = frozenset()

    def _takes(self, name: str, array: AnyArray) -> None:
        self.kept.append(array)
        self._acts.get(name, nothing)(array)

    def train(self, x: AnyArray) -> AnyArray:
        self._takes("train", x)
        return x

    def backward(self, grad: AnyArray) -> Gradient[AnyArray]:
        self._takes("backward", grad)
        return Gradient(grad, TWO, TWO)

    def infer(self, x: AnyArray) -> AnyArray:
        self._takes("infer", x)
        return x

    def infer_backward(self, grad: AnyArray) -> Gradient[AnyArray]:
        self._takes("infer_backward", grad)
        return Gradient(grad, TWO, TWO)

    def statistics(self) -> Statistics[AnyArray]:
        return Statistics(TWO, TWO)

    def population(self, batches: tuple[AnyArray, ...]) -> Statistics[AnyArray]:
        for batch in batches:
            self._takes("population", batch)
        return Statistics(TWO, TWO)

    def look_again(self, call: Moment, quantity: Quantity) -> AnyArray:
        return self.kept[0]

    def descend(self) -> Statistics[AnyArray]:
        return self.statistics()

    def add_up(self, steps: tuple[tuple[AnyArray, AnyArray], ...]) -> Statistics[AnyArray]:
        return self.statistics()

    def reload(self, *, copied: bool = False) -> None: ...

    def set_momentum(self, decay: float) -> None: ...

    def other_layer(
        self,
        x: AnyArray,
        grad: AnyArray | None,
        probe: AnyArray | None,
        gamma: AnyArray | None = None,
        beta: AnyArray | None = None,
    ) -> None:
        self._takes("other_layer", x)

    def set_parameters(self, gamma: AnyArray, beta: AnyArray, *, in_place: bool) -> None:
        self._takes("set_parameters", gamma)

    def edited(self) -> frozenset[str]:
        return self.changed


def observed(layer: Plain, *calls: object) -> list[Response[AnyArray]]:
    subject = InProcess(lambda setup: layer, TORCH)
    return list(subject.observe(Scenario(Setup(2), calls)))  # type: ignore[arg-type]


def edits(layer: Plain, *calls: object) -> list[set[str]]:
    return [set(each.edited) for each in observed(layer, *calls)]


def test_a_layer_that_leaves_all_alone_has_edited_nothing() -> None:
    calls = (Train(X, G), Infer(X, G), Backward(G), Population((X, X)))
    assert [set(), set(), set(), set()] == edits(Plain(), *calls)


@pytest.mark.parametrize(
    ("where", "call", "word"),
    [
        ("train", Train(X), "input"),
        ("infer", Infer(X), "input"),
        ("backward", Train(X, G), "upstream gradient"),
        ("infer_backward", Infer(X, G), "upstream gradient"),
        ("population", Population((X, G)), "input"),
    ],
)
def test_an_edit_of_what_the_call_was_given_is_told_by_its_word(
    where: str, call: object, word: str
) -> None:
    before = X.copy(), G.copy()
    assert [{word}] == edits(Plain(**{where: write}), call)
    assert before[0].tobytes() == X.tobytes()
    assert before[1].tobytes() == G.tobytes()


def test_an_edit_of_a_later_batch_of_the_population_is_seen() -> None:
    layer = Plain()
    layer._acts["population"] = lambda array: write(array) if len(layer.kept) == 2 else None
    assert [{"input"}] == edits(layer, Population((X, X)))


def test_an_edit_of_what_an_earlier_call_was_given_is_told_as_that() -> None:
    layer = Plain()
    layer._acts["infer"] = lambda array: write(layer.kept[0])
    assert [set(), {"what an earlier call was given"}] == edits(layer, Train(X), Infer(X))


def test_an_edit_of_an_earlier_array_in_the_same_call_is_seen() -> None:
    layer = Plain()
    layer._acts["backward"] = lambda array: write(layer.kept[0])
    assert [{"what an earlier call was given"}] == edits(layer, Train(X, G))


def test_an_array_that_was_edited_once_is_told_by_the_calls_that_follow() -> None:
    found = edits(Plain(train=write), Train(X), Infer(X), Backward(G))
    earlier = {"what an earlier call was given"}
    assert [{"input"}, earlier, earlier] == found


def test_every_earlier_array_is_watched_not_only_the_latest_or_the_first() -> None:
    for place in (0, 1):
        layer = Plain()
        layer._acts["backward"] = lambda array, at=place, of=layer: write(of.kept[at])  # type: ignore[misc]
        found = edits(layer, Train(X), Train(X), Backward(G))
        assert [set(), set(), {"what an earlier call was given"}] == found


def test_this_calls_array_and_an_earlier_one_are_told_apart_and_together() -> None:
    layer = Plain()

    def both(array: AnyArray) -> None:
        write(array)
        write(layer.kept[0])

    layer._acts["backward"] = both
    found = edits(layer, Train(X), Backward(G))
    assert [set(), {"upstream gradient", "what an earlier call was given"}] == found


def test_a_changed_sign_of_zero_is_an_edit() -> None:
    def negate(array: AnyArray) -> None:
        array[0, 0] = -array[0, 0]

    assert 0.0 == X[0, 0]
    assert [{"input"}] == edits(Plain(train=negate), Train(X))


def test_edited_parameters_are_told_with_the_arrays() -> None:
    layer = Plain(train=write)
    layer.changed = frozenset({"gamma"})
    assert [{"gamma", "input"}] == edits(layer, Train(X))


@pytest.mark.parametrize(
    ("where", "call"),
    [("other_layer", OtherLayer(X)), ("set_parameters", SetParameters(X, X))],
)
def test_what_a_layer_may_keep_it_may_edit(where: str, call: object) -> None:
    layer = Plain(**{where: write})
    layer.changed = frozenset({"gamma"})  # set_parameters means to
    assert set() == edits(layer, call)[0]


def test_a_layer_gets_copies_of_its_own_at_each_call() -> None:
    layer = Plain()
    observed(layer, Train(X), Train(X))
    first, second = layer.kept
    assert not np.shares_memory(first, X)
    assert not np.shares_memory(first, second)
    assert X.tobytes() == first.tobytes() == second.tobytes()


def test_what_a_layer_returns_is_taken_in_its_proper_form() -> None:
    (response,) = observed(Plain(), Train(X, G))
    assert response.array("out").tolist() == X.tolist()
    assert not np.shares_memory(response.array("out"), X)


def test_an_operation_that_fails_edits_nothing_and_says_why() -> None:
    wrong = SubjectError("raised", "no")

    def fail(array: AnyArray) -> None:
        write(array)
        raise wrong

    first, second = observed(Plain(train=fail), Train(X), Infer(X))
    assert frozenset() == first.edited
    assert wrong is first.error is second.error


def test_a_layer_that_cannot_be_made_shows_nothing_but_why() -> None:
    wrong = SubjectError("raised", "no")

    def make(setup: Setup) -> Plain:
        raise wrong

    found = InProcess(make, TORCH).observe(Scenario(Setup(2), (Train(X), Infer(X))))
    assert [wrong, wrong] == [each.error for each in found]
    assert wrong is found[1].values["out"]


def test_each_scenario_gets_a_fresh_layer_made_as_it_says() -> None:
    made: list[Setup] = []

    def make(setup: Setup) -> Plain:
        made.append(setup)
        return Plain()

    subject = InProcess(make, TORCH)
    scenario = Scenario(Setup(2, eps=0.5), (Train(X),))
    subject.observe(scenario)
    subject.observe(scenario)
    assert [scenario.setup, scenario.setup] == made


def test_unless_said_otherwise_a_maker_of_layers_has_all_capabilities_and_refuses_none() -> None:
    subject = InProcess(lambda setup: Plain(), TORCH)
    assert set(CAPABILITIES) == subject.offers
    assert frozenset() == subject.may_refuse
    assert 0 == subject.spatial_axes
