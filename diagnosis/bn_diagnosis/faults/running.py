"""Mistakes in the running statistics."""

from __future__ import annotations

import numpy as np
from bn_oracle.arrays import Array

from bn_diagnosis.faults.combining import averages, averages_of, both_of
from bn_diagnosis.faults.common import blend, in_shape, less_one
from bn_diagnosis.faults.fault import Fault, fault
from bn_diagnosis.faults.statements import right
from bn_diagnosis.formulas import Trace, batch_var


def _shared_mean(t: Trace) -> Array:
    mean: Array = t.z.mean(axis=0)
    if t.mean is t.running_mean:
        t.running_mean = mean
    return mean


def _shared_var(t: Trace) -> Array:
    var: Array = ((t.z - t.mean) ** 2).mean(axis=0)
    if t.var is t.running_var:
        t.running_var = var
    return var


def _share(t: Trace) -> None:
    t.mean, t.var = t.running_mean, t.running_var


def _of_rows(t: Trace) -> Array:
    old = t.running_mean
    if old.ndim == 1:
        old = old.reshape(-1, *[1] * (t.x.ndim - 2))
    return blend(t, old, in_shape(t, t.u))


def _about_running_mean(t: Trace) -> Array:
    return blend(t, t.running_var, ((t.z - t.running_mean) ** 2).mean(axis=0))


