"""The kinds of call: of which operations each is made, what each gives, and how each is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from bn_properties.call import Call, Operation
from bn_properties.calls import (
    AddUp,
    Backward,
    Infer,
    LookAgain,
    OtherLayer,
    Population,
    SetParameters,
    Train,
)
from bn_properties.protocol import AnyArray, Gradient, Moment, Quantity, Statistics, SubjectError

X, G, P = np.zeros((3, 2)), np.ones((3, 2)), np.full((4, 2), 2.0)
GAMMA, BETA = np.array([1.0, 2.0]), np.array([3.0, 4.0])
NO_STATISTICS = SubjectError("not_implemented", "there are none")


class Words:
    """A layer whose results are words, and which notes what it was asked."""

    def __init__(self, statistics: bool = True) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._statistics = statistics

    def train(self, x: AnyArray) -> str:
        self.asked.append(("train", x))
        return "trained"

    def backward(self, grad: AnyArray) -> Gradient[str]:
        self.asked.append(("backward", grad))
        return Gradient("dz", "dγ", "dβ")

    def infer(self, x: AnyArray) -> str:
        self.asked.append(("infer", x))
        return "inferred"

    def infer_backward(self, grad: AnyArray) -> Gradient[str]:
        self.asked.append(("infer_backward", grad))
        return Gradient("idz", "idγ", "idβ")

    def statistics(self) -> Statistics[str]:
        if not self._statistics:
            raise NO_STATISTICS
        return Statistics("mean", "var")

    def population(self, batches: tuple[AnyArray, ...]) -> Statistics[str]:
        self.asked.append(("population", *batches))
        return Statistics("pmean", "pvar")

    def look_again(self, call: Moment, quantity: Quantity) -> str:
        self.asked.append(("look_again", call, quantity))
        return "again"

    def descend(self) -> Statistics[str]:
        return Statistics("moved γ", "moved β")

    def add_up(self, steps: tuple[tuple[AnyArray, AnyArray], ...]) -> Statistics[str]:
        self.asked.append(("add_up", len(steps)))
        return Statistics("added γ", "added β")

    def reload(self, *, copied: bool = False) -> None:
        self.asked.append(("reload",))

    def set_momentum(self, decay: float) -> None:
        self.asked.append(("set_momentum", decay))

    def other_layer(
        self,
        x: AnyArray,
        grad: AnyArray | None,
        probe: AnyArray | None,
        gamma: AnyArray | None = None,
        beta: AnyArray | None = None,
    ) -> None:
        self.asked.append(("other_layer", x, grad, probe))

    def set_parameters(self, gamma: AnyArray, beta: AnyArray, *, in_place: bool) -> None:
        self.asked.append(("set_parameters", gamma, beta, in_place))

    def edited(self) -> frozenset[str]:
        return frozenset()


def described(operation: Operation) -> dict[str, Any]:
    """Return all of an operation that is data; arrays stay the same objects."""
    return {
        "gives": operation.gives,
        "options": dict(operation.options),
        "like": operation.like,
        "lends": operation.lends,
        "essential": operation.essential,
        "goes_on": operation.goes_on,
    }


def same(expected: Mapping[str, AnyArray], actual: Mapping[str, AnyArray]) -> bool:
    """Whether the same arrays, not only equal ones, stand under the same names in one order."""
    return list(expected) == list(actual) and all(expected[n] is actual[n] for n in expected)


SILENT: dict[str, Any] = {
    "gives": (),
    "options": {},
    "like": (),
    "lends": "",
    "essential": None,
    "goes_on": False,
}
OUTPUTS = ("out", "running_mean", "running_var")
GRADIENTS = ("dz", "dgamma", "dbeta")
FORWARD = SILENT | {"gives": OUTPUTS, "like": (3, 2), "lends": "input", "essential": "out"}
GRADIENT = SILENT | {
    "gives": GRADIENTS,
    "like": (3, 2),
    "lends": "upstream gradient",
    "goes_on": True,
}


@pytest.mark.parametrize(
    ("call", "names", "lines"),
    [
        (Train(X), ["train"], [FORWARD]),
        (Train(X, G), ["train", "backward"], [FORWARD, GRADIENT]),
        (Infer(X), ["infer"], [FORWARD]),
        (Infer(X, G), ["infer", "infer_backward"], [FORWARD, GRADIENT]),
        (Backward(G), ["backward"], [GRADIENT]),
        (OtherLayer(X), ["other_layer"], [SILENT]),
        (
            SetParameters(GAMMA, BETA),
            ["set_parameters"],
            [SILENT | {"options": {"in_place": False}}],
        ),
        (
            SetParameters(GAMMA, BETA, in_place=True),
            ["set_parameters"],
            [SILENT | {"options": {"in_place": True}}],
        ),
        (
            Population((X, P)),
            ["population"],
            [
                SILENT
                | {"gives": ("population_mean", "population_var"), "like": (3, 2), "lends": "input"}
            ],
        ),
    ],
)
def test_a_call_is_made_of_these_operations(
    call: Call, names: list[str], lines: list[dict[str, Any]]
) -> None:
    operations = call.operations((), ())
    assert names == [operation.name for operation in operations]
    for line, operation in zip(lines, operations, strict=True):
        # Whether a forward must be differentiable has a test of its own.
        options = {k: v for k, v in operation.options.items() if k != "differentiable"}
        assert line == described(operation) | {"options": options}


@pytest.mark.parametrize(
    ("call", "arrays"),
    [
        (Train(X, G), [{"x": X}, {"grad": G}]),
        (Infer(X, G), [{"x": X}, {"grad": G}]),
        (Backward(G), [{"grad": G}]),
        (OtherLayer(X), [{"x": X}]),
        (OtherLayer(X, G), [{"x": X, "grad": G}]),
        (OtherLayer(X, G, P), [{"x": X, "grad": G, "probe": P}]),
        (OtherLayer(X, probe=P), [{"x": X, "probe": P}]),
        (SetParameters(GAMMA, BETA), [{"gamma": GAMMA, "beta": BETA}]),
        (Population((X, P)), [{"batch 1": X, "batch 2": P}]),
    ],
)
def test_an_operation_carries_these_arrays(call: Call, arrays: list[dict[str, AnyArray]]) -> None:
    operations = call.operations((), ())
    assert len(arrays) == len(operations)
    for expected, operation in zip(arrays, operations, strict=True):
        assert same(expected, operation.arrays), operation.name


@pytest.mark.parametrize(
    ("call", "asked", "given"),
    [
        (
            Train(X, G),
            [("train", X), ("backward", G)],
            {
                "out": "trained",
                "running_mean": "mean",
                "running_var": "var",
                "dz": "dz",
                "dgamma": "dγ",
                "dbeta": "dβ",
            },
        ),
        (
            Infer(X, G),
            [("infer", X), ("infer_backward", G)],
            {
                "out": "inferred",
                "running_mean": "mean",
                "running_var": "var",
                "dz": "idz",
                "dgamma": "idγ",
                "dbeta": "idβ",
            },
        ),
        (AddUp(X, G, P, G), [("add_up", 2)], {"dgamma": "added γ", "dbeta": "added β"}),
        (OtherLayer(X), [("other_layer", X, None, None)], {}),
        (OtherLayer(X, G, P), [("other_layer", X, G, P)], {}),
        (SetParameters(GAMMA, BETA), [("set_parameters", GAMMA, BETA, False)], {}),
        (SetParameters(GAMMA, BETA, True), [("set_parameters", GAMMA, BETA, True)], {}),
        (
            Population((X, P)),
            [("population", X, P)],
            {"population_mean": "pmean", "population_var": "pvar"},
        ),
    ],
)
def test_running_a_call_asks_the_layer_and_names_what_it_gives(
    call: Call, asked: list[tuple[Any, ...]], given: dict[str, str]
) -> None:
    layer, found = Words(), dict[Quantity, object]()
    for operation in call.operations((), ()):
        found |= operation.run(layer, operation.arrays)
    assert given == found
    assert len(asked) == len(layer.asked)
    for expected, actual in zip(asked, layer.asked, strict=True):
        assert len(expected) == len(actual)
        for one, other in zip(expected, actual, strict=True):
            assert one is other or one == other


def test_an_operation_works_on_the_arrays_that_it_is_handed() -> None:
    """A subject hands copies over; the operation's own arrays stay as they are."""
    layer, copy = Words(), X.copy()
    (operation,) = Train(X).operations((), ())
    operation.run(layer, {"x": copy})
    assert copy is layer.asked[0][1]


