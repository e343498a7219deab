"""A failing case written down: every call in order, with what came back and what should have."""

from __future__ import annotations

from typing import Any

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.conventions import Convention

from bn_properties.call import Told
from bn_properties.checking import Failing, Judgement
from bn_properties.expectation import Expected
from bn_properties.property import Check
from bn_properties.protocol import STATISTICS, AnyArray, Quantity, SubjectError
from bn_properties.record_types import ArrayRecord
from bn_properties.records import Call, Comparison, Counterexample
from bn_properties.scenario import Response, Scenario
from bn_properties.transcript import Oracle, Transcript


def write(failing: Failing, seed: int, transcript: Transcript, oracle: Oracle) -> Counterexample:
    """Return the record of `failing`."""
    calls: list[Call] = []
    for scenario in {asked.key: asked for asked in failing.asked}.values():
        calls.append(_construct(scenario, oracle.convention))
        responses = zip(scenario.calls, transcript(scenario), oracle(scenario), strict=True)
        for call, got, want in responses:
            calls += [_call(told, got, want) for told in call.told()]
    comparison = None
    if failing.check is not None and failing.judgement is not None:
        comparison = _comparison(failing.check, failing.judgement)
    return Counterexample(
        seed=seed,
        case=failing.case.index,
        regime=failing.case.regime,
        calls=tuple(calls),
        comparison=comparison,
    )


def _construct(scenario: Scenario, convention: Convention) -> Call:
    setup = scenario.setup
    inputs: dict[str, Any] = {"features": setup.features}
    if setup.eps is not None:
        inputs["eps"] = setup.eps
    if setup.decay is not None:
        inputs["momentum"] = convention.momentum_for(setup.decay)
    if setup.cumulative:
        inputs["momentum"] = None
    for name in ("gamma", "beta", "running_mean", "running_var"):
        value = getattr(setup, name)
        if value is not None:
            inputs[name] = ArrayRecord.of(value)
    return Call(call="construct", inputs=inputs, got={}, expected={}, bound={}, intermediates={})


def _call(told: Told, got: Response[AnyArray], want: Expected) -> Call:
    shown: dict[str, ArrayRecord] = {}
    error = got.error.message if got.error is not None else None
    for quantity in told.gives:
        value = got.values.get(quantity)
        if isinstance(value, SubjectError):
            if quantity not in STATISTICS:
                error = value.message
        elif value is not None:
            shown[quantity] = ArrayRecord.of(value)
    record = want.record
    intermediates: dict[str, Array] = {}
    if told.intermediates and record is not None:
        intermediates = {"mean": record.mean, "var": record.var, "s": record.std, "u": record.u}
    bounds = {quantity: want.bound(quantity) for quantity in want.values}
    return Call(
        call=told.name,
        inputs={name: ArrayRecord.of(array) for name, array in told.inputs.items()},
        got=shown,
        expected=_records(want.values, told.gives),
        bound=_records(bounds, told.gives),
        intermediates={name: ArrayRecord.of(array) for name, array in intermediates.items()},
        error=error,
    )


def _records(arrays: dict[Quantity, Array], names: tuple[Quantity, ...]) -> dict[str, ArrayRecord]:
    return {name: ArrayRecord.of(np.asarray(arrays[name])) for name in names if name in arrays}


def _comparison(check: Check, judgement: Judgement) -> Comparison:
    expected = np.asarray(check.expected, np.float64)
    bound = None
    if check.bound is not None:
        bound = ArrayRecord.of(np.array(np.broadcast_to(check.bound, expected.shape), np.float64))
    return Comparison(
        quantity=check.quantity,
        got=ArrayRecord.of(np.asarray(check.got)),
        expected=ArrayRecord.of(expected),
        bound=bound,
        worst_index=judgement.index,
        absolute_error=judgement.absolute,
        relative_error=judgement.relative,
        error_over_bound=judgement.ratio,
    )
