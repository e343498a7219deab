"""Mistakes in the running statistics."""

from __future__ import annotations

import numpy as np
from bn_oracle.arrays import Array

from bn_diagnosis.faults.common import RUNNING_MEAN, RUNNING_VAR, blend, in_shape
from bn_diagnosis.faults.fault import Fault
from bn_diagnosis.formulas import Trace, batch_var

BOTH = RUNNING_MEAN + r", \quad " + RUNNING_VAR


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


FAULTS: tuple[Fault, ...] = (
    Fault(
        id="running-history-ignored",
        title="the batch mean stands where the old running mean belongs",
        family="running",
        wrong=r"M \leftarrow k\,\mu_B + (1-k)\,\mu_B",
        right=RUNNING_MEAN,
        explanation="The old average must appear on the right-hand side. As it stands, the running "
        "mean is that of the last batch alone.",
        anchor="note-9",
        killed_by="running.mean_recurrence",
        replaces={"next_mean": lambda t: t.mean},
    ),
    Fault(
        id="running-variance-history-ignored",
        title="the batch variance stands where the old running variance belongs",
        family="running",
        wrong=r"V \leftarrow k\,\sigma_B^2 + (1-k)\,\sigma_B^2",
        right=RUNNING_VAR,
        explanation="The old average must appear on the right-hand side. As it stands, the running "
        "variance is that of the last batch alone.",
        anchor="note-9",
        killed_by="running.variance_recurrence",
        replaces={"next_var": batch_var},
    ),
    Fault(
        id="running-last-batch-only",
        title="the running statistics are those of the last batch",
        family="running",
        wrong=r"M \leftarrow \mu_B, \quad V \leftarrow \sigma_B^2",
        right=BOTH,
        explanation="Running statistics average over many batches, with the weights that momentum "
        "sets. One batch alone is too noisy to stand for the population.",
        anchor="note-9",
        killed_by="running.mean_recurrence",
        replaces={"next_mean": lambda t: t.mean, "next_var": batch_var},
    ),
    Fault(
        id="momentum-swapped-in-mean",
        title="momentum weighs the wrong side in the running mean only",
        family="running",
        wrong=r"M \leftarrow (1-k)\,M + k\,\mu_B",
        right=RUNNING_MEAN,
        explanation="Both running statistics are averaged with the same weights. In the mean the "
        "weights of the old and the new value have changed places.",
        anchor="note-9",
        killed_by="running.mean_recurrence",
        replaces={"next_mean": lambda t: (1 - t.decay) * t.running_mean + t.decay * t.mean},
    ),
    Fault(
        id="momentum-swapped-in-variance",
        title="momentum weighs the wrong side in the running variance only",
        family="running",
        wrong=r"V \leftarrow (1-k)\,V + k\,\sigma_B^2",
        right=RUNNING_VAR,
        explanation="Both running statistics are averaged with the same weights. In the variance "
        "the weights of the old and the new value have changed places.",
        anchor="note-9",
        killed_by="running.variance_recurrence",
        replaces={"next_var": lambda t: (1 - t.decay) * t.running_var + t.decay * batch_var(t)},
    ),
    Fault(
        id="hardcoded-momentum",
        title="the weights 0.9 and 0.1 are written as numbers",
        family="running",
        wrong=r"M \leftarrow 0.9\,M + 0.1\,\mu_B",
        right=RUNNING_MEAN,
        explanation="The weights come from the momentum that is set on the layer. Numbers in their "
        "place are right for the default alone.",
        anchor="real-running",
        killed_by="running.mean_recurrence",
        replaces={
            "next_mean": lambda t: 0.9 * t.running_mean + 0.1 * t.mean,
            "next_var": lambda t: 0.9 * t.running_var + 0.1 * batch_var(t),
        },
    ),
    Fault(
        id="running-parenthesis",
        title="a slip of parentheses: the batch mean enters as 1 − k·μ",
        family="running",
        wrong=r"M \leftarrow k\,M + (1-k\,\mu_B)",
        right=RUNNING_MEAN,
        explanation="The weight of the new value is 1 − k, in parentheses of its own. As it "
        "stands, the batch mean is subtracted from one.",
        anchor="real-running",
        killed_by="running.mean_recurrence",
        replaces={"next_mean": lambda t: t.decay * t.running_mean + (1 - t.decay * t.mean)},
    ),
    Fault(
        id="running-parenthesis-variance",
        title="a slip of parentheses: the batch variance enters as 1 − k·σ²",
        family="running",
        wrong=r"V \leftarrow k\,V + (1-k\,\sigma_B^2)",
        right=RUNNING_VAR,
        explanation="The weight of the new value is 1 − k, in parentheses of its own. As it "
        "stands, a large batch variance makes the running one negative.",
        anchor="real-running",
        killed_by="running.variance_recurrence",
        replaces={"next_var": lambda t: t.decay * t.running_var + (1 - t.decay * batch_var(t))},
    ),
    Fault(
        id="running-parenthesis-both",
        title="a slip of parentheses in both running statistics",
        family="running",
        wrong=r"M \leftarrow k\,M + 1-k\,\mu_B",
        right=BOTH,
        explanation="The weight of the new value is 1 − k, in parentheses of its own. Both updates "
        "subtract the batch's value from one instead.",
        anchor="real-running",
        killed_by="running.mean_recurrence",
        replaces={
            "next_mean": lambda t: t.decay * t.running_mean + 1 - t.decay * t.mean,
            "next_var": lambda t: t.decay * t.running_var + 1 - t.decay * batch_var(t),
        },
    ),
    Fault(
        id="two-updates",
        title="the running statistics are updated twice in a training step",
        family="running",
        wrong=r"M \leftarrow k(k\,M + (1-k)\,\mu_B) + (1-k)\,\mu_B",
        right=RUNNING_MEAN,
        explanation="One training step is one update. Two of them forget the history twice as fast "
        "as the momentum says.",
        anchor="real-running",
        killed_by="running.mean_recurrence",
        replaces={
            "next_mean": lambda t: blend(t, blend(t, t.running_mean, t.mean), t.mean),
            "next_var": lambda t: blend(t, blend(t, t.running_var, batch_var(t)), batch_var(t)),
        },
    ),
    Fault(
        id="running-mean-not-stored",
        title="the new running mean is never stored",
        family="running",
        wrong=r"M \leftarrow M",
        right=RUNNING_MEAN,
        explanation="The update must be written back to where inference reads it. A local variable "
        "is gone when the call returns.",
        anchor="real-running",
        killed_by="running.mean_recurrence",
        replaces={"next_mean": lambda t: t.running_mean},
    ),
    Fault(
        id="running-variance-not-stored",
        title="the new running variance is never stored",
        family="running",
        wrong=r"V \leftarrow V",
        right=RUNNING_VAR,
        explanation="The update must be written back to where inference reads it. Here the mean "
        "is, but the variance stays at its initial value.",
        anchor="real-running",
        killed_by="running.variance_recurrence",
        replaces={"next_var": lambda t: t.running_var},
    ),
    Fault(
        id="running-statistics-not-stored",
        title="the running statistics never change",
        family="running",
        wrong=r"M \leftarrow M, \quad V \leftarrow V",
        right=BOTH,
        explanation="The old values are written back, or the new ones are never stored. Inference "
        "then normalises with the initial values for ever.",
        anchor="real-running",
        killed_by="running.mean_recurrence",
        replaces={"next_mean": lambda t: t.running_mean, "next_var": lambda t: t.running_var},
    ),
    Fault(
        id="running-std",
        title="the denominator √(σ²+ε) is accumulated in place of the variance",
        family="running",
        wrong=r"V \leftarrow k\,V + (1-k)\sqrt{\sigma_B^2+\epsilon}",
        right=RUNNING_VAR,
        explanation="Inference takes the root of what is accumulated, so that must be a variance. "
        "Accumulated roots would have the root taken twice.",
        anchor="real-running",
        killed_by="running.variance_recurrence",
        replaces={"next_var": lambda t: blend(t, t.running_var, t.s)},
    ),
    Fault(
        id="running-std-without-eps",
        title="the standard deviation is accumulated in place of the variance",
        family="running",
        wrong=r"V \leftarrow k\,V + (1-k)\sqrt{\sigma_B^2}",
        right=RUNNING_VAR,
        explanation="Inference takes the root of what is accumulated, so that must be a variance. "
        "The average of standard deviations is also not the root of the average variance.",
        anchor="real-running",
        killed_by="running.variance_recurrence",
        replaces={"next_var": lambda t: blend(t, t.running_var, np.sqrt(t.var))},
    ),
    Fault(
        id="running-variance-plus-eps",
        title="the running variance accumulates σ² + ε",
        family="running",
        wrong=r"V \leftarrow k\,V + (1-k)(\sigma_B^2+\epsilon)",
        right=RUNNING_VAR,
        explanation="ε protects a quotient and is no part of the variance. Inference adds it once "
        "more, so it would count twice.",
        anchor="real-running",
        killed_by="running.variance_recurrence",
        replaces={"next_var": lambda t: blend(t, t.running_var, batch_var(t) + t.eps)},
    ),
    Fault(
        id="running-variance-over-b-minus-1",
        title="the running variance accumulates σ²/(B − 1)",
        family="running",
        wrong=r"V \leftarrow k\,V + (1-k)\,\frac{1}{B-1}\sigma_B^2",
        right=RUNNING_VAR,
        explanation="Bessel's correction is the factor B/(B − 1), whose numerator is lost here. "
        "The quotient shrinks towards zero as batches grow.",
        anchor="note-7",
        killed_by="running.variance_recurrence",
        replaces={"next_var": lambda t: blend(t, t.running_var, t.var / max(t.n - 1, 1))},
    ),
    Fault(
        id="running-of-normalised",
        title="the statistics of the normalised batch are accumulated",
        family="running",
        wrong=r"M \leftarrow k\,M + (1-k)\,\frac1B\sum_i u_i",
        right=RUNNING_MEAN,
        explanation="Normalised values have mean zero and variance near one whatever the data. The "
        "running statistics must be those of the input.",
        anchor="real-running",
        killed_by="running.mean_recurrence",
        replaces={
            "next_mean": lambda t: blend(t, t.running_mean, t.u.mean(axis=0)),
            "next_var": lambda t: blend(t, t.running_var, t.u.var(axis=0)),
        },
    ),
    Fault(
        id="running-of-output",
        title="the statistics of the layer's output are accumulated",
        family="running",
        wrong=r"M \leftarrow k\,M + (1-k)\,\frac1B\sum_i \hat z_i",
        right=RUNNING_MEAN,
        explanation="The output has mean β whatever the data. The running statistics must be those "
        "of the input.",
        anchor="real-running",
        killed_by="running.mean_recurrence",
        replaces={
            "next_mean": lambda t: blend(t, t.running_mean, t.y.mean(axis=0)),
            "next_var": lambda t: blend(t, t.running_var, t.y.var(axis=0)),
        },
    ),
    Fault(
        id="running-mean-of-rows",
        title="the normalised batch itself is accumulated, one value an instance",
        family="running",
        wrong=r"M_i \leftarrow k\,M_i + (1-k)\,u_i",
        right=RUNNING_MEAN,
        explanation="A running mean is one number a feature. Here the normalised batch enters "
        "without being averaged, so the statistic takes the batch's shape.",
        anchor="real-running",
        killed_by="running.mean_recurrence",
        replaces={
            "next_mean": lambda t: blend(
                t,
                t.running_mean
                if t.running_mean.ndim > 1
                else t.running_mean.reshape(-1, *[1] * (t.x.ndim - 2)),
                in_shape(t, t.u),
            )
        },
    ),
    Fault(
        id="running-mean-of-means",
        title="the running mean is the plain average of all batch means",
        family="running",
        wrong=r"M \leftarrow M + \frac{1}{N_B}(\mu_B - M)",
        right=RUNNING_MEAN,
        explanation="The course asks for an exponential average with the layer's momentum. The "
        "plain average also equals the population mean for batches of one size only.",
        anchor="note-8",
        killed_by="running.mean_recurrence",
        replaces={
            "next_mean": lambda t: t.running_mean + (t.mean - t.running_mean) / t.steps_taken,
        },
    ),
    Fault(
        id="running-aliased",
        title="after inference the batch's arrays are the running ones, and are overwritten",
        family="running",
        wrong=r"M \leftarrow k\,\mu_B + (1-k)\,\mu_B",
        right=RUNNING_MEAN,
        explanation="Inference makes the batch's array and the running one the same object, so the "
        "next training step writes over the history. Copy the numbers, or use names of their own.",
        anchor="real-running",
        killed_by="running.mean_recurrence",
        replaces={"mean": _shared_mean, "var": _shared_var, "after_infer": _share},
    ),
    Fault(
        id="running-not-decayed",
        title="the old running statistics are not weighted down",
        family="running",
        wrong=r"M \leftarrow M + (1-k)\,\mu_B",
        right=RUNNING_MEAN,
        explanation="The weights of old and new must sum to one. Without the factor k the sums "
        "grow with every batch.",
        anchor="note-9",
        killed_by="running.mean_recurrence",
        replaces={
            "next_mean": lambda t: t.running_mean + (1 - t.decay) * t.mean,
            "next_var": lambda t: t.running_var + (1 - t.decay) * batch_var(t),
        },
    ),
    Fault(
        id="running-new-not-weighted",
        title="the batch statistics enter with weight one",
        family="running",
        wrong=r"M \leftarrow k\,M + \mu_B",
        right=RUNNING_MEAN,
        explanation="The weights of old and new must sum to one. Without the factor 1 − k the "
        "running statistics approach a multiple of the right ones.",
        anchor="note-9",
        killed_by="running.mean_recurrence",
        replaces={
            "next_mean": lambda t: t.decay * t.running_mean + t.mean,
            "next_var": lambda t: t.decay * t.running_var + batch_var(t),
        },
    ),
    Fault(
        id="running-statistics-swapped",
        title="the batch mean enters the running variance and the variance the mean",
        family="running",
        wrong=r"M \leftarrow k\,M + (1-k)\,\sigma_B^2",
        right=RUNNING_MEAN,
        explanation="The two new values have changed places. Check the order in which the "
        "statistics are returned and unpacked.",
        anchor="real-running",
        killed_by="running.mean_recurrence",
        replaces={
            "next_mean": lambda t: blend(t, t.running_mean, batch_var(t)),
            "next_var": lambda t: blend(t, t.running_var, t.mean),
        },
    ),
    Fault(
        id="running-variance-from-running-mean",
        title="the running variance is updated from the running mean",
        family="running",
        wrong=r"V \leftarrow k\,M + (1-k)\,\sigma_B^2",
        right=RUNNING_VAR,
        explanation="The line was copied from the mean's, and one name was not changed. The old "
        "running variance belongs on the right-hand side.",
        anchor="real-running",
        killed_by="running.variance_recurrence",
        replaces={"next_var": lambda t: blend(t, t.running_mean, batch_var(t))},
    ),
    Fault(
        id="running-variance-about-running-mean",
        title="the running variance accumulates squares about the running mean",
        family="running",
        wrong=r"V \leftarrow k\,V + (1-k)\,\frac1B\sum_i (z_i-M)^2",
        right=RUNNING_VAR,
        explanation="Each batch contributes its variance about its own mean. Squares about the "
        "running mean also hold the distance between the two means.",
        anchor="real-running",
        killed_by="running.variance_recurrence",
        replaces={
            "next_var": lambda t: blend(
                t, t.running_var, ((t.z - t.running_mean) ** 2).mean(axis=0)
            ),
        },
    ),
)
"""The mistakes of this module."""
