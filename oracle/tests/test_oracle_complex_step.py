"""The gradients against complex-step derivatives of the oracle's own forward computations.

Im F(x + ih)/h with h = 1e−20 forms no difference: what is left is the rounding of both sides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bn_oracle.arrays import Array
from bn_oracle.backward import backward
from bn_oracle.derivations import complex_step
from bn_oracle.derivations.network import (
    Activation,
    Parameters,
    cross_entropy,
    gradients,
    initialise,
    training_pass,
)
from bn_oracle.forward import forward

STEP = 1e-20
ACTIVATIONS: tuple[Activation, ...] = ("sigmoid", "tanh", "relu")
EPS = 0.1


def _derivative(function: Any, at: Array) -> Array:
    """Return ∂function/∂at, one complex step an element."""
    result = np.zeros(at.shape)
    for index in np.ndindex(at.shape):
        moved = at.astype(np.complex128)
        moved[index] += 1j * STEP
        result[index] = function(moved).imag / STEP
    return result


def _off(expected: Array, actual: Array) -> float:
    """The largest error, over the largest value."""
    return float(np.abs(expected - actual).max() / max(np.abs(expected).max(), 1e-300))


@pytest.mark.parametrize("size", [2, 3, 17])
@pytest.mark.parametrize("eps", [0.0, 1e-5, 1.0])
def test_the_backward_pass_is_the_derivative_to_rounding(size: int, eps: float) -> None:
    rng = np.random.default_rng((size, 3))
    rows, g = rng.normal(size=(size, 3)), rng.normal(size=(size, 3))
    gamma, beta = rng.normal(size=3), rng.normal(size=3)
    grads = backward(forward(rows, gamma, beta, eps), g)
    by_z = _derivative(lambda z: (g * complex_step.normalise(z, gamma, beta, eps)).sum(), rows)
    by_gamma = _derivative(lambda x: (g * complex_step.normalise(rows, x, beta, eps)).sum(), gamma)
    by_beta = _derivative(lambda x: (g * complex_step.normalise(rows, gamma, x, eps)).sum(), beta)
    # At B = 2 and ε → 0 the gradient vanishes: it is measured by what it is a difference of.
    routes = np.abs(gamma / forward(rows, gamma, beta, eps).std).max() * np.abs(g).max()
    assert np.abs(by_z - grads.dz).max() <= 1e-14 * routes
    assert _off(by_gamma, grads.dgamma) <= 1e-14
    assert _off(by_beta, grads.dbeta) <= 1e-14


def test_on_real_numbers_the_kernel_is_the_forward_pass_bit_for_bit() -> None:
    rng = np.random.default_rng(1)
    rows, gamma, beta = rng.normal(size=(9, 4)), rng.normal(size=4), rng.normal(size=4)
    record = forward(rows, gamma, beta, 1e-5)
    assert np.array_equal(record.out, complex_step.normalise(rows, gamma, beta, 1e-5))


def _network() -> tuple[Parameters, Array, Any]:
    rng = np.random.default_rng(5)
    plain = initialise((4, 5, 3, 3), seed=2)
    parameters = Parameters(
        plain.weights,
        tuple(rng.normal(size=bias.shape) for bias in plain.biases),
        tuple(rng.normal(size=gamma.shape) + 1.5 for gamma in plain.gammas),
        tuple(rng.normal(size=beta.shape) for beta in plain.betas),
    )
    return parameters, rng.normal(size=(7, 4)), rng.integers(0, 3, size=7)


def _loss(parameters: Parameters, x: Array, labels: Any, activation: Activation) -> Any:
    return complex_step.network_loss(
        parameters.weights,
        parameters.biases,
        parameters.gammas,
        parameters.betas,
        x,
        labels,
        activation,
        EPS,
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_on_real_numbers_the_kernel_is_the_network_bit_for_bit(activation: Activation) -> None:
    parameters, x, labels = _network()
    seen = training_pass(parameters, x, activation, EPS)
    expected = cross_entropy(seen.logits, labels)
    assert expected == float(_loss(parameters, x, labels, activation))


def test_the_kernel_survives_logits_that_overflow_an_exponential() -> None:
    """Each instance's own maximum is taken away, as the network does."""
    parameters, x, labels = _network()
    scale = np.array([1e6, -1e6, 1.0])
    weights = (*parameters.weights[:-1], scale[:, None] * parameters.weights[-1])
    large = replace(parameters, weights=weights, biases=(*parameters.biases[:-1], scale))
    seen = training_pass(large, x, "tanh", EPS)
    assert 1e3 < np.ptp(seen.logits.max(axis=1)), "instances whose maxima are far apart"
    assert cross_entropy(seen.logits, labels) == float(_loss(large, x, labels, "tanh"))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", ["weights", "biases", "gammas", "betas"])
def test_the_networks_gradients_are_the_derivatives_to_rounding(
    activation: Activation, kind: str
) -> None:
    parameters, x, labels = _network()
    seen = training_pass(parameters, x, activation, EPS)
    grads = getattr(gradients(parameters, seen, labels, activation), kind)
    largest = max(np.abs(g).max() for g in grads)
    values = getattr(parameters, kind)
    for layer, value in enumerate(values):

        def loss(moved: Any, layer: int = layer) -> Any:
            tensors = (*values[:layer], moved, *values[layer + 1 :])
            return _loss(replace(parameters, **{kind: tensors}), x, labels, activation)

        assert np.abs(_derivative(loss, value) - grads[layer]).max() <= 1e-14 * max(largest, 1.0)
