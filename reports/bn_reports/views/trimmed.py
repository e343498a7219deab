"""A counterexample without what distracts from its mistake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from bn_properties.record_types import ArrayRecord
from bn_properties.records import Call, Comparison, Counterexample

from bn_reports.views.arrays import wrong_cells

_CONSTRUCT = "construct"
"""With it, a layer of its own begins."""


def trimmed(example: Counterexample) -> Counterexample:
    """Return `example` with no more than it takes to see what is wrong, in the same form.

    - The comparison is looked for among the results (`located`). Where it stands in one, that
      result is judged as the property judges it, by the comparison's expected values and bound;
      its layer alone stays, up to that call.
    - Otherwise the layers stay in which a call is wrong, each up to its last wrong call, and of
      their wrong results those that the comparison names, if it names any. If no call is wrong,
      all stay: then the comparison, which no call shows, is to be shown beside them.
    - Of the calls that stay, every input stays, the error, and the results that are wrong
      (`is_wrong`), each with what was got, expected and allowed. Results that are right go.
    - The oracle's intermediates stay in calls that are wrong and, where the first of them in a
      layer has none, in the latest call before it: they are what its gradients are made of.
    """
    place = located(example)
    calls = list(example.calls)
    if place is not None and example.comparison is not None:
        number, quantity = place
        calls[number] = _judged(calls[number], quantity, example.comparison)
        layers = [list(_layers(calls[: number + 1]))[-1]]
    else:
        layers = [_up_to_wrong(each) for each in _layers(calls)]
        if not any(layers):
            layers = list(_layers(calls))
    said = {name for name in _wrong_names(calls) if name in _quantity(example)}
    about = said if place is None and said else None
    kept = [bare for layer in layers for bare in _bare(layer, about)]
    return example.model_copy(update={"calls": tuple(kept)})


def located(example: Counterexample) -> tuple[int, str] | None:
    """Return the call, by its index, and the result in it that the comparison is about.

    The first that holds the same values and should hold the same; one that the comparison names
    goes before. None where it is about something that no call gave as it is (a sum, a number of
    edited arrays), or there is no comparison.
    """
    comparison = example.comparison
    if comparison is None or comparison.got is None:
        return None
    found = [
        (number, quantity)
        for number, call in enumerate(example.calls)
        for quantity, got in call.got.items()
        if quantity in call.expected
        and _same(got, comparison.got)
        and _near(call.expected[quantity], comparison.expected)
    ]
    said = [place for place in found if place[1] in comparison.quantity]
    return next(iter(said or found), None)


def is_wrong(call: Call, quantity: str) -> bool:
    """Whether a result has another shape than expected, or a value beyond its bound."""
    got, expected = call.got.get(quantity), call.expected.get(quantity)
    if got is None or expected is None:
        return False
    if got.shape != expected.shape:
        return True
    bound = call.bound.get(quantity)
    allowed = 0.0 if bound is None else bound.array().astype(np.float64)
    return bool(wrong_cells(got.array(), expected.array(), allowed).any())


def _wrong(call: Call) -> bool:
    return call.error is not None or any(is_wrong(call, quantity) for quantity in call.got)


def _wrong_names(calls: Sequence[Call]) -> set[str]:
    return {name for call in calls for name in call.got if is_wrong(call, name)}


def _quantity(example: Counterexample) -> str:
    return example.comparison.quantity if example.comparison else ""


def _layers(calls: Sequence[Call]) -> Iterator[list[Call]]:
    """Split calls into those of one layer each."""
    layer: list[Call] = []
    for call in calls:
        if call.call == _CONSTRUCT and layer:
            yield layer
            layer = []
        layer.append(call)
    yield layer


def _up_to_wrong(layer: Sequence[Call]) -> list[Call]:
    wrong = [number for number, call in enumerate(layer) if _wrong(call)]
    return list(layer[: wrong[-1] + 1]) if wrong else []


def _bare(layer: Sequence[Call], about: set[str] | None) -> Iterator[Call]:
    """Drop the right results, and the intermediates that explain no wrong one."""
    wrong = [number for number, call in enumerate(layer) if _wrong(call)]
    explaining = set(wrong)
    if wrong and not layer[wrong[0]].intermediates:
        before = [n for n in range(wrong[0]) if layer[n].intermediates]
        explaining.update(before[-1:])
    for number, call in enumerate(layer):
        names = [
            name for name in call.got if is_wrong(call, name) and (about is None or name in about)
        ]
        yield call.model_copy(
            update={
                "got": {name: call.got[name] for name in names},
                "expected": {name: call.expected[name] for name in names},
                "bound": {name: call.bound[name] for name in names if name in call.bound},
                "intermediates": call.intermediates if number in explaining else {},
            }
        )


def _judged(call: Call, quantity: str, comparison: Comparison) -> Call:
    """Return `call` with a result measured as the comparison measures it."""
    bounds = {name: bound for name, bound in call.bound.items() if name != quantity}
    if comparison.bound is not None:
        bounds[quantity] = comparison.bound
    expected = {**call.expected, quantity: comparison.expected}
    return call.model_copy(update={"bound": bounds, "expected": expected})


def _same(first: ArrayRecord, second: ArrayRecord) -> bool:
    """Whether two arrays are the same; NaN is the same as NaN."""
    if first.shape != second.shape:
        return False
    return bool(np.array_equal(first.array(), second.array(), equal_nan=True))


def _near(first: ArrayRecord, second: ArrayRecord) -> bool:
    if first.shape != second.shape:
        return False
    values = first.array().astype(np.float64), second.array().astype(np.float64)
    return bool(np.allclose(*values, rtol=1e-6, atol=0.0, equal_nan=True))
