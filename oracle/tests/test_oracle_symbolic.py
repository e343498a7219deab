"""Derived by computer algebra from the definition: every written form of ∂Div/∂z is the same.

sympy differentiates Σ G_i ẑ_i, with ẑ written out as a function of all z_j, ε a symbol. The first
tests prove the page, docs/derivation.md: the forms that it displays are the derivative. The last
ones prove the oracle: what it computes is the derivative, evaluated to 50 digits, within the bound
on its rounding.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from bn_oracle.arrays import Array
from bn_oracle.backward import backward
from bn_oracle.bounds import statistics, training
from bn_oracle.bounds.precision import FLOAT64
from bn_oracle.derivations.chains import lecture_chain, paper_chain
from bn_oracle.derivations.gradient_paths import three_routes
from bn_oracle.derivations.jacobian import jacobian, times_jacobian
from bn_oracle.forward import forward
from bn_oracle.inference import infer_backward

sympy = pytest.importorskip("sympy", reason="sympy is not installed")

SIZES = (2, 3)


class Symbols:
    """One feature, B instances."""

    def __init__(self, size: int) -> None:
        self.B = size
        self.z = sympy.symbols(f"z1:{size + 1}", real=True)
        self.G = sympy.symbols(f"G1:{size + 1}", real=True)
        self.gamma, self.beta = sympy.symbols("gamma beta", real=True)
        self.eps = sympy.symbols("epsilon", positive=True)
        self.mean = sum(self.z) / sympy.Integer(size)
        self.var = sum((z - self.mean) ** 2 for z in self.z) / sympy.Integer(size)
        self.s = sympy.sqrt(self.var + self.eps)
        self.u = [(z - self.mean) / self.s for z in self.z]
        div = sum(g * (self.gamma * u + self.beta) for g, u in zip(self.G, self.u, strict=True))
        self.d_z = [sympy.diff(div, z) for z in self.z]
        self.d_gamma = sympy.diff(div, self.gamma)
        self.d_beta = sympy.diff(div, self.beta)

    def sum(self, left: Any, right: Any) -> Any:
        return sum(a * b for a, b in zip(left, right, strict=True))


GAMMA, BETA, EPS = Fraction(-7, 4), Fraction(1, 2), Fraction(3, 8)
"""Parameters that float64 holds exactly, as it does what `_numbers` gives."""


def _numbers(size: int) -> tuple[list[Fraction], list[Fraction]]:
    """Return z and G, no two alike and of no pattern."""
    z = [Fraction((7 * i * i + 3 * i) % 11, 4) for i in range(1, size + 1)]
    return z, [Fraction((5 * i * i + i) % 13 - 4, 8) for i in range(1, size + 1)]


def _column(values: list[Fraction]) -> Array:
    return np.array([[float(value)] for value in values])


def _within(derivative: Any, values: dict[Any, Any], bound: float, *computed: float) -> None:
    """Assert |computed − derivative| ≤ bound, the derivative to 50 digits."""
    exact = derivative.evalf(50, subs=values)
    for each in computed:
        assert abs(sympy.Float(float(each), 50) - exact) <= float(bound)
    assert float(bound) <= 1e-13, "the bound says something"


def _equal(expected: Any, actual: Any) -> bool:
    return bool(sympy.simplify(sympy.together(expected - actual)) == 0)


@pytest.fixture(scope="module", params=SIZES)
def one(request: pytest.FixtureRequest) -> Symbols:
    return Symbols(request.param)


def test_the_closed_form_is_the_derivative(one: Symbols) -> None:
    mean_g = sum(one.G) / sympy.Integer(one.B)
    mean_gu = one.sum(one.G, one.u) / one.B
    for i in range(one.B):
        closed = one.gamma / one.s * (one.G[i] - mean_g - one.u[i] * mean_gu)
        assert _equal(one.d_z[i], closed)
    assert _equal(one.d_gamma, one.sum(one.G, one.u))
    assert _equal(one.d_beta, sum(one.G))


def test_the_lectures_chain_is_the_derivative(one: Symbols) -> None:
    d_u = [one.gamma * g for g in one.G]
    power = (one.var + one.eps) ** sympy.Rational(-3, 2)
    d_var = -power / 2 * sum(d * (z - one.mean) for d, z in zip(d_u, one.z, strict=True))
    d_mean = -sum(d_u) / one.s
    for i in range(one.B):
        chain = d_u[i] / one.s + d_var * 2 * (one.z[i] - one.mean) / one.B + d_mean / one.B
        assert _equal(one.d_z[i], chain)


def test_ioffe_and_szegedys_chain_is_the_derivative_and_its_extra_term_is_zero(
    one: Symbols,
) -> None:
    m = one.B
    d_xhat = [g * one.gamma for g in one.G]
    d_var = sum(
        d * (x - one.mean) * sympy.Rational(-1, 2) * (one.var + one.eps) ** sympy.Rational(-3, 2)
        for d, x in zip(d_xhat, one.z, strict=True)
    )
    extra = d_var * sum(-2 * (x - one.mean) for x in one.z) / m
    assert _equal(0, extra)
    d_mean = sum(d * (-1 / one.s) for d in d_xhat) + extra
    for i in range(m):
        chain = d_xhat[i] / one.s + d_var * 2 * (one.z[i] - one.mean) / m + d_mean / m
        assert _equal(one.d_z[i], chain)


def test_the_jacobian_is_the_matrix_of_derivatives(one: Symbols) -> None:
    for i in range(one.B):
        for j in range(one.B):
            projected = (1 + one.u[i] * one.u[j]) / sympy.Integer(one.B)
            entry = one.gamma / one.s * (int(i == j) - projected)
            assert _equal(sympy.diff(one.gamma * one.u[i], one.z[j]), entry)


def test_the_gradients_two_sums(one: Symbols) -> None:
    """Σ ∂Div/∂z = 0, and along u and along z only the share of ε is left."""
    share = one.eps / (one.var + one.eps) * one.sum(one.G, one.u)
    assert _equal(0, sum(one.d_z))
    assert _equal(one.gamma / one.s * share, one.sum(one.u, one.d_z))
    assert _equal(one.gamma * share, one.sum(one.z, one.d_z))


def test_the_jacobians_eigenvectors(one: Symbols) -> None:
    """J·1 = 0, J·u = (γ/s)·(ε/(σ²+ε))·u and J·G = ∂Div/∂z, J differentiated by sympy."""
    for i in range(one.B):
        row = [sympy.diff(one.gamma * one.u[i], z) for z in one.z]
        assert _equal(0, sum(row))
        assert _equal(
            one.gamma / one.s * one.eps / (one.var + one.eps) * one.u[i], one.sum(row, one.u)
        )
        assert _equal(one.d_z[i], one.sum(row, one.G))


def test_the_recovering_parameters_restore_the_input(one: Symbols) -> None:
    for z, u in zip(one.z, one.u, strict=True):
        assert _equal(z, one.s * u + one.mean)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_scaled_batch_is_the_same_batch_with_a_scaled_epsilon(one: Symbols, sign: int) -> None:
    """u(az, a²ε) = sign(a)·u(z, ε) and u(az, ε) = sign(a)·u(z, ε/a²), for a = ±t, t > 0."""
    t = sympy.symbols("t", positive=True)
    scaled = {z: sign * t * z for z in one.z}

    def u(i: int, eps: Any) -> Any:
        return (one.z[i] - one.mean) / sympy.sqrt(one.var + eps)

    for i in range(one.B):
        for before, after in ((t**2 * one.eps, one.eps), (one.eps, one.eps / t**2)):
            left, right = u(i, before).subs(scaled, simultaneous=True), sign * u(i, after)
            assert sympy.simplify(left**2 - right**2) == 0
            at = {z: (j + 1) ** 2 for j, z in enumerate(one.z)} | {t: 3, one.eps: 2}
            assert sympy.sign(left.subs(at)) == sympy.sign(right.subs(at)) != 0


def test_the_fold_is_inference_alone_and_after_an_affine_layer() -> None:
    z, w, x, c, gamma, beta, mean = sympy.symbols("z w x c gamma beta mu", real=True)
    s = sympy.sqrt(sympy.symbols("v", positive=True) + sympy.symbols("epsilon", positive=True))
    a = gamma / s
    assert _equal(gamma * (z - mean) / s + beta, a * z + (beta - a * mean))
    assert _equal(gamma * (w * x + c - mean) / s + beta, a * w * x + (a * (c - mean) + beta))


def test_the_ragged_batchs_error_for_general_sizes() -> None:
    K, B, r, F, L = sympy.symbols("K B r F L", positive=True)
    N = (K - 1) * B + r
    mean_of_means, mean = ((K - 1) * F + L) / K, ((K - 1) * B * F + r * L) / N
    assert _equal(mean_of_means - mean, (1 / K - r / N) * (L - F))


def test_counting_the_instances_own_term_twice_is_not_the_derivative(one: Symbols) -> None:
    """The notes' line headed ∂div/∂z_i: a sum over all j, and a direct term for j = i."""
    d_u = [one.gamma * g for g in one.G]
    each = [-d * u / (2 * one.s**2) for d, u in zip(d_u, one.u, strict=True)]
    twice = (
        d_u[0] / one.s
        + (sum(each) + each[0]) * 2 * (one.z[0] - one.mean) / one.B
        - sum(d_u) / one.s / one.B
    )
    at = {z: i * i for i, z in enumerate(one.z)} | {g: 1 + i for i, g in enumerate(one.G)}
    at |= {one.gamma: 1, one.eps: 1}
    assert sympy.simplify((twice - one.d_z[0]).subs(at)) != 0


