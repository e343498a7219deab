r"""The gradients step by step: the lecture's chain, and Ioffe & Szegedy's.

Both walk the influence diagram from ẑ back to z, one partial derivative at a time; `backward`
gathers the same walk into one formula. They differ in one term. σ_B² is a function of μ_B, too::

    ∂σ_B²/∂μ_B = −(2/B) Σ (z_i − μ_B)

and the paper writes the term that comes of it out, while the lecture drops it: Σ (z_i − μ_B) is
zero by the definition of μ_B. In floating point it is zero to rounding only.

Domain. ∂Div/∂u = γ·G is a result here, so the product must neither overflow nor be subnormal.
∂Div/∂σ² is of the size of γG/s², and may leave the range where nothing else does; therefore
neither chain goes on from it. Both multiply it by s first, and divide z − μ by s: then ∂Div/∂z
is in range wherever the closed form is, although (σ²+ε)^(−3/2) overflows from s = 1e−103 down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bn_oracle import arrays
from bn_oracle.arrays import Array
from bn_oracle.backward import upstream_rows
from bn_oracle.forward import Forward


@dataclass(frozen=True)
class LectureChain:
    """Every partial of the lecture's summary page.

    Those for an instance have the shape of rows, (B, C); those for a feature (C,); `d_z` has the
    shape of the input.
    """

    d_zhat: Array
    """∂Div/∂ẑ_i: the upstream gradient G."""
    d_gamma_terms: Array
    """u_i ∂Div/∂ẑ_i: what instance i adds to ∂Div/∂γ. The notes stop here."""
    d_gamma: Array
    """∂Div/∂γ: the sum of the terms, because all instances share one γ."""
    d_beta_terms: Array
    """∂Div/∂ẑ_i: what instance i adds to ∂Div/∂β. The notes stop here."""
    d_beta: Array
    """∂Div/∂β: the sum of the terms."""
    d_u: Array
    """∂Div/∂u_i = γ ∂Div/∂ẑ_i"""
    d_var: Array
    """∂Div/∂σ_B²; infinite where it is too large for a float, which d_z does not mind."""
    d_mean: Array
    """∂Div/∂μ_B"""
    d_z: Array
    """∂Div/∂z_i"""


@dataclass(frozen=True)
class PaperChain:
    """The six gradients of Ioffe & Szegedy 2015, §3, in the paper's order and names.

    x, x̂, y are the notes' z, u, ẑ, and m is B. Shapes as in `LectureChain`.
    """

    d_xhat: Array
    """∂ℓ/∂x̂_i"""
    d_var: Array
    """∂ℓ/∂σ_B²; infinite where it is too large for a float, which d_x does not mind."""
    d_mean_direct: Array
    """The first term of ∂ℓ/∂μ_B: Σ ∂ℓ/∂x̂_i · (−1/√(σ_B²+ε))."""
    d_mean_vanishing: Array
    """Its second term, ∂ℓ/∂σ_B² · Σ −2(x_i−μ_B)/m: zero, to rounding."""
    d_mean: Array
    """∂ℓ/∂μ_B: the sum of the two."""
    d_x: Array
    """∂ℓ/∂x_i"""
    d_gamma: Array
    """∂ℓ/∂γ"""
    d_beta: Array
    """∂ℓ/∂β"""


def lecture_chain(record: Forward, grad: ArrayLike) -> LectureChain:
    """Differentiate by the lecture's chain::

        ∂Div/∂u_i  = γ ∂Div/∂ẑ_i
        ∂Div/∂σ²   = −½ (σ²+ε)^(−3/2) Σ ∂Div/∂u_i (z_i − μ)
        ∂Div/∂μ    = −1/√(σ²+ε) Σ ∂Div/∂u_i
        ∂Div/∂z_i  = ∂Div/∂u_i · 1/√(σ²+ε) + ∂Div/∂σ² · 2(z_i−μ)/B + ∂Div/∂μ · 1/B

    Args:
        record: the forward pass.
        grad: G = ∂Div/∂ẑ, in the shape of the output.

    Raises:
        TypeError, ValueError: as `upstream_rows`.

    Source: the notes' page "Backprop under BN, all eq. summarised".
    """
    size, s = record.batch_size, record.std
    d_zhat = upstream_rows(record, grad)
    d_gamma_terms = d_zhat * record.u
    d_beta_terms = d_zhat.copy()
    d_u = record.gamma * d_zhat
    d_var_times_s = -0.5 * (d_u * (record.centred / s)).sum(axis=0) / s
    d_mean = -(d_u / s).sum(axis=0)
    d_z = d_u / s + d_var_times_s * (2.0 * (record.centred / s) / size) + d_mean / size
    return LectureChain(
        d_zhat=d_zhat,
        d_gamma_terms=d_gamma_terms,
        d_gamma=d_gamma_terms.sum(axis=0),
        d_beta_terms=d_beta_terms,
        d_beta=d_beta_terms.sum(axis=0),
        d_u=d_u,
        d_var=_divide(d_var_times_s, s),
        d_mean=d_mean,
        d_z=arrays.from_rows(d_z, record.out.shape, record.channel_axis),
    )


def paper_chain(record: Forward, grad: ArrayLike) -> PaperChain:
    """Differentiate by Ioffe & Szegedy's six equations::

        ∂ℓ/∂x̂_i = ∂ℓ/∂y_i · γ
        ∂ℓ/∂σ²  = Σ ∂ℓ/∂x̂_i · (x_i−μ) · (−1/2)(σ²+ε)^(−3/2)
        ∂ℓ/∂μ   = (Σ ∂ℓ/∂x̂_i · −1/√(σ²+ε)) + ∂ℓ/∂σ² · Σ −2(x_i−μ)/m
        ∂ℓ/∂x_i = ∂ℓ/∂x̂_i · 1/√(σ²+ε) + ∂ℓ/∂σ² · 2(x_i−μ)/m + ∂ℓ/∂μ · 1/m
        ∂ℓ/∂γ   = Σ ∂ℓ/∂y_i · x̂_i
        ∂ℓ/∂β   = Σ ∂ℓ/∂y_i

    The copy in the notes lacks the second line and heads the third ∂ℓ/∂σ_B² and the fourth
    ∂L/∂μ_B: read as they are headed they are no gradients of anything.

    Args:
        record: the forward pass.
        grad: ∂ℓ/∂y, in the shape of the output.

    Raises:
        TypeError, ValueError: as `upstream_rows`.

    Source: Ioffe & Szegedy 2015 (arXiv:1502.03167), §3, the equations after Algorithm 1.
    """
    upstream = upstream_rows(record, grad)
    m, root = record.batch_size, np.sqrt(record.var + record.eps)
    deviation = record.centred / root
    d_xhat = upstream * record.gamma
    each = d_xhat / root
    root_d_var = (each * deviation * -0.5).sum(axis=0)
    direct = -each.sum(axis=0)
    vanishing = root_d_var * ((-2.0 * deviation).sum(axis=0) / m)
    d_mean = direct + vanishing
    d_x = each + root_d_var * (2.0 * deviation / m) + d_mean / m
    return PaperChain(
        d_xhat=d_xhat,
        d_var=_divide(root_d_var, root),
        d_mean_direct=direct,
        d_mean_vanishing=vanishing,
        d_mean=d_mean,
        d_x=arrays.from_rows(d_x, record.out.shape, record.channel_axis),
        d_gamma=(upstream * deviation).sum(axis=0),
        d_beta=upstream.sum(axis=0),
    )


def _divide(numerator: Array, denominator: Array) -> Array:
    """Divide; a quotient too large for float64 is infinite, as the fields' docstrings say."""
    with np.errstate(over="ignore"):
        result: Array = numerator / denominator
    return result
