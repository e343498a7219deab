"""Running statistics: the exponential average that training keeps for inference.

    running ← k · running + (1 − k) · batch

where k is the weight kept of the old average, and the batch's variance is the biased σ_B² or the
unbiased B/(B−1)·σ_B², as the convention says.

Unrolled over K batches it is a weighted mean of where it started and of what it saw::

    running_K = k^K · running_0 + Σ_b (1 − k) k^(K−b) · batch_b

so it differs from the population's mean of means in two ways: k^K of the start is left, and
late batches weigh more than early ones, as if there were (1+k)/(1−k) of them. The cumulative
average k = 1 − 1/b at batch b has neither: it is the mean of means.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bn_oracle import arrays
from bn_oracle.arrays import Array
from bn_oracle.conventions import Convention
from bn_oracle.forward import Forward


def batch_variance(record: Forward, convention: Convention) -> Array:
    """Return the variance (C,) that enters the running average under `convention`.

    With B = 1 the unbiased variance is 0/0: a convention that normalises such a batch all the
    same (TensorFlow's kernel divides by max(B−1, 1)) averages the biased one, 0.

    Raises:
        ValueError: the convention is unbiased, the batch has one value a feature, and the
            convention refuses such a batch.
    """
    size = record.batch_size
    if size == 1 and convention.running_variance == "unbiased":
        if convention.single_value == "refuses":
            raise ValueError("the unbiased variance needs at least two values a feature; B is 1")
        return record.var
    if convention.running_variance == "biased":
        return record.var
    return record.var * (size / (size - 1))


def update(
    running_mean: ArrayLike,
    running_var: ArrayLike,
    record: Forward,
    decay: float,
    convention: Convention,
) -> tuple[Array, Array]:
    """Return the running mean and variance (C,) after one more training batch.

    Args:
        running_mean, running_var: (C,), before the batch.
        record: the batch's forward pass.
        decay: k in [0, 1], the weight of the old average (see `Convention.decay`).
        convention: which variance is averaged.

    Raises:
        TypeError: an argument is not made of real numbers.
        ValueError: a shape does not fit, k outside [0, 1], or see `batch_variance`.
    """
    weight = arrays.scalar("decay", decay, 0.0, 1.0)
    features = record.mean.size
    old_mean = arrays.per_feature("running_mean", running_mean, features)
    old_var = arrays.per_feature("running_var", running_var, features)
    mean = weight * old_mean + (1.0 - weight) * record.mean
    var = weight * old_var + (1.0 - weight) * batch_variance(record, convention)
    return mean, var


def cumulative_decay(batches_seen: int) -> float:
    """Return the weight k = n/(n+1) of the old average, after n batches, that keeps a plain mean.

    `update` with these weights averages all batches alike (PyTorch's `momentum=None`), and
    forgets the start at once: n = 0 gives k = 0.

    Raises:
        TypeError: n is not an integer.
        ValueError: n is negative.
    """
    seen = arrays.whole_number("batches_seen", batches_seen, 0)
    return seen / (seen + 1)


def weights(batches: int, decay: float) -> Array:
    """Return what weighs how much after K batches, (K+1,): the start first, then each batch.

    They sum to 1: k^K, (1−k) k^(K−1), …, (1−k).

    Raises:
        TypeError: an argument is not a number of its kind.
        ValueError: K is negative, or k outside [0, 1].
    """
    count = arrays.whole_number("batches", batches, 0)
    k = arrays.scalar("decay", decay, 0.0, 1.0)
    result: Array = k ** np.arange(count, -1.0, -1.0)
    result[1:] *= 1.0 - k
    return result


def after(start: ArrayLike, seen: ArrayLike, decay: float) -> Array:
    """Return the running average (C,) after K batches, in one formula.

    Args:
        start: (C,), the initial value.
        seen: (K, C), each batch's mean, or each batch's variance of the convention's kind.
        decay: k in [0, 1], the weight of the old average at each step.

    Raises:
        TypeError: an argument is not made of real numbers.
        ValueError: a shape does not fit, or k is outside [0, 1].
    """
    values = arrays.real_array("seen", seen)
    if values.ndim != 2:
        raise ValueError(f"seen has shape {values.shape}, but must have shape (K, C)")
    first = arrays.per_feature("start", start, values.shape[1])
    result: Array = weights(len(values), decay) @ np.vstack([first, values])
    return result
