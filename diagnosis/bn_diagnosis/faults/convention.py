"""What is right in another course or framework, and wrong in this one."""

from __future__ import annotations

from bn_oracle.arrays import Array

from bn_diagnosis.faults.common import bessel, blend
from bn_diagnosis.faults.fault import Fault
from bn_diagnosis.formulas import Trace, batch_var


def _swapped(t: Trace, old: Array, new: Array) -> Array:
    """Return the average with its weights exchanged; without a momentum there is nothing
    to swap.
    """
    decay = t.decay if t.cumulative else 1 - t.decay
    return decay * old + (1 - decay) * new


FAULTS: tuple[Fault, ...] = (
    Fault(
        id="running-variance-unbiased",
        title="the running variance accumulates the unbiased variance, where the biased is asked",
        family="convention",
        wrong=r"V \leftarrow k\,V + (1-k)\,\frac{B}{B-1}\sigma_B^2",
        right=r"V \leftarrow k\,V + (1-k)\,\sigma_B^2",
        explanation="PyTorch and the original paper correct the variance for inference by "
        "B/(B − 1). This interface keeps the batch variance as it is.",
        anchor="note-7",
        killed_by="running.variance_recurrence",
        replaces={"next_var": lambda t: blend(t, t.running_var, t.var * bessel(t))},
    ),
    Fault(
        id="running-variance-biased",
        title="the running variance accumulates the biased variance, where the unbiased is asked",
        family="convention",
        wrong=r"V \leftarrow k\,V + (1-k)\,\sigma_B^2",
        right=r"V \leftarrow k\,V + (1-k)\,\frac{B}{B-1}\sigma_B^2",
        explanation="Many courses keep the batch variance as it is. This interface corrects it by "
        "B/(B − 1), so that its expectation is the population variance.",
        anchor="note-7",
        killed_by="running.variance_recurrence",
        replaces={"next_var": lambda t: blend(t, t.running_var, t.var)},
    ),
    Fault(
        id="momentum-swapped",
        title="momentum weighs the other side of the running averages",
        family="convention",
        wrong=r"M \leftarrow (1-k)\,M + k\,\mu_B, \quad V \leftarrow (1-k)\,V + k\,\sigma_B^2",
        right=r"M \leftarrow k\,M + (1-k)\,\mu_B, \quad V \leftarrow k\,V + (1-k)\,\sigma_B^2",
        explanation="Frameworks disagree on whether momentum weighs the old average or the new "
        "value. A momentum of 0.9 for the old average is one of 0.1 for the new value.",
        anchor="note-9",
        killed_by="running.mean_recurrence",
        replaces={
            "next_mean": lambda t: _swapped(t, t.running_mean, t.mean),
            "next_var": lambda t: _swapped(t, t.running_var, batch_var(t)),
        },
    ),
    Fault(
        id="running-cumulative-average",
        title="both running statistics are plain averages over all batches",
        family="convention",
        wrong=r"M \leftarrow M + \frac{1}{N_B}(\mu_B - M), \quad "
        r"V \leftarrow V + \frac{1}{N_B}(\sigma_B^2 - V)",
        right=r"M \leftarrow k\,M + (1-k)\,\mu_B, \quad V \leftarrow k\,V + (1-k)\,\sigma_B^2",
        explanation="PyTorch does this when its momentum is None, and the paper averages so after "
        "training. This interface keeps exponential averages with the momentum that is set.",
        anchor="note-8",
        killed_by="running.mean_recurrence",
        replaces={
            "next_mean": lambda t: t.running_mean + (t.mean - t.running_mean) / t.steps_taken,
            "next_var": lambda t: t.running_var + (batch_var(t) - t.running_var) / t.steps_taken,
        },
    ),
    Fault(
        id="hardcoded-momentum-of-keras",
        title="the weights 0.99 and 0.01 of Keras are written as numbers",
        family="convention",
        wrong=r"M \leftarrow 0.99\,M + 0.01\,\mu_B",
        right=r"M \leftarrow k\,M + (1-k)\,\mu_B",
        explanation="Keras keeps 0.99 of the old average by default. Here the weights come from "
        "the momentum that is set on the layer.",
        anchor="note-9",
        killed_by="running.mean_recurrence",
        replaces={
            "next_mean": lambda t: 0.99 * t.running_mean + 0.01 * t.mean,
            "next_var": lambda t: 0.99 * t.running_var + 0.01 * batch_var(t),
        },
    ),
    Fault(
        id="first-batch-initialises",
        title="the first batch replaces the initial running statistics",
        family="convention",
        wrong=r"M_1 = \mu_{B,1}, \quad V_1 = \sigma_{B,1}^2",
        right=r"M_1 = k\,M_0 + (1-k)\,\mu_{B,1}, \quad V_1 = k\,V_0 + (1-k)\,\sigma_{B,1}^2",
        explanation="The course starts from given initial values and averages from the first batch "
        "on. Starting from the first batch is another convention.",
        anchor="note-9",
        killed_by="running.mean_recurrence",
        replaces={
            "next_mean": lambda t: (
                t.mean if t.steps_taken == 1 else blend(t, t.running_mean, t.mean)
            ),
            "next_var": lambda t: (
                batch_var(t) if t.steps_taken == 1 else blend(t, t.running_var, batch_var(t))
            ),
        },
    ),
)
"""The mistakes of this module."""
