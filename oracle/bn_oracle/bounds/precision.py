"""The arithmetics that an implementation may use, and what one rounding costs in each.

The standard model with gradual underflow (Higham, "Accuracy and Stability of Numerical
Algorithms", 2nd ed., §2.2)::

    fl(a ∘ b) = (a ∘ b)(1 + δ) + e,    |δ| ≤ w,  |e| ≤ η/2,  δ·e = 0

with w the unit roundoff and η the smallest subnormal; sums, differences and roots have e = 0.
A product of n factors 1 + δ lies in [1 − γ_n, 1 + γ_n] with γ_n = nw/(1 − nw) (Lemma 3.1), and
γ_j + γ_k + γ_j·γ_k ≤ γ_(j+k) (Lemma 3.3): counting roundings and adding the counts is rigorous,
second order included. Hardware that flushes subnormals to zero is outside the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bn_oracle.arrays import Array

LIMIT = 0.25
"""The largest relative error k of s² that a bound judges. (1−k)^(−1/2) − 1, what 1/s is off by at
worst, is then 0.15: k/2 and a fifth, so that the bound still says something. Past it the bounds
grow without limit while the computed v + ε may even be negative."""


@dataclass(frozen=True)
class Precision:
    """The arithmetic of an implementation."""

    name: str
    unit_roundoff: float
    """w: half the spacing of the numbers just above 1."""
    subnormal: float
    """η: the smallest positive number."""
    largest: float
    """The largest finite number."""
    storage: Precision | None = None
    """What results are rounded to when they are stored, if narrower than the arithmetic."""

    @property
    def smallest_normal(self) -> float:
        """Below this, relative precision is lost: η/(2w)."""
        return self.subnormal / (2 * self.unit_roundoff)

    def roundings(self, count: int) -> float:
        """Return γ_n: the most that `count` roundings, multiplied together, are off by.

        Infinite where count·w ≥ 1, as then nothing is known.
        """
        product = count * self.unit_roundoff
        return product / (1.0 - product) if product < 1.0 else math.inf

    def stored(self, value: Array, bound: Array) -> Array:
        """Return the bound on a result after it has been stored; infinite beyond its range.

        One rounding of whatever was computed, of size at most |value| + bound.
        """
        size, kept = np.abs(value) + bound, self.storage
        if kept is None:
            return np.where(size <= self.largest, bound, np.inf)
        rounded = bound + kept.unit_roundoff * size + kept.subnormal / 2
        return np.where(size <= kept.largest, rounded, np.inf)


def binary(name: str, digits: int, exponent: int, storage: Precision | None = None) -> Precision:
    """Return the binary format of `digits` significant bits and largest exponent `exponent`."""
    return Precision(
        name,
        unit_roundoff=2.0**-digits,
        subnormal=2.0 ** (2 - exponent - digits),
        largest=(2.0 - 2.0 ** (1 - digits)) * 2.0**exponent,
        storage=storage,
    )


# IEEE 754-2019, table 3.5 (p and emax); bfloat16 is binary32 cut to 8 significant bits.
FLOAT64 = binary("float64", 53, 1023)
FLOAT32 = binary("float32", 24, 127)
FLOAT16 = binary("float16", 11, 15)
BFLOAT16 = binary("bfloat16", 8, 127)
PRECISIONS = {precision.name: precision for precision in (FLOAT64, FLOAT32, FLOAT16, BFLOAT16)}
"""Every precision by its dtype's name: each operation is rounded to the dtype."""

MIXED = {
    kept.name: binary(f"float32, stored as {kept.name}", 24, 127, storage=kept)
    for kept in (FLOAT16, BFLOAT16)
}
"""Half precision as accelerators do it, by the dtype of storage: inputs and results are stored in
half precision, everything between them (statistics, u, sums) is float32. cuDNN's
`CUDNN_BATCHNORM_SPATIAL` and torch.amp do this. z, G, γ and β are taken as the numbers stored."""
