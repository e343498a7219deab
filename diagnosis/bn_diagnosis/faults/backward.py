"""Mistakes in the gradient of the input: what enters its three routes."""

from __future__ import annotations

import numpy as np
from bn_oracle.arrays import Array

from bn_diagnosis.faults.common import centred, dvar_with, routes
from bn_diagnosis.faults.fault import Fault, fault
from bn_diagnosis.faults.statements import (
    BY_MEAN,
    BY_VARIANCE,
    CLOSED,
    DIRECT,
    DU_CENTRED,
    DU_IS,
    DZ_IS,
    MEAN_IS,
    VAR_IS,
)
from bn_diagnosis.formulas import Trace


def _sigmoid_slope(t: Trace) -> Array:
    sigmoid = 1 / (1 + np.exp(-t.y))
    return sigmoid * (1 - sigmoid)


def _own_variance_term(t: Trace) -> Array:
    return -0.5 * t.du * centred(t) / t.s**3


FAULTS: tuple[Fault, ...] = (
    fault("activation-derivative-for-gamma", {"du": lambda t: t.g * _sigmoid_slope(t)})(
        "∂Div/∂u is G times the activation's derivative, in place of γ",
        DU_IS + r"f'(\hat z_i) G_i",
        "From u to ẑ there is only the scaling by γ. The activation comes after ẑ, and its "
        "derivative is in G already.",
    ),
    fault("gamma-left-out", {"du": lambda t: t.g})(
        "γ is left out of the input gradient",
        DU_IS + r"G_i",
        "The output is γu + β, so the gradient with respect to u is γ times the upstream one. "
        "With γ at one the omission cannot be seen.",
    ),
    fault("gamma-applied-twice", {"du": lambda t: t.gamma**2 * t.g})(
        "γ is applied twice in the input gradient",
        DU_IS + r"\gamma^2 G_i",
        "γ enters once, on the way from ẑ to u. A formula in terms of ∂Div/∂u must not multiply "
        "by it again.",
    ),
    fault("gamma-missing-in-direct-route", {"dz": lambda t: t.g / t.s + routes(t, direct=0.0)})(
        "γ is missing from the direct route",
        DZ_IS + r"\frac{1}{\sqrt{\sigma_B^2+\epsilon}} G_i + " + BY_VARIANCE + "+" + BY_MEAN,
        "All three routes start from ∂Div/∂u, which is γ times G. Here the direct one starts from "
        "G.",
    ),
    fault("gamma-missing-in-variance-route", {"dvar": lambda t: dvar_with(t, t.g, t.s**-3)})(
        "γ is missing from the variance route",
        VAR_IS + r"-\frac12(\sigma_B^2+\epsilon)^{-3/2}\sum_i G_i(z_i-\mu_B)",
        "All three routes start from ∂Div/∂u, which is γ times G. Here the one through the "
        "variance starts from G.",
        anchor="note-5",
    ),
    fault("gamma-missing-in-mean-route", {"dmean": lambda t: -(t.g / t.s).sum(axis=0)})(
        "γ is missing from the mean route",
        MEAN_IS + r"-\frac{1}{\sqrt{\sigma_B^2+\epsilon}}\sum_i G_i",
        "All three routes start from ∂Div/∂u, which is γ times G. Here the one through the mean "
        "starts from G.",
        anchor="note-5",
    ),
    fault("variance-route-missing", {"dz": lambda t: routes(t, variance=0.0)})(
        "the variance route is left out of the input gradient",
        DZ_IS + DIRECT + " + " + BY_MEAN,
        "Every input moves the batch variance, and with it every output. That route makes the "
        "gradient along u almost vanish.",
        killed_by="backward.normalised_identity",
    ),
    fault("mean-route-missing", {"dz": lambda t: routes(t, mean=0.0)})(
        "the mean route is left out of the input gradient",
        DZ_IS + DIRECT + " + " + BY_VARIANCE,
        "Every input moves the batch mean, and with it every output. That route makes the "
        "gradients of a feature sum to zero.",
        killed_by="backward.zero_gradient_sum",
    ),
    fault("statistics-constant", {"dz": lambda t: routes(t, variance=0.0, mean=0.0)})(
        "mean and variance are treated as constants",
        DZ_IS + DIRECT,
        "In training the statistics are functions of the whole batch, so the gradient flows "
        "through them as well. Only at inference are they constants.",
    ),
    fault("direct-route-missing", {"dz": lambda t: routes(t, direct=0.0)})(
        "the direct route is left out of the input gradient",
        DZ_IS + BY_VARIANCE + " + " + BY_MEAN,
        "An input also moves its own normalised value, with the statistics held fixed. That is "
        "the largest of the three contributions.",
    ),
    fault("variance-route-sign", {"dz": lambda t: routes(t, variance=-1.0)})(
        "the variance route has the wrong sign",
        DZ_IS + DIRECT + " - " + BY_VARIANCE + " + " + BY_MEAN,
        "A larger variance makes every |u| smaller, which is where the minus in ∂Div/∂σ² comes "
        "from. Lost or applied twice, it turns this route around.",
    ),
    fault("mean-route-sign", {"dz": lambda t: routes(t, mean=-1.0)})(
        "the mean route has the wrong sign",
        DZ_IS + DIRECT + " + " + BY_VARIANCE + " - " + BY_MEAN,
        "The mean is subtracted, so ∂Div/∂μ has a minus. Lost or applied twice, it turns this "
        "route around.",
        killed_by="backward.zero_gradient_sum",
    ),
    fault("input-gradient-sign", {"dz": lambda t: -routes(t)})(
        "the input gradient has the opposite sign",
        DZ_IS + "- " + DIRECT + " - " + BY_VARIANCE + " - " + BY_MEAN,
        "The backward pass returns the gradient itself. The minus of gradient descent belongs to "
        "the optimiser.",
    ),
    fault("factor-two-missing", {"dz": lambda t: routes(t, variance=0.5)})(
        "the derivative of the square lacks its factor two",
        r"\frac{\partial\sigma_B^2}{\partial z_i} = \frac{z_i-\mu_B}{B}",
        "The derivative of a square is twice its base. Without the two, the variance route counts "
        "half.",
        right=r"\frac{\partial\sigma_B^2}{\partial z_i} = \frac{2(z_i-\mu_B)}{B}",
        anchor="note-3",
    ),
    fault("factor-half-missing", {"dz": lambda t: routes(t, variance=2.0)})(
        "the derivative of the inverse root lacks its factor one half",
        r"\frac{\partial u_i}{\partial\sigma_B^2} = -(z_i-\mu_B)(\sigma_B^2+\epsilon)^{-3/2}",
        "The derivative of the power −1/2 brings its exponent down as a factor. Without it, the "
        "variance route counts twice.",
        right=r"\frac{\partial u_i}{\partial\sigma_B^2} = "
        r"-\frac12(z_i-\mu_B)(\sigma_B^2+\epsilon)^{-3/2}",
        anchor="note-3",
    ),
    fault("exponent-minus-one-half", {"dvar": lambda t: dvar_with(t, t.du, 1 / t.s)})(
        "the exponent in ∂Div/∂σ² is −1/2 in place of −3/2",
        VAR_IS + r"-\frac12(\sigma_B^2+\epsilon)^{-1/2}" + DU_CENTRED,
        "Differentiating lowers the exponent by one, from −1/2 to −3/2. The closed form shows the "
        "same error when both factors u of its last term are z − μ.",
    ),
    fault("exponent-minus-one", {"dvar": lambda t: dvar_with(t, t.du, t.s**-2)})(
        "the exponent in ∂Div/∂σ² is −1 in place of −3/2",
        VAR_IS + r"-\frac12(\sigma_B^2+\epsilon)^{-1}" + DU_CENTRED,
        "With z − μ in the sum the exponent is −3/2, and with u in its place it is −1. The closed "
        "form shows the same error when one factor u of its last term is z − μ.",
    ),
    fault(
        "eps-missing-in-direct-route",
        {"dz": lambda t: t.du / np.sqrt(t.var) + routes(t, direct=0.0)},
    )(
        "ε is missing from the direct route",
        rf"{DZ_IS}\frac{{1}}{{\sqrt{{\sigma_B^2}}}}\frac{{\partial Div}}{{\partial u_i}} + "
        rf"{BY_VARIANCE} + {BY_MEAN}",
        "The derivative has the same denominator √(σ²+ε) as the forward pass. Without ε a "
        "constant feature gives NaN.",
    ),
    fault("eps-missing-in-variance-route", {"dvar": lambda t: dvar_with(t, t.du, t.var**-1.5)})(
        "ε is missing from the variance route",
        VAR_IS + r"-\frac12(\sigma_B^2)^{-3/2}" + DU_CENTRED,
        "The derivative has the same σ² + ε as the forward pass. Without ε a constant feature "
        "gives NaN.",
    ),
    fault("eps-missing-in-mean-route", {"dmean": lambda t: -t.du.sum(axis=0) / np.sqrt(t.var)})(
        "ε is missing from the mean route",
        MEAN_IS + r"-\frac{1}{\sqrt{\sigma_B^2}}\sum_i\frac{\partial Div}{\partial u_i}",
        "The derivative has the same denominator √(σ²+ε) as the forward pass. Without ε a "
        "constant feature gives NaN.",
    ),
    fault(
        "eps-missing-in-input-gradient",
        {
            "dvar": lambda t: dvar_with(t, t.du, t.var**-1.5),
            "dmean": lambda t: -t.du.sum(axis=0) / np.sqrt(t.var),
            "dz": lambda t: t.du / np.sqrt(t.var) + routes(t, direct=0.0),
        },
    )(
        "ε is missing from all routes of the input gradient",
        DZ_IS + r"\frac{\gamma}{\sqrt{\sigma_B^2}}\left(G_i - \ldots\right)",
        "The backward pass differentiates the forward pass as it is, with ε. Keep the denominator "
        "of the forward pass and use it again.",
        right=CLOSED,
        anchor="note-5",
    ),
    fault("eps-sign", {"dvar": lambda t: dvar_with(t, t.du, (t.var - t.eps) ** -1.5)})(
        "ε has the wrong sign in the variance route",
        VAR_IS + r"-\frac12(\sigma_B^2-\epsilon)^{-3/2}" + DU_CENTRED,
        "ε is added to the variance, in the derivative as in the forward pass. Subtracted, it "
        "gives NaN as soon as the variance is below ε.",
    ),
    fault(
        "direct-term-counted-twice",
        {"dvar": lambda t: _own_variance_term(t).sum(axis=0) + _own_variance_term(t)},
    )(
        "∂Div/∂σ² is the sum over the batch plus a direct term",
        VAR_IS
        + r"\sum_{j}\frac{\partial Div}{\partial u_j}\frac{\partial u_j}{\partial\sigma_B^2} + "
        r"\frac{\partial Div}{\partial u_i}\frac{\partial u_i}{\partial\sigma_B^2}",
        "The sum over the whole batch has the instance's own term in it. Adding that term once "
        "more counts it twice.",
        right=VAR_IS
        + r"\sum_{j}\frac{\partial Div}{\partial u_j}\frac{\partial u_j}{\partial\sigma_B^2}",
    ),
    fault("variance-route-not-summed", {"dvar": _own_variance_term})(
        "∂Div/∂σ² is not summed over the batch",
        VAR_IS
        + r"-\frac12(\sigma_B^2+\epsilon)^{-3/2}\frac{\partial Div}{\partial u_i}(z_i-\mu_B)",
        "The variance influences every u in the batch, so the effects add up. Here each instance "
        "sees its own effect alone.",
    ),
    fault("mean-route-not-summed", {"dmean": lambda t: -t.du / t.s})(
        "∂Div/∂μ is not summed over the batch",
        MEAN_IS + r"-\frac{1}{\sqrt{\sigma_B^2+\epsilon}}"
        r"\frac{\partial Div}{\partial u_i}",
        "The mean influences every u in the batch, so the effects add up. Here each instance sees "
        "its own effect alone.",
        killed_by="backward.zero_gradient_sum",
    ),
    fault("diagonal-jacobian", {"dz": lambda t: t.du / t.s * (1 - 1 / t.n - t.u**2 / t.n)})(
        "only the diagonal of the Jacobian is kept",
        DZ_IS + r"\frac{\gamma}{s}\left(1 - \frac1B - \frac{u_i^2}{B}\right)G_i",
        "Batch norm is a vector function of the batch, and its Jacobian is dense over the "
        "instances. The diagonal has only the influence of each on itself.",
        right=CLOSED,
        anchor="note-11",
    ),
)
"""The mistakes of this module."""
