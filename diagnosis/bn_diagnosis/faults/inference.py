"""Mistakes in the inference output, and in what inference leaves behind."""

from __future__ import annotations

import numpy as np
from bn_oracle.arrays import Array

from bn_diagnosis.faults.common import bessel, blend
from bn_diagnosis.faults.fault import Fault, fault
from bn_diagnosis.faults.statements import DZ_IS, GAMMA_IS, right
from bn_diagnosis.formulas import Trace

FOLD = (
    r"\hat z = \frac{\gamma}{\sqrt{\sigma^2+\epsilon}}\,z + "
    r"\left(\beta - \frac{\gamma\mu}{\sqrt{\sigma^2+\epsilon}}\right)"
)


def _move(t: Trace) -> None:
    factor = bessel(t) if t.convention.running_variance == "unbiased" else 1.0
    t.running_mean = blend(t, t.running_mean, t.z.mean(axis=0))
    t.running_var = blend(t, t.running_var, t.z.var(axis=0) * factor)


def _moved_root(t: Trace) -> Array:
    _move(t)
    return np.sqrt(t.running_var + t.eps)


def _u(t: Trace) -> Array:
    return (t.z - t.running_mean) / t.s


def _own_s(t: Trace) -> Array:
    return np.asarray(np.sqrt(t.z.var(axis=0) + t.eps))


def _by_own_batch(t: Trace) -> object:
    return t.gamma * ((t.z - t.z.mean(axis=0)) / _own_s(t)) + t.beta


def _by_own_statistics(t: Trace) -> object:
    return (t.g * (t.z - t.z.mean(axis=0)) / _own_s(t)).sum(axis=0)


def _fold(t: Trace, offset: Array) -> Array:
    return t.gamma / t.s * t.z + offset


def _by_last_batch(t: Trace) -> object:
    mean, var = (0.0, 1.0) if t.trained is None else (t.mean, t.var)
    return t.gamma * ((t.z - mean) / np.sqrt(var + t.eps)) + t.beta


def _stored_input(t: Trace) -> object:
    stored = np.zeros((1, t.gamma.size)) if t.trained is None else t.trained
    return t.gamma * ((stored - t.running_mean) / t.s) + t.beta


def _by_training_formula(t: Trace) -> object:
    u = _u(t)
    return t.gamma / t.s * (t.g - t.g.mean(axis=0) - u * (t.g * u).mean(axis=0))


