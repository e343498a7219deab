"""Mistakes in the statistics of many batches: the cumulative average, and the population's."""

from __future__ import annotations

import numpy as np
from bn_oracle.arrays import Array

from bn_diagnosis.faults.fault import Fault
from bn_diagnosis.formulas import Trace

CUMULATIVE = r"M_n = \frac1n\sum_{t=1}^n \mu_t"
POPULATION_MEAN = r"\mu = \frac{\sum_b B_b\,\mu_b}{\sum_b B_b}"
POPULATION_VAR = r"\sigma^2 = \frac{B}{B-1}\,\frac1K\sum_b \sigma_b^2"


def _biased(t: Trace) -> Array:
    """Return the mean of the mini-batches' biased variances."""
    result: Array = np.mean([rows.var(axis=0) for rows in t.batches], axis=0)
    return result


def _size(t: Trace) -> int:
    return len(t.batches[0])


FAULTS: tuple[Fault, ...] = (
    Fault(
        id="cumulative-counts-the-start",
        title="the cumulative average counts the initial value as a batch",
        family="running",
        wrong=r"M_n = \frac{1}{n+1}\left(M_0 + \sum_{t=1}^n \mu_t\right)",
        right=CUMULATIVE,
        explanation="The first batch replaces the initial value; it is not averaged with it. "
        "Count the batch before its weight 1/n is formed.",
        anchor="note-9",
        killed_by="running.cumulative_average",
        replaces={"cumulative_decay": lambda t: t.steps_taken / (t.steps_taken + 1)},
    ),
    Fault(
        id="cumulative-stays-exponential",
        title="without a momentum, the running statistics are still an exponential average",
        family="running",
        wrong=r"M \leftarrow k\,M + (1-k)\,\mu_B \text{ with the default } k",
        right=CUMULATIVE,
        explanation="Where no momentum is set, every batch should count the same. Here the "
        "default momentum is used, and old batches fade.",
        anchor="note-9",
        killed_by="running.cumulative_average",
        replaces={"cumulative_decay": lambda t: t.convention.decay(t.convention.momentum)},
    ),
    Fault(
        id="cumulative-weights-swapped",
        title="without a momentum, the weights 1/n and 1 − 1/n stand on the wrong sides",
        family="running",
        wrong=r"M_n = \frac1n M_{n-1} + \left(1-\frac1n\right)\mu_n",
        right=CUMULATIVE,
        explanation="At batch n the new value weighs 1/n and all before it the rest. The other "
        "way round, the first batch is forgotten and the initial value kept.",
        anchor="note-9",
        killed_by="running.cumulative_average",
        replaces={"cumulative_decay": lambda t: 1 / t.steps_taken},
    ),
    Fault(
        id="cumulative-keeps-the-latest",
        title="without a momentum, only the latest batch's statistics are kept",
        family="running",
        wrong=r"M_n = \mu_n",
        right=CUMULATIVE,
        explanation="The weight of the new batch is 1/n, which is 1 only for the first. With a "
        "weight of 1 every time, the latest batch replaces all before it.",
        anchor="note-9",
        killed_by="running.cumulative_average",
        replaces={"cumulative_decay": lambda t: 0.0},
    ),
    Fault(
        id="population-variance-over-b-minus-one",
        title="the population variance is divided by B−1 without being multiplied by B",
        family="population",
        wrong=r"\sigma^2 = \frac{1}{B-1}\,\frac1K\sum_b \sigma_b^2",
        right=POPULATION_VAR,
        explanation="The mini-batches' variances are means already, so the correction is the "
        "factor B/(B−1). The factor 1/(B−1) belongs to a sum of squares.",
        anchor="note-7",
        killed_by="population.unbiased_variance",
        replaces={"population_var": lambda t: _biased(t) / max(_size(t) - 1, 1)},
    ),
    Fault(
        id="population-variance-biased",
        title="the population variance is the average of the biased variances",
        family="population",
        wrong=r"\sigma^2 = \frac1K\sum_b \sigma_b^2",
        right=POPULATION_VAR,
        explanation="A mini-batch's own mean lies closer to its instances than the population's, "
        "so its variance is too small on the average. The factor B/(B−1) puts that right.",
        anchor="note-7",
        killed_by="population.unbiased_variance",
        replaces={"population_var": _biased},
    ),
    Fault(
        id="population-variance-by-number-of-batches",
        title="the population variance is corrected by the number of batches, not their size",
        family="population",
        wrong=r"\sigma^2 = \frac{K}{K-1}\,\frac1K\sum_b \sigma_b^2",
        right=POPULATION_VAR,
        explanation="The correction undoes what each batch's own mean takes away, so it depends "
        "on how many instances share one mean. That is B, not the number of batches.",
        anchor="note-7",
        killed_by="population.unbiased_variance",
        replaces={
            "population_var": lambda t: _biased(t) * len(t.batches) / max(len(t.batches) - 1, 1)
        },
    ),
    Fault(
        id="population-variance-of-means",
        title="the population variance is the variance of the mini-batch means",
        family="population",
        wrong=r"\sigma^2 = \frac1K\sum_b (\mu_b - \mu)^2",
        right=POPULATION_VAR,
        explanation="That says how much the batches differ from one another. What inference "
        "needs is how much the instances differ.",
        anchor="note-7",
        killed_by="population.unbiased_variance",
        replaces={
            "population_var": lambda t: np.var([rows.mean(axis=0) for rows in t.batches], axis=0)
        },
    ),
    Fault(
        id="population-mean-of-ragged-means",
        title="a smaller last mini-batch counts as much as a full one",
        family="population",
        wrong=r"\mu = \frac1K\sum_b \mu_b",
        right=POPULATION_MEAN,
        explanation="The mean of means is the mean of all instances only if the batches have "
        "one size. Weigh each mean by its batch's size.",
        anchor="note-8",
        killed_by="population.ragged_batches",
        replaces={
            "population_mean": lambda t: np.mean([rows.mean(axis=0) for rows in t.batches], axis=0)
        },
    ),
    Fault(
        id="population-mean-of-last-batch",
        title="the population mean is the last mini-batch's",
        family="population",
        wrong=r"\mu = \mu_K",
        right=POPULATION_MEAN,
        explanation="Each mini-batch overwrites what came before it. The means have to be "
        "averaged.",
        anchor="note-8",
        killed_by="population.mean_of_means",
        replaces={"population_mean": lambda t: t.batches[-1].mean(axis=0)},
    ),
)
"""The mistakes of this module."""
