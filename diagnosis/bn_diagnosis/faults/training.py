"""Mistakes in the training output."""

from __future__ import annotations

import numpy as np
from bn_oracle.arrays import Array

from bn_diagnosis.faults.combining import denominator
from bn_diagnosis.faults.common import bessel, blend, centred, closed_form, less_one
from bn_diagnosis.faults.fault import Fault, fault
from bn_diagnosis.formulas import Trace


def _without_root(var: Array, eps: float) -> Array:
    return var + eps


def _squared(var: Array, eps: float) -> Array:
    return np.sqrt(var**2 + eps)


def _row_u(t: Trace) -> Array:
    mean, var = t.z.mean(axis=1, keepdims=True), t.z.var(axis=1, keepdims=True)
    return np.asarray((t.z - mean) / np.sqrt(var + t.eps))


def _row_dz(t: Trace) -> Array:
    product = (t.du * t.u).mean(axis=1, keepdims=True)
    s = np.sqrt(t.z.var(axis=1, keepdims=True) + t.eps)
    return np.asarray((t.du - t.du.mean(axis=1, keepdims=True) - t.u * product) / s)


FAULTS: tuple[Fault, ...] = (
    fault(
        "bessel-in-training-output",
        {"u": lambda t: centred(t) / np.sqrt(t.var * bessel(t) + t.eps)},
    )(
        "the variance that normalises the batch is divided by B − 1",
        r"u_i = \frac{z_i-\mu_B}{\sqrt{\frac{B}{B-1}\sigma_B^2+\epsilon}}",
        "Batch norm normalises by the spread of this very batch, so its variance is divided by B. "
        "Bessel's correction belongs to the estimate for inference, not here.",
        anchor="note-7",
        killed_by="training.duplicated_batch",
    ),
    fault("bessel-in-training-and-gradient", {"s": lambda t: np.sqrt(t.var * bessel(t) + t.eps)})(
        "the variance is divided by B − 1 in the training output and its gradient",
        r"s = \sqrt{\frac{B}{B-1}\sigma_B^2+\epsilon}",
        "The variance in the denominator is the biased one of the batch. Here the corrected one "
        "stands in both passes, while the running variance gets the biased one.",
        anchor="note-7",
        killed_by="training.duplicated_batch",
    ),
    fault(
        "bessel-everywhere",
        {
            "var": lambda t: (centred(t) ** 2).sum(axis=0) / less_one(t),
            "next_var": lambda t: blend(t, t.running_var, t.var),
        },
    )(
        "the variance is divided by B − 1 throughout, in the running average too",
        r"\sigma_B^2 = \frac{1}{B-1}\sum_i (z_i-\mu_B)^2",
        "The variance that normalises the batch is divided by B, not by B − 1. A library call "
        "with `ddof=1`, or an unbiased default, often brings the correction in.",
        anchor="note-7",
        killed_by="training.duplicated_batch",
    ),
    fault("no-root", {**denominator(_without_root, "u"), "dz": closed_form})(
        "the centred batch is divided by the variance, without the root",
        r"u_i = \frac{z_i-\mu_B}{\sigma_B^2+\epsilon}",
        "Dividing by the variance gives values whose spread depends on the units of the input. "
        "Take the square root of the variance plus ε.",
        killed_by="training.scale_relation",
    ),
    fault("no-root-in-training-output", denominator(_without_root, "u"))(
        "the root is missing in the training output, but not in the gradient's chain",
        r"u_i = \frac{z_i-\mu_B}{\sigma_B^2+\epsilon}",
        "Dividing by the variance gives values whose spread depends on the units of the input. "
        "The gradient has the root, so it belongs to another function.",
        killed_by="training.scale_relation",
    ),
    fault("no-root-in-training", denominator(_without_root, "s"))(
        "the square root is missing in the training output and its gradient",
        r"s = \sigma_B^2+\epsilon",
        "The denominator is a standard deviation, so it needs a square root. Inference has it, so "
        "the two modes disagree.",
        killed_by="training.scale_relation",
    ),
    fault("no-root-everywhere", denominator(_without_root, "s", "infer_s"))(
        "the square root is missing in training, in the gradient and at inference",
        r"s = \sigma_B^2+\epsilon",
        "The denominator is a standard deviation, so it needs a square root. Without it, scaling "
        "the input by ten scales the output by a tenth.",
        killed_by="training.scale_relation",
    ),
    fault("variance-squared", denominator(_squared, "u"))(
        "the variance is squared under the root",
        r"u_i = \frac{z_i-\mu_B}{\sqrt{(\sigma_B^2)^2+\epsilon}}",
        "The symbol σ² already is the square. Squaring it again amounts to dividing by the "
        "variance instead of the standard deviation.",
    ),
    fault("variance-squared-everywhere", denominator(_squared, "s", "infer_s"))(
        "the variance is squared under the root in training, gradient and inference",
        r"s = \sqrt{(\sigma_B^2)^2+\epsilon}",
        "The variable that holds the variance must not be squared once more. The same denominator "
        "here spoils both modes and the gradient.",
    ),
    fault(
        "scalar-variance", {"u": lambda t: centred(t) / np.sqrt(np.mean(centred(t) ** 2) + t.eps)}
    )(
        "the denominator holds one variance for all features",
        r"u_{ic} = \frac{z_{ic}-\mu_c}{\sqrt{\frac1C\sum_{c'}\sigma_{c'}^2+\epsilon}}",
        "Each feature is normalised by its own variance. A mean without `axis=0` averages the "
        "squares over the features, too.",
        right=r"u_{ic} = \frac{z_{ic}-\mu_c}{\sqrt{\sigma_c^2+\epsilon}}",
    ),
    fault(
        "scalar-variance-everywhere",
        {"var": lambda t: np.full(t.z.shape[1], np.mean(centred(t) ** 2))},
    )(
        "one variance for all features is used and accumulated",
        r"\sigma_B^2 = \frac{1}{BC}\sum_{i,c} (z_{ic}-\mu_c)^2",
        "The variance is a vector with one number a feature. Reducing over all axes mixes "
        "features of different scale, in the running average as well.",
    ),
    fault(
        "scalar-mean-and-variance",
        {
            "mean": lambda t: np.full(t.z.shape[1], t.z.mean()),
            "var": lambda t: np.full(t.z.shape[1], t.z.var()),
        },
    )(
        "mean and variance are taken over all features at once",
        r"\mu_B = \frac{1}{BC}\sum_{i,c} z_{ic}",
        "Each feature has a mean and a variance of its own, over the batch. Without `axis=0` one "
        "number stands for all of them.",
    ),
    fault("second-moment", {"u": lambda t: centred(t) / np.sqrt((t.z**2).mean(axis=0) + t.eps)})(
        "the denominator holds the mean square: the mean is not subtracted before squaring",
        r"u_i = \frac{z_i-\mu_B}{\sqrt{\frac1B\sum_j z_j^2+\epsilon}}",
        "The mean of the squares is σ² + μ², which grows when a constant is added to the batch. "
        "Square the centred values instead.",
        killed_by="training.shift_invariance",
    ),
    fault("second-moment-everywhere", {"var": lambda t: (t.z**2).mean(axis=0)})(
        "the mean square stands for the variance, in the running average too",
        r"\sigma_B^2 = \frac1B\sum_i z_i^2",
        "A variance is the mean square about the mean. Here the mean is not taken away before "
        "squaring, neither for the batch nor for the running average.",
        killed_by="training.shift_invariance",
    ),
    fault("variance-not-averaged", {"var": lambda t: (centred(t) ** 2).sum(axis=0)})(
        "the squares are summed, but not divided by B",
        r"\sigma_B^2 = \sum_i (z_i-\mu_B)^2",
        "A variance is a mean, not a sum. As it stands, the output shrinks when the batch grows.",
        killed_by="training.duplicated_batch",
    ),
    fault("mean-not-subtracted", {"u": lambda t: t.z / t.s})(
        "the batch is scaled, but its mean is not subtracted",
        r"u_i = \frac{z_i}{\sqrt{\sigma_B^2+\epsilon}}",
        "Normalising centres before it scales. Without the subtraction, a constant added to the "
        "batch reaches the output.",
        killed_by="training.shift_invariance",
    ),
    fault("training-precedence", {"u": lambda t: t.z - t.mean / t.s})(
        "parentheses are missing in training: only the mean is divided",
        r"u_i = z_i - \frac{\mu_B}{\sqrt{\sigma_B^2+\epsilon}}",
        "Division binds stronger than subtraction, so `Z - M / s` divides the mean alone. Write "
        "`(Z - M) / s`.",
    ),
    fault("beta-before-scaling", {"y": lambda t: t.gamma * (t.u + t.beta)})(
        "β is added before the scaling by γ",
        r"\hat z_i = \gamma(u_i+\beta)",
        "The shift comes after the scaling. Added before, β is multiplied by γ, and its gradient "
        "would be another one.",
    ),
    fault("gamma-omitted-in-training", {"y": lambda t: t.u + t.beta})(
        "the training output is not scaled by γ",
        r"\hat z_i = u_i+\beta",
        "The normalised value is multiplied by γ before β is added. With γ at its initial value "
        "of one the mistake cannot be seen.",
    ),
    fault("beta-omitted-in-training", {"y": lambda t: t.gamma * t.u})(
        "the training output is not shifted by β",
        r"\hat z_i = \gamma u_i",
        "The scaled value is shifted by β. With β at its initial value of zero the mistake cannot "
        "be seen.",
    ),
    fault("affine-omitted-in-training", {"y": lambda t: t.u})(
        "training returns the normalised value, without γ and β",
        r"\hat z_i = u_i",
        "The layer's output is the scaled and shifted value, not the normalised one. With γ and β "
        "at their initial values the two are the same.",
    ),
    fault("per-row-statistics", {"y": lambda t: t.gamma * _row_u(t) + t.beta})(
        "training normalises each row over its features",
        r"u_{ic} = \frac{z_{ic}-\frac1C\sum_{c'} z_{ic'}}{\sqrt{\sigma_i^2+\epsilon}}",
        "Batch norm normalises each feature over the batch, along `axis=0`. Along `axis=1`, an "
        "instance is normalised over its features, which is layer normalisation.",
        right=r"u_{ic} = \frac{z_{ic}-\frac1B\sum_j z_{jc}}{\sqrt{\sigma_c^2+\epsilon}}",
        anchor="note-11",
    ),
    fault("layer-norm", {"u": _row_u, "dz": _row_dz})(
        "the training step is layer normalisation, with its own gradient",
        r"\mu_i = \frac1C\sum_c z_{ic}",
        "Statistics belong to a feature and run over the batch. Here forward and backward treat "
        "each instance alone, over its features.",
        right=r"\mu_c = \frac1B\sum_i z_{ic}",
        anchor="note-11",
    ),
    fault(
        "training-uses-running-statistics",
        {"u": lambda t: (t.z - t.running_mean) / np.sqrt(t.running_var + t.eps)},
    )(
        "the training batch is normalised with the running statistics",
        r"u_i = \frac{z_i-M}{\sqrt{V+\epsilon}}",
        "Training normalises with the mean and variance of the batch at hand. The running "
        "statistics are only collected then, and used at inference.",
    ),
    fault(
        "running-variance-in-training-output",
        {"u": lambda t: centred(t) / np.sqrt(t.running_var + t.eps)},
    )(
        "the training batch is centred by its mean, but scaled by the running variance",
        r"u_i = \frac{z_i-\mu_B}{\sqrt{V+\epsilon}}",
        "The batch variance normalises the batch, and the running variance waits for inference. "
        "Two names that differ in one prefix are easily mistaken for each other.",
        right=r"\hat z_i = \gamma\,\frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}} + \beta",
    ),
)
"""The mistakes of this module."""
