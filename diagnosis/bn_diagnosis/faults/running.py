"""Mistakes in the statistics of many batches: running, cumulative, and the population's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from bn_oracle.arrays import Array, from_rows

from bn_diagnosis.faults.combining import averages, kept, statistics_of
from bn_diagnosis.faults.fault import Fault, Kind, fault, note
from bn_diagnosis.faults.statements import right
from bn_diagnosis.formulas import STEPS
from bn_diagnosis.trace import Step, Trace, batch_var

BOTH = right("next_mean", "next_var")
UNBIASED = "keep * old_var + (1 - keep) * n / less_one * var"
BIASED = "keep * old_var + (1 - keep) * var"

aliased = Kind(right=right("next_mean"), anchor="real-running", killed_by="running.mean_recurrence")
different = Kind("convention", anchor="note-9")


def _each(average: Callable[[Trace, Array, Array], Array]) -> Mapping[str, Step]:
    """Return both running statistics, averaged in another way."""
    return {
        "next_mean": lambda t: average(t, t.running_mean, t.mean),
        "next_var": lambda t: average(t, t.running_var, batch_var(t)),
    }


def _shared(name: Literal["mean", "var"]) -> Step:
    """Return a batch statistic's step that writes to the running one, where they are the same."""

    def step(t: Trace) -> object:
        value, running = STEPS[name](t), f"running_{name}"
        if getattr(t, name) is getattr(t, running):
            setattr(t, running, value)
        return value

    return step


def _share(t: Trace) -> None:
    t.mean, t.var = t.running_mean, t.running_var


def _of_rows(t: Trace) -> Array:
    old = t.running_mean
    if old.ndim == 1:
        old = old.reshape(-1, *[1] * (t.x.ndim - 2))
    return t.blend(old, from_rows(t.u, t.x.shape))


def _means(t: Trace) -> list[Array]:
    return [rows.mean(axis=0) for rows in t.batches]


def _biased(t: Trace) -> Array:
    """Return the mean of the mini-batches' biased variances."""
    return np.asarray(np.mean([rows.var(axis=0) for rows in t.batches], axis=0))


def _swapped(t: Trace, old: Array, new: Array) -> Array:
    """Return the average, its weights exchanged; without a momentum there are none to exchange."""
    decay = t.decay if t.cumulative else 1 - t.decay
    return decay * old + (1 - decay) * new


def _never_zero(t: Trace, old: Array, new: Array) -> Array:
    """Return the average with the default momentum in place of one of zero."""
    is_zero = t.decay == t.convention.decay(0.0) and not t.cumulative
    decay = t.convention.decay(t.convention.momentum) if is_zero else t.decay
    return decay * old + (1 - decay) * new


def _from_first(t: Trace, old: Array, new: Array) -> Array:
    return new if t.steps_taken == 1 else t.blend(old, new)