def test_inference_gradients_are_the_derivatives() -> None:
    z, g, gamma, beta, mean = sympy.symbols("z G gamma beta mu", real=True)
    var, eps = sympy.symbols("v epsilon", positive=True)
    s = sympy.sqrt(var + eps)
    div = g * (gamma * (z - mean) / s + beta)
    u = (z - mean) / s
    assert _equal(sympy.diff(div, z), gamma * g / s)
    assert _equal(sympy.diff(div, gamma), g * u)
    assert _equal(sympy.diff(div, beta), g)
    assert _equal(sympy.diff(div, mean), -gamma * g / s)
    assert _equal(sympy.diff(div, var), -gamma * g * u / (2 * s**2))


def test_the_error_of_the_notes_recovery_is_the_stated_one() -> None:
    """√v/√(v+ε) − 1 = −ε/(s(s+√v))."""
    v, eps = sympy.symbols("v epsilon", positive=True)
    s = sympy.sqrt(v + eps)
    assert _equal(sympy.sqrt(v) / s - 1, -eps / (s * (s + sympy.sqrt(v))))


def test_every_way_of_the_oracle_computes_the_derivative(one: Symbols) -> None:
    z, g = _numbers(one.B)
    numbers = [*z, *g, GAMMA, BETA, EPS]
    symbols = [*one.z, *one.G, one.gamma, one.beta, one.eps]
    at = {
        s: sympy.Rational(x.numerator, x.denominator) for s, x in zip(symbols, numbers, strict=True)
    }
    record = forward(_column(z), [float(GAMMA)], [float(BETA)], float(EPS))
    grad = _column(g)
    bounds = training.backward(
        record, grad, training.forward(record, FLOAT64, "stable"), FLOAT64, power=3
    )
    own, lecture, paper = (
        backward(record, grad),
        lecture_chain(record, grad),
        paper_chain(record, grad),
    )
    ways = (
        own.dz,
        lecture.d_z,
        paper.d_x,
        three_routes(record, grad).total,
        times_jacobian(record, grad),
        jacobian(record)[0] @ grad,
    )
    for i in range(one.B):
        _within(one.d_z[i], at, bounds.dz[i, 0], *(way[i, 0] for way in ways))
    by_gamma = own.dgamma[0], lecture.d_gamma[0], paper.d_gamma[0]
    _within(one.d_gamma, at, bounds.dgamma[0], *by_gamma)
    _within(one.d_beta, at, bounds.dbeta[0], own.dbeta[0], lecture.d_beta[0], paper.d_beta[0])


