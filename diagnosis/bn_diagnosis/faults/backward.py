"""Mistakes in the gradient of the input: what enters its three routes."""

from __future__ import annotations

from typing import Any

import numpy as np

from bn_diagnosis.faults.common import (
    CLOSED,
    DMEAN,
    DU,
    DVAR,
    DZ,
    centred,
    dvar_with,
    routes,
)
from bn_diagnosis.faults.fault import Fault
from bn_diagnosis.formulas import Trace

DIRECT = r"\frac{1}{\sqrt{\sigma_B^2+\epsilon}}\frac{\partial Div}{\partial u_i}"
BY_VARIANCE = r"\frac{2(z_i-\mu_B)}{B}\frac{\partial Div}{\partial\sigma_B^2}"
BY_MEAN = r"\frac1B\frac{\partial Div}{\partial\mu_B}"
DZ_IS = r"\frac{\partial Div}{\partial z_i} = "


def _sigmoid_slope(t: Trace) -> Any:
    sigmoid = 1 / (1 + np.exp(-t.y))
    return sigmoid * (1 - sigmoid)


def _own_variance_term(t: Trace) -> Any:
    return -0.5 * t.du * centred(t) / t.s**3


FAULTS: tuple[Fault, ...] = (
    Fault(
        id="activation-derivative-for-gamma",
        title="∂Div/∂u is G times the activation's derivative, in place of γ",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial u_i} = f'(\hat z_i) G_i",
        right=DU,
        explanation="From u to ẑ there is only the scaling by γ. The activation comes after ẑ, and "
        "its derivative is in G already.",
        anchor="note-4",
        killed_by="backward.input_gradient",
        replaces={"du": lambda t: t.g * _sigmoid_slope(t)},
    ),
    Fault(
        id="gamma-left-out",
        title="γ is left out of the input gradient",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial u_i} = G_i",
        right=DU,
        explanation="The output is γu + β, so the gradient with respect to u is γ times the "
        "upstream one. With γ at one the omission cannot be seen.",
        anchor="note-4",
        killed_by="backward.input_gradient",
        replaces={"du": lambda t: t.g},
    ),
    Fault(
        id="gamma-applied-twice",
        title="γ is applied twice in the input gradient",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial u_i} = \gamma^2 G_i",
        right=DU,
        explanation="γ enters once, on the way from ẑ to u. A formula in terms of ∂Div/∂u must not "
        "multiply by it again.",
        anchor="note-4",
        killed_by="backward.input_gradient",
        replaces={"du": lambda t: t.gamma**2 * t.g},
    ),
    Fault(
        id="gamma-missing-in-direct-route",
        title="γ is missing from the direct route",
        family="backward",
        wrong=DZ_IS + r"\frac{1}{\sqrt{\sigma_B^2+\epsilon}} G_i + " + BY_VARIANCE + "+" + BY_MEAN,
        right=DZ,
        explanation="All three routes start from ∂Div/∂u, which is γ times G. Here the direct one "
        "starts from G.",
        anchor="note-5",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: t.g / t.s + routes(t, direct=0.0)},
    ),
    Fault(
        id="gamma-missing-in-variance-route",
        title="γ is missing from the variance route",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\sigma_B^2} = -\frac12(\sigma_B^2+\epsilon)^{-3/2}"
        r"\sum_i G_i(z_i-\mu_B)",
        right=DVAR,
        explanation="All three routes start from ∂Div/∂u, which is γ times G. Here the one through "
        "the variance starts from G.",
        anchor="note-5",
        killed_by="backward.input_gradient",
        replaces={"dvar": lambda t: dvar_with(t, t.g, t.s**-3)},
    ),
    Fault(
        id="gamma-missing-in-mean-route",
        title="γ is missing from the mean route",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\mu_B} = -\frac{1}{\sqrt{\sigma_B^2+\epsilon}}"
        r"\sum_i G_i",
        right=DMEAN,
        explanation="All three routes start from ∂Div/∂u, which is γ times G. Here the one through "
        "the mean starts from G.",
        anchor="note-5",
        killed_by="backward.input_gradient",
        replaces={"dmean": lambda t: -(t.g / t.s).sum(axis=0)},
    ),
    Fault(
        id="variance-route-missing",
        title="the variance route is left out of the input gradient",
        family="backward",
        wrong=DZ_IS + DIRECT + " + " + BY_MEAN,
        right=DZ,
        explanation="Every input moves the batch variance, and with it every output. That route "
        "makes the gradient along u almost vanish.",
        anchor="note-5",
        killed_by="backward.normalised_identity",
        replaces={"dz": lambda t: routes(t, variance=0.0)},
    ),
    Fault(
        id="mean-route-missing",
        title="the mean route is left out of the input gradient",
        family="backward",
        wrong=DZ_IS + DIRECT + " + " + BY_VARIANCE,
        right=DZ,
        explanation="Every input moves the batch mean, and with it every output. That route makes "
        "the gradients of a feature sum to zero.",
        anchor="note-5",
        killed_by="backward.zero_gradient_sum",
        replaces={"dz": lambda t: routes(t, mean=0.0)},
    ),
    Fault(
        id="statistics-constant",
        title="mean and variance are treated as constants",
        family="backward",
        wrong=DZ_IS + DIRECT,
        right=DZ,
        explanation="In training the statistics are functions of the whole batch, so the gradient "
        "flows through them as well. Only at inference are they constants.",
        anchor="note-5",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: routes(t, variance=0.0, mean=0.0)},
    ),
    Fault(
        id="direct-route-missing",
        title="the direct route is left out of the input gradient",
        family="backward",
        wrong=DZ_IS + BY_VARIANCE + " + " + BY_MEAN,
        right=DZ,
        explanation="An input also moves its own normalised value, with the statistics held fixed. "
        "That is the largest of the three contributions.",
        anchor="note-5",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: routes(t, direct=0.0)},
    ),
    Fault(
        id="variance-route-sign",
        title="the variance route has the wrong sign",
        family="backward",
        wrong=DZ_IS + DIRECT + " - " + BY_VARIANCE + " + " + BY_MEAN,
        right=DZ,
        explanation="A larger variance makes every |u| smaller, which is where the minus in "
        "∂Div/∂σ² comes from. Lost or applied twice, it turns this route around.",
        anchor="note-5",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: routes(t, variance=-1.0)},
    ),
    Fault(
        id="mean-route-sign",
        title="the mean route has the wrong sign",
        family="backward",
        wrong=DZ_IS + DIRECT + " + " + BY_VARIANCE + " - " + BY_MEAN,
        right=DZ,
        explanation="The mean is subtracted, so ∂Div/∂μ has a minus. Lost or applied twice, it "
        "turns this route around.",
        anchor="note-5",
        killed_by="backward.zero_gradient_sum",
        replaces={"dz": lambda t: routes(t, mean=-1.0)},
    ),
    Fault(
        id="input-gradient-sign",
        title="the input gradient has the opposite sign",
        family="backward",
        wrong=DZ_IS + "- " + DIRECT + " - " + BY_VARIANCE + " - " + BY_MEAN,
        right=DZ,
        explanation="The backward pass returns the gradient itself. The minus of gradient descent "
        "belongs to the optimiser.",
        anchor="note-5",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: -routes(t)},
    ),
    Fault(
        id="factor-two-missing",
        title="the derivative of the square lacks its factor two",
        family="backward",
        wrong=r"\frac{\partial\sigma_B^2}{\partial z_i} = \frac{z_i-\mu_B}{B}",
        right=r"\frac{\partial\sigma_B^2}{\partial z_i} = \frac{2(z_i-\mu_B)}{B}",
        explanation="The derivative of a square is twice its base. Without the two, the variance "
        "route counts half.",
        anchor="note-3",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: routes(t, variance=0.5)},
    ),
    Fault(
        id="factor-half-missing",
        title="the derivative of the inverse root lacks its factor one half",
        family="backward",
        wrong=r"\frac{\partial u_i}{\partial\sigma_B^2} = -(z_i-\mu_B)(\sigma_B^2+\epsilon)^{-3/2}",
        right=r"\frac{\partial u_i}{\partial\sigma_B^2} = "
        r"-\frac12(z_i-\mu_B)(\sigma_B^2+\epsilon)^{-3/2}",
        explanation="The derivative of the power −1/2 brings its exponent down as a factor. "
        "Without it, the variance route counts twice.",
        anchor="note-3",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: routes(t, variance=2.0)},
    ),
    Fault(
        id="exponent-minus-one-half",
        title="the exponent in ∂Div/∂σ² is −1/2 in place of −3/2",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\sigma_B^2} = -\frac12(\sigma_B^2+\epsilon)^{-1/2}"
        r"\sum_i\frac{\partial Div}{\partial u_i}(z_i-\mu_B)",
        right=DVAR,
        explanation="Differentiating lowers the exponent by one, from −1/2 to −3/2. The closed "
        "form shows the same error when both factors u of its last term are z − μ.",
        anchor="note-3",
        killed_by="backward.input_gradient",
        replaces={"dvar": lambda t: dvar_with(t, t.du, 1 / t.s)},
    ),
    Fault(
        id="exponent-minus-one",
        title="the exponent in ∂Div/∂σ² is −1 in place of −3/2",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\sigma_B^2} = -\frac12(\sigma_B^2+\epsilon)^{-1}"
        r"\sum_i\frac{\partial Div}{\partial u_i}(z_i-\mu_B)",
        right=DVAR,
        explanation="With z − μ in the sum the exponent is −3/2, and with u in its place it is −1. "
        "The closed form shows the same error when one factor u of its last term is z − μ.",
        anchor="note-3",
        killed_by="backward.input_gradient",
        replaces={"dvar": lambda t: dvar_with(t, t.du, t.s**-2)},
    ),
    Fault(
        id="eps-missing-in-direct-route",
        title="ε is missing from the direct route",
        family="backward",
        wrong=DZ_IS
        + r"\frac{1}{\sqrt{\sigma_B^2}}\frac{\partial Div}{\partial u_i} + "
        + BY_VARIANCE
        + " + "
        + BY_MEAN,
        right=DZ,
        explanation="The derivative has the same denominator √(σ²+ε) as the forward pass. Without "
        "ε a constant feature gives NaN.",
        anchor="note-5",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: t.du / np.sqrt(t.var) + routes(t, direct=0.0)},
    ),
    Fault(
        id="eps-missing-in-variance-route",
        title="ε is missing from the variance route",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\sigma_B^2} = -\frac12(\sigma_B^2)^{-3/2}"
        r"\sum_i\frac{\partial Div}{\partial u_i}(z_i-\mu_B)",
        right=DVAR,
        explanation="The derivative has the same σ² + ε as the forward pass. Without ε a constant "
        "feature gives NaN.",
        anchor="note-3",
        killed_by="backward.input_gradient",
        replaces={"dvar": lambda t: dvar_with(t, t.du, t.var**-1.5)},
    ),
    Fault(
        id="eps-missing-in-mean-route",
        title="ε is missing from the mean route",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\mu_B} = -\frac{1}{\sqrt{\sigma_B^2}}"
        r"\sum_i\frac{\partial Div}{\partial u_i}",
        right=DMEAN,
        explanation="The derivative has the same denominator √(σ²+ε) as the forward pass. Without "
        "ε a constant feature gives NaN.",
        anchor="note-2",
        killed_by="backward.input_gradient",
        replaces={"dmean": lambda t: -t.du.sum(axis=0) / np.sqrt(t.var)},
    ),
    Fault(
        id="eps-missing-in-input-gradient",
        title="ε is missing from all routes of the input gradient",
        family="backward",
        wrong=DZ_IS + r"\frac{\gamma}{\sqrt{\sigma_B^2}}\left(G_i - \ldots\right)",
        right=CLOSED,
        explanation="The backward pass differentiates the forward pass as it is, with ε. Keep the "
        "denominator of the forward pass and use it again.",
        anchor="note-5",
        killed_by="backward.input_gradient",
        replaces={
            "dvar": lambda t: dvar_with(t, t.du, t.var**-1.5),
            "dmean": lambda t: -t.du.sum(axis=0) / np.sqrt(t.var),
            "dz": lambda t: t.du / np.sqrt(t.var) + routes(t, direct=0.0),
        },
    ),
    Fault(
        id="eps-sign",
        title="ε has the wrong sign in the variance route",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\sigma_B^2} = -\frac12(\sigma_B^2-\epsilon)^{-3/2}"
        r"\sum_i\frac{\partial Div}{\partial u_i}(z_i-\mu_B)",
        right=DVAR,
        explanation="ε is added to the variance, in the derivative as in the forward pass. "
        "Subtracted, it gives NaN as soon as the variance is below ε.",
        anchor="note-3",
        killed_by="backward.input_gradient",
        replaces={"dvar": lambda t: dvar_with(t, t.du, (t.var - t.eps) ** -1.5)},
    ),
    Fault(
        id="direct-term-counted-twice",
        title="∂Div/∂σ² is the sum over the batch plus a direct term",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\sigma_B^2} = "
        r"\sum_{j}\frac{\partial Div}{\partial u_j}\frac{\partial u_j}{\partial\sigma_B^2} + "
        r"\frac{\partial Div}{\partial u_i}\frac{\partial u_i}{\partial\sigma_B^2}",
        right=r"\frac{\partial Div}{\partial\sigma_B^2} = "
        r"\sum_{j}\frac{\partial Div}{\partial u_j}\frac{\partial u_j}{\partial\sigma_B^2}",
        explanation="The sum over the whole batch has the instance's own term in it. Adding that "
        "term once more counts it twice.",
        anchor="note-3",
        killed_by="backward.input_gradient",
        replaces={"dvar": lambda t: _own_variance_term(t).sum(axis=0) + _own_variance_term(t)},
    ),
    Fault(
        id="variance-route-not-summed",
        title="∂Div/∂σ² is not summed over the batch",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\sigma_B^2} = -\frac12(\sigma_B^2+\epsilon)^{-3/2}"
        r"\frac{\partial Div}{\partial u_i}(z_i-\mu_B)",
        right=DVAR,
        explanation="The variance influences every u in the batch, so the effects add up. Here "
        "each instance sees its own effect alone.",
        anchor="note-3",
        killed_by="backward.input_gradient",
        replaces={"dvar": _own_variance_term},
    ),
    Fault(
        id="mean-route-not-summed",
        title="∂Div/∂μ is not summed over the batch",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\mu_B} = -\frac{1}{\sqrt{\sigma_B^2+\epsilon}}"
        r"\frac{\partial Div}{\partial u_i}",
        right=DMEAN,
        explanation="The mean influences every u in the batch, so the effects add up. Here each "
        "instance sees its own effect alone.",
        anchor="note-2",
        killed_by="backward.zero_gradient_sum",
        replaces={"dmean": lambda t: -t.du / t.s},
    ),
    Fault(
        id="diagonal-jacobian",
        title="only the diagonal of the Jacobian is kept",
        family="backward",
        wrong=DZ_IS + r"\frac{\gamma}{s}\left(1 - \frac1B - \frac{u_i^2}{B}\right)G_i",
        right=CLOSED,
        explanation="Batch norm is a vector function of the batch, and its Jacobian is dense over "
        "the instances. The diagonal has only the influence of each on itself.",
        anchor="note-11",
        killed_by="backward.input_gradient",
        replaces={"dz": lambda t: t.du / t.s * (1 - 1 / t.n - t.u**2 / t.n)},
    ),
)
"""The mistakes of this module."""
