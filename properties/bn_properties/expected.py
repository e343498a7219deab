"""The oracle's answers to a scenario, with the bounds within which any correct one must lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.backward import backward, upstream_rows
from bn_oracle.bounds import statistics, training
from bn_oracle.bounds.precision import FLOAT64, PRECISIONS, Precision
from bn_oracle.bounds.training import Algorithm
from bn_oracle.conventions import Convention
from bn_oracle.forward import Forward, forward
from bn_oracle.inference import infer, infer_backward
from bn_oracle.population import merge, moments, unbiased_variance
from bn_oracle.running import batch_variance, cumulative_decay, update

from bn_properties.protocol import AnyArray
from bn_properties.scenario import (
    Backward,
    Infer,
    LookAgain,
    OtherLayer,
    Population,
    Quantity,
    Scenario,
    SetParameters,
    Train,
)

_GRADIENTS: tuple[Quantity, ...] = ("dz", "dgamma", "dbeta")


@dataclass(frozen=True, eq=False)
class Expected:
    """What one step should give, and by how much a correct implementation may miss it.

    A bound is infinite where rounding could explain anything, so that nothing may be judged.
    """

    expected: dict[Quantity, Array]
    stable: dict[Quantity, Array]
    """Bounds for an implementation that centres before it squares."""
    one_pass: dict[Quantity, Array]
    """Bounds that E[z²] − E[z]² stays within as well: past these, rounding explains nothing."""
    record: Forward | None
    """The training-mode forward pass with its intermediates; None for an inference step."""
    grad_rows: Array | None
    precision: Precision
    largest_batch: int = 0
    """The most values a feature of the batches that the running statistics are made of."""

    def bound(self, quantity: Quantity, algorithm: Algorithm = "one-pass") -> Array:
        """Return the bound on one quantity."""
        return (self.stable if algorithm == "stable" else self.one_pass)[quantity]

    @cached_property
    def generous(self) -> dict[Quantity, Array]:
        """The bounds that a mistake may need: as if γ and β were larger by one, and ε away.

        A mistake may leave γ or ε out, and then rounds as if there were none, however small or
        large they are. Only the diagnosis uses these: no verdict does.
        """
        bounds: dict[Quantity, Array] = dict(self.one_pass)
        # Statistics of normalised values are of the order of one, whatever the batches' are. They
        # are a weighted mean over the batches so far, so the largest batch's rounding bounds
        # theirs, whichever step they are read after; the start, a given number, has none.
        unit = (self.largest_batch + 4) * self.precision.unit_roundoff if self.largest_batch else 0
        for quantity in ("running_mean", "running_var"):
            if quantity in bounds:
                bounds[quantity] = bounds[quantity] + unit
        if self.record is None:
            return bounds
        record = replace(
            self.record, gamma=np.abs(self.record.gamma) + 1, beta=np.abs(self.record.beta) + 1
        )
        # Without ε, s is √σ²: much smaller where ε is large beside the variance.
        bare = np.where(record.var > 0, np.sqrt(record.var), record.std)
        without = replace(record, eps=0.0, std=bare, u=record.centred / bare)
        for each in (record, without) if record.var.all() else (record,):
            found = training.forward(each, self.precision, "one-pass")
            if "out" in bounds:
                bounds["out"] = np.maximum(bounds["out"], found.out)
            if self.grad_rows is not None:
                own = training.backward(each, self.grad_rows, found, self.precision)
                bounds["dz"] = np.maximum(bounds["dz"], own.dz)
                bounds["dgamma"] = np.maximum(bounds["dgamma"], own.dgamma)
                bounds["dbeta"] = np.maximum(bounds["dbeta"], own.dbeta)
        return bounds


@dataclass
class _State:
    """The oracle's layer on its way through a scenario."""

    mean: Array
    var: Array
    errors: dict[Algorithm, tuple[Array, Array]]
    batches: int = 0
    """How many training batches the statistics have seen."""
    largest_batch: int = 0


