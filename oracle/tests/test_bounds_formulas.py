"""Each bound is the formula that docs/derivation.md and the bounds' comments derive, term by term.

The formulas are written out once more, for one number at a time, in 40 digits. That a formula is
right is the matter of its derivation and of the searches; here a bound that is wider, narrower or
otherwise than its formula fails. The arithmetic is a coarse one, whose roundings and underflow are
large, so that every term counts: with w = 2^-11 and η = 2^-17, γ_5 and γ_6 differ by a fifth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bn_oracle.arrays import Array, to_rows
from bn_oracle.bounds import statistics, training
from bn_oracle.bounds.precision import Precision
from bn_oracle.forward import Forward, forward

mpmath = pytest.importorskip("mpmath")
mp = mpmath.mp.clone()
mp.dps = 40

COARSE = Precision("coarse", 2.0**-11, 2.0**-17, 2.0**40)
ETA = mp.mpf(2) ** -17
CLOSE = 1e-12
"""Relative: float64 evaluates some forty operations, each to 1.1e-16, and cancels nowhere."""
rng = np.random.default_rng(17)
EPS = 0.3


def theta(count: int) -> Any:
    """γ_n, here θ_n: nw/(1−nw)."""
    product = count * mp.mpf(2) ** -11
    return product / (1 - product)


def rho(k: Any, count: int) -> Any:
    """What 1/s is off by, relatively, and `count` roundings: (1−k)^(−1/2)·(1+θ) − 1."""
    return (1 - k) ** (-mp.mpf(1) / 2) * (1 + theta(count)) - 1


def numbers(values: Any) -> list[Any]:
    return [mp.mpf(float(x)) for x in np.ravel(values)]


def agree(expected: Any, computed: Any) -> None:
    """Compare two lists of columns."""
    wanted = np.array([[float(x) for x in column] for column in expected])
    found = np.array(computed)
    assert wanted.shape == found.shape
    np.testing.assert_allclose(found, wanted, rtol=CLOSE)


def columns(array: Array, channel_axis: int = 1) -> list[Array]:
    return list(to_rows(array, channel_axis).T)


# One feature has an offset, one is nearly constant, one has a negative γ; β is 0 once.
Z = rng.normal(size=(2, 3, 3)) * np.array([1.0, 0.05, 2.0]) + np.array([1.5, 0.4, -0.2])
G = rng.normal(size=Z.shape)
GAMMA, BETA = np.array([1.3, 0.7, -2.1]), np.array([0.4, 0.0, -1.1])
RECORD = forward(Z, GAMMA, BETA, EPS, channel_axis=-1)
BATCH_OF_ONE = forward([[0.3, -0.1]], [1.5, -2.0], [0.2, 0.3], EPS)


class Feature:
    """What the bounds of one feature are made of."""

    def __init__(self, record: Forward, index: int) -> None:
        self.z = numbers(record.rows[:, index])
        self.n = len(self.z)
        self.m = max(map(abs, self.z))
        self.v = mp.mpf(float(record.var[index]))
        self.s = mp.mpf(float(record.std[index]))
        self.u = numbers(np.abs(record.u[:, index]))
        self.gamma = abs(mp.mpf(float(record.gamma[index])))
        self.beta = abs(mp.mpf(float(record.beta[index])))
        self.lost = (mp.mpf(self.n) / 2 + 1) * ETA

    def statistics(self, algorithm: str) -> tuple[Any, Any]:
        """E_c and E_σ²."""
        if algorithm == "one-pass":
            off = theta(3 * self.n + 8)
            return off * self.m + self.lost, off * (self.m**2 + self.v) + self.lost * (
                1 + 2 * self.m
            )
        centring = theta(self.n + 5) * self.m + self.lost
        spread = theta(self.n + 3)
        var = 2 * centring * mp.sqrt(self.v) * (1 + spread) + spread * self.v
        return centring, var + centring**2 * (1 + spread) + self.lost

    def k(self, algorithm: str) -> Any:
        square = self.v + mp.mpf(EPS)
        return (self.statistics(algorithm)[1] + theta(2) * square + ETA / 2) / square

    def values(self, algorithm: str) -> tuple[list[Any], list[Any]]:
        """E_u and E_ẑ."""
        centring, off = self.statistics(algorithm)[0], rho(self.k(algorithm), 4)
        by_u = [(1 + off) * centring / self.s + off * u + ETA * (1 + self.m) for u in self.u]
        four = theta(4)
        out = [
            self.gamma * e * (1 + four) + four * (self.gamma * u + self.beta) + ETA * (1 + self.m)
            for e, u in zip(by_u, self.u, strict=True)
        ]
        return by_u, out

    def gradients(self, algorithm: str, grad: Array, power: int) -> tuple[list[Any], Any, Any]:
        """E_∂z, E_∂γ and E_∂β."""
        n, by_u, signed = self.n, self.values(algorithm)[0], numbers(grad)
        g = [abs(x) for x in signed]
        sums = theta(n + 2)
        gu = [a * b for a, b in zip(g, self.u, strict=True)]
        by_beta = sums * sum(g)
        by_gamma = (1 + sums) * sum(a * e for a, e in zip(g, by_u, strict=True)) + sums * sum(gu)
        by_gamma += self.lost * (1 + 1 / self.s)
        mean = sum(self.z) / n
        dot = abs(sum(a * (x - mean) / self.s for a, x in zip(signed, self.z, strict=True)) / n)
        slope, off = self.gamma / self.s, rho(self.k(algorithm), 7)
        found = []
        for a, u, e in zip(g, self.u, by_u, strict=True):
            size = a + sum(g) / n + (u + e) * (sum(gu) / n + by_gamma / n)
            error = by_beta / n + (u + e) * by_gamma / n + e * dot + theta(n + 8) * size
            follows = 1 + size + (1 + slope + 1 / self.s) * (1 + u)
            if power > 1:
                follows += (u + e) * (1 + self.gamma) / self.s ** (power - 1)
            found.append(slope * ((1 + off) * error + off * size) + (n + 8) * ETA * follows)
        return found, by_gamma, by_beta


@pytest.mark.parametrize("record", [RECORD, BATCH_OF_ONE], ids=["six values", "one value"])
@pytest.mark.parametrize("algorithm", ["stable", "one-pass"])
def test_the_bounds_of_the_forward_pass(record: Forward, algorithm: training.Algorithm) -> None:
    bounds = training.forward(record, COARSE, algorithm)
    features = [Feature(record, index) for index in range(len(record.mean))]
    agree([[f.k(algorithm)] for f in features], bounds.relative_variance[:, None])
    agree([[f.statistics(algorithm)[0]] for f in features], bounds.mean[:, None])
    agree([[f.statistics(algorithm)[1]] for f in features], bounds.var[:, None])
    agree([f.values(algorithm)[0] for f in features], bounds.u.T)
    assert record.out.shape == bounds.out.shape
    agree([f.values(algorithm)[1] for f in features], columns(bounds.out, record.channel_axis))


@pytest.mark.parametrize("record", [RECORD, BATCH_OF_ONE], ids=["six values", "one value"])
@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize("algorithm", ["stable", "one-pass"])
def test_the_bounds_of_the_gradients(
    record: Forward, algorithm: training.Algorithm, power: int
) -> None:
    grad = G if record is RECORD else np.array([[0.7, -1.2]])
    rows = to_rows(grad, record.channel_axis)
    forwards = training.forward(record, COARSE, algorithm)
    bounds = training.backward(record, rows, forwards, COARSE, power=power)
    features = [Feature(record, index) for index in range(len(record.mean))]
    expected = [
        f.gradients(algorithm, column, power) for f, column in zip(features, rows.T, strict=True)
    ]
    assert record.out.shape == bounds.dz.shape
    agree([each[0] for each in expected], columns(bounds.dz, record.channel_axis))
    agree([[each[1]] for each in expected], bounds.dgamma[:, None])
    agree([[each[2]] for each in expected], bounds.dbeta[:, None])


def test_the_highest_power_is_three_unless_said_otherwise() -> None:
    rows = to_rows(G, -1)
    bounds = training.forward(RECORD, COARSE, "stable")
    cubed = training.backward(RECORD, rows, bounds, COARSE, power=3).dz
    assert np.array_equal(cubed, training.backward(RECORD, rows, bounds, COARSE).dz)


MEAN, VAR = np.array([1.2, 0.1, -0.4]), np.array([0.9, 0.02, 3.0])
MEAN_ERROR, VAR_ERROR = np.array([0.01, 0.02, 0.0]), np.array([0.03, 0.001, 0.0])
NONE = np.zeros(3)


def _errors(with_errors: bool) -> dict[str, Any]:
    return {"mean_error": MEAN_ERROR, "var_error": VAR_ERROR} if with_errors else {}


def _given(with_errors: bool) -> list[dict[str, Any]]:
    """μ, σ², s, a = |γ|/s, k and the errors brought along, a feature each."""
    found = []
    errors = (MEAN_ERROR, VAR_ERROR) if with_errors else (NONE, NONE)
    for gamma, beta, mean, var, by_mean, by_var in zip(
        GAMMA, BETA, MEAN, VAR, *errors, strict=True
    ):
        square = mp.mpf(float(var + EPS))
        s = mp.sqrt(square)
        found.append(
            {
                "gamma": abs(mp.mpf(gamma)),
                "beta": abs(mp.mpf(beta)),
                "mu": mp.mpf(mean),
                "s": s,
                "a": abs(mp.mpf(gamma)) / s,
                "k": (mp.mpf(by_var) + theta(2) * square + ETA) / square,
                "off": mp.mpf(by_mean),
            }
        )
    return found


@pytest.mark.parametrize("with_errors", [True, False])
@pytest.mark.parametrize("channel_axis", [1, -1])
def test_the_bound_of_inference(with_errors: bool, channel_axis: int) -> None:
    z = Z if channel_axis == -1 else np.moveaxis(Z, -1, 1)
    errors = _errors(with_errors)
    axis: dict[str, Any] = {"channel_axis": channel_axis} if channel_axis != 1 else {}
    bound = statistics.inference(z, GAMMA, BETA, MEAN, VAR, EPS, COARSE, **errors, **axis)
    expected = []
    for given, column in zip(_given(with_errors), columns(z, channel_axis), strict=True):
        off, four = rho(given["k"], 5), theta(4)
        expected.append(
            [
                given["a"]
                * (1 + off)
                * (given["off"] * (1 + four) + four * (abs(x) + abs(given["mu"])))
                + off * given["a"] * abs(x - given["mu"])
                + four * given["beta"]
                + ETA * (2 + given["gamma"] + abs(x) + abs(given["mu"]) + given["a"])
                for x in numbers(column)
            ]
        )
    assert z.shape == bound.shape
    agree(expected, columns(bound, channel_axis))


@pytest.mark.parametrize("with_errors", [True, False])
def test_the_bounds_of_the_fold(with_errors: bool) -> None:
    errors = _errors(with_errors)
    slope, intercept = statistics.fold(GAMMA, BETA, MEAN, VAR, EPS, COARSE, **errors)
    expected = []
    for given in _given(with_errors):
        a, mu, three = given["a"], abs(given["mu"]), theta(3)
        by_a = a * rho(given["k"], 5) + ETA * (1 + given["gamma"])
        by_b = (a + by_a) * (given["off"] * (1 + three) + three * mu) + by_a * mu
        expected.append([by_a, by_b + three * given["beta"] + ETA * (2 + a)])
    agree(expected, np.stack([slope, intercept], axis=1))


@pytest.mark.parametrize("with_errors", [True, False])
@pytest.mark.parametrize("channel_axis", [1, -1])
def test_the_bounds_of_inference_gradients(with_errors: bool, channel_axis: int) -> None:
    z, g = (Z, G) if channel_axis == -1 else (np.moveaxis(Z, -1, 1), np.moveaxis(G, -1, 1))
    errors = _errors(with_errors)
    axis: dict[str, Any] = {"channel_axis": channel_axis} if channel_axis != 1 else {}
    dz, dgamma, dbeta = statistics.inference_gradients(
        z, g, GAMMA, MEAN, VAR, EPS, COARSE, **errors, **axis
    )
    by_z, rest = [], []
    pairs = zip(columns(z, channel_axis), columns(g, channel_axis), strict=True)
    for given, (column, grads) in zip(_given(with_errors), pairs, strict=True):
        size = [abs(x) for x in numbers(grads)]
        n, s, off, sums = len(size), given["s"], rho(given["k"], 6), theta(len(size) + 3)
        by_z.append([given["a"] * x * off + ETA * (1 + given["gamma"] + x + 1 / s) for x in size])
        each = [
            sums * (abs(x) + abs(given["mu"]) + given["off"])
            + off * abs(x - given["mu"])
            + given["off"]
            for x in numbers(column)
        ]
        total = sum(a * e for a, e in zip(size, each, strict=True)) / s * (1 + off)
        lost = (mp.mpf(n) / 2 + 1) * ETA * (2 + 1 / s + max(size))
        rest.append([total + lost, theta(n + 2) * sum(size)])
    assert z.shape == dz.shape
    agree(by_z, columns(dz, channel_axis))
    agree(rest, np.stack([dgamma, dbeta], axis=1))


@pytest.mark.parametrize("size", [2, 3, 8])
def test_the_bound_of_an_unbiased_variance(size: int) -> None:
    bound = statistics.unbiased(VAR, VAR_ERROR, size, COARSE)
    factor = mp.mpf(size) / (size - 1)
    expected = [
        [factor * (e * (1 + theta(2)) + theta(2) * v) + ETA]
        for v, e in zip(numbers(VAR), numbers(VAR_ERROR), strict=True)
    ]
    agree(expected, bound[:, None])


def test_the_bound_of_a_variance_recovered_from_its_root() -> None:
    bound = statistics.recovered(VAR, 0.25, COARSE)
    expected = [[theta(9) * (v + mp.mpf(0.25)) + ETA] for v in numbers(VAR)]
    agree(expected, bound[:, None])


@pytest.mark.parametrize("decay", [0.0, 0.25, 0.9, 1.0])
def test_the_bound_of_a_running_average(decay: float) -> None:
    bound = statistics.running(MEAN, MEAN_ERROR, VAR, VAR_ERROR, decay, COARSE)
    expected = []
    quantities = zip(*map(numbers, (MEAN, MEAN_ERROR, VAR, VAR_ERROR)), strict=True)
    for old, by_old, batch, by_batch in quantities:
        total = theta(4) * (abs(old) + abs(batch)) + 4 * ETA
        for weight, size, error in (
            (mp.mpf(decay), abs(old), by_old),
            (mp.mpf(1 - decay), abs(batch), by_batch),
        ):
            if weight:
                total += weight * (theta(4) * size + (1 + 2 * theta(4)) * error)
                total += theta(2) * error
        expected.append([total])
    agree(expected, bound[:, None])


SIZES = np.array([2, 3, 7, 1])
MEANS, MEAN_ERRORS = rng.normal(size=(4, 3)), rng.uniform(0, 0.01, size=(4, 3))
VARIANCES, VAR_ERRORS = rng.uniform(0.5, 2, size=(4, 3)), rng.uniform(0, 0.01, size=(4, 3))


def _parts() -> list[list[tuple[Any, ...]]]:
    """n_p, μ_p, σ_p² and their errors: a list of parts a feature."""
    tables = (MEANS, VARIANCES, MEAN_ERRORS, VAR_ERRORS)
    return [
        [
            (mp.mpf(int(n)), *(mp.mpf(float(table[p, c])) for table in tables))
            for p, n in enumerate(SIZES)
        ]
        for c in range(3)
    ]


def test_the_bounds_of_population_statistics() -> None:
    largest = np.abs(MEANS)
    bounds = statistics.population(SIZES, largest, VARIANCES, MEAN_ERRORS, VAR_ERRORS, COARSE)
    total, parts, expected = 13, 4, []
    for feature in _parts():
        mean = (1 + theta(total + parts + 2)) * sum(n / total * e for n, _, _, e, _ in feature)
        mean += theta(total + parts + 2) * max(abs(m) for _, m, _, _, _ in feature)
        more = theta(total + parts + 4)
        factors = [n / max(n - 1, 1) for n, *_ in feature]
        scaled = sum(f * each[2] for f, each in zip(factors, feature, strict=True)) / parts
        errors = sum(f * each[4] for f, each in zip(factors, feature, strict=True)) / parts
        lost = (parts + 2) * ETA
        expected.append([mean + lost, (1 + more) * errors + more * scaled + lost])
    agree(expected, np.stack(bounds, axis=1))


def test_the_bounds_of_merged_statistics() -> None:
    bounds = statistics.merged(SIZES, MEANS, VARIANCES, MEAN_ERRORS, VAR_ERRORS, COARSE)
    total, parts, count, expected = 13, 4, theta(10), []
    for feature in _parts():
        centre = sum(n * m for n, m, *_ in feature) / total
        between = sum(n * (m - centre) ** 2 for n, m, *_ in feature) / total
        within = sum(n * v for n, _, v, *_ in feature) / total
        largest, lost = max(abs(m) for _, m, *_ in feature), (parts + 2) * ETA
        mean = (1 + count) * sum(n * e for n, _, _, e, _ in feature) / total
        mean += count * largest + lost
        delta = max(e for _, _, _, e, _ in feature) + mean + theta(2) * largest
        var = sum(n * e for n, _, _, _, e in feature) / total + 2 * delta * mp.sqrt(between)
        var = (1 + count) * (var + delta**2) + count * (within + between) + lost
        expected.append([mean, var])
    agree(expected, np.stack(bounds, axis=1))
