r"""The derivative of a feature's whole batch of outputs by its whole batch of inputs.

Batch norm is a vector function over the instances of a mini-batch, one feature at a time. Its
derivative is a B×B matrix a feature, and zero from one feature to another::

    J = ∂ẑ/∂z = (γ/s) (I − 11ᵀ/B − uuᵀ/B)

J is symmetric. J·1 = 0, because Σu = 0: shifting a batch changes nothing. J·u = (γ/s)·(ε/(σ²+ε))·u,
because u·u = B σ²/(σ²+ε): scaling a batch changes almost nothing. On the B − 2 remaining
directions J is γ/s. Backpropagation multiplies the upstream gradient by Jᵀ = J.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bn_oracle import arrays
from bn_oracle.arrays import Array
from bn_oracle.backward import upstream_rows
from bn_oracle.forward import Forward


def jacobian(record: Forward) -> Array:
    """Return J, (C, B, B): J[c, i, j] = ∂ẑ_i/∂z_j of feature c.

    It takes C·B² numbers: for looking at, not for training.
    """
    size = record.batch_size
    u = record.u.T
    outer = np.einsum("ci,cj->cij", u, u)
    result: Array = (record.gamma / record.std)[:, None, None] * (
        np.eye(size) - (1.0 + outer) / size
    )
    return result


def times_jacobian(record: Forward, grad: ArrayLike) -> Array:
    """Return ∂Div/∂z = J·G by dot products alone, without forming J.

    For one feature, with 1 a vector of ones and · the dot product over the batch::

        ∂Div/∂β = 1·G      ∂Div/∂γ = u·G
        ∂Div/∂z = (γ/s) (G − (1·G)/B 1 − (u·G)/B u)

    This is what the notes ask for where they wonder why sums are written in place of dot
    products: every Σ of the chain is one of these two.

    Args:
        record: the forward pass.
        grad: G = ∂Div/∂ẑ, in the shape of the output.

    Raises:
        TypeError, ValueError: as `upstream_rows`.
    """
    g = upstream_rows(record, grad)
    ones, size = np.ones(record.batch_size), record.batch_size
    rows = np.empty_like(g)
    for feature, slope in enumerate(record.gamma / record.std):
        G, u = g[:, feature], record.u[:, feature]
        rows[:, feature] = slope * (G - ones @ G / size * ones - u @ G / size * u)
    return arrays.from_rows(rows, record.out.shape, record.channel_axis)
