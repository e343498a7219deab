"""The pieces that many mistakes are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from bn_oracle.arrays import Array, from_rows

from bn_diagnosis.formulas import Step, Trace

# Right equations that several mistakes share.
TRAINING = r"\hat z_i = \gamma\,\frac{z_i-\mu_B}{\sqrt{\sigma_B^2+\epsilon}} + \beta"
INFERENCE = r"\hat z = \gamma\,\frac{z-\mu}{\sqrt{\sigma^2+\epsilon}} + \beta"
GAMMA = r"\frac{\partial Div}{\partial\gamma} = \sum_i G_i u_i"
BETA = r"\frac{\partial Div}{\partial\beta} = \sum_i G_i"
DU = r"\frac{\partial Div}{\partial u_i} = \gamma G_i"
DVAR = (
    r"\frac{\partial Div}{\partial\sigma_B^2} = -\frac12(\sigma_B^2+\epsilon)^{-3/2}"
    r"\sum_i\frac{\partial Div}{\partial u_i}(z_i-\mu_B)"
)
DMEAN = (
    r"\frac{\partial Div}{\partial\mu_B} = -\frac{1}{\sqrt{\sigma_B^2+\epsilon}}"
    r"\sum_i\frac{\partial Div}{\partial u_i}"
)
DZ = (
    r"\frac{\partial Div}{\partial z_i} = \frac{1}{\sqrt{\sigma_B^2+\epsilon}}"
    r"\frac{\partial Div}{\partial u_i} + \frac{2(z_i-\mu_B)}{B}"
    r"\frac{\partial Div}{\partial\sigma_B^2} + \frac1B\frac{\partial Div}{\partial\mu_B}"
)
CLOSED = (
    r"\frac{\partial Div}{\partial z_i} = \frac{\gamma}{\sqrt{\sigma_B^2+\epsilon}}"
    r"\left(G_i - \frac1B\sum_j G_j - \frac{u_i}{B}\sum_j G_j u_j\right)"
)
RUNNING_MEAN = r"M \leftarrow k\,M + (1-k)\,\mu_B"
RUNNING_VAR = r"V \leftarrow k\,V + (1-k)\,\sigma_B^2"


def bessel(t: Trace) -> float:
    """Return B/(B−1), or 1 for a single value."""
    return t.n / max(t.n - 1, 1)


def blend(t: Trace, old: Any, new: Any) -> Any:
    """Return the exponential average of the old value and the new."""
    return t.decay * old + (1 - t.decay) * new


def centred(t: Trace) -> Array:
    """Return z − μ_B."""
    return t.z - t.mean


def closed_form(t: Trace) -> Any:
    """Return dz in closed form, out of du, u and s as they are."""
    return (t.du - t.du.mean(axis=0) - t.u * (t.du * t.u).mean(axis=0)) / t.s


def routes(t: Trace, direct: float = 1.0, variance: float = 1.0, mean: float = 1.0) -> Any:
    """Return dz as the sum of its three routes, each with a weight."""
    return (
        direct * (t.du / t.s) + variance * (t.dvar * 2 * centred(t) / t.n) + mean * (t.dmean / t.n)
    )


def over(size: float, t: Trace) -> Any:
    """Return dz with another number where B belongs."""
    return t.du / t.s + t.dvar * 2 * centred(t) / size + t.dmean / size


def dvar_with(t: Trace, upstream: Array, power: Any) -> Any:
    """Return ∂Div/∂σ² from another gradient of u, or another power of σ²+ε."""
    return -0.5 * (upstream * centred(t)).sum(axis=0) * power


def in_shape(t: Trace, rows: Array) -> Array:
    """Return rows in the shape of the input."""
    return from_rows(rows, t.x.shape)


def root_with(eps: float) -> tuple[Step, Step]:
    """Return the training and the inference denominator with a fixed ε."""
    return lambda t: np.sqrt(t.var + eps), lambda t: np.sqrt(t.running_var + eps)
