"""Of what the oracle's bounds are made: a right layer's rounding, and the oracle's own.

The bounds themselves are the oracle room's; here it is which of them stands where.
"""

from __future__ import annotations

import numpy as np
import pytest
from bn_oracle.backward import upstream_rows
from bn_oracle.bounds import statistics as given
from bn_oracle.bounds import training
from bn_oracle.bounds.precision import FLOAT64, PRECISIONS
from bn_oracle.bounds.training import Algorithm
from bn_oracle.bounds.vanishing import residue
from bn_oracle.conventions import CMU_HW1P1, TORCH, Convention
from bn_oracle.forward import forward
from bn_properties.expectation import Expectation
from bn_properties.expected import ALGORITHMS, OracleLayer
from bn_properties.protocol import AnyArray, Setup, SubjectError

EPS, DECAY = 0.1, 0.75
GAMMA, BETA = np.array([4.0, 0.5]), np.array([1.0, 3.0])
MEAN, VAR = np.array([10.0, -2.0]), np.array([2.0, 0.3])
SETUP = Setup(2, EPS, DECAY, GAMMA, BETA, MEAN, VAR)
Z = np.array([[1.1, 0.2], [3.3, 0.9], [-2.7, 0.4]])
G = np.array([[1.3, -0.1], [0.7, 2.9], [5.1, 0.3]])

both = pytest.mark.parametrize("dtype", ["float64", "float32"])


def bound(each: Expectation | SubjectError, algorithm: Algorithm) -> AnyArray:
    assert isinstance(each, Expectation)
    return each.stable if algorithm == "stable" else each.one_pass


def layer(convention: Convention = CMU_HW1P1) -> OracleLayer:
    return OracleLayer(convention, SETUP)


@both
def test_training_and_its_gradients(dtype: str) -> None:
    z, g = Z.astype(dtype), G.astype(dtype)
    each = layer()
    out = each.train(z)
    gradient = each.backward(g)
    record = forward(z, GAMMA, BETA, EPS)
    rows = upstream_rows(record, g)
    own = training.forward(record, FLOAT64, "stable")
    back = training.backward(record, rows, own, FLOAT64)
    centring = training.forward(record, PRECISIONS[dtype], "stable").mean
    vanishing = residue(record, rows, centring, PRECISIONS[dtype])
    assert vanishing > 0
    for algorithm in ALGORITHMS:
        theirs = training.forward(record, PRECISIONS[dtype], algorithm, MEAN)
        assert (theirs.out + own.out).tolist() == bound(out, algorithm).tolist()
        of = training.backward(record, rows, theirs, PRECISIONS[dtype])
        for name in ("dz", "dgamma", "dbeta"):
            room = np.asarray(getattr(of, name) + getattr(back, name))
            room = room + vanishing if (name, algorithm) == ("dz", "one-pass") else room
            found = bound(getattr(gradient, name), algorithm)
            np.testing.assert_allclose(found, room, rtol=1e-15, err_msg=name)


@both
@pytest.mark.parametrize(("convention", "factor"), [(CMU_HW1P1, 1.0), (TORCH, 1.5)])
def test_running_statistics_carry_the_batchs_error_over(
    dtype: str, convention: Convention, factor: float
) -> None:
    z, precision = Z.astype(dtype), PRECISIONS[dtype]
    each = layer(convention)
    each.train(z)
    found = each.statistics()
    record = forward(z, GAMMA, BETA, EPS)
    own = training.forward(record, FLOAT64, "stable")
    for algorithm in ALGORITHMS:
        theirs = training.forward(record, precision, algorithm, MEAN)
        mean = given.running(MEAN, 0.0, record.mean, theirs.mean + own.mean, DECAY, precision)  # type: ignore[arg-type]
        kept = given.recovered(record.var, EPS, precision)
        room = factor * (theirs.var + own.var + kept)
        var = given.running(VAR, 0.0, factor * record.var, room, DECAY, precision)  # type: ignore[arg-type]
        np.testing.assert_allclose(bound(found.mean, algorithm), mean, rtol=1e-12)
        np.testing.assert_allclose(bound(found.var, algorithm), var, rtol=1e-12)


def test_a_constant_feature_has_the_room_of_its_unbiased_variance() -> None:
    """σ² is zero, so the factor B/(B−1) cannot be read off; B is more than it."""
    z = np.full((3, 1), 0.1)
    each = OracleLayer(TORCH, Setup(1, EPS, DECAY, running_var=np.array([2.0])))
    each.train(z)
    record = forward(z, np.ones(1), np.zeros(1), EPS)
    assert [0.0] == record.var.tolist()
    own = training.forward(record, FLOAT64, "stable")
    for algorithm in ALGORITHMS:
        theirs = training.forward(record, FLOAT64, algorithm)
        room = 3 * (theirs.var + own.var + given.recovered(record.var, EPS, FLOAT64))
        old, zero = np.array([2.0]), np.zeros(1)
        var = given.running(old, zero, zero, room, DECAY, FLOAT64)
        np.testing.assert_allclose(bound(each.statistics().var, algorithm), var, rtol=1e-12)