FAULTS: tuple[Fault, ...] = (
    *both_of(
        fault("running-history-ignored", {"next_mean": lambda t: t.mean})(
            "the batch mean stands where the old running mean belongs",
            r"M \leftarrow k\,\mu_B + (1-k)\,\mu_B",
            "The old average must appear on the right-hand side. As it stands, the running mean "
            "is that of the last batch alone.",
            anchor="note-9",
        ),
        fault("running-variance-history-ignored", {"next_var": batch_var})(
            "the batch variance stands where the old running variance belongs",
            r"V \leftarrow k\,\sigma_B^2 + (1-k)\,\sigma_B^2",
            "The old average must appear on the right-hand side. As it stands, the running "
            "variance is that of the last batch alone.",
            anchor="note-9",
        ),
        "running-last-batch-only",
        "the running statistics are those of the last batch",
        "Running statistics average over many batches, with the weights that momentum "
        "sets. One batch alone is too noisy to stand for the population.",
        wrong=r"M \leftarrow \mu_B, \quad V \leftarrow \sigma_B^2",
    ),
    fault(
        "momentum-swapped-in-mean",
        {"next_mean": lambda t: (1 - t.decay) * t.running_mean + t.decay * t.mean},
    )(
        "momentum weighs the wrong side in the running mean only",
        r"M \leftarrow (1-k)\,M + k\,\mu_B",
        "Both running statistics are averaged with the same weights. In the mean the weights of "
        "the old and the new value have changed places.",
        anchor="note-9",
    ),
    fault(
        "momentum-swapped-in-variance",
        {"next_var": lambda t: (1 - t.decay) * t.running_var + t.decay * batch_var(t)},
    )(
        "momentum weighs the wrong side in the running variance only",
        r"V \leftarrow (1-k)\,V + k\,\sigma_B^2",
        "Both running statistics are averaged with the same weights. In the variance the weights "
        "of the old and the new value have changed places.",
        anchor="note-9",
    ),
    fault("hardcoded-momentum", averages(lambda t, old, new: 0.9 * old + 0.1 * new))(
        "the weights 0.9 and 0.1 are written as numbers",
        r"M \leftarrow 0.9\,M + 0.1\,\mu_B",
        "The weights come from the momentum that is set on the layer. Numbers in their place are "
        "right for the default alone.",
    ),
    fault(
        "running-parenthesis",
        {"next_mean": lambda t: t.decay * t.running_mean + (1 - t.decay * t.mean)},
    )(
        "a slip of parentheses: the batch mean enters as 1 − k·μ",
        r"M \leftarrow k\,M + (1-k\,\mu_B)",
        "The weight of the new value is 1 − k, in parentheses of its own. As it stands, the batch "
        "mean is subtracted from one.",
    ),
    fault(
        "running-parenthesis-variance",
        {"next_var": lambda t: t.decay * t.running_var + (1 - t.decay * batch_var(t))},
    )(
        "a slip of parentheses: the batch variance enters as 1 − k·σ²",
        r"V \leftarrow k\,V + (1-k\,\sigma_B^2)",
        "The weight of the new value is 1 − k, in parentheses of its own. As it stands, a large "
        "batch variance makes the running one negative.",
    ),
    fault(
        "running-parenthesis-both", averages(lambda t, old, new: t.decay * old + 1 - t.decay * new)
    )(
        "a slip of parentheses in both running statistics",
        r"M \leftarrow k\,M + 1-k\,\mu_B",
        "The weight of the new value is 1 − k, in parentheses of its own. Both updates subtract "
        "the batch's value from one instead.",
        right=right("next_mean", "next_var"),
    ),
    fault("two-updates", averages(lambda t, old, new: blend(t, blend(t, old, new), new)))(
        "the running statistics are updated twice in a training step",
        r"M \leftarrow k(k\,M + (1-k)\,\mu_B) + (1-k)\,\mu_B",
        "One training step is one update. Two of them forget the history twice as fast as the "
        "momentum says.",
    ),
    *both_of(
        fault("running-mean-not-stored", {"next_mean": lambda t: t.running_mean})(
            "the new running mean is never stored",
            r"M \leftarrow M",
            "The update must be written back to where inference reads it. A local variable is "
            "gone when the call returns.",
        ),
        fault("running-variance-not-stored", {"next_var": lambda t: t.running_var})(
            "the new running variance is never stored",
            r"V \leftarrow V",
            "The update must be written back to where inference reads it. Here the mean is, but "
            "the variance stays at its initial value.",
        ),
        "running-statistics-not-stored",
        "the running statistics never change",
        "The old values are written back, or the new ones are never stored. Inference "
        "then normalises with the initial values for ever.",
    ),
    fault("running-std", {"next_var": lambda t: blend(t, t.running_var, t.s)})(
        "the denominator √(σ²+ε) is accumulated in place of the variance",
        r"V \leftarrow k\,V + (1-k)\sqrt{\sigma_B^2+\epsilon}",
        "Inference takes the root of what is accumulated, so that must be a variance. Accumulated "
        "roots would have the root taken twice.",
    ),
    fault(
        "running-std-without-eps", {"next_var": lambda t: blend(t, t.running_var, np.sqrt(t.var))}
    )(
        "the standard deviation is accumulated in place of the variance",
        r"V \leftarrow k\,V + (1-k)\sqrt{\sigma_B^2}",
        "Inference takes the root of what is accumulated, so that must be a variance. The average "
        "of standard deviations is also not the root of the average variance.",
    ),
    fault(
        "running-variance-plus-eps",
        {"next_var": lambda t: blend(t, t.running_var, batch_var(t) + t.eps)},
    )(
        "the running variance accumulates σ² + ε",
        r"V \leftarrow k\,V + (1-k)(\sigma_B^2+\epsilon)",
        "ε protects a quotient and is no part of the variance. Inference adds it once more, so it "
        "would count twice.",
    ),
    fault(
        "running-variance-over-b-minus-1",
        {"next_var": lambda t: blend(t, t.running_var, t.var / less_one(t))},
    )(
        "the running variance accumulates σ²/(B − 1)",
        r"V \leftarrow k\,V + (1-k)\,\frac{1}{B-1}\sigma_B^2",
        "Bessel's correction is the factor B/(B − 1), whose numerator is lost here. The quotient "
        "shrinks towards zero as batches grow.",
        anchor="note-7",
    ),
    fault("running-of-normalised", averages_of(lambda t: t.u))(
        "the statistics of the normalised batch are accumulated",
        r"M \leftarrow k\,M + (1-k)\,\frac1B\sum_i u_i",
        "Normalised values have mean zero and variance near one whatever the data. The running "
        "statistics must be those of the input.",
    ),
    fault("running-of-output", averages_of(lambda t: t.y))(
        "the statistics of the layer's output are accumulated",
        r"M \leftarrow k\,M + (1-k)\,\frac1B\sum_i \hat z_i",
        "The output has mean β whatever the data. The running statistics must be those of the "
        "input.",
    ),
    fault("running-mean-of-rows", {"next_mean": _of_rows})(
        "the normalised batch itself is accumulated, one value an instance",
        r"M_i \leftarrow k\,M_i + (1-k)\,u_i",
        "A running mean is one number a feature. Here the normalised batch enters without being "
        "averaged, so the statistic takes the batch's shape.",
    ),
    fault(
        "running-mean-of-means",
        {"next_mean": lambda t: t.running_mean + (t.mean - t.running_mean) / t.steps_taken},
    )(
        "the running mean is the plain average of all batch means",
        r"M \leftarrow M + \frac{1}{N_B}(\mu_B - M)",
        "The course asks for an exponential average with the layer's momentum. The plain average "
        "also equals the population mean for batches of one size only.",
        anchor="note-8",
    ),
    fault("running-aliased", {"mean": _shared_mean, "var": _shared_var, "after_infer": _share})(
        "after inference the batch's arrays are the running ones, and are overwritten",
        r"M \leftarrow k\,\mu_B + (1-k)\,\mu_B",
        "Inference makes the batch's array and the running one the same object, so the next "
        "training step writes over the history. Copy the numbers, or use names of their own.",
        right=right("next_mean"),
        anchor="real-running",
        killed_by="running.mean_recurrence",
    ),
    fault("running-not-decayed", averages(lambda t, old, new: old + (1 - t.decay) * new))(
        "the old running statistics are not weighted down",
        r"M \leftarrow M + (1-k)\,\mu_B",
        "The weights of old and new must sum to one. Without the factor k the sums grow with "
        "every batch.",
        anchor="note-9",
    ),
    fault("running-new-not-weighted", averages(lambda t, old, new: t.decay * old + new))(
        "the batch statistics enter with weight one",
        r"M \leftarrow k\,M + \mu_B",
        "The weights of old and new must sum to one. Without the factor 1 − k the running "
        "statistics approach a multiple of the right ones.",
        anchor="note-9",
    ),
    fault(
        "running-statistics-swapped",
        {
            "next_mean": lambda t: blend(t, t.running_mean, batch_var(t)),
            "next_var": lambda t: blend(t, t.running_var, t.mean),
        },
    )(
        "the batch mean enters the running variance and the variance the mean",
        r"M \leftarrow k\,M + (1-k)\,\sigma_B^2",
        "The two new values have changed places. Check the order in which the statistics are "
        "returned and unpacked.",
    ),
    fault(
        "running-variance-from-running-mean",
        {"next_var": lambda t: blend(t, t.running_mean, batch_var(t))},
    )(
        "the running variance is updated from the running mean",
        r"V \leftarrow k\,M + (1-k)\,\sigma_B^2",
        "The line was copied from the mean's, and one name was not changed. The old running "
        "variance belongs on the right-hand side.",
    ),
    fault("running-variance-about-running-mean", {"next_var": _about_running_mean})(
        "the running variance accumulates squares about the running mean",
        r"V \leftarrow k\,V + (1-k)\,\frac1B\sum_i (z_i-M)^2",
        "Each batch contributes its variance about its own mean. Squares about the running mean "
        "also hold the distance between the two means.",
    ),
)
"""The mistakes of this module."""
