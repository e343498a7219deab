"""Mistakes in the inference output, and in what inference leaves behind."""

from __future__ import annotations

import numpy as np
from bn_oracle.arrays import Array

from bn_diagnosis.faults.common import INFERENCE, bessel, blend
from bn_diagnosis.faults.fault import Fault
from bn_diagnosis.formulas import Trace

FOLD = (
    r"\hat z = \frac{\gamma}{\sqrt{\sigma^2+\epsilon}}\,z + "
    r"\left(\beta - \frac{\gamma\mu}{\sqrt{\sigma^2+\epsilon}}\right)"
)
STRAIGHT = r"\frac{\partial Div}{\partial z_i} = \frac{\gamma}{\sqrt{\sigma^2+\epsilon}}\,G_i"
KEPT = r"M \leftarrow M, \quad V \leftarrow V"
MOVED = r"M \leftarrow k\,M + (1-k)\,\mu_B, \quad V \leftarrow k\,V + (1-k)\,\sigma_B^2"


def _move(t: Trace) -> None:
    factor = bessel(t) if t.convention.running_variance == "unbiased" else 1.0
    t.running_mean = blend(t, t.running_mean, t.z.mean(axis=0))
    t.running_var = blend(t, t.running_var, t.z.var(axis=0) * factor)


def _moved_root(t: Trace) -> Array:
    _move(t)
    return np.sqrt(t.running_var + t.eps)


def _by_own_batch(t: Trace) -> object:
    u = (t.z - t.z.mean(axis=0)) / np.sqrt(t.z.var(axis=0) + t.eps)
    return t.gamma * u + t.beta


def _by_last_batch(t: Trace) -> object:
    mean, var = (0.0, 1.0) if t.trained is None else (t.mean, t.var)
    return t.gamma * ((t.z - mean) / np.sqrt(var + t.eps)) + t.beta


def _stored_input(t: Trace) -> object:
    stored = np.zeros((1, t.gamma.size)) if t.trained is None else t.trained
    return t.gamma * ((stored - t.running_mean) / t.s) + t.beta


def _by_training_formula(t: Trace) -> object:
    u = (t.z - t.running_mean) / t.s
    return t.gamma / t.s * (t.g - t.g.mean(axis=0) - u * (t.g * u).mean(axis=0))


