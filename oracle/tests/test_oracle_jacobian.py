"""The B×B Jacobian of a feature, and the hard facts about normalised values."""

from __future__ import annotations

import numpy as np
import pytest
from bn_oracle.arrays import Array
from bn_oracle.backward import backward
from bn_oracle.derivations.jacobian import jacobian
from bn_oracle.forward import Forward, forward

UNIT = 2.0**-53


def _record(size: int, features: int = 3, eps: float = 0.25) -> Forward:
    rng = np.random.default_rng((size, features))
    z = rng.normal(size=(size, features))
    return forward(z, rng.normal(size=features) + 2, rng.normal(size=features), eps)


def _scale(record: Forward) -> Array:
    """γ/s: no entry of the Jacobian is larger."""
    return np.abs(record.gamma / record.std)[:, None, None]


SIZES = (1, 2, 3, 8, 65)


@pytest.mark.parametrize("size", SIZES)
def test_the_jacobian_is_symmetric(size: int) -> None:
    J = jacobian(_record(size))
    assert np.array_equal(J, J.transpose(0, 2, 1))


@pytest.mark.parametrize("size", SIZES)
def test_the_jacobian_maps_constants_to_zero(size: int) -> None:
    record = _record(size)
    shifted = np.abs(jacobian(record).sum(axis=2, keepdims=True))
    # A row holds one entry of size 1 and B of size up to (1 + max u²)/B.
    allowed = (size + 8) * UNIT * (2 + (record.u**2).max(axis=0)[:, None, None])
    assert (shifted <= allowed * _scale(record)).all()


@pytest.mark.parametrize("size", SIZES)
def test_the_jacobian_shrinks_u_by_the_share_of_epsilon(size: int) -> None:
    """J·u = (γ/s)·(ε/(σ²+ε))·u: of scaling a batch, only ε leaves a trace."""
    record = _record(size)
    left = np.einsum("cij,jc->ic", jacobian(record), record.u)
    right = record.gamma / record.std * (record.eps / (record.var + record.eps)) * record.u
    peak = np.abs(record.u).max(axis=0)
    allowed = 2 * (size + 16) * UNIT * _scale(record)[:, 0, 0] * (2 * peak + peak**3)
    assert (np.abs(left - right) <= allowed).all()


@pytest.mark.parametrize("size", SIZES)
def test_the_jacobian_times_the_upstream_gradient_is_the_input_gradient(size: int) -> None:
    record = _record(size)
    g = np.random.default_rng(size).normal(size=record.out.shape)
    product = np.einsum("cij,jc->ic", jacobian(record), g)
    u = np.abs(record.u)
    sizes = np.abs(g) + np.abs(g).mean(axis=0) + u * (np.abs(g) * u).mean(axis=0)
    allowed = 2 * (size + 16) * UNIT * np.abs(record.gamma) / record.std * sizes
    assert (np.abs(product - backward(record, g).dz) <= allowed).all()


def test_the_jacobian_is_the_derivative_and_zero_across_features() -> None:
    """Central differences of the forward pass, over every pair of inputs and outputs."""
    record, h = _record(4), 1e-5
    J = jacobian(record)
    for j, feature in np.ndindex(record.rows.shape):
        step = np.zeros_like(record.rows)
        step[j, feature] = h
        ends = [
            forward(record.rows + s * step, record.gamma, record.beta, record.eps).out
            for s in (1, -1)
        ]
        difference = (ends[0] - ends[1]) / (2 * h)
        others = np.delete(difference, feature, axis=1)
        assert not others.any()
        # h²/6 times a third derivative of some γ/s³, and roundings of 1e−16/h.
        assert J[feature, :, j] == pytest.approx(difference[:, feature], abs=1e-8)


@pytest.mark.parametrize("size", [2, 3, 10, 128])
def test_no_normalised_value_exceeds_the_root_of_b_minus_one(size: int) -> None:
    """Equality: one value differs from all others, and ε = 0."""
    rng = np.random.default_rng(size)
    bound = np.sqrt(size - 1.0)
    for z in (rng.normal(size=(size, 5)), rng.standard_cauchy(size=(size, 5))):
        u = forward(z, np.ones(5), np.zeros(5), 0.0).u
        assert np.abs(u).max() <= bound * (1 + (size + 8) * UNIT)
    outlier = np.zeros((size, 1))
    outlier[0] = size
    record = forward(outlier, [1.0], [0.0], 0.0)
    assert bound == pytest.approx(record.u[0, 0], rel=(size + 8) * UNIT, abs=0.0)
    assert -1 / bound == pytest.approx(record.u[1, 0], rel=(size + 8) * UNIT, abs=0.0)
    assert forward(outlier, [1.0], [0.0], 1e-3).u[0, 0] < bound


@pytest.mark.parametrize("k", [1.5, 2.0, 3.0])
def test_at_most_one_in_k_squared_normalised_values_reaches_k(k: float) -> None:
    """Chebyshev, for the batch's own distribution: no assumption about the data."""
    rng = np.random.default_rng(7)
    for draw in (rng.normal, rng.standard_cauchy, rng.exponential):
        u = forward(draw(size=(500, 20)), np.ones(20), np.zeros(20), 0.0).u
        assert ((np.abs(u) >= k).mean(axis=0) <= 1 / k**2).all()
