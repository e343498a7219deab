"""Mistakes in formulas for the input gradient that were copied or simplified."""

from __future__ import annotations

from typing import Any

import numpy as np

from bn_diagnosis.faults.common import CLOSED, DMEAN, DVAR, centred, closed_form, routes
from bn_diagnosis.faults.fault import Fault
from bn_diagnosis.formulas import Trace

DZ_IS = r"\frac{\partial Div}{\partial z_i} = "


def _slipped_mean(t: Trace) -> Any:
    return (t.du / t.s + t.dvar * 2 * centred(t) / t.n).sum(axis=0)


def _projection_alone(t: Trace) -> Any:
    return (t.du - t.du.mean(axis=0) - (t.du * t.u).mean(axis=0)) / t.s


FAULTS: tuple[Fault, ...] = (
    Fault(
        id="slipped-labels",
        title="the labels of the copied chain have slipped by one line",
        family="backward",
        wrong=r"\frac{\partial\ell}{\partial\sigma_B^2} = "
        r"\sum_i\frac{\partial\ell}{\partial\hat x_i}\frac{-1}{\sqrt{\sigma_B^2+\epsilon}}",
        right=DVAR + r", \quad " + DMEAN,
        explanation="The line that is headed σ² is the paper's equation for μ, and the one headed "
        "μ is its equation for the input. The equation for σ², with the exponent −3/2, was "
        "skipped.",
        anchor="note-6",
        killed_by="backward.input_gradient",
        replaces={"dvar": lambda t: -(t.du / t.s).sum(axis=0), "dmean": _slipped_mean},
    ),
    Fault(
        id="variance-gradient-from-mean-equation",
        title="∂Div/∂σ² is computed by the equation of ∂Div/∂μ",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\sigma_B^2} = -\frac{1}{\sqrt{\sigma_B^2+\epsilon}}"
        r"\sum_i\frac{\partial Div}{\partial u_i}",
        right=DVAR,
        explanation="The equation under this heading belongs to the mean. The one for the variance "
        "has z − μ in the sum and the exponent −3/2.",
        anchor="note-6",
        killed_by="backward.input_gradient",
        replaces={"dvar": lambda t: -(t.du / t.s).sum(axis=0)},
    ),
    Fault(
        id="compact-without-one-over-n",
        title="the compact formula is multiplied by B",
        family="backward",
        wrong=DZ_IS + r"\frac{\gamma}{s}\left(B G_i - \sum_j G_j - u_i\sum_j G_j u_j\right)",
        right=CLOSED,
        explanation="The form with B inside the parentheses has the factor 1/B in front. It was "
        "lost on the way.",
        anchor="note-12",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: t.n * routes(t)},
    ),
    Fault(
        id="input-gradient-averaged",
        title="the input gradient alone is divided by the batch size",
        family="backward",
        wrong=DZ_IS + r"\frac{\gamma}{B s}"
        r"\left(G_i - \frac1B\sum_j G_j - \frac{u_i}{B}\sum_j G_j u_j\right)",
        right=CLOSED,
        explanation="The factor 1/B stands before the parentheses or inside them, not in both "
        "places. If the loss is a mean over the batch, its 1/B is in G already.",
        anchor="note-12",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: routes(t) / t.n},
    ),
    Fault(
        id="compact-without-root",
        title="the compact formula lacks the division by the root",
        family="backward",
        wrong=DZ_IS + r"\gamma\left(G_i - \frac1B\sum_j G_j - \frac{u_i}{B}\sum_j G_j u_j\right)",
        right=CLOSED,
        explanation="The whole parenthesis is divided by √(σ²+ε). For a variance near one the "
        "omission is easily missed.",
        anchor="note-12",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: closed_form(t) * t.s},
    ),
    Fault(
        id="compact-divides-by-variance",
        title="the compact formula divides by the variance, without the root",
        family="backward",
        wrong=DZ_IS + r"\frac{\gamma}{\sigma_B^2+\epsilon}"
        r"\left(G_i - \frac1B\sum_j G_j - \frac{u_i}{B}\sum_j G_j u_j\right)",
        right=CLOSED,
        explanation="The parenthesis is divided by the standard deviation √(σ²+ε). For a variance "
        "near one the slip is easily missed.",
        anchor="note-12",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: closed_form(t) / t.s},
    ),
    Fault(
        id="projection-without-factor",
        title="the last term of the compact formula lacks its factor u",
        family="backward",
        wrong=DZ_IS + r"\frac{\gamma}{s}"
        r"\left(G_i - \frac1B\sum_j G_j - \frac{1}{B}\sum_j G_j u_j\right)",
        right=CLOSED,
        explanation="The projection is a multiple of u, so each instance has its own share of it. "
        "Without the factor u the same number is subtracted from all.",
        anchor="note-12",
        killed_by="backward.zero_gradient_sum",
        replaces={"dz": _projection_alone},
    ),
    Fault(
        id="backward-uses-running-variance",
        title="the backward pass divides by the root of the running variance",
        family="backward",
        wrong=DZ_IS + r"\frac{\gamma}{\sqrt{V+\epsilon}}"
        r"\left(G_i - \frac1B\sum_j G_j - \frac{u_i}{B}\sum_j G_j u_j\right)",
        right=CLOSED,
        explanation="The backward pass belongs to the training step, which divided by the batch's "
        "own root. Keep that denominator from the forward pass.",
        anchor="real-backward",
        killed_by="backward.input_gradient",
        replaces={
            "dz": lambda t: closed_form(t) * t.s / np.sqrt(t.running_var + t.eps),
        },
    ),
)
"""The mistakes of this module."""
