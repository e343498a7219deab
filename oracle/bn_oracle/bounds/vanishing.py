"""How far the term that vanishes may be off, whatever stands around it.

∂σ²/∂μ = −(2/N)·Σ(z−μ) is zero. Many write it out all the same, and then whatever stands around it
is exact algebra: a factor left out, another power of σ²+ε, the sum taken over every feature instead
of its own. What such a chain adds to ∂z is

    F·T,   T = the rounding of Σ(z−μ) over whatever is summed,

the same for every instance of a feature, and nothing at all where Σ(z−μ) is exactly zero in the
arithmetic; but for the rounding of a factor that stands inside the sum. As an error it is
instability, not a mistake: it belongs to the bound that a mistake alone goes past, beside what
E[z²] − E[z]² needs, and not to the stable one.

Notation as in `bn_oracle.bounds.training`; d = z−μ, C the number of features.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bn_oracle.arrays import Array
from bn_oracle.bounds.precision import Precision
from bn_oracle.forward import Forward

POWER = 5
"""The largest power of s that is granted around the sum: (v+ε)^(3/2), and v+ε."""
DIVISOR = 9
"""The largest power of 1/s: the right (v+ε)^(−3/2), and (v+ε)^(−3) beside it."""


@np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
def residue(record: Forward, grad_rows: Array, centring: Array, precision: Precision) -> float:
    """Bound what a vanishing term adds to ∂z of any feature: F·T.

    F is the largest factor that can be made of what stands in the right chain,
    ½·γ·ΣG(z−μ)·(v+ε)^(−3/2)·(2/N)·(1/N), by leaving factors out or in and by other powers of s, up
    to `POWER` and down to −`DIVISOR`; of any feature, as a sum over all of them may hold the
    factors of each. One of the
    two 1/N stays: the other term of ∂μ would be wrong without it.

    In batches that are `exact`, T is zero. There, only the right chain's own factors are granted
    inside the sum, where each product rounds: N·C additions and eight roundings a product.

    Args:
        record: the forward pass.
        grad_rows: the upstream gradient as rows (B, C).
        centring: E_c, (C,): how far z−μ may be off for an algorithm that centres.
        precision: the arithmetic.
    """
    size, features = record.rows.shape
    gamma, gradient = np.abs(record.gamma), np.abs(grad_rows)
    moment = (gradient * np.abs(record.centred)).sum(axis=0)
    upstream = np.maximum(1, np.maximum(gradient.sum(axis=0), moment))
    steepest = np.maximum(record.std**POWER, record.std**-DIVISOR)
    factor = float((np.maximum(1, gamma) * upstream * steepest).max())
    spread = np.abs(record.centred).sum(axis=0)
    inside = float((gamma * moment * steepest * spread).sum()) / size
    inside *= precision.roundings(size * features + 8)
    bound = 2 * (factor * over_all(record, centring, precision) + inside) / size
    return math.inf if math.isnan(bound) else bound


@np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
def leak(record: Forward, grad_rows: Array, centring: Array, precision: Precision) -> Array:
    """Bound what the right chain adds to ∂z if its sum runs over all features: (C,).

    The right factor, ½·γ·ΣG(z−μ)·(v+ε)^(−3/2)·(2/N)·(1/N), times T; arguments as for `residue`.
    """
    moment = np.abs((grad_rows * record.centred).sum(axis=0))
    factor = np.abs(record.gamma) * moment / record.std**3 / len(record.rows) ** 2
    bound: Array = factor * over_all(record, centring, precision)
    return bound


def over_all(record: Forward, centring: Array, precision: Precision) -> float:
    """Bound T, what is left of Σ(z−μ) over all features, or over one.

    Each z−μ is off by at most E_c, and N·C of them are added; nothing of it rounds in batches that
    are `exact`.
    """
    size, features = record.rows.shape
    spread = np.abs(record.centred).sum(axis=0)
    own = size * centring + precision.roundings(size) * spread
    own = np.where(exact(record.rows, precision), 0.0, own)
    together = record.rows.reshape(-1, 1)
    if not own.any() and representable(together, size, size * features, precision).all():
        return 0.0
    return float(own.sum() + precision.roundings(size * features) * spread.sum())


def exact(rows: Array, precision: Precision) -> NDArray[np.bool_]:
    """Whether Σz, μ, z−μ and Σ(z−μ) round nowhere, in any order of summation: (C,) of bool.

    So it is where N is a power of two and the values are small multiples of one q = 2^e: the sum
    is at most N·m, a multiple of q; z−μ at most 2m, a multiple of q/N; Σ(z−μ), before it is zero,
    at most 2N·m. All are representable if 2N²·m/q is below 1/w.
    """
    size = len(rows)
    if size & (size - 1):
        return np.zeros(rows.shape[1], bool)
    return representable(rows, size, size, precision)


def representable(rows: Array, size: int, terms: int, precision: Precision) -> NDArray[np.bool_]:
    """Whether sums of so many z−μ, N the batch `size`, round nowhere: 2·N·terms·m/q below 1/w."""
    mantissa, exponent = np.frexp(rows)
    whole = np.ldexp(mantissa, 53).astype(np.int64)
    lowest = (whole & -whole).astype(np.float64)
    unit = np.where(whole == 0, np.inf, np.ldexp(lowest, exponent - 53)).min(axis=0)
    largest = np.abs(rows).max(axis=0)
    steps = np.where(largest == 0, 0.0, 2.0 * size * terms * largest / unit)
    result: NDArray[np.bool_] = steps < 1 / precision.unit_roundoff
    return result