FAULTS: tuple[Fault, ...] = (
    Fault(
        id="inference-without-affine",
        title="inference returns the normalised value, without γ and β",
        family="inference",
        wrong=r"\hat z = \frac{z-\mu}{\sqrt{\sigma^2+\epsilon}}",
        right=INFERENCE,
        explanation="The learned scale and shift apply at inference as in training. With γ and β "
        "at their initial values the omission cannot be seen.",
        anchor="note-10",
        killed_by="inference.affine_fold",
        replaces={"infer": lambda t: (t.z - t.running_mean) / t.s},
    ),
    Fault(
        id="inference-without-gamma",
        title="inference leaves γ out",
        family="inference",
        wrong=r"\hat z = \frac{z-\mu}{\sqrt{\sigma^2+\epsilon}} + \beta",
        right=INFERENCE,
        explanation="The normalised value is multiplied by γ at inference as in training. With γ "
        "at one the omission cannot be seen.",
        anchor="note-10",
        killed_by="inference.affine_fold",
        replaces={"infer": lambda t: (t.z - t.running_mean) / t.s + t.beta},
    ),
    Fault(
        id="inference-without-beta",
        title="inference leaves β out",
        family="inference",
        wrong=r"\hat z = \gamma\,\frac{z-\mu}{\sqrt{\sigma^2+\epsilon}}",
        right=INFERENCE,
        explanation="The scaled value is shifted by β at inference as in training. With β at zero "
        "the omission cannot be seen.",
        anchor="note-10",
        killed_by="inference.affine_fold",
        replaces={"infer": lambda t: t.gamma * ((t.z - t.running_mean) / t.s)},
    ),
    Fault(
        id="inference-beta-before-scaling",
        title="inference adds β before scaling by γ",
        family="inference",
        wrong=r"\hat z = \gamma\left(\frac{z-\mu}{\sqrt{\sigma^2+\epsilon}} + \beta\right)",
        right=INFERENCE,
        explanation="The shift comes after the scaling. Added before, β is multiplied by γ.",
        anchor="note-10",
        killed_by="inference.affine_fold",
        replaces={"infer": lambda t: t.gamma * ((t.z - t.running_mean) / t.s + t.beta)},
    ),
    Fault(
        id="inference-divides-by-variance",
        title="inference divides by the running variance, without the root",
        family="inference",
        wrong=r"\hat z = \gamma\,\frac{z-\mu}{\sigma^2+\epsilon} + \beta",
        right=INFERENCE,
        explanation="What is kept is a variance, and the denominator is a standard deviation. Take "
        "the square root of the running variance plus ε.",
        anchor="real-inference",
        killed_by="inference.affine_fold",
        replaces={"infer_s": lambda t: t.running_var + t.eps},
    ),
    Fault(
        id="inference-divides-by-variance-without-eps",
        title="inference divides by the bare running variance, without root and ε",
        family="inference",
        wrong=r"\hat z = \gamma\,\frac{z-\mu}{\sigma^2} + \beta",
        right=INFERENCE,
        explanation="The denominator at inference is √(σ²+ε), as in training. Both the root and ε "
        "are missing.",
        anchor="real-inference",
        killed_by="inference.affine_fold",
        replaces={"infer_s": lambda t: t.running_var},
    ),
    Fault(
        id="inference-bessel",
        title="inference multiplies the running variance by B/(B − 1), with the size of its batch",
        family="inference",
        wrong=r"s = \sqrt{\frac{B}{B-1}\sigma^2+\epsilon}",
        right=r"s = \sqrt{\sigma^2+\epsilon}",
        explanation="A correction of the variance belongs to the training batches that it was "
        "collected from. The size of the batch at inference must not change any output.",
        anchor="note-7",
        killed_by="inference.affine_fold",
        replaces={"infer_s": lambda t: np.sqrt(t.running_var * bessel(t) + t.eps)},
    ),
    Fault(
        id="inference-stored-input",
        title="inference normalises the stored training batch and ignores its argument",
        family="inference",
        wrong=r"\hat z = \gamma\,\frac{z^{train}-\mu}{\sqrt{\sigma^2+\epsilon}} + \beta",
        right=INFERENCE,
        explanation="Inference is asked about its own argument. The attribute that holds the input "
        "still has the last training batch in it.",
        anchor="real-inference",
        killed_by="inference.affine_fold",
        replaces={"infer": _stored_input},
    ),
    Fault(
        id="inference-not-normalised",
        title="inference scales and shifts, but does not normalise",
        family="inference",
        wrong=r"\hat z = \gamma z + \beta",
        right=INFERENCE,
        explanation="γ and β were learned for normalised values. At inference, the running mean "
        "and variance do the normalising.",
        anchor="note-10",
        killed_by="inference.affine_fold",
        replaces={"infer": lambda t: t.gamma * t.z + t.beta},
    ),
    Fault(
        id="inference-returns-input",
        title="inference returns its input",
        family="inference",
        wrong=r"\hat z = z",
        right=INFERENCE,
        explanation="Batch norm still acts at inference, as a fixed affine map. Only its "
        "statistics change from those of the batch to the running ones.",
        anchor="note-10",
        killed_by="inference.affine_fold",
        replaces={"infer": lambda t: t.z},
    ),
    Fault(
        id="inference-precedence",
        title="parentheses are missing at inference: only the mean is divided",
        family="inference",
        wrong=r"\hat z = \gamma\left(z-\frac{\mu}{\sqrt{\sigma^2+\epsilon}}\right) + \beta",
        right=INFERENCE,
        explanation="Division binds stronger than subtraction, so `Z - M / s` divides the mean "
        "alone. Write `(Z - M) / s`.",
        anchor="real-inference",
        killed_by="inference.affine_fold",
        replaces={"infer": lambda t: t.gamma * (t.z - t.running_mean / t.s) + t.beta},
    ),
    Fault(
        id="inference-fold-offset",
        title="the folded offset lacks the division by the root",
        family="inference",
        wrong=r"\hat z = \frac{\gamma}{\sqrt{\sigma^2+\epsilon}}\,z + (\beta - \gamma\mu)",
        right=FOLD,
        explanation="Multiplying out γ(z − μ)/√(σ²+ε) divides both terms by the root. The offset "
        "is β minus the slope times μ.",
        anchor="note-10",
        killed_by="inference.affine_fold",
        replaces={
            "infer": lambda t: t.gamma / t.s * t.z + (t.beta - t.gamma * t.running_mean),
        },
    ),
    Fault(
        id="inference-fold-sign",
        title="the folded offset adds the mean's term in place of subtracting it",
        family="inference",
        wrong=r"\hat z = \frac{\gamma}{\sqrt{\sigma^2+\epsilon}}\,z + "
        r"\left(\beta + \frac{\gamma\mu}{\sqrt{\sigma^2+\epsilon}}\right)",
        right=FOLD,
        explanation="The mean is subtracted, so its term enters the offset with a minus. With a "
        "running mean of zero the sign cannot be seen.",
        anchor="note-10",
        killed_by="inference.affine_fold",
        replaces={
            "infer": lambda t: t.gamma / t.s * t.z + (t.beta + t.gamma * t.running_mean / t.s),
        },
    ),
    Fault(
        id="inference-restores-activation",
        title="inference takes γ = √Var and β = E in place of the learned values",
        family="inference",
        wrong=r"\hat z = \sqrt{\sigma^2}\,\frac{z-\mu}{\sqrt{\sigma^2+\epsilon}} + \mu",
        right=INFERENCE,
        explanation="These values show that the layer could undo its normalisation, if training "
        "wanted that. Inference uses the γ and β that were learned.",
        anchor="note-13",
        killed_by="inference.affine_fold",
        replaces={
            "infer": lambda t: (
                np.sqrt(t.running_var) * ((t.z - t.running_mean) / t.s) + t.running_mean
            ),
        },
    ),
    Fault(
        id="inference-uses-batch-statistics",
        title="inference normalises with the statistics of the batch at hand",
        family="inference",
        wrong=r"\hat z_i = \gamma\,\frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}} + \beta",
        right=INFERENCE,
        explanation="At inference an instance must give the same output whatever is in its batch. "
        "Use the running mean and variance.",
        anchor="real-inference",
        killed_by="inference.rows_independent",
        replaces={"infer": _by_own_batch},
    ),
    Fault(
        id="inference-uses-batch-mean",
        title="inference centres with the mean of the batch at hand",
        family="inference",
        wrong=r"\hat z_i = \gamma\,\frac{z_i-\mu_B}{\sqrt{\sigma^2+\epsilon}} + \beta",
        right=INFERENCE,
        explanation="Both statistics are the running ones at inference. Here the variance is, but "
        "the mean still comes from the batch.",
        anchor="real-inference",
        killed_by="inference.rows_independent",
        replaces={"infer": lambda t: t.gamma * ((t.z - t.z.mean(axis=0)) / t.s) + t.beta},
    ),
    Fault(
        id="inference-uses-batch-variance",
        title="inference scales with the variance of the batch at hand",
        family="inference",
        wrong=r"\hat z_i = \gamma\,\frac{z_i-\mu}{\sqrt{\sigma_B^2+\epsilon}} + \beta",
        right=INFERENCE,
        explanation="Both statistics are the running ones at inference. Here the mean is, but the "
        "variance still comes from the batch.",
        anchor="real-inference",
        killed_by="inference.rows_independent",
        replaces={"infer_s": lambda t: np.sqrt(t.z.var(axis=0) + t.eps)},
    ),
    Fault(
        id="inference-uses-last-batch",
        title="inference normalises with the statistics of the last training batch",
        family="inference",
        wrong=r"\hat z = \gamma\,\frac{z-\mu_B^{last}}{\sqrt{\sigma_B^{2,last}+\epsilon}} + \beta",
        right=INFERENCE,
        explanation="The statistics of one batch are a noisy estimate, and the running averages "
        "are there to smooth it. Use the running mean and variance.",
        anchor="real-inference",
        killed_by="inference.affine_fold",
        replaces={"infer": _by_last_batch},
    ),
    Fault(
        id="inference-updates-running",
        title="inference updates the running statistics",
        family="inference",
        wrong=MOVED,
        right=KEPT,
        explanation="Only training collects statistics. A layer whose inference changes them gives "
        "other answers after it was merely asked.",
        anchor="real-inference",
        killed_by="inference.no_state_change",
        replaces={"after_infer": _move},
    ),
    Fault(
        id="inference-updates-running-first",
        title="inference updates the running statistics and then normalises with them",
        family="inference",
        wrong=MOVED,
        right=KEPT,
        explanation="Only training collects statistics. Updated first, they also carry the batch "
        "at hand into the output of inference.",
        anchor="real-inference",
        killed_by="inference.no_state_change",
        replaces={"infer_s": _moved_root},
    ),
    Fault(
        id="mode-ignored",
        title="inference does what training does: own statistics, and an update",
        family="inference",
        wrong=r"\hat z_i = \gamma\,\frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}} + \beta",
        right=INFERENCE,
        explanation="There is no inference mode: the batch at hand is normalised by its own "
        "statistics, which also enter the running ones. Branch on the mode, and use the running "
        "statistics untouched.",
        anchor="real-inference",
        killed_by="inference.no_state_change",
        replaces={"infer": _by_own_batch, "after_infer": _move},
    ),
    Fault(
        id="inference-gradient-by-training-formula",
        title="the gradient in inference mode is computed as in training",
        family="inference",
        wrong=r"\frac{\partial Div}{\partial z_i} = \frac{\gamma}{s}"
        r"\left(G_i - \overline{G} - u_i\,\overline{Gu}\right)",
        right=STRAIGHT,
        explanation="At inference, the mean and the variance are stored numbers that do not move "
        "with the input. The two routes through them are gone; only the direct one is left.",
        anchor="note-10",
        killed_by="inference.gradient",
        replaces={"infer_dz": _by_training_formula},
    ),
    Fault(
        id="inference-gradient-without-gamma",
        title="the gradient in inference mode leaves γ out",
        family="inference",
        wrong=r"\frac{\partial Div}{\partial z_i} = \frac{G_i}{\sqrt{\sigma^2+\epsilon}}",
        right=STRAIGHT,
        explanation="The output is γ times the normalised value, so the gradient passes γ on its "
        "way back. With γ at its initial value the omission cannot be seen.",
        anchor="note-10",
        killed_by="inference.gradient",
        replaces={"infer_dz": lambda t: t.g / t.s},
    ),
    Fault(
        id="inference-gradient-cut-off",
        title="the output in inference mode is cut off from the input: its gradient is zero",
        family="inference",
        wrong=r"\frac{\partial Div}{\partial z_i} = 0",
        right=STRAIGHT,
        explanation="Inference mode fixes the statistics, not the input. A frozen layer in the "
        "middle of a network that is still trained must let the gradient through.",
        anchor="note-10",
        killed_by="inference.gradient",
        replaces={"infer_dz": lambda t: np.zeros_like(t.g)},
    ),
    Fault(
        id="inference-gamma-gradient-by-own-batch",
        title="dγ in inference mode uses the batch's own statistics",
        family="inference",
        wrong=r"\frac{\partial Div}{\partial\gamma} = "
        r"\sum_i G_i\,\frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}}",
        right=r"\frac{\partial Div}{\partial\gamma} = "
        r"\sum_i G_i\,\frac{z_i-\mu}{\sqrt{\sigma^2+\epsilon}}",
        explanation="γ multiplies the value normalised by the stored statistics. Its gradient "
        "sums those values, not the ones that the batch's own statistics would give.",
        anchor="note-10",
        killed_by="inference.gradient",
        replaces={
            "infer_dgamma": lambda t: (
                t.g * (t.z - t.z.mean(axis=0)) / np.sqrt(t.z.var(axis=0) + t.eps)
            ).sum(axis=0)
        },
    ),
)
"""The mistakes of this module."""
