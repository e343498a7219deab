"""Mistakes with ε, in training and at inference."""

from __future__ import annotations

import numpy as np
from bn_oracle.arrays import Array

from bn_diagnosis.faults.combining import Denominator, denominator, in_modes
from bn_diagnosis.faults.fault import Fault, fault
from bn_diagnosis.faults.statements import right


def _always(number: float) -> Denominator:
    return lambda var, eps: np.sqrt(var + number)


def _beside(var: Array, eps: float) -> Array:
    return np.sqrt(var) + eps


def _twice(var: Array, eps: float) -> Array:
    return np.sqrt(var + eps) + eps


FAULTS: tuple[Fault, ...] = (
    *in_modes(
        "eps-hardcoded-1e-8",
        "ε is the number 1e-8",
        _always(1e-8),
        (r"s = \sqrt{\sigma_B^2+10^{-8}}", r"s = \sqrt{\sigma^2+10^{-8}}"),
        both="The formulas must read the ε that is set on the layer. A number in its place works "
        "only until somebody sets another.",
        training="Inference reads the layer's ε, but training has a number written in. The two "
        "modes agree only for that one number.",
        inference="Training reads the layer's ε, but inference has a number written in. Use the "
        "same ε in both modes.",
        killed_by="training.uses_eps",
    ),
    *in_modes(
        "eps-hardcoded-1e-5",
        "ε is the number 1e-5",
        _always(1e-5),
        (r"s = \sqrt{\sigma_B^2+10^{-5}}", r"s = \sqrt{\sigma^2+10^{-5}}"),
        both="The ε that the caller gives is never read. A number in its place works only until "
        "somebody gives another.",
        training="Inference reads the ε that was given, but training has a number written in. The "
        "two modes agree only for that one number.",
        inference="Training reads the ε that was given, but inference has a number written in. Use "
        "the same ε in both modes.",
        killed_by="training.uses_eps",
    ),
    *in_modes(
        "eps-omitted",
        "ε is left out",
        _always(0.0),
        (r"s = \sqrt{\sigma_B^2}", r"\hat z = \gamma\,\frac{z-\mu}{\sqrt{\sigma^2}} + \beta"),
        both="Without ε, a feature that is constant over the batch is divided by zero. Add ε to "
        "the variance under the root in both modes.",
        training="Without ε, a feature that is constant over the batch gives NaN in training. Add "
        "ε to the variance under the root.",
        inference="Inference uses the same ε as training. Without it the two modes disagree, and a "
        "running variance of zero gives NaN.",
        right=right("infer"),
    ),
    fault("root-plus-eps", denominator(_beside, "u", "infer_s"))(
        "ε is added to the root in the outputs of both modes",
        r"u_i = \frac{z_i-\mu_B}{\sqrt{\sigma_B^2}+\epsilon}",
        "ε is added to the variance, under the root. The backward pass here follows the right "
        "formula, so it does not even fit its own forward pass.",
    ),
    fault("root-plus-eps-in-training", denominator(_beside, "u"))(
        "ε is added to the root in the training output",
        r"u_i = \frac{z_i-\mu_B}{\sqrt{\sigma_B^2}+\epsilon}",
        "ε is added to the variance, under the root. Inference and the gradient have it in the "
        "right place.",
    ),
    fault("root-plus-eps-in-training-and-gradient", denominator(_beside, "s"))(
        "ε is added to the root in the training output and its gradient",
        r"s = \sqrt{\sigma_B^2}+\epsilon",
        "ε is added to the variance, under the root. Only inference has it in the right place "
        "here.",
    ),
    fault("root-plus-eps-everywhere", denominator(_beside, "s", "infer_s"))(
        "ε is added to the root in training, in the gradient and at inference",
        r"s = \sqrt{\sigma_B^2}+\epsilon",
        "ε is added to the variance, under the root. For variances far above ε the difference is "
        "small, but it is no rounding.",
    ),
    fault("root-plus-eps-at-inference", denominator(_beside, "infer_s"))(
        "ε is added to the root at inference",
        r"s = \sqrt{\sigma^2}+\epsilon",
        "ε is added to the running variance, under the root. As it stands, inference and training "
        "use different denominators.",
    ),
    fault("eps-added-twice", denominator(_twice, "u"))(
        "ε is added under the root and again to the root, in the training output",
        r"u_i = \frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}+\epsilon}",
        "One ε under the root already keeps the denominator from zero. The second one makes the "
        "output too small.",
    ),
    fault("eps-added-twice-everywhere", denominator(_twice, "s", "infer_s"))(
        "ε is added under the root and again to the root, in both modes and the gradient",
        r"s = \sqrt{\sigma_B^2+\epsilon}+\epsilon",
        "One ε under the root already keeps the denominator from zero. The second one makes every "
        "quotient too small.",
    ),
    fault(
        "eps-as-floor", denominator(lambda var, eps: np.sqrt(np.maximum(var, eps)), "s", "infer_s")
    )(
        "ε is a lower limit of the variance, not a term added to it",
        r"s = \sqrt{\max(\sigma_B^2, \epsilon)}",
        "The definition adds ε to every variance, small or large. A maximum also avoids the "
        "division by zero, but it is another function.",
    ),
    fault("eps-squared", denominator(lambda var, eps: np.sqrt(var + eps**2), "s", "infer_s"))(
        "the square of ε is added to the variance",
        r"s = \sqrt{\sigma_B^2+\epsilon^2}",
        "ε itself is added to the variance. Its square is so small that it has no effect at the "
        "usual settings.",
    ),
)
"""The mistakes of this module."""
