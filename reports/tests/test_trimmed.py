"""What stays of a counterexample when all that distracts from its mistake is gone."""

from __future__ import annotations

from typing import Any

import numpy as np
from bn_properties.record_types import ArrayRecord
from bn_properties.records import Call, Comparison, Counterexample
from bn_reports.views.trimmed import is_wrong, located, trimmed

RIGHT, WRONG = 1.0, 2.0
"""All is expected to be 1."""


def record(*values: float) -> ArrayRecord:
    return ArrayRecord.of(np.array(values, np.float64))


def call(name: str, bound: float = 0.5, error: str | None = None, **got: float) -> Call:
    means = {"mean": record(0.0)} if name == "train" else {}
    return Call(
        call=name,
        inputs={"z": record(3.0)},
        got={quantity: record(value) for quantity, value in got.items()},
        expected={quantity: record(RIGHT) for quantity in got},
        bound={quantity: record(bound) for quantity in got},
        intermediates=means,
        error=error,
    )


def example(*calls: Call, comparison: Comparison | None = None) -> Counterexample:
    return Counterexample(seed=0, case=1, regime="plain", calls=calls, comparison=comparison)


def comparison(quantity: str, got: float, bound: float | None = 0.5) -> Comparison:
    return Comparison(
        quantity=quantity,
        got=record(got),
        expected=record(RIGHT),
        bound=None if bound is None else record(bound),
        worst_index=(0,),
        absolute_error=1.0,
        relative_error=1.0,
        error_over_bound=2.0,
    )


def shape(found: Counterexample) -> list[tuple[str, list[str], bool]]:
    return [(each.call, list(each.got), bool(each.intermediates)) for each in found.calls]


NEW = call("construct")


def test_right_results_and_later_calls_go_and_inputs_stay() -> None:
    train = call("train", out=RIGHT, running_mean=RIGHT)
    back = call("backward", dz=WRONG, dgamma=RIGHT)
    found = trimmed(example(NEW, train, back, call("infer", out=RIGHT)))
    assert [
        ("construct", [], False),
        ("train", [], True),
        ("backward", ["dz"], False),
    ] == shape(found)
    assert ["dz"] == list(found.calls[-1].expected) == list(found.calls[-1].bound)
    assert all(each.inputs for each in found.calls)


def test_layers_on_which_nothing_is_wrong_go() -> None:
    right = (NEW, call("train", out=RIGHT))
    found = trimmed(example(*right, NEW, call("train", out=WRONG), *right))
    assert [("construct", [], False), ("train", ["out"], True)] == shape(found)


def test_a_call_that_raised_is_wrong() -> None:
    found = trimmed(example(NEW, call("train", error="ValueError: no"), call("infer", out=RIGHT)))
    assert ["construct", "train"] == [each.call for each in found.calls]


def test_where_no_call_is_wrong_all_stay_beside_the_comparison() -> None:
    edited = comparison("number of edited arrays", WRONG, bound=None)
    found = trimmed(example(NEW, call("train", out=RIGHT), comparison=edited))
    assert located(found) is None
    assert [("construct", [], False), ("train", [], False)] == shape(found)


def test_a_result_is_judged_by_the_bound_of_the_property_that_fails() -> None:
    calls = NEW, call("train", bound=5.0, out=WRONG), call("backward", dz=RIGHT)
    whole = example(*calls, comparison=comparison("training output", WRONG))
    assert not is_wrong(calls[1], "out")
    assert (1, "out") == located(whole)
    found = trimmed(whole)
    assert [("construct", [], False), ("train", ["out"], True)] == shape(found)
    assert record(0.5) == found.calls[-1].bound["out"]
    exact = comparison("training output", WRONG, bound=None)
    assert {} == trimmed(example(*calls, comparison=exact)).calls[-1].bound


def test_the_result_that_is_named_is_taken_before_one_that_looks_like_it() -> None:
    calls = NEW, call("train", out=WRONG, running_var=WRONG), call("infer", out=WRONG)
    named = comparison("running_var after step 1", WRONG)
    assert (1, "running_var") == located(example(*calls, comparison=named))
    found = trimmed(example(*calls, comparison=named))
    assert [("construct", [], False), ("train", ["out", "running_var"], True)] == shape(found)


def test_another_shape_is_wrong() -> None:
    fields: dict[str, Any] = {"got": {"out": record(1.0, 1.0)}}
    assert is_wrong(call("train", out=RIGHT).model_copy(update=fields), "out")
    assert not is_wrong(call("train", out=RIGHT), "dz")


def test_trimming_twice_is_trimming_once() -> None:
    calls = NEW, call("train", out=RIGHT), call("backward", dz=WRONG), call("infer", out=RIGHT)
    once = trimmed(example(*calls, comparison=comparison("dz", WRONG)))
    assert once == trimmed(once)
