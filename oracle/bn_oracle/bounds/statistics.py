"""Error bounds where the statistics are given: inference, folding, running and merged statistics.

Notation and method as in `bn_oracle.bounds.training`. The statistics bring errors of their own
(`mean_error`, `var_error`), and the arithmetic adds its roundings.
"""

from __future__ import annotations

import numpy as np

from bn_oracle import arrays
from bn_oracle.arrays import Array
from bn_oracle.bounds.precision import LIMIT, Precision


def inverse_root(k: Array, precision: Precision, count: int) -> Array:
    """Return what 1/s is off by, relatively, when s² is off by k and `count` roundings follow.

    (1−k)^(−1/2)·(1+γ_count) − 1; zero beyond `LIMIT`, where the caller masks its result.
    """
    slack = precision.roundings(count)
    used = np.where(k <= LIMIT, k, 0.0)
    root: Array = used / (np.sqrt(1 - used) * (1 + np.sqrt(1 - used)))  # without cancellation
    return root + slack + root * slack


def _given(
    gamma: Array, var: Array, var_error: Array | float, eps: float, precision: Precision
) -> tuple[Array, Array, Array]:
    """Return s, |γ|/s, and the relative error k of s², (C,) each.

    σ² and ε are rounded to the dtype, and their sum is.
    """
    square = var + eps
    std = np.sqrt(square)
    k = (var_error + precision.roundings(2) * square + precision.subnormal) / square
    return std, np.abs(gamma) / std, np.where(square <= precision.largest, k, np.inf)


@np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
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
    tiny = precision.subnormal
    rows = arrays.to_rows(z, channel_axis)
    std, scale, k = _given(gamma, var, var_error, eps, precision)
    size = np.abs(rows) + np.abs(mean)
    # a = γ/s: γ rounded to the dtype, a root, a reciprocal, a product, and one to spare for a
    # power. Straight, the same roundings fall on (z−μ)/s.
    inverse = inverse_root(k, precision, 5)
    # μ rounded to the dtype; then folded a·z, a·μ, b = β − a·μ and the last sum: three on a·z and
    # four on a·μ. Straight: z−μ and the last sum. β: rounded, b, the last sum.
    four = precision.roundings(4)
    bound = scale * (1 + inverse) * (np.asarray(mean_error) * (1 + four) + four * size)
    bound = bound + inverse * scale * np.abs(rows - mean) + four * np.abs(beta)
    # The quotient, times γ; a itself, times z and μ; both products; β and μ stored.
    bound = bound + tiny * (2 + np.abs(gamma) + size + scale)
    fits = (k <= LIMIT) & (scale * np.maximum(1, size) + np.abs(beta) <= precision.largest)
    expected = gamma / std * (rows - mean) + beta
    bound = precision.stored(expected, np.where(fits, bound, np.inf))
    return arrays.from_rows(bound, z.shape, channel_axis)


@np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
def fold(
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    eps: float,
    precision: Precision,
    *,
    mean_error: Array | float = 0.0,
    var_error: Array | float = 0.0,
) -> tuple[Array, Array]:
    """Bound the errors of the folded slope a = γ/√(σ²+ε) and intercept b = β − aμ, both (C,)."""
    tiny = precision.subnormal
    std, scale, k = _given(gamma, var, var_error, eps, precision)
    # As in `inference`: five roundings on a; μ stored, its product and the sum on a·μ; β stored
    # and the sum.
    inverse = inverse_root(k, precision, 5)
    slope = scale * inverse + tiny * (1 + np.abs(gamma))
    three = precision.roundings(3)
    shift = (scale + slope) * (np.asarray(mean_error) * (1 + three) + three * np.abs(mean))
    shift = shift + slope * np.abs(mean) + three * np.abs(beta) + tiny * (2 + scale)
    fits = (k <= LIMIT) & (scale * np.maximum(1, np.abs(mean)) <= precision.largest)
    slope, shift = (np.where(fits, bound, np.inf) for bound in (slope, shift))
    centre = beta - gamma / std * mean
    return precision.stored(scale, slope), precision.stored(centre, shift)