FAULTS: tuple[Fault, ...] = (
    fault("inference-without-affine", {"infer": _u})(
        "inference returns the normalised value, without γ and β",
        r"\hat z = \frac{z-\mu}{\sqrt{\sigma^2+\epsilon}}",
        "The learned scale and shift apply at inference as in training. With γ and β at their "
        "initial values the omission cannot be seen.",
    ),
    fault("inference-without-gamma", {"infer": lambda t: _u(t) + t.beta})(
        "inference leaves γ out",
        r"\hat z = \frac{z-\mu}{\sqrt{\sigma^2+\epsilon}} + \beta",
        "The normalised value is multiplied by γ at inference as in training. With γ at one the "
        "omission cannot be seen.",
    ),
    fault("inference-without-beta", {"infer": lambda t: t.gamma * _u(t)})(
        "inference leaves β out",
        r"\hat z = \gamma\,\frac{z-\mu}{\sqrt{\sigma^2+\epsilon}}",
        "The scaled value is shifted by β at inference as in training. With β at zero the "
        "omission cannot be seen.",
    ),
    fault("inference-beta-before-scaling", {"infer": lambda t: t.gamma * (_u(t) + t.beta)})(
        "inference adds β before scaling by γ",
        r"\hat z = \gamma\left(\frac{z-\mu}{\sqrt{\sigma^2+\epsilon}} + \beta\right)",
        "The shift comes after the scaling. Added before, β is multiplied by γ.",
    ),
    fault("inference-divides-by-variance", {"infer_s": lambda t: t.running_var + t.eps})(
        "inference divides by the running variance, without the root",
        r"\hat z = \gamma\,\frac{z-\mu}{\sigma^2+\epsilon} + \beta",
        "What is kept is a variance, and the denominator is a standard deviation. Take the square "
        "root of the running variance plus ε.",
        right=right("infer"),
    ),
    fault("inference-divides-by-variance-without-eps", {"infer_s": lambda t: t.running_var})(
        "inference divides by the bare running variance, without root and ε",
        r"\hat z = \gamma\,\frac{z-\mu}{\sigma^2} + \beta",
        "The denominator at inference is √(σ²+ε), as in training. Both the root and ε are missing.",
        right=right("infer"),
    ),
    fault("inference-bessel", {"infer_s": lambda t: np.sqrt(t.running_var * bessel(t) + t.eps)})(
        "inference multiplies the running variance by B/(B − 1), with the size of its batch",
        r"s = \sqrt{\frac{B}{B-1}\sigma^2+\epsilon}",
        "A correction of the variance belongs to the training batches that it was collected from. "
        "The size of the batch at inference must not change any output.",
        anchor="note-7",
    ),
    fault("inference-stored-input", {"infer": _stored_input})(
        "inference normalises the stored training batch and ignores its argument",
        r"\hat z = \gamma\,\frac{z^{train}-\mu}{\sqrt{\sigma^2+\epsilon}} + \beta",
        "Inference is asked about its own argument. The attribute that holds the input still has "
        "the last training batch in it.",
        anchor="real-inference",
    ),
    fault("inference-not-normalised", {"infer": lambda t: t.gamma * t.z + t.beta})(
        "inference scales and shifts, but does not normalise",
        r"\hat z = \gamma z + \beta",
        "γ and β were learned for normalised values. At inference, the running mean and variance "
        "do the normalising.",
    ),
    fault("inference-returns-input", {"infer": lambda t: t.z})(
        "inference returns its input",
        r"\hat z = z",
        "Batch norm still acts at inference, as a fixed affine map. Only its statistics change "
        "from those of the batch to the running ones.",
    ),
    fault(
        "inference-precedence", {"infer": lambda t: t.gamma * (t.z - t.running_mean / t.s) + t.beta}
    )(
        "parentheses are missing at inference: only the mean is divided",
        r"\hat z = \gamma\left(z-\frac{\mu}{\sqrt{\sigma^2+\epsilon}}\right) + \beta",
        "Division binds stronger than subtraction, so `Z - M / s` divides the mean alone. Write "
        "`(Z - M) / s`.",
        anchor="real-inference",
    ),
    fault(
        "inference-fold-offset", {"infer": lambda t: _fold(t, t.beta - t.gamma * t.running_mean)}
    )(
        "the folded offset lacks the division by the root",
        r"\hat z = \frac{\gamma}{\sqrt{\sigma^2+\epsilon}}\,z + (\beta - \gamma\mu)",
        "Multiplying out γ(z − μ)/√(σ²+ε) divides both terms by the root. The offset is β minus "
        "the slope times μ.",
        right=FOLD,
    ),
    fault(
        "inference-fold-sign",
        {"infer": lambda t: _fold(t, t.beta + t.gamma * t.running_mean / t.s)},
    )(
        "the folded offset adds the mean's term in place of subtracting it",
        r"\hat z = \frac{\gamma}{\sqrt{\sigma^2+\epsilon}}\,z + "
        r"\left(\beta + \frac{\gamma\mu}{\sqrt{\sigma^2+\epsilon}}\right)",
        "The mean is subtracted, so its term enters the offset with a minus. With a running mean "
        "of zero the sign cannot be seen.",
        right=FOLD,
    ),
    fault(
        "inference-restores-activation",
        {"infer": lambda t: np.sqrt(t.running_var) * _u(t) + t.running_mean},
    )(
        "inference takes γ = √Var and β = E in place of the learned values",
        r"\hat z = \sqrt{\sigma^2}\,\frac{z-\mu}{\sqrt{\sigma^2+\epsilon}} + \mu",
        "These values show that the layer could undo its normalisation, if training wanted that. "
        "Inference uses the γ and β that were learned.",
        anchor="note-13",
    ),
    fault("inference-uses-batch-statistics", {"infer": _by_own_batch})(
        "inference normalises with the statistics of the batch at hand",
        r"\hat z_i = \gamma\,\frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}} + \beta",
        "At inference an instance must give the same output whatever is in its batch. Use the "
        "running mean and variance.",
        anchor="real-inference",
        killed_by="inference.rows_independent",
    ),
    fault(
        "inference-uses-batch-mean",
        {"infer": lambda t: t.gamma * ((t.z - t.z.mean(axis=0)) / t.s) + t.beta},
    )(
        "inference centres with the mean of the batch at hand",
        r"\hat z_i = \gamma\,\frac{z_i-\mu_B}{\sqrt{\sigma^2+\epsilon}} + \beta",
        "Both statistics are the running ones at inference. Here the variance is, but the mean "
        "still comes from the batch.",
        anchor="real-inference",
        killed_by="inference.rows_independent",
    ),
    fault("inference-uses-batch-variance", {"infer_s": _own_s})(
        "inference scales with the variance of the batch at hand",
        r"\hat z_i = \gamma\,\frac{z_i-\mu}{\sqrt{\sigma_B^2+\epsilon}} + \beta",
        "Both statistics are the running ones at inference. Here the mean is, but the variance "
        "still comes from the batch.",
        right=right("infer"),
        killed_by="inference.rows_independent",
    ),
    fault("inference-uses-last-batch", {"infer": _by_last_batch})(
        "inference normalises with the statistics of the last training batch",
        r"\hat z = \gamma\,\frac{z-\mu_B^{last}}{\sqrt{\sigma_B^{2,last}+\epsilon}} + \beta",
        "The statistics of one batch are a noisy estimate, and the running averages are there to "
        "smooth it. Use the running mean and variance.",
        anchor="real-inference",
    ),
    fault("inference-updates-running", {"after_infer": _move})(
        "inference updates the running statistics",
        right("next_mean", "next_var"),
        "Only training collects statistics. A layer whose inference changes them gives other "
        "answers after it was merely asked.",
    ),
    fault("inference-updates-running-first", {"infer_s": _moved_root})(
        "inference updates the running statistics and then normalises with them",
        right("next_mean", "next_var"),
        "Only training collects statistics. Updated first, they also carry the batch at hand into "
        "the output of inference.",
        right=right("after_infer"),
        killed_by="inference.no_state_change",
    ),
    fault("mode-ignored", {"infer": _by_own_batch, "after_infer": _move})(
        "inference does what training does: own statistics, and an update",
        r"\hat z_i = \gamma\,\frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}} + \beta",
        "There is no inference mode: the batch at hand is normalised by its own statistics, which "
        "also enter the running ones. Branch on the mode, and use the running statistics "
        "untouched.",
        anchor="real-inference",
        killed_by="inference.no_state_change",
    ),
    fault("inference-gradient-by-training-formula", {"infer_dz": _by_training_formula})(
        "the gradient in inference mode is computed as in training",
        DZ_IS + r"\frac{\gamma}{s}"
        r"\left(G_i - \overline{G} - u_i\,\overline{Gu}\right)",
        "At inference, the mean and the variance are stored numbers that do not move with the "
        "input. The two routes through them are gone; only the direct one is left.",
    ),
    fault("inference-gradient-without-gamma", {"infer_dz": lambda t: t.g / t.s})(
        "the gradient in inference mode leaves γ out",
        DZ_IS + r"\frac{G_i}{\sqrt{\sigma^2+\epsilon}}",
        "The output is γ times the normalised value, so the gradient passes γ on its way back. "
        "With γ at its initial value the omission cannot be seen.",
    ),
    fault("inference-gradient-cut-off", {"infer_dz": lambda t: np.zeros_like(t.g)})(
        "the output in inference mode is cut off from the input: its gradient is zero",
        DZ_IS + r"0",
        "Inference mode fixes the statistics, not the input. A frozen layer in the middle of a "
        "network that is still trained must let the gradient through.",
    ),
    fault("inference-gamma-gradient-by-own-batch", {"infer_dgamma": _by_own_statistics})(
        "dγ in inference mode uses the batch's own statistics",
        GAMMA_IS + r"\sum_i G_i\,\frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}}",
        "γ multiplies the value normalised by the stored statistics. Its gradient sums those "
        "values, not the ones that the batch's own statistics would give.",
    ),
)
"""The mistakes of this module."""
