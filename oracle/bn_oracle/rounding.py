"""How far a correct implementation may be off: error bounds for every output, derived.

Notation, for one feature: w the unit roundoff of the arithmetic, η its smallest subnormal, N the
batch size (values a feature), m = max|z|, v the biased variance, s = √(v+ε), u the normalised
values, G the upstream gradient. All bounds are absolute, first order in w, and follow the data
through the computation with the standard model fl(a∘b) = (a∘b)(1+δ), |δ| ≤ w, and
|error of a sum of n terms| ≤ (n−1)·w·Σ|terms| in any order (Higham, "Accuracy and Stability of
Numerical Algorithms", 2nd ed., §2.2 and §4.2).

Two of them stand side by side:

* *stable*: what any order of summation, and any algorithm that centres before it squares, stays
  within (Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance").
* *one-pass*: what E[z²] − E[z]² stays within. It is algebraically right, so an error below this
  bound is instability, not a mistake.

Where the relative error of s² may exceed ¼ (`LIMIT`), first order no longer describes it and the
bound is infinite: such a feature must not be judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bn_oracle import arrays
from bn_oracle.arrays import Array
from bn_oracle.forward import Forward

Algorithm = Literal["stable", "one-pass"]

LIMIT = 0.25
"""The largest relative error of s² for which first order holds: (1+k)^(−3/2), the steepest power
of s² in any output, then differs from 1 − 3k/2 by less than 0.1."""


@dataclass(frozen=True)
class Precision:
    """The arithmetic of an implementation."""

    name: str
    unit_roundoff: float
    """w: half the spacing of the numbers just above 1."""
    subnormal: float
    """η: the smallest positive number."""


FLOAT64 = Precision("float64", 2.0**-53, 2.0**-1074)
FLOAT32 = Precision("float32", 2.0**-24, 2.0**-149)
PRECISIONS = {precision.name: precision for precision in (FLOAT64, FLOAT32)}
"""Every precision by its dtype's name."""


@dataclass(frozen=True)
class TrainingBounds:
    """Bounds on the outputs of a training pass; infinite where they may not judge."""

    relative_variance: Array
    """k, (C,): the relative error of s² = v + ε."""
    mean: Array
    """(C,)"""
    var: Array
    """(C,)"""
    u: Array
    """(B, C)"""
    out: Array
    """In the shape of the input."""


@dataclass(frozen=True)
class GradientBounds:
    """Bounds on the gradients; infinite where they may not judge."""

    dz: Array
    """In the shape of the input."""
    dgamma: Array
    """(C,)"""
    dbeta: Array
    """(C,)"""


def training(record: Forward, precision: Precision, algorithm: Algorithm) -> TrainingBounds:
    """Bound the errors of a training-mode forward pass."""
    w, tiny, n = precision.unit_roundoff, precision.subnormal, record.batch_size
    largest = np.abs(record.rows).max(axis=0)
    square = record.var + record.eps

    # μ: N−1 additions and a division; z − μ rounds once more; two to spare for an implementation
    # that multiplies by a rounded 1/N, or corrects the mean as ours does.
    mean = (n + 4) * w * largest
    if algorithm == "stable":
        # (z−μ)² carries 2·|z−μ|·E_c + E_c²; by Cauchy-Schwarz the mean of the first is at most
        # 2·√v·E_c. Summing the squares, dividing by N and adding ε costs (N+4)·w relative.
        var = (n + 4) * w * (2 * largest * np.sqrt(record.var) + record.var) + mean**2
        k = ((n + 4) * w * (2 * largest * np.sqrt(record.var) + square) + mean**2) / square
    else:
        # E[z²] is off by (N+1)·w·m² and E[z]² by 2·(N+1)·w·m²; the square, the subtraction and
        # the sum with ε round too: 3N+8 covers them.
        var = (3 * n + 8) * w * (largest**2 + record.var)
        k = (3 * n + 8) * w * (largest**2 / square + 1)
    # Each of the N squares may lose up to η to underflow; their mean at most η.
    var = var + tiny
    k = k + tiny / square

    # u = (z−μ)/s: the centring error over s, half of k through the root (k to be safe at ¼), and
    # four roundings: the root, the quotient, and two for a reciprocal or a power in their place.
    u = mean / record.std + np.abs(record.u) * (k + 4 * w) + tiny
    # ẑ = γu + β: one product and one sum; four cover a parameter rounded to the dtype as well.
    out = (
        np.abs(record.gamma) * u
        + 4 * w * (np.abs(record.gamma * record.u) + np.abs(record.beta))
        + tiny
    )
    u, out = (np.where(k <= LIMIT, bound, np.inf) for bound in (u, out))
    return TrainingBounds(
        k, mean, var, u, arrays.from_rows(out, record.out.shape, record.channel_axis)
    )