@both
def test_inference_has_the_errors_that_the_statistics_bring(dtype: str) -> None:
    z, g, precision = Z.astype(dtype), G.astype(dtype), PRECISIONS[dtype]
    each = layer()
    each.train(z)
    after = each.statistics()
    out, gradient = each.infer(z), each.infer_backward(g)
    assert isinstance(after.mean, Expectation)
    assert isinstance(after.var, Expectation)
    wide, upstream = np.asarray(z, np.float64), np.asarray(g, np.float64)
    mean, var = after.mean.value, after.var.value
    own = given.inference(wide, GAMMA, BETA, mean, var, EPS, FLOAT64)
    back = given.inference_gradients(wide, upstream, GAMMA, mean, var, EPS, FLOAT64)
    for algorithm in ALGORITHMS:
        errors = bound(after.mean, algorithm), bound(after.var, algorithm)
        theirs = given.inference(
            *(wide, GAMMA, BETA, mean, var, EPS, precision),
            mean_error=errors[0],
            var_error=errors[1],
        )
        assert (own + theirs).tolist() == bound(out, algorithm).tolist()
        of = given.inference_gradients(
            *(wide, upstream, GAMMA, mean, var, EPS, precision),
            mean_error=errors[0],
            var_error=errors[1],
        )
        for name, one, other in zip(("dz", "dgamma", "dbeta"), of, back, strict=True):
            found = bound(getattr(gradient, name), algorithm)
            assert (one + other).tolist() == found.tolist(), name


@both
def test_statistics_read_after_an_inference_are_rounded_once_more(dtype: str) -> None:
    each, unit = layer(), PRECISIONS[dtype].unit_roundoff
    each.train(Z)
    before = each.statistics()
    each.infer(Z.astype(dtype))
    after = each.statistics()
    for one, other in ((before.mean, after.mean), (before.var, after.var)):
        assert isinstance(one, Expectation)
        for algorithm in ALGORITHMS:
            room = bound(one, algorithm) + unit * np.abs(one.value)
            assert room.tolist() == bound(other, algorithm).tolist()


def test_a_mistake_in_statistics_may_round_as_the_largest_batch_so_far_does() -> None:
    """Normalised values are of the order of one; the start, a given number, has no rounding."""
    each = layer()
    each.infer(Z)
    _holds_generously(each, None)
    each.train(Z)
    _holds_generously(each, 3)
    each.train(Z[:2])
    _holds_generously(each, 3)
    each.train(np.vstack([Z, Z]))
    _holds_generously(each, 6)


def _holds_generously(each: OracleLayer, size: int | None) -> None:
    found = each.statistics().var
    assert isinstance(found, Expectation)
    unit = 0.0 if size is None else (size + 4) * 2.0**-53
    assert (found.one_pass + unit).tolist() == found.generous.tolist()


@both
def test_the_population_has_its_batches_roundings_and_the_oracles(dtype: str) -> None:
    batches = (Z.astype(dtype), (2 * Z + 1).astype(dtype))
    records = [forward(batch, np.ones(2), np.zeros(2), 1.0) for batch in batches]
    found = layer().population(batches)

    def whole(name: str, algorithm: Algorithm) -> tuple[AnyArray, AnyArray]:
        each = [training.forward(record, PRECISIONS[name], algorithm) for record in records]
        return given.population(
            np.array([3, 3]),
            np.stack([np.abs(record.rows).max(axis=0) for record in records]),
            np.stack([record.var for record in records]),
            np.stack([bounds.mean for bounds in each]),
            np.stack([bounds.var for bounds in each]),
            PRECISIONS[name],
        )

    own = whole("float64", "stable")
    for algorithm in ALGORITHMS:
        theirs = whole(dtype, algorithm)
        assert (own[0] + theirs[0]).tolist() == bound(found.mean, algorithm).tolist()
        assert (own[1] + theirs[1]).tolist() == bound(found.var, algorithm).tolist()


@both
def test_every_expectation_says_for_which_arithmetic_it_holds(dtype: str) -> None:
    z, precision = Z.astype(dtype), PRECISIONS[dtype]
    each = layer()
    found: list[Expectation | SubjectError] = [each.train(z), each.infer(z)]
    for gradient in (each.backward(z), each.infer_backward(z)):
        found += [gradient.dz, gradient.dgamma, gradient.dbeta]
    for statistics in (each.statistics(), each.population((z,)), each.population((z, z[:2]))):
        found += [statistics.mean, statistics.var]
    kept = [one for one in found if isinstance(one, Expectation)]
    assert len(found) - 1 == len(kept), "batches of two sizes leave the variance open"
    assert all(one.precision is precision for one in kept)


def test_what_a_convention_leaves_open_is_no_mistake_and_says_why() -> None:
    each = layer(TORCH)
    each.train(Z[:1])
    refused = each.statistics()
    ragged = each.population((Z, Z[:2])).var
    for error, reason in (
        (refused.mean, "the convention defines no running statistics for a single value"),
        (refused.var, "the convention defines no running statistics for a single value"),
        (ragged, "batches of different sizes, or of one value, leave the variance open"),
    ):
        assert isinstance(error, SubjectError)
        assert ("not_implemented", reason) == (error.failure, error.message)
