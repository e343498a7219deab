"""Mistakes in the inference output, and in what inference leaves behind."""

from __future__ import annotations

from bn_diagnosis.computing import step_of
from bn_diagnosis.faults.equations import equation, formula
from bn_diagnosis.faults.fault import Fault, Kind, fault, note
from bn_diagnosis.faults.statements import right
from bn_diagnosis.formulas import STEPS
from bn_diagnosis.trace import Trace

BY_OWN = formula("infer", "gamma * (z - own_mean) / sqrt(own_var + eps) + beta")

general = Kind(anchor="real-inference")
fold = Kind(form="gamma / s * z + (beta - gamma * old_mean / s)")
by_batch = Kind(anchor="real-inference", killed_by="inference.rows_independent")
changing = Kind(anchor="real-inference", killed_by="inference.no_state_change")


def _moved(t: Trace) -> Trace:
    factor = t.bessel if t.convention.running_variance == "unbiased" else 1.0
    t.running_mean = t.blend(t.running_mean, t.z.mean(axis=0))
    t.running_var = t.blend(t.running_var, t.z.var(axis=0) * factor)
    return t


FAULTS: tuple[Fault, ...] = (
    fault("inference-without-affine", infer="u")("""inference returns the normalised value, without
        γ and β. The learned scale and shift apply at inference as in training. With γ and β at
        their initial values the omission cannot be seen."""),
    fault("inference-without-gamma", infer="u + beta")("""inference leaves γ out. The normalised
        value is multiplied by γ at inference as in training. With γ at one the omission cannot be
        seen."""),
    fault("inference-without-beta", infer="gamma * u")("""inference leaves β out. The scaled value
        is shifted by β at inference as in training. With β at zero the omission cannot be
        seen."""),
    fault("inference-beta-before-scaling", infer="gamma * (u + beta)")("""inference adds β before
        scaling by γ. The shift comes after the scaling. Added before, β is multiplied by γ."""),
    fault("inference-divides-by-variance", infer_s="old_var + eps")("""inference divides by the
        running variance, without the root. What is kept is a variance, and the denominator is a
        standard deviation. Take the square root of the running variance plus ε."""),
    fault("inference-divides-by-variance-without-eps", infer_s="old_var")("""inference divides by
        the bare running variance, without root and ε. The denominator at inference is √(σ²+ε), as
        in training. Both the root and ε are missing."""),
    note(7)("inference-bessel", infer_s="sqrt(n / less_one * old_var + eps)")("""inference
        multiplies the running variance by B/(B − 1), with the size of its batch. A correction of
        the variance belongs to the training batches that it was collected from. The size of the
        batch at inference must not change any output."""),
    general("inference-stored-input", infer="gamma * (trained - old_mean) / s + beta")("""
        inference normalises the stored training batch and ignores its argument. Inference is asked
        about its own argument. The attribute that holds the input still has the last training batch
        in it."""),
    fault("inference-not-normalised", infer="gamma * z + beta")("""inference scales and shifts, but
        does not normalise. γ and β were learned for normalised values. At inference, the running
        mean and variance do the normalising."""),
    fault("inference-returns-input", infer="z")("""inference returns its input. Batch norm still
        acts at inference, as a fixed affine map. Only its statistics change from those of the batch
        to the running ones."""),
    general("inference-precedence", infer="gamma * (z - old_mean / s) + beta")("""parentheses are
        missing at inference: only the mean is divided. Division binds stronger than subtraction, so
        `Z - M / s` divides the mean alone. Write `(Z - M) / s`."""),
    fold("inference-fold-offset", infer="gamma / s * z + (beta - gamma * old_mean)")("""
        the folded offset lacks the division by the root. Multiplying out γ(z − μ)/√(σ²+ε) divides
        both terms by the root. The offset is β minus the slope times μ."""),
    fold("inference-fold-sign", infer="gamma / s * z + (beta + gamma * old_mean / s)")("""
        the folded offset adds the mean's term in place of subtracting it. The mean is subtracted,
        so its term enters the offset with a minus. With a running mean of zero the sign cannot be
        seen."""),
    note(13)("inference-restores-activation", infer="sqrt(old_var) * u + old_mean")("""inference
        takes γ = √Var and β = E in place of the learned values. These values show that the layer
        could undo its normalisation, if training wanted that. Inference uses the γ and β that were
        learned."""),
    by_batch("inference-uses-batch-statistics", infer=BY_OWN)("""inference normalises with the
        statistics of the batch at hand. At inference an instance must give the same output whatever
        is in its batch. Use the running mean and variance."""),
    by_batch("inference-uses-batch-mean", infer="gamma * (z - own_mean) / s + beta")("""
        inference centres with the mean of the batch at hand. Both statistics are the running ones
        at inference. Here the variance is, but the mean still comes from the batch."""),
    by_batch("inference-uses-batch-variance", infer_s="sqrt(own_var + eps)")("""inference scales
        with the variance of the batch at hand. Both statistics are the running ones at inference.
        Here the mean is, but the variance still comes from the batch."""),
    general(
        "inference-uses-last-batch",
        infer="gamma * (z - last_mean) / sqrt(last_var + eps) + beta",
    )("""inference normalises with the statistics of the last training batch. The statistics of one
        batch are a noisy estimate, and the running averages are there to smooth it. Use the running
        mean and variance."""),
    fault.coded("inference-updates-running", after_infer=_moved)(right("next_mean", "next_var"))("""
        inference updates the running statistics. Only training collects statistics. A layer whose
        inference changes them gives other answers after it was merely asked."""),
    fault.coded("inference-updates-running-first", infer_s=lambda t: STEPS["infer_s"](_moved(t)))(
        right("next_mean", "next_var"), right("after_infer"), "inference.no_state_change"
    )("""inference updates the running statistics and then normalises with them. Only training
        collects statistics. Updated first, they also carry the batch at hand into the output of
        inference."""),
    changing.coded("mode-ignored", infer=step_of("infer", BY_OWN), after_infer=_moved)(
        equation("infer", BY_OWN)
    )("""inference does what training does: own statistics, and an update. There is no inference
        mode: the batch at hand is normalised by its own statistics, which also enter the running
        ones. Branch on the mode, and use the running statistics untouched."""),
    fault(
        "inference-gradient-by-training-formula",
        infer_dz="gamma / s * (g - Sum(g) / n - inferred_u / n * Sum(g * inferred_u))",
    )("""the gradient in inference mode is computed as in training. At inference, the mean and the
        variance are stored numbers that do not move with the input. The two routes through them are
        gone; only the direct one is left."""),
    fault("inference-gradient-without-gamma", infer_dz="g / s")("""the gradient in inference mode
        leaves γ out. The output is γ times the normalised value, so the gradient passes γ on its
        way back. With γ at its initial value the omission cannot be seen."""),
    fault("inference-gradient-cut-off", infer_dz="0")("""the output in inference mode is cut off
        from the input: its gradient is zero. Inference mode fixes the statistics, not the input. A
        frozen layer in the middle of a network that is still trained must let the gradient
        through."""),
    fault(
        "inference-gamma-gradient-by-own-batch",
        infer_dgamma="Sum(g * (z - own_mean) / sqrt(own_var + eps))",
    )("""dγ in inference mode uses the batch's own statistics. γ multiplies the value normalised by
        the stored statistics. Its gradient sums those values, not the ones that the batch's own
        statistics would give."""),
)
