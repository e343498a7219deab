"""Mistakes in the training output, and with ε in both modes."""

from __future__ import annotations

import numpy as np

from bn_diagnosis.faults.combining import Denominator
from bn_diagnosis.faults.fault import Fault, Kind, fault, note

bessel = Kind(anchor="note-7", killed_by="training.duplicated_batch")
summed = Kind(killed_by="training.duplicated_batch")
rootless = Kind(killed_by="training.scale_relation")
shifting = Kind(killed_by="training.shift_invariance")
by_row = Kind(anchor="note-11", form="gamma * centred / s + beta")
fixed = Kind(killed_by="training.uses_eps")

BESSEL = Denominator("sqrt(n / less_one * var + eps)", bessel)
NO_ROOT = Denominator("var + eps", rootless)
SQUARED = Denominator("sqrt(var**2 + eps)")
EPS_1E8 = Denominator("sqrt(var + 1e-8)", fixed)
EPS_1E5 = Denominator("sqrt(var + 1e-5)", fixed)
NO_EPS = Denominator("sqrt(var)")
BESIDE = Denominator("sqrt(var) + eps")
TWICE = Denominator("sqrt(var + eps) + eps")
EPS_SQUARED = Denominator("sqrt(var + eps**2)")

OF_ROWS = "(z - Mean(z, features)) / sqrt(row_var + eps)"

