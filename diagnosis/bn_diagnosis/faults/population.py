"""Mistakes in the statistics of many batches: the cumulative average, and the population's."""

from __future__ import annotations

import numpy as np
from bn_oracle.arrays import Array

from bn_diagnosis.faults.fault import Fault, fault
from bn_diagnosis.formulas import Trace


def _biased(t: Trace) -> Array:
    """Return the mean of the mini-batches' biased variances."""
    result: Array = np.mean([rows.var(axis=0) for rows in t.batches], axis=0)
    return result


def _size(t: Trace) -> int:
    return len(t.batches[0])


def _means(t: Trace) -> list[Array]:
    return [rows.mean(axis=0) for rows in t.batches]


FAULTS: tuple[Fault, ...] = (
    fault(
        "cumulative-counts-the-start",
        {"cumulative_decay": lambda t: t.steps_taken / (t.steps_taken + 1)},
    )(
        "the cumulative average counts the initial value as a batch",
        r"M_n = \frac{1}{n+1}\left(M_0 + \sum_{t=1}^n \mu_t\right)",
        "The first batch replaces the initial value; it is not averaged with it. Count the batch "
        "before its weight 1/n is formed.",
    ),
    fault(
        "cumulative-stays-exponential",
        {"cumulative_decay": lambda t: t.convention.decay(t.convention.momentum)},
    )(
        "without a momentum, the running statistics are still an exponential average",
        r"M \leftarrow k\,M + (1-k)\,\mu_B \text{ with the default } k",
        "Where no momentum is set, every batch should count the same. Here the default momentum "
        "is used, and old batches fade.",
    ),
    fault("cumulative-weights-swapped", {"cumulative_decay": lambda t: 1 / t.steps_taken})(
        "without a momentum, the weights 1/n and 1 − 1/n stand on the wrong sides",
        r"M_n = \frac1n M_{n-1} + \left(1-\frac1n\right)\mu_n",
        "At batch n the new value weighs 1/n and all before it the rest. The other way round, the "
        "first batch is forgotten and the initial value kept.",
    ),
    fault("cumulative-keeps-the-latest", {"cumulative_decay": lambda t: 0.0})(
        "without a momentum, only the latest batch's statistics are kept",
        r"M_n = \mu_n",
        "The weight of the new batch is 1/n, which is 1 only for the first. With a weight of 1 "
        "every time, the latest batch replaces all before it.",
    ),
    fault(
        "population-variance-over-b-minus-one",
        {"population_var": lambda t: _biased(t) / max(_size(t) - 1, 1)},
    )(
        "the population variance is divided by B−1 without being multiplied by B",
        r"\sigma^2 = \frac{1}{B-1}\,\frac1K\sum_b \sigma_b^2",
        "The mini-batches' variances are means already, so the correction is the factor B/(B−1). "
        "The factor 1/(B−1) belongs to a sum of squares.",
    ),
    fault("population-variance-biased", {"population_var": _biased})(
        "the population variance is the average of the biased variances",
        r"\sigma^2 = \frac1K\sum_b \sigma_b^2",
        "A mini-batch's own mean lies closer to its instances than the population's, so its "
        "variance is too small on the average. The factor B/(B−1) puts that right.",
    ),
    fault(
        "population-variance-by-number-of-batches",
        {"population_var": lambda t: _biased(t) * len(t.batches) / max(len(t.batches) - 1, 1)},
    )(
        "the population variance is corrected by the number of batches, not their size",
        r"\sigma^2 = \frac{K}{K-1}\,\frac1K\sum_b \sigma_b^2",
        "The correction undoes what each batch's own mean takes away, so it depends on how many "
        "instances share one mean. That is B, not the number of batches.",
    ),
    fault("population-variance-of-means", {"population_var": lambda t: np.var(_means(t), axis=0)})(
        "the population variance is the variance of the mini-batch means",
        r"\sigma^2 = \frac1K\sum_b (\mu_b - \mu)^2",
        "That says how much the batches differ from one another. What inference needs is how much "
        "the instances differ.",
    ),
    fault(
        "population-mean-of-ragged-means", {"population_mean": lambda t: np.mean(_means(t), axis=0)}
    )(
        "a smaller last mini-batch counts as much as a full one",
        r"\mu = \frac1K\sum_b \mu_b",
        "The mean of means is the mean of all instances only if the batches have one size. Weigh "
        "each mean by its batch's size.",
        killed_by="population.ragged_batches",
    ),
    fault(
        "population-mean-of-last-batch", {"population_mean": lambda t: t.batches[-1].mean(axis=0)}
    )(
        "the population mean is the last mini-batch's",
        r"\mu = \mu_K",
        "Each mini-batch overwrites what came before it. The means have to be averaged.",
    ),
)
"""The mistakes of this module."""