FAULTS: tuple[Fault, ...] = (
    note(9)("running-history-ignored", next_mean="keep * mean + (1 - keep) * mean")("""the batch
        mean stands where the old running mean belongs. The old average must appear on the
        right-hand side. As it stands, the running mean is that of the last batch alone."""),
    note(9)(
        "running-variance-history-ignored",
        next_var="keep * batch_var + (1 - keep) * batch_var",
    )("""the batch variance stands where the old running variance belongs. The old average must
        appear on the right-hand side. As it stands, the running variance is that of the last batch
        alone."""),
    note(9)("running-last-batch-only", **averages("new"))("""the running statistics are those of the
        last batch. Running statistics average over many batches, with the weights that momentum
        sets. One batch alone is too noisy to stand for the population."""),
    note(9)("momentum-swapped-in-mean", next_mean="(1 - keep) * old_mean + keep * mean")("""
        momentum weighs the wrong side in the running mean only. Both running statistics are
        averaged with the same weights. In the mean the weights of the old and the new value have
        changed places."""),
    note(9)(
        "momentum-swapped-in-variance",
        next_var="(1 - keep) * old_var + keep * batch_var",
    )("""momentum weighs the wrong side in the running variance only. Both running statistics are
        averaged with the same weights. In the variance the weights of the old and the new value
        have changed places."""),
    fault("hardcoded-momentum", **averages("0.9 * old + 0.1 * new"))("""the weights 0.9 and 0.1 are
        written as numbers. The weights come from the momentum that is set on the layer. Numbers in
        their place are right for the default alone."""),
    fault.coded("zero-momentum-is-the-default", **_each(_never_zero))(
        r"\leftarrow k'\,M + (1-k')\,\mu_B \text{ with the default } k'"
    )("""a momentum of zero is taken for none, and the default stands in its place. In `momentum or
        0.1`, zero counts as false. Ask `if momentum is None`."""),
    fault("running-parenthesis", next_mean="keep * old_mean + (1 - keep * mean)")("""a slip of
        parentheses: the batch mean enters as 1 − k·μ. The weight of the new value is 1 − k, in
        parentheses of its own. As it stands, the batch mean is subtracted from one."""),
    fault(
        "running-parenthesis-variance", next_var="keep * old_var + (1 - keep * batch_var)"
    )("""a slip of parentheses: the batch variance enters as 1 − k·σ². The weight of the new value
        is 1 − k, in parentheses of its own. As it stands, a large batch variance makes the running
        one negative."""),
    fault("running-parenthesis-both", **averages("keep * old + 1 - keep * new"))("""a slip of
        parentheses in both running statistics. The weight of the new value is 1 − k, in parentheses
        of its own. Both updates subtract the batch's value from one instead."""),
    fault(
        "two-updates",
        **averages("keep * (keep * old + (1 - keep) * new) + (1 - keep) * new"),
    )("""the running statistics are updated twice in a training step. One training step is one
        update. Two of them forget the history twice as fast as the momentum says."""),
    fault("running-mean-not-stored", next_mean="old_mean")("""the new running mean is never stored.
        The update must be written back to where inference reads it. A local variable is gone when
        the call returns."""),
    fault("running-variance-not-stored", next_var="old_var")("""the new running variance is never
        stored. The update must be written back to where inference reads it. Here the mean is, but
        the variance stays at its initial value."""),
    fault("running-statistics-not-stored", **averages("old"))("""the running statistics never
        change. The old values are written back, or the new ones are never stored. Inference then
        normalises with the initial values for ever."""),
    kept("running-std", "s")("""the denominator √(σ²+ε) is accumulated in place of the variance.
        Inference takes the root of what is accumulated, so that must be a variance. Accumulated
        roots would have the root taken twice."""),
    kept("running-std-without-eps", "sqrt(var)")("""the standard deviation is accumulated in place
        of the variance. Inference takes the root of what is accumulated, so that must be a
        variance. The average of standard deviations is also not the root of the average
        variance."""),
    kept("running-variance-plus-eps", "batch_var + eps")("""the running variance accumulates σ² + ε.
        ε protects a quotient and is no part of the variance. Inference adds it once more, so it
        would count twice."""),
    kept("running-variance-over-b-minus-1", "var / less_one", note(7))("""the running variance
        accumulates σ²/(B − 1). Bessel's correction is the factor B/(B − 1), whose numerator is lost
        here. The quotient shrinks towards zero as batches grow."""),
    statistics_of("running-of-normalised", "u")("""the statistics of the normalised batch are
        accumulated. Normalised values have mean zero and variance near one whatever the data. The
        running statistics must be those of the input."""),
    statistics_of("running-of-output", "out")("""the statistics of the layer's output are
        accumulated. The output has mean β whatever the data. The running statistics must be those
        of the input."""),
    fault.coded("running-mean-of-rows", next_mean=_of_rows)(
        r"M_i \leftarrow k\,M_i + (1-k)\,u_i"
    )("""
        the normalised batch itself is accumulated, one value an instance. A running mean is one
        number a feature. Here the normalised batch enters without being averaged, so the statistic
        takes the batch's shape."""),
    note(8)("running-mean-of-means", next_mean="old_mean + (mean - old_mean) / steps")("""
        the running mean is the plain average of all batch means. The course asks for an exponential
        average with the layer's momentum. The plain average also equals the population mean for
        batches of one size only."""),
    Kind(
        anchor="real-running", killed_by="running.mean_recurrence", right=right("next_mean")
    ).coded("running-aliased", mean=_shared("mean"), var=_shared("var"), after_infer=_share)(
        r"M \leftarrow k\,\mu_B + (1-k)\,\mu_B"
    )("""after inference the batch's arrays are the running
        ones, and are overwritten. Inference makes the batch's array and the running one the same
        object, so the next training step writes over the history. Copy the numbers, or use names of
        their own."""),
    note(9)("running-not-decayed", **averages("old + (1 - keep) * new"))("""the old running
        statistics are not weighted down. The weights of old and new must sum to one. Without the
        factor k the sums grow with every batch."""),
    note(9)("running-new-not-weighted", **averages("keep * old + new"))("""the batch statistics
        enter with weight one. The weights of old and new must sum to one. Without the factor 1 − k
        the running statistics approach a multiple of the right ones."""),
    fault(
        "running-statistics-swapped",
        next_mean="keep * old_mean + (1 - keep) * batch_var",
        next_var="keep * old_var + (1 - keep) * mean",
    )("""the batch mean enters the running variance and the variance the mean. The two new values
        have changed places. Check the order in which the statistics are returned and unpacked."""),
    fault(
        "running-variance-from-running-mean",
        next_var="keep * old_mean + (1 - keep) * batch_var",
    )("""the running variance is updated from the running mean. The line was copied from the mean's,
        and one name was not changed. The old running variance belongs on the right-hand side."""),
    kept("running-variance-about-running-mean", "Mean((z - old_mean)**2)")("""the running variance
        accumulates squares about the running mean. Each batch contributes its variance about its
        own mean. Squares about the running mean also hold the distance between the two means."""),
    fault.coded(
        "initial-variance-exchanged",
        initial_var=lambda t: np.full(t.gamma.shape, 1.0 - t.convention.initial_var),
    )(r"= 1 - V_0")("""the running variance starts at zero where it should start at one, or the
        reverse. The course says where the average starts. Until the batches outweigh it, inference
        divides by another scale."""),
    fault.coded(
        "cumulative-counts-the-start",
        cumulative_decay=lambda t: t.steps_taken / (t.steps_taken + 1),
    )(r"= \frac{1}{n+1}\left(M_0 + \sum_{t=1}^n \mu_t\right)")("""the cumulative average counts the
        initial value as a batch. The first batch replaces the initial value; it is not averaged
        with it. Count the batch before its weight 1/n is formed."""),
    fault.coded(
        "cumulative-stays-exponential",
        cumulative_decay=lambda t: t.convention.decay(t.convention.momentum),
    )(r"M \leftarrow k\,M + (1-k)\,\mu_B \text{ with the default } k")("""
        without a momentum, the running statistics are still an exponential average. Where no
        momentum is set, every batch should count the same. Here the default momentum is used, and
        old batches fade."""),
    fault.coded("cumulative-weights-swapped", cumulative_decay=lambda t: 1 / t.steps_taken)(
        r"= \frac1n M_{n-1} + \left(1-\frac1n\right)\mu_n"
    )("""without a momentum, the weights 1/n and 1 − 1/n stand on the wrong sides. At batch n the
        new value weighs 1/n and all before it the rest. The other way round, the first batch is
        forgotten and the initial value kept."""),
    fault.coded("cumulative-keeps-the-latest", cumulative_decay=lambda t: 0.0)(r"= \mu_n")("""
        without a momentum, only the latest batch's statistics are kept. The weight of the new batch
        is 1/n, which is 1 only for the first. With a weight of 1 every time, the latest batch
        replaces all before it."""),
    fault.coded(
        "population-variance-over-b-minus-one",
        population_var=lambda t: _biased(t) / max(len(t.batches[0]) - 1, 1),
    )(r"= \frac{1}{B-1}\,\frac1K\sum_b \sigma_b^2")("""the population variance is divided by B−1
        without being multiplied by B. The mini-batches' variances are means already, so the
        correction is the factor B/(B−1). The factor 1/(B−1) belongs to a sum of squares."""),
    fault.coded("population-variance-biased", population_var=_biased)(
        r"= \frac1K\sum_b \sigma_b^2"
    )("""
        the population variance is the average of the biased variances. A mini-batch's own mean lies
        closer to its instances than the population's, so its variance is too small on the average.
        The factor B/(B−1) puts that right."""),
    fault.coded(
        "population-variance-by-number-of-batches",
        population_var=lambda t: _biased(t) * len(t.batches) / max(len(t.batches) - 1, 1),
    )(r"= \frac{K}{K-1}\,\frac1K\sum_b \sigma_b^2")("""the population variance is corrected by the
        number of batches, not their size. The correction undoes what each batch's own mean takes
        away, so it depends on how many instances share one mean. That is B, not the number of
        batches."""),
    fault.coded("population-variance-of-means", population_var=lambda t: np.var(_means(t), axis=0))(
        r"= \frac1K\sum_b (\mu_b - \mu)^2"
    )("""the population variance is the variance of the mini-batch means. That says how much the
        batches differ from one another. What inference needs is how much the instances differ."""),
    fault.coded(
        "population-mean-of-ragged-means", population_mean=lambda t: np.mean(_means(t), axis=0)
    )(
        r"= \frac1K\sum_b \mu_b", killed_by="population.ragged_batches"
    )("""a smaller last mini-batch counts as much as a full one. The mean of means is the mean of
        all instances only if the batches have one size. Weigh each mean by its batch's size."""),
    fault.coded("population-mean-of-last-batch", population_mean=lambda t: _means(t)[-1])(
        r"= \mu_K"
    )("""
        the population mean is the last mini-batch's. Each mini-batch overwrites what came before
        it. The means have to be averaged."""),
)

