"""The inference-mode transform: population statistics in place of the batch's own.

With μ and σ² fixed, batch norm is affine in z, the same for every instance::

    ẑ = γ (z − μ)/√(σ²+ε) + β = a z + b,    a = γ/√(σ²+ε),    b = β − a μ

and so are its gradients, each instance's apart from all others'. With G = ∂Div/∂ẑ::

    ∂Div/∂z_i = γ G_i/s             ∂Div/∂γ = Σ G_i (z_i−μ)/s      ∂Div/∂β = Σ G_i
    ∂Div/∂μ   = −(γ/s) Σ G_i        ∂Div/∂σ² = −(γ/2s²) Σ G_i (z_i−μ)/s

Source: Ioffe & Szegedy 2015, Algorithm 2, line 11.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bn_oracle import arrays
from bn_oracle.arrays import Array


def infer(
    z: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    eps: float,
    *,
    channel_axis: int = 1,
) -> Array:
    """Normalise by given statistics; the result has the shape of `z`.

    Args:
        z: (N, C, …), or channels last with `channel_axis=-1`.
        gamma, beta, mean, var: (C,).
        eps: ε ≥ 0.
        channel_axis: the axis of `z` that holds the features.

    Raises:
        TypeError: an argument is not made of real numbers.
        ValueError: a shape does not fit, a value is not finite, a variance or ε is negative, or
            both are zero.
    """
    batch = arrays.batch("z", z, channel_axis)
    u, std = _normalise(batch, mean, var, eps, channel_axis)
    scale = arrays.per_feature("gamma", gamma, std.size)
    shift = arrays.per_feature("beta", beta, std.size)
    return arrays.from_rows(scale * u + shift, batch.shape, channel_axis)


@dataclass(frozen=True)
class InferenceGradients:
    """Gradients of a divergence in inference mode; (C,) but for `dz`."""

    dz: Array
    """∂Div/∂z, in the shape of the input."""
    dgamma: Array
    dbeta: Array
    dmean: Array
    """∂Div/∂μ, of the given mean."""
    dvar: Array
    """∂Div/∂σ², of the given variance."""


def infer_backward(
    z: ArrayLike,
    gamma: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    eps: float,
    grad: ArrayLike,
    *,
    channel_axis: int = 1,
) -> InferenceGradients:
    """Differentiate inference, where the statistics are given numbers and not functions of z.

    Args:
        z: (N, C, …), or channels last with `channel_axis=-1`.
        gamma, mean, var: (C,). β is not asked for: no gradient depends on it.
        eps: ε ≥ 0.
        grad: G = ∂Div/∂ẑ, in the shape of `z`.
        channel_axis: the axis of `z` that holds the features.

    Raises:
        TypeError: an argument is not made of real numbers.
        ValueError: as `infer`, or `grad` has another shape than `z`.
    """
    batch = arrays.batch("z", z, channel_axis)
    u, std = _normalise(batch, mean, var, eps, channel_axis)
    slope = arrays.per_feature("gamma", gamma, std.size) / std
    g = arrays.to_rows(arrays.same_shape("grad", grad, batch.shape), channel_axis)
    dgamma, dbeta = np.einsum("bc,bc->c", g, u), g.sum(axis=0)
    return InferenceGradients(
        dz=arrays.from_rows(slope * g, batch.shape, channel_axis),
        dgamma=dgamma,
        dbeta=dbeta,
        dmean=-slope * dbeta,
        dvar=-0.5 * slope * dgamma / std,
    )


def fold(
    gamma: ArrayLike, beta: ArrayLike, mean: ArrayLike, var: ArrayLike, eps: float
) -> tuple[Array, Array]:
    """Return the slope a and the intercept b of inference, both (C,): ẑ = a z + b.

    Raises:
        TypeError: an argument is not made of real numbers.
        ValueError: as `infer`.
    """
    centre = arrays.per_feature("mean", mean)
    scale = arrays.per_feature("gamma", gamma, centre.size)
    shift = arrays.per_feature("beta", beta, centre.size)
    slope = scale / denominator(var, centre.size, eps)
    return slope, shift - slope * centre


def _normalise(
    batch: Array, mean: ArrayLike, var: ArrayLike, eps: float, channel_axis: int
) -> tuple[Array, Array]:
    """Return u = (z−μ)/s as rows (B, C), and s (C,)."""
    features = batch.shape[channel_axis]
    centre = arrays.per_feature("mean", mean, features)
    std = denominator(var, features, eps)
    return (arrays.to_rows(batch, channel_axis) - centre) / std, std


def denominator(var: ArrayLike, features: int, eps: float) -> Array:
    """Return s = √(σ²+ε), (C,).

    Raises:
        TypeError: an argument is not made of real numbers.
        ValueError: not one variance a feature, a negative variance or ε, or both zero.
    """
    variances = arrays.not_negative("var", arrays.per_feature("var", var, features))
    epsilon = arrays.scalar("eps", eps, 0.0)
    if epsilon == 0.0 and not variances.all():
        raise ValueError("eps is 0 and a variance is 0: one of them must be positive")
    result: Array = np.sqrt(variances + epsilon)
    return result