def answer(scenario: Scenario, convention: Convention) -> tuple[Expected, ...]:
    """Take the oracle through `scenario`, step by step.

    Arithmetic is taken to be that of each input's dtype; the bounds hold the oracle's own
    rounding (float64) too.
    """
    setup = scenario.setup
    features = setup.features
    gamma = _or(setup.gamma, np.ones(features))
    beta = _or(setup.beta, np.zeros(features))
    eps = convention.eps if setup.eps is None else setup.eps
    decay = convention.decay(convention.momentum) if setup.decay is None else setup.decay
    zero = np.zeros(features)
    state = _State(
        _or(setup.running_mean, np.full(features, convention.initial_mean)),
        _or(setup.running_var, np.full(features, convention.initial_var)),
        {"stable": (zero, zero), "one-pass": (zero, zero)},
    )
    answers: list[Expected] = []
    first: dict[str, Expected] = {}
    latest: Expected | None = None
    for step in scenario.steps:
        if isinstance(step, Train):
            record = forward(step.x, gamma, beta, eps)
            precision = PRECISIONS[step.x.dtype.name]
            if setup.cumulative:
                decay = cumulative_decay(state.batches)
            latest = _train(record, step.grad, state, decay, convention, precision)
            answers.append(latest)
            first.setdefault("train", latest)
            if step.grad is not None:
                first.setdefault("backward", latest)
        elif isinstance(step, Infer):
            answers.append(_infer(step, gamma, beta, eps, state))
            first.setdefault("infer", answers[-1])
        elif isinstance(step, Population):
            answers.append(_population(step))
        elif isinstance(step, OtherLayer | SetParameters):
            if isinstance(step, SetParameters):
                gamma, beta = _or(step.gamma, gamma), _or(step.beta, beta)
            answers.append(Expected({}, {}, {}, None, None, PRECISIONS["float64"]))
        elif isinstance(step, LookAgain):
            call = "backward" if step.what in ("dgamma", "dbeta") else step.what
            answers.append(_again(first[call], step.quantity))
        else:
            assert latest is not None, "a scenario trains before it asks for a gradient"
            answers.append(_backward(latest, step))
            first.setdefault("backward", answers[-1])
    return tuple(answers)


def _again(first: Expected, name: Quantity) -> Expected:
    """Expected for what an earlier call gave."""
    expected, stable, one_pass = (
        {name: each[name]} for each in (first.expected, first.stable, first.one_pass)
    )
    return Expected(expected, stable, one_pass, None, None, first.precision)


def _backward(latest: Expected, step: Backward) -> Expected:
    """Expected for a backward pass of the latest training-mode forward."""
    record = latest.record
    assert record is not None
    gradient = backward(record, step.grad)
    rows = upstream_rows(record, step.grad)
    own = training.backward(record, rows, training.forward(record, FLOAT64, "stable"), FLOAT64)
    bounds: dict[Algorithm, dict[Quantity, Array]] = {"stable": {}, "one-pass": {}}
    for algorithm, into in bounds.items():
        if algorithm == "stable" and latest.precision == FLOAT64:
            found = own  # the same arithmetic
        else:
            theirs = training.forward(record, latest.precision, algorithm)
            found = training.backward(record, rows, theirs, latest.precision)
        into["dz"] = _both(found.dz, own.dz)
        into["dgamma"] = _both(found.dgamma, own.dgamma)
        into["dbeta"] = _both(found.dbeta, own.dbeta)
    expected: dict[Quantity, Array] = {
        "dz": gradient.dz,
        "dgamma": gradient.dgamma,
        "dbeta": gradient.dbeta,
    }
    return Expected(expected, bounds["stable"], bounds["one-pass"], record, rows, latest.precision)


def _or(value: AnyArray | None, default: Array) -> Array:
    return default if value is None else np.asarray(value, np.float64).reshape(-1)


def _both(first: Array, second: Array) -> Array:
    """Add the implementation's bound and the oracle's own."""
    return np.asarray(first + second)


def _train(
    record: Forward,
    grad: AnyArray | None,
    state: _State,
    decay: float,
    convention: Convention,
    precision: Precision,
) -> Expected:
    expected: dict[Quantity, Array] = {"out": record.out}
    bounds: dict[Algorithm, dict[Quantity, Array]] = {"stable": {}, "one-pass": {}}
    own = training.forward(record, FLOAT64, "stable")
    if grad is not None:
        gradient = backward(record, grad)
        expected |= {"dz": gradient.dz, "dgamma": gradient.dgamma, "dbeta": gradient.dbeta}
        rows = upstream_rows(record, grad)
        own_gradient = training.backward(record, rows, own, FLOAT64)
    old_mean, old_var = state.mean, state.var
    refuses = record.batch_size == 1 and convention.running_variance == "unbiased"
    if not refuses:
        state.batches += 1
        state.mean, state.var = update(old_mean, old_var, record, decay, convention)
        state.largest_batch = max(state.largest_batch, record.batch_size)
        batch_var = batch_variance(record, convention)
        factor = batch_var / np.where(record.var > 0, record.var, 1.0)
    for algorithm, into in bounds.items():
        same = algorithm == "stable" and precision == FLOAT64  # the oracle's own arithmetic
        theirs = own if same else training.forward(record, precision, algorithm)
        into["out"] = _both(theirs.out, own.out)
        if grad is not None:
            gradients = own_gradient if same else training.backward(record, rows, theirs, precision)
            into["dz"] = _both(gradients.dz, own_gradient.dz)
            into["dgamma"] = _both(gradients.dgamma, own_gradient.dgamma)
            into["dbeta"] = _both(gradients.dbeta, own_gradient.dbeta)
        if not refuses:
            mean_error, var_error = state.errors[algorithm]
            factor = np.where(record.var > 0, factor, record.batch_size)
            state.errors[algorithm] = (
                statistics.running(
                    old_mean, mean_error, record.mean, theirs.mean + own.mean, decay, precision
                ),
                statistics.running(
                    old_var, var_error, batch_var, factor * (theirs.var + own.var), decay, precision
                ),
            )
            into["running_mean"], into["running_var"] = state.errors[algorithm]
    if not refuses:
        expected |= {"running_mean": state.mean, "running_var": state.var}
    return Expected(
        expected,
        bounds["stable"],
        bounds["one-pass"],
        record,
        rows if grad is not None else None,
        precision,
        state.largest_batch,
    )


