"""Mistakes with ε, in training and at inference."""

from __future__ import annotations

import numpy as np

from bn_diagnosis.faults.common import centred, root_with
from bn_diagnosis.faults.fault import Fault

TRAIN_ROOT = r"s = \sqrt{\sigma_B^2+\epsilon}"
INFER_ROOT = r"s = \sqrt{\sigma^2+\epsilon}"

_TRAIN_5, _INFER_5 = root_with(1e-5)
_TRAIN_8, _INFER_8 = root_with(1e-8)
_TRAIN_0, _INFER_0 = root_with(0.0)


FAULTS: tuple[Fault, ...] = (
    Fault(
        id="eps-hardcoded-1e-8",
        title="ε is the number 1e-8 in training and at inference",
        family="training",
        wrong=r"s = \sqrt{\sigma_B^2+10^{-8}}",
        right=TRAIN_ROOT,
        explanation="The formulas must read the ε that is set on the layer. A number in its place "
        "works only until somebody sets another.",
        anchor="real-training",
        killed_by="training.uses_eps",
        replaces={"s": _TRAIN_8, "infer_s": _INFER_8},
    ),
    Fault(
        id="eps-hardcoded-1e-8-in-training",
        title="ε is the number 1e-8 in training",
        family="training",
        wrong=r"s = \sqrt{\sigma_B^2+10^{-8}}",
        right=TRAIN_ROOT,
        explanation="Inference reads the layer's ε, but training has a number written in. The two "
        "modes agree only for that one number.",
        anchor="real-training",
        killed_by="training.uses_eps",
        replaces={"s": _TRAIN_8},
    ),
    Fault(
        id="eps-hardcoded-1e-8-at-inference",
        title="ε is the number 1e-8 at inference",
        family="inference",
        wrong=r"s = \sqrt{\sigma^2+10^{-8}}",
        right=INFER_ROOT,
        explanation="Training reads the layer's ε, but inference has a number written in. Use the "
        "same ε in both modes.",
        anchor="real-inference",
        killed_by="inference.affine_fold",
        replaces={"infer_s": _INFER_8},
    ),
    Fault(
        id="eps-hardcoded-1e-5",
        title="ε is the number 1e-5 in training and at inference",
        family="training",
        wrong=r"s = \sqrt{\sigma_B^2+10^{-5}}",
        right=TRAIN_ROOT,
        explanation="The ε that the caller gives is never read. A number in its place works only "
        "until somebody gives another.",
        anchor="real-training",
        killed_by="training.uses_eps",
        replaces={"s": _TRAIN_5, "infer_s": _INFER_5},
    ),
    Fault(
        id="eps-hardcoded-1e-5-in-training",
        title="ε is the number 1e-5 in training",
        family="training",
        wrong=r"s = \sqrt{\sigma_B^2+10^{-5}}",
        right=TRAIN_ROOT,
        explanation="Inference reads the ε that was given, but training has a number written in. "
        "The two modes agree only for that one number.",
        anchor="real-training",
        killed_by="training.uses_eps",
        replaces={"s": _TRAIN_5},
    ),
    Fault(
        id="eps-hardcoded-1e-5-at-inference",
        title="ε is the number 1e-5 at inference",
        family="inference",
        wrong=r"s = \sqrt{\sigma^2+10^{-5}}",
        right=INFER_ROOT,
        explanation="Training reads the ε that was given, but inference has a number written in. "
        "Use the same ε in both modes.",
        anchor="real-inference",
        killed_by="inference.affine_fold",
        replaces={"infer_s": _INFER_5},
    ),
    Fault(
        id="eps-omitted",
        title="ε is left out in training and at inference",
        family="training",
        wrong=r"s = \sqrt{\sigma_B^2}",
        right=TRAIN_ROOT,
        explanation="Without ε, a feature that is constant over the batch is divided by zero. Add "
        "ε to the variance under the root in both modes.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={"s": _TRAIN_0, "infer_s": _INFER_0},
    ),
    Fault(
        id="eps-omitted-in-training",
        title="ε is left out in training",
        family="training",
        wrong=r"s = \sqrt{\sigma_B^2}",
        right=TRAIN_ROOT,
        explanation="Without ε, a feature that is constant over the batch gives NaN in training. "
        "Add ε to the variance under the root.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={"s": _TRAIN_0},
    ),
    Fault(
        id="eps-omitted-at-inference",
        title="ε is left out at inference",
        family="inference",
        wrong=r"\hat z = \gamma\,\frac{z-\mu}{\sqrt{\sigma^2}} + \beta",
        right=r"\hat z = \gamma\,\frac{z-\mu}{\sqrt{\sigma^2+\epsilon}} + \beta",
        explanation="Inference uses the same ε as training. Without it the two modes disagree, and "
        "a running variance of zero gives NaN.",
        anchor="real-inference",
        killed_by="inference.affine_fold",
        replaces={"infer_s": _INFER_0},
    ),
    Fault(
        id="root-plus-eps",
        title="ε is added to the root in the outputs of both modes",
        family="training",
        wrong=r"u_i = \frac{z_i-\mu_B}{\sqrt{\sigma_B^2}+\epsilon}",
        right=r"u_i = \frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}}",
        explanation="ε is added to the variance, under the root. The backward pass here follows "
        "the right formula, so it does not even fit its own forward pass.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={
            "u": lambda t: centred(t) / (np.sqrt(t.var) + t.eps),
            "infer_s": lambda t: np.sqrt(t.running_var) + t.eps,
        },
    ),
    Fault(
        id="root-plus-eps-in-training",
        title="ε is added to the root in the training output",
        family="training",
        wrong=r"u_i = \frac{z_i-\mu_B}{\sqrt{\sigma_B^2}+\epsilon}",
        right=r"u_i = \frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}}",
        explanation="ε is added to the variance, under the root. Inference and the gradient have "
        "it in the right place.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={"u": lambda t: centred(t) / (np.sqrt(t.var) + t.eps)},
    ),
    Fault(
        id="root-plus-eps-in-training-and-gradient",
        title="ε is added to the root in the training output and its gradient",
        family="training",
        wrong=r"s = \sqrt{\sigma_B^2}+\epsilon",
        right=TRAIN_ROOT,
        explanation="ε is added to the variance, under the root. Only inference has it in the "
        "right place here.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={"s": lambda t: np.sqrt(t.var) + t.eps},
    ),
    Fault(
        id="root-plus-eps-everywhere",
        title="ε is added to the root in training, in the gradient and at inference",
        family="training",
        wrong=r"s = \sqrt{\sigma_B^2}+\epsilon",
        right=TRAIN_ROOT,
        explanation="ε is added to the variance, under the root. For variances far above ε the "
        "difference is small, but it is no rounding.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={
            "s": lambda t: np.sqrt(t.var) + t.eps,
            "infer_s": lambda t: np.sqrt(t.running_var) + t.eps,
        },
    ),
    Fault(
        id="root-plus-eps-at-inference",
        title="ε is added to the root at inference",
        family="inference",
        wrong=r"s = \sqrt{\sigma^2}+\epsilon",
        right=INFER_ROOT,
        explanation="ε is added to the running variance, under the root. As it stands, inference "
        "and training use different denominators.",
        anchor="real-inference",
        killed_by="inference.affine_fold",
        replaces={"infer_s": lambda t: np.sqrt(t.running_var) + t.eps},
    ),
    Fault(
        id="eps-added-twice",
        title="ε is added under the root and again to the root, in the training output",
        family="training",
        wrong=r"u_i = \frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}+\epsilon}",
        right=r"u_i = \frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}}",
        explanation="One ε under the root already keeps the denominator from zero. The second one "
        "makes the output too small.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={"u": lambda t: centred(t) / (t.s + t.eps)},
    ),
    Fault(
        id="eps-added-twice-everywhere",
        title="ε is added under the root and again to the root, in both modes and the gradient",
        family="training",
        wrong=r"s = \sqrt{\sigma_B^2+\epsilon}+\epsilon",
        right=TRAIN_ROOT,
        explanation="One ε under the root already keeps the denominator from zero. The second one "
        "makes every quotient too small.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={
            "s": lambda t: np.sqrt(t.var + t.eps) + t.eps,
            "infer_s": lambda t: np.sqrt(t.running_var + t.eps) + t.eps,
        },
    ),
    Fault(
        id="eps-as-floor",
        title="ε is a lower limit of the variance, not a term added to it",
        family="training",
        wrong=r"s = \sqrt{\max(\sigma_B^2, \epsilon)}",
        right=TRAIN_ROOT,
        explanation="The definition adds ε to every variance, small or large. A maximum also "
        "avoids the division by zero, but it is another function.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={
            "s": lambda t: np.sqrt(np.maximum(t.var, t.eps)),
            "infer_s": lambda t: np.sqrt(np.maximum(t.running_var, t.eps)),
        },
    ),
    Fault(
        id="eps-squared",
        title="the square of ε is added to the variance",
        family="training",
        wrong=r"s = \sqrt{\sigma_B^2+\epsilon^2}",
        right=TRAIN_ROOT,
        explanation="ε itself is added to the variance. Its square is so small that it has no "
        "effect at the usual settings.",
        anchor="real-training",
        killed_by="training.agreement",
        replaces={
            "s": lambda t: np.sqrt(t.var + t.eps**2),
            "infer_s": lambda t: np.sqrt(t.running_var + t.eps**2),
        },
    ),
)
"""The mistakes of this module."""
