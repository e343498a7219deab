"""What a scenario should give: the oracle as a layer, and the bounds that hold any correct one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from bn_oracle.arrays import Array
from bn_oracle.backward import backward, upstream_rows
from bn_oracle.bounds import statistics as given
from bn_oracle.bounds import training
from bn_oracle.bounds.precision import FLOAT64, PRECISIONS, Precision
from bn_oracle.bounds.training import Algorithm
from bn_oracle.bounds.vanishing import residue
from bn_oracle.conventions import Convention
from bn_oracle.forward import Forward, forward
from bn_oracle.inference import infer, infer_backward
from bn_oracle.population import merge, moments, unbiased_variance
from bn_oracle.running import batch_variance, cumulative_decay, update

from bn_properties.call import Operation
from bn_properties.expectation import Expectation, Expected, Trained, Wider, unchanged
from bn_properties.protocol import (
    AnyArray,
    Gradient,
    Moment,
    Quantity,
    Setup,
    Statistics,
    SubjectError,
)
from bn_properties.scenario import Reply, Scenario, walk

ALGORITHMS: tuple[Algorithm, ...] = ("stable", "one-pass")

Bounds = dict[Algorithm, Array]


def expected(scenario: Scenario, convention: Convention) -> tuple[Expected, ...]:
    """Take the oracle through `scenario`, call by call.

    Arithmetic is taken to be that of each input's dtype; the bounds hold the oracle's own
    rounding (float64) too.
    """
    layer = OracleLayer(convention, scenario.setup)

    def ask(operation: Operation) -> Reply[Expectation]:
        try:
            return Reply(operation.run(layer, operation.arrays))
        except SubjectError as error:
            return Reply(error=error)

    def check(operation: Operation, quantity: Quantity, value: Expectation) -> Expectation:
        return value

    return tuple(Expected(response) for response in walk(scenario, ask, check))


class OracleLayer:
    """The oracle behind the protocol: what it gives are expectations."""

    def __init__(self, convention: Convention, setup: Setup) -> None:
        """Make a layer with the convention's defaults where `setup` leaves them open."""
        features = setup.features
        zero = np.zeros(features)
        self._convention, self._cumulative = convention, setup.cumulative
        self._gamma = _or(setup.gamma, np.ones(features))
        self._beta = _or(setup.beta, np.zeros(features))
        self._eps = convention.eps if setup.eps is None else setup.eps
        self._decay = convention.decay(convention.momentum) if setup.decay is None else setup.decay
        self._mean = _or(setup.running_mean, np.full(features, convention.initial_mean))
        self._var = _or(setup.running_var, np.full(features, convention.initial_var))
        self._mean_error: Bounds = dict.fromkeys(ALGORITHMS, zero)
        self._var_error: Bounds = dict.fromkeys(ALGORITHMS, zero)
        self._batches = self._largest_batch = 0
        self._refused: SubjectError | None = None
        self._trained: Trained | None = None
        self._inferred: AnyArray | None = None
        self._latest: Gradient[Expectation] | None = None
        self._reading = FLOAT64, 0.0
        self._first: dict[tuple[Moment, Quantity], Expectation] = {}

    def train(self, x: AnyArray) -> Expectation:
        """Return the training output; the running statistics move."""
        record, shift = forward(x, self._gamma, self._beta, self._eps), self._mean
        precision = PRECISIONS[x.dtype.name]
        own = training.forward(record, FLOAT64, "stable")
        theirs = {
            algorithm: own
            if algorithm == "stable" and precision == FLOAT64  # the oracle's own arithmetic
            else training.forward(record, precision, algorithm, shift)
            for algorithm in ALGORITHMS
        }
        self._trained = Trained(record, precision, own, theirs, shift)
        self._reading = precision, 0.0
        self._move_statistics(self._trained)
        bounds = {algorithm: theirs[algorithm].out + own.out for algorithm in ALGORITHMS}
        wider = Wider(record, precision, shift=self._trained.shift)
        out = _expectation(record.out, bounds, precision, self._trained, wider.out)
        return self._noted("train", "out", out)

    def _move_statistics(self, trained: Trained) -> None:
        record, own, precision = trained.record, trained.own, trained.precision
        if record.batch_size == 1 and self._convention.single_value == "refuses":
            text = "the convention defines no running statistics for a single value"
            self._refused = SubjectError("not_implemented", text)
            return
        self._refused = None
        if self._cumulative:
            self._decay = cumulative_decay(self._batches)
        old_mean, old_var, decay = self._mean, self._var, self._decay
        self._batches += 1
        self._largest_batch = max(self._largest_batch, record.batch_size)
        self._mean, self._var = update(old_mean, old_var, record, decay, self._convention)
        batch_var = batch_variance(record, self._convention)
        factor = batch_var / np.where(record.var > 0, record.var, 1.0)
        factor = np.where(record.var > 0, factor, record.batch_size)
        for algorithm, theirs in trained.theirs.items():
            mean_error, var_error = self._mean_error[algorithm], self._var_error[algorithm]
            self._mean_error[algorithm] = given.running(
                old_mean, mean_error, record.mean, theirs.mean + own.mean, decay, precision
            )
            kept = given.recovered(record.var, self._eps, precision)
            room = factor * (theirs.var + own.var + kept)
            self._var_error[algorithm] = given.running(
                old_var, var_error, batch_var, room, decay, precision
            )

    def backward(self, grad: AnyArray) -> Gradient[Expectation]:
        """Return the gradients of the latest training forward."""
        trained = self._trained
        assert trained is not None, "a scenario trains before it asks for a gradient"
        record, precision = trained.record, trained.precision
        gradient, rows = backward(record, grad), upstream_rows(record, grad)
        own = training.backward(record, rows, trained.own, FLOAT64)
        theirs = {
            algorithm: own
            if algorithm == "stable" and precision == FLOAT64
            else training.backward(record, rows, trained.theirs[algorithm], precision)
            for algorithm in ALGORITHMS
        }
        wider = Wider(record, precision, rows, trained.shift)
        vanishing = residue(record, rows, trained.theirs["stable"].mean, precision)
        wrong = theirs["one-pass"]
        theirs["one-pass"] = replace(wrong, dz=wrong.dz + vanishing)

        def bounded(quantity: Quantity) -> Expectation:
            bounds = {
                algorithm: np.asarray(getattr(each, quantity) + getattr(own, quantity))
                for algorithm, each in theirs.items()
            }
            value = getattr(gradient, quantity)
            each = _expectation(value, bounds, precision, trained, wider.gradient(quantity))
            return self._noted("backward", quantity, each)

        self._latest = Gradient(bounded("dz"), bounded("dgamma"), bounded("dbeta"))
        return self._latest

    def infer(self, x: AnyArray) -> Expectation:
        """Return the inference output."""
        precision = PRECISIONS[x.dtype.name]
        self._inferred, self._refused = x, None
        # Stored statistics come back as they were stored, or rounded once to the dtype.
        self._reading = precision, precision.unit_roundoff
        z = np.asarray(x, np.float64)
        of = (z, self._gamma, self._beta, self._mean, self._var, self._eps)
        own = given.inference(*of, FLOAT64)
        bounds = {
            algorithm: own
            + given.inference(
                *of,
                precision,
                mean_error=self._mean_error[algorithm],
                var_error=self._var_error[algorithm],
            )
            for algorithm in ALGORITHMS
        }
        return self._noted("infer", "out", _expectation(infer(*of), bounds, precision))

    def infer_backward(self, grad: AnyArray) -> Gradient[Expectation]:
        """Return the gradients of the latest inference, with the statistics held fixed."""
        assert self._inferred is not None, "a scenario infers before it asks for that gradient"
        precision = PRECISIONS[self._inferred.dtype.name]
        z, g = np.asarray(self._inferred, np.float64), np.asarray(grad, np.float64)
        gradient = infer_backward(z, self._gamma, self._mean, self._var, self._eps, g)
        of = (z, g, self._gamma, self._mean, self._var, self._eps)
        own = given.inference_gradients(*of, FLOAT64)
        theirs = {
            algorithm: given.inference_gradients(
                *of,
                precision,
                mean_error=self._mean_error[algorithm],
                var_error=self._var_error[algorithm],
            )
            for algorithm in ALGORITHMS
        }
        dz, dgamma, dbeta = (
            _expectation(
                value,
                {algorithm: each[place] + own[place] for algorithm, each in theirs.items()},
                precision,
            )
            for place, value in enumerate((gradient.dz, gradient.dgamma, gradient.dbeta))
        )
        return Gradient(dz, dgamma, dbeta)

    def statistics(self) -> Statistics[Expectation]:
        """Return the running statistics as they stand after the latest forward."""
        if self._refused is not None:
            return Statistics(self._refused, self._refused)
        precision, rounding = self._reading
        # Statistics of normalised values are of the order of one, whatever the batches' are. They
        # are a weighted mean over the batches so far, so the largest batch's rounding bounds
        # theirs, whichever call they are read after; the start, a given number, has none.
        size = self._largest_batch
        unit = (size + 4) * precision.unit_roundoff if size else 0.0

        def bounded(value: Array, errors: Bounds) -> Expectation:
            bounds = {name: error + rounding * np.abs(value) for name, error in errors.items()}
            each = _expectation(value, bounds, precision, None, lambda bound: bound + unit)
            return replace(each, largest_batch=size)

        return Statistics(
            bounded(self._mean, self._mean_error), bounded(self._var, self._var_error)
        )

    def population(self, batches: tuple[AnyArray, ...]) -> Statistics[Expectation]:
        """Return the population's mean, and its variance where the batches have one size.

        Batches of different sizes leave the variance open: each batch's B/(B−1)·σ_B² is unbiased,
        and so is every weighted mean of them.
        """
        precision = PRECISIONS[batches[0].dtype.name]
        features = batches[0].shape[1]
        records = [forward(batch, np.ones(features), np.zeros(features), 1.0) for batch in batches]
        own = _population_bounds(records, FLOAT64, "stable")
        theirs = {name: _population_bounds(records, precision, name) for name in ALGORITHMS}
        mean, var = (
            {name: each[place] + own[place] for name, each in theirs.items()} for place in (0, 1)
        )
        found = merge(*(moments(batch) for batch in batches)).mean
        sizes = {record.batch_size for record in records}
        if len(sizes) > 1 or min(sizes) == 1:
            text = "batches of different sizes, or of one value, leave the variance open"
            return Statistics(
                _expectation(found, mean, precision), SubjectError("not_implemented", text)
            )
        variance = unbiased_variance(np.stack([record.var for record in records]), min(sizes))
        return Statistics(
            _expectation(found, mean, precision), _expectation(variance, var, precision)
        )

    def look_again(self, call: Moment, quantity: Quantity) -> Expectation:
        """Return what the first call of a kind gave."""
        return self._first[call, quantity]

    def other_layer(
        self,
        x: AnyArray,
        grad: AnyArray | None,
        probe: AnyArray | None,
        gamma: AnyArray | None = None,
        beta: AnyArray | None = None,
    ) -> None:
        """Do nothing: layers share nothing."""

    def descend(self) -> Statistics[Expectation]:
        """Return the latest gradients of γ and β, which are subtracted from them.

        What is subtracted is seen as a difference: γ − dγ rounds, and what it is compared with.
        """
        assert self._latest is not None, "a scenario differentiates before it descends"
        old = self._gamma, self._beta
        moved = []
        for value, each in zip(old, (self._latest.dgamma, self._latest.dbeta), strict=True):
            assert isinstance(each, Expectation)
            size = 2 * (np.abs(value) + np.abs(each.value))
            room = each.precision.roundings(2) * size
            moved.append(replace(each, stable=each.stable + room, one_pass=each.one_pass + room))
        self._gamma, self._beta = (
            value - each.value for value, each in zip(old, moved, strict=True)
        )
        return Statistics(moved[0], moved[1])

    def add_up(self, steps: tuple[tuple[AnyArray, AnyArray], ...]) -> Statistics[Expectation]:
        """Return the sums of the steps' gradients of γ and β."""
        sums: tuple[Expectation, ...] = ()
        for x, grad in steps:
            self.train(x)
            found = self.backward(grad)
            each = found.dgamma, found.dbeta
            assert not any(isinstance(one, SubjectError) for one in each)
            sums = tuple(map(_sum, sums, each)) if sums else each  # type: ignore[arg-type,assignment]
        return Statistics(*sums)

    def reload(self, *, copied: bool = False) -> None:
        """Do nothing: the other layer is as this one."""

    def set_momentum(self, decay: float) -> None:
        """Set another weight of the old average."""
        self._decay = decay

    def set_parameters(self, gamma: AnyArray, beta: AnyArray, *, in_place: bool) -> None:
        """Set other parameters."""
        self._gamma, self._beta = _or(gamma, self._gamma), _or(beta, self._beta)

    def edited(self) -> frozenset[str]:
        """Return nothing: the oracle copies what it is given."""
        return frozenset()

    def _noted(self, call: Moment, quantity: Quantity, each: Expectation) -> Expectation:
        """Keep the first of its kind, to be looked at again."""
        self._first.setdefault((call, quantity), replace(each, trained=None, generously=unchanged))
        return each


