"""Mistakes in the gradients: of the parameters, and of the input."""

from __future__ import annotations

import numpy as np
from bn_oracle.arrays import Array

from bn_diagnosis.faults.combining import Formula, changed, divided_by, in_parameters, signed
from bn_diagnosis.faults.common import closed_form, in_shape, routes
from bn_diagnosis.faults.fault import Fault, Kind, Told, fault, note
from bn_diagnosis.faults.statements import BY_MEAN, BY_VAR, CLOSED, DU, DZ, OVER_S, PROJECTED, right
from bn_diagnosis.formulas import STEPS
from bn_diagnosis.trace import Trace

compact = Kind(right=CLOSED, anchor="note-12")
lopsided = Kind(killed_by="backward.zero_gradient_sum")
steep = Kind(killed_by="backward.normalised_identity")

VAR_BY_Z = r"\frac{\partial\sigma_B^2}{\partial z_i}"
MEAN_BY_Z = r"\frac{\partial\mu_B}{\partial z_i}"
U_BY_VAR = r"\frac{\partial u_i}{\partial\sigma_B^2}"
VIA_VAR = r"\sum_{j}\frac{\partial Div}{\partial u_j}\frac{\partial u_j}{\partial\sigma_B^2}"
SQUARE = VAR_BY_Z + r" = \frac{2(z_i-\mu_B)}{B}"


def _dvar(t: Trace, upstream: Array, power: Array) -> Array:
    """Return ∂Div/∂σ² from another gradient of u, or another power of σ²+ε."""
    return np.asarray(-0.5 * (upstream * t.centred).sum(axis=0) * power)


def _power(id: str, latex: str, formula: Formula) -> Told:
    """Return the mistake of another power of σ²+ε in ∂Div/∂σ²."""
    return fault(id, dvar=lambda t: _dvar(t, t.du, formula(t)))(
        rf"= -\frac12{latex}\sum_i{DU}(z_i-\mu_B)"
    )


def _own_variance_term(t: Trace) -> Array:
    return -0.5 * t.du * t.centred / t.s**3


def _direct_without_eps(t: Trace) -> Array:
    return t.du / np.sqrt(t.var) + routes(t, direct=0.0)


