"""Derived by computer algebra from the definition: every written form of ∂Div/∂z is the same.

sympy differentiates Σ G_i ẑ_i, with ẑ written out as a function of all z_j, ε a symbol.
"""

from __future__ import annotations

from typing import Any

import pytest

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
