"""The errors that statistics bring with them are carried on, and hardly more than that.

Each statistic is moved by as much as it may be off, to the side that does most harm; everything
else is computed in float64, whose roundings vanish beside that. So observed/bound is 1 but for what
a bound gives away by its form, and a bound that carries less, or much more, fails.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bn_oracle.arrays import Array
from bn_oracle.bounds import statistics
from bn_oracle.bounds.precision import FLOAT64
from bn_oracle.inference import fold, infer, infer_backward

SIZES = (1e-3, 1e-6)
rng = np.random.default_rng(3)
Z, GRAD = rng.normal(size=(2, 7, 3))
GAMMA, BETA, MEAN = rng.normal(size=(3, 3))
VAR, EPS = rng.uniform(0.5, 2.0, 3), 1e-3


def used(moved: Any, right: Any, bound: Any) -> Array:
    """Return observed/bound, nowhere above 1."""
    ratio: Array = np.abs(np.asarray(moved) - np.asarray(right)) / bound
    assert (ratio <= 1.0).all()
    return ratio


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_inference_carries_the_errors_of_its_statistics(size: float, sign: float) -> None:
    """The mean to either side; the variance down, where 1/s grows most."""
    bound = statistics.inference(
        Z, GAMMA, BETA, MEAN, VAR, EPS, FLOAT64, mean_error=np.full(3, size), var_error=size * VAR
    )
    right = infer(Z, GAMMA, BETA, MEAN, VAR, EPS)
    moved = infer(Z, GAMMA, BETA, MEAN + sign * size, VAR * (1 - size), EPS)
    ratio = used(moved, right, bound)
    # μ moved down adds to z − μ > 0, μ moved up to z − μ < 0.
    apart = np.sign(Z - MEAN) == -sign
    assert apart.any()
    assert ratio[apart].min() > 0.999


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_fold_carries_the_errors_of_its_statistics(size: float, sign: float) -> None:
    errors = {"mean_error": np.full(3, size), "var_error": size * VAR}
    bounds = statistics.fold(GAMMA, BETA, MEAN, VAR, EPS, FLOAT64, **errors)
    right = fold(GAMMA, BETA, MEAN, VAR, EPS)
    moved = fold(GAMMA, BETA, MEAN + sign * size, VAR * (1 - size), EPS)
    slope, intercept = (used(*each) for each in zip(moved, right, bounds, strict=True))
    assert slope.min() > 0.999
    assert intercept[np.sign(MEAN) == sign].min() > 0.999


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_inference_gradients_carry_the_errors_of_their_statistics(size: float, sign: float) -> None:
    """∂γ is a sum over the batch: all of its terms grow where z is on μ's far side and G > 0."""
    z, grad = MEAN - sign * np.abs(Z), np.abs(GRAD)
    by_z, by_gamma, _ = statistics.inference_gradients(
        z, grad, GAMMA, MEAN, VAR, EPS, FLOAT64, mean_error=np.full(3, size), var_error=size * VAR
    )
    right = infer_backward(z, GAMMA, MEAN, VAR, EPS, grad)
    moved = infer_backward(z, GAMMA, MEAN + sign * size, VAR * (1 - size), EPS, grad)
    assert used(moved.dz, right.dz, by_z).min() > 0.999
    assert used(moved.dgamma, right.dgamma, by_gamma).min() > 0.999
    assert np.array_equal(right.dbeta, moved.dbeta)


@pytest.mark.parametrize("decay", [0.0, 0.1, 0.9, 1.0])
def test_a_running_average_carries_both_errors(decay: float) -> None:
    old, batch, by_old, by_batch = MEAN, VAR, np.full(3, 1e-3), np.full(3, 1e-2)
    bound = statistics.running(old, by_old, batch, by_batch, decay, FLOAT64)
    right = decay * old + (1 - decay) * batch
    moved = decay * (old + by_old) + (1 - decay) * (batch + by_batch)
    assert used(moved, right, bound).min() > 0.999


def test_an_unbiased_variance_carries_its_error() -> None:
    bound = statistics.unbiased(VAR, 1e-3 * VAR, 4, FLOAT64)
    assert used(VAR * 1.001 * 4 / 3, VAR * 4 / 3, bound).min() > 0.999


PARTS = np.array([2, 3, 7])
MEANS, VARIANCES = rng.normal(size=(3, 4)), rng.uniform(0.5, 2, size=(3, 4))
BY_MEAN = rng.uniform(1e-3, 1e-2, size=(3, 4))
BY_VAR = rng.uniform(1e-3, 1e-2, size=(3, 4))


def test_population_statistics_carry_the_errors_of_their_parts() -> None:
    weights, factors = (PARTS / 12)[:, None], (PARTS / (PARTS - 1))[:, None]
    mean, var = statistics.population(PARTS, np.abs(MEANS), VARIANCES, BY_MEAN, BY_VAR, FLOAT64)
    right = (weights * MEANS).sum(axis=0), (factors * VARIANCES).mean(axis=0)
    moved_mean = (weights * (MEANS + BY_MEAN)).sum(axis=0)
    moved_var = (factors * (VARIANCES + BY_VAR)).mean(axis=0)
    assert used(moved_mean, right[0], mean).min() > 0.999
    assert used(moved_var, right[1], var).min() > 0.999


def test_merged_statistics_carry_the_errors_of_their_parts() -> None:
    """Two parts of one size, their means moved apart: nothing but the mean's own error is given
    away, which is counted with each part's and does not add to these."""

    def merged(means: Array, variances: Array) -> tuple[Array, Array]:
        centre = means.mean(axis=0)
        return centre, variances.mean(axis=0) + ((means - centre) ** 2).mean(axis=0)

    sizes, means, variances = np.array([5, 5]), np.array([[1.0], [-2.0]]), np.array([[3.0], [2.0]])
    for by_mean, by_var, reached in ((1e-3, 0.0, 0.499), (0.0, 1e-3, 0.999), (1e-3, 1e-2, 0.8)):
        off, var_off = np.full((2, 1), by_mean), np.full((2, 1), by_var)
        bounds = statistics.merged(sizes, means, variances, off, var_off, FLOAT64)
        right = merged(means, variances)
        apart = merged(means + by_mean * np.sign(means), variances + by_var)
        together = merged(means + by_mean, variances)
        assert used(apart[1], right[1], bounds[1]).min() > reached
        if by_mean:
            assert used(together[0], right[0], bounds[0]).min() > 0.999