def gradients(
    record: Forward, grad_rows: Array, bounds: TrainingBounds, precision: Precision
) -> GradientBounds:
    """Bound the errors of the gradients, given those of the forward pass.

    `grad_rows` is the upstream gradient as rows (B, C).
    """
    w, tiny, n = precision.unit_roundoff, precision.subnormal, record.batch_size
    g, u = np.abs(grad_rows), np.abs(record.u)
    k = bounds.relative_variance
    slope = np.abs(record.gamma) / record.std
    error_u = np.where(np.isfinite(bounds.u), bounds.u, 0.0)

    # ∂β is a sum of N terms. ∂γ sums N products, each with the error of its u.
    dbeta = (n + 2) * w * g.sum(axis=0)
    dgamma = (g * error_u).sum(axis=0) + (n + 2) * w * (g * u).sum(axis=0) + n * tiny
    # ∂z = (γ/s)(G − mean G − u·mean(G·u)): the errors of the two means and of u, then (N+8)
    # roundings on the magnitude of each term — the chains form the terms by longer ways, with
    # γ and 1/s inside the sums — and the error of 1/s: k, with four roundings.
    mean_gu = np.abs((grad_rows * record.u).mean(axis=0))
    magnitude = g + g.mean(axis=0) + u * (g * u).mean(axis=0)
    dz = slope * (
        dbeta / n
        + error_u * mean_gu
        + (u + error_u) * dgamma / n
        + ((n + 8) * w + k + 4 * w) * magnitude
    ) + (n + 8) * tiny * (1 + slope + 1 / record.std)
    dz = np.where(k <= LIMIT, dz, np.inf)
    dgamma = np.where(k <= LIMIT, dgamma, np.inf)
    return GradientBounds(
        arrays.from_rows(dz, record.out.shape, record.channel_axis), dgamma, dbeta
    )


def inference(
    z: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    eps: float,
    precision: Precision,
    *,
    mean_error: Array | float = 0.0,
    var_error: Array | float = 0.0,
    channel_axis: int = 1,
) -> Array:
    """Bound the error of an inference output, in the shape of `z`.

    `mean_error` and `var_error` bound the errors that the running statistics bring with them.
    The fold a·z + b cancels where z is near μ, so |z| + |μ| stands where |z − μ| would.
    """
    w, tiny = precision.unit_roundoff, precision.subnormal
    rows = arrays.to_rows(z, channel_axis)
    square = var + eps
    std = np.sqrt(square)
    scale = np.abs(gamma) / std
    # Straight: z−μ, v+ε, √, /, ·γ round in turn; folded: a = γ/√(v+ε) takes three roundings,
    # a·z and a·μ one each, b one and the last sum one. Eight cover both, four the shift.
    bound = 8 * w * scale * (np.abs(rows) + np.abs(mean)) + 4 * w * np.abs(beta)
    # What the statistics bring: through the mean directly, through s by half the relative error
    # of s² (all of it is charged, which holds up to LIMIT).
    relative = np.asarray(var_error / square)
    bound = bound + scale * (mean_error + relative * np.abs(rows - mean))
    bound = bound + tiny * (2 + np.abs(gamma) + np.abs(rows) + np.abs(mean))
    bound = np.where(relative <= LIMIT, bound, np.inf)
    return arrays.from_rows(bound, z.shape, channel_axis)


def running(
    old: Array,
    old_error: Array,
    batch: Array,
    batch_error: Array,
    keep: float,
    precision: Precision,
) -> Array:
    """Bound the error of keep·old + (1−keep)·batch, (C,).

    Each product and the sum round once; 1−keep and keep are rounded to the dtype; and the
    unbiased factor B/(B−1) costs two roundings of the batch's variance. Eight cover them.
    """
    w, tiny = precision.unit_roundoff, precision.subnormal
    result: Array = (
        keep * old_error
        + (1.0 - keep) * batch_error
        + 8 * w * (np.abs(keep * old) + np.abs((1.0 - keep) * batch))
        + 4 * tiny
    )
    return result
