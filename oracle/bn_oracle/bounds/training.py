"""How far a correct implementation of training may be off: error bounds, derived.

Notation, for one feature: N the batch size (values a feature), m = max|z|, v the biased variance,
s = √(v+ε), u the normalised values, G the upstream gradient; w, η and γ_n as in
`bn_oracle.bounds.precision`. All bounds are absolute. They follow the data through the computation
and count roundings; γ_n keeps second order, so nothing is dropped. A sum of n terms in any order
is off by at most γ_(n−1)·Σ|terms| (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd
ed., §4.2).

Two bounds stand side by side:

* *stable*: what any order of summation, and any algorithm that centres before it squares or
  multiplies, stays within: two passes, Welford, pairwise merges (Chan, Golub & LeVeque 1983,
  "Algorithms for computing the sample variance: analysis and recommendations").
* *one-pass*: what E[z²] − E[z]², and Σ G·z − μ·Σ G, stay within. They are algebraically right, so
  an error below this bound is instability, not a mistake. It is never below the stable one.

Where the relative error of s² may exceed ¼ (`LIMIT`), or an intermediate of a correct
implementation may leave the range of the arithmetic, a bound is infinite: such a feature must not
be judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bn_oracle import arrays
from bn_oracle.arrays import Array
from bn_oracle.backward import closed_form
from bn_oracle.bounds.precision import LIMIT, Precision
from bn_oracle.bounds.statistics import inverse_root
from bn_oracle.forward import Forward

Algorithm = Literal["stable", "one-pass"]


@dataclass(frozen=True)
class TrainingBounds:
    """Bounds on the outputs of a training pass; infinite where they may not judge."""

    relative_variance: Array
    """k, (C,): the relative error of s² = v + ε; infinite where a square may overflow."""
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


@np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
def forward(
    record: Forward, precision: Precision, algorithm: Algorithm, shift: Array | float = 0.0
) -> TrainingBounds:
    """Bound the errors of a training-mode forward pass.

    Args:
        record: the forward pass.
        precision: the arithmetic.
        algorithm: which of the two bounds.
        shift: (C,), what an implementation may subtract from a feature before it sums: E[(z−a)²] −
            E[z−a]² is E[z²] − E[z]² of smaller numbers where a is near the mean, and of larger
            ones where it is not. So m is max(|z|, |a|) for the *one-pass* bound; the *stable* one
            knows no shift.
    """
    tiny, n = precision.subnormal, record.batch_size
    largest = np.abs(record.rows).max(axis=0)
    if algorithm == "one-pass":
        largest = np.maximum(largest, np.abs(shift))
    gamma = np.abs(record.gamma)
    square = record.var + record.eps
    # An implementation may divide each term by N before it sums: N products lose η/2 each; one
    # more η for the quotient and for an ε that the dtype rounds.
    lost = (n / 2 + 1) * tiny

    if algorithm == "stable":
        # z − μ, in units of w·m: the mean takes N−1 additions and a division, two with a rounded
        # 1/N (Welford takes (N+1)/2 + 4), and one more if it is corrected as ours is: N+2. Then
        # z − μ rounds |z−μ| ≤ 2m once; or, folded as z·a − μ·a, three products and sums of at
        # most m·a round: N+5.
        centring = precision.roundings(n + 5) * largest + lost
        # Squares of centred values carry 2·|z−μ|·E_c + E_c²; by Cauchy-Schwarz the mean of the
        # first is at most 2·√v·E_c. Two passes do better, as Σ(z−μ) = 0 takes the common error
        # away (Chan, Golub & LeVeque, §3: Nw + (Nwκ)²), but Welford and merges do not: there
        # N·w·κ stands, κ = m/√v. Squaring, N−1 additions, the division and two to spare: N+3.
        spread = precision.roundings(n + 3)
        var = 2 * centring * np.sqrt(record.var) * (1 + spread) + spread * record.var
        var = var + centring**2 * (1 + spread) + lost
    else:
        # E[z²] takes N+2 roundings of at most m², E[z]² twice N+2 and its square, the
        # difference one of v: 3N+8 with one to spare. ΣGz − μ·ΣG, in units of w·m·Σ|G|: N and
        # one for its division, N+2 for μ, N+1 for its product and one for the difference: 3N+5.
        cancelling = precision.roundings(3 * n + 8)
        centring = cancelling * largest + lost
        var = cancelling * (largest**2 + record.var) + lost * (1 + 2 * largest)
    # ε rounded to the dtype, and the sum v + ε.
    k = (var + precision.roundings(2) * square + tiny / 2) / square
    # The range: N squares of |z−μ| ≤ 2m, and their sum.
    fits = np.maximum(4 * n * largest**2, 2 * n * largest) <= precision.largest
    k = np.where(fits, k, np.inf)

    # u = (z−μ)/s. 1/s is off by (1−k)^(−1/2) at worst; a root, a reciprocal and a product round,
    # and one to spare for a power, which libraries compute to within an ulp. The η: the quotient,
    # and a reciprocal that goes subnormal, times |z−μ| ≤ 2m.
    inverse = inverse_root(k, precision, 4)
    error_u = (1 + inverse) * centring / record.std + inverse * np.abs(record.u)
    error_u = error_u + tiny * (1 + largest)
    # ẑ = γu + β: γ and β rounded to the dtype, one product and one sum, in either order of γ and
    # 1/s: four on γu, three on β. The η: as above, now for γ/s, and the product.
    affine = precision.roundings(4)
    out = gamma * error_u * (1 + affine) + tiny * (1 + largest)
    out = out + affine * (gamma * np.abs(record.u) + np.abs(record.beta))
    # The range, folded or not: γ/s, γz/s and γu.
    slope = gamma / record.std
    fits = (k <= LIMIT) & (slope * np.maximum(1, largest) + gamma * np.sqrt(n) <= precision.largest)
    error_u, out = (np.where(fits, bound, np.inf) for bound in (error_u, out))

    affine_rows = record.gamma * record.u + record.beta
    mean = np.where(n * largest <= precision.largest, centring, np.inf)
    var = np.where(np.isfinite(k), var, np.inf)
    return TrainingBounds(
        k,
        precision.stored(record.mean, mean),
        precision.stored(record.var, var),
        error_u,
        arrays.from_rows(precision.stored(affine_rows, out), record.out.shape, record.channel_axis),
    )


@np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
def backward(
    record: Forward,
    grad_rows: Array,
    bounds: TrainingBounds,
    precision: Precision,
    *,
    power: int = 3,
) -> GradientBounds:
    """Bound the errors of the gradients, given those of the forward pass.

    Args:
        record: the forward pass.
        grad_rows: the upstream gradient as rows (B, C).
        bounds: on the forward pass.
        precision: the arithmetic.
        power: the highest power of 1/s that the implementation forms. The chain of most lecture
            notes forms (v+ε)^(−3/2), power 3, and leaves the range far earlier than the closed
            form, power 1; so dz is judged only where all forms are in range.
    """
    tiny, n = precision.subnormal, record.batch_size
    g, u = np.abs(grad_rows), np.abs(record.u)
    k = bounds.relative_variance
    judged = np.isfinite(bounds.u).all(axis=0)
    gamma = np.abs(record.gamma)
    slope = gamma / record.std
    error_u = np.where(judged, bounds.u, 0.0)
    sums = precision.roundings(n + 2)

    # ∂β: N−1 additions; three to spare for a mean multiplied back by N.
    total_g = g.sum(axis=0)
    dbeta = sums * total_g
    # ∂γ: N products, N−1 additions, each product with the error of its u. An implementation may
    # sum G·(z−μ) and divide by s: a product may lose η/2 before or after the division.
    total_gu = (g * u).sum(axis=0)
    dgamma = (1 + sums) * (g * error_u).sum(axis=0) + sums * total_gu
    dgamma = dgamma + (n / 2 + 1) * tiny * (1 + 1 / record.std)

    # ∂z = (γ/s)·t, t = G − mean G − u·mean(G·u). First t: the error of each mean (with its
    # division), of u, and of their product ...
    mean_g, error_g = total_g / n, dbeta / n
    mean_gu, error_gu = np.abs((grad_rows * record.u).mean(axis=0)), dgamma / n
    error = error_g + (u + error_u) * error_gu + error_u * mean_gu
    # ... then N+8 roundings on the size of each term: the chains have γ, 1/s and 2/N inside
    # their sums and form the terms by longer ways (γG, z−μ, the power, ½, their products, N
    # additions, 2/N, the product with z−μ, two sums). Their Σ(z−μ), which should be 0, meets the
    # error of μ in z−μ and takes it away; its own N·w·√v is less than the E_c/s in E_u.
    size = g + mean_g + (u + error_u) * (total_gu / n + error_gu)
    error = error + precision.roundings(n + 8) * size
    # ... and 1/s in front: the root, a reciprocal, a product and two to spare for a power, γ
    # rounded and multiplied. E_u, twice, and this are the three factors (1−k)^(−1/2) of a
    # (v+ε)^(−3/2).
    inverse = inverse_root(k, precision, 7)
    dz = slope * ((1 + inverse) * error + inverse * size)
    # Any product on the way may lose η/2 and then be multiplied by what follows: 1, γ/s, 1/s,
    # u, and in a chain |z−μ|·s⁻³ = |u|/s²; γ/s itself may lose η/2 and be multiplied by t.
    follows = 1 + size + (1 + slope + 1 / record.std) * (1 + u)
    if power > 1:
        follows = follows + (u + error_u) * (1 + gamma) / record.std ** (power - 1)
    dz = dz + (n + 8) * tiny * follows

    # The range: the powers of s and N times these are normal numbers, and so are their
    # reciprocals; the sums of G, of γG, of G·(z−μ), and of these over s, do not overflow.
    largest_g, largest = g.max(axis=0), 2 * np.abs(record.rows).max(axis=0)
    steepest = np.maximum(record.std**power, record.std**-power)
    summed = 2 * n * largest_g * np.maximum(1, gamma) * np.maximum(1, largest) * steepest
    dz_fits = judged & (n * steepest <= 1 / precision.smallest_normal)
    dz_fits = dz_fits & (summed <= precision.largest)
    dgamma_fits = judged & (
        2 * n * largest_g * np.maximum(1, largest) * np.maximum(1, 1 / record.std)
        <= precision.largest
    )
    closed, _, _ = closed_form(record, grad_rows)
    dz = precision.stored(closed, np.where(dz_fits, dz, np.inf))
    dgamma = np.where(dgamma_fits, dgamma, np.inf)
    dbeta = np.where(n * largest_g <= precision.largest, dbeta, np.inf)
    return GradientBounds(
        arrays.from_rows(dz, record.out.shape, record.channel_axis),
        precision.stored(total_gu, dgamma),
        precision.stored(total_g, dbeta),
    )
