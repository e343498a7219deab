"""Mistakes in the gradients: of the parameters, and of the input."""

from __future__ import annotations

import numpy as np

from bn_diagnosis.faults.combining import changed, divided_by, in_parameters
from bn_diagnosis.faults.fault import Fault, Kind, fault, note
from bn_diagnosis.formulas import RIGHT

DIRECT, BY_VAR, BY_MEAN = "du / s", "2 * centred / n * dvar", "dmean / n"
OWN_IN_VAR = "-1/2 * du * centred / s**3"
IN_VAR = "-1/2 * Sum(du * centred)"
PROJECTED = "(du - Sum(du) / n - u / n * Sum(du * u))"
CLOSED = f"{PROJECTED} / s"
"""The input gradient in closed form."""

compact = Kind(form=CLOSED, anchor="note-12")
lopsided = Kind(killed_by="backward.zero_gradient_sum")
steep = Kind(killed_by="backward.normalised_identity")

FAULTS: tuple[Fault, ...] = (
    fault("swapped-parameter-gradients", dgamma=RIGHT["dbeta"], dbeta=RIGHT["dgamma"])("""
        dγ and dβ are swapped. γ multiplies u, so u is in the gradient of γ. Check the order in
        which the two are computed, assigned and returned."""),
    fault("beta-gradient-for-gamma", dgamma=RIGHT["dbeta"])("""dγ is the plain sum of G, as dβ is. γ
        multiplies u, so each upstream gradient is weighted with its u. Without the weights the two
        gradients are the same."""),
    fault("gamma-gradient-for-beta", dbeta=RIGHT["dgamma"])("""dβ is weighted with u, as dγ is. β is
        added, so its derivative is one for every instance. Its gradient is the plain sum of the
        upstream gradients."""),
    *in_parameters("averaged", "Mean(each)")("""dγ is averaged over the batch, not summed. γ acts on
        every instance, and the effects add up. If the loss is a mean over the batch, the factor 1/B
        is in G already.

        dγ and dβ are averaged over the batch, not summed. Both parameters act on every instance,
        and the effects add up. If the loss is a mean over the batch, the factor 1/B is in G
        already."""),
    fault("all-gradients-averaged", **changed("each / n", "dgamma", "dbeta", "dz"))("""all three
        gradients are divided by the batch size. The backward pass takes G as it is given and must
        not average it again. The mean over the batch belongs to the loss."""),
    *in_parameters("times-b", "n * Sum(each)")("""dγ is multiplied by the batch size. The gradient
        of γ is the sum over the batch as it is. A factor B does not belong to it, even if G holds a
        mean over the batch.

        dγ and dβ are multiplied by the batch size. The sums over the batch are the gradients as
        they are. A factor B does not belong to them, even if G holds a mean over the batch."""),
    fault("all-gradients-times-b", **changed("n * each", "dgamma", "dbeta", "dz"))("""all three
        gradients are multiplied by the batch size. The backward pass takes G as it is given and
        must not scale it. What the loss divides by is no business of the layer."""),
    *in_parameters("scalar", "Sum(each, all)")("""dγ is summed over all axes, giving one number for
        all features. Each feature has a γ of its own, so the sum runs over the batch alone. Give
        the sum its axis.

        dγ and dβ are summed over all axes, giving one number each. Each feature has parameters of
        its own, so the sums run over the batch alone. Give both sums their axis."""),
    *in_parameters("not-summed", "each")("""dγ is not summed over the batch. This is one instance's
        contribution, and γ is shared by all of them. The gradient is the sum of the contributions,
        in the shape of γ.

        dγ and dβ are not summed over the batch. These are one instance's contributions, as a
        derivation for one instance gives them. The parameters are shared, so their gradients are
        the sums over the batch."""),
    fault("gamma-gradient-from-input", dgamma="Sum(g * z)")("""dγ is weighted with the input z in
        place of u. γ multiplies the normalised value, not the input. Keep u from the forward
        pass."""),
    fault("gamma-gradient-from-centred-input", dgamma="Sum(g * centred)")("""dγ is weighted with z −
        μ in place of u. γ multiplies the value after centring and scaling. The division by √(σ²+ε)
        is missing."""),
    fault("gamma-gradient-from-output", dgamma="Sum(g * out)")("""dγ is weighted with the output ẑ
        in place of u. γ multiplies u, the value before scaling and shifting. With γ at one and β at
        zero the two are the same."""),
    note(4)("gamma-gradient-from-du", dgamma="Sum(du * u)")("""dγ is taken from ∂Div/∂u in place of
        G. The gradient of γ uses the upstream gradient as it arrives. Multiplied by γ it is the
        gradient with respect to u."""),
    note(4)("beta-gradient-from-du", dbeta="Sum(du)")("""dβ is taken from ∂Div/∂u in place of G. β
        is added after the scaling, so γ does not touch its gradient. Sum the upstream gradient as
        it arrives."""),
    fault.coded(
        "activation-derivative-for-gamma",
        du=lambda t: t.g * ((f := 1 / (1 + np.exp(-t.y))) * (1 - f)),
    )(r"= f'(\hat z_i) G_i")("""∂Div/∂u is G times the activation's derivative, in place of γ. From
        u to ẑ there is only the scaling by γ. The activation comes after ẑ, and its derivative is
        in G already."""),
    fault("gamma-left-out", du="g")("""γ is left out of the input gradient. The output is γu + β, so
        the gradient with respect to u is γ times the upstream one. With γ at one the omission
        cannot be seen."""),
    fault("gamma-applied-twice", du="gamma**2 * g")("""γ is applied twice in the input gradient. γ
        enters once, on the way from ẑ to u. A formula in terms of ∂Div/∂u must not multiply by it
        again."""),
    fault("gamma-missing-in-direct-route", dz=f"g / s + {BY_VAR} + {BY_MEAN}")("""γ is missing from
        the direct route. All three routes start from ∂Div/∂u, which is γ times G. Here the direct
        one starts from G."""),
    note(5)("gamma-missing-in-variance-route", dvar="-1/2 * Sum(g * centred) / s**3")("""
        γ is missing from the variance route. All three routes start from ∂Div/∂u, which is γ times
        G. Here the one through the variance starts from G."""),
    note(5)("gamma-missing-in-mean-route", dmean="-Sum(g) / s")("""γ is missing from the mean route.
        All three routes start from ∂Div/∂u, which is γ times G. Here the one through the mean
        starts from G."""),
    steep("variance-route-missing", dz=f"{DIRECT} + {BY_MEAN}")("""the variance route is left out of
        the input gradient. Every input moves the batch variance, and with it every output. That
        route makes the gradient along u almost vanish."""),
    lopsided("mean-route-missing", dz=f"{DIRECT} + {BY_VAR}")("""the mean route is left out of the
        input gradient. Every input moves the batch mean, and with it every output. That route makes
        the gradients of a feature sum to zero."""),
    fault("statistics-constant", dz=DIRECT)("""mean and variance are treated as constants. In
        training the statistics are functions of the whole batch, so the gradient flows through them
        as well. Only at inference are they constants."""),
    fault("direct-route-missing", dz=f"{BY_VAR} + {BY_MEAN}")("""the direct route is left out of the
        input gradient. An input also moves its own normalised value, with the statistics held
        fixed. That is the largest of the three contributions."""),
    fault("variance-route-sign", dz=f"{DIRECT} - {BY_VAR} + {BY_MEAN}")("""the variance route has
        the wrong sign. A larger variance makes every |u| smaller, which is where the minus in
        ∂Div/∂σ² comes from. Lost or applied twice, it turns this route around."""),
    lopsided("mean-route-sign", dz=f"{DIRECT} + {BY_VAR} - {BY_MEAN}")("""the mean route has the
        wrong sign. The mean is subtracted, so ∂Div/∂μ has a minus. Lost or applied twice, it turns
        this route around."""),
    fault("input-gradient-sign", dz=f"-{DIRECT} - {BY_VAR} - {BY_MEAN}")("""the input gradient has
        the opposite sign. The backward pass returns the gradient itself. The minus of gradient
        descent belongs to the optimiser."""),
    note(3)("factor-two-missing", dz=f"{DIRECT} + centred / n * dvar + {BY_MEAN}")("""the derivative
        of the square lacks its factor two. The derivative of a square is twice its base. Without
        the two, the variance route counts half."""),
    note(3)("factor-half-missing", dvar="-Sum(du * centred) / s**3")("""the derivative of the
        inverse root lacks its factor one half. The derivative of the power −1/2 brings its exponent
        down as a factor. Without it, the variance route counts twice."""),
    fault("exponent-minus-one-half", dvar=f"{IN_VAR} / s")("""the exponent in ∂Div/∂σ² is −1/2 in
        place of −3/2. Differentiating lowers the exponent by one, from −1/2 to −3/2. The closed
        form shows the same error when both factors u of its last term are z − μ."""),
    fault("exponent-minus-one", dvar=f"{IN_VAR} / s**2")("""the exponent in ∂Div/∂σ² is −1 in place
        of −3/2. With z − μ in the sum the exponent is −3/2, and with u in its place it is −1. The
        closed form shows the same error when one factor u of its last term is z − μ."""),
    fault("eps-missing-in-direct-route", dz=f"du / sqrt(var) + {BY_VAR} + {BY_MEAN}")("""
        ε is missing from the direct route. The derivative has the same denominator √(σ²+ε) as the
        forward pass. Without ε a constant feature gives NaN."""),
    fault("eps-missing-in-variance-route", dvar=f"{IN_VAR} * var**(-3/2)")("""ε is missing from the
        variance route. The derivative has the same σ² + ε as the forward pass. Without ε a constant
        feature gives NaN."""),
    fault("eps-missing-in-mean-route", dmean="-Sum(du) / sqrt(var)")("""ε is missing from the mean
        route. The derivative has the same denominator √(σ²+ε) as the forward pass. Without ε a
        constant feature gives NaN."""),
    note(5)(
        "eps-missing-in-input-gradient",
        dvar=f"{IN_VAR} * var**(-3/2)",
        dmean="-Sum(du) / sqrt(var)",
        dz=f"du / sqrt(var) + {BY_VAR} + {BY_MEAN}",
    )("""ε is missing from all routes of the input gradient. The backward pass differentiates the
        forward pass as it is, with ε. Keep the denominator of the forward pass and use it
        again."""),
    fault("eps-sign", dvar=f"{IN_VAR} * (var - eps)**(-3/2)")("""ε has the wrong sign in the
        variance route. ε is added to the variance, in the derivative as in the forward pass.
        Subtracted, it gives NaN as soon as the variance is below ε."""),
    fault("direct-term-counted-twice", dvar=f"{IN_VAR} / s**3 + {OWN_IN_VAR}")("""∂Div/∂σ² is the
        sum over the batch plus a direct term. The sum over the whole batch has the instance's own
        term in it. Adding that term once more counts it twice."""),
    fault("variance-route-not-summed", dvar=OWN_IN_VAR)("""∂Div/∂σ² is not summed over the batch.
        The variance influences every u in the batch, so the effects add up. Here each instance sees
        its own effect alone."""),
    lopsided("mean-route-not-summed", dmean="-du / s")("""∂Div/∂μ is not summed over the batch. The
        mean influences every u in the batch, so the effects add up. Here each instance sees its own
        effect alone."""),
    Kind(form=CLOSED, anchor="note-11")(
        "diagonal-jacobian", dz="du / s * (1 - 1 / n - u**2 / n)"
    )("""only the diagonal of the Jacobian is kept. Batch norm is a vector function of the batch,
        and its Jacobian is dense over the instances. The diagonal has only the influence of each on
        itself."""),
    divided_by("divides-by-features", "features")("""the input gradient divides by the number of
        features. Mean and variance run over the batch, so B is in their derivatives. The number of
        features is the other entry of the shape."""),
    divided_by("divides-by-b-minus-1", "less_one", note(7))("""the input gradient divides by B − 1.
        The forward pass divides both statistics by B, and so must their derivatives. Bessel's
        correction has no place here."""),
    note(7)(
        "variance-route-over-b-minus-1",
        dz=f"{DIRECT} + 2 * centred / less_one * dvar + {BY_MEAN}",
    )("""the variance route divides by B − 1. The forward pass divides the squares by B, and so must
        the derivative. Bessel's correction has no place here."""),
    fault("variance-route-not-divided", dz=f"{DIRECT} + 2 * centred * dvar + {BY_MEAN}")("""
        the variance route is not divided by B. The variance is a mean over the batch, so one
        instance moves it by a B-th part. In the closed form it is the product with u that must be a
        mean."""),
    lopsided("mean-route-not-divided", dz=f"{DIRECT} + {BY_VAR} + dmean")("""the mean route is not
        divided by B. The mean moves by a B-th part of what one instance does. In the closed form it
        is the subtracted sum of G that must be a mean."""),
    divided_by("routes-not-divided", "1")("""neither the variance route nor the mean route is
        divided by B. Both statistics are means over the batch, so one instance moves them by a B-th
        part. Divide both routes by the batch size."""),
    note(6)("slipped-labels", dvar=RIGHT["dmean"], dmean=f"Sum({DIRECT} + {BY_VAR})")("""
        the labels of the copied chain have slipped by one line. The line that is headed σ² is the
        paper's equation for μ, and the one headed μ is its equation for the input. The equation for
        σ², with the exponent −3/2, was skipped."""),
    note(6)("variance-gradient-from-mean-equation", dvar=RIGHT["dmean"])("""∂Div/∂σ² is computed by
        the equation of ∂Div/∂μ. The equation under this heading belongs to the mean. The one for
        the variance has z − μ in the sum and the exponent −3/2."""),
    Kind(form="(n * du - Sum(du) - u * Sum(du * u)) / (n * s)", anchor="note-12")(
        "compact-without-one-over-n", dz="(n * du - Sum(du) - u * Sum(du * u)) / s"
    )("""the compact formula is multiplied by B. The form with B inside the parentheses has the
        factor 1/B in front. It was lost on the way."""),
    Kind(anchor="note-12")("input-gradient-averaged", **changed("each / n", "dz"))("""the input
        gradient alone is divided by the batch size. The factor 1/B stands before the parentheses or
        inside them, not in both places. If the loss is a mean over the batch, its 1/B is in G
        already."""),
    compact("compact-without-root", dz=PROJECTED)("""the compact formula lacks the division by the
        root. The whole parenthesis is divided by √(σ²+ε). For a variance near one the omission is
        easily missed."""),
    compact("compact-divides-by-variance", dz=f"{PROJECTED} / s**2")("""the compact formula divides
        by the variance, without the root. The parenthesis is divided by the standard deviation
        √(σ²+ε). For a variance near one the slip is easily missed."""),
    Kind(form=CLOSED, anchor="note-12", killed_by="backward.zero_gradient_sum")(
        "projection-without-factor", dz="(du - Sum(du) / n - Sum(du * u) / n) / s"
    )("""the last term of the compact formula lacks its factor u. The projection is a multiple of u,
        so each instance has its own share of it. Without the factor u the same number is subtracted
        from all."""),
    Kind(form=CLOSED, anchor="real-backward")(
        "backward-uses-running-variance", dz=f"{PROJECTED} / sqrt(old_var + eps)"
    )("""the backward pass divides by the root of the running variance. The backward pass belongs to
        the training step, which divided by the batch's own root. Keep that denominator from the
        forward pass."""),
)
