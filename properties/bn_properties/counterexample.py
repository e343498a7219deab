"""A failing case written down: every call in order, with what came back and what should have."""

from __future__ import annotations

from typing import Any

import numpy as np
from bn_oracle.arrays import Array

from bn_properties.checking import ExpectedResponses, Failing, Judgement, Transcript
from bn_properties.expected import Expected
from bn_properties.property import Check
from bn_properties.protocol import AnyArray, SubjectError
from bn_properties.records import ArrayRecord, Call, Comparison, Counterexample
from bn_properties.scenario import (
    SYMBOLS,
    Backward,
    Infer,
    LookAgain,
    OtherLayer,
    Population,
    Quantity,
    Response,
    Scenario,
    SetParameters,
    Step,
    Train,
)

_FORWARD: tuple[Quantity, ...] = ("out", "running_mean", "running_var")
_BACKWARD: tuple[Quantity, ...] = ("dz", "dgamma", "dbeta")
_POPULATION: tuple[Quantity, ...] = ("population_mean", "population_var")


def write(
    failing: Failing, seed: int, seen: Transcript, answers: ExpectedResponses
) -> Counterexample:
    """Return the record of `failing`."""
    calls: list[Call] = []
    for scenario in {asked.key: asked for asked in failing.asked}.values():
        calls.append(_construct(scenario, answers))
        shown = seen(scenario)
        for step, got, want in zip(scenario.steps, shown, answers(scenario), strict=True):
            calls += _calls(step, got, want)
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


def _calls(step: Step, got: Response, want: Expected) -> list[Call]:
    """Return the calls of one step: what went in, and which quantities came out."""
    asked: list[tuple[str, dict[str, AnyArray], tuple[Quantity, ...]]]
    match step:
        case Train(x, grad):
            asked = [("train", {"z": x}, _FORWARD)]
            if grad is not None:
                asked.append(("backward", {"G": grad}, _BACKWARD))
        case Infer(x, grad):
            asked = [("infer", {"z": x}, _FORWARD)]
            if grad is not None:
                asked.append(("backward in inference mode", {"G": grad}, _BACKWARD))
        case Backward(grad):
            asked = [("backward", {"G": grad}, _BACKWARD)]
        case OtherLayer(x, grad, probe):
            asked = [("train another layer", {"z": x}, ())]
            if grad is not None:
                asked.append(("backward with that layer", {"G": grad}, ()))
            if probe is not None:
                asked.append(("infer with that layer", {"z": probe}, ()))
        case SetParameters(gamma, beta, in_place):
            how = "write other parameters in place" if in_place else "set other parameters"
            asked = [(how, {"gamma": gamma, "beta": beta}, ())]
        case Population(batches):
            named = {f"batch {number}": batch for number, batch in enumerate(batches, 1)}
            asked = [("population statistics", named, _POPULATION)]
        case LookAgain():
            asked = [(f"look again at {SYMBOLS[step.quantity]}", {}, (step.quantity,))]
    return [_call(name, inputs, quantities, got, want) for name, inputs, quantities in asked]


def _construct(scenario: Scenario, answers: ExpectedResponses) -> Call:
    setup = scenario.setup
    inputs: dict[str, Any] = {"features": setup.features}
    if setup.eps is not None:
        inputs["eps"] = setup.eps
    if setup.decay is not None:
        inputs["momentum"] = answers.convention.momentum_for(setup.decay)
    if setup.cumulative:
        inputs["momentum"] = None
    for name in ("gamma", "beta", "running_mean", "running_var"):
        value = getattr(setup, name)
        if value is not None:
            inputs[name] = ArrayRecord.of(value)
    return Call(call="construct", inputs=inputs, got={}, expected={}, bound={}, intermediates={})


def _call(
    name: str,
    inputs: dict[str, Any],
    quantities: tuple[Quantity, ...],
    got: Response,
    want: Expected,
) -> Call:
    shown: dict[str, ArrayRecord] = {}
    error = got.error.message if got.error is not None else None
    for quantity in quantities:
        value = got.answers.get(quantity)
        if isinstance(value, SubjectError):
            if quantity not in ("running_mean", "running_var"):
                error = value.message
        elif value is not None:
            shown[quantity] = ArrayRecord.of(value)
    record = want.record
    intermediates: dict[str, Array] = {}
    if name == "train" and record is not None:
        intermediates = {"mean": record.mean, "var": record.var, "s": record.std, "u": record.u}
    return Call(
        call=name,
        inputs={key: ArrayRecord.of(value) for key, value in inputs.items()},
        got=shown,
        expected=_records(want.expected, quantities),
        bound=_records(want.one_pass, quantities),
        intermediates={key: ArrayRecord.of(value) for key, value in intermediates.items()},
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