@pytest.mark.parametrize("call", [Train(X), Infer(X)])
def test_statistics_that_cannot_be_read_leave_the_output(call: Call) -> None:
    (operation,) = call.operations((), ())
    found = operation.run(Words(statistics=False), operation.arrays)
    assert found["out"] in ("trained", "inferred")
    assert NO_STATISTICS is found["running_mean"] is found["running_var"]


@pytest.mark.parametrize(
    ("call", "after", "told"),
    [
        (Train(X), (), False),
        (Train(X, G), (), True),
        (Train(X), (Backward(G),), True),
        (Train(X), (Infer(X, G), LookAgain(), Backward(G)), True),
        (Train(X), (Train(X), Backward(G)), False),
        (Train(X), (Train(X, G),), False),
        (Infer(X), (Backward(G),), False),
        (Infer(X, G), (), True),
    ],
)
def test_a_forward_is_told_whether_its_backward_will_follow(
    call: Call, after: Sequence[Call], told: bool
) -> None:
    forward = call.operations((), after)[0]
    assert ({"differentiable": True} if told else {}) == forward.options


@pytest.mark.parametrize(
    ("call", "effect"),
    [
        (Train(X), "trains"),
        (Backward(G), "differentiates"),
        (Infer(X, G), "none"),
        (OtherLayer(X, G), "none"),
        (LookAgain(), "none"),
        (SetParameters(GAMMA, BETA), "none"),
        (Population((X,)), "none"),
    ],
)
def test_what_a_call_does_with_the_forward_that_a_backward_belongs_to(
    call: Call, effect: str
) -> None:
    assert effect == call.effect


