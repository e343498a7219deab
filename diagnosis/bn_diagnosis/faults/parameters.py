"""Mistakes in the gradients of γ and β."""

from __future__ import annotations

from bn_oracle.arrays import Array

from bn_diagnosis.faults.combining import Steps, in_parameters
from bn_diagnosis.faults.common import centred, in_shape, routes
from bn_diagnosis.faults.fault import Fault, fault
from bn_diagnosis.faults.statements import BETA_IS, CLOSED, DZ_IS, GAMMA_IS, right
from bn_diagnosis.formulas import Trace


def _dgamma(t: Trace) -> Array:
    result: Array = (t.g * t.u).sum(axis=0)
    return result


def _dbeta(t: Trace) -> Array:
    result: Array = t.g.sum(axis=0)
    return result


_AVERAGED: Steps = {
    "dgamma": lambda t: _dgamma(t) / t.n,
    "dbeta": lambda t: _dbeta(t) / t.n,
    "dz": lambda t: routes(t) / t.n,
}
_TIMES_B: Steps = {
    "dgamma": lambda t: _dgamma(t) * t.n,
    "dbeta": lambda t: _dbeta(t) * t.n,
    "dz": lambda t: routes(t) * t.n,
}

FAULTS: tuple[Fault, ...] = (
    fault("swapped-parameter-gradients", {"dgamma": _dbeta, "dbeta": _dgamma})(
        "dγ and dβ are swapped",
        GAMMA_IS + r"\sum_i G_i, \quad " + BETA_IS + r"\sum_i G_i u_i",
        "γ multiplies u, so u is in the gradient of γ. Check the order in which the two are "
        "computed, assigned and returned.",
        right=right("dgamma", "dbeta"),
    ),
    fault("beta-gradient-for-gamma", {"dgamma": _dbeta})(
        "dγ is the plain sum of G, as dβ is",
        GAMMA_IS + r"\sum_i G_i",
        "γ multiplies u, so each upstream gradient is weighted with its u. Without the weights "
        "the two gradients are the same.",
    ),
    fault("gamma-gradient-for-beta", {"dbeta": _dgamma})(
        "dβ is weighted with u, as dγ is",
        BETA_IS + r"\sum_i G_i u_i",
        "β is added, so its derivative is one for every instance. Its gradient is the plain sum "
        "of the upstream gradients.",
    ),
    *in_parameters(
        "averaged",
        "averaged over the batch, not summed",
        (GAMMA_IS + r"\frac1B\sum_i G_i u_i", BETA_IS + r"\frac1B\sum_i G_i"),
        (_AVERAGED["dgamma"], _AVERAGED["dbeta"]),
        (
            "γ acts on every instance, and the effects add up. If the loss is a mean over the "
            "batch, the factor 1/B is in G already.",
            "β acts on every instance, and the effects add up. If the loss is a mean over the "
            "batch, the factor 1/B is in G already.",
            "Both parameters act on every instance, and the effects add up. If the loss is a mean "
            "over the batch, the factor 1/B is in G already.",
        ),
    ),
    fault("all-gradients-averaged", _AVERAGED)(
        "all three gradients are divided by the batch size",
        DZ_IS + r"\frac{1}{B}\frac{\gamma}{s}"
        r"\left(G_i - \frac1B\sum_j G_j - \frac{u_i}{B}\sum_j G_j u_j\right)",
        "The backward pass takes G as it is given and must not average it again. The mean over "
        "the batch belongs to the loss.",
        right=CLOSED,
    ),
    *in_parameters(
        "times-b",
        "multiplied by the batch size",
        (GAMMA_IS + r"B\sum_i G_i u_i", BETA_IS + r"B\sum_i G_i"),
        (_TIMES_B["dgamma"], _TIMES_B["dbeta"]),
        (
            "The gradient of γ is the sum over the batch as it is. A factor B does not belong to "
            "it, even if G holds a mean over the batch.",
            "The gradient of β is the sum over the batch as it is. A factor B does not belong to "
            "it, even if G holds a mean over the batch.",
            "The sums over the batch are the gradients as they are. A factor B does not belong to "
            "them, even if G holds a mean over the batch.",
        ),
    ),
    fault("all-gradients-times-b", _TIMES_B)(
        "all three gradients are multiplied by the batch size",
        DZ_IS + r"B\,\frac{\gamma}{s}"
        r"\left(G_i - \frac1B\sum_j G_j - \frac{u_i}{B}\sum_j G_j u_j\right)",
        "The backward pass takes G as it is given and must not scale it. What the loss divides by "
        "is no business of the layer.",
        right=CLOSED,
    ),
    *in_parameters(
        "scalar",
        "summed over all axes, giving one number for all features",
        (GAMMA_IS + r"\sum_{i,c} G_{ic} u_{ic}", BETA_IS + r"\sum_{i,c} G_{ic}"),
        (lambda t: (t.g * t.u).sum(), lambda t: t.g.sum()),
        (
            "Each feature has a γ of its own, so the sum runs over the batch alone. Give the sum "
            "its axis.",
            "Each feature has a β of its own, so the sum runs over the batch alone. Give the sum "
            "its axis.",
            "Each feature has parameters of its own, so the sums run over the batch alone. Give "
            "both sums their axis.",
        ),
        together="summed over all axes, giving one number each",
    ),
    *in_parameters(
        "not-summed",
        "not summed over the batch",
        (GAMMA_IS + "G_i u_i", BETA_IS + "G_i"),
        (lambda t: in_shape(t, t.g * t.u), lambda t: in_shape(t, t.g)),
        (
            "This is one instance's contribution, and γ is shared by all of them. The gradient is "
            "the sum of the contributions, in the shape of γ.",
            "This is one instance's contribution, and β is shared by all of them. The gradient is "
            "the sum of the contributions, in the shape of β.",
            "These are one instance's contributions, as a derivation for one instance gives them. "
            "The parameters are shared, so their gradients are the sums over the batch.",
        ),
    ),
    fault("gamma-gradient-from-input", {"dgamma": lambda t: (t.g * t.z).sum(axis=0)})(
        "dγ is weighted with the input z in place of u",
        GAMMA_IS + r"\sum_i G_i z_i",
        "γ multiplies the normalised value, not the input. Keep u from the forward pass.",
    ),
    fault(
        "gamma-gradient-from-centred-input", {"dgamma": lambda t: (t.g * centred(t)).sum(axis=0)}
    )(
        "dγ is weighted with z − μ in place of u",
        GAMMA_IS + r"\sum_i G_i (z_i-\mu_B)",
        "γ multiplies the value after centring and scaling. The division by √(σ²+ε) is missing.",
    ),
    fault("gamma-gradient-from-output", {"dgamma": lambda t: (t.g * t.y).sum(axis=0)})(
        "dγ is weighted with the output ẑ in place of u",
        GAMMA_IS + r"\sum_i G_i \hat z_i",
        "γ multiplies u, the value before scaling and shifting. With γ at one and β at zero the "
        "two are the same.",
    ),
    fault("gamma-gradient-from-du", {"dgamma": lambda t: (t.du * t.u).sum(axis=0)})(
        "dγ is taken from ∂Div/∂u in place of G",
        GAMMA_IS + r"\sum_i \gamma G_i u_i",
        "The gradient of γ uses the upstream gradient as it arrives. Multiplied by γ it is the "
        "gradient with respect to u.",
        anchor="note-4",
    ),
    fault("beta-gradient-from-du", {"dbeta": lambda t: t.du.sum(axis=0)})(
        "dβ is taken from ∂Div/∂u in place of G",
        BETA_IS + r"\sum_i \gamma G_i",
        "β is added after the scaling, so γ does not touch its gradient. Sum the upstream "
        "gradient as it arrives.",
        anchor="note-4",
    ),
)
"""The mistakes of this module."""