CONVENTIONS: tuple[Fault, ...] = (
    Kind("convention", anchor="note-7", form=BIASED)(
        "running-variance-unbiased", next_var=UNBIASED
    )("""
        the running variance accumulates the unbiased variance, where the biased is asked. PyTorch
        and the original paper correct the variance for inference by B/(B − 1). This interface keeps
        the batch variance as it is."""),
    Kind("convention", anchor="note-7", form=UNBIASED)(
        "running-variance-biased", next_var=BIASED
    )("""
        the running variance accumulates the biased variance, where the unbiased is asked. Many
        courses keep the batch variance as it is. This interface corrects it by B/(B − 1), so that
        its expectation is the population variance."""),
    different.coded("momentum-swapped", **_each(_swapped))(
        r"M \leftarrow (1-k)\,M + k\,\mu_B, \quad V \leftarrow (1-k)\,V + k\,\sigma_B^2", BOTH
    )("""momentum weighs the other side of the running averages. Frameworks disagree on whether
        momentum weighs the old average or the new value. A momentum of 0.9 for the old average is
        one of 0.1 for the new value."""),
    Kind("convention", anchor="note-8")(
        "running-cumulative-average", **averages("old + (new - old) / steps")
    )("""both running statistics are plain averages over all batches. PyTorch does this when its
        momentum is None, and the paper averages so after training. This interface keeps exponential
        averages with the momentum that is set."""),
    different("hardcoded-momentum-of-keras", **averages("0.99 * old + 0.01 * new"))("""the weights
        0.99 and 0.01 of Keras are written as numbers. Keras keeps 0.99 of the old average by
        default. Here the weights come from the momentum that is set on the layer."""),
    different.coded("first-batch-initialises", **_each(_from_first))(
        r"M_1 = \mu_{B,1}, \quad V_1 = \sigma_{B,1}^2",
        r"M_1 = k\,M_0 + (1-k)\,\mu_{B,1}, \quad V_1 = k\,V_0 + (1-k)\,\sigma_{B,1}^2",
    )("""the first batch replaces the initial running statistics. The course starts from given
        initial values and averages from the first batch on. Starting from the first batch is
        another convention."""),
)
"""What is right in another course or framework, and wrong in this one."""
