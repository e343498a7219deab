"""The training-mode transform, with every intermediate.

In the notation of the lecture notes, for one feature over a mini-batch of B values::

    μ_B  = (1/B) Σ z_i                      σ_B² = (1/B) Σ (z_i − μ_B)²
    u_i  = (z_i − μ_B) / √(σ_B² + ε)        ẑ_i  = γ u_i + β

Source: Ioffe & Szegedy 2015 (arXiv:1502.03167), Algorithm 1, where z, u, ẑ are called x, x̂, y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bn_oracle import arrays
from bn_oracle.arrays import Array


@dataclass(frozen=True)
class Forward:
    """A training-mode forward pass; all arrays float64.

    `rows`, `centred` and `u` have shape (B, C); the statistics and parameters shape (C,); `out`
    has the shape of the input.
    """

    rows: Array
    """z: the input, all values of a feature in one column."""
    gamma: Array
    beta: Array
    eps: float
    mean: Array
    """μ_B"""
    centred: Array
    """z − μ_B"""
    var: Array
    """σ_B², biased: divided by B."""
    std: Array
    """s = √(σ_B² + ε)"""
    u: Array
    """The normalised values."""
    out: Array
    """ẑ, in the shape of the input."""
    channel_axis: int

    @property
    def batch_size(self) -> int:
        """B: how many values share a feature's statistics."""
        return int(self.rows.shape[0])


def statistics(rows: Array) -> tuple[Array, Array, Array]:
    """Return mean (C,), centred values (B, C) and biased variance (C,) of rows (B, C).

    Two passes. The centred values are centred once more: the first mean is off by up to
    (B+1)·w·max|z| (w the unit roundoff), which at a large offset exceeds the spread itself; the
    mean of the centred values is that error, and taking it away costs one pass.
    Source: Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", §3.
    """
    size = rows.shape[0]
    mean = np.add.reduce(rows, axis=0) / size
    centred = rows - mean
    residue = np.add.reduce(centred, axis=0) / size
    centred -= residue
    var = np.einsum("bc,bc->c", centred, centred) / size
    return mean + residue, centred, var


def forward(
    z: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    eps: float,
    *,
    channel_axis: int = 1,
) -> Forward:
    """Normalise a batch by its own statistics, then scale and shift.

    Args:
        z: (N, C), (N, C, L), (N, C, H, W), …; with `channel_axis=-1`, (N, …, C).
        gamma: (C,), the scale.
        beta: (C,), the shift.
        eps: ε ≥ 0, added to the variance.
        channel_axis: the axis of `z` that holds the features.

    Raises:
        TypeError: an argument is not made of real numbers.
        ValueError: a shape does not fit, a value is not finite, ε < 0, or ε = 0 with a feature
            of zero variance.
    """
    batch = arrays.batch("z", z, channel_axis)
    features = batch.shape[channel_axis]
    scale = arrays.per_feature("gamma", gamma, features)
    shift = arrays.per_feature("beta", beta, features)
    epsilon = arrays.scalar("eps", eps, 0.0)

    rows = arrays.to_rows(batch, channel_axis)
    mean, centred, var = statistics(rows)
    if epsilon == 0.0 and not var.all():
        column = int(np.argmin(var))
        raise ValueError(f"eps is 0 and feature {column} has variance 0: eps must be positive")
    std = np.sqrt(var + epsilon)
    u = centred / std
    affine = scale * u
    affine += shift
    out = arrays.from_rows(affine, batch.shape, channel_axis)
    return Forward(rows, scale, shift, epsilon, mean, centred, var, std, u, out, channel_axis)
