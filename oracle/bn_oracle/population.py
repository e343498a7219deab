r"""Statistics of a whole training set, out of the statistics of its mini-batches.

Inference wants the mean and variance of the population; training has seen K mini-batches::

    μ_BN = (1/K) Σ_b μ_b                       equal batch sizes only
    σ²_BN = B/(B−1) · (1/K) Σ_b σ_b²           batches of B drawn with replacement

The second is unbiased: its expectation is the population's σ². (The notes also write 1/(B−1) in
place of B/(B−1); that is B times too small.) Batches that partition a set of M instances are
drawn without replacement, and give M/(M−1)·σ² on the average.

Neither formula is exact for the set at hand. Its own mean and variance are: merge the batches'
counts, means and sums of squares. That holds for batches of any sizes, so for a ragged last one,
and for one batch split over devices (synchronised batch norm).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bn_oracle import arrays
from bn_oracle.arrays import Array
from bn_oracle.forward import statistics


@dataclass(frozen=True)
class Moments:
    """How many values a feature has, their mean and M2 = Σ(z−mean)²; (C,) each.

    Raises:
        TypeError: an argument is not made of real numbers.
        ValueError: a count below 1, shapes that differ, or a negative M2.
    """

    count: int
    mean: Array
    m2: Array

    def __post_init__(self) -> None:
        """Check and convert the arguments."""
        object.__setattr__(self, "count", arrays.whole_number("count", self.count, 1))
        object.__setattr__(self, "mean", arrays.per_feature("mean", self.mean))
        m2 = arrays.per_feature("m2", self.m2, self.mean.size)
        object.__setattr__(self, "m2", arrays.not_negative("m2", m2))

    @property
    def biased_variance(self) -> Array:
        """M2/n, the σ_B² of the forward pass."""
        return self.m2 / self.count

    @property
    def unbiased_variance(self) -> Array:
        """M2/(n−1).

        Raises:
            ValueError: n is 1.
        """
        if self.count == 1:
            raise ValueError("count is 1, but must be at least 2 for an unbiased variance")
        return self.m2 / (self.count - 1)


def moments(z: ArrayLike, *, channel_axis: int = 1) -> Moments:
    """Return the moments of one batch (N, C, …).

    Raises:
        TypeError: `z` is not made of real numbers.
        ValueError: a bad shape, or a value that is not finite.
    """
    rows = arrays.to_rows(arrays.batch("z", z, channel_axis), channel_axis)
    mean, centred, _ = statistics(rows)
    return Moments(len(rows), mean, np.einsum("bc,bc->c", centred, centred))


def merge(first: Moments, *others: Moments) -> Moments:
    """Return the moments of all values together, as if they had been one batch.

    For two parts, with δ = mean_b − mean_a and n = n_a + n_b::

        mean = mean_a + δ n_b/n        M2 = M2_a + M2_b + δ² n_a n_b/n

    Source: Chan, Golub & LeVeque 1979, "Updating formulae and a pairwise algorithm for computing
    sample variances", Stanford STAN-CS-79-773.

    Raises:
        ValueError: the parts have different numbers of features.
    """
    total = first
    for part in others:
        arrays.per_feature("mean", part.mean, total.mean.size)
        count = total.count + part.count
        delta = part.mean - total.mean
        share = part.count / count
        total = Moments(
            count,
            total.mean + delta * share,
            total.m2 + part.m2 + delta * delta * (total.count * share),
        )
    return total


def mean_of_means(means: ArrayLike) -> Array:
    """Return (1/K) Σ_b μ_b, (C,), of K mini-batch means (K, C).

    It is the mean of all instances if the batches have one size; see `ragged_error` if not.

    Raises:
        TypeError: `means` is not made of real numbers.
        ValueError: `means` is not a (K, C) array of finite numbers with K, C ≥ 1.
    """
    result: Array = _table("means", means).mean(axis=0)
    return result


def unbiased_variance(variances: ArrayLike, batch_size: int) -> Array:
    """Return B/(B−1) · (1/K) Σ_b σ_b², (C,), of K biased mini-batch variances (K, C).

    Source: Ioffe & Szegedy 2015, Algorithm 2, line 10.

    Raises:
        TypeError: `variances` is not made of real numbers, or B is not an integer.
        ValueError: `variances` is not a (K, C) array of finite numbers, one of them is
            negative, or B < 2.
    """
    size = arrays.whole_number("batch_size", batch_size, 2)
    table = arrays.not_negative("variances", _table("variances", variances))
    result: Array = table.mean(axis=0) * (size / (size - 1))
    return result


def ragged_error(full_mean: ArrayLike, last_mean: ArrayLike, sizes: tuple[int, int, int]) -> Array:
    """Return how far the mean of means is from the mean, when the last batch is ragged.

    With K − 1 batches of B instances whose mean is F, and a last one of r with mean L::

        mean of means − mean = (1/K − r/N) (L − F),     N = (K−1) B + r

    The last batch counts 1/K where its share is r/N.

    Args:
        full_mean: F, (C,), the mean over all full batches.
        last_mean: L, (C,).
        sizes: K, B and r.

    Raises:
        TypeError: an argument is not made of real numbers, or a size is not an integer.
        ValueError: shapes differ, or a size is below 1.
    """
    names = ("sizes[0]", "sizes[1]", "sizes[2]")
    count, full, ragged = (arrays.whole_number(n, s, 1) for n, s in zip(names, sizes, strict=True))
    last = arrays.per_feature("last_mean", last_mean)
    others = arrays.per_feature("full_mean", full_mean, last.size)
    excess = 1.0 / count - ragged / ((count - 1) * full + ragged)
    return excess * (last - others)


def _table(name: str, value: ArrayLike) -> Array:
    array = arrays.real_array(name, value)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            f"{name} has shape {array.shape}, but must have shape (K, C): one row a batch"
        )
    return array