@np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
def inference_gradients(
    z: Array,
    grad: Array,
    gamma: Array,
    mean: Array,
    var: Array,
    eps: float,
    precision: Precision,
    *,
    mean_error: Array | float = 0.0,
    var_error: Array | float = 0.0,
    channel_axis: int = 1,
) -> tuple[Array, Array, Array]:
    """Bound the errors of ∂z = γG/s, ∂γ = ΣG(z−μ)/s and ∂β = ΣG with the statistics held fixed.

    `mean_error` and `var_error` bound the errors that the running statistics bring with them.
    """
    tiny = precision.subnormal
    rows, g = (arrays.to_rows(array, channel_axis) for array in (z, grad))
    n, size = rows.shape[0], np.abs(g)
    std, scale, k = _given(gamma, var, var_error, eps, precision)
    inverse = inverse_root(k, precision, 6)  # five as in `inference`, and the product with G
    dz = scale * size * inverse + tiny * (1 + np.abs(gamma) + size + 1 / std)
    # u: μ with its error, rounded to the dtype, one difference; then 1/s. The sum as in training,
    # or cancelling, ΣGz − μΣG: N and one, N+1 and one, on |z| + |μ|.
    sums = precision.roundings(n + 3)
    apart = np.abs(rows) + np.abs(mean) + mean_error
    off = sums * apart + inverse * np.abs(rows - mean) + mean_error
    dgamma = (size * off).sum(axis=0) / std
    dgamma = dgamma * (1 + inverse) + (n / 2 + 1) * tiny * (2 + 1 / std + size.max(axis=0))
    dbeta = precision.roundings(n + 2) * size.sum(axis=0)
    most = n * size.max(axis=0) * np.maximum(1, apart.max(axis=0)) * np.maximum(1, 1 / std)
    fits = (k <= LIMIT) & (most * np.maximum(1, np.abs(gamma)) <= precision.largest)
    dz, dgamma, dbeta = (np.where(fits, bound, np.inf) for bound in (dz, dgamma, dbeta))
    dz = precision.stored(scale * size, dz)
    total = (size * np.abs(rows - mean)).sum(axis=0) / std
    return (
        arrays.from_rows(dz, z.shape, channel_axis),
        precision.stored(total, dgamma),
        precision.stored(size.sum(axis=0), dbeta),
    )


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def unbiased(var: Array, var_error: Array, size: int, precision: Precision) -> Array:
    """Bound the error of B/(B−1)·σ_B², (C,), given that of σ_B².

    B/(B−1) rounds once and the product once; σ_B²·B/(B−1) rounds twice; a sum divided by B−1
    not at all more. Two cover all.

    Raises:
        ValueError: `size` is less than two.
    """
    if size < 2:
        raise ValueError(f"size is {size}, but the unbiased variance needs at least 2 values")
    factor, two = size / (size - 1), precision.roundings(2)
    bound = factor * (var_error * (1 + two) + two * var) + precision.subnormal
    return precision.stored(factor * var, bound)


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def recovered(var: Array, eps: float, precision: Precision) -> Array:
    """Bound what σ² is off by, (C,), where a layer kept only s = √(σ²+ε) or 1/s: s² − ε.

    σ² and its own error aside, everything rounds on σ²+ε: ε stored and the sum, the root and the
    reciprocal (twice each, as they are squared), the square, its reciprocal and the difference:
    nine. So a constant feature has σ² = ±9uε, not 0.
    """
    square = var + eps
    return precision.stored(square, precision.roundings(9) * square + precision.subnormal)


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def running(
    old: Array,
    old_error: Array,
    batch: Array,
    batch_error: Array,
    decay: float,
    precision: Precision,
) -> Array:
    """Bound the error of decay·old + (1−decay)·batch, (C,).

    The weight itself: decay or 1−decay is rounded to the dtype and subtracted from 1, so either
    weight is off by up to 2w absolutely, however small it is. Written as
    old + (1−decay)·(batch − old), the difference and the product round on |old| + |batch|: four
    on these together. Then, on decay·|old| + (1−decay)·|batch|, the last sum and three for an
    unbiased factor B/(B−1) and its product: four.
    """
    four, two = precision.roundings(4), precision.roundings(2)
    bound = four * (np.abs(old) + np.abs(batch)) + 4 * precision.subnormal
    for weight, value, error in ((decay, old, old_error), (1.0 - decay, batch, batch_error)):
        # A weight of exactly zero forgets, even an error without bound.
        if weight:
            carried = (1 + 2 * four) * error
            bound = bound + weight * (four * np.abs(value) + carried) + two * error
    return precision.stored(decay * old + (1.0 - decay) * batch, bound)


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def population(
    sizes: Array,
    largest: Array,
    variances: Array,
    mean_errors: Array,
    var_errors: Array,
    precision: Precision,
) -> tuple[Array, Array]:
    """Bound the errors of the population's mean and of its unbiased variance, both (C,).

    `sizes` is (P,); `largest`, (P, C), holds max|z| of each mini-batch, the others its biased
    variance and the errors of its statistics. For the two ways to the mean of M instances, and
    to the mean of all B/(B−1)·σ_B²::

        μ = Σ n_p μ_p / M = Σ z / M        σ² = (1/P) Σ n_p/(n_p−1)·σ_p²
    """
    counts = sizes[:, None]
    total, parts = int(counts.sum()), len(sizes)
    # All at once: M−1 additions and a division. By batches: each mean's own error, a product,
    # P−1 additions and a division. Both together: M+P+2.
    count = precision.roundings(total + parts + 2)
    weights = counts / total
    most = largest.max(axis=0)
    mean = (1 + count) * (weights * mean_errors).sum(axis=0) + count * most
    # The same counts on the squares; two more for n/(n−1) and its product.
    factor = counts / np.maximum(counts - 1, 1)
    more = precision.roundings(total + parts + 4)
    average = (factor * variances).mean(axis=0)
    var = (1 + more) * (factor * var_errors).mean(axis=0) + more * average
    lost = (parts + 2) * precision.subnormal
    return precision.stored(most, mean + lost), precision.stored(average, var + lost)


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def merged(
    sizes: Array,
    means: Array,
    variances: Array,
    mean_errors: Array,
    var_errors: Array,
    precision: Precision,
) -> tuple[Array, Array]:
    """Bound the errors of the merged mean and biased variance, both (C,), of P parts.

    `sizes` is (P,), the others (P, C). For parts merged all at once or one after another
    (Chan, Golub & LeVeque 1983, eq. 2.1; what synchronised batch norm computes)::

        μ = Σ n_p μ_p / B        σ² = Σ n_p σ_p² / B + Σ n_p (μ_p − μ)² / B
    """
    parts = len(sizes)
    weights = (sizes / np.sum(sizes))[:, None]
    count = precision.roundings(parts + 6)
    centre = (weights * means).sum(axis=0)
    between = (weights * (means - centre) ** 2).sum(axis=0)
    within = (weights * variances).sum(axis=0)
    largest = np.abs(means).max(axis=0)
    lost = (parts + 2) * precision.subnormal
    # At once: a product, P−1 additions, a division. One after another, μ_a + δ·n_b/n: step p
    # rounds μ once and δ·n_b/n three times, and weighs n/B in the end: P + 6 in all, on max|μ_p|.
    mean = (1 + count) * (weights * mean_errors).sum(axis=0) + count * largest + lost
    # δ = μ_p − μ (or μ_b − μ_a): what its two ends are off by, and its own rounding. As in
    # `bounds.training`, Cauchy-Schwarz turns 2·|δ|·E_δ into 2·√(between)·E_δ.
    delta = mean_errors.max(axis=0) + mean + precision.roundings(2) * largest
    var = (1 + count) * ((weights * var_errors).sum(axis=0) + delta * 2 * np.sqrt(between))
    var = var + (1 + count) * delta**2 + count * (within + between) + lost
    return precision.stored(centre, mean), precision.stored(within + between, var)
