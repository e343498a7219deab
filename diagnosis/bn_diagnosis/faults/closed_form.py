"""Mistakes in formulas for the input gradient that were copied or simplified."""

from __future__ import annotations

import numpy as np

from bn_diagnosis.faults.common import centred, closed_form, routes
from bn_diagnosis.faults.fault import Fault, Kind, fault
from bn_diagnosis.faults.statements import CLOSED, DZ_IS, PROJECTED, VAR_IS, right
from bn_diagnosis.formulas import Trace

compact = Kind(right=CLOSED, anchor="note-12")


def _slipped_mean(t: Trace) -> object:
    return (t.du / t.s + t.dvar * 2 * centred(t) / t.n).sum(axis=0)


def _projection_alone(t: Trace) -> object:
    return (t.du - t.du.mean(axis=0) - (t.du * t.u).mean(axis=0)) / t.s


FAULTS: tuple[Fault, ...] = (
    fault("slipped-labels", {"dvar": lambda t: -(t.du / t.s).sum(axis=0), "dmean": _slipped_mean})(
        "the labels of the copied chain have slipped by one line",
        r"\frac{\partial\ell}{\partial\sigma_B^2} = "
        r"\sum_i\frac{\partial\ell}{\partial\hat x_i}\frac{-1}{\sqrt{\sigma_B^2+\epsilon}}",
        "The line that is headed σ² is the paper's equation for μ, and the one headed μ is its "
        "equation for the input. The equation for σ², with the exponent −3/2, was skipped.",
        right=right("dvar", "dmean"),
        anchor="note-6",
    ),
    fault("variance-gradient-from-mean-equation", {"dvar": lambda t: -(t.du / t.s).sum(axis=0)})(
        "∂Div/∂σ² is computed by the equation of ∂Div/∂μ",
        VAR_IS + r"-\frac{1}{\sqrt{\sigma_B^2+\epsilon}}\sum_i\frac{\partial Div}{\partial u_i}",
        "The equation under this heading belongs to the mean. The one for the variance has z − μ "
        "in the sum and the exponent −3/2.",
        anchor="note-6",
    ),
    compact("compact-without-one-over-n", {"dz": lambda t: t.n * routes(t)})(
        "the compact formula is multiplied by B",
        DZ_IS + r"\frac{\gamma}{s}\left(B G_i - \sum_j G_j - u_i\sum_j G_j u_j\right)",
        "The form with B inside the parentheses has the factor 1/B in front. It was lost on the "
        "way.",
    ),
    compact("input-gradient-averaged", {"dz": lambda t: routes(t) / t.n})(
        "the input gradient alone is divided by the batch size",
        DZ_IS + r"\frac{\gamma}{B s}" + PROJECTED,
        "The factor 1/B stands before the parentheses or inside them, not in both places. If the "
        "loss is a mean over the batch, its 1/B is in G already.",
    ),
    compact("compact-without-root", {"dz": lambda t: closed_form(t) * t.s})(
        "the compact formula lacks the division by the root",
        DZ_IS + r"\gamma" + PROJECTED,
        "The whole parenthesis is divided by √(σ²+ε). For a variance near one the omission is "
        "easily missed.",
    ),
    compact("compact-divides-by-variance", {"dz": lambda t: closed_form(t) / t.s})(
        "the compact formula divides by the variance, without the root",
        DZ_IS + r"\frac{\gamma}{\sigma_B^2+\epsilon}" + PROJECTED,
        "The parenthesis is divided by the standard deviation √(σ²+ε). For a variance near one "
        "the slip is easily missed.",
    ),
    compact("projection-without-factor", {"dz": _projection_alone})(
        "the last term of the compact formula lacks its factor u",
        DZ_IS + r"\frac{\gamma}{s}"
        r"\left(G_i - \frac1B\sum_j G_j - \frac{1}{B}\sum_j G_j u_j\right)",
        "The projection is a multiple of u, so each instance has its own share of it. Without the "
        "factor u the same number is subtracted from all.",
        killed_by="backward.zero_gradient_sum",
    ),
    fault(
        "backward-uses-running-variance",
        {
            "dz": lambda t: closed_form(t) * t.s / np.sqrt(t.running_var + t.eps),
        },
    )(
        "the backward pass divides by the root of the running variance",
        DZ_IS + r"\frac{\gamma}{\sqrt{V+\epsilon}}" + PROJECTED,
        "The backward pass belongs to the training step, which divided by the batch's own root. "
        "Keep that denominator from the forward pass.",
        right=CLOSED,
        anchor="real-backward",
    ),
)
"""The mistakes of this module."""
