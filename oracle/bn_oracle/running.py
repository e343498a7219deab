"""Running statistics: the exponential average that training keeps for inference.

    running ← k · running + (1 − k) · batch

where k is the weight kept of the old average, and the batch's variance is the biased σ_B² or the
unbiased B/(B−1)·σ_B², as the convention says.
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

    Raises:
        ValueError: the convention is unbiased and the batch has one value a feature.
    """
    if convention.running_variance == "biased":
        return record.var
    size = record.batch_size
    if size == 1:
        raise ValueError("the unbiased variance needs at least two values a feature; B is 1")
    result: Array = record.var * (size / (size - 1))
    return result


def update(
    running_mean: ArrayLike,
    running_var: ArrayLike,
    record: Forward,
    keep: float,
    convention: Convention,
) -> tuple[Array, Array]:
    """Return the running mean and variance (C,) after one more training batch.

    Args:
        running_mean, running_var: (C,), before the batch.
        record: the batch's forward pass.
        keep: k in [0, 1], the weight of the old average (see `Convention.keep`).
        convention: which variance is averaged.

    Raises:
        TypeError: an argument is not made of real numbers.
        ValueError: a shape does not fit, k outside [0, 1], or see `batch_variance`.
    """
    weight = arrays.scalar("keep", keep, 0.0, 1.0)
    features = record.mean.size
    old_mean = arrays.per_feature("running_mean", running_mean, features)
    old_var = arrays.per_feature("running_var", running_var, features)
    mean = weight * old_mean + (1.0 - weight) * record.mean
    var = weight * old_var + (1.0 - weight) * batch_variance(record, convention)
    return np.asarray(mean), np.asarray(var)
