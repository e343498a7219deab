"""Mistakes in the gradients of γ and β."""

from __future__ import annotations

from typing import Any

from bn_diagnosis.faults.common import BETA, CLOSED, GAMMA, centred, in_shape, routes
from bn_diagnosis.faults.fault import Fault
from bn_diagnosis.formulas import Trace

BOTH = GAMMA + r", \quad " + BETA


def _dgamma(t: Trace) -> Any:
    return (t.g * t.u).sum(axis=0)


def _dbeta(t: Trace) -> Any:
    return t.g.sum(axis=0)


FAULTS: tuple[Fault, ...] = (
    Fault(
        id="swapped-parameter-gradients",
        title="dγ and dβ are swapped",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\gamma} = \sum_i G_i, \quad "
        r"\frac{\partial Div}{\partial\beta} = \sum_i G_i u_i",
        right=BOTH,
        explanation="γ multiplies u, so u is in the gradient of γ. Check the order in which the "
        "two are computed, assigned and returned.",
        anchor="note-1",
        killed_by="backward.gamma_gradient",
        replaces={"dgamma": _dbeta, "dbeta": _dgamma},
    ),
    Fault(
        id="beta-gradient-for-gamma",
        title="dγ is the plain sum of G, as dβ is",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\gamma} = \sum_i G_i",
        right=GAMMA,
        explanation="γ multiplies u, so each upstream gradient is weighted with its u. Without the "
        "weights the two gradients are the same.",
        anchor="note-1",
        killed_by="backward.gamma_gradient",
        replaces={"dgamma": _dbeta},
    ),
    Fault(
        id="gamma-gradient-for-beta",
        title="dβ is weighted with u, as dγ is",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\beta} = \sum_i G_i u_i",
        right=BETA,
        explanation="β is added, so its derivative is one for every instance. Its gradient is the "
        "plain sum of the upstream gradients.",
        anchor="note-1",
        killed_by="backward.beta_gradient",
        replaces={"dbeta": _dgamma},
    ),
    Fault(
        id="gamma-gradient-averaged",
        title="dγ is averaged over the batch, not summed",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\gamma} = \frac1B\sum_i G_i u_i",
        right=GAMMA,
        explanation="γ acts on every instance, and the effects add up. If the loss is a mean over "
        "the batch, the factor 1/B is in G already.",
        anchor="note-1",
        killed_by="backward.gamma_gradient",
        replaces={"dgamma": lambda t: _dgamma(t) / t.n},
    ),
    Fault(
        id="beta-gradient-averaged",
        title="dβ is averaged over the batch, not summed",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\beta} = \frac1B\sum_i G_i",
        right=BETA,
        explanation="β acts on every instance, and the effects add up. If the loss is a mean over "
        "the batch, the factor 1/B is in G already.",
        anchor="note-1",
        killed_by="backward.beta_gradient",
        replaces={"dbeta": lambda t: _dbeta(t) / t.n},
    ),
    Fault(
        id="parameter-gradients-averaged",
        title="dγ and dβ are averaged over the batch, not summed",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\gamma} = \frac1B\sum_i G_i u_i, \quad "
        r"\frac{\partial Div}{\partial\beta} = \frac1B\sum_i G_i",
        right=BOTH,
        explanation="Both parameters act on every instance, and the effects add up. If the loss is "
        "a mean over the batch, the factor 1/B is in G already.",
        anchor="note-1",
        killed_by="backward.gamma_gradient",
        replaces={
            "dgamma": lambda t: _dgamma(t) / t.n,
            "dbeta": lambda t: _dbeta(t) / t.n,
        },
    ),
    Fault(
        id="all-gradients-averaged",
        title="all three gradients are divided by the batch size",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial z_i} = \frac{1}{B}\frac{\gamma}{s}"
        r"\left(G_i - \frac1B\sum_j G_j - \frac{u_i}{B}\sum_j G_j u_j\right)",
        right=CLOSED,
        explanation="The backward pass takes G as it is given and must not average it again. The "
        "mean over the batch belongs to the loss.",
        anchor="note-1",
        killed_by="backward.gamma_gradient",
        replaces={
            "dgamma": lambda t: _dgamma(t) / t.n,
            "dbeta": lambda t: _dbeta(t) / t.n,
            "dz": lambda t: routes(t) / t.n,
        },
    ),
    Fault(
        id="gamma-gradient-times-b",
        title="dγ is multiplied by the batch size",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\gamma} = B\sum_i G_i u_i",
        right=GAMMA,
        explanation="The gradient of γ is the sum over the batch as it is. A factor B does not "
        "belong to it, even if G holds a mean over the batch.",
        anchor="note-1",
        killed_by="backward.gamma_gradient",
        replaces={"dgamma": lambda t: _dgamma(t) * t.n},
    ),
    Fault(
        id="beta-gradient-times-b",
        title="dβ is multiplied by the batch size",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\beta} = B\sum_i G_i",
        right=BETA,
        explanation="The gradient of β is the sum over the batch as it is. A factor B does not "
        "belong to it, even if G holds a mean over the batch.",
        anchor="note-1",
        killed_by="backward.beta_gradient",
        replaces={"dbeta": lambda t: _dbeta(t) * t.n},
    ),
    Fault(
        id="parameter-gradients-times-b",
        title="dγ and dβ are multiplied by the batch size",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\gamma} = B\sum_i G_i u_i, \quad "
        r"\frac{\partial Div}{\partial\beta} = B\sum_i G_i",
        right=BOTH,
        explanation="The sums over the batch are the gradients as they are. A factor B does not "
        "belong to them, even if G holds a mean over the batch.",
        anchor="note-1",
        killed_by="backward.gamma_gradient",
        replaces={
            "dgamma": lambda t: _dgamma(t) * t.n,
            "dbeta": lambda t: _dbeta(t) * t.n,
        },
    ),
    Fault(
        id="all-gradients-times-b",
        title="all three gradients are multiplied by the batch size",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial z_i} = B\,\frac{\gamma}{s}"
        r"\left(G_i - \frac1B\sum_j G_j - \frac{u_i}{B}\sum_j G_j u_j\right)",
        right=CLOSED,
        explanation="The backward pass takes G as it is given and must not scale it. What the loss "
        "divides by is no business of the layer.",
        anchor="note-1",
        killed_by="backward.gamma_gradient",
        replaces={
            "dgamma": lambda t: _dgamma(t) * t.n,
            "dbeta": lambda t: _dbeta(t) * t.n,
            "dz": lambda t: routes(t) * t.n,
        },
    ),
    Fault(
        id="gamma-gradient-scalar",
        title="dγ is summed over all axes, giving one number for all features",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\gamma} = \sum_{i,c} G_{ic} u_{ic}",
        right=GAMMA,
        explanation="Each feature has a γ of its own, so the sum runs over the batch alone. Give "
        "the sum its axis.",
        anchor="note-1",
        killed_by="backward.gamma_gradient",
        replaces={"dgamma": lambda t: (t.g * t.u).sum()},
    ),
    Fault(
        id="beta-gradient-scalar",
        title="dβ is summed over all axes, giving one number for all features",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\beta} = \sum_{i,c} G_{ic}",
        right=BETA,
        explanation="Each feature has a β of its own, so the sum runs over the batch alone. Give "
        "the sum its axis.",
        anchor="note-1",
        killed_by="backward.beta_gradient",
        replaces={"dbeta": lambda t: t.g.sum()},
    ),
    Fault(
        id="parameter-gradients-scalar",
        title="dγ and dβ are summed over all axes, giving one number each",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\gamma} = \sum_{i,c} G_{ic} u_{ic}, \quad "
        r"\frac{\partial Div}{\partial\beta} = \sum_{i,c} G_{ic}",
        right=BOTH,
        explanation="Each feature has parameters of its own, so the sums run over the batch alone. "
        "Give both sums their axis.",
        anchor="note-1",
        killed_by="backward.gamma_gradient",
        replaces={"dgamma": lambda t: (t.g * t.u).sum(), "dbeta": lambda t: t.g.sum()},
    ),
    Fault(
        id="gamma-gradient-not-summed",
        title="dγ is not summed over the batch",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\gamma} = G_i u_i",
        right=GAMMA,
        explanation="This is one instance's contribution, and γ is shared by all of them. The "
        "gradient is the sum of the contributions, in the shape of γ.",
        anchor="note-1",
        killed_by="backward.gamma_gradient",
        replaces={"dgamma": lambda t: in_shape(t, t.g * t.u)},
    ),
    Fault(
        id="beta-gradient-not-summed",
        title="dβ is not summed over the batch",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\beta} = G_i",
        right=BETA,
        explanation="This is one instance's contribution, and β is shared by all of them. The "
        "gradient is the sum of the contributions, in the shape of β.",
        anchor="note-1",
        killed_by="backward.beta_gradient",
        replaces={"dbeta": lambda t: in_shape(t, t.g)},
    ),
    Fault(
        id="parameter-gradients-not-summed",
        title="dγ and dβ are not summed over the batch",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\gamma} = u_i G_i, \quad "
        r"\frac{\partial Div}{\partial\beta} = G_i",
        right=BOTH,
        explanation="These are one instance's contributions, as a derivation for one instance "
        "gives them. The parameters are shared, so their gradients are the sums over the batch.",
        anchor="note-1",
        killed_by="backward.gamma_gradient",
        replaces={
            "dgamma": lambda t: in_shape(t, t.g * t.u),
            "dbeta": lambda t: in_shape(t, t.g),
        },
    ),
    Fault(
        id="gamma-gradient-from-input",
        title="dγ is weighted with the input z in place of u",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\gamma} = \sum_i G_i z_i",
        right=GAMMA,
        explanation="γ multiplies the normalised value, not the input. Keep u from the forward "
        "pass.",
        anchor="note-1",
        killed_by="backward.gamma_gradient",
        replaces={"dgamma": lambda t: (t.g * t.z).sum(axis=0)},
    ),
    Fault(
        id="gamma-gradient-from-centred-input",
        title="dγ is weighted with z − μ in place of u",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\gamma} = \sum_i G_i (z_i-\mu_B)",
        right=GAMMA,
        explanation="γ multiplies the value after centring and scaling. The division by √(σ²+ε) is "
        "missing.",
        anchor="note-1",
        killed_by="backward.gamma_gradient",
        replaces={"dgamma": lambda t: (t.g * centred(t)).sum(axis=0)},
    ),
    Fault(
        id="gamma-gradient-from-output",
        title="dγ is weighted with the output ẑ in place of u",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\gamma} = \sum_i G_i \hat z_i",
        right=GAMMA,
        explanation="γ multiplies u, the value before scaling and shifting. With γ at one and β at "
        "zero the two are the same.",
        anchor="note-1",
        killed_by="backward.gamma_gradient",
        replaces={"dgamma": lambda t: (t.g * t.y).sum(axis=0)},
    ),
    Fault(
        id="gamma-gradient-from-du",
        title="dγ is taken from ∂Div/∂u in place of G",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\gamma} = \sum_i \gamma G_i u_i",
        right=GAMMA,
        explanation="The gradient of γ uses the upstream gradient as it arrives. Multiplied by γ "
        "it is the gradient with respect to u.",
        anchor="note-4",
        killed_by="backward.gamma_gradient",
        replaces={"dgamma": lambda t: (t.du * t.u).sum(axis=0)},
    ),
    Fault(
        id="beta-gradient-from-du",
        title="dβ is taken from ∂Div/∂u in place of G",
        family="backward",
        wrong=r"\frac{\partial Div}{\partial\beta} = \sum_i \gamma G_i",
        right=BETA,
        explanation="β is added after the scaling, so γ does not touch its gradient. Sum the "
        "upstream gradient as it arrives.",
        anchor="note-4",
        killed_by="backward.beta_gradient",
        replaces={"dbeta": lambda t: t.du.sum(axis=0)},
    ),
)
"""The mistakes of this module."""