def test_the_oracles_inference_gradients_are_the_derivatives() -> None:
    symbols = sympy.symbols("gamma mu v epsilon z1:4 G1:4")
    gamma, mean, var, eps = symbols[:4]
    zs, gs = symbols[4:7], symbols[7:]
    div = sum(g * gamma * (z - mean) / sympy.sqrt(var + eps) for z, g in zip(zs, gs, strict=True))
    z, g = _numbers(3)
    given = [GAMMA, Fraction(5, 4), Fraction(9, 8), EPS]
    at = {
        s: sympy.Rational(x.numerator, x.denominator)
        for s, x in zip(symbols, [*given, *z, *g], strict=True)
    }
    a, m, v = (np.array([float(x)]) for x in given[:3])
    own = infer_backward(_column(z), a, m, v, float(EPS), _column(g))
    dz, dgamma, _ = statistics.inference_gradients(
        _column(z), _column(g), a, m, v, float(EPS), FLOAT64
    )
    for i in range(3):
        _within(sympy.diff(div, zs[i]), at, dz[i, 0], own.dz[i, 0])
    _within(sympy.diff(div, gamma), at, dgamma[0], own.dgamma[0])
    # −(γ/s)ΣG: s² and s round once each, the quotient, B−1 additions and the product: B+3.
    # −½(γ/s)∂γ/s: ∂γ has a bound of its own; s² and s twice, two quotients, two products: eight.
    std = np.sqrt(v + float(EPS))
    slope = np.abs(a) / std
    by_mean = FLOAT64.roundings(6) * slope * np.abs(_column(g)).sum()
    _within(sympy.diff(div, mean), at, by_mean[0], own.dmean[0])
    by_var = slope / std * (dgamma + FLOAT64.roundings(8) * np.abs(own.dgamma)) / 2
    _within(sympy.diff(div, var), at, by_var[0], own.dvar[0])