def _population(step: Population) -> Expected:
    """Expected for the population: its mean, and its variance where the batches have one size.

    Batches of different sizes leave the variance open: each batch's B/(B−1)·σ_B² is unbiased,
    and so is every weighted mean of them.
    """
    precision = PRECISIONS[step.batches[0].dtype.name]
    features = step.batches[0].shape[1]
    records = [forward(batch, np.ones(features), np.zeros(features), 1.0) for batch in step.batches]
    expected: dict[Quantity, Array] = {
        "population_mean": merge(*(moments(batch) for batch in step.batches)).mean
    }
    sizes = {record.batch_size for record in records}
    if len(sizes) == 1 and min(sizes) > 1:
        variances = np.stack([record.var for record in records])
        expected["population_var"] = unbiased_variance(variances, min(sizes))
    own = _population_bounds(records, FLOAT64, "stable")
    bounds: dict[Algorithm, dict[Quantity, Array]] = {"stable": {}, "one-pass": {}}
    for algorithm, into in bounds.items():
        theirs = _population_bounds(records, precision, algorithm)
        into |= {name: _both(theirs[name], own[name]) for name in expected}
    return Expected(expected, bounds["stable"], bounds["one-pass"], None, None, precision)


def _population_bounds(
    records: list[Forward], precision: Precision, algorithm: Algorithm
) -> dict[Quantity, Array]:
    each = [training.forward(record, precision, algorithm) for record in records]
    mean, var = statistics.population(
        np.array([record.batch_size for record in records]),
        np.stack([np.abs(record.rows).max(axis=0) for record in records]),
        np.stack([record.var for record in records]),
        np.stack([bounds.mean for bounds in each]),
        np.stack([bounds.var for bounds in each]),
        precision,
    )
    return {"population_mean": mean, "population_var": var}


def _infer(step: Infer, gamma: Array, beta: Array, eps: float, state: _State) -> Expected:
    z, precision = np.asarray(step.x, np.float64), PRECISIONS[step.x.dtype.name]
    expected: dict[Quantity, Array] = {
        "out": infer(z, gamma, beta, state.mean, state.var, eps),
        "running_mean": state.mean,
        "running_var": state.var,
    }
    arguments = (z, gamma, beta, state.mean, state.var, eps)
    own = statistics.inference(*arguments, FLOAT64)
    bounds: dict[Algorithm, dict[Quantity, Array]] = {}
    for algorithm, (mean_error, var_error) in state.errors.items():
        out = statistics.inference(
            *arguments, precision, mean_error=mean_error, var_error=var_error
        )
        # Stored statistics come back as they were stored, or rounded once to the dtype.
        w = precision.unit_roundoff
        bounds[algorithm] = {
            "out": _both(out, own),
            "running_mean": mean_error + w * np.abs(state.mean),
            "running_var": var_error + w * np.abs(state.var),
        }
    if step.grad is not None:
        grad = np.asarray(step.grad, np.float64)
        gradient = infer_backward(z, gamma, state.mean, state.var, eps, grad)
        expected |= {"dz": gradient.dz, "dgamma": gradient.dgamma, "dbeta": gradient.dbeta}
        of = (z, grad, gamma, state.mean, state.var, eps)
        straight = statistics.inference_gradients(*of, FLOAT64)
        for algorithm, (mean_error, var_error) in state.errors.items():
            theirs = statistics.inference_gradients(
                *of, precision, mean_error=mean_error, var_error=var_error
            )
            for name, bound, rounded in zip(_GRADIENTS, theirs, straight, strict=True):
                bounds[algorithm][name] = _both(bound, rounded)
    stable, one_pass = bounds["stable"], bounds["one-pass"]
    return Expected(expected, stable, one_pass, None, None, precision, state.largest_batch)
