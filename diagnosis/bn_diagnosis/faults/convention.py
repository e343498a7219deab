"""What is right in another course or framework, and wrong in this one."""

from __future__ import annotations

from bn_oracle.arrays import Array

from bn_diagnosis.faults.combining import averages
from bn_diagnosis.faults.common import bessel, blend
from bn_diagnosis.faults.fault import Fault, Kind
from bn_diagnosis.faults.statements import right
from bn_diagnosis.formulas import Trace


def _swapped(t: Trace, old: Array, new: Array) -> Array:
    """Return the average, its weights exchanged; without a momentum there are none to exchange."""
    decay = t.decay if t.cumulative else 1 - t.decay
    return decay * old + (1 - decay) * new


def _from_first_batch(t: Trace, old: Array, new: Array) -> Array:
    return new if t.steps_taken == 1 else blend(t, old, new)


different = Kind(family="convention")

FAULTS: tuple[Fault, ...] = (
    different(
        "running-variance-unbiased",
        {"next_var": lambda t: blend(t, t.running_var, t.var * bessel(t))},
    )(
        "the running variance accumulates the unbiased variance, where the biased is asked",
        r"V \leftarrow k\,V + (1-k)\,\frac{B}{B-1}\sigma_B^2",
        "PyTorch and the original paper correct the variance for inference by B/(B − 1). This "
        "interface keeps the batch variance as it is.",
        anchor="note-7",
    ),
    different("running-variance-biased", {"next_var": lambda t: blend(t, t.running_var, t.var)})(
        "the running variance accumulates the biased variance, where the unbiased is asked",
        right("next_var"),
        "Many courses keep the batch variance as it is. This interface corrects it by B/(B − 1), "
        "so that its expectation is the population variance.",
        right=r"V \leftarrow k\,V + (1-k)\,\frac{B}{B-1}\sigma_B^2",
        anchor="note-7",
    ),
    different("momentum-swapped", averages(_swapped))(
        "momentum weighs the other side of the running averages",
        r"M \leftarrow (1-k)\,M + k\,\mu_B, \quad V \leftarrow (1-k)\,V + k\,\sigma_B^2",
        "Frameworks disagree on whether momentum weighs the old average or the new value. A "
        "momentum of 0.9 for the old average is one of 0.1 for the new value.",
        right=right("next_mean", "next_var"),
        anchor="note-9",
    ),
    different(
        "running-cumulative-average",
        averages(lambda t, old, new: old + (new - old) / t.steps_taken),
    )(
        "both running statistics are plain averages over all batches",
        r"M \leftarrow M + \frac{1}{N_B}(\mu_B - M), \quad "
        r"V \leftarrow V + \frac{1}{N_B}(\sigma_B^2 - V)",
        "PyTorch does this when its momentum is None, and the paper averages so after training. "
        "This interface keeps exponential averages with the momentum that is set.",
        right=right("next_mean", "next_var"),
        anchor="note-8",
    ),
    different("hardcoded-momentum-of-keras", averages(lambda t, old, new: 0.99 * old + 0.01 * new))(
        "the weights 0.99 and 0.01 of Keras are written as numbers",
        r"M \leftarrow 0.99\,M + 0.01\,\mu_B",
        "Keras keeps 0.99 of the old average by default. Here the weights come from the momentum "
        "that is set on the layer.",
        anchor="note-9",
    ),
    different("first-batch-initialises", averages(_from_first_batch))(
        "the first batch replaces the initial running statistics",
        r"M_1 = \mu_{B,1}, \quad V_1 = \sigma_{B,1}^2",
        "The course starts from given initial values and averages from the first batch on. "
        "Starting from the first batch is another convention.",
        right=r"M_1 = k\,M_0 + (1-k)\,\mu_{B,1}, \quad V_1 = k\,V_0 + (1-k)\,\sigma_{B,1}^2",
        anchor="note-9",
    ),
)
"""The mistakes of this module."""