FAULTS: tuple[Fault, ...] = (
    fault("swapped-parameter-gradients", dgamma=STEPS["dbeta"], dbeta=STEPS["dgamma"])(
        r"= \sum_i G_i, \quad \frac{\partial Div}{\partial\beta} = \sum_i G_i u_i",
        right("dgamma", "dbeta"),
    )("""dγ and dβ are swapped. γ multiplies u, so u is in the gradient of γ. Check the order in
        which the two are computed, assigned and returned."""),
    fault("beta-gradient-for-gamma", dgamma=STEPS["dbeta"])(r"= \sum_i G_i")("""
        dγ is the plain sum of G, as dβ is. γ multiplies u, so each upstream gradient is weighted
        with its u. Without the weights the two gradients are the same."""),
    fault("gamma-gradient-for-beta", dbeta=STEPS["dgamma"])(r"= \sum_i G_i u_i")("""
        dβ is weighted with u, as dγ is. β is added, so its derivative is one for every instance.
        Its gradient is the plain sum of the upstream gradients."""),
    *in_parameters("averaged", lambda t, g: g.sum(axis=0) / t.n, r"= \frac1B\sum_i G_i u_i")("""
        dγ is averaged over the batch, not summed. γ acts on every instance, and the effects add up.
        If the loss is a mean over the batch, the factor 1/B is in G already.

        dγ and dβ are averaged over the batch, not summed. Both parameters act on every instance,
        and the effects add up. If the loss is a mean over the batch, the factor 1/B is in G
        already."""),
    fault("all-gradients-averaged", **changed(lambda t, g: g / t.n, "dgamma", "dbeta", "dz"))(
        rf"{DZ} = \frac{{1}}{{B}}\frac{{\gamma}}{{s}}{PROJECTED}", CLOSED
    )("""all three gradients are divided by the batch size. The backward pass takes G as it is given
        and must not average it again. The mean over the batch belongs to the loss."""),
    *in_parameters("times-b", lambda t, g: g.sum(axis=0) * t.n, r"= B\sum_i G_i u_i")("""
        dγ is multiplied by the batch size. The gradient of γ is the sum over the batch as it is. A
        factor B does not belong to it, even if G holds a mean over the batch.

        dγ and dβ are multiplied by the batch size. The sums over the batch are the gradients as
        they are. A factor B does not belong to them, even if G holds a mean over the batch."""),
    fault("all-gradients-times-b", **changed(lambda t, g: g * t.n, "dgamma", "dbeta", "dz"))(
        rf"{DZ} = B\,\frac{{\gamma}}{{s}}{PROJECTED}", CLOSED
    )("""all three gradients are multiplied by the batch size. The backward pass takes G as it is
        given and must not scale it. What the loss divides by is no business of the layer."""),
    *in_parameters("scalar", lambda t, g: g.sum(), r"= \sum_{i,c} G_{ic} u_{ic}")("""
        dγ is summed over all axes, giving one number for all features. Each feature has a γ of its
        own, so the sum runs over the batch alone. Give the sum its axis.

        dγ and dβ are summed over all axes, giving one number each. Each feature has parameters of
        its own, so the sums run over the batch alone. Give both sums their axis."""),
    *in_parameters("not-summed", in_shape, "= G_i u_i")("""dγ is not summed over the batch. This is
        one instance's contribution, and γ is shared by all of them. The gradient is the sum of the
        contributions, in the shape of γ.

        dγ and dβ are not summed over the batch. These are one instance's contributions, as a
        derivation for one instance gives them. The parameters are shared, so their gradients are
        the sums over the batch."""),
    fault("gamma-gradient-from-input", dgamma=lambda t: (t.g * t.z).sum(axis=0))(
        r"= \sum_i G_i z_i"
    )("""dγ is weighted with the input z in place of u. γ multiplies the normalised value, not the
        input. Keep u from the forward pass."""),
    fault("gamma-gradient-from-centred-input", dgamma=lambda t: (t.g * t.centred).sum(axis=0))(
        r"= \sum_i G_i (z_i-\mu_B)"
    )("""dγ is weighted with z − μ in place of u. γ multiplies the value after centring and scaling.
        The division by √(σ²+ε) is missing."""),
    fault("gamma-gradient-from-output", dgamma=lambda t: (t.g * t.y).sum(axis=0))(
        r"= \sum_i G_i \hat z_i"
    )("""dγ is weighted with the output ẑ in place of u. γ multiplies u, the value before scaling
        and shifting. With γ at one and β at zero the two are the same."""),
    note(4)("gamma-gradient-from-du", dgamma=lambda t: (t.du * t.u).sum(axis=0))(
        r"= \sum_i \gamma G_i u_i"
    )("""dγ is taken from ∂Div/∂u in place of G. The gradient of γ uses the upstream gradient as it
        arrives. Multiplied by γ it is the gradient with respect to u."""),
    note(4)("beta-gradient-from-du", dbeta=lambda t: t.du.sum(axis=0))(r"= \sum_i \gamma G_i")("""
        dβ is taken from ∂Div/∂u in place of G. β is added after the scaling, so γ does not touch
        its gradient. Sum the upstream gradient as it arrives."""),
    fault(
        "activation-derivative-for-gamma",
        du=lambda t: t.g * ((f := 1 / (1 + np.exp(-t.y))) * (1 - f)),
    )(r"= f'(\hat z_i) G_i")("""∂Div/∂u is G times the activation's derivative, in place of γ. From
        u to ẑ there is only the scaling by γ. The activation comes after ẑ, and its derivative is
        in G already."""),
    fault("gamma-left-out", du=lambda t: t.g)("= G_i")("""γ is left out of the input gradient. The
        output is γu + β, so the gradient with respect to u is γ times the upstream one. With γ at
        one the omission cannot be seen."""),
    fault("gamma-applied-twice", du=lambda t: t.gamma**2 * t.g)(r"= \gamma^2 G_i")("""
        γ is applied twice in the input gradient. γ enters once, on the way from ẑ to u. A formula
        in terms of ∂Div/∂u must not multiply by it again."""),
    fault("gamma-missing-in-direct-route", dz=lambda t: t.g / t.s + routes(t, direct=0.0))(
        f"= {OVER_S} G_i + {BY_VAR}+{BY_MEAN}"
    )("""γ is missing from the direct route. All three routes start from ∂Div/∂u, which is γ times
        G. Here the direct one starts from G."""),
    note(5)("gamma-missing-in-variance-route", dvar=lambda t: _dvar(t, t.g, t.s**-3))(
        r"= -\frac12(\sigma_B^2+\epsilon)^{-3/2}\sum_i G_i(z_i-\mu_B)"
    )("""γ is missing from the variance route. All three routes start from ∂Div/∂u, which is γ times
        G. Here the one through the variance starts from G."""),
    note(5)("gamma-missing-in-mean-route", dmean=lambda t: -(t.g / t.s).sum(axis=0))(
        rf"= -{OVER_S}\sum_i G_i"
    )("""γ is missing from the mean route. All three routes start from ∂Div/∂u, which is γ times G.
        Here the one through the mean starts from G."""),
    signed("variance-route-missing", variance=0, kind=steep)("""the variance route is left out of
        the input gradient. Every input moves the batch variance, and with it every output. That
        route makes the gradient along u almost vanish."""),
    signed("mean-route-missing", mean=0, kind=lopsided)("""the mean route is left out of the input
        gradient. Every input moves the batch mean, and with it every output. That route makes the
        gradients of a feature sum to zero."""),
    signed("statistics-constant", variance=0, mean=0)("""mean and variance are treated as constants.
        In training the statistics are functions of the whole batch, so the gradient flows through
        them as well. Only at inference are they constants."""),
    signed("direct-route-missing", direct=0)("""the direct route is left out of the input gradient.
        An input also moves its own normalised value, with the statistics held fixed. That is the
        largest of the three contributions."""),
    signed("variance-route-sign", variance=-1)("""the variance route has the wrong sign. A larger
        variance makes every |u| smaller, which is where the minus in ∂Div/∂σ² comes from. Lost or
        applied twice, it turns this route around."""),
    signed("mean-route-sign", mean=-1, kind=lopsided)("""the mean route has the wrong sign. The mean
        is subtracted, so ∂Div/∂μ has a minus. Lost or applied twice, it turns this route
        around."""),
    signed("input-gradient-sign", direct=-1, variance=-1, mean=-1)("""the input gradient has the
        opposite sign. The backward pass returns the gradient itself. The minus of gradient descent
        belongs to the optimiser."""),
    note(3)("factor-two-missing", dz=lambda t: routes(t, variance=0.5))(
        VAR_BY_Z + r" = \frac{z_i-\mu_B}{B}", SQUARE
    )("""the derivative of the square lacks its factor two. The derivative of a square is twice its
        base. Without the two, the variance route counts half."""),
    note(3)("factor-half-missing", dz=lambda t: routes(t, variance=2.0))(
        U_BY_VAR + r" = -(z_i-\mu_B)(\sigma_B^2+\epsilon)^{-3/2}",
        U_BY_VAR + r" = -\frac12(z_i-\mu_B)(\sigma_B^2+\epsilon)^{-3/2}",
    )("""the derivative of the inverse root lacks its factor one half. The derivative of the power
        −1/2 brings its exponent down as a factor. Without it, the variance route counts twice."""),
    _power("exponent-minus-one-half", r"(\sigma_B^2+\epsilon)^{-1/2}", lambda t: 1 / t.s)("""
        the exponent in ∂Div/∂σ² is −1/2 in place of −3/2. Differentiating lowers the exponent by
        one, from −1/2 to −3/2. The closed form shows the same error when both factors u of its last
        term are z − μ."""),
    _power("exponent-minus-one", r"(\sigma_B^2+\epsilon)^{-1}", lambda t: t.s**-2)("""
        the exponent in ∂Div/∂σ² is −1 in place of −3/2. With z − μ in the sum the exponent is −3/2,
        and with u in its place it is −1. The closed form shows the same error when one factor u of
        its last term is z − μ."""),
    fault("eps-missing-in-direct-route", dz=_direct_without_eps)(
        rf"= \frac{{1}}{{\sqrt{{\sigma_B^2}}}}{DU} + {BY_VAR} + {BY_MEAN}"
    )("""ε is missing from the direct route. The derivative has the same denominator √(σ²+ε) as the
        forward pass. Without ε a constant feature gives NaN."""),
    _power("eps-missing-in-variance-route", r"(\sigma_B^2)^{-3/2}", lambda t: t.var**-1.5)("""
        ε is missing from the variance route. The derivative has the same σ² + ε as the forward
        pass. Without ε a constant feature gives NaN."""),
    fault("eps-missing-in-mean-route", dmean=lambda t: -t.du.sum(axis=0) / np.sqrt(t.var))(
        r"= -\frac{1}{\sqrt{\sigma_B^2}}\sum_i" + DU
    )("""ε is missing from the mean route. The derivative has the same denominator √(σ²+ε) as the
        forward pass. Without ε a constant feature gives NaN."""),
    note(5)(
        "eps-missing-in-input-gradient",
        dvar=lambda t: _dvar(t, t.du, t.var**-1.5),
        dmean=lambda t: -t.du.sum(axis=0) / np.sqrt(t.var),
        dz=_direct_without_eps,
    )(DZ + r" = \frac{\gamma}{\sqrt{\sigma_B^2}}\left(G_i - \ldots\right)", CLOSED)("""
        ε is missing from all routes of the input gradient. The backward pass differentiates the
        forward pass as it is, with ε. Keep the denominator of the forward pass and use it
        again."""),
    _power("eps-sign", r"(\sigma_B^2-\epsilon)^{-3/2}", lambda t: (t.var - t.eps) ** -1.5)("""
        ε has the wrong sign in the variance route. ε is added to the variance, in the derivative as
        in the forward pass. Subtracted, it gives NaN as soon as the variance is below ε."""),
    fault(
        "direct-term-counted-twice",
        dvar=lambda t: _own_variance_term(t).sum(axis=0) + _own_variance_term(t),
    )(f"= {VIA_VAR} + {DU}{U_BY_VAR}", f"= {VIA_VAR}")("""∂Div/∂σ² is the sum over the batch plus a
        direct term. The sum over the whole batch has the instance's own term in it. Adding that
        term once more counts it twice."""),
    fault("variance-route-not-summed", dvar=_own_variance_term)(
        r"= -\frac12(\sigma_B^2+\epsilon)^{-3/2}" + DU + r"(z_i-\mu_B)"
    )("""∂Div/∂σ² is not summed over the batch. The variance influences every u in the batch, so the
        effects add up. Here each instance sees its own effect alone."""),
    lopsided("mean-route-not-summed", dmean=lambda t: -t.du / t.s)(f"= -{OVER_S}{DU}")("""
        ∂Div/∂μ is not summed over the batch. The mean influences every u in the batch, so the
        effects add up. Here each instance sees its own effect alone."""),
    note(11)("diagonal-jacobian", dz=lambda t: t.du / t.s * (1 - 1 / t.n - t.u**2 / t.n))(
        r"= \frac{\gamma}{s}\left(1 - \frac1B - \frac{u_i^2}{B}\right)G_i", CLOSED
    )("""only the diagonal of the Jacobian is kept. Batch norm is a vector function of the batch,
        and its Jacobian is dense over the instances. The diagonal has only the influence of each on
        itself."""),
    divided_by("divides-by-features", "C", lambda t: t.z.shape[1])("""the input gradient divides by
        the number of features. Mean and variance run over the batch, so B is in their derivatives.
        The number of features is the other entry of the shape."""),
    divided_by("divides-by-b-minus-1", "B-1", lambda t: t.less_one, note(7))("""
        the input gradient divides by B − 1. The forward pass divides both statistics by B, and so
        must their derivatives. Bessel's correction has no place here."""),
    note(7)("variance-route-over-b-minus-1", dz=lambda t: routes(t, variance=t.bessel))(
        VAR_BY_Z + r" = \frac{2(z_i-\mu_B)}{B-1}", SQUARE
    )("""the variance route divides by B − 1. The forward pass divides the squares by B, and so must
        the derivative. Bessel's correction has no place here."""),
    fault("variance-route-not-divided", dz=lambda t: routes(t, variance=t.n))(
        VAR_BY_Z + r" = 2(z_i-\mu_B)", SQUARE
    )("""the variance route is not divided by B. The variance is a mean over the batch, so one
        instance moves it by a B-th part. In the closed form it is the product with u that must be a
        mean."""),
    lopsided("mean-route-not-divided", dz=lambda t: routes(t, mean=t.n))(
        MEAN_BY_Z + " = 1", MEAN_BY_Z + r" = \frac1B"
    )("""the mean route is not divided by B. The mean moves by a B-th part of what one instance
        does. In the closed form it is the subtracted sum of G that must be a mean."""),
    divided_by("routes-not-divided", "", lambda t: 1)("""neither the variance route nor the mean
        route is divided by B. Both statistics are means over the batch, so one instance moves them
        by a B-th part. Divide both routes by the batch size."""),
    note(6)(
        "slipped-labels",
        dvar=STEPS["dmean"],
        dmean=lambda t: (t.du / t.s + t.dvar * 2 * t.centred / t.n).sum(axis=0),
    )(
        r"\frac{\partial\ell}{\partial\sigma_B^2} = "
        r"\sum_i\frac{\partial\ell}{\partial\hat x_i}\frac{-1}{\sqrt{\sigma_B^2+\epsilon}}",
        right("dvar", "dmean"),
    )("""the labels of the copied chain have slipped by one line. The line that is headed σ² is the
        paper's equation for μ, and the one headed μ is its equation for the input. The equation for
        σ², with the exponent −3/2, was skipped."""),
    note(6)("variance-gradient-from-mean-equation", dvar=STEPS["dmean"])(
        rf"= -{OVER_S}\sum_i{DU}"
    )("""∂Div/∂σ² is computed by the equation of ∂Div/∂μ. The equation under this heading belongs to
        the mean. The one for the variance has z − μ in the sum and the exponent −3/2."""),
    compact("compact-without-one-over-n", dz=lambda t: t.n * routes(t))(
        r"= \frac{\gamma}{s}\left(B G_i - \sum_j G_j - u_i\sum_j G_j u_j\right)"
    )("""the compact formula is multiplied by B. The form with B inside the parentheses has the
        factor 1/B in front. It was lost on the way."""),
    compact("input-gradient-averaged", dz=lambda t: routes(t) / t.n)(
        r"= \frac{\gamma}{B s}" + PROJECTED
    )("""the input gradient alone is divided by the batch size. The factor 1/B stands before the
        parentheses or inside them, not in both places. If the loss is a mean over the batch, its
        1/B is in G already."""),
    compact("compact-without-root", dz=lambda t: closed_form(t) * t.s)(r"= \gamma" + PROJECTED)("""
        the compact formula lacks the division by the root. The whole parenthesis is divided by
        √(σ²+ε). For a variance near one the omission is easily missed."""),
    compact("compact-divides-by-variance", dz=lambda t: closed_form(t) / t.s)(
        r"= \frac{\gamma}{\sigma_B^2+\epsilon}" + PROJECTED
    )("""the compact formula divides by the variance, without the root. The parenthesis is divided
        by the standard deviation √(σ²+ε). For a variance near one the slip is easily missed."""),
    Kind(None, CLOSED, "note-12", "backward.zero_gradient_sum")(
        "projection-without-factor",
        dz=lambda t: (t.du - t.du.mean(axis=0) - (t.du * t.u).mean(axis=0)) / t.s,
    )(r"= \frac{\gamma}{s}\left(G_i - \frac1B\sum_j G_j - \frac{1}{B}\sum_j G_j u_j\right)")("""
        the last term of the compact formula lacks its factor u. The projection is a multiple of u,
        so each instance has its own share of it. Without the factor u the same number is subtracted
        from all."""),
    Kind(right=CLOSED, anchor="real-backward")(
        "backward-uses-running-variance",
        dz=lambda t: closed_form(t) * t.s / np.sqrt(t.running_var + t.eps),
    )(r"= \frac{\gamma}{\sqrt{V+\epsilon}}" + PROJECTED)("""the backward pass divides by the root of
        the running variance. The backward pass belongs to the training step, which divided by the
        batch's own root. Keep that denominator from the forward pass."""),
)
