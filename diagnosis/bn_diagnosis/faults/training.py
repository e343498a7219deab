"""Mistakes in the training output."""

from __future__ import annotations

from typing import Any

import numpy as np

from bn_diagnosis.faults.common import (
    TRAINING,
    bessel,
    blend,
    centred,
    closed_form,
)
from bn_diagnosis.faults.fault import Fault
from bn_diagnosis.formulas import Trace

U = r"u_i = \frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}}"
MEAN = r"\mu_B = \frac1B\sum_i z_i"
VAR = r"\sigma_B^2 = \frac1B\sum_i (z_i-\mu_B)^2"


def _row_u(t: Trace) -> Any:
    mean, var = t.z.mean(axis=1, keepdims=True), t.z.var(axis=1, keepdims=True)
    return (t.z - mean) / np.sqrt(var + t.eps)


def _row_dz(t: Trace) -> Any:
    product = (t.du * t.u).mean(axis=1, keepdims=True)
    s = np.sqrt(t.z.var(axis=1, keepdims=True) + t.eps)
    return (t.du - t.du.mean(axis=1, keepdims=True) - t.u * product) / s


FAULTS: tuple[Fault, ...] = (
    Fault(
        id="bessel-in-training-output",
        title="the variance that normalises the batch is divided by B − 1",
        family="training",
        wrong=r"u_i = \frac{z_i-\mu_B}{\sqrt{\frac{B}{B-1}\sigma_B^2+\epsilon}}",
        right=U,
        explanation="Batch norm normalises by the spread of this very batch, so its variance is "
        "divided by B. Bessel's correction belongs to the estimate for inference, not here.",
        anchor="note-7",
        killed_by="training.duplicated_batch",
        replaces={"u": lambda t: centred(t) / np.sqrt(t.var * bessel(t) + t.eps)},
    ),
    Fault(
        id="bessel-in-training-and-gradient",
        title="the variance is divided by B − 1 in the training output and its gradient",
        family="training",
        wrong=r"s = \sqrt{\frac{B}{B-1}\sigma_B^2+\epsilon}",
        right=r"s = \sqrt{\sigma_B^2+\epsilon}",
        explanation="The variance in the denominator is the biased one of the batch. Here the "
        "corrected one stands in both passes, while the running variance gets the biased one.",
        anchor="note-7",
        killed_by="training.duplicated_batch",
        replaces={"s": lambda t: np.sqrt(t.var * bessel(t) + t.eps)},
    ),
    Fault(
        id="bessel-everywhere",
        title="the variance is divided by B − 1 throughout, in the running average too",
        family="training",
        wrong=r"\sigma_B^2 = \frac{1}{B-1}\sum_i (z_i-\mu_B)^2",
        right=VAR,
        explanation="The variance that normalises the batch is divided by B, not by B − 1. A "
        "library call with `ddof=1`, or an unbiased default, often brings the correction in.",
        anchor="note-7",
        killed_by="training.duplicated_batch",
        replaces={
            "var": lambda t: (centred(t) ** 2).sum(axis=0) / max(t.n - 1, 1),
            "next_var": lambda t: blend(t, t.running_var, t.var),
        },
    ),
    Fault(
        id="no-root",
        title="the centred batch is divided by the variance, without the root",
        family="training",
        wrong=r"u_i = \frac{z_i-\mu_B}{\sigma_B^2+\epsilon}",
        right=U,
        explanation="Dividing by the variance gives values whose spread depends on the units of "
        "the input. Take the square root of the variance plus ε.",
        anchor="real-training",
        killed_by="training.scale_relation",
        replaces={"u": lambda t: centred(t) / (t.var + t.eps), "dz": closed_form},
    ),
    Fault(
        id="no-root-in-training-output",
        title="the root is missing in the training output, but not in the gradient's chain",
        family="training",
        wrong=r"u_i = \frac{z_i-\mu_B}{\sigma_B^2+\epsilon}",
        right=U,
        explanation="Dividing by the variance gives values whose spread depends on the units of "
        "the input. The gradient has the root, so it belongs to another function.",
        anchor="real-training",
        killed_by="training.scale_relation",
        replaces={"u": lambda t: centred(t) / (t.var + t.eps)},
    ),
    Fault(
        id="no-root-in-training",
        title="the square root is missing in the training output and its gradient",
        family="training",
        wrong=r"s = \sigma_B^2+\epsilon",
        right=r"s = \sqrt{\sigma_B^2+\epsilon}",
        explanation="The denominator is a standard deviation, so it needs a square root. Inference "
        "has it, so the two modes disagree.",
        anchor="real-training",
        killed_by="training.scale_relation",
        replaces={"s": lambda t: t.var + t.eps},
    ),
    Fault(
        id="no-root-everywhere",
        title="the square root is missing in training, in the gradient and at inference",
        family="training",
        wrong=r"s = \sigma_B^2+\epsilon",
        right=r"s = \sqrt{\sigma_B^2+\epsilon}",
        explanation="The denominator is a standard deviation, so it needs a square root. Without "
        "it, scaling the input by ten scales the output by a tenth.",
        anchor="real-training",
        killed_by="training.scale_relation",
        replaces={"s": lambda t: t.var + t.eps, "infer_s": lambda t: t.running_var + t.eps},
    ),
    Fault(
        id="variance-squared",
        title="the variance is squared under the root",
        family="training",
        wrong=r"u_i = \frac{z_i-\mu_B}{\sqrt{(\sigma_B^2)^2+\epsilon}}",
        right=U,
        explanation="The symbol σ² already is the square. Squaring it again amounts to dividing "
        "by the variance instead of the standard deviation.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={"u": lambda t: centred(t) / np.sqrt(t.var**2 + t.eps)},
    ),
    Fault(
        id="variance-squared-everywhere",
        title="the variance is squared under the root in training, gradient and inference",
        family="training",
        wrong=r"s = \sqrt{(\sigma_B^2)^2+\epsilon}",
        right=r"s = \sqrt{\sigma_B^2+\epsilon}",
        explanation="The variable that holds the variance must not be squared once more. The same "
        "denominator here spoils both modes and the gradient.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={
            "s": lambda t: np.sqrt(t.var**2 + t.eps),
            "infer_s": lambda t: np.sqrt(t.running_var**2 + t.eps),
        },
    ),
    Fault(
        id="scalar-variance",
        title="the denominator holds one variance for all features",
        family="training",
        wrong=r"u_{ic} = \frac{z_{ic}-\mu_c}{\sqrt{\frac1C\sum_{c'}\sigma_{c'}^2+\epsilon}}",
        right=r"u_{ic} = \frac{z_{ic}-\mu_c}{\sqrt{\sigma_c^2+\epsilon}}",
        explanation="Each feature is normalised by its own variance. A mean without `axis=0` "
        "averages the squares over the features, too.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={"u": lambda t: centred(t) / np.sqrt(np.mean(centred(t) ** 2) + t.eps)},
    ),
    Fault(
        id="scalar-variance-everywhere",
        title="one variance for all features is used and accumulated",
        family="training",
        wrong=r"\sigma_B^2 = \frac{1}{BC}\sum_{i,c} (z_{ic}-\mu_c)^2",
        right=VAR,
        explanation="The variance is a vector with one number a feature. Reducing over all axes "
        "mixes features of different scale, in the running average as well.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={"var": lambda t: np.full(t.z.shape[1], np.mean(centred(t) ** 2))},
    ),
    Fault(
        id="scalar-mean-and-variance",
        title="mean and variance are taken over all features at once",
        family="training",
        wrong=r"\mu_B = \frac{1}{BC}\sum_{i,c} z_{ic}",
        right=MEAN,
        explanation="Each feature has a mean and a variance of its own, over the batch. Without "
        "`axis=0` one number stands for all of them.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={
            "mean": lambda t: np.full(t.z.shape[1], t.z.mean()),
            "var": lambda t: np.full(t.z.shape[1], t.z.var()),
        },
    ),
    Fault(
        id="second-moment",
        title="the denominator holds the mean square: the mean is not subtracted before squaring",
        family="training",
        wrong=r"u_i = \frac{z_i-\mu_B}{\sqrt{\frac1B\sum_j z_j^2+\epsilon}}",
        right=U,
        explanation="The mean of the squares is σ² + μ², which grows when a constant is added to "
        "the batch. Square the centred values instead.",
        anchor="real-training",
        killed_by="training.shift_invariance",
        replaces={"u": lambda t: centred(t) / np.sqrt((t.z**2).mean(axis=0) + t.eps)},
    ),
    Fault(
        id="second-moment-everywhere",
        title="the mean square stands for the variance, in the running average too",
        family="training",
        wrong=r"\sigma_B^2 = \frac1B\sum_i z_i^2",
        right=VAR,
        explanation="A variance is the mean square about the mean. Here the mean is not taken away "
        "before squaring, neither for the batch nor for the running average.",
        anchor="real-training",
        killed_by="training.shift_invariance",
        replaces={"var": lambda t: (t.z**2).mean(axis=0)},
    ),
    Fault(
        id="variance-not-averaged",
        title="the squares are summed, but not divided by B",
        family="training",
        wrong=r"\sigma_B^2 = \sum_i (z_i-\mu_B)^2",
        right=VAR,
        explanation="A variance is a mean, not a sum. As it stands, the output shrinks when the "
        "batch grows.",
        anchor="real-training",
        killed_by="training.duplicated_batch",
        replaces={"var": lambda t: (centred(t) ** 2).sum(axis=0)},
    ),
    Fault(
        id="mean-not-subtracted",
        title="the batch is scaled, but its mean is not subtracted",
        family="training",
        wrong=r"u_i = \frac{z_i}{\sqrt{\sigma_B^2+\epsilon}}",
        right=U,
        explanation="Normalising centres before it scales. Without the subtraction, a constant "
        "added to the batch reaches the output.",
        anchor="real-training",
        killed_by="training.shift_invariance",
        replaces={"u": lambda t: t.z / t.s},
    ),
    Fault(
        id="training-precedence",
        title="parentheses are missing in training: only the mean is divided",
        family="training",
        wrong=r"u_i = z_i - \frac{\mu_B}{\sqrt{\sigma_B^2+\epsilon}}",
        right=U,
        explanation="Division binds stronger than subtraction, so `Z - M / s` divides the mean "
        "alone. Write `(Z - M) / s`.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={"u": lambda t: t.z - t.mean / t.s},
    ),
    Fault(
        id="beta-before-scaling",
        title="β is added before the scaling by γ",
        family="training",
        wrong=r"\hat z_i = \gamma(u_i+\beta)",
        right=r"\hat z_i = \gamma u_i+\beta",
        explanation="The shift comes after the scaling. Added before, β is multiplied by γ, and "
        "its gradient would be another one.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={"y": lambda t: t.gamma * (t.u + t.beta)},
    ),
    Fault(
        id="gamma-omitted-in-training",
        title="the training output is not scaled by γ",
        family="training",
        wrong=r"\hat z_i = u_i+\beta",
        right=r"\hat z_i = \gamma u_i+\beta",
        explanation="The normalised value is multiplied by γ before β is added. With γ at its "
        "initial value of one the mistake cannot be seen.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={"y": lambda t: t.u + t.beta},
    ),
    Fault(
        id="beta-omitted-in-training",
        title="the training output is not shifted by β",
        family="training",
        wrong=r"\hat z_i = \gamma u_i",
        right=r"\hat z_i = \gamma u_i+\beta",
        explanation="The scaled value is shifted by β. With β at its initial value of zero the "
        "mistake cannot be seen.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={"y": lambda t: t.gamma * t.u},
    ),
    Fault(
        id="affine-omitted-in-training",
        title="training returns the normalised value, without γ and β",
        family="training",
        wrong=r"\hat z_i = u_i",
        right=r"\hat z_i = \gamma u_i+\beta",
        explanation="The layer's output is the scaled and shifted value, not the normalised one. "
        "With γ and β at their initial values the two are the same.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={"y": lambda t: t.u},
    ),
    Fault(
        id="per-row-statistics",
        title="training normalises each row over its features",
        family="training",
        wrong=r"u_{ic} = \frac{z_{ic}-\frac1C\sum_{c'} z_{ic'}}{\sqrt{\sigma_i^2+\epsilon}}",
        right=r"u_{ic} = \frac{z_{ic}-\frac1B\sum_j z_{jc}}{\sqrt{\sigma_c^2+\epsilon}}",
        explanation="Batch norm normalises each feature over the batch, along `axis=0`. Along "
        "`axis=1`, an instance is normalised over its features, which is layer normalisation.",
        anchor="note-11",
        killed_by="training.agreement",
        replaces={"y": lambda t: t.gamma * _row_u(t) + t.beta},
    ),
    Fault(
        id="layer-norm",
        title="the training step is layer normalisation, with its own gradient",
        family="training",
        wrong=r"\mu_i = \frac1C\sum_c z_{ic}",
        right=r"\mu_c = \frac1B\sum_i z_{ic}",
        explanation="Statistics belong to a feature and run over the batch. Here forward and "
        "backward treat each instance alone, over its features.",
        anchor="note-11",
        killed_by="training.agreement",
        replaces={"u": _row_u, "dz": _row_dz},
    ),
    Fault(
        id="training-uses-running-statistics",
        title="the training batch is normalised with the running statistics",
        family="training",
        wrong=r"u_i = \frac{z_i-M}{\sqrt{V+\epsilon}}",
        right=U,
        explanation="Training normalises with the mean and variance of the batch at hand. The "
        "running statistics are only collected then, and used at inference.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={"u": lambda t: (t.z - t.running_mean) / np.sqrt(t.running_var + t.eps)},
    ),
    Fault(
        id="running-variance-in-training-output",
        title="the training batch is centred by its mean, but scaled by the running variance",
        family="training",
        wrong=r"u_i = \frac{z_i-\mu_B}{\sqrt{V+\epsilon}}",
        right=TRAINING,
        explanation="The batch variance normalises the batch, and the running variance waits for "
        "inference. Two names that differ in one prefix are easily mistaken for each other.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={"u": lambda t: centred(t) / np.sqrt(t.running_var + t.eps)},
    ),
)
"""The mistakes of this module."""
