"""Where each bound judges: the least range, and the largest error of s², that its conditions ask.

A bound is finite only where no intermediate of a right implementation can leave the range of the
arithmetic. The conditions are those of the comments in `bn_oracle.bounds`; for each, the least
"largest number" with which the bound is finite is found by bisection and compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from bn_oracle.arrays import Array
from bn_oracle.backward import backward
from bn_oracle.bounds import statistics, training
from bn_oracle.bounds.precision import FLOAT64, LIMIT, Precision
from bn_oracle.forward import Forward, forward

WIDE = replace(FLOAT64, largest=2.0**1000)
CLOSE = 1e-9
"""Relative: the bisection's end, far above float64's rounding of the conditions."""


def least(judges: Callable[[float], bool], low: float = -60.0, high: float = 60.0) -> float:
    """Return the least 2^x, x from `low` to `high`, that judges, if all above it do."""
    assert judges(2.0**high)
    assert not judges(2.0**low)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if judges(2.0**middle) else (middle, high)
    return float(2.0**high)


def range_asked(bound: Callable[[Precision], Any]) -> float:
    """Return the least largest number with which a bound is finite."""
    return least(lambda size: bool(np.isfinite(bound(replace(FLOAT64, largest=size))).all()))


@dataclass(frozen=True)
class Layer:
    """One feature: z and G, γ, β, ε."""

    z: tuple[float, ...]
    g: tuple[float, ...]
    gamma: float
    beta: float
    eps: float

    @property
    def record(self) -> Forward:
        return forward(self.rows(self.z), [self.gamma], [self.beta], self.eps)

    @staticmethod
    def rows(values: tuple[float, ...]) -> Array:
        return np.array([[value] for value in values])

    @property
    def n(self) -> int:
        return len(self.z)

    @property
    def m(self) -> float:
        return max(map(abs, self.z))

    @property
    def s(self) -> float:
        return float(self.record.std[0])


LAYERS = {
    "large z": Layer((5.0, -20.0, 9.0), (1.0, -2.0, 0.5), 0.5, 0.25, 1e-3),
    "small z": Layer((0.05, -0.1, 0.02), (1.0, -2.0, 0.5), -0.25, 0.5, 1e-3),
    "large z, large γ": Layer((5.0, -20.0, 9.0), (0.5, 0.1, -0.25), 1e6, 0.25, 1e-3),
    "small z, large γ": Layer((0.05, -0.1, 0.02), (0.5, -8.0, 0.5), -1e6, 0.5, 1e-3),
    "small s, large γ": Layer((0.05, -0.1, 0.02, 0.01), (3.0, -1.0, 0.5, 2.0), 4.0, 9.0, 0.0),
    "large s": Layer((5.0, -20.0, 9.0), (1.0, -2.0, 1.5), 0.1, 0.2, 100.0),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_the_range_that_the_forward_pass_asks(layer: Layer) -> None:
    """N squares of |z−μ| ≤ 2m and their sum; the sum of z; γ/s, γz/s and γu."""
    record, n, m = layer.record, layer.n, layer.m

    def asked(name: str) -> float:
        return range_asked(lambda p: getattr(training.forward(record, p, "stable"), name))

    squares = max(4 * n * m**2, 2 * n * m)
    slope = abs(layer.gamma) / layer.s
    parts = slope * max(1.0, m) + abs(layer.gamma) * math.sqrt(n)
    largest_out = float(np.abs(record.out).max())
    assert squares == pytest.approx(asked("relative_variance"), rel=CLOSE, abs=0.0)
    assert n * m == pytest.approx(asked("mean"), rel=CLOSE, abs=0.0)
    assert squares == pytest.approx(asked("var"), rel=CLOSE, abs=0.0)
    assert max(squares, parts) == pytest.approx(asked("u"), rel=CLOSE, abs=0.0)
    assert max(squares, parts, largest_out) == pytest.approx(asked("out"), rel=CLOSE, abs=0.0)


@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_the_range_that_the_gradients_ask(layer: Layer, power: int) -> None:
    """The sums of G, of γG, of G·(z−μ), and of these over s; and the powers of s, in dz."""
    record, n, m, s = layer.record, layer.n, layer.m, layer.s
    rows, bounds = layer.rows(layer.g), training.forward(layer.record, WIDE, "stable")
    g = max(map(abs, layer.g))

    def asked(name: str) -> float:
        return range_asked(
            lambda p: getattr(training.backward(record, rows, bounds, p, power=power), name)
        )

    steepest = max(s**power, s**-power)
    sums = 2 * n * g * max(1.0, 2 * m)
    assert sums * max(1.0, abs(layer.gamma)) * steepest == pytest.approx(
        asked("dz"), rel=CLOSE, abs=0.0
    )
    assert sums * max(1.0, 1 / s) == pytest.approx(asked("dgamma"), rel=CLOSE, abs=0.0)
    assert n * g == pytest.approx(asked("dbeta"), rel=CLOSE, abs=0.0)

    def judges(normal: float) -> bool:
        precision = replace(WIDE, subnormal=normal * 2 * WIDE.unit_roundoff)
        dz = training.backward(record, rows, bounds, precision, power=power).dz
        return bool(np.isinf(dz).all())

    # 1/2^x judges as long as N times the powers of s, and their reciprocals, are normal numbers.
    assert 1 / (n * steepest) == pytest.approx(least(judges), rel=CLOSE, abs=0.0)


def test_nothing_is_judged_backwards_that_was_not_judged_forwards() -> None:
    layer = LAYERS["large z"]
    record, rows = layer.record, layer.rows(layer.g)
    narrow = replace(FLOAT64, largest=layer.n * layer.m)
    bounds = training.forward(record, narrow, "stable")
    assert np.isinf(bounds.u).all()
    own = training.backward(record, rows, bounds, WIDE)
    assert np.isinf(own.dz).all()
    assert np.isinf(own.dgamma).all()
    assert np.isfinite(own.dbeta).all()


ONE = np.ones(1)
MEAN, VAR = np.array([-3.0]), np.array([0.04])


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_the_range_that_inference_asks(layer: Layer) -> None:
    z, g = layer.rows(layer.z), layer.rows(layer.g)
    gamma, beta, s = layer.gamma * ONE, layer.beta * ONE, math.sqrt(0.04 + layer.eps)
    a, size = abs(layer.gamma) / s, layer.m + 3.0
    own = (gamma, MEAN, VAR, layer.eps)

    out = range_asked(lambda p: statistics.inference(z, gamma, beta, MEAN, VAR, layer.eps, p))
    assert max(a * max(1.0, size) + layer.beta, s * s) == pytest.approx(out, rel=CLOSE, abs=0.0)
    fold = _each(lambda p: statistics.fold(gamma, beta, MEAN, VAR, layer.eps, p), 2)
    for result, asked in zip((a, abs(layer.beta + 3 * layer.gamma / s)), fold, strict=True):
        assert max(a * 3.0, s * s, result) == pytest.approx(asked, rel=CLOSE, abs=0.0)
    most = layer.n * max(map(abs, layer.g)) * max(1.0, size) * max(1.0, 1 / s)
    for asked in _each(lambda p: statistics.inference_gradients(z, g, *own, p), 3):
        assert max(most * max(1.0, abs(layer.gamma)), s * s) == pytest.approx(
            asked, rel=CLOSE, abs=0.0
        )


def _each(bounds: Callable[[Precision], tuple[Any, ...]], count: int) -> list[float]:
    """Return the range that each of several bounds asks."""

    def one(index: int) -> Callable[[Precision], Any]:
        return lambda precision: bounds(precision)[index]

    return [range_asked(one(index)) for index in range(count)]


def test_a_mean_or_z_below_one_asks_for_the_slope_itself() -> None:
    """γ/s alone must fit, too."""
    z, tenth = np.array([[0.1]]), np.array([0.1])
    a = 5.0 / math.sqrt(1.25)
    for bound in (
        lambda p: statistics.inference(z, 5 * ONE, 0 * ONE, tenth, ONE, 0.25, p),
        lambda p: statistics.fold(5 * ONE, 0 * ONE, tenth, ONE, 0.25, p)[0],
        lambda p: statistics.fold(5 * ONE, 0 * ONE, tenth, ONE, 0.25, p)[1],
    ):
        assert a == pytest.approx(range_asked(bound), rel=CLOSE, abs=0.0)
    asked = range_asked(
        lambda p: statistics.inference_gradients(z, 7 * z / 0.1, ONE, tenth, ONE, 0.25, p)[1]
    )
    assert 7.0 == pytest.approx(asked, rel=CLOSE, abs=0.0)


def test_the_variance_given_must_itself_fit() -> None:
    huge = np.array([1e9])
    for bound in (
        lambda p: statistics.inference(0 * ONE[:, None], ONE, 0 * ONE, 0 * ONE, huge, 1.0, p),
        lambda p: statistics.fold(ONE, 0 * ONE, 0 * ONE, huge, 1.0, p)[0],
    ):
        assert 1e9 + 1 == pytest.approx(range_asked(bound), rel=CLOSE, abs=0.0)


@pytest.mark.parametrize("algorithm", ["stable", "one-pass"])
def test_nothing_is_judged_once_the_error_of_the_variance_passes_its_limit(
    algorithm: training.Algorithm,
) -> None:
    record = LAYERS["large z"].record

    def coarse(w: float) -> training.TrainingBounds:
        return training.forward(record, replace(WIDE, unit_roundoff=w), algorithm)

    w = least(lambda w: bool(np.isinf(coarse(w).out).all()), low=-50.0, high=-5.0)
    assert np.isinf(coarse(w).u).all()
    assert LIMIT == pytest.approx(coarse(w).relative_variance[0], rel=CLOSE, abs=0.0)
    assert np.isfinite(coarse(w).var).all(), "the variance itself is bounded all the same"


def test_inference_is_not_judged_once_the_error_of_the_variance_passes_its_limit() -> None:
    """s² is off by var_error, its two roundings and η: a quarter of it at most."""
    z = ONE[:, None]
    given = (ONE, MEAN, VAR, 0.96)
    for bound in (
        lambda e: statistics.inference(z, ONE, ONE, *given[1:], FLOAT64, var_error=e),
        lambda e: statistics.fold(ONE, ONE, *given[1:], FLOAT64, var_error=e)[0],
        lambda e: statistics.fold(ONE, ONE, *given[1:], FLOAT64, var_error=e)[1],
        lambda e: statistics.inference_gradients(z, z, *given, FLOAT64, var_error=e)[0],
        lambda e: statistics.inference_gradients(z, z, *given, FLOAT64, var_error=e)[2],
    ):
        assert LIMIT == pytest.approx(_least_unjudged(bound), rel=CLOSE, abs=0.0)


def _least_unjudged(bound: Callable[[float], Any]) -> float:
    return least(lambda error: bool(np.isinf(bound(error)).all()))


NARROW = Precision("narrow", 2.0**-5, 2.0**-9, 2.0**40)
"""What results are stored in, of a float64 arithmetic."""


def _results() -> dict[str, tuple[Callable[[Precision], Any], Any]]:
    """Each bound on what is returned, and the size of what it bounds."""
    layer = LAYERS["small s, large γ"]
    record, rows = layer.record, layer.rows(layer.g)
    z, gamma, beta = layer.rows(layer.z), layer.gamma * ONE, layer.beta * ONE
    own, eps = backward(record, rows), 0.5
    a = layer.gamma / math.sqrt(0.04 + eps)
    g, n = np.abs(rows), np.array([2, 3])
    means, variances = np.array([[0.5], [-2.0]]), np.array([[3.0], [4.0]])
    off = np.full((2, 1), 0.125)
    centre = (2 * 0.5 + 3 * -2.0) / 5
    spread = (2 * (3 + (0.5 - centre) ** 2) + 3 * (4 + (-2 - centre) ** 2)) / 5

    def train(precision: Precision) -> training.TrainingBounds:
        return training.forward(record, precision, "stable")

    def back(precision: Precision) -> training.GradientBounds:
        return training.backward(record, rows, training.forward(record, WIDE, "stable"), precision)

    def gradients(precision: Precision) -> tuple[Array, Array, Array]:
        return statistics.inference_gradients(z, rows, gamma, MEAN, VAR, eps, precision)

    return {
        "mean": (lambda p: train(p).mean, np.abs(record.mean)),
        "var": (lambda p: train(p).var, record.var),
        "out": (lambda p: train(p).out, np.abs(record.out)),
        "dz": (lambda p: back(p).dz, np.abs(own.dz)),
        "dγ": (lambda p: back(p).dgamma, (g * np.abs(record.u)).sum(axis=0)),
        "dβ": (lambda p: back(p).dbeta, g.sum(axis=0)),
        "inference": (
            lambda p: statistics.inference(z, gamma, beta, MEAN, VAR, eps, p),
            np.abs(a * (z - MEAN) + beta),
        ),
        "slope": (lambda p: statistics.fold(gamma, beta, MEAN, VAR, eps, p)[0], np.abs([a])),
        "intercept": (
            lambda p: statistics.fold(gamma, beta, MEAN, VAR, eps, p)[1],
            np.abs(beta - a * MEAN),
        ),
        "inference dz": (lambda p: gradients(p)[0], np.abs(a) * g),
        "inference dγ": (
            lambda p: gradients(p)[1],
            (g * np.abs(z - MEAN)).sum(axis=0) / math.sqrt(0.04 + eps),
        ),
        "inference dβ": (lambda p: gradients(p)[2], g.sum(axis=0)),
        "unbiased": (lambda p: statistics.unbiased(4 * ONE, ONE, 5, p), 5 * ONE),
        "recovered": (lambda p: statistics.recovered(4 * ONE, 1.0, p), 5 * ONE),
        "running": (
            lambda p: statistics.running(8 * ONE, ONE, -ONE, ONE, 0.25, p),
            np.array([1.25]),
        ),
        "population mean": (
            lambda p: statistics.population(n, np.abs(means), variances, off, off, p)[0],
            2 * ONE,
        ),
        "population variance": (
            lambda p: statistics.population(n, np.abs(means), variances, off, off, p)[1],
            np.array([(3 * 2 + 4 * 1.5) / 2]),
        ),
        "merged mean": (
            lambda p: statistics.merged(n, means, variances, off, off, p)[0],
            np.abs([centre]),
        ),
        "merged variance": (
            lambda p: statistics.merged(n, means, variances, off, off, p)[1],
            np.array([spread]),
        ),
    }


RESULTS = _results()


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_that_is_stored_rounds_once_more(name: str) -> None:
    """By w of the size that is stored, the error included, and by half of η."""
    bound, size = RESULTS[name]
    plain = bound(WIDE)
    stored = bound(replace(WIDE, storage=NARROW))
    assert plain.shape == stored.shape
    assert plain + (size + plain) / 32 + 2.0**-10 == pytest.approx(stored, rel=1e-12, abs=0.0)


@pytest.mark.parametrize("name", RESULTS)
def test_what_does_not_fit_into_storage_is_not_judged(name: str) -> None:
    bound, size = RESULTS[name]
    largest = float((size + bound(WIDE)).max())

    def judges(limit: float) -> bool:
        narrow = replace(NARROW, largest=limit)
        return bool(np.isfinite(bound(replace(WIDE, storage=narrow))).all())

    assert largest == pytest.approx(least(judges), rel=CLOSE, abs=0.0)