FAULTS: tuple[Fault, ...] = (
    BESSEL("bessel-in-training-output", "u")("""the variance that normalises the batch is divided by
        B − 1. Batch norm normalises by the spread of this very batch, so its variance is divided by
        B. Bessel's correction belongs to the estimate for inference, not here."""),
    BESSEL("bessel-in-training-and-gradient", "s")("""the variance is divided by B − 1 in the
        training output and its gradient. The variance in the denominator is the biased one of the
        batch. Here the corrected one stands in both passes, while the running variance gets the
        biased one."""),
    bessel(
        "bessel-everywhere",
        var="Sum(centred**2) / less_one",
        next_var="keep * old_var + (1 - keep) * var",
    )("""the variance is divided by B − 1 throughout, in the running average too. The variance that
        normalises the batch is divided by B, not by B − 1. A library call with `ddof=1`, or an
        unbiased default, often brings the correction in."""),
    NO_ROOT("no-root", "u", dz="(du - Mean(du) - u * Mean(du * u)) / s")("""the centred batch is
        divided by the variance, without the root. Dividing by the variance gives values whose
        spread depends on the units of the input. Take the square root of the variance plus ε."""),
    NO_ROOT("no-root-in-training-output", "u")("""the root is missing in the training output, but
        not in the gradient's chain. Dividing by the variance gives values whose spread depends on
        the units of the input. The gradient has the root, so it belongs to another function."""),
    NO_ROOT("no-root-in-training", "s")("""the square root is missing in the training output and its
        gradient. The denominator is a standard deviation, so it needs a square root. Inference has
        it, so the two modes disagree."""),
    NO_ROOT("no-root-everywhere", "s", "infer_s")("""the square root is missing in training, in the
        gradient and at inference. The denominator is a standard deviation, so it needs a square
        root. Without it, scaling the input by ten scales the output by a tenth."""),
    SQUARED("variance-squared", "u")("""the variance is squared under the root. The symbol σ²
        already is the square. Squaring it again amounts to dividing by the variance instead of the
        standard deviation."""),
    SQUARED("variance-squared-everywhere", "s", "infer_s")("""the variance is squared under the root
        in training, gradient and inference. The variable that holds the variance must not be
        squared once more. The same denominator here spoils both modes and the gradient."""),
    fault("scalar-variance", u="centred / sqrt(Mean(centred**2, all) + eps)")("""the denominator
        holds one variance for all features. Each feature is normalised by its own variance. A mean
        without `axis=0` averages the squares over the features, too."""),
    fault("scalar-variance-everywhere", var="Mean(centred**2, all)")("""one variance for all
        features is used and accumulated. The variance is a vector with one number a feature.
        Reducing over all axes mixes features of different scale, in the running average as
        well."""),
    fault("scalar-mean-and-variance", mean="Mean(z, all)", var="Mean(centred**2, all)")("""
        mean and variance are taken over all features at once. Each feature has a mean and a
        variance of its own, over the batch. Without `axis=0` one number stands for all of
        them."""),
    shifting("second-moment", u="centred / sqrt(Mean(z**2) + eps)")("""the denominator holds the
        mean square: the mean is not subtracted before squaring. The mean of the squares is σ² + μ²,
        which grows when a constant is added to the batch. Square the centred values instead."""),
    shifting("second-moment-everywhere", var="Mean(z**2)")("""the mean square stands for the
        variance, in the running average too. A variance is the mean square about the mean. Here the
        mean is not taken away before squaring, neither for the batch nor for the running
        average."""),
    summed("variance-not-averaged", var="Sum(centred**2)")("""the squares are summed, but not
        divided by B. A variance is a mean, not a sum. As it stands, the output shrinks when the
        batch grows."""),
    shifting("mean-not-subtracted", u="z / s")("""the batch is scaled, but its mean is not
        subtracted. Normalising centres before it scales. Without the subtraction, a constant added
        to the batch reaches the output."""),
    fault("training-precedence", u="z - mean / s")("""parentheses are missing in training: only the
        mean is divided. Division binds stronger than subtraction, so `Z - M / s` divides the mean
        alone. Write `(Z - M) / s`."""),
    fault("beta-before-scaling", y="gamma * (u + beta)")("""β is added before the scaling by γ. The
        shift comes after the scaling. Added before, β is multiplied by γ, and its gradient would be
        another one."""),
    fault("gamma-omitted-in-training", y="u + beta")("""the training output is not scaled by γ. The
        normalised value is multiplied by γ before β is added. With γ at its initial value of one
        the mistake cannot be seen."""),
    fault("beta-omitted-in-training", y="gamma * u")("""the training output is not shifted by β. The
        scaled value is shifted by β. With β at its initial value of zero the mistake cannot be
        seen."""),
    fault("affine-omitted-in-training", y="u")("""training returns the normalised value, without γ
        and β. The layer's output is the scaled and shifted value, not the normalised one. With γ
        and β at their initial values the two are the same."""),
    by_row("per-row-statistics", y=f"gamma * {OF_ROWS} + beta")("""training normalises each row over
        its features. Batch norm normalises each feature over the batch, along `axis=0`. Along
        `axis=1`, an instance is normalised over its features, which is layer normalisation."""),
    note(11)(
        "layer-norm",
        u=OF_ROWS,
        dz="(du - Mean(du, features) - u * Mean(du * u, features)) / sqrt(row_var + eps)",
    )("""the training step is layer normalisation, with its own gradient. Statistics belong to a
        feature and run over the batch. Here forward and backward treat each instance alone, over
        its features."""),
    fault("training-uses-running-statistics", u="(z - old_mean) / sqrt(old_var + eps)")("""
        the training batch is normalised with the running statistics. Training normalises with the
        mean and variance of the batch at hand. The running statistics are only collected then, and
        used at inference."""),
    fault("running-variance-in-training-output", u="centred / sqrt(old_var + eps)")("""the training
        batch is centred by its mean, but scaled by the running variance. The batch variance
        normalises the batch, and the running variance waits for inference. Two names that differ in
        one prefix are easily mistaken for each other."""),
    EPS_1E8("eps-hardcoded-1e-8", "s", "infer_s")("""ε is the number 1e-8 in training and at
        inference. The formulas must read the ε that is set on the layer. A number in its place
        works only until somebody sets another."""),
    EPS_1E8("eps-hardcoded-1e-8-in-training", "s")("""ε is the number 1e-8 in training. Inference
        reads the layer's ε, but training has a number written in. The two modes agree only for that
        one number."""),
    EPS_1E8("eps-hardcoded-1e-8-at-inference", "infer_s")("""ε is the number 1e-8 at inference.
        Training reads the layer's ε, but inference has a number written in. Use the same ε in both
        modes."""),
    EPS_1E5("eps-hardcoded-1e-5", "s", "infer_s")("""ε is the number 1e-5 in training and at
        inference. The ε that the caller gives is never read. A number in its place works only until
        somebody gives another."""),
    EPS_1E5("eps-hardcoded-1e-5-in-training", "s")("""ε is the number 1e-5 in training. Inference
        reads the ε that was given, but training has a number written in. The two modes agree only
        for that one number."""),
    EPS_1E5("eps-hardcoded-1e-5-at-inference", "infer_s")("""ε is the number 1e-5 at inference.
        Training reads the ε that was given, but inference has a number written in. Use the same ε
        in both modes."""),
    NO_EPS("eps-omitted", "s", "infer_s")("""ε is left out in training and at inference. Without ε,
        a feature that is constant over the batch is divided by zero. Add ε to the variance under
        the root in both modes."""),
    NO_EPS("eps-omitted-in-training", "s")("""ε is left out in training. Without ε, a feature that
        is constant over the batch gives NaN in training. Add ε to the variance under the root."""),
    NO_EPS("eps-omitted-at-inference", "infer_s")("""ε is left out at inference. Inference uses the
        same ε as training. Without it the two modes disagree, and a running variance of zero gives
        NaN."""),
    BESIDE("root-plus-eps", "u", "infer_s")("""ε is added to the root in the outputs of both modes.
        ε is added to the variance, under the root. The backward pass here follows the right
        formula, so it does not even fit its own forward pass."""),
    BESIDE("root-plus-eps-in-training", "u")("""ε is added to the root in the training output. ε is
        added to the variance, under the root. Inference and the gradient have it in the right
        place."""),
    BESIDE("root-plus-eps-in-training-and-gradient", "s")("""ε is added to the root in the training
        output and its gradient. ε is added to the variance, under the root. Only inference has it
        in the right place here."""),
    BESIDE("root-plus-eps-everywhere", "s", "infer_s")("""ε is added to the root in training, in the
        gradient and at inference. ε is added to the variance, under the root. For variances far
        above ε the difference is small, but it is no rounding."""),
    BESIDE("root-plus-eps-at-inference", "infer_s")("""ε is added to the root at inference. ε is
        added to the running variance, under the root. As it stands, inference and training use
        different denominators."""),
    TWICE("eps-added-twice", "u")("""ε is added under the root and again to the root, in the
        training output. One ε under the root already keeps the denominator from zero. The second
        one makes the output too small."""),
    TWICE("eps-added-twice-everywhere", "s", "infer_s")("""ε is added under the root and again to
        the root, in both modes and the gradient. One ε under the root already keeps the denominator
        from zero. The second one makes every quotient too small."""),
    fault.coded(
        "eps-as-floor",
        s=lambda t: np.sqrt(np.maximum(t.var, t.eps)),
        infer_s=lambda t: np.sqrt(np.maximum(t.running_var, t.eps)),
    )(r"= \sqrt{\max(\sigma_B^2, \epsilon)}")("""ε is a lower limit of the variance, not a term
        added to it. The definition adds ε to every variance, small or large. A maximum also avoids
        the division by zero, but it is another function."""),
    EPS_SQUARED("eps-squared", "s", "infer_s")("""the square of ε is added to the variance. ε itself
        is added to the variance. Its square is so small that it has no effect at the usual
        settings."""),
)