@pytest.mark.parametrize(
    ("again", "before", "like"),
    [
        (LookAgain(), (Infer(P), Train(X), Train(P)), (3, 2)),
        (LookAgain("infer"), (Train(X), Infer(P), Infer(X)), (4, 2)),
        (LookAgain("backward", "dz"), (Infer(X, G), Train(P, P), Backward(G)), (4, 2)),
        (LookAgain("backward", "dgamma"), (Train(P), Backward(G)), (3, 2)),
    ],
)
def test_looking_again_is_about_the_first_call_of_its_kind(
    again: LookAgain, before: Sequence[Call], like: tuple[int, ...]
) -> None:
    (operation,) = again.operations(before, ())
    assert "look_again" == operation.name
    assert {
        "gives": (again.quantity,),
        "options": {"call": again.call, "quantity": again.quantity},
        "like": like,
        "lends": "",
        "essential": again.quantity,
        "goes_on": False,
    } == described(operation)
    assert {} == operation.arrays
    layer = Words()
    assert {again.quantity: "again"} == operation.run(layer, {})
    assert [("look_again", again.call, again.quantity)] == layer.asked


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (Train(X), [("train", {"z": X}, OUTPUTS)]),
        (Train(X, G), [("train", {"z": X}, OUTPUTS), ("backward", {"G": G}, GRADIENTS)]),
        (
            Infer(X, G),
            [("infer", {"z": X}, OUTPUTS), ("backward in inference mode", {"G": G}, GRADIENTS)],
        ),
        (Infer(X), [("infer", {"z": X}, OUTPUTS)]),
        (Backward(G), [("backward", {"G": G}, GRADIENTS)]),
        (OtherLayer(X), [("train another layer", {"z": X}, ())]),
        (
            OtherLayer(X, G, P),
            [
                ("train another layer", {"z": X}, ()),
                ("backward with that layer", {"G": G}, ()),
                ("infer with that layer", {"z": P}, ()),
            ],
        ),
        (LookAgain(), [("look again at the output ẑ", {}, ("out",))]),
        (LookAgain("backward", "dgamma"), [("look again at dγ", {}, ("dgamma",))]),
        (
            SetParameters(GAMMA, BETA),
            [("set other parameters", {"gamma": GAMMA, "beta": BETA}, ())],
        ),
        (
            SetParameters(GAMMA, BETA, in_place=True),
            [("write other parameters in place", {"gamma": GAMMA, "beta": BETA}, ())],
        ),
        (
            Population((X, P)),
            [
                (
                    "population statistics",
                    {"batch 1": X, "batch 2": P},
                    ("population_mean", "population_var"),
                )
            ],
        ),
    ],
)
def test_how_a_call_is_told(
    call: Call, told: list[tuple[str, dict[str, AnyArray], tuple[str, ...]]]
) -> None:
    found = call.told()
    assert [(name, gives) for name, _, gives in told] == [(t.name, t.gives) for t in found]
    for (_, inputs, _), each in zip(told, found, strict=True):
        assert same(inputs, each.inputs)


@pytest.mark.parametrize(
    ("call", "batches"),
    [
        (Train(X), {"x": X, "grad": None}),
        (Train(X, G), {"x": X, "grad": G}),
        (Infer(X, G), {"x": X, "grad": G}),
        (Backward(G), {"grad": G}),
        (OtherLayer(X, G, P), {"x": X, "grad": G, "probe": P}),
        (OtherLayer(X), {"x": X, "grad": None, "probe": None}),
    ],
)
def test_a_change_reaches_every_batch_of_a_call(
    call: Call, batches: dict[str, AnyArray | None]
) -> None:
    changed = call.with_batches(lambda batch: batch + 1.0)
    assert type(call) is type(changed)
    for name, batch in batches.items():
        found = getattr(changed, name)
        assert batch is getattr(call, name), "the call itself stays as it is"
        if batch is None:
            assert found is None
        else:
            assert (batch + 1.0).tolist() == found.tolist()


def test_a_change_reaches_every_batch_of_a_population() -> None:
    changed = Population((X, P)).with_batches(lambda batch: batch + 1.0)
    assert [(X + 1).tolist(), (P + 1).tolist()] == [batch.tolist() for batch in changed.batches]


def test_a_change_of_batches_leaves_all_else_as_it_is() -> None:
    parameters = SetParameters(GAMMA, BETA, in_place=True)
    changed = parameters.with_batches(lambda batch: batch + 1.0)
    assert GAMMA is changed.gamma
    assert BETA is changed.beta
    assert changed.in_place
    again = LookAgain("backward", "dz").with_batches(lambda batch: batch + 1.0)
    assert ("backward", "dz") == (again.call, again.quantity)