def _expectation(
    value: Array,
    bounds: Bounds,
    precision: Precision,
    trained: Trained | None = None,
    generously: Callable[[Array], Array] = unchanged,
) -> Expectation:
    return Expectation(value, bounds["stable"], bounds["one-pass"], precision, trained, generously)


def _sum(one: Expectation, other: Expectation) -> Expectation:
    """Return what the sum of two results should be: their bounds add up, and the sum rounds."""
    value, precision = one.value + other.value, other.precision
    room = precision.roundings(2) * (np.abs(one.value) + np.abs(other.value))
    stable, one_pass = one.stable + other.stable + room, one.one_pass + other.one_pass + room
    return Expectation(value, stable, one_pass, precision)


def _or(value: AnyArray | None, default: Array) -> Array:
    return default if value is None else np.asarray(value, np.float64).reshape(-1)


def _population_bounds(
    records: list[Forward], precision: Precision, algorithm: Algorithm
) -> tuple[Array, Array]:
    """Bound the population's mean and variance, (C,) each."""
    each = [training.forward(record, precision, algorithm) for record in records]
    return given.population(
        np.array([record.batch_size for record in records]),
        np.stack([np.abs(record.rows).max(axis=0) for record in records]),
        np.stack([record.var for record in records]),
        np.stack([bounds.mean for bounds in each]),
        np.stack([bounds.var for bounds in each]),
        precision,
    )
