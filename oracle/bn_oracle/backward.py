"""The gradients of the training-mode transform, in closed form.

With G_i = ∂Div/∂ẑ_i the upstream gradient, and means taken over the B values of a feature::

    ∂Div/∂γ   = Σ G_i u_i
    ∂Div/∂β   = Σ G_i
    ∂Div/∂z_i = (γ/s) (G_i − mean(G) − u_i · mean(G·u))

Source: Ioffe & Szegedy 2015, §3, their six equations gathered; s = √(σ²+ε).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bn_oracle import arrays
from bn_oracle.arrays import Array
from bn_oracle.forward import Forward


@dataclass(frozen=True)
class Gradients:
    """Gradients of a divergence; float64."""

    dz: Array
    """∂Div/∂z, in the shape of the input."""
    dgamma: Array
    """∂Div/∂γ, (C,): summed over the batch."""
    dbeta: Array
    """∂Div/∂β, (C,): summed over the batch."""


def upstream_rows(record: Forward, grad: ArrayLike, *, copy: bool = True) -> Array:
    """Return the upstream gradient as rows (B, C); without `copy` perhaps the caller's own array.

    Raises:
        TypeError: `grad` is not made of real numbers.
        ValueError: `grad` has another shape than the output, or is not finite.
    """
    upstream = arrays.same_shape("grad", grad, record.out.shape, copy=copy)
    return arrays.to_rows(upstream, record.channel_axis)


def closed_form(record: Forward, g: Array) -> tuple[Array, Array, Array]:
    """Return ∂Div/∂z as rows (B, C), ∂Div/∂γ and ∂Div/∂β (C,), of upstream rows g (B, C)."""
    size = record.batch_size
    dbeta = np.add.reduce(g, axis=0)
    dgamma = np.einsum("bc,bc->c", g, record.u)
    rows = g - dbeta / size
    rows -= record.u * (dgamma / size)
    rows *= record.gamma / record.std
    return rows, dgamma, dbeta


def backward(record: Forward, grad: ArrayLike) -> Gradients:
    """Differentiate through a training-mode forward pass, statistics included.

    Args:
        record: the forward pass.
        grad: G = ∂Div/∂ẑ, in the shape of the output.

    Raises:
        TypeError, ValueError: as `upstream_rows`.
    """
    # Read only, so that no copy is needed.
    rows, dgamma, dbeta = closed_form(record, upstream_rows(record, grad, copy=False))
    return Gradients(arrays.from_rows(rows, record.out.shape, record.channel_axis), dgamma, dbeta)
